//! Two worlds side by side: which targets to compare, what can be left out because nothing on the way differs, and the
//! cells of the two cut by each other.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;

use super::cells::{Cell, Client, Ports, Prober, Region};
use super::difference::{Answer, From, Subject};
use super::known::Known;
use super::same::Sameness;
use super::stage::Why;
use super::targets::Target;
use super::verdict::{Hook, Verdict};
use super::world::World;
use crate::net::{AddressSet, Family, PortSet, Protocol};

/// A node's name and one of its addresses.
pub(super) type Place = (String, IpAddr);

/// Answers before and after; `None` where the address is not there.
pub(super) type Answers = (Option<Answer>, Option<Answer>);

/// Answers, their decisions by place in the two worlds.
pub(super) type Found = (Option<Raw>, Option<Raw>);
pub(super) type Raw = (Verdict, Option<(Hook, Why)>);

/// Places that are in one class before and in one after.
pub(super) struct Pair {
    pub places: Vec<Place>,
    pub before: Option<Target>,
    pub after: Option<Target>,
}

pub(super) struct Sides<'w> {
    pub before: (&'w World, Prober<'w>),
    pub after: (&'w World, Prober<'w>),
    pub pairs: Vec<Pair>,
    pub same: Sameness<'w>,
}

impl<'w> Sides<'w> {
    pub fn new(before: &'w World, after: &'w World) -> Self {
        Sides::of(before, Prober::new(before), after, Prober::new(after))
    }

    pub fn known(before: &'w Known, after: &'w Known) -> Self {
        Sides::of(&before.world, before.prober(), &after.world, after.prober())
    }

    fn of(before: &'w World, old: Prober<'w>, after: &'w World, new: Prober<'w>) -> Self {
        let (old_of, new_of) = (classes(before, &old), classes(after, &new));
        let mut pairs: BTreeMap<(Option<usize>, Option<usize>), Vec<Place>> = BTreeMap::new();
        for place in old_of.keys().chain(new_of.keys()).collect::<BTreeSet<_>>() {
            let pair = (old_of.get(place).map(|(c, _)| *c), new_of.get(place).map(|(c, _)| *c));
            pairs.entry(pair).or_default().push(place.clone());
        }
        let pair = |places: Vec<Place>| Pair {
            before: old_of.get(&places[0]).map(|(_, target)| *target),
            after: new_of.get(&places[0]).map(|(_, target)| *target),
            places,
        };
        Sides {
            pairs: pairs.into_values().map(pair).collect(),
            before: (before, old),
            after: (after, new),
            same: Sameness::new(before, after),
        }
    }

    /// Addresses that are neither a node's nor a pod's in one of them.
    pub fn outside(&self) -> AddressSet {
        let (a, b) = (self.before.1.outside(), self.after.1.outside());
        if a == b { a.clone() } else { a.union(b) }
    }

    /// How many parts the ports fall into.
    pub fn parts(&self, pair: &Pair) -> usize {
        let of = |prober: &Prober<'_>, target: Option<Target>| target.map_or(0, |t| prober.parts(Client::Outside, t));
        of(&self.before.1, pair.before) + of(&self.after.1, pair.after)
    }

    /// Whether packets fare alike until they are sent on.
    pub fn same_on_arrival(&self, pair: &Pair) -> bool {
        match (pair.before, pair.after) {
            (Some(before), Some(after)) => self.same.on_arrival(before, after),
            _ => false,
        }
    }

    /// Whether what clients send, before and after, fares alike until it leaves their nodes.
    pub fn same_on_leaving(&self, clients: [Option<Client>; 2]) -> bool {
        matches!(clients, [Some(old), Some(new)] if self.same.on_leaving(old, new))
    }

    /// What is found before and after.
    pub fn compare(&self, pair: &Pair, only: Option<&Ports>) -> Vec<(Subject, Found)> {
        self.compare_from(From::Outside, [Some(Client::Outside); 2], pair, only)
    }

    /// The same for these clients, before and after.
    pub fn compare_from(
        &self,
        from: From,
        clients: [Option<Client>; 2],
        pair: &Pair,
        only: Option<&Ports>,
    ) -> Vec<(Subject, Found)> {
        if only.is_some_and(BTreeMap::is_empty) {
            return Vec::new();
        }
        let cells = |prober: &Prober<'_>, client: Option<Client>, target: Option<Target>| match (client, target) {
            (Some(client), Some(target)) => prober.cells(client, target, only),
            _ => Rc::default(),
        };
        let old = cells(&self.before.1, clients[0], pair.before);
        let new = cells(&self.after.1, clients[1], pair.after);
        let family = Family::of(pair.places[0].1);
        let row = |((protocol, service, sources, found), ports): (Piece, PortSet)| {
            let subject = Subject {
                from,
                family,
                protocol,
                ports,
                service,
                sources,
            };
            (subject, found)
        };
        cut(&old, &new).into_iter().map(row).collect()
    }

    /// Whether every packet of these clients gets the same verdict before and after, and reaches the same.
    pub fn alike(&self, clients: [Option<Client>; 2], pair: &Pair) -> bool {
        let ([Some(a), Some(b)], Some(before), Some(after)) = (clients, pair.before, pair.after) else {
            return false;
        };
        let (old, new) = (self.before.1.cells(a, before, None), self.after.1.cells(b, after, None));
        let regions = |(a, b): (&Region, &Region)| a.verdict == b.verdict && a.sources == b.sources;
        let cell = |(a, b): (&Cell, &Cell)| {
            (a.protocol, &a.ports, &a.service) == (b.protocol, &b.ports, &b.service)
                && a.regions.len() == b.regions.len()
                && a.regions.iter().zip(&b.regions).all(regions)
        };
        old.len() == new.len() && old.iter().zip(new.iter()).all(cell)
    }

    /// What was found, in words.
    pub fn answers(&self, found: &Found) -> Answers {
        let words = |world: &World, raw: Raw| Answer {
            verdict: raw.0,
            decision: raw.1.map(|decision| world.decision(decision)),
        };
        (
            found.0.map(|raw| words(self.before.0, raw)),
            found.1.map(|raw| words(self.after.0, raw)),
        )
    }
}

