//! What nodes can still reach outside the cluster (the API server, DNS, metadata), and what can still reach pods.
//!
//! Destinations are cut where a rule can tell two of them apart, nodes where policy can: each part is walked once.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::answer::fate;
use super::cells::Client;
use super::compare::Sides;
use super::inside::client_pairs;
use super::known::Known;
use super::verdict::{Origin, Packet, Verdict};
use super::world::World;
use crate::net::{AddressSet, Family, Protocol};

/// New connections of every node to addresses that are no node's and no pod's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Outgoing {
    pub destinations: AddressSet,
    pub protocol: Protocol,
    pub port: u16,
}

/// Nodes that may have reached something before and may not reach it after, with one of the packets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CutOff {
    pub flow: Outgoing,
    pub nodes: BTreeSet<String>,
    pub packet: Packet,
    pub after: Verdict,
}

/// Which of these flows are cut off, and at which nodes.
pub fn cut_off(before: &Known, after: &Known, flows: &[Outgoing]) -> Vec<CutOff> {
    let sides = Sides::known(before, after);
    let (before, after) = (&before.world, &after.world);
    if sides.same.sent_on() {
        return Vec::new();
    }
    let mut cut: BTreeMap<(usize, IpAddr, bool), (BTreeSet<String>, Packet)> = BTreeMap::new();
    let parts = OnceCell::new();
    for class in client_pairs(&sides) {
        let nodes: BTreeSet<String> = class.iter().filter(|n| n.1.is_none()).map(|n| n.0.clone()).collect();
        let Some(name) = nodes.first() else { continue };
        let clients = (before.node(name), after.node(name));
        // What leaves the node as before fares as before: nothing of the cluster is behind it.
        if matches!(clients, (Some(a), Some(b)) if sides.same.on_leaving(Client::Node(a), Client::Node(b))) {
            continue;
        }
        for (index, flow) in flows.iter().enumerate() {
            for part in parts.get_or_init(|| destinations(before, after)) {
                let part = part.intersect(&flow.destinations);
                for address in Family::ALL.iter().filter_map(|family| part.only(*family).example()) {
                    let Some(packet) = sent(before, name, address, flow) else {
                        continue;
                    };
                    let old = fate(before, &packet).0;
                    if old == Verdict::Blocked {
                        continue;
                    }
                    let new = sent(after, name, address, flow).map(|packet| fate(after, &packet).0);
                    let Some(new) = new.filter(|new| may_be_lost(old, *new)) else {
                        continue;
                    };
                    let unknown = new == Verdict::Unknown;
                    let entry = cut.entry((index, address, unknown));
                    let entry = entry.or_insert_with(|| (BTreeSet::new(), packet));
                    entry.0.extend(nodes.iter().cloned());
                }
            }
        }
    }
    let found = cut.into_iter().map(|((flow, _, unknown), (nodes, packet))| CutOff {
        flow: flows[flow].clone(),
        nodes,
        packet,
        after: if unknown { Verdict::Unknown } else { Verdict::Blocked },
    });
    found.collect()
}

/// Which IPv4 packets of a protocol without ports are cut off between nodes, and at which nodes they arrive.
pub fn cut_off_between_nodes(
    before: &Known,
    after: &Known,
    protocol: Protocol,
) -> Vec<(BTreeSet<String>, Packet, Verdict)> {
    let sides = Sides::known(before, after);
    if sides.same.sent_on() {
        return Vec::new();
    }
    let classes = client_pairs(&sides);
    let (before, after) = (&before.world, &after.world);
    let mut cut = Vec::new();
    for pair in &sides.pairs {
        let to: Vec<_> = pair.places.iter().filter(|(_, address)| address.is_ipv4()).collect();
        let lost = classes.iter().find_map(|class| {
            // Two of the receivers are enough to find one that is not the sender.
            to.iter().take(2).find_map(|(receiver, address)| {
                let mut senders = class.iter().filter(|name| name.1.is_none() && name.0 != *receiver);
                let flow = Outgoing {
                    destinations: AddressSet::from_addresses([*address]),
                    protocol,
                    port: 0,
                };
                let packet = sent(before, &senders.next()?.0, *address, &flow)?;
                let (old, new) = (fate(before, &packet).0, fate(after, &packet).0);
                may_be_lost(old, new).then_some((packet, new))
            })
        });
        if let Some((packet, verdict)) = lost {
            cut.push((to.iter().map(|(node, _)| node.clone()).collect(), packet, verdict));
        }
    }
    cut
}

