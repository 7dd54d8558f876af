//! The line of stages that every verb about a plan and a cluster shares: state in, difference out. Pure.

use std::collections::BTreeMap;

use serde_json::Value;

use super::files::Loaded;

use super::promises::{self, Promised};
use super::{Failure, gates, idle, order, traps};
use crate::compile::{self, Compiled};
use crate::diff::{self, Difference};
use crate::error::{Error, codes};
use crate::expect::Resolved;
use crate::exposure::{self, Assumption, By, Direction};
use crate::gate::Finding;
use crate::history::Past;
use crate::net::Cidr;
use crate::plan::{InputValue, Plan};
use crate::render::{Answer, Names, Words};
use crate::resource::{Key, Kind};
use crate::sequence::{Acceptance, Breach, Ends, Sequence, Terms, not_looked_at};
use crate::source::Source;
use crate::standing::{Picture, reach};
use crate::state::{Observed, State};

/// What is to be made so: a plan as loaded, or the nothing that destroy wants.
pub(super) enum Intent {
    Plan(Box<Loaded>),
    Nothing {
        plan: Box<Plan>,
        source: Option<Source>,
    },
    /// What was there before a run; `later` are the runs since.
    Before {
        plan: Box<Plan>,
        run: Box<Past>,
        later: Vec<Past>,
    },
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
    /// The same for clients of the cluster; `None` where there are too many sorts of them.
    pub inside: Option<Vec<exposure::Row>>,
    pub names: Names,
    /// The order of the steps, once it was looked for and found.
    pub sequence: Option<Sequence>,
    /// What the exposure takes for granted.
    pub assumptions: Vec<Assumption>,
    /// What is wrong with the end of all steps; see [`Prepared::look`].
    pub refused: Vec<Error>,
    /// What was found, with levels and waivers; those that refuse are in `refused` too.
    pub findings: Vec<Finding>,
    /// What the plan expects, with answers.
    pub promised: Promised,
    /// The plan's promises, for this cluster.
    pub resolved: Resolved,
    /// When what is there was read, in words, and the words that it was asked with: for people who read the answer.
    pub read: Option<String>,
    pub words: Option<Words>,
}

impl Intent {
    pub fn source(&self) -> Option<&Source> {
        match self {
            Intent::Plan(loaded) => Some(&loaded.source),
            Intent::Nothing { source, .. } => source.as_ref(),
            Intent::Before { .. } => None,
        }
    }

    /// The plan as far as it is known without a cluster: enough for its scope.
    pub fn offline(&self) -> Result<Plan, Failure> {
        match self {
            Intent::Plan(loaded) => loaded.offline(),
            Intent::Nothing { plan, .. } | Intent::Before { plan, .. } => Ok(plan.as_ref().clone()),
        }
    }

    /// The number of the run that is taken back.
    pub fn reverts(&self) -> Option<u64> {
        match self {
            Intent::Before { run, .. } => Some(run.intent.number),
            Intent::Plan(_) | Intent::Nothing { .. } => None,
        }
    }

    /// Lookups, check, compile, diff.
    pub fn prepare(&self, state: &State, options: &diff::Options) -> Result<Prepared, Failure> {
        let world = |errors| Failure::World(self.source().cloned(), errors);
        let (plan, lookups) = match self {
            Intent::Plan(loaded) => {
                let lookups = compile::resolve_lookups(&loaded.offline()?, state).map_err(world)?;
                (loaded.check(&lookups)?, lookups)
            }
            Intent::Nothing { plan, .. } | Intent::Before { plan, .. } => (plan.as_ref().clone(), BTreeMap::new()),
        };
        let compiled = match self {
            Intent::Before { run, later, .. } => compile::revert(&plan, run, later, state).map_err(world)?,
            Intent::Plan(_) | Intent::Nothing { .. } => compile::compile(&plan, state).map_err(world)?,
        };
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
        let file = self.source().map_or("PLAN", |source| source.name());
        Ok(Prepared {
            file: file.to_string(),
            plan,
            lookups,
            compiled,
            difference,
            exposure: Vec::new(),
            inside: Some(Vec::new()),
            sequence: None,
            assumptions: Vec::new(),
            refused: Vec::new(),
            findings: Vec::new(),
            promised: Promised::default(),
            resolved: Resolved::default(),
            read: None,
            words: None,
            names: Names::default(),
        })
    }
}

/// What the steps, and then controllers, make of a state.
pub(super) fn predicted(state: &State, difference: &Difference) -> State {
    state.after_all(&difference.set.steps).settled()
}

/// Where the plan wrote what decided about a packet: a rule of its policies, or a tier that ends in a deny.
pub(super) fn places(intent: &Intent, plan: &Plan, state: &State, by: &By) -> Option<String> {
    let span = match by {
        By::Rule(rule) => {
            let key = rule.policy.key().filter(|key| key.kind == Kind::GlobalNetworkPolicy)?;
            let Some(policy) = plan.policies.get(&key.name) else {
                // A guard is written in one place, and becomes several rules.
                let guard = plan.guards.get(&key.name)?;
                return Some(intent.source()?.locate(guard.span));
            };
            let (list, rules) = match rule.direction {
                Direction::Ingress => ("ingress", &policy.ingress),
                Direction::Egress => ("egress", &policy.egress),
            };
            // A conflict with another owner leaves the other's rules there.
            let there = state.present(&key)?;
            let there = there["spec"][list].as_array();
            let same = there.is_some_and(|there| there.len() == rules.len());
            same.then(|| rules.get(rule.index)).flatten().copied()
        }
        By::EndOfTier { tier } => plan.tiers.get(tier).map(|tier| tier.span),
        _ => None,
    };
    Some(intent.source()?.locate(span?))
}

