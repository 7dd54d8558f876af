//! What every outside source finds at a target, on every port, exactly.
//!
//! Ports are cut where something on the way can tell two of them apart; each part is walked once with all sources, and
//! the ends of the walk cut the sources. Parts with equal answers are put together again.

use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::answer::{USUAL_SOURCE_PORT, deciding, summary};
use super::known::Kept;
use super::memory::Memory;
use super::path::{End, Walker, Walking};
use super::stage::{Header, Why};
use super::targets::Target;
use super::verdict::{By, Direction, Hook, Verdict};
use super::world::{Port, World};
use crate::net::{AddressSet, Family, PortSet, Protocol};

/// What decided, in words that mean the same in another world and on another node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Decision {
    pub hook: Hook,
    pub by: By,
}

/// What was found, and what decided it.
type Found = (Verdict, Option<(Hook, Why)>);

/// Sources that fare alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Region {
    pub sources: AddressSet,
    pub verdict: Verdict,
    pub decision: Option<(Hook, Why)>,
}

/// Ports of one protocol on which every source fares alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Cell {
    pub protocol: Protocol,
    /// Empty for protocols without.
    pub ports: PortSet,
    /// The Service whose NodePort it is.
    pub service: Option<String>,
    pub regions: Vec<Region>,
}

impl Cell {
    /// The part on these ports.
    fn within(&self, only: &Ports) -> Option<Cell> {
        let ports = only.get(&self.protocol)?.intersect(&self.ports);
        (!self.protocol.has_ports() || !ports.is_empty()).then(|| Cell { ports, ..self.clone() })
    }
}

/// Ports to ask about; none of a protocol that has none.
pub type Ports = BTreeMap<Protocol, PortSet>;

/// Protocols that exposure is about.
pub(super) fn protocols(family: Family) -> [Protocol; 3] {
    let icmp = match family {
        Family::V4 => Protocol::Icmp,
        Family::V6 => Protocol::IcmpV6,
    };
    [Protocol::Tcp, Protocol::Udp, icmp]
}

/// Echo request.
pub(super) fn echo(family: Family) -> u8 {
    match family {
        Family::V4 => 8,
        Family::V6 => 128,
    }
}

/// Who sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Client {
    /// Every address at once.
    Outside,
    /// A process of the node.
    Node(usize),
    Pod(usize),
}

/// What was worked out of a world.
pub(super) struct Notes {
    /// One of each class of client ports.
    pub source_ports: Vec<u16>,
    pub outside: AddressSet,
    memory: Memory,
    pub target_classes: Vec<Vec<Target>>,
    client_classes: OnceCell<Vec<Vec<Client>>>,
    parts: RefCell<BTreeMap<PartsKey, Rc<[PortSet]>>>,
    /// `None`: cells are asked for once and not kept.
    pub kept: Option<Kept>,
}

impl Notes {
    pub fn new(world: &World, keep: bool) -> Notes {
        let memory = Memory::new(world);
        Notes {
            source_ports: world.client_ports(),
            outside: world.inside().complement(),
            target_classes: world.target_classes(&memory.memberships, &memory.sorts),
            client_classes: OnceCell::new(),
            parts: RefCell::default(),
            kept: keep.then(Kept::default),
            memory,
        }
    }
}

/// Walks that are the same but for what the client chooses.
pub(super) struct Prober<'w> {
    world: &'w World,
    notes: Rc<Notes>,
}

/// Stages met, the settings of both nodes by where they are kept, family and protocol.
type PartsKey = (BTreeSet<(usize, Direction)>, usize, Option<usize>, Family, Protocol);

impl<'w> Prober<'w> {
    pub fn new(world: &'w World) -> Self {
        Prober {
            world,
            notes: Rc::new(Notes::new(world, false)),
        }
    }

    pub fn with(world: &'w World, notes: Rc<Notes>) -> Self {
        Prober { world, notes }
    }

    /// Addresses that are neither a node's nor a pod's.
    pub fn outside(&self) -> &AddressSet {
        &self.notes.outside
    }

    pub fn target_classes(&self) -> &[Vec<Target>] {
        &self.notes.target_classes
    }

