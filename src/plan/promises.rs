//! Guards, expectations, and flows that no step may open or cut: read, and held against each other.
//!
//! Whether they hold in a cluster is not known here; that two of them cannot both hold is.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Diagnostic, codes};
use crate::net::{AddressSet, Cidr, Protocol};
use crate::plan::check::{Builder, labels_of};
use crate::plan::node::{Entry, Kind, Node};
use crate::plan::scalar::{json_number, parse_port};
use crate::plan::*;

impl<'a> Builder<'a> {
    pub(super) fn guard(&mut self, entry: &'a Entry) -> Option<Guard> {
        let guard = entry.value.get("guard")?;
        self.bare_in_default(entry);
        let only = guard.get("allowOnly");
        let sources = only.or(guard.get("deny"))?.items().iter();
        Some(Guard {
            nodes: guard.get("nodes")?.text()?.to_string(),
            at: ports(guard)?,
            sources: sources.filter_map(|node| self.source(node)).collect(),
            only: only.is_some(),
            order: guard
                .get("order")
                .and_then(|order| json_number(order.text()?)?.as_f64()),
            span: entry.key.span,
        })
    }

    fn source(&mut self, node: &Node) -> Option<Source> {
        if let Some(set) = node.get("networkSet") {
            return self.selectable(set).map(Source::Set);
        }
        match node.get("matchLabels") {
            Some(labels) => Some(Source::Labels(labels_of(labels))),
            None => Cidr::parse(node.text()?).ok().map(Source::Net),
        }
    }

    /// The name of a set that a policy can select, which it does by labels.
    fn selectable(&mut self, node: &Node) -> Option<String> {
        let name = node.text()?;
        let sets = self.spec.get("networkSets").map_or(&[][..], Node::entries);
        let set = sets.iter().find(|set| set.key.value == name)?;
        if set.value.get("labels").is_none_or(|labels| labels.entries().is_empty()) {
            let message = format!("network set `{name}` has no label, and policies select sets by labels alone");
            let problem = Diagnostic::error(codes::SET_WITHOUT_LABEL, node.span, message, "cannot be selected");
            let problem = problem.and(set.key.span, "declared here");
            self.problems
                .push(problem.fix(format!("give it one: `labels: {{ role: {name} }}`")));
        }
        Some(name.to_string())
    }

    pub(super) fn expectations(&mut self) -> Vec<Expectation> {
        let items = self.spec.get("expect").map_or(&[][..], Node::items).iter();
        let read = |node: &Node| {
            Some(Expectation {
                promise: promise(node)?,
                open: node.get("is")?.text()? == "open",
            })
        };
        items.filter_map(read).collect()
    }

    pub(super) fn flows(&mut self, section: &str) -> Vec<Promise> {
        let items = self.spec.get(section).map_or(&[][..], Node::items);
        items.iter().filter_map(promise).collect()
    }

    /// Two expectations of which one says open and the other blocked of the same connection.
    pub(super) fn contradictions(&mut self, plan: &Plan) {
        let sources = Sources::new(plan);
        for (i, second) in plan.expect.iter().enumerate() {
            for first in &plan.expect[..i] {
                let (a, b) = (&first.promise, &second.promise);
                if first.open == second.open || a.to != b.to || !ports_meet(plan, &a.at, &b.at) {
                    continue;
                }
                let Some(both) = sources.meet(a, b) else { continue };
                let word = |open: bool| if open { "open" } else { "blocked" };
                let message = format!("{both} is expected {} and {}", word(first.open), word(second.open));
                let problem = Diagnostic::error(
                    codes::CONTRADICTION,
                    b.span,
                    message,
                    format!("{} here", word(second.open)),
                );
                let problem = problem.and(a.span, format!("{} here", word(first.open)));
                let fix = "narrow one of the two sources; `others` is everybody but those expected open";
                self.problems.push(problem.fix(fix));
            }
        }
    }
}

fn promise(node: &Node) -> Option<Promise> {
    let from = node.entry("from")?;
    Some(Promise {
        from: read_from(&from.value)?,
        to: node.get("to")?.text()?.to_string(),
        at: ports(node)?,
        span: from.value.span,
    })
}

fn read_from(node: &Node) -> Option<From> {
    let owned = |node: &Node| node.text().map(str::to_string);
    if let Kind::Seq(items) = &node.kind {
        let nets = items.iter().map(|item| Cidr::parse(item.text()?).ok());
        return Some(From::Nets(nets.collect::<Option<_>>()?));
    }
    if let Some(set) = node.get("networkSet") {
        return owned(set).map(From::Set);
    }
    if let Some(labels) = node.get("matchLabels") {
        return Some(From::Labels(labels_of(labels)));
    }
    if let Some(labels) = node.get("pods") {
        return Some(From::Pods {
            namespace: node.get("namespace").and_then(owned),
            labels: labels_of(labels),
        });
    }
    match node.text()? {
        "internet" => Some(From::Internet),
        "others" => Some(From::Others),
        text => match text.strip_prefix("node/") {
            Some(name) => Some(From::Node(name.to_string())),
            None => Some(From::Nets(vec![Cidr::parse(text).ok()?])),
        },
    }
}