/// Adds what a plan's inputs stand for.
pub(super) fn name_inputs(names: &mut Names, plan: &Plan, lookups: &BTreeMap<String, String>) {
    for (name, input) in &plan.inputs {
        let value = match &input.value {
            InputValue::Known(value) => Some(value),
            InputValue::Lookup(_) => lookups.get(name),
        };
        let parts = value.into_iter().flat_map(|value| value.split(", "));
        names.input(name, parts.filter_map(|part| Cidr::parse_lenient(part).ok()).collect());
    }
}

/// What stands for networks: inputs of a plan, and network sets that there are.
pub(super) fn names(plan: Option<(&Plan, &BTreeMap<String, String>)>, state: &State) -> Names {
    let mut names = Names::default();
    if let Some((plan, lookups)) = plan {
        name_inputs(&mut names, plan, lookups);
    }
    for (key, set) in state.list(Kind::GlobalNetworkSet).into_iter().flatten() {
        let nets = set
            .pointer("/spec/nets")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let nets = nets.filter_map(|net| Cidr::parse_lenient(net.as_str()?).ok());
        names.network_set(&key.name, nets.collect());
    }
    names
}

impl Prepared {
    /// Works out what the steps do to who can reach what. Only for what is shown: steps that are computed again while
    /// they are made do without.
    pub fn look(&mut self, intent: &Intent, state: &State, accepted: &[Acceptance]) {
        let after = predicted(state, &self.difference);
        let ends = Ends::new(state, &after);
        let (world, world_after) = (ends.before(), ends.after());
        self.assumptions = world.assumptions();
        if !self.difference.set.steps.is_empty() {
            self.exposure = exposure::difference(world, world_after);
            self.inside = exposure::difference_inside(world, world_after);
            self.names = names(Some((&self.plan, &self.lookups)), &after);
        }
        let idle = idle::look(&self.plan, &after, world_after);
        self.resolved = promises::resolved(self, &after);
        self.sequence(&ends, accepted);
        self.difference.set.notes.extend(idle.notes);
        let unlooked = not_looked_at(state, &after, &self.difference.set.steps);
        self.difference.set.notes.extend(unlooked);
        let traps = traps::look(&self.plan, &self.compiled.groups, &after, &self.exposure);
        self.difference.set.notes.extend(traps);
        self.promised = promises::judge(self, &self.resolved, (world, &after, world_after));
        self.refused.append(&mut self.promised.unmet);
        self.difference.set.notes.extend(self.promised.notes.iter().cloned());
        gates::look(self, (intent, state), (world, &after, world_after), idle.findings);
    }

    /// Puts the steps in an order that is proven, or says why there is none.
    fn sequence(&mut self, ends: &Ends<'_>, accepted: &[Acceptance]) {
        let terms = Terms {
            accepted,
            promised: Some(&self.resolved),
        };
        match Sequence::between(ends, &self.difference.set, &terms) {
            None => {}
            Some(Ok(sequence)) => {
                self.difference.set.steps = sequence.steps().iter().map(|step| step.change.clone()).collect();
                self.refused.extend(order::unused(&sequence, accepted));
                let accepted = sequence.steps().iter().flat_map(|step| {
                    let key = &step.change.key;
                    let packets = step.accepted.iter().map(Breach::packet_text);
                    packets.map(move |packet| format!("{key}={packet}"))
                });
                self.difference.record.accept(accepted);
                self.sequence = Some(sequence);
            }
            Some(Err(stuck)) => self.refused.extend(order::errors(&stuck, &self.difference.set)),
        }
    }

    /// What of this is approved. `made`: a step that is none any more, since it was made.
    pub fn picture(&self, made: Option<&Key>) -> Picture<'_> {
        let steps = self.difference.set.steps.iter();
        Picture {
            steps: steps.filter(|step| Some(&step.key) != made).collect(),
            reach: reach(self.exposure.iter().chain(self.inside.iter().flatten())),
        }
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
            id: self.difference.set.digest(),
            exposure: &self.exposure,
            inside: self.inside.as_deref(),
            names: &self.names,
            assumptions: &self.assumptions,
            conflicts: &self.difference.conflicts,
            refused: &self.refused,
            findings: &self.findings,
            warnings: &self.plan.warnings,
            rules: self.plan.gates.rules.keys().map(String::as_str).collect(),
            guards: self
                .plan
                .guards
                .iter()
                .map(|(name, guard)| (name.as_str(), guard.span))
                .collect(),
            lowered: self.plan.gates.lowered().collect(),
            sequence: self.sequence.as_ref(),
            expectations: &self.promised.outcomes,
            kept: &self.promised.kept,
            record,
            report: None,
            ended: &[],
            graph: &self.compiled.graph,
            read: self.read.as_deref(),
            words: self.words.as_ref(),
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