    pub fn client_classes(&self) -> &[Vec<Client>] {
        let Memory { memberships, sorts, .. } = &self.notes.memory;
        self.notes
            .client_classes
            .get_or_init(|| self.world.client_classes(memberships, sorts))
    }

    pub fn home(&self, client: Client) -> Option<usize> {
        client.home(self.world)
    }

    /// How many parts the ports of all protocols fall into.
    pub fn parts(&self, client: Client, target: Target) -> usize {
        let with_ports = protocols(Family::of(target.address))
            .into_iter()
            .filter(|p| p.has_ports());
        with_ports
            .map(|protocol| self.port_parts(client, target, protocol).len())
            .sum()
    }

    /// The ports of a protocol, cut where something on the way can tell two of them apart.
    fn port_parts(&self, client: Client, target: Target, protocol: Protocol) -> Rc<[PortSet]> {
        let settings = |node: usize| Rc::as_ptr(&self.world.nodes[node].felix).addr();
        let met = self.world.stages_between(client, target);
        let home = client.home(self.world).map(settings);
        let key = (met, settings(target.node), home, Family::of(target.address), protocol);
        if let Some(known) = self.notes.parts.borrow().get(&key) {
            return Rc::clone(known);
        }
        let parts: Rc<[PortSet]> = self.world.port_parts(&key.0, client, target, protocol).into();
        self.notes.parts.borrow_mut().insert(key, Rc::clone(&parts));
        parts
    }

    /// Everything about one target; with `only`, about those ports, which are not kept.
    ///
    /// Where cells are kept, for comparing worlds, they hold what is compared: no decisions, and of a client in the
    /// cluster not which address it has.
    pub fn cells(&self, client: Client, target: Target, only: Option<&Ports>) -> Rc<Vec<Cell>> {
        match (&self.notes.kept, only) {
            (None, _) => Rc::new(self.work_out(client, target, only)),
            (Some(_), Some(only)) => {
                let all = self.cells(client, target, None);
                Rc::new(all.iter().filter_map(|cell| cell.within(only)).collect())
            }
            (Some(kept), None) => {
                let met = kept.met(self, client, target);
                kept.cells(met, || (client, target), |only| self.compared(client, target, only))
            }
        }
    }

    fn compared(&self, client: Client, target: Target, only: Option<&Ports>) -> Vec<Cell> {
        let mut cells = self.work_out(client, target, only);
        for region in cells.iter_mut().flat_map(|cell| &mut cell.regions) {
            region.decision = None;
            if client != Client::Outside {
                region.sources = AddressSet::family(Family::of(target.address));
            }
        }
        together(cells)
    }

    fn work_out(&self, client: Client, target: Target, only: Option<&Ports>) -> Vec<Cell> {
        let mut cells = Vec::new();
        for protocol in protocols(Family::of(target.address)) {
            let only = match only.map(|only| only.get(&protocol)) {
                Some(None) => continue,
                Some(Some(ports)) => Some(ports),
                None => None,
            };
            cells.extend(self.cells_of(client, target, protocol, only));
        }
        cells
    }

    /// The same for one protocol, which may be any.
    pub fn cells_of(&self, client: Client, target: Target, protocol: Protocol, only: Option<&PortSet>) -> Vec<Cell> {
        if !protocol.has_ports() {
            return vec![Cell {
                protocol,
                ports: PortSet::empty(),
                service: None,
                regions: self.regions(client, target, protocol, None),
            }];
        }
        let mut merged: BTreeMap<(Option<String>, Vec<Region>), PortSet> = BTreeMap::new();
        for part in self.port_parts(client, target, protocol).iter() {
            let part = only.map_or_else(|| part.clone(), |only| only.intersect(part));
            if part.is_empty() {
                continue;
            }
            let port = part.ranges()[0].0;
            let key = (
                self.world.node_port_service(protocol, port),
                self.regions(client, target, protocol, Some(port)),
            );
            let entry = merged.entry(key).or_insert_with(PortSet::empty);
            *entry = entry.union(&part);
        }
        let cell = |((service, regions), ports)| Cell {
            protocol,
            ports,
            service,
            regions,
        };
        let mut cells: Vec<Cell> = merged.into_iter().map(cell).collect();
        cells.sort_by(|a, b| a.ports.cmp(&b.ports));
        cells
    }

