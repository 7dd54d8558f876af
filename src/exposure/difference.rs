//! Exposure of one world, and what changes from one to another, in the few rows that a person would write.
//!
//! Targets are classed in both worlds, ports and sources cut by both: nothing falls between samples. Rows that say the
//! same of several nodes are one row.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::cells::{Cell, Client, Decision, Ports, Prober, Region, echo};
use super::compare::{Found, Pair, Place, Sides};
use super::coverage::Clients;
use super::targets::Target;
use super::verdict::{Origin, Packet, Verdict};
use super::world::World;
use crate::net::{AddressSet, Family, PortSet, Protocol};

/// What packets find: the verdict and what decided it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    pub verdict: Verdict,
    pub decision: Option<Decision>,
}

/// Where packets come from, seen from the node that they go to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum From {
    /// Neither a node nor a pod of the cluster.
    Outside,
    /// A process of the same node.
    ThisNode,
    OtherNodes,
    PodsOfThisNode,
    PodsOfOtherNodes,
}

/// Who and what a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub from: From,
    pub family: Family,
    pub protocol: Protocol,
    /// Empty for protocols without.
    pub ports: PortSet,
    /// The Service whose NodePort it is.
    pub service: Option<String>,
    /// Addresses of the clients. Of outside clients those of nodes and pods may be among them, where leaving them out
    /// would only cut the set up: see [`Exposure::outside`].
    pub sources: AddressSet,
}

/// One line of an exposure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    pub subject: Subject,
    /// Nodes, each with the addresses meant.
    pub nodes: Arc<Nodes>,
    /// Who of the cluster it is about; `None` where it is about sources outside.
    pub clients: Option<Clients>,
    pub answer: Answer,
    /// A packet that fares so.
    pub witness: Packet,
}

/// Who can reach what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    pub reaches: Vec<Reach>,
    /// Addresses that are neither a node's nor a pod's; rows hold for these only.
    pub outside: AddressSet,
}

/// How an answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Movement {
    Opens,
    BecomesUnknown,
    Closes,
    BecomesKnown,
    Stays,
}

impl Movement {
    pub fn of(before: Option<Verdict>, after: Option<Verdict>) -> Movement {
        // An address that is not there lets nobody in.
        let openness = |verdict: Option<Verdict>| match verdict {
            None | Some(Verdict::Blocked) => 0,
            Some(Verdict::Partly) => 1,
            Some(Verdict::Open | Verdict::HostDecides) => 2,
            Some(Verdict::Unknown) => 3,
        };
        match (openness(before), openness(after)) {
            (a, b) if a == b => Movement::Stays,
            (_, 3) => Movement::BecomesUnknown,
            (3, _) => Movement::BecomesKnown,
            (a, b) if a < b => Movement::Opens,
            _ => Movement::Closes,
        }
    }
}

/// One line of a difference. `None`: the node is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub subject: Subject,
    pub nodes: Arc<Nodes>,
    /// Who of the cluster it is about; `None` where it is about sources outside.
    pub clients: Option<Clients>,
    pub movement: Movement,
    pub before: Option<Answer>,
    pub after: Option<Answer>,
    pub witness: Packet,
}

/// Every outside source, node, port and family of a world.
pub fn exposure(world: &World) -> Exposure {
    let prober = Prober::new(world);
    let mut rows: Rows<Answer> = Rows::default();
    for class in prober.target_classes() {
        let cells = prober.cells(Client::Outside, class[0], None);
        for (cell, region) in cells.iter().flat_map(|c| c.regions.iter().map(move |r| (c, r))) {
            let subject = subject(class[0], cell, region.sources.clone());
            rows.add(subject, answer(world, region), named(world, class));
        }
    }
    let reach = |((subject, answer), nodes): ((Subject, Answer), Nodes)| Reach {
        witness: witness(&subject, &nodes, prober.outside()),
        subject,
        nodes: Arc::new(nodes),
        clients: None,
        answer,
    };
    Exposure {
        reaches: rows.0.into_iter().map(reach).collect(),
        outside: prober.outside().clone(),
    }
}

