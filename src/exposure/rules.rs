//! Rules as Felix renders them: once per IP family, with every condition turned into an exact set.
//!
//! Follows `felix/rules/policy.go` (what a family leaves of a rule) and
//! `libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go` (which selectors a side has). Knows nothing of
//! endpoints, tiers or hooks.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use super::members::{Area, Members, NamedPort, Terms};
use crate::net::{AddressSet, Cidr, Family, PortSet};
use crate::selector::Selector;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Action {
    Allow,
    Deny,
    Pass,
    Log,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rule {
    pub action: Action,
    /// `None`: not rendered for that family.
    v4: Option<Conditions>,
    v6: Option<Conditions>,
}

impl Rule {
    pub fn of(&self, family: Family) -> Option<&Conditions> {
        match family {
            Family::V4 => self.v4.as_ref(),
            Family::V6 => self.v6.as_ref(),
        }
    }
}

/// What a packet must be for the rule to match; all of it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Conditions {
    pub protocol: Option<u8>,
    pub not_protocol: Option<u8>,
    pub icmp: Option<Icmp>,
    pub not_icmp: Option<Icmp>,
    pub source: Side,
    pub destination: Side,
    /// A condition that is not modelled: the rule may match or not.
    pub uncertain: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Icmp {
    pub kind: u8,
    pub code: Option<u8>,
}

impl Icmp {
    /// A walk follows messages of code 0 only.
    fn is(self, protocol: u8, kind: Option<u8>) -> bool {
        matches!(protocol, 1 | 58) && kind == Some(self.kind) && self.code.unwrap_or(0) == 0
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Side {
    /// `None`: any address.
    pub area: Option<Rc<Area>>,
    pub ports: Option<Ports>,
    pub not_ports: Option<Ports>,
}

/// Numbers and names, either of which matches.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ports {
    pub numbers: PortSet,
    pub names: Vec<Rc<NamedPort>>,
}

/// Protocols with a port in the same place, which the kernel's port match knows.
pub(super) const WITH_PORTS: [u8; 3] = [6, 17, 132];

impl Ports {
    /// Where the port is hit; `None` for everywhere.
    fn hit(&self, protocol: u8, port: Option<u16>) -> Option<Area> {
        let empty = Area::exact(AddressSet::empty());
        let Some(port) = port.filter(|_| WITH_PORTS.contains(&protocol)) else {
            return Some(empty);
        };
        if self.numbers.contains(port) {
            return None;
        }
        Some(
            self.names
                .iter()
                .fold(empty, |area, name| area.union(&name.at(protocol, port))),
        )
    }
}

/// Which addresses satisfy one side.
pub(super) enum Satisfied<'a> {
    Any,
    Within(&'a Area),
    Computed(Area),
    Never,
}

impl Side {
    pub fn satisfied(&self, protocol: u8, port: Option<u16>) -> Satisfied<'_> {
        let mut computed: Option<Area> = None;
        let base = || self.area.as_deref().cloned().unwrap_or(Area::exact(AddressSet::all()));
        if let Some(hit) = self.ports.as_ref().and_then(|ports| ports.hit(protocol, port)) {
            if hit.possible.is_empty() {
                return Satisfied::Never;
            }
            computed = Some(base().intersect(&hit));
        }
        if let Some(ports) = &self.not_ports {
            match ports.hit(protocol, port) {
                None => return Satisfied::Never,
                Some(hit) if hit.possible.is_empty() => {}
                Some(hit) => computed = Some(computed.unwrap_or_else(base).minus(&hit)),
            }
        }
        match (computed, &self.area) {
            (Some(area), _) => Satisfied::Computed(area),
            (None, Some(area)) => Satisfied::Within(area),
            (None, None) => Satisfied::Any,
        }
    }

    /// Sets of ports that the side can tell apart, for a protocol.
    pub fn port_sets(&self, protocol: u8, sets: &mut BTreeSet<PortSet>) {
        for ports in self.ports.iter().chain(&self.not_ports) {
            sets.insert(ports.numbers.clone());
            for (of, port) in ports.names.iter().flat_map(|name| name.ports()) {
                if of == protocol {
                    sets.insert(PortSet::from_ranges([(port, port)]));
                }
            }
        }
    }

    /// The addresses named, whatever the port.
    pub fn named_area(&self) -> Option<&Area> {
        self.area.as_deref()
    }
}

impl Conditions {
    /// What is not about addresses and ports.
    pub fn admits(&self, protocol: u8, icmp: Option<u8>) -> bool {
        self.protocol.is_none_or(|p| p == protocol)
            && self.not_protocol.is_none_or(|p| p != protocol)
            && self.icmp.is_none_or(|i| i.is(protocol, icmp))
            // The kernel's match on a type, negated or not, is one on the protocol too.
            && self.not_icmp.is_none_or(|i| matches!(protocol, 1 | 58) && !i.is(protocol, icmp))
    }

    pub fn uncertain(&self) -> bool {
        self.uncertain
    }
}

/// Reads rules; remembers sets, which many rules share.
pub(super) struct Reader<'a> {
    members: &'a Members,
    areas: BTreeMap<Area, Rc<Area>>,
    names: BTreeMap<(Terms, String), Rc<NamedPort>>,
}

