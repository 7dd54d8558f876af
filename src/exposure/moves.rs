//! What becomes more open, and what less, from one world to another, for the proof of an order.
//!
//! Exact like `difference`, and stricter in two ways. A Service's NodePort leads to the Service: where there was none,
//! nobody could reach it, even if Calico let packets through to the host. And unknown counts against both questions: it
//! may have been blocked before when asking "is it more open?", open when asking "is it less?", and the other way round
//! after; what is unknown in both worlds is taken to be alike.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::cells::{Client, Ports};
use super::compare::{Found, Raw, Sides};
use super::coverage::{Census, Name};
use super::difference::{From, Nodes, Subject, nodes_of, witness};
use super::inside::{Unmoved, client_pairs, meeting, target};
use super::known::Known;
use super::verdict::{Origin, Packet, Verdict};
use super::world::World;
use crate::net::{AddressSet, Family, PortSet};

/// How open something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Openness {
    Closed,
    Partly,
    Open,
    Unknown,
}

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum MoveWay {
    More,
    Less,
}

/// Packets for which it becomes more open, or less.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    pub way: MoveWay,
    /// Sources are those outside the cluster, or nobody's for clients inside it. The Service is what is reached: after,
    /// if it becomes more open, before if it becomes less; none is the host.
    pub subject: Subject,
    /// Clients inside the cluster: a node, or a pod with its namespace first.
    pub clients: Arc<BTreeSet<Name>>,
    pub nodes: Arc<Nodes>,
    pub before: Openness,
    pub after: Openness,
}

impl Openness {
    /// Where the address is not there nobody gets in.
    fn found(raw: Option<Raw>) -> Openness {
        raw.map_or(Openness::Closed, |raw| Openness::of(raw.0))
    }

    pub fn of(verdict: Verdict) -> Openness {
        match verdict {
            Verdict::Blocked => Openness::Closed,
            Verdict::Partly => Openness::Partly,
            Verdict::Open | Verdict::HostDecides => Openness::Open,
            Verdict::Unknown => Openness::Unknown,
        }
    }

    /// Whether a packet may get through after that may not have before.
    fn more(before: Openness, after: Openness) -> bool {
        match (before, after) {
            (Openness::Unknown, Openness::Unknown) => false,
            (Openness::Unknown, after) => after > Openness::Closed,
            (before, Openness::Unknown) => before < Openness::Open,
            (before, after) => after > before,
        }
    }

    /// Whether a packet that got through before may not after.
    fn less(before: Openness, after: Openness) -> bool {
        match (before, after) {
            (Openness::Unknown, Openness::Unknown) => false,
            (Openness::Unknown, after) => after < Openness::Open,
            (before, Openness::Unknown) => before > Openness::Closed,
            (before, after) => after < before,
        }
    }
}

/// What becomes more open and what less, for clients outside and inside the cluster. A part for which both hold, by
/// two destinations, is in the list twice.
pub fn moves(before: &Known, after: &Known) -> Vec<Move> {
    moves_on(before, after, None)
}

/// The same on some ports; none of a protocol that has none.
pub fn moves_on(before: &Known, after: &Known, only: Option<&Ports>) -> Vec<Move> {
    let sides = Sides::known(before, after);
    if sides.same.sent_on() {
        return Vec::new();
    }
    let mut found = from_outside(&sides, only);
    found.extend(from_inside(&sides, only));
    found
}

fn from_outside(sides: &Sides<'_>, only: Option<&Ports>) -> Vec<Move> {
    let outside = sides.outside();
    let translated = sides.same.translated_ports();
    let mut moves = Vec::new();
    for pair in &sides.pairs {
        // What is the same on arrival can differ only in what happens to packets that are sent on.
        let moves_nothing = translated.is_empty() && sides.same_on_arrival(pair);
        if moves_nothing || sides.alike([Some(Client::Outside); 2], pair) {
            continue;
        }
        let nodes = Arc::new(nodes_of(&pair.places));
        for (subject, found) in sides.compare(pair, only) {
            let sources = subject.sources.intersect(&outside);
            if sources.is_empty() {
                continue;
            }
            let subject = Subject { sources, ..subject };
            for moved in ways(sides, &subject, &found) {
                moves.push(Move {
                    way: moved.way,
                    subject: Subject {
                        service: moved.service,
                        ..subject.clone()
                    },
                    clients: Arc::default(),
                    nodes: nodes.clone(),
                    before: moved.before,
                    after: moved.after,
                });
            }
        }
    }
    moves
}