/// What opens, closes and stays. Of what stays, only ports on which something changes somewhere are listed: there it
/// says for whom nothing does.
pub fn difference(before: &World, after: &World) -> Vec<Row> {
    let sides = Sides::new(before, after);
    let outside = sides.outside();
    let mut all: Vec<(Subject, Found, &Pair)> = Vec::new();
    let mut moved: Ports = Ports::new();
    let mut add = |pair, only: Option<&Ports>, moved: Option<&mut Ports>| {
        let found = sides.compare(pair, only);
        let found: Vec<(Subject, Found)> = found
            .into_iter()
            .filter(|(s, _)| s.sources.first_common(&outside).is_some())
            .collect();
        if let Some(moved) = moved {
            for (subject, _) in found.iter().filter(|(_, found)| movement(found) != Movement::Stays) {
                let entry = moved.entry(subject.protocol).or_insert_with(PortSet::empty);
                *entry = entry.union(&subject.ports);
            }
        }
        all.extend(found.into_iter().map(|(subject, found)| (subject, found, pair)));
    };
    let translated = sides.same.translated_ports();
    let (same, other): (Vec<&Pair>, Vec<&Pair>) = sides.pairs.iter().partition(|pair| sides.same_on_arrival(pair));
    for pair in &other {
        add(pair, None, Some(&mut moved));
    }
    for pair in &same {
        // What is the same on arrival can differ only in what happens to packets that are sent on.
        add(pair, Some(&translated), Some(&mut moved));
    }
    let rest: Ports = moved
        .iter()
        .map(|(protocol, ports)| match translated.get(protocol) {
            Some(done) => (*protocol, ports.minus(done)),
            None => (*protocol, ports.clone()),
        })
        .collect();
    for pair in &same {
        add(pair, Some(&rest), None);
    }
    let row = |(((subject, found), nodes), ports): (((Subject, Found), Nodes), PortSet)| {
        let subject = Subject { ports, ..subject };
        let (before, after) = sides.answers(&found);
        Row {
            movement: movement(&found),
            witness: witness(&subject, &nodes, &outside),
            subject,
            nodes: Arc::new(nodes),
            clients: None,
            before,
            after,
        }
    };
    let mut rows: Vec<Row> = put_together(all, &moved).into_iter().map(row).collect();
    rows.sort_by(|a, b| (a.movement, &a.subject, &a.nodes).cmp(&(b.movement, &b.subject, &b.nodes)));
    rows
}

/// What is the same of several pairs, and then on several ports, is one row. The ports of the keys are left out.
fn put_together(all: Vec<(Subject, Found, &Pair)>, moved: &Ports) -> BTreeMap<((Subject, Found), Nodes), PortSet> {
    let mut by_nodes: BTreeMap<(Subject, Found), Nodes> = BTreeMap::new();
    for (subject, found, pair) in all {
        let subject = match movement(&found) {
            Movement::Stays => within(subject, moved),
            _ => Some(subject),
        };
        let Some(subject) = subject else { continue };
        let nodes = by_nodes.entry((subject, found)).or_default();
        for (node, address) in &pair.places {
            nodes.entry(node.clone()).or_default().insert(*address);
        }
    }
    let mut by_ports: BTreeMap<((Subject, Found), Nodes), PortSet> = BTreeMap::new();
    for ((mut subject, found), nodes) in by_nodes {
        let ports = std::mem::replace(&mut subject.ports, PortSet::empty());
        let entry = by_ports.entry(((subject, found), nodes)).or_insert_with(PortSet::empty);
        *entry = entry.union(&ports);
    }
    by_ports
}

pub(super) fn movement(found: &Found) -> Movement {
    Movement::of(found.0.map(|raw| raw.0), found.1.map(|raw| raw.0))
}

/// The subject on these ports only, if it has any of them.
fn within(mut subject: Subject, ports: &Ports) -> Option<Subject> {
    let ports = ports.get(&subject.protocol)?;
    if subject.protocol.has_ports() {
        subject.ports = subject.ports.intersect(ports);
        if subject.ports.is_empty() {
            return None;
        }
    }
    Some(subject)
}

/// Nodes by name, each with addresses.
pub type Nodes = BTreeMap<String, BTreeSet<IpAddr>>;

pub(super) fn nodes_of(places: &[Place]) -> Nodes {
    let mut nodes = Nodes::new();
    for (node, address) in places {
        nodes.entry(node.clone()).or_default().insert(*address);
    }
    nodes
}

fn named(world: &World, class: &[Target]) -> Nodes {
    let place = |target: &Target| (world.nodes[target.node].name.clone(), target.address);
    nodes_of(&class.iter().map(place).collect::<Vec<_>>())
}

pub(super) fn answer(world: &World, region: &Region) -> Answer {
    Answer {
        verdict: region.verdict,
        decision: region.decision.map(|decision| world.decision(decision)),
    }
}

pub(super) fn subject(target: Target, cell: &Cell, sources: AddressSet) -> Subject {
    Subject {
        from: From::Outside,
        family: Family::of(target.address),
        protocol: cell.protocol,
        ports: cell.ports.clone(),
        service: cell.service.clone(),
        sources,
    }
}

/// Rows, those that say the same of several nodes put together.
pub(super) struct Rows<A>(pub BTreeMap<(Subject, A), Nodes>);

impl<A> Default for Rows<A> {
    fn default() -> Self {
        Rows(BTreeMap::new())
    }
}

impl<A: Ord> Rows<A> {
    pub fn add(&mut self, subject: Subject, answer: A, nodes: Nodes) {
        let entry = self.0.entry((subject, answer)).or_default();
        for (node, addresses) in nodes {
            entry.entry(node).or_default().extend(addresses);
        }
    }
}

pub(super) fn witness(subject: &Subject, nodes: &Nodes, outside: &AddressSet) -> Packet {
    let source = subject.sources.common_example(outside);
    let destination = nodes
        .values()
        .flatten()
        .copied()
        .find(|a| Family::of(*a) == subject.family)
        .expect("a row has a node with an address");
    Packet {
        from: Origin::Outside,
        source: source.unwrap_or(destination),
        destination,
        protocol: subject.protocol,
        port: subject.ports.ranges().first().map(|(low, _)| *low),
        source_port: None,
        icmp_type: (!subject.protocol.has_ports()).then(|| echo(subject.family)),
        backend: None,
    }
}
