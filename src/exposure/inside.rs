//! The same for clients inside the cluster: nodes and pods, as they reach nodes.
//!
//! Clients are classed as targets are. What a pair of classes finds depends on whether client and target are on one
//! node, and on nothing else of the two; `coverage.rs` makes rows of what the pairs found.

use std::collections::{BTreeMap, BTreeSet};

use super::cells::{Client, Ports, Prober};
use super::compare::{Answers, Pair, Place, Sides};
use super::coverage::{Census, Coverage, Covered, Name};
use super::difference::{Answer, From, Movement, Reach, Row, answer, movement, subject};
use super::targets::Target;
use super::verdict::Origin;
use super::world::World;
use crate::net::AddressSet;

impl Client {
    /// The node that it is on.
    pub(super) fn home(self, world: &World) -> Option<usize> {
        match self {
            Client::Outside => None,
            Client::Node(node) => Some(node),
            Client::Pod(pod) => Some(world.pods[pod].node),
        }
    }

    pub(super) fn name(self, world: &World) -> Name {
        match self {
            Client::Outside => (String::new(), None),
            Client::Node(node) => (world.nodes[node].name.clone(), None),
            Client::Pod(pod) => (world.pods[pod].namespace.clone(), Some(world.pods[pod].name.clone())),
        }
    }

    pub(super) fn origin(self, world: &World) -> Origin {
        match self.name(world) {
            (node, None) => Origin::Node(node),
            (namespace, Some(name)) => Origin::Pod { namespace, name },
        }
    }

    pub(super) fn from(self, same_node: bool) -> From {
        match (self, same_node) {
            (Client::Outside, _) => From::Outside,
            (Client::Node(_), true) => From::ThisNode,
            (Client::Node(_), false) => From::OtherNodes,
            (Client::Pod(_), true) => From::PodsOfThisNode,
            (Client::Pod(_), false) => From::PodsOfOtherNodes,
        }
    }
}

/// A client and a target of these classes on one node, or on two.
pub(super) fn related(world: &World, clients: &[Client], targets: &[Target], same: bool) -> Option<(Client, Target)> {
    let at: BTreeMap<usize, Target> = targets.iter().rev().map(|target| (target.node, *target)).collect();
    clients.iter().find_map(|client| {
        let home = client.home(world)?;
        let target = if same {
            at.get(&home).copied()
        } else {
            targets.iter().copied().find(|target| target.node != home)
        }?;
        world.sources(*client, target)?;
        Some((*client, target))
    })
}

/// More walks than this are not made: some seconds. Only clusters with many sorts of nodes, clients and ports at once
/// come to it.
const WALKS: usize = 300_000;

/// Every node and pod as a client of every node; `None` where that are too many sorts of pairs.
pub fn exposure_inside(world: &World) -> Option<Vec<Reach>> {
    let prober = Prober::new(world);
    let (clients, targets) = (prober.client_classes(), prober.target_classes());
    let names = |class: &Vec<Client>| class.iter().map(|client| client.name(world)).collect();
    let places = |class: &Vec<Target>| class.iter().map(|target| target.place(world)).collect();
    let census = Census::new(
        clients.iter().map(names).collect(),
        targets.iter().map(places).collect(),
        vec![world],
    );
    let parts = |class: &Vec<Target>| prober.parts(Client::Outside, class[0]);
    if clients.len() * targets.iter().map(parts).sum::<usize>() > WALKS {
        return None;
    }
    let mut coverage: Coverage<Answer> = Coverage::default();
    for (sender, senders) in clients.iter().enumerate() {
        for (place, class) in targets.iter().enumerate() {
            for same in [true, false] {
                let Some((client, target)) = related(world, senders, class, same) else {
                    continue;
                };
                for cell in prober.cells(client, target, None).iter() {
                    for region in &cell.regions {
                        let mut subject = subject(target, cell, AddressSet::empty());
                        subject.from = client.from(same);
                        coverage.add(subject, answer(world, region), place, sender);
                    }
                }
            }
        }
    }
    let reach = |(row, answer): (Covered, Answer)| Reach {
        subject: row.subject,
        nodes: row.nodes,
        clients: Some(row.clients),
        answer,
        witness: row.witness,
    };
    Some(coverage.rows(&census).into_iter().map(reach).collect())
}

