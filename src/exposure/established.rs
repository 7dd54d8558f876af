//! Two things that a walk of a first packet does not show: connections that are open already, and IPv6 neighbour
//! discovery, without which nothing walks.
//!
//! Conntrack lets packets of open connections through before any rule, except in the raw table.

use std::net::{IpAddr, Ipv6Addr};

use super::answer::USUAL_SOURCE_PORT;
use super::facts::Dataplane;
use super::path::{Leg, Passage, Step, Walker};
use super::stage::{Header, Piece, Stage, Who};
use super::verdict::{Direction, Hook, Hop, Packet, Ruling, Verdict};
use super::world::{Port, World};
use crate::net::{AddressSet, Family};

/// What becomes of a connection that is open when this world comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Survives,
    Cut,
    Unknown,
}

/// Whether a connection whose first packet was this one, and which was open before, goes on.
pub fn fate_of_connection(world: &World, packet: &Packet) -> Fate {
    // The way does not depend on the dataplane.
    let mut walker = Walker::new(world, Dataplane::Iptables);
    walker.backend = packet.backend.as_deref();
    walker.blind = true;
    walker.start(packet, packet.source_port.or(Some(USUAL_SOURCE_PORT)));
    let mut fates = walker
        .ends
        .iter()
        .map(|end| fate_of_legs(world, &end.legs, end.verdict == Verdict::Unknown));
    let first = fates.next().unwrap_or(Fate::Unknown);
    fates.fold(first, |all, fate| if all == fate { all } else { Fate::Unknown })
}

fn fate_of_legs(world: &World, legs: &[Leg], unknown: bool) -> Fate {
    let mut fate = if unknown { Fate::Unknown } else { Fate::Survives };
    for leg in legs {
        let request = raw(world, leg.node, &leg.request);
        let reply = leg
            .reply
            .as_ref()
            .map_or(vec![Ruling::Nothing], |reply| raw(world, leg.node, reply));
        for (request, reply) in request.iter().flat_map(|r| reply.iter().map(move |s| (*r, *s))) {
            let here = match (request, reply) {
                (Ruling::Drop, _) | (_, Ruling::Drop) => Fate::Cut,
                (Ruling::Unknown, _) | (_, Ruling::Unknown) => Fate::Unknown,
                // Untracked one way only, conntrack sees half a connection and calls it invalid; untracked both ways,
                // it is not translated any more.
                (Ruling::Accept, Ruling::Accept) if !leg.translated => Fate::Survives,
                (Ruling::Accept, _) | (_, Ruling::Accept) => Fate::Cut,
                _ => Fate::Survives,
            };
            match (fate, here) {
                (Fate::Survives, here) => fate = here,
                (Fate::Unknown, Fate::Cut) if request.max(reply) != Ruling::Unknown => fate = Fate::Cut,
                _ => {}
            }
        }
    }
    fate
}

/// What the raw table makes of a packet; several rulings where something was not read.
fn raw(world: &World, node: usize, passage: &Passage) -> Vec<Ruling> {
    let mut rulings = Vec::new();
    for named in world.governing(node, passage.port) {
        match named.filter(|e| !world.stages(*e).untracked.is_empty()) {
            None if world.unread("GlobalNetworkPolicy").is_some() => rulings.push(Ruling::Unknown),
            None => rulings.push(Ruling::Nothing),
            asked => {
                let pieces = world.ask_endpoint(node, asked, Stage::Untracked, passage.direction, &passage.header);
                rulings.extend(pieces.iter().map(|piece| piece.ruling));
            }
        }
    }
    rulings
}

/// Whom a node discovers, or is discovered by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Peer {
    /// On the network of the interface with the default route.
    Router(Ipv6Addr),
    /// A pod of the node.
    Pod { namespace: String, name: String },
}

const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

