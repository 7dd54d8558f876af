//! One flow in a world, exactly: these senders to these nodes on these ports.
//!
//! The answer comes in parts that fare alike, with a packet each; together they are every packet of the flow.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::cells::{Client, Decision, Prober};
use super::inside::related;
use super::targets::Target;
use super::verdict::{Origin, Packet, Verdict};
use super::world::World;
use crate::net::{AddressSet, Family, PortSet, Protocol};

/// Who sends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Senders {
    /// Those of these addresses that are neither a node's nor a pod's.
    Outside(AddressSet),
    /// A process of this node.
    Node(String),
    /// Pods by namespace and name.
    Pods(BTreeSet<(String, String)>),
}

/// What is asked about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flow {
    pub from: Senders,
    /// By name; each at every address of its own.
    pub nodes: BTreeSet<String>,
    pub protocol: Protocol,
    pub ports: PortSet,
}

/// A part of a flow that fares alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    pub nodes: BTreeMap<String, BTreeSet<IpAddr>>,
    pub protocol: Protocol,
    pub ports: PortSet,
    pub sources: AddressSet,
    pub verdict: Verdict,
    pub decision: Option<Decision>,
    /// A packet of it.
    pub witness: Packet,
}

/// A world that is asked about flows.
pub struct Flows<'w> {
    world: &'w World,
    prober: Prober<'w>,
    targets: Vec<Vec<Target>>,
    clients: Vec<Vec<Client>>,
}

impl<'w> Flows<'w> {
    pub fn new(world: &'w World) -> Self {
        let prober = Prober::new(world);
        Flows {
            world,
            targets: prober.target_classes().to_vec(),
            clients: prober.client_classes().to_vec(),
            prober,
        }
    }

    /// Addresses that are neither a node's nor a pod's.
    pub fn outside(&self) -> &AddressSet {
        self.prober.outside()
    }

    /// Every packet of the flow, in parts. Empty where no address of the nodes is known, or nobody sends.
    pub fn of(&self, flow: &Flow) -> Vec<Part> {
        let mut parts = Vec::new();
        for class in &self.targets {
            let named = |target: &&Target| flow.nodes.contains(&self.world.nodes[target.node].name);
            let targets: Vec<Target> = class.iter().filter(named).copied().collect();
            if targets.is_empty() {
                continue;
            }
            match &flow.from {
                Senders::Outside(addresses) => {
                    let addresses = addresses.intersect(self.prober.outside());
                    parts.extend(self.parts(flow, Client::Outside, targets[0], &targets, Some(&addresses)));
                }
                Senders::Node(_) | Senders::Pods(_) => {
                    for class in &self.clients {
                        let sends = |client: &&Client| flow.from.holds(**client, self.world);
                        let clients: Vec<Client> = class.iter().filter(sends).copied().collect();
                        for same in [true, false] {
                            let Some((client, target)) = related(self.world, &clients, &targets, same) else {
                                continue;
                            };
                            let alike = self.alike(same, &clients, &targets);
                            parts.extend(self.parts(flow, client, target, &alike, None));
                        }
                    }
                }
            }
        }
        parts
    }

    /// The targets that are on the node of one of the clients; else those that are not on the node of one of them.
    fn alike(&self, same: bool, clients: &[Client], targets: &[Target]) -> Vec<Target> {
        let homes: Vec<Option<usize>> = clients.iter().map(|client| client.home(self.world)).collect();
        let meets = |target: &&Target| homes.iter().any(|home| (Some(target.node) == *home) == same);
        targets.iter().filter(meets).copied().collect()
    }

    fn parts(
        &self,
        flow: &Flow,
        client: Client,
        target: Target,
        targets: &[Target],
        addresses: Option<&AddressSet>,
    ) -> Vec<Part> {
        let mut parts = Vec::new();
        let family = Family::of(target.address);
        for cell in self.prober.cells_of(client, target, flow.protocol, Some(&flow.ports)) {
            for region in cell.regions {
                let own = AddressSet::family(family);
                let sources = region.sources.intersect(addresses.unwrap_or(&own));
                let Some(source) = sources.example() else { continue };
                let mut nodes: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
                for target in targets {
                    let node = self.world.nodes[target.node].name.clone();
                    nodes.entry(node).or_default().insert(target.address);
                }
                parts.push(Part {
                    nodes,
                    protocol: flow.protocol,
                    witness: Packet {
                        from: match client {
                            Client::Outside => Origin::Outside,
                            client => client.origin(self.world),
                        },
                        source,
                        destination: target.address,
                        protocol: flow.protocol,
                        port: cell.ports.ranges().first().map(|(low, _)| *low),
                        source_port: None,
                        icmp_type: None,
                        backend: None,
                    },
                    ports: cell.ports.clone(),
                    sources,
                    verdict: region.verdict,
                    decision: region.decision.map(|decision| self.world.decision(decision)),
                });
            }
        }
        parts
    }
}

impl Senders {
    fn holds(&self, client: Client, world: &World) -> bool {
        match (self, client) {
            (Senders::Node(name), Client::Node(node)) => world.nodes[node].name == *name,
            (Senders::Pods(names), Client::Pod(pod)) => {
                let pod = &world.pods[pod];
                names.contains(&(pod.namespace.clone(), pod.name.clone()))
            }
            _ => false,
        }
    }
}
