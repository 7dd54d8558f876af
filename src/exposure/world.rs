//! The world in which packets walk: nodes, endpoints, pods, services, tiers and policies, with every set worked out.
//!
//! Built once from [`Facts`] (`build.rs`); says which host endpoint governs an interface
//! (`felix/dataplane/linux/endpoint_mgr.go`) and where an address is. Knows nothing of packets.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::cloud::Cloud;
use super::facts::{Dataplane, PodFacts, ServiceFacts};
use super::felix::Felix;
use super::host_endpoint::HostEndpointFacts;
use super::index::RuleIndex;
use super::rules::Rule;
use super::verdict::{Direction, PolicyName};
use crate::net::{AddressSet, Family};

/// A world; `of_state` and `of_facts` build one.
#[derive(Debug)]
pub struct World {
    /// By name.
    pub(super) nodes: Vec<Node>,
    /// By name.
    pub(super) endpoints: Vec<Endpoint>,
    /// By namespace and name.
    pub(super) pods: Vec<Pod>,
    pub(super) services: Option<Vec<ServiceFacts>>,
    /// In the order in which they are asked: tier, order, name.
    pub(super) policies: Vec<Policy>,
    /// In order; policies name them by place.
    pub(super) tiers: Vec<Tier>,
    /// Every profile that exists or is named, by name.
    pub(super) profiles: Vec<Profile>,
    pub(super) pools: Vec<Pool>,
    pub(super) pod_ranges: Option<AddressSet>,
    /// The firewall in front of the nodes; `None`: not asked for.
    pub(super) cloud: Option<Cloud>,
    pub(super) unread: BTreeMap<String, String>,
    pub(super) environment_read: bool,
    /// Policies in force for each different set of labels.
    pub(super) stages: Vec<Rc<Stages>>,
    /// What is in force at each kind of endpoint.
    pub(super) applied: Vec<Applied>,
    /// Where each address is.
    pub(super) places: BTreeMap<IpAddr, Place>,
    /// Each dataplane that may be in use on some node.
    pub(super) dataplanes: BTreeSet<Dataplane>,
}

/// What an answer takes for granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Assumption {
    /// No firewall in front of the nodes was read: all are taken to let packets through.
    FirewallInFront,
    /// Where Calico leaves the verdict to the node's own firewall, it is taken to let packets through.
    NodeFirewall,
    /// calico-node's environment was not read: it is taken to set nothing.
    Environment,
    /// kube-proxy's `nodePortAddresses` was not read.
    NodePorts,
    /// Targets are nodes' addresses only.
    Balancers,
    /// Pods were not read: nothing is said of them as clients.
    Pods,
}

#[derive(Debug)]
pub(super) struct Node {
    pub name: String,
    /// `None`: only addresses are known.
    pub interfaces: Option<Vec<Interface>>,
    pub addresses: Vec<IpAddr>,
    pub external: Vec<IpAddr>,
    pub felix: Rc<Felix>,
    /// Host endpoints of this node but `*`, by name.
    pub endpoints: Vec<usize>,
    /// The `*` endpoint in force.
    pub star: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Interface {
    pub addresses: Vec<(IpAddr, u8)>,
    pub governed: Option<usize>,
}

#[derive(Debug)]
pub(super) struct Endpoint {
    /// Shared between worlds.
    pub facts: Arc<HostEndpointFacts>,
    pub applied: usize,
}

impl std::ops::Deref for Endpoint {
    type Target = HostEndpointFacts;

    fn deref(&self) -> &HostEndpointFacts {
        &self.facts
    }
}

/// Policies and profiles of an endpoint; many endpoints have the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Applied {
    pub stages: usize,
    pub profiles: Vec<usize>,
}

#[derive(Debug)]
pub(super) struct Pod {
    /// Shared between worlds: there are more pods than all else.
    pub facts: Arc<PodFacts>,
    pub node: usize,
    pub applied: usize,
}

impl std::ops::Deref for Pod {
    type Target = PodFacts;

    fn deref(&self) -> &PodFacts {
        &self.facts
    }
}

#[derive(Debug)]
pub(super) struct Policy {
    pub name: PolicyName,
    pub tier: usize,
    pub staged: bool,
    pub stage: PolicyStage,
    /// `None`: not policed in this direction.
    pub ingress: Option<Vec<Rule>>,
    pub egress: Option<Vec<Rule>>,
}