/// Whether neighbour discovery works between the node and the peer: the one asks, the other answers. With the hop that
/// breaks it. `None` for a node or pod that is not there.
pub fn neighbour_discovery(world: &World, node: &str, peer: &Peer, node_asks: bool) -> Option<(Verdict, Option<Hop>)> {
    let node = world.node(node)?;
    let (port, address) = match peer {
        Peer::Router(address) => (world.outward(node), IpAddr::V6(*address)),
        Peer::Pod { namespace, name } => {
            let pod = world.pod(namespace, name)?;
            let address = world.pods[pod].addresses.iter().copied().find(IpAddr::is_ipv6)?;
            (Port::Workload(pod), address)
        }
    };
    let own = world.own_address(node, port, Family::V6)?;
    // Solicitations come from a link-local address, advertisements go to it.
    let link: IpAddr = Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 1).into();
    let header = |kind: u8, source: IpAddr, destination: IpAddr| Header {
        family: Family::V6,
        protocol: 58,
        icmp: Some(kind),
        sources: AddressSet::from_addresses([source]),
        source_port: None,
        destination,
        port: None,
    };
    let (inbound, outbound) = if node_asks {
        (
            header(ADVERTISEMENT, address, link),
            header(SOLICITATION, link, address),
        )
    } else {
        (header(SOLICITATION, link, own), header(ADVERTISEMENT, own, link))
    };
    let mut answers: Vec<(Verdict, Option<Hop>)> = Vec::new();
    let dataplanes = &world.nodes[node].felix.dataplanes;
    let governing = world.governing(node, port);
    for (named, dataplane) in governing
        .iter()
        .flat_map(|named| dataplanes.iter().map(move |d| (*named, *d)))
    {
        let link = Link {
            world,
            node,
            port,
            named,
            dataplane,
        };
        let outcome = link.passes(&outbound, Direction::Egress);
        answers.push(if outcome.0 == Verdict::Open {
            link.passes(&inbound, Direction::Ingress)
        } else {
            outcome
        });
    }
    let first = answers.first().cloned()?;
    let agree = answers.iter().all(|answer| answer.0 == first.0);
    Some(if agree { first } else { (Verdict::Unknown, first.1) })
}

struct Link<'w> {
    world: &'w World,
    node: usize,
    port: Port,
    named: Option<usize>,
    dataplane: Dataplane,
}

impl Link<'_> {
    /// Untracked, pre-DNAT inbound, and normal policy; the last is not asked about pods' interfaces.
    fn passes(&self, header: &Header, direction: Direction) -> (Verdict, Option<Hop>) {
        let star = self.world.nodes[self.node].star;
        let stages = |e: &usize| self.world.stages(*e);
        let untracked = self.named.filter(|e| !stages(e).untracked.is_empty());
        let has_pre_dnat = |e: &usize| !stages(e).pre_dnat.is_empty();
        let pre_dnat = self.named.filter(has_pre_dnat).or(star.filter(has_pre_dnat));
        // Conntrack leaves these messages alone, and nftables' `ct status != dnat` matches no untracked packet.
        let judged = direction == Direction::Ingress || self.dataplane != Dataplane::Nftables;
        let normal = self
            .named
            .or(star)
            .filter(|_| judged && self.world.workload(self.port).is_none());
        let hooks = match direction {
            Direction::Ingress => [Hook::RawPrerouting, Hook::ManglePrerouting, Hook::FilterInput],
            Direction::Egress => [Hook::RawOutput, Hook::ManglePostrouting, Hook::FilterOutput],
        };
        let asked = [
            (untracked, Stage::Untracked, hooks[0]),
            (
                pre_dnat.filter(|_| direction == Direction::Ingress),
                Stage::PreDnat,
                hooks[1],
            ),
            (normal, Stage::Normal, hooks[2]),
        ];
        for (endpoint, stage, hook) in asked {
            if endpoint.is_none() && self.world.unread("HostEndpoint").is_none() {
                continue;
            }
            let pieces = self.world.ask_endpoint(self.node, endpoint, stage, direction, header);
            let Some(Piece { ruling, why, .. }) = pieces.first().cloned() else {
                continue;
            };
            let agreed = pieces.iter().all(|piece| piece.ruling == ruling);
            let hop = self.world.hop(&Step {
                node: self.node,
                hook,
                asked: endpoint.map(Who::Endpoint),
                ruling,
                why,
            });
            match ruling {
                _ if !agreed => return (Verdict::Unknown, Some(hop)),
                Ruling::Drop => return (Verdict::Blocked, Some(hop)),
                Ruling::Unknown => return (Verdict::Unknown, Some(hop)),
                Ruling::Accept => return (Verdict::Open, None),
                Ruling::Pass | Ruling::Nothing => {}
            }
        }
        (Verdict::Open, None)
    }
}
