//! From what pairs of classes found to rows: which clients of the cluster fare so at which nodes.
//!
//! Where every client of its kind fares alike at a node, the row is about all of them; else it says how many.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::cells::Client;
use super::compare::Place;
use super::difference::{From, Nodes, Subject, nodes_of, witness};
use super::targets::Target;
use super::verdict::{Origin, Packet};
use super::world::World;
use crate::net::{AddressSet, Family, PortSet};

/// What rows on several ports have in common.
type Row<A> = (Subject, A, Arc<Nodes>, Clients);

/// A client by name: a node, or a pod's namespace and name.
pub type Name = (String, Option<String>);

/// Clients that a row is about, of those that it could be about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Clients {
    pub count: usize,
    pub of: usize,
    /// The first of them: `n1`, `shop/web-0`.
    pub first: String,
}

impl Clients {
    pub fn all(&self) -> bool {
        self.count == self.of
    }
}

/// Who there is, by class: clients, and places that they reach.
pub(super) struct Census<'w> {
    pub senders: Vec<Vec<Name>>,
    places: Vec<Vec<Place>>,
    /// For each class of places, the first one of each node.
    first_at: Vec<BTreeMap<String, usize>>,
    /// The first one that has a client says where it is.
    worlds: Vec<(&'w World, BTreeMap<Name, Client>)>,
}

struct Member {
    name: Name,
    home: String,
    families: BTreeSet<Family>,
}

impl<'w> Census<'w> {
    pub fn new(senders: Vec<Vec<Name>>, places: Vec<Vec<Place>>, worlds: Vec<&'w World>) -> Self {
        let named = |world: &'w World| {
            let nodes = (0..world.nodes.len()).map(Client::Node);
            let all = nodes.chain((0..world.pods.len()).map(Client::Pod));
            (world, all.map(|client| (client.name(world), client)).collect())
        };
        let first_at = |class: &Vec<Place>| {
            let numbered = class.iter().enumerate().rev();
            numbered.map(|(i, (node, _))| (node.clone(), i)).collect()
        };
        Census {
            senders,
            first_at: places.iter().map(first_at).collect(),
            places,
            worlds: worlds.into_iter().map(named).collect(),
        }
    }

    /// The first place of that class on the node.
    pub fn place_at(&self, class: usize, node: &str) -> Option<&Place> {
        Some(&self.places[class][*self.first_at[class].get(node)?])
    }

    pub fn client(&self, world: usize, name: &Name) -> Option<Client> {
        self.worlds[world].1.get(name).copied()
    }

    fn member(&self, name: &Name) -> Option<Member> {
        let (world, client) = self
            .worlds
            .iter()
            .find_map(|(world, of)| Some((world, of.get(name)?)))?;
        let addresses = match *client {
            Client::Outside => return None,
            Client::Node(node) => &world.nodes[node].addresses,
            Client::Pod(pod) => &world.pods[pod].addresses,
        };
        Some(Member {
            name: name.clone(),
            home: world.nodes[client.home(world)?].name.clone(),
            families: addresses.iter().map(|address| Family::of(*address)).collect(),
        })
    }

    /// The addresses that the client's packet to the place may come from, in the first world that has both.
    fn sources(&self, name: &Name, place: &Place) -> Option<AddressSet> {
        self.worlds.iter().find_map(|(world, of)| {
            let (client, node) = (*of.get(name)?, world.node(&place.0)?);
            world.sources(client, Target { node, address: place.1 })
        })
    }
}

/// What was found: for each answer and class of places, the classes of clients that find it.
pub(super) struct Coverage<A>(BTreeMap<(Subject, A), Found>);

/// What was made of a finding, for the next that is alike.
type Known = BTreeMap<Found, Vec<Who>>;

/// For each class of places, classes of clients.
type Found = BTreeMap<usize, BTreeSet<usize>>;

impl<A> Default for Coverage<A> {
    fn default() -> Self {
        Coverage(BTreeMap::new())
    }
}