impl<'a> Reader<'a> {
    pub fn new(members: &'a Members) -> Self {
        Reader {
            members,
            areas: BTreeMap::new(),
            names: BTreeMap::new(),
        }
    }

    /// A rule of an object that Felix keeps; `namespace` is that of a namespaced policy.
    pub fn rule(&mut self, rule: &Value, namespace: Option<&str>) -> Rule {
        let action = match rule["action"].as_str().unwrap_or_default().to_lowercase().as_str() {
            "allow" => Action::Allow,
            "deny" => Action::Deny,
            "pass" => Action::Pass,
            _ => Action::Log,
        };
        Rule {
            action,
            v4: self.conditions(rule, namespace, Family::V4),
            v6: self.conditions(rule, namespace, Family::V6),
        }
    }

    fn conditions(&mut self, rule: &Value, namespace: Option<&str>, family: Family) -> Option<Conditions> {
        let version = match family {
            Family::V4 => 4,
            Family::V6 => 6,
        };
        if rule["ipVersion"].as_u64().is_some_and(|v| v != version && v != 0) {
            return None;
        }
        let source = self.side(&rule["source"], namespace, family)?;
        let destination = self.side(&rule["destination"], namespace, family)?;
        let services = |side: &str| rule[side]["services"].is_object();
        Some(Conditions {
            protocol: rule.get("protocol").and_then(protocol_number),
            not_protocol: rule.get("notProtocol").and_then(protocol_number),
            icmp: icmp(&rule["icmp"]),
            not_icmp: icmp(&rule["notICMP"]),
            source,
            destination,
            uncertain: services("source") || services("destination"),
        })
    }

    /// `None` where Felix leaves the whole rule out for the family (`felix/rules/policy.go` FilterRuleToIPVersion).
    fn side(&mut self, entity: &Value, namespace: Option<&str>, family: Family) -> Option<Side> {
        let nets = of_family(&entity["nets"], family)?;
        let not_nets = of_family(&entity["notNets"], family)?;
        if not_nets.iter().flatten().any(|net| net.prefix() == 0) {
            return None;
        }
        let mut area: Option<Area> = None;
        let narrow = |area: &mut Option<Area>, by: Area| {
            *area = Some(area.take().map_or_else(|| by.clone(), |area| area.intersect(&by)));
        };
        if let Some(nets) = nets {
            narrow(&mut area, Area::exact(AddressSet::from_cidrs(&nets)));
        }
        if let Some(nets) = not_nets {
            narrow(&mut area, Area::exact(AddressSet::from_cidrs(&nets).complement()));
        }
        let terms = entity_terms(entity, namespace);
        if let Some(terms) = &terms {
            narrow(&mut area, (*self.members.area(terms)).clone());
        } else if let Some(not) = selector_of(&entity["notSelector"]) {
            let not = self.members.area(&Terms(vec![(false, not)]));
            narrow(
                &mut area,
                Area {
                    sure: not.possible.complement(),
                    possible: not.sure.complement(),
                },
            );
        }
        let area = area.map(|area| self.shared(area.intersect(&Area::exact(AddressSet::family(family)))));
        let terms = terms.unwrap_or(Terms(Vec::new()));
        Some(Side {
            area,
            ports: self.ports(&entity["ports"], &terms),
            not_ports: self.ports(&entity["notPorts"], &terms),
        })
    }

    fn shared(&mut self, area: Area) -> Rc<Area> {
        let entry = self.areas.entry(area);
        Rc::clone(entry.or_insert_with_key(|area| Rc::new(area.clone())))
    }

    fn ports(&mut self, ports: &Value, terms: &Terms) -> Option<Ports> {
        let list = ports.as_array().filter(|list| !list.is_empty())?;
        let (mut ranges, mut names) = (Vec::new(), Vec::new());
        for port in list {
            match port_range(port) {
                Some(range) => ranges.push(range),
                None => {
                    let name = port.as_str().unwrap_or_default().to_string();
                    let key = (terms.clone(), name);
                    let members = self.members;
                    let entry = self.names.entry(key);
                    names.push(Rc::clone(
                        entry.or_insert_with_key(|(terms, name)| Rc::new(members.named(terms, name))),
                    ));
                }
            }
        }
        Some(Ports {
            numbers: PortSet::from_ranges(ranges),
            names,
        })
    }
}