impl Policy {
    pub fn rules(&self, direction: Direction) -> Option<&[Rule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PolicyStage {
    Untracked,
    PreDnat,
    Normal,
    /// Normal and forward.
    Forward,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Tier {
    pub name: String,
    pub denies: bool,
    /// Whether order and default action are known.
    pub known: bool,
}

#[derive(Debug)]
pub(super) struct Profile {
    pub name: PolicyName,
    /// `None`: named, but not there.
    pub rules: Option<ProfileRules>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct ProfileRules {
    pub ingress: Vec<Rule>,
    pub egress: Vec<Rule>,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Pool {
    pub nets: AddressSet,
    pub nat_outgoing: bool,
    pub encapsulated: bool,
    /// Within a subnet too.
    pub always: bool,
    pub vxlan: bool,
    pub ipip: bool,
    pub family: Family,
}

/// The policies of one set of labels, sorted into stages (`felix/calc/event_sequencer.go` tierInfoToProtoTierInfo).
#[derive(Debug, Default)]
pub(super) struct Stages {
    pub untracked: Lists,
    pub pre_dnat: Lists,
    pub normal: Lists,
    pub forward: Lists,
}

#[derive(Debug, Default)]
pub(super) struct Lists {
    pub ingress: Vec<TierRun>,
    pub egress: Vec<TierRun>,
}

impl Lists {
    pub fn is_empty(&self) -> bool {
        self.ingress.is_empty() && self.egress.is_empty()
    }

    pub fn of(&self, direction: Direction) -> &[TierRun] {
        match direction {
            Direction::Ingress => &self.ingress,
            Direction::Egress => &self.egress,
        }
    }
}

/// The policies of one tier that police one direction.
#[derive(Debug)]
pub(super) struct TierRun {
    pub tier: usize,
    /// What none of the policies decides is dropped.
    pub denies: bool,
    pub policies: Vec<usize>,
    /// Made when it is first asked for.
    pub index: OnceCell<RuleIndex>,
}

/// Where an address is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Node(usize),
    Pod(usize),
    Outside,
}

/// The end of a wire on a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Port {
    /// By place in the node's list.
    Interface(usize),
    Loopback,
    /// A pod's.
    Workload(usize),
    /// The one that has this address, where interfaces are not known.
    Holding(IpAddr),
    /// The one that leads out, where interfaces are not known.
    Outward,
    /// A tunnel between nodes.
    Tunnel,
}

impl World {
    pub(super) fn stages(&self, endpoint: usize) -> &Stages {
        &self.stages[self.applied[self.endpoints[endpoint].applied].stages]
    }

    pub(super) fn node(&self, name: &str) -> Option<usize> {
        self.nodes.binary_search_by(|node| node.name.as_str().cmp(name)).ok()
    }

    pub(super) fn pod(&self, namespace: &str, name: &str) -> Option<usize> {
        let name_of = |pod: &Pod| (pod.namespace.as_str(), pod.name.as_str()).cmp(&(namespace, name));
        self.pods.binary_search_by(name_of).ok()
    }

    /// Where the address is, seen from a node.
    pub(super) fn place(&self, address: IpAddr, from: usize) -> Place {
        if address.is_loopback() {
            return Place::Node(from);
        }
        self.places.get(&address).copied().unwrap_or(Place::Outside)
    }

    /// Whether the address may be that of a pod that was not read.
    pub(super) fn may_be_pod(&self, address: IpAddr) -> bool {
        self.unread("Pod").is_some()
            && !address.is_loopback()
            && !self.places.contains_key(&address)
            && self.pod_ranges.as_ref().is_none_or(|ranges| ranges.contains(address))
    }

    /// The interface through which packets to one of the node's own addresses arrive.
    pub(super) fn arrival(&self, node: usize, address: IpAddr) -> Port {
        if address.is_loopback() {
            return Port::Loopback;
        }
        match &self.nodes[node].interfaces {
            None => Port::Holding(address),
            Some(list) => list
                .iter()
                .position(|i| i.addresses.iter().any(|(a, _)| *a == address))
                .map_or(Port::Outward, Port::Interface),
        }
    }

    /// The interface with the default route.
    pub(super) fn outward(&self, node: usize) -> Port {
        match &self.nodes[node].interfaces {
            Some(list) if !list.is_empty() => Port::Interface(0),
            _ => Port::Outward,
        }
    }

    /// The interface through which the node sends to an address.
    pub(super) fn departure(&self, node: usize, to: IpAddr) -> Port {
        match self.place(to, node) {
            Place::Pod(pod) if self.pods[pod].node == node => Port::Workload(pod),
            Place::Node(other) if other == node => Port::Loopback,
            _ => {
                let direct = |(address, prefix): &(IpAddr, u8)| {
                    crate::net::Cidr::new(*address, *prefix).is_some_and(|net| net.contains(to))
                };
                let list = self.nodes[node].interfaces.as_deref().unwrap_or_default();
                list.iter()
                    .position(|interface| interface.addresses.iter().any(direct))
                    .map_or_else(|| self.outward(node), Port::Interface)
            }
        }
    }

    /// The host endpoint, other than `*`, that governs the interface; several where that is not known.
    pub(super) fn governing(&self, node: usize, port: Port) -> Vec<Option<usize>> {
        let here = &self.nodes[node];
        let candidates = || here.endpoints.iter().copied();
        match port {
            Port::Workload(pod) => {
                let name = self.pods[pod].interface.as_deref().unwrap_or_default();
                let governs = |e: &usize| self.endpoints[*e].interface == name;
                vec![candidates().find(governs).filter(|_| self.workload(port).is_none())]
            }
            Port::Interface(i) => vec![here.interfaces.as_ref().and_then(|list| list[i].governed)],
            Port::Loopback => {
                let governs = |e: &usize| self.governs(*e, "lo", &["127.0.0.1", "::1"].map(parsed));
                vec![candidates().find(governs)]
            }
            Port::Tunnel | Port::Outward => candidates().map(Some).chain([None]).collect(),
            Port::Holding(address) => {
                let mut may = Vec::new();
                for index in candidates() {
                    let endpoint = &self.endpoints[index];
                    let unnamed = endpoint.interface.is_empty();
                    if unnamed && endpoint.expected.contains(&address) {
                        may.push(Some(index));
                        return may;
                    }
                    // Another address of the same interface may bind it; so may its name.
                    let others = here.addresses.iter().any(|a| endpoint.expected.contains(a));
                    if (unnamed && others) || (!unnamed && endpoint.interface != "lo") {
                        may.push(Some(index));
                    }
                }
                may.push(None);
                may
            }
        }
    }

    /// The pod behind an interface that Felix takes for a pod's, which is a matter of the interface's name.
    pub(super) fn workload(&self, port: Port) -> Option<usize> {
        let Port::Workload(pod) = port else { return None };
        let facts = &self.pods[pod];
        let felix = &self.nodes[facts.node].felix;
        facts
            .interface
            .as_ref()
            .is_none_or(|name| felix.is_workload(name))
            .then_some(pod)
    }

    /// Whether a host endpoint is a candidate for an interface.
    pub(super) fn governs(&self, endpoint: usize, interface: &str, addresses: &[IpAddr]) -> bool {
        let endpoint = &self.endpoints[endpoint];
        if endpoint.interface.is_empty() {
            addresses.iter().any(|a| endpoint.expected.contains(a))
        } else {
            endpoint.interface == interface
        }
    }

    /// The address of the node in the family with which it sends through that interface; several where that is not
    /// known.
    pub(super) fn own_addresses(&self, node: usize, port: Port, family: Family) -> Vec<IpAddr> {
        let here = &self.nodes[node];
        let in_family = |a: &IpAddr| Family::of(*a) == family;
        let all = here.addresses.iter().copied().filter(in_family);
        match (&here.interfaces, port) {
            (None, _) => all.collect(),
            (Some(list), Port::Interface(i)) => {
                let own = list[i].addresses.iter().map(|(a, _)| *a).find(in_family);
                own.into_iter().chain(all).take(1).collect()
            }
            (Some(_), _) => all.take(1).collect(),
        }
    }

    /// The first of them.
    pub(super) fn own_address(&self, node: usize, port: Port, family: Family) -> Option<IpAddr> {
        self.own_addresses(node, port, family).first().copied()
    }

    /// What answers take for granted, each the same everywhere.
    pub fn assumptions(&self) -> Vec<Assumption> {
        let mut all = match self.cloud {
            Some(_) => vec![Assumption::NodeFirewall],
            None => vec![Assumption::FirewallInFront, Assumption::NodeFirewall],
        };
        all.extend((!self.environment_read).then_some(Assumption::Environment));
        let mut services = self.services.iter().flatten();
        all.extend(services.any(|s| s.node_port.is_some()).then_some(Assumption::NodePorts));
        all.push(Assumption::Balancers);
        all.extend(self.unread("Pod").map(|_| Assumption::Pods));
        all
    }

    /// Kinds that were not read, with the reason.
    pub fn not_read(&self) -> &BTreeMap<String, String> {
        &self.unread
    }

    /// Why a kind was not read.
    pub(super) fn unread(&self, kind: &str) -> Option<&str> {
        self.unread.get(kind).map(String::as_str)
    }
}

fn parsed(text: &str) -> IpAddr {
    text.parse().expect("an address written here")
}