/// A row but for its answer.
pub(super) struct Covered {
    pub subject: Subject,
    pub nodes: Arc<Nodes>,
    pub clients: Clients,
    pub witness: Packet,
}

/// Clients at places, whatever they ask for there.
struct Who {
    nodes: Arc<Nodes>,
    clients: Clients,
    sources: AddressSet,
    /// A packet of one of them, without what it asks for.
    from: Origin,
    own: AddressSet,
    place: Place,
}

impl Who {
    fn witness(&self, subject: &Subject) -> Packet {
        let subject = Subject {
            sources: self.own.clone(),
            ..subject.clone()
        };
        let sent = witness(&subject, &nodes_of(std::slice::from_ref(&self.place)), &self.own);
        Packet {
            from: self.from.clone(),
            ..sent
        }
    }
}

/// Classes of clients of one kind and family.
struct Kin<'c> {
    census: &'c Census<'c>,
    same: bool,
    members: BTreeMap<usize, Vec<Member>>,
    /// Classes by the nodes that they are on, and those that are on one node only.
    at: BTreeMap<String, BTreeSet<usize>>,
    only_at: BTreeMap<String, BTreeSet<usize>>,
}

impl<A: Ord + Clone> Coverage<A> {
    /// The subject without sources.
    pub fn add(&mut self, mut subject: Subject, answer: A, place: usize, sender: usize) {
        subject.sources = AddressSet::empty();
        let places = self.0.entry((subject, answer)).or_default();
        places.entry(place).or_default().insert(sender);
    }

    pub fn rows(self, census: &Census<'_>) -> Vec<(Covered, A)> {
        let mut kin: BTreeMap<(From, Family), (Kin, Known)> = BTreeMap::new();
        // Rows that differ in their ports only are one.
        let mut rows: BTreeMap<Row<A>, (PortSet, Packet)> = BTreeMap::new();
        let mut shared: BTreeSet<Arc<Nodes>> = BTreeSet::new();
        for ((subject, answer), found) in self.0 {
            let of = (subject.from, subject.family);
            let (kin, known) = kin.entry(of).or_insert_with(|| (Kin::new(census, of), BTreeMap::new()));
            // On other ports, other answers: who and where is the same for thousands of them.
            let covered = known.entry(found).or_insert_with_key(|found| {
                let buckets = kin.buckets(found).into_iter();
                let rows = buckets.filter_map(|(places, covering)| kin.who(of.0, &places, &covering));
                let shared = |who: Who| {
                    let nodes = shared.get(&who.nodes).cloned().unwrap_or_else(|| who.nodes.clone());
                    shared.insert(nodes.clone());
                    Who { nodes, ..who }
                };
                rows.map(shared).collect::<Vec<Who>>()
            });
            for who in covered {
                let about = Subject {
                    sources: who.sources.clone(),
                    ports: PortSet::empty(),
                    ..subject.clone()
                };
                let entry = rows.entry((about, answer.clone(), who.nodes.clone(), who.clients.clone()));
                let (ports, _) = entry.or_insert_with(|| (PortSet::empty(), who.witness(&subject)));
                *ports = ports.union(&subject.ports);
            }
        }
        let row = |((subject, answer, nodes, clients), (ports, witness)): (_, (PortSet, Packet))| {
            let subject: Subject = subject;
            let covered = Covered {
                subject: Subject { ports, ..subject },
                nodes,
                clients,
                witness,
            };
            (covered, answer)
        };
        let mut rows: Vec<(Covered, A)> = rows.into_iter().map(row).collect();
        rows.sort_by(|(a, x), (b, y)| (&a.subject, x, &a.nodes).cmp(&(&b.subject, y, &b.nodes)));
        rows
    }
}

