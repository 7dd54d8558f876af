//! Whether a world on the way is no worse than the ends: what may be open there that is open in neither, and which
//! connections that must stay are cut off.
//!
//! The worlds are exact and so is the comparison; a part counts as more open only where it is so compared with every
//! end, and as interrupted only where it is open in every end.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::lockout::{Incoming, Needed};
use crate::expect::{self, Forbidden, Watch};
use crate::exposure::{
    Direction, Hop, Known, Move, MoveWay, Openness, Packet, Ports, World, cut_off, cut_off_between_nodes,
    failsafes_lost, fate, moves, moves_on, neighbour_discovery_lost, pods_cut_off,
};
use crate::net::Protocol;

/// Why a world is worse than the ends.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wrong {
    /// More open than before and after.
    Exposed,
    /// A connection that must stay may be cut off; what needs it.
    LockedOut(String),
    /// A flow that the plan says may never open, or never close; in its words.
    Forbidden(String),
    /// Open before and after, and not here.
    Interrupted,
}

/// Packets for which a world is worse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breach {
    pub wrong: Wrong,
    /// All of them, where they are packets to nodes.
    part: Option<Move>,
    /// One of the packets; none where what is lost is no connection.
    pub packet: Option<Packet>,
    /// Nodes concerned.
    pub nodes: BTreeSet<String>,
    /// What decides about the packet.
    pub by: Option<Hop>,
    pub openness: Openness,
}

impl Breach {
    /// The packet as `--accept` names it.
    pub fn packet_text(&self) -> String {
        match (&self.packet, self.nodes.first()) {
            (Some(packet), _) => packet.to_string(),
            (None, Some(node)) => format!("node/{node}"),
            (None, None) => "every node".to_string(),
        }
    }

    /// Whether every packet of the other is one of these, and the same is wrong with it.
    pub fn covers(&self, other: &Breach) -> bool {
        if self.wrong != other.wrong {
            return false;
        }
        match (&self.part, &other.part) {
            (Some(mine), Some(part)) => mine.common(part).is_some_and(|common| common.is_all_of(part)),
            (None, None) => self.packet == other.packet && self.nodes.is_superset(&other.nodes),
            _ => false,
        }
    }

    /// The packets, where they are packets to nodes.
    pub fn part(&self) -> Option<&Move> {
        self.part.as_ref()
    }
}

/// What was found of one world.
#[derive(Clone, Debug, Default)]
pub struct Findings {
    pub exposed: Vec<Breach>,
    pub locked_out: Vec<Breach>,
    pub interrupted: Vec<Breach>,
    pub forbidden: Vec<Breach>,
}

impl Findings {
    pub fn worst(&self) -> impl Iterator<Item = &Breach> {
        self.exposed.iter().chain(&self.locked_out).chain(&self.forbidden)
    }
}

/// Holds the ends.
pub struct Judge<'a> {
    /// As it is, and once controllers have caught up with it.
    before: Vec<Rc<Known>>,
    after: Rc<Known>,
    needed: Needed,
    /// What the plan forbids.
    watch: Option<Watch<'a>>,
}

impl<'a> Judge<'a> {
    pub fn new(before: Vec<Rc<Known>>, after: Rc<Known>, needed: Needed, watch: Option<Watch<'a>>) -> Judge<'a> {
        Judge {
            before,
            after,
            needed,
            watch,
        }
    }

    /// Everything that is worse in a world than in the ends.
    pub fn judge(&self, world: &Known) -> Findings {
        self.judge_on(world, None)
    }

    /// The same on some ports.
    pub fn judge_on(&self, world: &Known, only: Option<&Ports>) -> Findings {
        let from_before = moves_on(&self.before[0], world, only);
        let from_others: Vec<Vec<Move>> = self.before[1..]
            .iter()
            .chain([&self.after])
            .map(|end| moves_on(end, world, only))
            .collect();
        let in_all = |way: MoveWay| {
            let mut parts: Vec<Move> = from_before.iter().filter(|m| m.way == way).cloned().collect();
            for others in &from_others {
                let common = |part: &Move| others.iter().filter_map(|other| part.common(other)).collect::<Vec<_>>();
                parts = parts.iter().flat_map(common).collect();
            }
            parts
        };
        let breach = |wrong: Wrong, part: &Move| breach(world.world(), wrong, part);
        Findings {
            exposed: in_all(MoveWay::More)
                .iter()
                .map(|part| breach(Wrong::Exposed, part))
                .collect(),
            interrupted: in_all(MoveWay::Less)
                .iter()
                .map(|part| breach(Wrong::Interrupted, part))
                .collect(),
            locked_out: self.locked_out(
                &[vec![from_before.clone()], from_others[..self.before.len() - 1].to_vec()].concat(),
                world,
            ),
            forbidden: self.forbidden(world),
        }
    }

    /// The same for a world in which every packet to a node fares as in one that was judged: what nodes send out of the
    /// cluster, pods that are called, neighbour discovery and failsafe ports are no packets to nodes.
    pub fn judge_beside_nodes(&self, world: &Known) -> Findings {
        Findings {
            locked_out: self.locked_out(&vec![Vec::new(); self.before.len()], world),
            ..Findings::default()
        }
    }

    /// Whether the plan forbids something.
    pub fn watches(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| !watch.is_empty())
    }

