//! The cloud's own firewall, in front of every interface: security groups and network ACLs.
//!
//! Groups only let through and remember connections; ACLs are asked in order, by packet, and so for replies too, where
//! packets cross the border of a subnet. Built once for a world; says what becomes of sources, and walks nothing.
//! Source: Amazon VPC user guide, "Security groups" and "Network ACLs".

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::stage::{Header, Why};
use super::verdict::{Direction, Hook, Ruling};
use crate::aws::{Acl, AclEntry, Interface, Peer, Protocols, Rule};
use crate::net::{AddressSet, Cidr, Family, PortSet};

/// What was read of the cloud.
#[derive(Clone, Debug, Default)]
pub struct CloudFacts {
    /// The instance of each node that is one, by the node's name.
    pub instances: BTreeMap<String, String>,
    pub interfaces: Vec<Interface>,
    pub rules: Vec<CloudRule>,
    pub acls: Vec<Acl>,
    /// The networks of prefix lists, by id; one that is missing was not read.
    pub prefix_lists: BTreeMap<String, AddressSet>,
    /// Groups of which every interface was read.
    pub listed: BTreeSet<String>,
}

/// A rule, and whether some plan made it: its id is known to nobody before it is there.
#[derive(Clone, Debug)]
pub struct CloudRule {
    pub rule: Rule,
    pub planned: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cloud {
    /// By group, then as they were read.
    pub rules: Vec<Ruled>,
    pub acls: Vec<Listed>,
    /// Kinds of interfaces: those of one kind let the same through.
    pub wires: Vec<Wire>,
    /// The kind of interface that has the address.
    at: BTreeMap<IpAddr, usize>,
    /// Of each node, by place: the kinds of its interfaces, the first one's first.
    of_node: Vec<Vec<usize>>,
    /// Private addresses by the public ones that are translated to them.
    pub translated: BTreeMap<IpAddr, IpAddr>,
    /// Every address of the nodes' interfaces.
    own: BTreeSet<IpAddr>,
    /// Known addresses by subnet.
    subnets: BTreeMap<String, AddressSet>,
    private: AddressSet,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ruled {
    pub rule: Rule,
    /// `None` of a rule that a plan makes.
    pub id: Option<String>,
    protocol: Protocols,
    /// Peers for sure, and peers that may be.
    sure: AddressSet,
    possible: AddressSet,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub id: String,
    entries: Vec<(AclEntry, AddressSet)>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Wire {
    pub groups: Vec<String>,
    /// The subnet, and its ACL; `None` where the ACL lets everything through.
    filtered: Option<(String, Option<usize>)>,
}

/// Sources that fare alike at an interface.
#[derive(Clone, Debug)]
pub(super) struct Passing {
    pub sources: AddressSet,
    /// `Pass`, `Drop` or `Unknown`: the worst of the steps.
    pub ruling: Ruling,
    pub steps: Vec<(Hook, Ruling, Why)>,
}

/// Addresses that an interface in some VPC may have: none of them comes from the internet.
const PRIVATE: [&str; 5] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
];

impl Cloud {
    /// `nodes` are the world's, in its order.
    pub fn new(facts: &CloudFacts, nodes: &[&str]) -> Cloud {
        let private = PRIVATE.map(|net| Cidr::parse(net).expect("a network"));
        let private = AddressSet::from_cidrs(&private);
        let addresses = |interfaces: &[&Interface]| {
            AddressSet::from_addresses(interfaces.iter().flat_map(|interface| interface.addresses()))
        };
        let mut members: BTreeMap<&str, Vec<&Interface>> = BTreeMap::new();
        let mut subnets: BTreeMap<String, Vec<&Interface>> = BTreeMap::new();
        for interface in &facts.interfaces {
            subnets.entry(interface.subnet.clone()).or_default().push(interface);
            for group in &interface.groups {
                members.entry(group).or_default().push(interface);
            }
        }
        let peers = |peer: &Peer| match peer {
            Peer::Net(net) => (AddressSet::from_cidrs([net]), AddressSet::from_cidrs([net])),
            Peer::PrefixList(id) => match facts.prefix_lists.get(id) {
                Some(nets) => (nets.clone(), nets.clone()),
                None => (AddressSet::empty(), AddressSet::all()),
            },
            Peer::Group(id) => {
                let known = addresses(members.get(id.as_str()).map_or(&[][..], Vec::as_slice));
                let others = if facts.listed.contains(id) {
                    AddressSet::empty()
                } else {
                    private.clone()
                };
                (known.clone(), known.union(&others))
            }
        };
        let ruled = |made: &CloudRule| {
            let (sure, possible) = peers(&made.rule.peer);
            // a word that is no protocol may be any
            let (protocol, sure) = match made.rule.protocols() {
                Some(protocol) => (protocol, sure),
                None => (Protocols::Every, AddressSet::empty()),
            };
            Ruled {
                id: made.rule.id.clone().filter(|_| !made.planned),
                rule: Rule {
                    id: None,
                    ..made.rule.clone()
                },
                protocol,
                sure,
                possible,
            }
        };
        let mut rules: Vec<Ruled> = facts.rules.iter().map(ruled).collect();
        rules.sort_by_key(|ruled| ruled.rule.key());
        let mut acls: Vec<&Acl> = facts.acls.iter().collect();
        acls.sort_by(|a, b| a.id.cmp(&b.id));
        let listed = |acl: &&Acl| Listed {
            id: acl.id.clone(),
            entries: acl
                .entries
                .iter()
                .map(|e| (e.clone(), AddressSet::from_cidrs([&e.net])))
                .collect(),
        };
        let mut cloud = Cloud {
            rules,
            acls: acls.iter().map(listed).collect(),
            wires: Vec::new(),
            at: BTreeMap::new(),
            of_node: Vec::new(),
            translated: BTreeMap::new(),
            own: BTreeSet::new(),
            subnets: subnets
                .iter()
                .map(|(subnet, all)| (subnet.clone(), addresses(all)))
                .collect(),
            private,
        };
        let wires: Vec<Wire> = facts
            .interfaces
            .iter()
            .map(|interface| cloud.wire(interface, &acls))
            .collect();
        let kinds: BTreeSet<&Wire> = wires.iter().collect();
        cloud.wires = kinds.into_iter().cloned().collect();
        let number = |wire: &Wire| cloud.wires.binary_search(wire).expect("every kind is listed");
        let numbers: Vec<usize> = wires.iter().map(number).collect();
        for (interface, wire) in facts.interfaces.iter().zip(&numbers) {
            cloud.at.extend(interface.addresses().map(|address| (address, *wire)));
            let pairs = interface.v4.iter().filter_map(|(own, public)| Some(((*public)?, *own)));
            cloud.translated.extend(pairs);
        }
        for node in nodes {
            let instance = facts.instances.get(*node);
            let own = facts.interfaces.iter().zip(&numbers);
            let own = own.filter(|(interface, _)| instance.is_some() && interface.instance.as_ref() == instance);
            let mut own: Vec<(bool, &str, usize)> = own
                .map(|(interface, wire)| (!interface.primary, interface.id.as_str(), *wire))
                .collect();
            own.sort_unstable();
            let interfaces = facts
                .interfaces
                .iter()
                .filter(|own| instance.is_some() && own.instance.as_ref() == instance);
            cloud.own.extend(interfaces.flat_map(Interface::addresses));
            let mut wires: Vec<usize> = Vec::new();
            for (.., wire) in own {
                if !wires.contains(&wire) {
                    wires.push(wire);
                }
            }
            cloud.of_node.push(wires);
        }
        cloud
    }

    fn wire(&self, interface: &Interface, acls: &[&Acl]) -> Wire {
        let mut groups = interface.groups.clone();
        groups.sort();
        let acl = acls.iter().position(|acl| acl.subnets.contains(&interface.subnet));
        let families: BTreeSet<Family> = interface.addresses().map(Family::of).collect();
        let open = acl.is_some_and(|acl| families.iter().all(|family| acls[acl].lets_all_through(*family)));
        Wire {
            groups,
            filtered: (!open).then(|| (interface.subnet.clone(), acl)),
        }
    }

    /// The kinds of interfaces by which packets to or from that address of a node may pass; several where that is not
    /// known, none where no interface of it is.
    pub fn wires(&self, node: usize, address: Option<IpAddr>) -> Vec<usize> {
        match address.and_then(|address| self.at.get(&address)) {
            Some(wire) => vec![*wire],
            None => self.of_node.get(node).cloned().unwrap_or_default(),
        }
    }

    /// What of a node decides here about packets that it forwards.
    pub fn of_node(&self, node: usize) -> &[usize] {
        self.of_node.get(node).map_or(&[], Vec::as_slice)
    }

    /// Addresses that are nodes', or their pods'.
    pub fn of_nodes(&self) -> impl Iterator<Item = IpAddr> {
        self.own.iter().copied()
    }

    pub fn of_address(&self, address: IpAddr) -> Option<usize> {
        self.at.get(&address).copied()
    }

    /// Every set of addresses that a rule or an entry names, and that lies behind one ACL.
    pub fn address_sets(&self) -> impl Iterator<Item = &AddressSet> {
        let rules = self.rules.iter().flat_map(|ruled| [&ruled.sure, &ruled.possible]);
        let entries = self
            .acls
            .iter()
            .flat_map(|acl| acl.entries.iter().map(|(_, nets)| nets));
        let filtered = self
            .wires
            .iter()
            .filter_map(|wire| self.subnets.get(&wire.filtered.as_ref()?.0));
        rules.chain(entries).chain(filtered)
    }

    /// Ports that rules and entries name, of one protocol.
    pub fn port_sets(&self, protocol: u8, sets: &mut BTreeSet<PortSet>) {
        if !matches!(protocol, 6 | 17) {
            return;
        }
        let rules = self.rules.iter().filter(|ruled| ruled.protocol.holds(protocol));
        let entries = self.acls.iter().flat_map(|acl| &acl.entries);
        let entries = entries.filter(|(entry, _)| entry.protocol.holds(protocol));
        let ranges = rules
            .filter_map(|ruled| ruled.rule.ports)
            .chain(entries.filter_map(|(entry, _)| entry.ports));
        sets.extend(ranges.map(|range| PortSet::from_ranges([range])));
    }

    /// Client ports that entries tell apart: replies go there.
    pub fn source_ports(&self) -> impl Iterator<Item = PortSet> {
        let entries = self.acls.iter().flat_map(|acl| &acl.entries);
        entries.filter_map(|(entry, _)| Some(PortSet::from_ranges([entry.ports?])))
    }

    /// What becomes of the packets at that kind of interface.
    pub fn ask(&self, wire: usize, direction: Direction, header: &Header) -> Vec<Passing> {
        let mut all = Vec::new();
        for piece in self.groups(wire, direction, header) {
            match piece.ruling {
                Ruling::Drop => all.push(piece),
                _ => all.extend(self.acl(&self.wires[wire], direction, header, piece)),
            }
        }
        all
    }

    /// Groups let through what some rule of any of them names; the rest is dropped.
    fn groups(&self, wire: usize, direction: Direction, header: &Header) -> Vec<Passing> {
        let piece = |sources: AddressSet, ruling: Ruling, why: Why| Passing {
            sources,
            ruling,
            steps: vec![(Hook::SecurityGroup, ruling, why)],
        };
        let mut rest = header.sources.clone();
        let (mut pieces, mut perhaps) = (Vec::new(), Vec::new());
        for (index, ruled) in self.rules.iter().enumerate() {
            let own = self.wires[wire].groups.contains(&ruled.rule.group);
            if !own || ruled.rule.egress != (direction == Direction::Egress) || !ruled.admits(header) {
                continue;
            }
            let of = |peers: &AddressSet, rest: &AddressSet| match direction {
                Direction::Ingress => rest.intersect(peers),
                Direction::Egress if peers.contains(header.destination) => rest.clone(),
                Direction::Egress => AddressSet::empty(),
            };
            let sure = of(&ruled.sure, &rest);
            rest = rest.minus(&sure);
            if !sure.is_empty() {
                pieces.push(piece(sure, Ruling::Pass, Why::CloudRule(index, direction)));
            }
            let possible = of(&ruled.possible, &rest);
            if !possible.is_empty() {
                perhaps.push((possible, index));
            }
        }
        for (sources, index) in perhaps {
            let sources = sources.intersect(&rest);
            rest = rest.minus(&sources);
            if !sources.is_empty() {
                pieces.push(piece(sources, Ruling::Unknown, Why::CloudPeer(index)));
            }
        }
        if !rest.is_empty() {
            pieces.push(piece(rest, Ruling::Drop, Why::NoCloudRule(wire)));
        }
        pieces
    }

    /// The ACL of the subnet, for the packets and for the replies to them; not asked within the subnet.
    fn acl(&self, wire: &Wire, direction: Direction, header: &Header, piece: Passing) -> Vec<Passing> {
        let Some((subnet, acl)) = &wire.filtered else {
            return vec![piece];
        };
        let within = self.subnets.get(subnet);
        let (inside, outside) = match direction {
            Direction::Ingress => {
                let inside = within.map_or_else(AddressSet::empty, |own| piece.sources.intersect(own));
                (inside.clone(), piece.sources.minus(&inside))
            }
            Direction::Egress if within.is_some_and(|own| own.contains(header.destination)) => {
                (piece.sources.clone(), AddressSet::empty())
            }
            Direction::Egress => (AddressSet::empty(), piece.sources.clone()),
        };
        let with = |sources: AddressSet, ruling: Ruling, why: Option<Why>| {
            let mut part = Passing {
                sources,
                ..piece.clone()
            };
            if let Some(why) = why {
                part.steps.push((Hook::NetworkAcl, ruling, why));
                part.ruling = match (part.ruling, ruling) {
                    (_, Ruling::Drop) => Ruling::Drop,
                    (Ruling::Pass, ruling) => ruling,
                    (own, _) => own,
                };
            }
            part
        };
        let mut parts = Vec::new();
        if !inside.is_empty() {
            parts.push(with(inside, Ruling::Pass, None));
        }
        let Some(acl) = acl else {
            if !outside.is_empty() {
                parts.push(with(outside, Ruling::Unknown, Some(Why::Unread("NetworkAcl"))));
            }
            return parts;
        };
        for (sources, entry, allowed) in self.acls[*acl].both_ways(direction, header, &outside) {
            let why = Why::Acl(*acl, entry);
            if allowed {
                parts.push(with(sources, Ruling::Pass, Some(why)));
                continue;
            }
            // Those that no interface read has may lie in the same subnet, where no ACL is asked.
            let unsure = match direction {
                Direction::Ingress => sources.intersect(&self.private),
                Direction::Egress if self.private.contains(header.destination) => sources.clone(),
                Direction::Egress => AddressSet::empty(),
            };
            let known = self
                .subnets
                .values()
                .fold(AddressSet::empty(), |all, own| all.union(own));
            let unsure = match direction {
                Direction::Ingress => unsure.minus(&known),
                Direction::Egress if known.contains(header.destination) => AddressSet::empty(),
                Direction::Egress => unsure,
            };
            let dropped = sources.minus(&unsure);
            if !dropped.is_empty() {
                parts.push(with(dropped, Ruling::Drop, Some(why)));
            }
            if !unsure.is_empty() {
                parts.push(with(unsure, Ruling::Unknown, Some(why)));
            }
        }
        parts
    }
}

impl Ruled {
    fn admits(&self, header: &Header) -> bool {
        if !self.protocol.holds(header.protocol) {
            return false;
        }
        let Some((from, to)) = self.rule.ports else { return true };
        match (header.protocol, header.port, header.icmp) {
            // of ICMP the two are type and code, and the code of what is asked about is 0
            (1 | 58, _, Some(kind)) => u16::from(kind) == from && (to == 0 || to == u16::MAX),
            (_, Some(port), _) => (from..=to).contains(&port),
            _ => false,
        }
    }
}

impl Listed {
    /// Sources by the entry that decides about them, `None` for the end of the list, and whether packets and replies are
    /// let through.
    fn both_ways(
        &self,
        direction: Direction,
        header: &Header,
        sources: &AddressSet,
    ) -> Vec<(AddressSet, Option<usize>, bool)> {
        let egress = direction == Direction::Egress;
        let reply = header.icmp.map(|kind| match kind {
            8 => 0,
            128 => 129,
            other => other,
        });
        let mut parts = Vec::new();
        for (part, entry, allowed) in self.one_way(egress, egress, header, (header.port, header.icmp), sources) {
            if !allowed {
                parts.push((part, entry, false));
                continue;
            }
            let back = self.one_way(!egress, egress, header, (header.source_port, reply), &part);
            parts.extend(
                back.into_iter()
                    .map(|(part, other, allowed)| (part, if allowed { entry } else { other }, allowed)),
            );
        }
        parts
    }

    /// In one direction of packets; `by_destination` when the other end of the connection is its destination.
    fn one_way(
        &self,
        egress: bool,
        by_destination: bool,
        header: &Header,
        (port, icmp): (Option<u16>, Option<u8>),
        sources: &AddressSet,
    ) -> Vec<(AddressSet, Option<usize>, bool)> {
        let mut rest = sources.clone();
        let mut parts = Vec::new();
        for (index, (entry, nets)) in self.entries.iter().enumerate() {
            let fits = entry.egress == egress
                && entry.net.family() == header.family
                && entry.protocol.holds(header.protocol)
                && entry.fits(header.protocol, port, icmp);
            if !fits {
                continue;
            }
            let hit = match by_destination {
                true if nets.contains(header.destination) => rest.clone(),
                true => AddressSet::empty(),
                false => rest.intersect(nets),
            };
            rest = rest.minus(&hit);
            if !hit.is_empty() {
                parts.push((hit, Some(index), entry.allows));
            }
        }
        if !rest.is_empty() {
            parts.push((rest, None, false));
        }
        parts
    }

    /// The number of an entry, as it is shown.
    pub fn number(&self, entry: usize) -> u32 {
        self.entries[entry].0.number
    }

    pub fn is_egress(&self, entry: usize) -> bool {
        self.entries[entry].0.egress
    }
}

impl AclEntry {
    fn fits(&self, protocol: u8, port: Option<u16>, icmp: Option<u8>) -> bool {
        if self.protocol == Protocols::Every {
            return true;
        }
        match protocol {
            1 | 58 => match (self.icmp, icmp) {
                (Some((kind, code)), Some(own)) => (kind == -1 || kind == i64::from(own)) && (code == -1 || code == 0),
                _ => true,
            },
            _ => match (self.ports, port) {
                (Some((from, to)), Some(port)) => (from..=to).contains(&port),
                (Some(_), None) => false,
                (None, _) => true,
            },
        }
    }
}

impl Acl {
    /// Whether the first entry of the family in each direction allows everything.
    fn lets_all_through(&self, family: Family) -> bool {
        [false, true].into_iter().all(|egress| {
            let mut own = self.entries.iter();
            let first = own.find(|entry| entry.egress == egress && entry.net.family() == family);
            first.is_some_and(|entry| entry.allows && entry.protocol == Protocols::Every && entry.net.prefix() == 0)
        })
    }
}