impl<'c> Kin<'c> {
    fn new(census: &'c Census<'c>, (from, family): (From, Family)) -> Self {
        let pods = matches!(from, From::PodsOfThisNode | From::PodsOfOtherNodes);
        let mut kin = Kin {
            census,
            same: matches!(from, From::ThisNode | From::PodsOfThisNode),
            members: BTreeMap::new(),
            at: BTreeMap::new(),
            only_at: BTreeMap::new(),
        };
        for (class, names) in census.senders.iter().enumerate() {
            let of_kind = names.iter().filter(|name| name.1.is_some() == pods);
            let members = of_kind.filter_map(|name| census.member(name));
            let members: Vec<Member> = members.filter(|member| member.families.contains(&family)).collect();
            let homes: BTreeSet<&String> = members.iter().map(|member| &member.home).collect();
            for home in &homes {
                kin.at.entry((*home).clone()).or_default().insert(class);
            }
            if let (Some(home), 1) = (homes.first(), homes.len()) {
                kin.only_at.entry((*home).clone()).or_default().insert(class);
            }
            if !members.is_empty() {
                kin.members.insert(class, members);
            }
        }
        kin
    }

    /// Places, together with the classes that fare so there: all classes that there are for it, or some.
    fn buckets(&self, found: &BTreeMap<usize, BTreeSet<usize>>) -> Vec<(Vec<Place>, BTreeSet<usize>)> {
        let none = BTreeSet::new();
        let mut buckets: BTreeMap<Option<BTreeSet<usize>>, Vec<Place>> = BTreeMap::new();
        let everybody: BTreeSet<usize> = self.members.keys().copied().collect();
        for (class, covering) in found {
            for place in &self.census.places[*class] {
                let possible: BTreeSet<usize> = if self.same {
                    self.at.get(&place.0).unwrap_or(&none).clone()
                } else {
                    let alone = self.only_at.get(&place.0).unwrap_or(&none);
                    everybody.difference(alone).copied().collect()
                };
                let here: BTreeSet<usize> = possible.intersection(covering).copied().collect();
                if !here.is_empty() {
                    let some = (here.len() < possible.len()).then_some(here);
                    buckets.entry(some).or_default().push(place.clone());
                }
            }
        }
        let row =
            |(some, places): (Option<BTreeSet<usize>>, Vec<Place>)| (places, some.unwrap_or_else(|| everybody.clone()));
        buckets.into_iter().map(row).collect()
    }

    fn who(&self, from: From, places: &[Place], covering: &BTreeSet<usize>) -> Option<Who> {
        let nodes = Arc::new(nodes_of(places));
        let at: BTreeMap<&String, &Place> = places.iter().rev().map(|place| (&place.0, place)).collect();
        let only = nodes.keys().next().filter(|_| nodes.len() == 1);
        let taking_part = |member: &&Member| match (self.same, only) {
            (true, _) => nodes.contains_key(&member.home),
            (false, Some(node)) => member.home != *node,
            (false, None) => true,
        };
        let of = self.members.values().flatten().filter(taking_part).count();
        let covered = covering.iter().filter_map(|class| self.members.get(class)).flatten();
        let covered: Vec<&Member> = covered.filter(taking_part).collect();
        let (mut sender, mut sources) = (None, Vec::new());
        for member in &covered {
            let place = if self.same {
                at.get(&member.home).copied()
            } else {
                at.values().copied().find(|place| place.0 != member.home)
            };
            let Some(place) = place else { continue };
            if let Some(own) = self.census.sources(&member.name, place) {
                sender.get_or_insert_with(|| (member.name.clone(), own.clone(), place.clone()));
                sources.push(own);
            }
        }
        if from == From::ThisNode {
            // A process reaches its own node by the address that it asks for.
            sources = vec![AddressSet::from_addresses(
                places.iter().map(|(_, a): &(String, IpAddr)| *a),
            )];
        }
        let first = covered.iter().map(|member| &member.name).min()?;
        let (name, own, place) = sender?;
        Some(Who {
            sources: AddressSet::union_of(&sources),
            from: match name {
                (node, None) => Origin::Node(node),
                (namespace, Some(name)) => Origin::Pod { namespace, name },
            },
            own,
            place,
            nodes,
            clients: Clients {
                count: covered.len(),
                of,
                first: match first {
                    (node, None) => node.clone(),
                    (namespace, Some(name)) => format!("{namespace}/{name}"),
                },
            },
        })
    }
}