    /// Each node by what may tell it from others, in the ends and in these worlds; without nodes whose pods must be reached.
    pub fn sorts_of_nodes(&self, worlds: &[&Rc<Known>]) -> BTreeMap<String, Vec<Vec<usize>>> {
        let called: BTreeSet<IpAddr> = self.needed.to_pods.iter().map(|(_, pod)| pod.address).collect();
        let mut sorts: BTreeMap<String, Vec<Vec<usize>>> = BTreeMap::new();
        let all: Vec<&Rc<Known>> = self
            .before
            .iter()
            .chain([&self.after])
            .chain(worlds.iter().copied())
            .collect();
        for (node, sort) in all.iter().flat_map(|world| world.sorts_of_nodes(&called)) {
            sorts.entry(node).or_default().push(sort);
        }
        sorts.retain(|node, sort| {
            let needed = self.needed.incoming.iter().map(|flow| usize::from(flow.at(node)));
            let everywhere = sort.len() == all.len();
            sort.push(needed.collect());
            everywhere
        });
        sorts
    }

    /// Whether what the plan forbids is so once everything is done, whatever the order.
    pub fn breaks_a_promise_in_the_end(&self) -> bool {
        !self.forbidden(&self.after).is_empty()
    }

    /// What must stay and is cut off once everything is done, whatever the order.
    pub fn locked_out_in_the_end(&self) -> Vec<Breach> {
        let moves: Vec<Vec<Move>> = self.before.iter().map(|before| moves(before, &self.after)).collect();
        self.locked_out(&moves, &self.after)
    }

    /// Connections that must stay, that were open before and may not be here; with the moves from each before. What
    /// controllers are about to cut off is no step's doing.
    fn locked_out(&self, moves: &[Vec<Move>], world: &Known) -> Vec<Breach> {
        let mut each = self.before.iter().zip(moves);
        let Some((first, of_first)) = each.next() else {
            return Vec::new();
        };
        let mut found = self.cut_off(first, of_first, world);
        for (before, moves) in each {
            let others = self.cut_off(before, moves, world);
            found.retain(|breach| others.iter().any(|other| other.covers(breach) || breach.covers(other)));
        }
        found
    }

