//! Answers of stages, remembered: many nodes ask the same of addresses that no rule tells apart.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::facts::Dataplane;
use super::path::End;
use super::sorts::Sorts;
use super::stage::{Header, Piece, Stage};
use super::verdict::Direction;
use super::world::{Port, World};
use crate::net::{AddressSet, Family};

/// Addresses by the sets that hold them: two have the same number when no rule can tell them apart.
pub(super) struct Memberships {
    sorted: Vec<IpAddr>,
    numbers: Vec<usize>,
}

impl Memberships {
    /// Splits the addresses by one set after another.
    pub fn new(addresses: BTreeSet<IpAddr>, sets: &[&AddressSet]) -> Memberships {
        let sorted: Vec<IpAddr> = addresses.into_iter().collect();
        let mut numbers = vec![0; sorted.len()];
        let mut next = 1;
        for set in sets {
            let ranges = set.members_among(&sorted);
            let members: usize = ranges.iter().map(std::iter::ExactSizeIterator::len).sum();
            if members == 0 || members == sorted.len() {
                continue;
            }
            let mut renamed: BTreeMap<usize, usize> = BTreeMap::new();
            for at in ranges.into_iter().flatten() {
                let number = &mut numbers[at];
                *number = *renamed.entry(*number).or_insert_with(|| {
                    next += 1;
                    next
                });
            }
        }
        Memberships { sorted, numbers }
    }

    pub fn of(&self, address: IpAddr) -> Option<usize> {
        Some(self.numbers[self.sorted.binary_search(&address).ok()?])
    }
}

/// What an answer depends on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Asked {
    /// Policies and profiles, by number.
    pub applied: usize,
    /// The settings, by where they are kept.
    pub felix: usize,
    /// `None`: a pod's policy.
    pub stage: Option<Stage>,
    pub direction: Direction,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Question {
    asked: Asked,
    family: Family,
    protocol: u8,
    icmp: Option<u8>,
    port: Option<u16>,
    source_port: Option<u16>,
    destination: usize,
    sources: Sources,
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Sources {
    /// One address, by the sets that hold it.
    One(usize),
    Set(AddressSet),
}

pub(super) struct Memory {
    pub memberships: Memberships,
    pub sorts: Sorts,
    picked: RefCell<BTreeMap<Picking, Rc<[usize]>>>,
    known: RefCell<BTreeMap<Question, Rc<[Piece]>>>,
    arrivals: RefCell<BTreeMap<Arrival, Rc<[End]>>>,
}

/// Which endpoints of a Service are translated to.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Picking {
    pub service: usize,
    pub family: Family,
    /// Where, and whether only those that are there.
    pub node: usize,
    pub own_only: bool,
    /// The node of the one that sends.
    pub sender: Option<usize>,
}

/// All that the rest of a walk depends on when packets that a node of the cluster sent arrive at another.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Arrival {
    pub dataplane: Dataplane,
    pub node: usize,
    pub port: Port,
    pub protocol: u8,
    pub icmp: Option<u8>,
    pub ports: (Option<u16>, Option<u16>),
    pub destination: IpAddr,
    /// The one source: by the sets that hold it, and whose it is.
    pub source: (usize, Whose),
    pub translated: bool,
    pub masqueraded: bool,
    pub replaced: bool,
    pub supposed: Vec<usize>,
    pub backend: Option<(usize, usize)>,
}

/// Whose an address is, seen from the node that packets arrive at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Whose {
    ItsOwn,
    AnotherNode,
    Pod,
    Nobody,
}

impl Memory {
    pub fn new(world: &World) -> Self {
        let memberships = world.memberships();
        Memory {
            sorts: Sorts::new(world, &memberships),
            picked: RefCell::default(),
            memberships,
            known: RefCell::default(),
            arrivals: RefCell::default(),
        }
    }

    /// One endpoint of each sort that packets may be translated to.
    pub fn picked(&self, picking: Picking, all: impl FnOnce() -> Vec<usize>) -> Rc<[usize]> {
        if let Some(known) = self.picked.borrow().get(&picking) {
            return Rc::clone(known);
        }
        let near = [Some(picking.node), picking.sender];
        let picked: Rc<[usize]> = self.sorts.one_of_each(picking.service, all(), near).into();
        remember(&mut self.picked.borrow_mut(), picking, Rc::clone(&picked));
        picked
    }

    /// How walks that arrive so end; steps are counted from the arrival.
    pub fn ends(&self, arrival: Arrival, walk: impl FnOnce() -> Vec<End>) -> Rc<[End]> {
        if let Some(known) = self.arrivals.borrow().get(&arrival) {
            return Rc::clone(known);
        }
        let ends: Rc<[End]> = walk().into();
        remember(&mut self.arrivals.borrow_mut(), arrival, Rc::clone(&ends));
        ends
    }

    pub fn answer(&self, asked: Asked, header: &Header, ask: impl FnOnce() -> Vec<Piece>) -> Vec<Piece> {
        let Some(destination) = self.memberships.of(header.destination) else {
            return ask();
        };
        let one = header.sources.only_address().and_then(|one| self.memberships.of(one));
        let question = Question {
            asked,
            family: header.family,
            protocol: header.protocol,
            icmp: header.icmp,
            port: header.port,
            source_port: header.source_port,
            destination,
            sources: one.map_or_else(|| Sources::Set(header.sources.clone()), Sources::One),
        };
        if let Some(known) = self.known.borrow().get(&question) {
            let again = |piece: &Piece| match one {
                // Every piece of one address is that address.
                Some(_) => Piece {
                    sources: header.sources.clone(),
                    ..*piece
                },
                None => piece.clone(),
            };
            return known.iter().map(again).collect();
        }
        let pieces = ask();
        remember(&mut self.known.borrow_mut(), question, pieces.as_slice().into());
        pieces
    }
}

/// So many are remembered, some tens of megabytes. Where every node has rules of its own, most questions are asked once
/// and there are millions; those that are asked again are mostly asked soon.
const MOST: usize = 1 << 16;

fn remember<K: Ord, V>(known: &mut BTreeMap<K, V>, key: K, value: V) {
    if known.len() == MOST {
        known.clear();
    }
    known.insert(key, value);
}