fn sent(world: &World, node: &str, destination: IpAddr, flow: &Outgoing) -> Option<Packet> {
    let at = world.node(node)?;
    let source = world.own_address(at, world.departure(at, destination), Family::of(destination))?;
    Some(Packet {
        from: Origin::Node(node.to_string()),
        source,
        destination,
        protocol: flow.protocol,
        port: flow.protocol.has_ports().then_some(flow.port),
        source_port: None,
        icmp_type: None,
        backend: None,
    })
}

/// Addresses outside the cluster in both worlds, cut by every set that a rule of either names.
fn destinations(before: &World, after: &World) -> Vec<AddressSet> {
    let outside = before.inside().union(&after.inside()).complement();
    let sets: BTreeSet<&AddressSet> = [before, after].into_iter().flat_map(World::address_sets).collect();
    let sets: Vec<&AddressSet> = std::iter::once(&outside).chain(sets).collect();
    let parts = AddressSet::overlay(&sets).into_iter();
    parts
        .filter(|(of, _)| of.first() == Some(&0))
        .map(|(_, part)| part)
        .collect()
}

/// A port of a pod that something outside calls.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ToPod {
    pub address: IpAddr,
    pub protocol: Protocol,
    pub port: u16,
}

/// Pods that could be reached before and may not be after, each with one of the packets: from any address outside the
/// cluster if `managed`, else from the nodes.
pub fn pods_cut_off(before: &Known, after: &Known, pods: &[ToPod], managed: bool) -> Vec<(ToPod, Packet, Verdict)> {
    let sides = Sides::known(before, after);
    let (before, after) = (&before.world, &after.world);
    if pods.is_empty() || sides.same.sent_on() {
        return Vec::new();
    }
    let parts = destinations(before, after); // of sources here: what no rule can tell apart
    let classes = client_pairs(&sides);
    let mut cut = Vec::new();
    for pod in pods {
        let family = Family::of(pod.address);
        let mut packets: Vec<Packet> = Vec::new();
        let packet = |from: Origin, source: IpAddr| Packet {
            from,
            source,
            destination: pod.address,
            protocol: pod.protocol,
            port: Some(pod.port),
            source_port: None,
            icmp_type: None,
            backend: None,
        };
        if managed {
            let sources = parts.iter().filter_map(|part| part.only(family).example());
            packets.extend(sources.map(|source| packet(Origin::Outside, source)));
        } else {
            let names = classes
                .iter()
                .filter_map(|class| class.iter().find(|name| name.1.is_none()));
            for (name, _) in names {
                let node = before.node(name);
                let source =
                    node.and_then(|node| before.own_address(node, before.departure(node, pod.address), family));
                packets.extend(source.map(|source| packet(Origin::Node(name.clone()), source)));
            }
        }
        for packet in packets {
            let (old, new) = (fate(before, &packet).0, fate(after, &packet).0);
            if may_be_lost(old, new) {
                cut.push((pod.clone(), packet, new));
                break;
            }
        }
    }
    cut
}

/// Whether what may have got through before may not after. What is unknown in both is taken to be alike.
pub(super) fn may_be_lost(before: Verdict, after: Verdict) -> bool {
    match (before, after) {
        (Verdict::Blocked, _) | (Verdict::Unknown, Verdict::Unknown) => false,
        (_, after) => matches!(after, Verdict::Blocked | Verdict::Unknown),
    }
}