    fn regions(&self, client: Client, target: Target, protocol: Protocol, port: Option<u16>) -> Vec<Region> {
        let family = Family::of(target.address);
        let Some(sources) = self.world.sources(client, target) else {
            return Vec::new();
        };
        let mut ends: Vec<(usize, End)> = Vec::new();
        for (choice, source_port) in self.notes.source_ports.iter().enumerate() {
            let header = Header {
                family,
                protocol: protocol.number(),
                icmp: port.is_none().then(|| echo(family)),
                sources: sources.clone(),
                source_port: port.map(|_| *source_port),
                destination: target.address,
                port,
            };
            for dataplane in self.world.dataplanes.iter().copied() {
                let mut walker = Walker::new(self.world, dataplane);
                let mut walking = Walking::new(header.clone());
                walker.memory = Some(&self.notes.memory);
                match client {
                    Client::Outside => {
                        walking.flow.outside = true;
                        walker.arrive_by_wire(target.node, self.world.arrival(target.node, target.address), walking);
                    }
                    Client::Node(node) => walker.send(node, walking),
                    Client::Pod(pod) => walker.arrive(self.world.pods[pod].node, Port::Workload(pod), walking),
                }
                ends.extend(walker.ends.into_iter().map(|end| (choice, end)));
            }
            if port.is_none() {
                break;
            }
        }
        self.combine(client, &ends)
    }

    /// Regions from ends that may overlap.
    fn combine(&self, client: Client, ends: &[(usize, End)]) -> Vec<Region> {
        let ends = one_of_each_sort(ends);
        let sets: Vec<&AddressSet> = ends.iter().map(|(_, end)| &end.sources).collect();
        let mut by_answer: BTreeMap<Found, Vec<AddressSet>> = BTreeMap::new();
        let mut inside: Vec<AddressSet> = Vec::new();
        for (of, sources) in AddressSet::overlay(&sets) {
            if client == Client::Outside && sources.first_common(self.outside()).is_none() {
                inside.push(sources);
                continue;
            }
            let here = || of.iter().map(|index| ends[*index]);
            let verdict = summary(here().map(|(choice, end)| (*choice, end)));
            let decided = here()
                .find(|(_, end)| end.verdict == verdict)
                .or(here().find(|(_, end)| end.verdict == Verdict::Blocked))
                .or(here().next());
            let decision = decided.and_then(|(_, end)| decision(end));
            by_answer.entry((verdict, decision)).or_default().push(sources);
        }
        let mut regions: Vec<Region> = by_answer
            .into_iter()
            .map(|((verdict, decision), parts)| Region {
                sources: AddressSet::union_of(&parts),
                verdict,
                decision,
            })
            .collect();
        // Of nobody outside: they fill gaps that a reader would stumble over.
        let sources = regions.iter_mut().map(|region| &mut region.sources);
        AddressSet::fill(sources, &AddressSet::union_of(&inside));
        regions.sort();
        regions
    }
}

/// The ends without those of Service endpoints that fare as an earlier one does: what is summed up of both is what is
/// summed up of one, and a Service can have thousands.
fn one_of_each_sort(ends: &[(usize, End)]) -> Vec<&(usize, End)> {
    type Fare<'e> = (&'e AddressSet, Verdict, Option<(Hook, Why)>, &'e [usize]);
    let mut fares: BTreeMap<(usize, (usize, usize)), Vec<Fare>> = BTreeMap::new();
    for (choice, end) in ends {
        let Some(backend) = end.backend else { continue };
        let fare = (&end.sources, end.verdict, decision(end), end.supposed.as_slice());
        fares.entry((*choice, backend)).or_default().push(fare);
    }
    let mut seen: BTreeSet<(usize, usize, Vec<Fare>)> = BTreeSet::new();
    let mut first: BTreeSet<(usize, (usize, usize))> = BTreeSet::new();
    for ((choice, backend), fare) in fares {
        if seen.insert((choice, backend.0, fare)) {
            first.insert((choice, backend));
        }
    }
    let kept = |(choice, end): &&(usize, End)| end.backend.is_none_or(|backend| first.contains(&(*choice, backend)));
    ends.iter().filter(kept).collect()
}

