//! Classes of targets: node addresses at which every packet fares alike.
//!
//! Two addresses are one class when their nodes have the same settings, the same policies at the same places, lie in
//! the same sets that rules name, and have the same endpoints of Services at home. Nothing is sampled: the key holds
//! everything that a walk looks at.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::cells::Client;
use super::members::Area;
use super::memory::Memberships;
use super::rules::{Conditions, Side};
use super::sorts::Sorts;
use super::world::{Port, World};
use crate::net::{AddressSet, Family};

/// A node by one of its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub node: usize,
    pub address: IpAddr,
}

impl Target {
    pub fn place(self, world: &World) -> (String, IpAddr) {
        (world.nodes[self.node].name.clone(), self.address)
    }
}

impl World {
    /// The addresses at which nodes are reached.
    fn targets(&self) -> Vec<Target> {
        let of = |(node, facts): (usize, &super::world::Node)| {
            let addresses = facts.addresses.clone();
            addresses.into_iter().map(move |address| Target { node, address })
        };
        self.nodes.iter().enumerate().flat_map(of).collect()
    }

    /// Which sets hold the addresses that a walk may ask about, other than those of clients.
    pub(super) fn memberships(&self) -> Memberships {
        Memberships::new(self.named_addresses(), &self.address_sets())
    }

    /// All clients in the cluster, in classes: nodes first, then pods. Which endpoints of Services a client's node has
    /// matters on the way to that node only, and the target's class tells them.
    pub(super) fn client_classes(&self, memberships: &Memberships, sorts: &Sorts) -> Vec<Vec<Client>> {
        let mut classes: BTreeMap<_, Vec<Client>> = BTreeMap::new();
        for (node, number) in sorts.nodes.iter().enumerate() {
            let key = (None, *number);
            classes.entry(key).or_default().push(Client::Node(node));
        }
        for (index, pod) in self.pods.iter().enumerate() {
            let numbers = pod.addresses.iter().map(|a| memberships.of(*a)).collect::<Vec<_>>();
            let port = Port::Workload(index);
            let governing = self.governing_keys(pod.node, port);
            let wires: Vec<Option<usize>> = pod.addresses.iter().map(|address| self.wire_of(*address)).collect();
            let own = (pod.applied, numbers, governing, self.workload(port).is_some(), wires);
            let key = (Some(own), sorts.nodes[pod.node]);
            classes.entry(key).or_default().push(Client::Pod(index));
        }
        let mut classes: Vec<Vec<Client>> = classes.into_values().collect();
        classes.sort();
        classes
    }

    /// All targets, in classes; each class and the list by node and address.
    pub(super) fn target_classes(&self, memberships: &Memberships, sorts: &Sorts) -> Vec<Vec<Target>> {
        let at_home = sorts.at_home();
        let mut classes: BTreeMap<_, Vec<Target>> = BTreeMap::new();
        for target in self.targets() {
            let port = self.arrival(target.node, target.address);
            let key = (
                sorts.nodes[target.node],
                &at_home[target.node],
                memberships.of(target.address),
                Family::of(target.address),
                self.governing_keys(target.node, port),
                self.wire_of(target.address),
            );
            classes.entry(key).or_default().push(target);
        }
        let mut classes: Vec<Vec<Target>> = classes.into_values().collect();
        classes.sort();
        classes
    }

    /// The kind of interface in the cloud that has the address.
    pub(super) fn wire_of(&self, address: IpAddr) -> Option<usize> {
        self.cloud.as_ref()?.of_address(address)
    }

    pub(super) fn governing_keys(&self, node: usize, port: Port) -> Vec<Option<usize>> {
        let governing = self.governing(node, port).into_iter();
        governing.map(|e| e.map(|e| self.endpoints[e].applied)).collect()
    }

    /// Addresses that a walk may ask sets about, other than those of clients.
    fn named_addresses(&self) -> BTreeSet<IpAddr> {
        let nodes = self.nodes.iter().flat_map(|node| &node.addresses);
        let backends = self.services.iter().flatten().flat_map(|s| s.backends.iter().flatten());
        let backends = backends.flat_map(|backend| &backend.addresses);
        let pods = self.pods.iter().flat_map(|pod| &pod.addresses);
        nodes.chain(backends).chain(pods).copied().collect()
    }

    /// Every set of addresses that a rule, a failsafe port or a pool names, once.
    pub(super) fn address_sets(&self) -> Vec<&AddressSet> {
        let mut areas: BTreeMap<*const Area, &Area> = BTreeMap::new();
        let mut sets: BTreeSet<&AddressSet> = BTreeSet::new();
        for side in self.conditions().flat_map(|c| [&c.source, &c.destination]) {
            if let Some(area) = side.named_area() {
                areas.insert(std::ptr::from_ref(area), area);
            }
            sets.extend(named_ports(side));
        }
        sets.extend(areas.values().flat_map(|area| [&area.sure, &area.possible]));
        for node in &self.nodes {
            let failsafes = node.felix.inbound.iter().chain(&node.felix.outbound);
            sets.extend(failsafes.filter_map(|f| f.net.as_ref()));
        }
        sets.extend(self.pools.iter().map(|pool| &pool.nets));
        sets.extend(&self.pod_ranges);
        sets.extend(self.cloud.iter().flat_map(super::cloud::Cloud::address_sets));
        sets.into_iter().collect()
    }

    /// Every rule in both families, policies' and profiles'.
    fn conditions(&self) -> impl Iterator<Item = &Conditions> {
        let policies = self
            .policies
            .iter()
            .flat_map(|p| p.ingress.iter().chain(&p.egress).flatten());
        let profiles = self.profiles.iter().filter_map(|profile| profile.rules.as_ref());
        let profiles = profiles.flat_map(|p| p.ingress.iter().chain(&p.egress));
        let rules = policies.chain(profiles);
        rules.flat_map(|rule| Family::ALL.into_iter().filter_map(|family| rule.of(family)))
    }

    /// Client ports that make a difference somewhere: those that rules name as source ports.
    pub(super) fn source_ports(&self) -> BTreeSet<crate::net::PortSet> {
        let sides = self.conditions().map(|c| &c.source);
        let ports = sides.flat_map(|side| side.ports.iter().chain(&side.not_ports));
        let mut sets: BTreeSet<crate::net::PortSet> = BTreeSet::new();
        for ports in ports {
            sets.insert(ports.numbers.clone());
            for (_, port) in ports.names.iter().flat_map(|name| name.ports()) {
                sets.insert(crate::net::PortSet::from_ranges([(port, port)]));
            }
        }
        sets.extend(self.cloud.iter().flat_map(super::cloud::Cloud::source_ports));
        let untracked = |stages: &super::world::Stages| !stages.untracked.is_empty();
        if self.stages.iter().any(|stages| untracked(stages)) {
            // In the raw table the failsafe lists let replies through by their source port.
            let felix = self.nodes.iter().map(|node| &node.felix);
            let failsafes = felix.flat_map(|felix| felix.inbound.iter().chain(&felix.outbound));
            sets.extend(failsafes.map(|f| crate::net::PortSet::from_ranges([(f.port, f.port)])));
        }
        sets
    }
}

fn named_ports(side: &Side) -> impl Iterator<Item = &AddressSet> {
    let ports = side.ports.iter().chain(&side.not_ports);
    ports.flat_map(|ports| ports.names.iter().flat_map(|name| name.addresses()))
}
