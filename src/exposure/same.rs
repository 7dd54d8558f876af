//! What is the same in two worlds, told from what is written and not from what comes of it.
//!
//! Says "the same" only of what cannot differ; a difference that makes none may well be called one.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::cells::Client;
use super::targets::Target;
use super::world::{Lists, Pod, Policy, Port, World};

pub(super) struct Sameness<'w> {
    before: &'w World,
    after: &'w World,
    /// For each policy before, the one after with the same name, place and rules.
    policies: Vec<Option<usize>>,
    /// Whether what is in force at two kinds of endpoints is the same, once asked.
    applied: RefCell<BTreeMap<(usize, usize), bool>>,
    /// Settings that hold everywhere.
    settings: bool,
}

impl<'w> Sameness<'w> {
    pub fn new(before: &'w World, after: &'w World) -> Self {
        let named: BTreeMap<_, usize> = after.policies.iter().enumerate().map(|(i, p)| (&p.name, i)).collect();
        let policies = before.policies.iter().map(|old| {
            let new = *named.get(&old.name)?;
            same_policy(before, old, after, &after.policies[new]).then_some(new)
        });
        let nodes = before.nodes.len() == after.nodes.len()
            && before.nodes.iter().zip(&after.nodes).all(|(a, b)| a.name == b.name);
        Sameness {
            policies: policies.collect(),
            applied: RefCell::default(),
            settings: before.unread == after.unread
                && before.pod_ranges == after.pod_ranges
                && before.pools == after.pools
                && before.places == after.places
                && nodes,
            before,
            after,
        }
    }

    /// Whether packets to the two fare alike until they are sent on. The address is the same.
    pub fn on_arrival(&self, old: Target, new: Target) -> bool {
        let arrival = |world: &World, target: Target| world.arrival(target.node, target.address);
        self.settings
            && self.before.services == self.after.services
            && self.node(old.node, new.node)
            && self.governed(
                (old.node, arrival(self.before, old)),
                (new.node, arrival(self.after, new)),
            )
    }

    /// Whether all that packets meet once they are sent on is the same.
    pub fn sent_on(&self) -> bool {
        let pod = |(a, b): (&Pod, &Pod)| {
            a.namespace == b.namespace
                && a.name == b.name
                && a.node == b.node
                && a.interface == b.interface
                && self.applied(a.applied, b.applied)
        };
        self.settings
            && self.before.services == self.after.services
            && self.before.pods.len() == self.after.pods.len()
            && self.before.pods.iter().zip(&self.after.pods).all(pod)
            && (0..self.before.nodes.len()).all(|node| self.node(node, node))
    }

    /// Whether what a client sends meets the same until it leaves its node.
    pub fn on_leaving(&self, old: Client, new: Client) -> bool {
        let (Some(here), Some(there)) = (old.home(self.before), new.home(self.after)) else {
            return false;
        };
        let own = match (old, new) {
            (Client::Node(_), Client::Node(_)) => true,
            (Client::Pod(a), Client::Pod(b)) => {
                let (x, y) = (&self.before.pods[a], &self.after.pods[b]);
                x.interface == y.interface
                    && x.addresses == y.addresses
                    && self.applied(x.applied, y.applied)
                    && self.governed((here, Port::Workload(a)), (there, Port::Workload(b)))
            }
            _ => false,
        };
        own && self.settings && self.node(here, there)
    }

    fn node(&self, old: usize, new: usize) -> bool {
        let (a, b) = (&self.before.nodes[old], &self.after.nodes[new]);
        let star = match (a.star, b.star) {
            (Some(a), Some(b)) => self.endpoint(a, b),
            (None, None) => true,
            _ => false,
        };
        let interfaces = match (&a.interfaces, &b.interfaces) {
            (Some(x), Some(y)) => {
                x.len() == y.len()
                    && x.iter().zip(y).all(|(x, y)| x.addresses == y.addresses)
                    && (0..x.len()).all(|i| self.governed((old, Port::Interface(i)), (new, Port::Interface(i))))
            }
            (None, None) => a.endpoints.len() == b.endpoints.len(),
            _ => false,
        };
        star && interfaces
            && a.felix == b.felix
            && a.addresses == b.addresses
            && self.governed((old, Port::Outward), (new, Port::Outward))
            && self.governed((old, Port::Loopback), (new, Port::Loopback))
    }

    fn governed(&self, old: (usize, Port), new: (usize, Port)) -> bool {
        let (a, b) = (self.before.governing(old.0, old.1), self.after.governing(new.0, new.1));
        let pair = |(a, b): (&Option<usize>, &Option<usize>)| match (a, b) {
            (Some(a), Some(b)) => self.endpoint(*a, *b),
            (None, None) => true,
            _ => false,
        };
        a.len() == b.len() && a.iter().zip(&b).all(pair)
    }

    fn endpoint(&self, old: usize, new: usize) -> bool {
        self.applied(self.before.endpoints[old].applied, self.after.endpoints[new].applied)
    }

    fn applied(&self, old: usize, new: usize) -> bool {
        if let Some(known) = self.applied.borrow().get(&(old, new)) {
            return *known;
        }
        let (a, b) = (&self.before.applied[old], &self.after.applied[new]);
        let (x, y) = (&self.before.stages[a.stages], &self.after.stages[b.stages]);
        let profile = |(a, b): (&usize, &usize)| {
            let (a, b) = (&self.before.profiles[*a], &self.after.profiles[*b]);
            a.name == b.name && a.rules == b.rules
        };
        let same = self.lists(&x.untracked, &y.untracked)
            && self.lists(&x.pre_dnat, &y.pre_dnat)
            && self.lists(&x.normal, &y.normal)
            && self.lists(&x.forward, &y.forward)
            && a.profiles.len() == b.profiles.len()
            && a.profiles.iter().zip(&b.profiles).all(profile);
        self.applied.borrow_mut().insert((old, new), same);
        same
    }

    fn lists(&self, old: &Lists, new: &Lists) -> bool {
        let runs = [(&old.ingress, &new.ingress), (&old.egress, &new.egress)];
        runs.into_iter().all(|(old, new)| {
            old.len() == new.len()
                && old.iter().zip(new).all(|(a, b)| {
                    a.denies == b.denies
                        && self.before.tiers[a.tier].name == self.after.tiers[b.tier].name
                        && a.policies.len() == b.policies.len()
                        && a.policies
                            .iter()
                            .zip(&b.policies)
                            .all(|(a, b)| self.policies[*a] == Some(*b))
                })
        })
    }
}

fn same_policy(before: &World, a: &Policy, after: &World, b: &Policy) -> bool {
    a.staged == b.staged
        && a.stage == b.stage
        && before.tiers[a.tier] == after.tiers[b.tier]
        && a.ingress == b.ingress
        && a.egress == b.egress
}
