//! The line of stages that every verb about a plan and a cluster shares: state in, difference out. Pure.

use std::collections::BTreeMap;

use super::Failure;
use super::files::Loaded;
use super::promises::{self, Promised};
use crate::changes::Note;
use crate::compile::{self, Compiled};
use crate::diff::{self, Difference};
use crate::error::{Error, codes};
use crate::exposure::{self, Assumption, Idle, Movement, Subject, Verdict, World};
use crate::net::Cidr;
use crate::plan::{InputValue, Plan};
use crate::render::Answer;
use crate::render::exposure::Names;
use crate::resource::{Key, Kind};
use crate::source::Source;
use crate::state::{Observed, State};

/// What is to be made so: a plan as loaded, or the nothing that destroy wants.
pub(super) enum Intent {
    Plan(Box<Loaded>),
    Nothing { plan: Box<Plan>, source: Option<Source> },
}

/// Everything known once state was read.
pub(super) struct Prepared {
    /// The plan's file, for commands that a person can run.
    pub file: String,
    pub plan: Plan,
    pub lookups: BTreeMap<String, String>,
    pub compiled: Compiled,
    pub difference: Difference,
    /// What changes of who can reach what once everything is done and settled; see [`Prepared::look`].
    pub exposure: Vec<exposure::Row>,
    pub names: Names,
    /// What the exposure takes for granted.
    pub assumptions: Vec<Assumption>,
    /// What the plan expects, with answers, and the promises that do not hold.
    pub promised: Promised,
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
        let names = names(&plan, &lookups);
        let file = self.source().map_or("PLAN", |source| source.name());
        Ok(Prepared {
            file: file.to_string(),
            plan,
            lookups,
            compiled,
            difference,
            exposure: Vec::new(),
            assumptions: Vec::new(),
            promised: Promised::default(),
            names,
        })
    }
}

/// A row of exposure as far as it was approved: nodes and verdicts, not what explains them.
type Reached<'a> = (Movement, &'a Subject, Vec<&'a String>, Option<Verdict>, Option<Verdict>);

/// More policies than this are not asked one by one.
const ASKED: usize = 20;

/// Policies of the plan that do nothing once everything is done.
fn idle_policies(plan: &Plan, state: &State, world: &World) -> Vec<Note> {
    let policies: Vec<Key> = plan
        .policies
        .keys()
        .map(|name| Key::cluster(Kind::GlobalNetworkPolicy, name))
        .collect();
    if policies.is_empty() || policies.len() > ASKED {
        return Vec::new();
    }
    let note = |(key, idle): (Key, Idle)| {
        let why = match idle {
            Idle::SelectsNothing => "its selector matches no host endpoint and no pod",
            Idle::ChangesNothing => "no packet from outside the cluster fares differently with it",
        };
        Note {
            about: format!("policies.{}", key.name),
            text: format!("does nothing [{}]: {why}", codes::NO_EFFECT),
        }
    };
    exposure::idle(state, world, &policies).into_iter().map(note).collect()
}

/// What the steps, and then controllers, make of a state.
pub(super) fn predicted(state: &State, difference: &Difference) -> State {
    let mut after = state.clone();
    for step in &difference.set.steps {
        after.write(step);
    }
    after.settled()
}

/// Inputs by the networks they stand for.
fn names(plan: &Plan, lookups: &BTreeMap<String, String>) -> Names {
    let mut names = Names::new();
    for (name, input) in &plan.inputs {
        let value = match &input.value {
            InputValue::Known(value) => Some(value),
            InputValue::Lookup(_) => lookups.get(name),
        };
        for part in value.into_iter().flat_map(|value| value.split(", ")) {
            if let Ok(cidr) = Cidr::parse_lenient(part) {
                names.insert(cidr, name.clone());
            }
        }
    }
    names
}

impl Prepared {
    /// Works out what the steps do to who can reach what. Only for what is shown: steps that are computed again while
    /// they are made do without.
    pub fn look(&mut self, state: &State) {
        let world = World::of_state(state);
        self.assumptions = world.assumptions();
        let after = predicted(state, &self.difference);
        let world_after = World::of_state(&after);
        if !self.difference.set.steps.is_empty() {
            self.exposure = exposure::difference(&world, &world_after);
        }
        let idle = idle_policies(&self.plan, &after, &world_after);
        self.difference.set.notes.extend(idle);
        self.promised = promises::judge(self, (&world, &after, &world_after));
        self.difference.set.notes.extend(self.promised.notes.iter().cloned());
    }

    /// The verdicts that were shown, without what only explains them: a pod that moves to another node is no change of
    /// what was approved.
    pub fn reach(&self) -> Vec<Reached<'_>> {
        let verdict = |side: &Option<exposure::Answer>| side.as_ref().map(|answer| answer.verdict);
        let rows = self.exposure.iter();
        rows.map(|row| {
            (
                row.movement,
                &row.subject,
                row.nodes.keys().collect(),
                verdict(&row.before),
                verdict(&row.after),
            )
        })
        .collect()
    }

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
            exposure: &self.exposure,
            names: &self.names,
            assumptions: &self.assumptions,
            conflicts: &self.difference.conflicts,
            expectations: &self.promised.outcomes,
            unmet: &self.promised.unmet,
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
