//! The line of stages that every verb about a plan and a cluster shares: state in, difference out. Pure.

use std::collections::BTreeMap;

use super::Failure;
use super::files::Loaded;
use crate::compile::{self, Compiled};
use crate::diff::{self, Difference};
use crate::error::{Error, codes};
use crate::plan::Plan;
use crate::render::Answer;
use crate::source::Source;
use crate::state::{Observed, State};

/// What is to be made so: a plan as loaded, or the nothing that destroy wants.
pub(super) enum Intent {
    Plan(Box<Loaded>),
    Nothing { plan: Box<Plan>, source: Option<Source> },
}

/// Everything known once state was read.
pub(super) struct Prepared {
    pub plan: Plan,
    pub lookups: BTreeMap<String, String>,
    pub compiled: Compiled,
    pub difference: Difference,
}

impl Intent {
    pub fn source(&self) -> Option<&Source> {
        match self {
            Intent::Plan(loaded) => Some(&loaded.source),
            Intent::Nothing { source, .. } => source.as_ref(),
        }
    }

    /// The plan as far as it is known without a cluster: enough for its scope.
    pub fn offline(&self) -> Result<Plan, Failure> {
        match self {
            Intent::Plan(loaded) => loaded.check(None),
            Intent::Nothing { plan, .. } => Ok(plan.as_ref().clone()),
        }
    }

    /// Lookups, check, compile, diff.
    pub fn prepare(&self, state: &State, options: &diff::Options) -> Result<Prepared, Failure> {
        let world = |errors| Failure::World(self.source().cloned(), errors);
        let (plan, lookups) = match self {
            Intent::Plan(loaded) => {
                let lookups = compile::resolve_lookups(&loaded.check(None)?, state).map_err(world)?;
                (loaded.check(Some(&lookups))?, lookups)
            }
            Intent::Nothing { plan, .. } => (plan.as_ref().clone(), BTreeMap::new()),
        };
        let compiled = compile::compile(&plan, state).map_err(world)?;
        if matches!(self, Intent::Plan(_)) && compiled.graph.in_order().all(|r| r.origin.section == "inventory") {
            let error = Error::failed(codes::EMPTY_PLAN, format!("plan {} wants nothing", plan.name()));
            let fix = format!(
                "add what it should want, or take it back with `hostguard destroy --name {}`",
                plan.name()
            );
            return Err(world(vec![error.fix(fix)]));
        }
        let difference = diff::diff(&compiled, state, options);
        if let Some(size) = difference.record.too_large() {
            let message = format!(
                "the record of plan {} would be {size} bytes, a ConfigMap holds one million",
                plan.name()
            );
            return Err(world(vec![
                Error::failed(codes::INVENTORY_TOO_LARGE, message).fix("split the plan in two"),
            ]));
        }
        Ok(Prepared {
            plan,
            lookups,
            compiled,
            difference,
        })
    }
}

impl Prepared {
    pub fn answer<'a>(&'a self, verb: &'static str, intent: &'a Intent, state: &'a State) -> Answer<'a> {
        let with_plan = matches!(intent, Intent::Plan(_));
        let record = self
            .difference
            .record
            .changes()
            .then(|| self.difference.record.key.to_string());
        Answer {
            verb,
            plan: self.plan.name(),
            source: intent.source(),
            platform: with_plan.then_some(self.plan.cluster.platform),
            facts: &state.facts,
            cluster_uid: state.cluster_uid(),
            release: self.compiled.release.as_deref(),
            inputs: &self.plan.inputs,
            lookups: &self.lookups,
            groups: &self.compiled.groups,
            set: &self.difference.set,
            conflicts: &self.difference.conflicts,
            record,
            report: None,
        }
    }

    /// What keeps this from being applied: targets that could not be read. Conflicts are errors of their own.
    pub fn unreadable(&self, state: &State) -> Vec<Error> {
        let targets = self.difference.set.unreadable.iter();
        targets
            .map(|(key, why)| {
                let error = Error::failed(codes::UNREADABLE, format!("{key} could not be read: {why}"));
                match state.get(key) {
                    Observed::Unreadable(why) => error.fix(why.way_out(key.kind)),
                    Observed::Absent | Observed::Present(_) => error,
                }
            })
            .collect()
    }
}