/// What opens, closes and becomes unknown for nodes and pods; `None` where that are too many sorts of pairs.
pub fn difference_inside(before: &World, after: &World) -> Option<Vec<Row>> {
    let sides = Sides::new(before, after);
    if sides.same.sent_on() {
        return Some(Vec::new());
    }
    let translated = sides.same.translated_ports();
    let places = sides.pairs.iter().map(|pair| pair.places.clone()).collect();
    let census = Census::new(client_pairs(&sides), places, vec![after, before]);
    let mut coverage: Coverage<Answers> = Coverage::default();
    let mut walks = 0;
    let unmoved = Unmoved::new(&sides, &census, &translated);
    for sender in 0..census.senders.len() {
        for place in 0..sides.pairs.len() {
            if unmoved.between(sender, place) {
                continue;
            }
            for same in [true, false] {
                let Some((from, clients, one)) = meeting(&sides, &census, sender, place, same) else {
                    continue;
                };
                let unchanged = sides.same_on_leaving(clients);
                // What is the same on both ways can differ only in what happens to packets that are sent on.
                let only = (unchanged && sides.same_on_arrival(&one)).then_some(&translated);
                walks += only.map_or_else(
                    || sides.parts(&one),
                    |ports| ports.values().map(|p| p.ranges().len()).sum(),
                );
                if walks > WALKS {
                    return None;
                }
                for (subject, found) in sides.compare_from(from, clients, &one, only) {
                    if movement(&found) != Movement::Stays {
                        coverage.add(subject, sides.answers(&found), place, sender);
                    }
                }
            }
        }
    }
    let row = |(row, (before, after)): (Covered, Answers)| Row {
        movement: Movement::of(
            before.as_ref().map(|answer| answer.verdict),
            after.as_ref().map(|answer| answer.verdict),
        ),
        subject: row.subject,
        nodes: row.nodes,
        clients: Some(row.clients),
        before,
        after,
        witness: row.witness,
    };
    let mut rows: Vec<Row> = coverage.rows(&census).into_iter().map(row).collect();
    rows.sort_by(|a, b| (a.movement, &a.subject, &a.nodes).cmp(&(b.movement, &b.subject, &b.nodes)));
    Some(rows)
}

/// Classes of clients and of places that nothing differs for, where no port's packets are sent on to what differs:
/// between two of these nothing moves.
pub(super) struct Unmoved {
    senders: Vec<bool>,
    places: Vec<bool>,
}

impl Unmoved {
    pub fn new(sides: &Sides<'_>, census: &Census<'_>, translated: &Ports) -> Unmoved {
        let none = translated.is_empty();
        let leaves_alike = |name: &Name| sides.same_on_leaving(both(census, name));
        let arrives_alike = |place: &Place| sides.same_on_arrival(&alone(sides, place));
        let senders = census.senders.iter();
        let pairs = sides.pairs.iter();
        Unmoved {
            senders: senders.map(|class| none && class.iter().all(leaves_alike)).collect(),
            places: pairs
                .map(|pair| none && pair.places.iter().all(arrives_alike))
                .collect(),
        }
    }

    pub fn between(&self, sender: usize, place: usize) -> bool {
        self.senders[sender] && self.places[place]
    }
}

/// The client of that name before and after.
fn both(census: &Census<'_>, name: &Name) -> [Option<Client>; 2] {
    // The census has the later world first.
    [census.client(1, name), census.client(0, name)]
}

/// One place in both worlds.
fn alone(sides: &Sides<'_>, place: &Place) -> Pair {
    Pair {
        before: target(sides.before.0, place),
        after: target(sides.after.0, place),
        places: vec![place.clone()],
    }
}

/// Clients that are in one class before and in one after.
pub(super) fn client_pairs(sides: &Sides<'_>) -> Vec<Vec<Name>> {
    let of = |world: &World, prober: &Prober<'_>| -> BTreeMap<Name, usize> {
        let classes = prober.client_classes();
        let numbered = classes.iter().enumerate();
        let named = numbered.flat_map(|(i, class)| class.iter().map(move |client| (client.name(world), i)));
        named.collect()
    };
    let (old, new) = (of(sides.before.0, &sides.before.1), of(sides.after.0, &sides.after.1));
    let mut pairs: BTreeMap<(Option<usize>, Option<usize>), Vec<Name>> = BTreeMap::new();
    for name in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let pair = (old.get(name).copied(), new.get(name).copied());
        pairs.entry(pair).or_default().push(name.clone());
    }
    pairs.into_values().collect()
}

pub(super) fn target(world: &World, (name, address): &Place) -> Option<Target> {
    let node = world.node(name)?;
    let own = world.nodes[node].addresses.contains(address);
    own.then_some(Target {
        node,
        address: *address,
    })
}

/// A client and a place of that class on one node, or on two, in both worlds as far as they are there: the client before and after.
pub(super) fn meeting(
    sides: &Sides<'_>,
    census: &Census<'_>,
    sender: usize,
    place: usize,
    same: bool,
) -> Option<(From, [Option<Client>; 2], Pair)> {
    let worlds = [sides.before.0, sides.after.0];
    let pair = &sides.pairs[place];
    census.senders[sender].iter().find_map(|name| {
        let clients = both(census, name);
        let home = |side: usize| Some(&worlds[side].nodes[clients[side]?.home(worlds[side])?].name);
        let homes: BTreeSet<&String> = [home(0), home(1)].into_iter().flatten().collect();
        let place = if same {
            census.place_at(place, homes.first().filter(|_| homes.len() == 1)?)
        } else {
            pair.places.iter().find(|(node, _)| !homes.contains(node))
        }?;
        let one = alone(sides, place);
        let mut sends = [one.before, one.after].into_iter().enumerate();
        let client = sends.find_map(|(side, target)| {
            let client = clients[side]?;
            worlds[side].sources(client, target?).map(|_| client)
        })?;
        Some((client.from(same), clients, one))
    })
}