    fn cut_off(&self, before: &Known, moves: &[Move], world: &Known) -> Vec<Breach> {
        let mut found = Vec::new();
        for part in moves.iter().filter(|part| part.way == MoveWay::Less) {
            for flow in &self.needed.incoming {
                if let Some(part) = touched(part, flow) {
                    found.push(breach(world.world(), Wrong::LockedOut(flow.what.to_string()), &part));
                }
            }
        }
        let flows: Vec<_> = self.needed.outgoing.iter().map(|(_, flow)| flow.clone()).collect();
        for cut in cut_off(before, world, &flows) {
            let what = self.needed.outgoing.iter().find(|(_, flow)| *flow == cut.flow);
            found.push(Breach {
                wrong: Wrong::LockedOut(what.map_or("", |(what, _)| what).to_string()),
                by: fate(world.world(), &cut.packet).1,
                part: None,
                packet: Some(cut.packet),
                nodes: cut.nodes,
                openness: Openness::of(cut.after),
            });
        }
        let pods: Vec<_> = self.needed.to_pods.iter().map(|(_, pod)| pod.clone()).collect();
        for (pod, packet, verdict) in pods_cut_off(before, world, &pods, self.needed.managed) {
            let what = self.needed.to_pods.iter().find(|(_, other)| *other == pod);
            found.push(Breach {
                wrong: Wrong::LockedOut(what.map_or("", |(what, _)| what).to_string()),
                by: fate(world.world(), &packet).1,
                part: None,
                packet: Some(packet),
                nodes: BTreeSet::new(),
                openness: Openness::of(verdict),
            });
        }
        let ipip = Protocol::from_number(4).filter(|_| self.needed.ipip);
        for (nodes, packet, verdict) in ipip.map_or(Vec::new(), |ipip| cut_off_between_nodes(before, world, ipip)) {
            found.push(Breach {
                wrong: Wrong::LockedOut("IPIP between nodes".to_string()),
                by: fate(world.world(), &packet).1,
                part: None,
                packet: Some(packet),
                nodes,
                openness: Openness::of(verdict),
            });
        }
        for (node, hop) in neighbour_discovery_lost(before.world(), world.world()) {
            found.push(Breach {
                wrong: Wrong::LockedOut("IPv6 neighbour discovery, without which nothing reaches the node".to_string()),
                part: None,
                packet: None,
                nodes: BTreeSet::from([node]),
                by: hop,
                openness: Openness::Closed,
            });
        }
        found.extend(self.failsafes_lost(before.world(), world.world()));
        found
    }

    /// What `neverOpen` and `neverClose` forbid.
    fn forbidden(&self, world: &Known) -> Vec<Breach> {
        let found = self.watch.iter().flat_map(|watch| watch.forbidden(world.world()));
        let breach = |found: Forbidden| {
            let line = match found.what {
                expect::Move::Opens | expect::Move::StaysOpen => "neverOpen",
                expect::Move::Closes => "neverClose",
            };
            Breach {
                wrong: Wrong::Forbidden(format!("{line} {} -> {}, {}", found.from, found.to, found.at)),
                part: None,
                by: fate(world.world(), &found.packet.packet).1,
                openness: Openness::of(found.packet.verdict),
                packet: Some(found.packet.packet),
                nodes: BTreeSet::from([found.packet.node]),
            }
        };
        found.map(breach).collect()
    }

    /// A failsafe list that no longer covers a port that must stay: the next policy would cut it off.
    fn failsafes_lost(&self, before: &World, world: &World) -> Vec<Breach> {
        let incoming = self.needed.incoming.iter().flat_map(|flow| {
            let ports = flow.ports.ranges().iter().flat_map(|(low, high)| *low..=*high);
            ports.map(move |port| (flow.what, Direction::Ingress, flow.protocol, port))
        });
        let outgoing = self.needed.outgoing.iter();
        let outgoing = outgoing.map(|(what, flow)| (*what, Direction::Egress, flow.protocol, flow.port));
        let asked: BTreeSet<(&str, Direction, Protocol, u16)> = incoming.chain(outgoing).collect();
        let lost = asked.into_iter().filter_map(|(what, direction, protocol, port)| {
            let nodes = failsafes_lost(before, world, direction, protocol, port);
            (!nodes.is_empty()).then(|| Breach {
                wrong: Wrong::LockedOut(format!("{what}: {protocol} {port} is no failsafe port any more")),
                part: None,
                packet: None,
                nodes,
                by: None,
                openness: Openness::Closed,
            })
        });
        lost.collect()
    }
}

/// The part of a move that a flow is about.
fn touched(part: &Move, flow: &Incoming) -> Option<Move> {
    if !flow.from.contains(&part.subject.from) || part.subject.protocol != flow.protocol {
        return None;
    }
    part.at(|node| flow.at(node))?
        .within(Some(&flow.ports), flow.sources.as_ref())
}

fn breach(world: &World, wrong: Wrong, part: &Move) -> Breach {
    let packet = part.packet(world);
    Breach {
        wrong,
        by: packet.as_ref().and_then(|packet| fate(world, packet).1),
        packet,
        part: Some(part.clone()),
        nodes: part.nodes.keys().cloned().collect(),
        openness: part.after,
    }
}
