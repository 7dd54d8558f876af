//! The walk between nodes, and from and to the outside, where the cloud's firewall stands.
//!
//! What is not known of it does not end the walk: packets that a node blocks anyway are blocked.

use super::cloud::Passing;
use super::path::{Walker, Walking};
use super::stage::{Header, Why};
use super::verdict::{Direction, Hook, Ruling, Verdict};
use super::world::{Place, Port, World};
use crate::net::AddressSet;

impl Walker<'_> {
    /// Packets come to a node from the network.
    pub(super) fn arrive_by_wire(&mut self, node: usize, port: Port, walking: Walking) {
        for part in self.firewall(node, Direction::Ingress, walking, None) {
            self.arrive(node, port, part);
        }
    }

    /// Packets leave a node for another.
    pub(super) fn cross(&mut self, node: usize, next: usize, port: Port, walking: Walking) {
        let destination = walking.flow.header.destination;
        let tunnelled = port == Port::Tunnel || self.world.always_encapsulated(destination);
        let outer = tunnelled
            .then(|| self.world.outer(node, next, &walking.flow.header))
            .flatten();
        let header = outer.as_ref();
        if self.world.cloud.is_some() && tunnelled && header.is_none() && !self.blind {
            // no address to send it by is known
            let mut walking = walking;
            walking.note(node, Hook::SecurityGroup, None, Ruling::Unknown, Why::Unread("IPPool"));
            walking.doubt();
            return self.arrive(next, port, walking);
        }
        for part in self.firewall(node, Direction::Egress, walking, header) {
            for part in self.firewall(next, Direction::Ingress, part, header) {
                self.arrive(next, port, part);
            }
        }
    }

    /// Packets leave the cluster.
    pub(super) fn depart(&mut self, node: usize, walking: Walking) {
        for part in self.firewall(node, Direction::Egress, walking, None) {
            self.end_open(part);
        }
    }

    /// What of the packets the firewall at the node's interface lets through; with `outer`, as the firewall sees them.
    fn firewall(
        &mut self,
        node: usize,
        direction: Direction,
        walking: Walking,
        outer: Option<&Header>,
    ) -> Vec<Walking> {
        if self.blind || self.world.cloud.is_none() {
            return vec![walking];
        }
        let header = outer.unwrap_or(&walking.flow.header);
        let mut going = Vec::new();
        for passing in self.world.passing(node, direction, header) {
            let mut part = match outer {
                Some(_) => walking.clone(),
                None => walking.part(passing.sources),
            };
            for (hook, ruling, why) in passing.steps {
                part.note(node, hook, None, ruling, why);
                if ruling == Ruling::Unknown {
                    part.doubt();
                }
            }
            match passing.ruling {
                Ruling::Drop => self.end(part, Verdict::Blocked),
                _ => going.push(part),
            }
        }
        going
    }
}

impl World {
    fn passing(&self, node: usize, direction: Direction, header: &Header) -> Vec<Passing> {
        let unknown = |why: Why| {
            vec![Passing {
                sources: header.sources.clone(),
                ruling: Ruling::Unknown,
                steps: vec![(Hook::SecurityGroup, Ruling::Unknown, why)],
            }]
        };
        let unread = ["NetworkInterface", "SecurityGroupRule"];
        if let Some(kind) = unread.into_iter().find(|kind| self.unread(kind).is_some()) {
            return unknown(Why::Unread(kind));
        }
        let Some(cloud) = &self.cloud else { return Vec::new() };
        let address = match direction {
            Direction::Ingress => Some(header.destination),
            Direction::Egress => header.sources.only_address(),
        };
        let wires = cloud.wires(node, address);
        let (first, others) = match wires.split_first() {
            None => return unknown(Why::NoInterface),
            Some((first, [])) => return cloud.ask(*first, direction, header),
            Some((first, others)) => (cloud.ask(*first, direction, header), others),
        };
        // Any of them may be the one: known is what all of them do.
        let mut together = first;
        for wire in others {
            together = agreed(&together, &cloud.ask(*wire, direction, header));
        }
        together
    }

    /// Whether packets to that address, a pod's, are in a tunnel on every wire between nodes.
    fn always_encapsulated(&self, destination: std::net::IpAddr) -> bool {
        let mut own = self.pools.iter().filter(|pool| pool.nets.contains(destination));
        matches!(self.places.get(&destination), Some(Place::Pod(_))) && own.any(|pool| pool.always)
    }

    /// The packets of a tunnel between two nodes that carries these.
    fn outer(&self, node: usize, next: usize, header: &Header) -> Option<Header> {
        let family = header.family;
        let own = self.own_address(node, self.outward(node), family)?;
        let other = self.own_address(next, self.outward(next), family)?;
        let pool = self
            .pools
            .iter()
            .find(|pool| pool.encapsulated && pool.nets.contains(header.destination))?;
        let vxlan = self.nodes[next].felix.vxlan_port;
        let (protocol, port) = if pool.vxlan { (17, Some(vxlan)) } else { (4, None) };
        Some(Header {
            family,
            protocol,
            icmp: None,
            sources: AddressSet::from_addresses([own]),
            source_port: port,
            destination: other,
            port,
        })
    }
}

/// What two interfaces do alike; the rest is not known.
fn agreed(one: &[Passing], other: &[Passing]) -> Vec<Passing> {
    let mut all = Vec::new();
    for a in one {
        for b in other {
            let sources = a.sources.intersect(&b.sources);
            if sources.is_empty() {
                continue;
            }
            let why = Why::NotEstablished("which interface of the node these packets take");
            all.push(match a.ruling == b.ruling {
                true => Passing { sources, ..a.clone() },
                false => Passing {
                    sources,
                    ruling: Ruling::Unknown,
                    steps: vec![(Hook::SecurityGroup, Ruling::Unknown, why)],
                },
            });
        }
    }
    all
}