/// `service` or `ports` of an object that has one of them.
pub(super) fn ports(node: &Node) -> Option<Ports> {
    if let Some(service) = node.get("service") {
        return Some(Ports::Service(service.text()?.to_string()));
    }
    let mut numbers: BTreeMap<Protocol, BTreeSet<u16>> = BTreeMap::new();
    for item in node.get("ports")?.items() {
        let (protocol, port) = item.text()?.split_once('/')?;
        numbers
            .entry(protocol_of(protocol)?)
            .or_default()
            .insert(parse_port(port)?);
    }
    Some(Ports::Numbers(numbers))
}

fn protocol_of(word: &str) -> Option<Protocol> {
    match word.to_ascii_lowercase().as_str() {
        "tcp" => Some(Protocol::Tcp),
        "udp" => Some(Protocol::Udp),
        "sctp" => Some(Protocol::Sctp),
        _ => None,
    }
}

/// The ports as far as the plan alone knows them.
pub(super) fn known(plan: &Plan, at: &Ports) -> Option<BTreeMap<Protocol, BTreeSet<u16>>> {
    match at {
        Ports::Numbers(numbers) => Some(numbers.clone()),
        Ports::Service(name) => match plan.services.get(name)? {
            Service::Own(own) => Some(own.node_ports()),
            Service::Existing { .. } => None,
        },
    }
}

fn ports_meet(plan: &Plan, a: &Ports, b: &Ports) -> bool {
    if a == b {
        return true;
    }
    let (Some(a), Some(b)) = (known(plan, a), known(plan, b)) else {
        return false;
    };
    a.iter()
        .any(|(protocol, ports)| b.get(protocol).is_some_and(|others| !ports.is_disjoint(others)))
}

impl OwnService {
    /// Its node ports by protocol.
    pub(crate) fn node_ports(&self) -> BTreeMap<Protocol, BTreeSet<u16>> {
        let mut ports: BTreeMap<Protocol, BTreeSet<u16>> = BTreeMap::new();
        for port in &self.ports {
            if let Some(protocol) = protocol_of(&port.protocol) {
                ports.entry(protocol).or_default().insert(port.node_port);
            }
        }
        ports
    }
}

/// Addresses that are no public ones (IANA's special-purpose registries; RFC 1918, 3927, 4193, 4291, 6598).
const PRIVATE: [&str; 7] = [
    "10.0.0.0/8",
    "100.64.0.0/10",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// Every public address, those of the cluster's own nodes among them.
pub(crate) fn internet() -> AddressSet {
    let private = PRIVATE.map(|net| Cidr::parse(net).expect("a network"));
    AddressSet::all().minus(&AddressSet::from_cidrs(&private))
}

/// The sources of expectations as far as the plan alone knows them.
struct Sources<'p> {
    plan: &'p Plan,
    /// Networks that only stand in for addresses not looked up yet.
    pending: bool,
}

impl<'p> Sources<'p> {
    fn new(plan: &'p Plan) -> Self {
        let pending = plan
            .inputs
            .values()
            .any(|input| matches!(input.value, InputValue::Lookup(_)));
        Sources { plan, pending }
    }

    /// A source of both, in words; `None` where there is none or that is not known.
    fn meet(&self, a: &Promise, b: &Promise) -> Option<String> {
        if a.from == b.from {
            return Some(a.from.to_string());
        }
        let (x, y) = (self.addresses(a)?, self.addresses(b)?);
        let common = x.intersect(&y).to_cidrs();
        common.first().map(ToString::to_string)
    }

    fn addresses(&self, promise: &Promise) -> Option<AddressSet> {
        match &promise.from {
            From::Nets(nets) if !self.pending => Some(AddressSet::from_cidrs(nets)),
            From::Internet => Some(internet()),
            // Everybody but those expected open: meets none of them.
            From::Others | From::Nets(_) | From::Node(_) | From::Pods { .. } => None,
            From::Set(name) => Some(set(&self.plan.network_sets.get(name)?.nets)),
            From::Labels(labels) => {
                let matching = self.plan.network_sets.values();
                let matching = matching.filter(|set| labels.iter().all(|pair| set.labels.get(pair.0) == Some(pair.1)));
                let parts: Vec<AddressSet> = matching.map(|of| set(&of.nets)).collect();
                Some(AddressSet::union_of(&parts))
            }
        }
    }
}

fn set(nets: &[String]) -> AddressSet {
    let cidrs: Vec<Cidr> = nets.iter().filter_map(|net| Cidr::parse(net).ok()).collect();
    AddressSet::from_cidrs(&cidrs)
}

fn pairs(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

impl std::fmt::Display for From {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            From::Nets(nets) => {
                let nets: Vec<String> = nets.iter().map(ToString::to_string).collect();
                f.write_str(&nets.join(", "))
            }
            From::Internet => f.write_str("internet"),
            From::Others => f.write_str("others"),
            From::Node(name) => write!(f, "node/{name}"),
            From::Set(name) => write!(f, "network set {name}"),
            From::Labels(labels) => write!(f, "network sets {}", pairs(labels)),
            From::Pods { namespace, labels } => {
                write!(f, "pods {}", pairs(labels))?;
                match namespace {
                    Some(namespace) => write!(f, " in {namespace}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ports::Service(name) => f.write_str(name),
            Ports::Numbers(numbers) => {
                let words = numbers.iter().flat_map(|(protocol, ports)| {
                    let protocol = protocol.to_string().to_ascii_lowercase();
                    ports.iter().map(move |port| format!("{protocol}/{port}"))
                });
                f.write_str(&words.collect::<Vec<_>>().join(", "))
            }
        }
    }
}
