//! What is the same in two worlds, told from what is written and not from what comes of it.
//!
//! Says "the same" only of what cannot differ; a difference that makes none may well be called one.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use super::cells::{Client, Ports};
use super::facts::ServiceFacts;
use super::targets::Target;
use super::world::{Lists, Place, Pod, Policy, Port, TierRun, World};
use crate::net::{PortSet, Protocol};

/// How much of what is in force at an endpoint.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Part {
    All,
    /// What packets of local processes meet on their way out: `output.rs` asks untracked and normal policy, egress only.
    Sent,
}

pub(super) struct Sameness<'w> {
    before: &'w World,
    after: &'w World,
    /// For each policy before, the one after with the same name, place and rules.
    policies: Vec<Option<usize>>,
    /// Whether what is in force at two kinds of endpoints is the same, once asked.
    applied: RefCell<BTreeMap<(usize, usize, Part), bool>>,
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
                && before.environment_read == after.environment_read
                && before.pod_ranges == after.pod_ranges
                && before.pools == after.pools
                && before.places == after.places
                && before.cloud == after.cloud
                && nodes,
            before,
            after,
        }
    }

    /// Whether settings that hold everywhere are the same, and the same nodes and pods stand at the same places.
    pub fn settings(&self) -> bool {
        let pod = |(a, b): (&Pod, &Pod)| a.namespace == b.namespace && a.name == b.name;
        self.settings
            && self.before.pods.len() == self.after.pods.len()
            && self.before.pods.iter().zip(&self.after.pods).all(pod)
    }

    /// Ports whose packets may be sent on to something that differs: NodePorts of Services that are not the same, or
    /// whose endpoints are not, or not the nodes that they are on.
    pub fn translated_ports(&self) -> Ports {
        let mut ports = Ports::new();
        if self.sent_on() {
            return ports;
        }
        let differing: BTreeSet<usize> = (0..self.before.nodes.len().min(self.after.nodes.len()))
            .filter(|node| !self.node(*node, *node, Part::All))
            .collect();
        let places = self.settings() && self.before.services == self.after.services;
        let services = [self.before, self.after].into_iter();
        for service in services.flat_map(|world| world.services.iter().flatten()) {
            if places && self.ends_alike(service, &differing) {
                continue;
            }
            let protocol = Protocol::from_number(service.protocol);
            if let (Some(port), Some(protocol)) = (service.node_port, protocol) {
                let entry = ports.entry(protocol).or_insert_with(PortSet::empty);
                *entry = entry.union(&PortSet::from_ranges([(port, port)]));
            }
        }
        ports
    }

    /// Whether the endpoints of a Service are the same, and the nodes that they are on. All places are.
    fn ends_alike(&self, service: &ServiceFacts, differing: &BTreeSet<usize>) -> bool {
        let mut addresses = service.backends.iter().flatten().flat_map(|backend| &backend.addresses);
        addresses.all(|address| match self.before.places.get(address) {
            Some(Place::Node(node)) => !differing.contains(node),
            Some(Place::Pod(pod)) => {
                let (a, b) = (&self.before.pods[*pod], &self.after.pods[*pod]);
                a.node == b.node && !differing.contains(&a.node) && self.pod(a, b)
            }
            Some(Place::Outside) | None => true,
        })
    }

    fn pod(&self, a: &Pod, b: &Pod) -> bool {
        a.namespace == b.namespace
            && a.name == b.name
            && a.node == b.node
            && a.interface == b.interface
            && self.applied(a.applied, b.applied, Part::All)
    }

    /// Whether packets to the two fare alike until they are sent on. The address is the same.
    pub fn on_arrival(&self, old: Target, new: Target) -> bool {
        let arrival = |world: &World, target: Target| world.arrival(target.node, target.address);
        self.settings
            && self.before.services == self.after.services
            && self.node(old.node, new.node, Part::All)
            && self.governed(
                (old.node, arrival(self.before, old)),
                (new.node, arrival(self.after, new)),
                Part::All,
            )
    }

    /// Whether all that packets meet once they are sent on is the same.
    pub fn sent_on(&self) -> bool {
        let pod = |(a, b): (&Pod, &Pod)| self.pod(a, b);
        self.settings
            && self.before.services == self.after.services
            && self.before.pods.len() == self.after.pods.len()
            && self.before.pods.iter().zip(&self.after.pods).all(pod)
            && (0..self.before.nodes.len()).all(|node| self.node(node, node, Part::All))
    }

    /// Whether what a client sends meets the same until it leaves its node. What a process sends to its own node comes
    /// back in there, which is an arrival.
    pub fn on_leaving(&self, old: Client, new: Client) -> bool {
        let (Some(here), Some(there)) = (old.home(self.before), new.home(self.after)) else {
            return false;
        };
        let own = match (old, new) {
            (Client::Node(_), Client::Node(_)) => self.node(here, there, Part::Sent),
            (Client::Pod(a), Client::Pod(b)) => {
                let (x, y) = (&self.before.pods[a], &self.after.pods[b]);
                let ports = ((here, Port::Workload(a)), (there, Port::Workload(b)));
                x.interface == y.interface
                    && x.addresses == y.addresses
                    && self.applied(x.applied, y.applied, Part::All)
                    && self.governed(ports.0, ports.1, Part::All)
                    && self.node(here, there, Part::All)
            }
            _ => false,
        };
        own && self.settings
    }

    fn node(&self, old: usize, new: usize, part: Part) -> bool {
        let (a, b) = (&self.before.nodes[old], &self.after.nodes[new]);
        let star = match (a.star, b.star) {
            (Some(a), Some(b)) => self.endpoint(a, b, part),
            (None, None) => true,
            _ => false,
        };
        let interfaces = match (&a.interfaces, &b.interfaces) {
            (Some(x), Some(y)) => {
                x.len() == y.len()
                    && x.iter().zip(y).all(|(x, y)| x.addresses == y.addresses)
                    && (0..x.len()).all(|i| self.governed((old, Port::Interface(i)), (new, Port::Interface(i)), part))
            }
            (None, None) => a.endpoints.len() == b.endpoints.len(),
            _ => false,
        };
        star && interfaces
            && a.felix == b.felix
            && a.addresses == b.addresses
            && a.external == b.external
            && self.governed((old, Port::Outward), (new, Port::Outward), part)
            && self.governed((old, Port::Loopback), (new, Port::Loopback), part)
    }

    fn governed(&self, old: (usize, Port), new: (usize, Port), part: Part) -> bool {
        let (a, b) = (self.before.governing(old.0, old.1), self.after.governing(new.0, new.1));
        let pair = |(a, b): (&Option<usize>, &Option<usize>)| match (a, b) {
            (Some(a), Some(b)) => self.endpoint(*a, *b, part),
            (None, None) => true,
            _ => false,
        };
        a.len() == b.len() && a.iter().zip(&b).all(pair)
    }

    fn endpoint(&self, old: usize, new: usize, part: Part) -> bool {
        let (old, new) = (&self.before.endpoints[old], &self.after.endpoints[new]);
        self.applied(old.applied, new.applied, part)
    }

    fn applied(&self, old: usize, new: usize, part: Part) -> bool {
        if let Some(known) = self.applied.borrow().get(&(old, new, part)) {
            return *known;
        }
        let (a, b) = (&self.before.applied[old], &self.after.applied[new]);
        let (x, y) = (&self.before.stages[a.stages], &self.after.stages[b.stages]);
        let profile = |(a, b): (&usize, &usize)| {
            let (a, b) = (&self.before.profiles[*a], &self.after.profiles[*b]);
            a.name == b.name && a.rules == b.rules
        };
        let lists = match part {
            Part::All => {
                self.lists(&x.pre_dnat, &y.pre_dnat)
                    && self.lists(&x.normal, &y.normal)
                    && self.lists(&x.forward, &y.forward)
            }
            Part::Sent => self.runs(&x.normal.egress, &y.normal.egress),
        };
        let same = lists
            && self.lists(&x.untracked, &y.untracked)
            && a.profiles.len() == b.profiles.len()
            && a.profiles.iter().zip(&b.profiles).all(profile);
        self.applied.borrow_mut().insert((old, new, part), same);
        same
    }

    fn lists(&self, old: &Lists, new: &Lists) -> bool {
        self.runs(&old.ingress, &new.ingress) && self.runs(&old.egress, &new.egress)
    }

    fn runs(&self, old: &[TierRun], new: &[TierRun]) -> bool {
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
    }
}

fn same_policy(before: &World, a: &Policy, after: &World, b: &Policy) -> bool {
    a.staged == b.staged
        && a.stage == b.stage
        && before.tiers[a.tier] == after.tiers[b.tier]
        && a.ingress == b.ingress
        && a.egress == b.egress
}