/// Networks of one family in a list; those that do not parse are skipped, as Felix skips them. The outer `None`: there
/// are some, all of the other family. The inner one: there are none.
fn of_family(list: &Value, family: Family) -> Option<Option<Vec<Cidr>>> {
    let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    let nets: Vec<Cidr> = texts.filter_map(|text| Cidr::parse_lenient(text).ok()).collect();
    if nets.is_empty() {
        return Some(None);
    }
    let of: Vec<Cidr> = nets.into_iter().filter(|net| net.family() == family).collect();
    (!of.is_empty()).then_some(Some(of))
}

pub(super) fn protocol_number(value: &Value) -> Option<u8> {
    match value {
        Value::Number(number) => number.as_u64().and_then(|n| u8::try_from(n).ok()),
        Value::String(name) => match name.to_lowercase().as_str() {
            "tcp" => Some(6),
            "udp" => Some(17),
            "icmp" => Some(1),
            "icmpv6" => Some(58),
            "sctp" => Some(132),
            "udplite" => Some(136),
            number => number.parse().ok(),
        },
        _ => None,
    }
}

fn icmp(value: &Value) -> Option<Icmp> {
    let byte = |key: &str| value[key].as_u64().and_then(|n| u8::try_from(n).ok());
    Some(Icmp {
        kind: byte("type")?,
        code: byte("code"),
    })
}

/// The numbers of a port as policies write it: `80`, `"80"` or `"8000:9000"`; `None` for a name.
pub fn port_range(port: &Value) -> Option<(u16, u16)> {
    let number = |text: &str| text.parse::<u16>().ok();
    match port {
        Value::Number(n) => n.as_u64().and_then(|n| u16::try_from(n).ok()).map(|n| (n, n)),
        Value::String(text) => match text.split_once(':') {
            Some((low, high)) => Some((number(low)?, number(high)?)),
            None => number(text).map(|n| (n, n)),
        },
        _ => None,
    }
}

/// A selector that is written and parses.
fn selector_of(value: &Value) -> Option<Selector> {
    let text = value.as_str().filter(|text| !text.is_empty())?;
    Selector::parse(text).ok()
}

/// The conjunction that an entity's selectors come to; `None` when it has none that selects
/// (`getEndpointSelector`; `notSelector` alone counts only where a namespace is implied).
fn entity_terms(entity: &Value, namespace: Option<&str>) -> Option<Terms> {
    let text = |key: &str| entity[key].as_str().unwrap_or_default();
    let (selector, not) = (selector_of(&entity["selector"]), selector_of(&entity["notSelector"]));
    let accounts = service_accounts(&entity["serviceAccounts"]);
    let mut terms: Vec<(bool, Selector)> = Vec::new();
    if !text("namespaceSelector").is_empty() {
        terms.extend(namespace_term(text("namespaceSelector"), true).map(|term| (false, term)));
    } else if let Some(namespace) = namespace
        && (selector.is_some() || not.is_some() || !accounts.is_empty())
    {
        let own = Selector::parse(&format!("projectcalico.org/namespace == '{namespace}'"));
        terms.extend(own.ok().map(|term| (false, term)));
    }
    terms.extend(accounts.into_iter().map(|term| (false, term)));
    terms.extend(selector.map(|term| (false, term)));
    if terms.is_empty() {
        return None;
    }
    terms.extend(not.map(|term| (true, term)));
    Some(Terms(terms))
}

/// A namespace selector as a selector on endpoints: prefixed, and its `all()` replaced in the text, wherever it stands.
pub(super) fn namespace_term(text: &str, in_rule: bool) -> Option<Selector> {
    let mut canonical = Selector::parse(text).ok()?.with_label_prefix("pcns.").canonical();
    canonical = canonical.replace("all()", "has(projectcalico.org/namespace)");
    if in_rule {
        canonical = canonical.replace("global()", "!has(projectcalico.org/namespace)");
    }
    Selector::parse(&canonical).ok()
}

fn service_accounts(accounts: &Value) -> Vec<Selector> {
    let selector = selector_of(&accounts["selector"]).map(|s| s.with_label_prefix("pcsa."));
    let names: Vec<&str> = accounts["names"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let listed = (!names.is_empty())
        .then(|| format!("projectcalico.org/serviceaccount in {{ '{}' }}", names.join("', '")))
        .and_then(|text| Selector::parse(&text).ok());
    selector.into_iter().chain(listed).collect()
}
