//! Steps of which no flow meets two: whatever part of them is made, each flow fares as before them all or as after.
//!
//! What an order is proven with at once, and what may be written at once, are such batches.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::footprint::{Footprint, sides};
use crate::changes::{Change, Op};
use crate::exposure::{Reading, felix_keeps};
use crate::resource::{Key, Kind};
use crate::state::State;

/// What a step can influence.
#[derive(Clone, Debug)]
pub struct Touch {
    pub flows: Footprint,
    /// Only while another policy like it is in force: the first brings its tier's default to the endpoints that it
    /// selects, and the last takes it away.
    pub beside: Option<Like>,
}

/// What policies have in common that bring the same default to the same endpoints.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Like {
    tier: String,
    selector: String,
    forward: bool,
}

impl Like {
    /// Of a policy that holds on the way in only, after DNAT and tracked.
    pub fn of(policy: &Value) -> Option<Like> {
        let spec = &policy["spec"];
        let plain = ["preDNAT", "doNotTrack"].iter().all(|flag| spec[*flag] != true)
            && ["namespaceSelector", "serviceAccountSelector"]
                .iter()
                .all(|other| spec[*other].as_str().unwrap_or_default().is_empty())
            && spec["types"]
                .as_array()
                .is_some_and(|types| types.as_slice() == ["Ingress"]);
        plain.then(|| Like {
            tier: spec["tier"].as_str().unwrap_or("default").to_string(),
            selector: spec["selector"].as_str().unwrap_or_default().to_string(),
            forward: spec["applyOnForward"] == true,
        })
    }
}

/// How many policies of each kind are in force.
#[derive(Clone, Debug, Default)]
pub struct Company(BTreeMap<Like, usize>);

impl Company {
    pub fn of(state: &State, reading: &Reading) -> Company {
        let mut company = Company::default();
        for policy in state.kept(Kind::GlobalNetworkPolicy).into_iter().flatten() {
            company.comes(&policy.open(), || reading.keeps_policy(policy));
        }
        company
    }

    /// One that Felix drops brings nothing.
    fn comes(&mut self, policy: &Value, kept: impl FnOnce() -> bool) {
        if let Some(like) = Like::of(policy)
            && kept()
        {
            *self.0.entry(like).or_default() += 1;
        }
    }

    fn goes(&mut self, policy: &Value) {
        if let Some(count) = Like::of(policy).and_then(|like| self.0.get_mut(&like)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Once the step is made.
    pub fn made(&mut self, step: &Change) {
        if step.key.kind != Kind::GlobalNetworkPolicy {
            return;
        }
        let sides = sides(step);
        let kept = |policy| felix_keeps(Kind::GlobalNetworkPolicy.name(), policy);
        match (&step.op, sides.as_slice()) {
            (Op::Create { .. }, [after]) => self.comes(after, || kept(after)),
            (Op::Delete { .. }, [before]) => self.goes(before),
            (Op::Update { .. }, [before, after]) => {
                self.goes(before);
                self.comes(after, || kept(after));
            }
            _ => {}
        }
    }
}

/// Steps of which no flow meets two.
#[derive(Debug, Default)]
pub struct Batch {
    /// What is in force all the while, because no step of the batch is on it.
    standing: Company,
    keys: BTreeSet<Key>,
    met: Footprint,
}

impl Batch {
    /// None yet, where these policies are in force.
    pub fn new(standing: Company) -> Batch {
        Batch {
            standing,
            ..Batch::default()
        }
    }

    /// Of one step, whatever it meets.
    pub fn alone(standing: Company, step: &Change, touch: &Touch) -> Batch {
        let mut batch = Batch::new(standing);
        if !batch.take(step, touch) {
            batch.met = Footprint::Everything;
            batch.keys.insert(step.key.clone());
        }
        batch
    }

    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Takes the step in, if no flow meets it and one of the others; or leaves the batch as it is.
    pub fn take(&mut self, step: &Change, touch: &Touch) -> bool {
        if touch.flows.meets(&self.met) || step.needs.iter().any(|need| self.keys.contains(&need.key)) {
            return false;
        }
        if let Some(like) = &touch.beside {
            // A policy that is changed or taken away stands by nobody.
            let own = usize::from(!matches!(step.op, Op::Create { .. }));
            let Some(standing) = self.standing.0.get_mut(like).filter(|standing| **standing > own) else {
                return false;
            };
            *standing -= own;
        }
        self.met = std::mem::take(&mut self.met).and(touch.flows.clone());
        self.keys.insert(step.key.clone());
        true
    }
}
