//! Exposure of one world, and what changes from one to another, in the few rows that a person would write.
//!
//! Targets are classed in both worlds, ports and sources cut by both: nothing falls between samples. Rows that say the
//! same of several nodes are one row.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::cells::{Cell, Decision, Prober, Region, echo};
use super::targets::Target;
use super::verdict::{Origin, Packet, Verdict};
use super::world::World;
use crate::net::{AddressSet, Family, PortSet, Protocol};

/// What packets find: the verdict and what decided it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    pub verdict: Verdict,
    pub decision: Option<Decision>,
}

/// Who and what a row is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Subject {
    pub family: Family,
    pub protocol: Protocol,
    /// Empty for protocols without.
    pub ports: PortSet,
    /// The Service whose NodePort it is.
    pub service: Option<String>,
    /// Addresses of outside sources. Those of nodes and pods may be among them where leaving them out would only cut
    /// the set up: see [`Exposure::inside`].
    pub sources: AddressSet,
}

/// One line of an exposure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    pub subject: Subject,
    /// Nodes, each with the addresses meant.
    pub nodes: BTreeMap<String, BTreeSet<IpAddr>>,
    pub answer: Answer,
    /// A packet that fares so.
    pub witness: Packet,
}

/// Who can reach what.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exposure {
    pub reaches: Vec<Reach>,
    /// Addresses of nodes and pods: what rows say of a source does not hold for these.
    pub inside: AddressSet,
}

/// How an answer changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Movement {
    Opens,
    BecomesUnknown,
    Closes,
    BecomesKnown,
    Stays,
}

impl Movement {
    pub fn of(before: Option<Verdict>, after: Option<Verdict>) -> Movement {
        // An address that is not there lets nobody in.
        let openness = |verdict: Option<Verdict>| match verdict {
            None | Some(Verdict::Blocked) => 0,
            Some(Verdict::Partly) => 1,
            Some(Verdict::Open | Verdict::HostDecides) => 2,
            Some(Verdict::Unknown) => 3,
        };
        match (openness(before), openness(after)) {
            (a, b) if a == b => Movement::Stays,
            (_, 3) => Movement::BecomesUnknown,
            (3, _) => Movement::BecomesKnown,
            (a, b) if a < b => Movement::Opens,
            _ => Movement::Closes,
        }
    }
}

/// One line of a difference. `None`: the node is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    pub subject: Subject,
    pub nodes: BTreeMap<String, BTreeSet<IpAddr>>,
    pub movement: Movement,
    pub before: Option<Answer>,
    pub after: Option<Answer>,
    pub witness: Packet,
}

/// Every outside source, node, port and family of a world.
pub fn exposure(world: &World) -> Exposure {
    let prober = Prober::new(world);
    let mut rows: Rows<Answer> = Rows::default();
    for class in world.target_classes() {
        let cells = prober.cells(class[0]);
        for (cell, region) in cells.iter().flat_map(|c| c.regions.iter().map(move |r| (c, r))) {
            let subject = subject(class[0], cell, region.sources.clone());
            rows.add(subject, answer(region), named(world, &class));
        }
    }
    let reach = |((subject, answer), nodes): ((Subject, Answer), Nodes)| Reach {
        witness: witness(&subject, &nodes, &prober.inside),
        subject,
        nodes,
        answer,
    };
    Exposure {
        reaches: rows.0.into_iter().map(reach).collect(),
        inside: prober.inside,
    }
}

/// What opens, closes and stays. Of what stays, only ports on which something changes somewhere are listed: there it
/// says for whom nothing does.
pub fn difference(before: &World, after: &World) -> Vec<Row> {
    let (old, new) = (Classes::new(before), Classes::new(after));
    let mut pairs: BTreeMap<(Option<usize>, Option<usize>), Vec<Place>> = BTreeMap::new();
    for place in old.of.keys().chain(new.of.keys()).collect::<BTreeSet<_>>() {
        let pair = (old.of.get(place).copied(), new.of.get(place).copied());
        pairs.entry(pair).or_default().push(place.clone());
    }
    let inside = match (&old.prober.inside, &new.prober.inside) {
        (a, b) if a == b => a.clone(),
        (a, b) => a.intersect(b),
    };
    let mut rows: Rows<(Option<Answer>, Option<Answer>)> = Rows::default();
    for ((a, b), places) in &pairs {
        let family = Family::of(places[0].1);
        let (a, b) = (a.map(|a| old.cells(a)), b.map(|b| new.cells(b)));
        for (part, answers) in compare(a.unwrap_or(&[]), b.unwrap_or(&[])) {
            if !part.sources.is_subset(&inside) {
                let subject = Subject { family, ..part };
                rows.add(subject, answers, nodes_of(places));
            }
        }
    }
    let moved = |row: &Row| row.movement != Movement::Stays;
    let all: Vec<Row> = rows
        .0
        .into_iter()
        .map(|((subject, (before, after)), nodes)| Row {
            movement: Movement::of(before.as_ref().map(|a| a.verdict), after.as_ref().map(|a| a.verdict)),
            witness: witness(&subject, &nodes, &inside),
            subject,
            nodes,
            before,
            after,
        })
        .collect();
    let touched: Vec<(Protocol, PortSet)> = all
        .iter()
        .filter(|row| moved(row))
        .map(|row| (row.subject.protocol, row.subject.ports.clone()))
        .collect();
    let mut shown = merge_touched(all, &touched);
    shown.sort_by(|a, b| (a.movement, &a.subject, &a.nodes).cmp(&(b.movement, &b.subject, &b.nodes)));
    shown
}

