//! Sorts of nodes, and of endpoints of Services.
//!
//! Those of one sort fare alike on the way to them: the keys hold everything that a walk looks at. A walk to a node that
//! it was on already, or that the packets came from, looks at more: such a node is never taken for another.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::facts::Backend;
use super::memory::Memberships;
use super::world::{Place, Port, World};
use crate::net::Family;

/// Each node and each endpoint by the number of its sort.
pub(super) struct Sorts {
    pub nodes: Vec<usize>,
    /// By Service and place in its list.
    endpoints: Vec<Vec<Endpoint>>,
}

#[derive(Clone, Copy)]
struct Endpoint {
    sort: usize,
    /// The node that it is on, where that is known.
    home: Option<usize>,
}

/// What of a node.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct NodeKey {
    /// The settings, by where they are kept.
    felix: usize,
    star: Option<usize>,
    outward: Vec<Option<usize>>,
    /// Sets that hold the addresses it sends with.
    own: Vec<Option<usize>>,
    /// Where interfaces are known, routes are the node's own.
    itself: Option<usize>,
    /// The kinds of its interfaces in the cloud.
    wires: Vec<usize>,
}

/// What of an endpoint of a Service.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct EndpointKey {
    service: usize,
    port: u16,
    addresses: Vec<(Family, Option<usize>)>,
    /// The node, by sort, and the pod's policy.
    node: Option<usize>,
    pod: Option<usize>,
    /// What governs the interface that each address is behind.
    governed: Vec<(Vec<Option<usize>>, bool)>,
    wires: Vec<Option<usize>>,
    /// Where interfaces are known, a route may be to this address only.
    itself: Option<usize>,
}

/// Equal things get equal numbers.
struct Numbers<K>(BTreeMap<K, usize>);

impl<K: Ord> Numbers<K> {
    fn new() -> Self {
        Numbers(BTreeMap::new())
    }

    fn of(&mut self, key: K) -> usize {
        let next = self.0.len();
        *self.0.entry(key).or_insert(next)
    }
}

impl Sorts {
    pub fn new(world: &World, memberships: &Memberships) -> Sorts {
        let mut numbers = Numbers::new();
        let nodes = 0..world.nodes.len();
        let nodes: Vec<usize> = nodes
            .map(|node| numbers.of(node_key(world, node, memberships)))
            .collect();
        let routes_known = world.nodes.iter().any(|node| node.interfaces.is_some());
        let mut numbers = Numbers::new();
        let mut endpoint = |service: usize, place: usize, backend: &Backend| {
            let found = backend.addresses.iter().find_map(|address| world.places.get(address));
            let home = found.and_then(|place| home(world, *place));
            let key = EndpointKey {
                service,
                port: backend.port,
                addresses: backend
                    .addresses
                    .iter()
                    .map(|address| (Family::of(*address), memberships.of(*address)))
                    .collect(),
                node: home.map(|node| nodes[node]),
                pod: match found {
                    Some(Place::Pod(pod)) => Some(world.pods[*pod].applied),
                    _ => None,
                },
                governed: backend
                    .addresses
                    .iter()
                    .filter_map(|address| governed(world, world.places.get(address)?, *address))
                    .collect(),
                wires: backend
                    .addresses
                    .iter()
                    .map(|address| world.wire_of(*address))
                    .collect(),
                itself: routes_known.then_some(place),
            };
            let sort = numbers.of(key);
            Endpoint { sort, home }
        };
        let services = world.services.iter().flatten().enumerate();
        let endpoints = services.map(|(service, facts)| {
            let backends = facts.backends.iter().flatten().enumerate();
            backends
                .map(|(place, backend)| endpoint(service, place, backend))
                .collect()
        });
        Sorts {
            endpoints: endpoints.collect(),
            nodes,
        }
    }

    /// For each node: sorts of endpoints that it has, and whether only it has them.
    pub fn at_home(&self) -> Vec<BTreeSet<(usize, bool)>> {
        let mut homes: BTreeMap<usize, BTreeSet<Option<usize>>> = BTreeMap::new();
        for endpoint in self.endpoints.iter().flatten() {
            homes.entry(endpoint.sort).or_default().insert(endpoint.home);
        }
        let mut at_home = vec![BTreeSet::new(); self.nodes.len()];
        for (sort, homes) in homes {
            for node in homes.iter().flatten() {
                at_home[*node].insert((sort, homes.len() == 1));
            }
        }
        at_home
    }

    /// The first of each sort of these endpoints of a Service; those on one of the nodes that are `near` are another sort.
    pub fn one_of_each(&self, service: usize, endpoints: Vec<usize>, near: [Option<usize>; 2]) -> Vec<usize> {
        let mut seen = BTreeSet::new();
        let mut first = |place: &usize| {
            let Endpoint { sort, home } = self.endpoints[service][*place];
            seen.insert((sort, home.filter(|_| near.contains(&home))))
        };
        let mut endpoints = endpoints;
        endpoints.retain(|place| first(place));
        endpoints
    }
}

fn home(world: &World, place: Place) -> Option<usize> {
    match place {
        Place::Pod(pod) => Some(world.pods[pod].node),
        Place::Node(node) => Some(node),
        Place::Outside => None,
    }
}

/// The host endpoints that may govern the interface, and whether it is taken for a pod's.
fn governed(world: &World, place: &Place, address: std::net::IpAddr) -> Option<(Vec<Option<usize>>, bool)> {
    let (node, port) = match *place {
        Place::Pod(pod) => (world.pods[pod].node, Port::Workload(pod)),
        Place::Node(node) => (node, world.arrival(node, address)),
        Place::Outside => return None,
    };
    Some((world.governing_keys(node, port), world.workload(port).is_some()))
}

fn node_key(world: &World, node: usize, memberships: &Memberships) -> NodeKey {
    let outward = world.outward(node);
    let here = &world.nodes[node];
    NodeKey {
        felix: Rc::as_ptr(&here.felix).addr(),
        star: here.star.map(|e| world.endpoints[e].applied),
        outward: world.governing_keys(node, outward),
        own: Family::ALL
            .iter()
            .flat_map(|family| world.own_addresses(node, outward, *family))
            .map(|address| memberships.of(address))
            .collect(),
        itself: here.interfaces.as_ref().map(|_| node),
        wires: world
            .cloud
            .as_ref()
            .map_or_else(Vec::new, |cloud| cloud.of_node(node).to_vec()),
    }
}