/// Cells that differ in ports only are one, and so are regions with one verdict.
pub(super) fn together(cells: Vec<Cell>) -> Vec<Cell> {
    let mut merged: BTreeMap<(Protocol, Option<String>, Vec<Region>), PortSet> = BTreeMap::new();
    for cell in cells {
        let mut by_answer: BTreeMap<Found, Vec<AddressSet>> = BTreeMap::new();
        for region in cell.regions {
            let answer = (region.verdict, region.decision);
            by_answer.entry(answer).or_default().push(region.sources);
        }
        let mut regions: Vec<Region> = by_answer
            .into_iter()
            .map(|((verdict, decision), parts)| Region {
                sources: AddressSet::union_of(&parts),
                verdict,
                decision,
            })
            .collect();
        regions.sort();
        let entry = merged.entry((cell.protocol, cell.service, regions));
        let ports = entry.or_insert_with(PortSet::empty);
        *ports = ports.union(&cell.ports);
    }
    let cell = |((protocol, service, regions), ports)| Cell {
        protocol,
        ports,
        service,
        regions,
    };
    let mut cells: Vec<Cell> = merged.into_iter().map(cell).collect();
    cells.sort_by(|a, b| (a.protocol, &a.ports).cmp(&(b.protocol, &b.ports)));
    cells
}

fn decision(end: &End) -> Option<(Hook, Why)> {
    let step = end.steps.get(deciding(end)?)?;
    Some((step.hook, step.why))
}

fn any_port() -> PortSet {
    PortSet::from_ranges([(1, u16::MAX)])
}

impl World {
    /// One client port of each kind that something on the way can tell apart; most often just one.
    pub(super) fn client_ports(&self) -> Vec<u16> {
        let sets = self.source_ports();
        let base = any_port();
        let sets: Vec<&PortSet> = [&base].into_iter().chain(&sets).collect();
        let parts = PortSet::overlay(&sets).into_iter();
        let own = parts.filter(|(of, _)| of.first() == Some(&0));
        own.map(|(_, part)| {
            if part.contains(USUAL_SOURCE_PORT) {
                USUAL_SOURCE_PORT
            } else {
                part.ranges()[0].0
            }
        })
        .collect()
    }

    /// In words.
    pub(super) fn decision(&self, (hook, why): (Hook, Why)) -> Decision {
        Decision { hook, by: self.by(why) }
    }

    /// Addresses that are a node's or a pod's.
    pub(super) fn inside(&self) -> AddressSet {
        let external = self.nodes.iter().flat_map(|node| node.external.iter().copied());
        let cloud = self.cloud.iter().flat_map(|cloud| cloud.of_nodes());
        let own = AddressSet::from_addresses(self.places.keys().copied().chain(external).chain(cloud));
        let ranges = self.pod_ranges.iter().fold(own, |all, ranges| all.union(ranges));
        // And those that no host on a network sends from.
        let nobody = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/3", "::/127", "ff00::/8"];
        let nobody = nobody.map(|net| crate::net::Cidr::parse(net).expect("a network"));
        ranges.union(&AddressSet::from_cidrs(&nobody))
    }

    pub(super) fn node_port_service(&self, protocol: Protocol, port: u16) -> Option<String> {
        let mut all = self.services.iter().flatten();
        let found = all.find(|s| s.protocol == protocol.number() && s.node_port == Some(port))?;
        Some(format!("{}/{}", found.namespace, found.name))
    }