fn from_inside(sides: &Sides<'_>, only: Option<&Ports>) -> Vec<Move> {
    let mut moves = Vec::new();
    let translated = sides.same.translated_ports();
    let places = sides.pairs.iter().map(|pair| pair.places.clone()).collect();
    let census = Census::new(client_pairs(sides), places, vec![sides.after.0, sides.before.0]);
    let nodes: Vec<Arc<Nodes>> = sides
        .pairs
        .iter()
        .map(|pair| Arc::new(nodes_of(&pair.places)))
        .collect();
    let unmoved = Unmoved::new(sides, &census, &translated);
    for (sender, senders) in census.senders.iter().enumerate() {
        let all: Arc<BTreeSet<Name>> = Arc::new(senders.iter().cloned().collect());
        for (place, nodes) in nodes.iter().enumerate() {
            if unmoved.between(sender, place) {
                continue;
            }
            for same in [true, false] {
                let Some((from, clients, one)) = meeting(sides, &census, sender, place, same) else {
                    continue;
                };
                let unchanged = sides.same_on_leaving(clients);
                // What is the same on both ways can differ only in what happens to packets that are sent on.
                let moves_nothing = translated.is_empty() && unchanged && sides.same_on_arrival(&one);
                if moves_nothing || sides.alike(clients, &one) {
                    continue;
                }
                for (subject, found) in sides.compare_from(from, clients, &one, only) {
                    for moved in ways(sides, &subject, &found) {
                        moves.push(Move {
                            way: moved.way,
                            subject: Subject {
                                service: moved.service,
                                sources: AddressSet::empty(),
                                ..subject.clone()
                            },
                            clients: all.clone(),
                            nodes: nodes.clone(),
                            before: moved.before,
                            after: moved.after,
                        });
                    }
                }
            }
        }
    }
    moves
}

/// A direction in which a part moves.
struct Moved {
    way: MoveWay,
    /// What is reached: after, if it becomes more open, before if it becomes less.
    service: Option<String>,
    before: Openness,
    after: Openness,
}

fn ways(sides: &Sides<'_>, subject: &Subject, found: &Found) -> Vec<Moved> {
    let (before, after) = (Openness::found(found.0), Openness::found(found.1));
    let mut ways = Vec::new();
    let port = subject.ports.ranges().first().map(|(low, _)| *low);
    let service = |world: &World| port.and_then(|port| world.node_port_service(subject.protocol, port));
    let (old, new) = (service(sides.before.0), service(sides.after.0));
    // Who reaches a Service that was not there reaches something new; who reached one that is gone reaches it no more.
    let at_new = if new.is_some() && old != new {
        Openness::Closed
    } else {
        before
    };
    let at_old = if old.is_some() && old != new {
        Openness::Closed
    } else {
        after
    };
    if Openness::more(at_new, after) {
        ways.push(Moved {
            way: MoveWay::More,
            service: new,
            before: at_new,
            after,
        });
    }
    if Openness::less(before, at_old) {
        ways.push(Moved {
            way: MoveWay::Less,
            service: old,
            before,
            after: at_old,
        });
    }
    ways
}

impl Move {
    /// What is in both: packets that move the same way in two comparisons with one world after.
    pub fn common(&self, other: &Move) -> Option<Move> {
        let (a, b) = (&self.subject, &other.subject);
        if self.way != other.way
            || a.service != b.service
            || a.from != b.from
            || a.family != b.family
            || a.protocol != b.protocol
        {
            return None;
        }
        let ports = a.ports.intersect(&b.ports);
        if a.protocol.has_ports() && ports.is_empty() {
            return None;
        }
        let sources = a.sources.intersect(&b.sources);
        if a.from == From::Outside && sources.is_empty() {
            return None;
        }
        let nodes = match self.nodes == other.nodes {
            true => self.nodes.clone(),
            false => Arc::new(common_nodes(&self.nodes, &other.nodes)),
        };
        let clients = match self.clients == other.clients {
            true => self.clients.clone(),
            false => Arc::new(self.clients.intersection(&other.clients).cloned().collect()),
        };
        let met = match a.from {
            From::Outside => !nodes.is_empty(),
            From::ThisNode => clients.iter().any(|(node, _)| nodes.contains_key(node)),
            From::OtherNodes => clients.iter().any(|(node, _)| nodes.keys().any(|name| name != node)),
            From::PodsOfThisNode | From::PodsOfOtherNodes => !clients.is_empty() && !nodes.is_empty(),
        };
        let subject = Subject {
            ports,
            sources,
            ..a.clone()
        };
        met.then(|| self.narrowed(subject, clients, nodes))
    }