/// Moved rows, and those that stay on the same ports.
fn merge_touched(all: Vec<Row>, touched: &[(Protocol, PortSet)]) -> Vec<Row> {
    let mut ports: BTreeMap<Protocol, Vec<(u16, u16)>> = BTreeMap::new();
    for (protocol, set) in touched {
        ports.entry(*protocol).or_default().extend(set.ranges());
    }
    let ports: BTreeMap<Protocol, PortSet> = ports
        .into_iter()
        .map(|(protocol, ranges)| (protocol, PortSet::from_ranges(ranges)))
        .collect();
    let keep = |mut row: Row| {
        if row.movement != Movement::Stays {
            return Some(row);
        }
        let touched = ports.get(&row.subject.protocol)?;
        if row.subject.protocol.has_ports() {
            row.subject.ports = row.subject.ports.intersect(touched);
            row.witness.port = Some(row.subject.ports.ranges().first()?.0);
        }
        Some(row)
    };
    all.into_iter().filter_map(keep).collect()
}

type Place = (String, IpAddr);
type Nodes = BTreeMap<String, BTreeSet<IpAddr>>;

fn nodes_of(places: &[Place]) -> Nodes {
    let mut nodes = Nodes::new();
    for (node, address) in places {
        nodes.entry(node.clone()).or_default().insert(*address);
    }
    nodes
}

fn named(world: &World, class: &[Target]) -> Nodes {
    let place = |target: &Target| (world.nodes[target.node].name.clone(), target.address);
    nodes_of(&class.iter().map(place).collect::<Vec<_>>())
}

fn answer(region: &Region) -> Answer {
    Answer {
        verdict: region.verdict,
        decision: region.decision.clone(),
    }
}

fn subject(target: Target, cell: &Cell, sources: AddressSet) -> Subject {
    Subject {
        family: Family::of(target.address),
        protocol: cell.protocol,
        ports: cell.ports.clone(),
        service: cell.service.clone(),
        sources,
    }
}

/// Rows, those that say the same of several nodes put together.
struct Rows<A>(BTreeMap<(Subject, A), Nodes>);

impl<A> Default for Rows<A> {
    fn default() -> Self {
        Rows(BTreeMap::new())
    }
}

impl<A: Ord> Rows<A> {
    fn add(&mut self, subject: Subject, answer: A, nodes: Nodes) {
        let entry = self.0.entry((subject, answer)).or_default();
        for (node, addresses) in nodes {
            entry.entry(node).or_default().extend(addresses);
        }
    }
}

/// The classes of a world, each worked out when it is asked for.
struct Classes<'w> {
    prober: Prober<'w>,
    list: Vec<Vec<Target>>,
    cells: Vec<std::cell::OnceCell<Vec<Cell>>>,
    of: BTreeMap<Place, usize>,
}

impl<'w> Classes<'w> {
    fn new(world: &'w World) -> Self {
        let list = world.target_classes();
        let mut of = BTreeMap::new();
        for (index, class) in list.iter().enumerate() {
            for target in class {
                of.insert((world.nodes[target.node].name.clone(), target.address), index);
            }
        }
        Classes {
            prober: Prober::new(world),
            cells: vec![std::cell::OnceCell::new(); list.len()],
            list,
            of,
        }
    }

    fn cells(&self, class: usize) -> &[Cell] {
        self.cells[class].get_or_init(|| self.prober.cells(self.list[class][0]))
    }
}

type Answers = (Option<Answer>, Option<Answer>);

/// Cuts the cells of one class by those of the other; the family is for the caller to fill in.
fn compare(before: &[Cell], after: &[Cell]) -> Vec<(Subject, Answers)> {
    let mut merged: BTreeMap<(Protocol, Option<String>, AddressSet, Answers), PortSet> = BTreeMap::new();
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
    let row = |((protocol, service, sources, answers), ports)| {
        let subject = Subject {
            family: Family::V4,
            protocol,
            ports,
            service,
            sources,
        };
        (subject, answers)
    };
    merged.into_iter().map(row).collect()
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

fn region_pairs(before: Option<&Cell>, after: Option<&Cell>) -> Vec<(AddressSet, Answers)> {
    let old: Vec<&Region> = before.iter().flat_map(|cell| &cell.regions).collect();
    let new: Vec<&Region> = after.iter().flat_map(|cell| &cell.regions).collect();
    let all = old.iter().chain(&new);
    let sets: Vec<&AddressSet> = all.map(|region| &region.sources).collect();
    let mut merged: BTreeMap<Answers, Vec<AddressSet>> = BTreeMap::new();
    for (of, sources) in AddressSet::overlay(&sets) {
        let a = of.iter().find(|i| **i < old.len()).map(|i| answer(old[*i]));
        let b = of
            .iter()
            .find(|i| **i >= old.len())
            .map(|i| answer(new[*i - old.len()]));
        // Inside addresses have no answer; where only one world has one, they are inside of the other.
        if a.is_none() != b.is_none() && before.is_some() && after.is_some() {
            continue;
        }
        merged.entry((a, b)).or_default().push(sources);
    }
    let row = |(answers, parts): (Answers, Vec<AddressSet>)| (AddressSet::union_of(&parts), answers);
    merged.into_iter().map(row).collect()
}

fn witness(subject: &Subject, nodes: &Nodes, inside: &AddressSet) -> Packet {
    let outside = subject.sources.minus(inside);
    let source = outside.first().or(subject.sources.first());
    let destination = nodes
        .values()
        .flatten()
        .copied()
        .find(|a| Family::of(*a) == subject.family)
        .expect("a row has a node with an address");
    Packet {
        from: Origin::Outside,
        source: source.unwrap_or(destination),
        destination,
        protocol: subject.protocol,
        port: subject.ports.ranges().first().map(|(low, _)| *low),
        source_port: None,
        icmp_type: (!subject.protocol.has_ports()).then(|| echo(subject.family)),
        backend: None,
    }
}