    /// The ports of a target, cut where a rule, a failsafe port, a Service or a tunnel can tell them apart.
    fn port_parts(
        &self,
        met: &BTreeSet<(usize, Direction)>,
        client: Client,
        target: Target,
        protocol: Protocol,
    ) -> Vec<PortSet> {
        let single = |port: u16| PortSet::from_ranges([(port, port)]);
        let number = protocol.number();
        let mut sets: BTreeSet<PortSet> = BTreeSet::new();
        for (stages, direction) in met {
            let (stages, direction) = (&self.stages[*stages], *direction);
            for lists in [&stages.untracked, &stages.pre_dnat, &stages.normal, &stages.forward] {
                for policy in lists.of(direction).iter().flat_map(|run| &run.policies) {
                    let rules = self.policies[*policy].rules(direction).unwrap_or_default();
                    for conditions in rules.iter().filter_map(|rule| rule.of(Family::of(target.address))) {
                        if conditions.admits(number, None) {
                            conditions.destination.port_sets(number, &mut sets);
                        }
                    }
                }
            }
        }
        for profile in self.profiles.iter().filter_map(|profile| profile.rules.as_ref()) {
            for rule in profile.ingress.iter().chain(&profile.egress) {
                if let Some(conditions) = rule.of(Family::of(target.address)) {
                    conditions.destination.port_sets(number, &mut sets);
                }
            }
        }
        let felix = &self.nodes[target.node].felix;
        let outbound = client.home(self).into_iter().flat_map(|node| {
            let felix = &self.nodes[node].felix;
            felix.inbound.iter().chain(&felix.outbound)
        });
        let failsafes = felix.inbound.iter().chain(outbound);
        sets.extend(failsafes.filter(|f| f.protocol == number).map(|f| single(f.port)));
        let services = self.services.iter().flatten().filter(|s| s.protocol == number);
        sets.extend(services.filter_map(|s| s.node_port).map(single));
        if protocol == Protocol::Udp {
            let ports = [Some(felix.vxlan_port), felix.wireguard_v4, felix.wireguard_v6];
            sets.extend(ports.into_iter().flatten().map(single));
        }
        if let Some(cloud) = &self.cloud {
            cloud.port_sets(number, &mut sets);
        }
        let base = any_port();
        let sets: Vec<&PortSet> = [&base].into_iter().chain(&sets).collect();
        let parts = PortSet::overlay(&sets).into_iter();
        parts
            .filter(|(of, _)| of.first() == Some(&0))
            .map(|(_, part)| part)
            .collect()
    }

    /// Stages, and in which direction, of every endpoint that packets may meet before they are translated.
    fn stages_between(&self, client: Client, target: Target) -> BTreeSet<(usize, Direction)> {
        let mut met: BTreeSet<(usize, Direction)> = BTreeSet::new();
        let mut meet = |node: usize, port: Port, directions: &[Direction]| {
            let named = self.governing(node, port).into_iter().flatten();
            for endpoint in named.chain(self.nodes[node].star) {
                let stages = self.applied[self.endpoints[endpoint].applied].stages;
                met.extend(directions.iter().map(|direction| (stages, *direction)));
            }
        };
        let both = [Direction::Ingress, Direction::Egress];
        meet(
            target.node,
            self.arrival(target.node, target.address),
            &[Direction::Ingress],
        );
        match client {
            Client::Outside => {}
            Client::Node(node) => {
                meet(node, self.departure(node, target.address), &both);
                meet(node, Port::Loopback, &both);
            }
            Client::Pod(pod) => {
                let node = self.pods[pod].node;
                meet(node, Port::Workload(pod), &both);
                meet(node, self.departure(node, target.address), &both);
                met.insert((self.applied[self.pods[pod].applied].stages, Direction::Egress));
            }
        }
        met
    }

    /// The addresses that the client sends from to that target; `None` if it has none in the family.
    pub(super) fn sources(&self, client: Client, target: Target) -> Option<AddressSet> {
        let family = Family::of(target.address);
        match client {
            Client::Outside => Some(AddressSet::family(family)),
            Client::Node(node) if node == target.node => Some(AddressSet::from_addresses([target.address])),
            Client::Node(node) => {
                let own = self.own_address(node, self.departure(node, target.address), family)?;
                Some(AddressSet::from_addresses([own]))
            }
            Client::Pod(pod) => {
                let mut addresses = self.pods[pod].addresses.iter().copied();
                let own = addresses.find(|a| Family::of(*a) == family)?;
                Some(AddressSet::from_addresses([own]))
            }
        }
    }
}