fn classes(world: &World, prober: &Prober<'_>) -> BTreeMap<Place, (usize, Target)> {
    let classes = prober.target_classes();
    let mut of = BTreeMap::new();
    for (index, class) in classes.iter().enumerate() {
        for target in class {
            of.insert(
                (world.nodes[target.node].name.clone(), target.address),
                (index, *target),
            );
        }
    }
    of
}

fn found(region: &Region) -> Raw {
    (region.verdict, region.decision)
}

/// What the ports of a piece have in common.
type Piece = (Protocol, Option<String>, AddressSet, Found);

/// Cuts the cells of one class by those of the other; the family is for the caller to fill in.
fn cut(before: &[Cell], after: &[Cell]) -> Vec<(Piece, PortSet)> {
    let mut merged: BTreeMap<Piece, PortSet> = BTreeMap::new();
    let protocols: BTreeSet<Protocol> = before.iter().chain(after).map(|cell| cell.protocol).collect();
    for protocol in protocols {
        let of = |cells: &'_ [Cell]| -> Vec<usize> {
            let list = cells.iter().enumerate().filter(|(_, cell)| cell.protocol == protocol);
            list.map(|(index, _)| index).collect()
        };
        let (old, new) = (of(before), of(after));
        for (ports, a, b) in port_pairs(before, &old, after, &new) {
            let (a, b) = (a.map(|a| &before[a]), b.map(|b| &after[b]));
            let service = b.or(a).and_then(|cell| cell.service.clone());
            for (sources, answers) in region_pairs(a, b) {
                let key = (protocol, service.clone(), sources, answers);
                let entry = merged.entry(key).or_insert_with(PortSet::empty);
                *entry = entry.union(&ports);
            }
        }
    }
    merged.into_iter().collect()
}

/// Which cell before and which after each part of the ports is in.
fn port_pairs(
    before: &[Cell],
    old: &[usize],
    after: &[Cell],
    new: &[usize],
) -> Vec<(PortSet, Option<usize>, Option<usize>)> {
    let portless = |cells: &[Cell], of: &[usize]| of.iter().copied().find(|i| cells[*i].ports.is_empty());
    if portless(before, old).is_some() || portless(after, new).is_some() {
        return vec![(PortSet::empty(), portless(before, old), portless(after, new))];
    }
    let sets: Vec<&PortSet> = old
        .iter()
        .map(|i| &before[*i].ports)
        .chain(new.iter().map(|i| &after[*i].ports))
        .collect();
    let pair = |(of, ports): (Vec<usize>, PortSet)| {
        let a = of.iter().find(|i| **i < old.len()).map(|i| old[*i]);
        let b = of.iter().find(|i| **i >= old.len()).map(|i| new[*i - old.len()]);
        (ports, a, b)
    };
    PortSet::overlay(&sets).into_iter().map(pair).collect()
}

fn region_pairs(before: Option<&Cell>, after: Option<&Cell>) -> Vec<(AddressSet, Found)> {
    let old: Vec<&Region> = before.iter().flat_map(|cell| &cell.regions).collect();
    let new: Vec<&Region> = after.iter().flat_map(|cell| &cell.regions).collect();
    let all = old.iter().chain(&new);
    let sets: Vec<&AddressSet> = all.map(|region| &region.sources).collect();
    let mut merged: BTreeMap<Found, Vec<AddressSet>> = BTreeMap::new();
    for (of, sources) in AddressSet::overlay(&sets) {
        let a = of.iter().find(|i| **i < old.len()).map(|i| found(old[*i]));
        let b = of.iter().find(|i| **i >= old.len()).map(|i| found(new[*i - old.len()]));
        // Inside addresses have no answer; where only one world has one, they are inside of the other.
        if a.is_none() != b.is_none() && before.is_some() && after.is_some() {
            continue;
        }
        merged.entry((a, b)).or_default().push(sources);
    }
    let row = |(answers, parts): (Found, Vec<AddressSet>)| (AddressSet::union_of(&parts), answers);
    merged.into_iter().map(row).collect()
}
