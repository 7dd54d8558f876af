//! The same for clients inside the cluster: nodes and pods, as they reach nodes.
//!
//! Clients are classed as targets are. What a pair of classes finds depends on whether client and target are on one
//! node, and on nothing else of the two.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::cells::{Client, Prober};
use super::compare::{Answers, Pair, Place, Sides};
use super::difference::{
    Answer, From, Movement, Nodes, Reach, Row, Rows, Subject, answer, movement, nodes_of, subject, witness,
};
use super::targets::Target;
use super::verdict::{Origin, Packet};
use super::world::World;
use crate::net::AddressSet;

/// A client by name.
type Name = (String, Option<String>);

impl Client {
    /// The node that it is on.
    pub(super) fn home(self, world: &World) -> Option<usize> {
        match self {
            Client::Outside => None,
            Client::Node(node) => Some(node),
            Client::Pod(pod) => Some(world.pods[pod].node),
        }
    }

    fn name(self, world: &World) -> Name {
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

    fn from(self, same_node: bool) -> From {
        match (self, same_node) {
            (Client::Outside, _) => From::Outside,
            (Client::Node(_), true) => From::ThisNode,
            (Client::Node(_), false) => From::OtherNodes,
            (Client::Pod(_), true) => From::PodsOfThisNode,
            (Client::Pod(_), false) => From::PodsOfOtherNodes,
        }
    }
}

/// A client and a target of these classes on one node, and a pair on two.
pub(super) fn related(world: &World, clients: &[Client], targets: &[Target]) -> Vec<(bool, Client, Target)> {
    let mut found = Vec::new();
    for same in [true, false] {
        let pair = clients.iter().find_map(|client| {
            let home = client.home(world);
            let target = targets.iter().find(|target| (Some(target.node) == home) == same)?;
            Some((same, *client, *target))
        });
        found.extend(pair);
    }
    found
}

/// Addresses that clients of a class send from.
fn addresses(world: &World, clients: &[Client], target: Target) -> AddressSet {
    let sets = clients.iter().filter_map(|client| match client {
        // A process reaches its own node by the address that it asks for.
        Client::Node(node) if *node == target.node && clients.len() > 1 => None,
        client => world.sources(*client, target),
    });
    AddressSet::union_of(&sets.collect::<Vec<_>>())
}

/// Every node and pod as a client of every node.
pub fn exposure_inside(world: &World) -> Vec<Reach> {
    let prober = Prober::new(world);
    let memberships = &prober.memory.memberships;
    let (clients, targets) = (world.client_classes(memberships), world.target_classes(memberships));
    let mut rows: Rows<Answer> = Rows::default();
    let mut witnesses: BTreeMap<(Subject, Answer), Packet> = BTreeMap::new();
    for (senders, class) in clients.iter().flat_map(|s| targets.iter().map(move |c| (s, c))) {
        for (same, client, target) in related(world, senders, class) {
            let sources = if same && matches!(client, Client::Node(_)) {
                AddressSet::from_addresses(class.iter().map(|target| target.address))
            } else {
                addresses(world, senders, target)
            };
            for cell in prober.cells(client, target, None) {
                for region in &cell.regions {
                    let mut subject = subject(target, &cell, sources.clone());
                    subject.from = client.from(same);
                    let answer = answer(world, region);
                    let key = (subject.clone(), answer.clone());
                    witnesses
                        .entry(key)
                        .or_insert_with(|| packet(world, &subject, client, target));
                    rows.add(subject, answer, nodes_of(&places(world, class)));
                }
            }
        }
    }
    let reach = |(key, nodes): ((Subject, Answer), Nodes)| {
        let witness = witnesses.remove(&key).expect("each row has a witness");
        Reach {
            witness,
            subject: key.0,
            nodes,
            answer: key.1,
        }
    };
    rows.0.into_iter().map(reach).collect()
}

/// What opens, closes and becomes unknown for nodes and pods.
pub fn difference_inside(before: &World, after: &World) -> Vec<Row> {
    let sides = Sides::new(before, after);
    if sides.same.sent_on() {
        return Vec::new();
    }
    let clients = client_pairs(&sides);
    let mut rows: Rows<Answers> = Rows::default();
    let mut witnesses: BTreeMap<(Subject, Answers), Packet> = BTreeMap::new();
    for (senders, pair) in clients.iter().flat_map(|c| sides.pairs.iter().map(move |p| (c, p))) {
        for same in [true, false] {
            let Some((client, place)) = meeting(&sides, senders, pair, same) else {
                continue;
            };
            let one = Pair {
                before: target(before, &place),
                after: target(after, &place),
                places: vec![place],
            };
            let (world, at, sender) = match (client, one.before, one.after) {
                ([_, Some(client)], _, Some(target)) => (after, target, client),
                ([Some(client), _], Some(target), _) => (before, target, client),
                _ => continue,
            };
            let from = sender.from(same);
            for (mut subject, found) in sides.compare_from(from, client, &one, None) {
                if movement(&found) == Movement::Stays {
                    continue;
                }
                let answers = sides.answers(&found);
                let members: Vec<Client> = senders.iter().filter_map(|names| client_named(world, names)).collect();
                subject.sources = match (sender, same) {
                    (Client::Node(_), true) => AddressSet::from_addresses(pair.places.iter().map(|(_, a)| *a)),
                    _ => addresses(world, &members, at),
                };
                let key = (subject.clone(), answers.clone());
                witnesses
                    .entry(key)
                    .or_insert_with(|| packet(world, &subject, sender, at));
                rows.add(subject, answers, nodes_of(&pair.places));
            }
        }
    }
    let row = |((subject, answers), nodes): ((Subject, Answers), Nodes)| {
        let key = (subject, answers);
        let witness = witnesses.remove(&key).expect("each row has a witness");
        let (subject, answers) = key;
        Row {
            movement: Movement::of(
                answers.0.as_ref().map(|answer| answer.verdict),
                answers.1.as_ref().map(|answer| answer.verdict),
            ),
            subject,
            nodes,
            before: answers.0,
            after: answers.1,
            witness,
        }
    };
    let mut rows: Vec<Row> = rows.0.into_iter().map(row).collect();
    rows.sort_by(|a, b| (a.movement, &a.subject, &a.nodes).cmp(&(b.movement, &b.subject, &b.nodes)));
    rows
}

/// Clients that are in one class before and in one after.
fn client_pairs(sides: &Sides<'_>) -> Vec<Vec<Name>> {
    let of = |world: &World, prober: &Prober<'_>| -> BTreeMap<Name, usize> {
        let classes = world.client_classes(&prober.memory.memberships);
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

fn client_named(world: &World, name: &Name) -> Option<Client> {
    match name {
        (node, None) => world.node(node).map(Client::Node),
        (namespace, Some(name)) => world.pod(namespace, name).map(Client::Pod),
    }
}

fn target(world: &World, (name, address): &Place) -> Option<Target> {
    let node = world.node(name)?;
    let own = world.nodes[node].addresses.contains(address);
    own.then_some(Target {
        node,
        address: *address,
    })
}

/// A client and a place on one node, or on two, in both worlds as far as they are there.
fn meeting(sides: &Sides<'_>, senders: &[Name], pair: &Pair, same: bool) -> Option<([Option<Client>; 2], Place)> {
    senders.iter().find_map(|name| {
        let clients = [sides.before.0, sides.after.0].map(|world| client_named(world, name));
        let home = |world: &World, client: Option<Client>| {
            let node = client?.home(world)?;
            Some(world.nodes[node].name.clone())
        };
        let homes = [home(sides.before.0, clients[0]), home(sides.after.0, clients[1])];
        let place = pair.places.iter().find(|(node, _)| {
            let mut known = homes.iter().flatten();
            known.all(|home| (home == node) == same)
        })?;
        Some((clients, place.clone()))
    })
}

fn places(world: &World, class: &[Target]) -> Vec<(String, IpAddr)> {
    let place = |target: &Target| (world.nodes[target.node].name.clone(), target.address);
    class.iter().map(place).collect()
}

fn packet(world: &World, subject: &Subject, client: Client, target: Target) -> Packet {
    let nodes = nodes_of(&places(world, &[target]));
    let sources = world.sources(client, target).unwrap_or_else(AddressSet::empty);
    Packet {
        from: client.origin(world),
        ..witness(
            &Subject {
                sources: sources.clone(),
                ..subject.clone()
            },
            &nodes,
            &sources,
        )
    }
}