    /// Whether nothing of the other is left out.
    pub fn is_all_of(&self, other: &Move) -> bool {
        let (a, b) = (&self.subject, &other.subject);
        a.ports == b.ports && a.sources == b.sources && self.clients == other.clients && self.nodes == other.nodes
    }

    /// The part with these ports, and with these sources of those outside.
    pub fn within(&self, ports: Option<&PortSet>, sources: Option<&AddressSet>) -> Option<Move> {
        let mut subject = self.subject.clone();
        if let Some(ports) = ports {
            subject.ports = subject.ports.intersect(ports);
        }
        if subject.protocol.has_ports() && subject.ports.is_empty() {
            return None;
        }
        if let (Some(sources), From::Outside) = (sources, subject.from) {
            subject.sources = subject.sources.intersect(sources);
            if subject.sources.is_empty() {
                return None;
            }
        }
        Some(self.narrowed(subject, self.clients.clone(), self.nodes.clone()))
    }

    /// The part at these nodes.
    pub fn at(&self, keep: impl Fn(&str) -> bool) -> Option<Move> {
        if self.nodes.keys().all(|name| keep(name)) {
            return (!self.nodes.is_empty()).then(|| self.clone());
        }
        let kept = self.nodes.iter().filter(|(name, _)| keep(name));
        let nodes: Nodes = kept
            .map(|(name, addresses)| (name.clone(), addresses.clone()))
            .collect();
        (!nodes.is_empty()).then(|| self.narrowed(self.subject.clone(), self.clients.clone(), nodes.into()))
    }

    fn narrowed(&self, subject: Subject, clients: Arc<BTreeSet<Name>>, nodes: Arc<Nodes>) -> Move {
        Move {
            way: self.way,
            subject,
            clients,
            nodes,
            before: self.before,
            after: self.after,
        }
    }

    /// A packet among them, in a world that has its client and its node.
    pub fn packet(&self, world: &World) -> Option<Packet> {
        if self.subject.from == From::Outside {
            return Some(witness(&self.subject, &self.nodes, &self.subject.sources));
        }
        let same = matches!(self.subject.from, From::ThisNode | From::PodsOfThisNode);
        let places = self.nodes.iter();
        let places: Vec<(String, IpAddr)> = places
            .flat_map(|(name, addresses)| addresses.iter().map(|address| (name.clone(), *address)))
            .filter(|(_, address)| Family::of(*address) == self.subject.family)
            .collect();
        self.clients.iter().find_map(|name| {
            let (client, from) = match name {
                (node, None) => (Client::Node(world.node(node)?), Origin::Node(node.clone())),
                (namespace, Some(name)) => {
                    let pod = Client::Pod(world.pod(namespace, name)?);
                    let (namespace, name) = (namespace.clone(), name.clone());
                    (pod, Origin::Pod { namespace, name })
                }
            };
            let home = &world.nodes[client.home(world)?].name;
            let place = places.iter().find(|(node, _)| (node == home) == same)?;
            let sources = world.sources(client, target(world, place)?)?;
            let subject = Subject {
                sources: sources.clone(),
                ..self.subject.clone()
            };
            let sent = witness(&subject, &nodes_of(std::slice::from_ref(place)), &sources);
            Some(Packet { from, ..sent })
        })
    }
}

fn common_nodes(a: &Nodes, b: &Nodes) -> Nodes {
    let mut nodes = Nodes::new();
    for (name, addresses) in a {
        let both: BTreeSet<IpAddr> = b
            .get(name)
            .map(|other| addresses.intersection(other).copied().collect())
            .unwrap_or_default();
        if !both.is_empty() {
            nodes.insert(name.clone(), both);
        }
    }
    nodes
}
