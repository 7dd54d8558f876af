//! What a node loses beside connections: neighbour discovery, and failsafe ports.

use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use super::established::{Peer, neighbour_discovery};
use super::felix::Failsafe;
use super::outgoing::may_be_lost;
use super::verdict::{Direction, Hop};
use super::world::World;
use crate::net::{AddressSet, Protocol};

/// Nodes at which IPv6 neighbour discovery with their router may have worked before and may not after, with what breaks it.
/// Without it a node is not reached over IPv6 at all, whatever other rules say.
pub fn neighbour_discovery_lost(before: &World, after: &World) -> Vec<(String, Option<Hop>)> {
    let router = Peer::Router(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1));
    let mut lost = Vec::new();
    for node in &before.nodes {
        for asks in [true, false] {
            let works = |world: &World| neighbour_discovery(world, &node.name, &router, asks);
            match (works(before), works(after)) {
                (Some((old, _)), Some((new, hop))) if may_be_lost(old, new) => {
                    lost.push((node.name.clone(), hop));
                    break;
                }
                _ => {}
            }
        }
    }
    lost
}

/// Nodes with a host endpoint whose failsafe list covered a port before and does not after.
pub fn failsafes_lost(
    before: &World,
    after: &World,
    direction: Direction,
    protocol: Protocol,
    port: u16,
) -> BTreeSet<String> {
    let covered = |world: &World, node: usize| {
        let felix = &world.nodes[node].felix;
        let list = match direction {
            Direction::Ingress => &felix.inbound,
            Direction::Egress => &felix.outbound,
        };
        let mut area = AddressSet::empty();
        for failsafe in list
            .iter()
            .filter(|f: &&Failsafe| f.protocol == protocol.number() && f.port == port)
        {
            area = area.union(&failsafe.net.clone().unwrap_or_else(AddressSet::all));
        }
        area
    };
    let mut nodes = BTreeSet::new();
    for (index, node) in before.nodes.iter().enumerate() {
        let Some(now) = after.node(&node.name) else { continue };
        let bare = after.nodes[now].endpoints.is_empty() && after.nodes[now].star.is_none();
        if bare && after.unread("HostEndpoint").is_none() {
            continue; // no policy reaches it
        }
        let gone = covered(before, index).minus(&covered(after, now));
        if !gone.is_empty() {
            nodes.insert(node.name.clone());
        }
    }
    nodes
}
