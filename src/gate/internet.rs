//! Ports that most of the internet can reach because of the plan.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Finding, Looked, some};
use crate::changes::{Change, Op};
use crate::error::codes;
use crate::exposure::{Flow, Flows, From, Movement, Senders, Verdict};
use crate::net::{AddressSet, Cidr, Family, PortSet, Protocol};
use crate::plan::{Plan, Ports, Service, internet};
use crate::resource::{Key, Kind};
use crate::source::Span;

/// Ports of nodes in one family.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Open {
    protocol: Protocol,
    family: Family,
    ports: PortSet,
    service: Option<String>,
}

pub fn look(looked: &Looked<'_>) -> Vec<Finding> {
    let mut open: BTreeMap<Open, BTreeSet<String>> = BTreeMap::new();
    let opens = looked.rows.iter().filter(|row| row.movement == Movement::Opens);
    for row in
        opens.filter(|row| row.subject.from == From::Outside && is_most(&row.subject.sources, row.subject.family))
    {
        let subject = &row.subject;
        if !row.after.as_ref().is_some_and(|answer| is_open(answer.verdict)) {
            continue;
        }
        let of = Open {
            protocol: subject.protocol,
            family: subject.family,
            ports: subject.ports.clone(),
            service: subject.service.clone(),
        };
        open.entry(of).or_default().extend(row.nodes.keys().cloned());
    }
    for (of, nodes) in behind_new_services(looked) {
        open.entry(of).or_default().extend(nodes);
    }
    let finding = |(of, nodes): (Open, BTreeSet<String>)| {
        let left = unexpected(&of, &nodes, &looked.expected);
        finding(
            looked,
            &of,
            if left.is_empty() { &nodes } else { &left },
            left.is_empty(),
        )
    };
    open.into_iter().map(finding).collect()
}

/// Services that the steps put at ports, where these let the internet through before and after.
fn behind_new_services(looked: &Looked<'_>) -> Vec<(Open, BTreeSet<String>)> {
    let mut found = Vec::new();
    let Ok(nodes) = looked.end.keys(Kind::Node) else {
        return found;
    };
    let nodes: BTreeSet<String> = nodes.map(|key| key.name.clone()).collect();
    let made = looked.steps.iter().filter(|step| step.key.kind == Kind::Service);
    let made: Vec<&Change> = made.filter(|step| !matches!(step.op, Op::Delete { .. })).collect();
    if made.is_empty() {
        return found;
    }
    let flows = Flows::new(looked.after);
    for step in made {
        for (protocol, ports) in new_node_ports(looked, step) {
            let flow = Flow {
                from: Senders::Outside(internet()),
                nodes: nodes.clone(),
                protocol,
                ports,
            };
            let parts = flows.of(&flow).into_iter().filter(|part| is_open(part.verdict));
            for part in parts {
                let family = Family::of(part.witness.destination);
                if is_most(&part.sources, family) {
                    let of = Open {
                        protocol,
                        family,
                        ports: part.ports.clone(),
                        service: Some(format!("{}/{}", step.key.namespace, step.key.name)),
                    };
                    found.push((of, part.nodes.keys().cloned().collect()));
                }
            }
        }
    }
    found
}

/// The node ports of a Service that it did not have before.
fn new_node_ports(looked: &Looked<'_>, step: &Change) -> BTreeMap<Protocol, PortSet> {
    let mut ports = node_ports(looked, &step.key);
    if let Op::Update { before, .. } = &step.op {
        let listed = before.pointer("/spec/ports").and_then(Value::as_array);
        for had in listed.into_iter().flatten() {
            let protocol = had["protocol"].as_str().unwrap_or("TCP").parse::<Protocol>();
            let port = had["nodePort"].as_u64().and_then(|port| u16::try_from(port).ok());
            if let (Ok(protocol), Some(port)) = (protocol, port)
                && let Some(left) = ports.get_mut(&protocol)
            {
                *left = left.minus(&PortSet::from_ranges([(port, port)]));
            }
        }
    }
    ports.retain(|_, ports| !ports.is_empty());
    ports
}

fn node_ports(looked: &Looked<'_>, key: &Key) -> BTreeMap<Protocol, PortSet> {
    let own = looked.plan.services.iter().find_map(|(name, service)| match service {
        Service::Own(own) if own.namespace == key.namespace && *name == key.name => Some(own.node_ports()),
        _ => None,
    });
    let ports = own.into_iter().flatten();
    let set = |ports: BTreeSet<u16>| PortSet::from_ranges(ports.iter().map(|port| (*port, *port)));
    ports.map(|(protocol, ports)| (protocol, set(ports))).collect()
}

/// Nodes of which no expectation says that the ports are open to most of the internet.
fn unexpected(of: &Open, nodes: &BTreeSet<String>, expected: &[&Flow]) -> BTreeSet<String> {
    let said = expected.iter().filter(|flow| match &flow.from {
        Senders::Outside(sources) => flow.protocol == of.protocol && is_most(sources, of.family),
        Senders::Node(_) | Senders::Pods(_) => false,
    });
    let said: Vec<&&Flow> = said.collect();
    let meant = |node: &&String| {
        let here = said.iter().filter(|flow| flow.nodes.contains(*node));
        let ports = here.fold(PortSet::empty(), |all, flow| all.union(&flow.ports));
        of.protocol.has_ports() && of.ports.minus(&ports).is_empty()
    };
    nodes.iter().filter(|node| !meant(node)).cloned().collect()
}

fn finding(looked: &Looked<'_>, of: &Open, nodes: &BTreeSet<String>, expected: bool) -> Finding {
    let subject = subject(of);
    let family = match of.family {
        Family::V4 => "IPv4",
        Family::V6 => "IPv6",
    };
    let service = of.service.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let but = match (expected, looked.firewall) {
        (true, _) => ", as the plan expects",
        (false, true) => "",
        (false, false) => ", unless something in front of the nodes blocks it",
    };
    let message = format!(
        "{subject}{service} is open to the {family} internet on {}{but}",
        some(nodes)
    );
    let mut finding = Finding::new(codes::WORLD_OPEN, subject, message);
    finding.span = span(looked.plan, of);
    (finding.expected, finding.assumed) = (expected, !looked.firewall);
    if expected {
        return finding;
    }
    let fix = "narrow the sources, or say that it is meant, under `expect`: { from: internet, to: GROUP, ports: [...], is: open }";
    finding
        .consequence("whoever scans the internet finds it within hours")
        .fix(fix)
}

/// `tcp/30080`, `tcp/80, tcp/8000-9000 over IPv6`
fn subject(of: &Open) -> String {
    let protocol = of.protocol.to_string().to_ascii_lowercase();
    let ports = of.ports.ranges().iter().take(5).map(|(low, high)| match low == high {
        true => format!("{protocol}/{low}"),
        false => format!("{protocol}/{low}-{high}"),
    });
    let mut ports: Vec<String> = ports.collect();
    if of.ports.ranges().len() > ports.len() {
        ports.push(format!("{} more", of.ports.ranges().len() - ports.len()));
    }
    let ports = if ports.is_empty() { protocol } else { ports.join(", ") };
    match of.family {
        Family::V4 => ports,
        Family::V6 => format!("{ports} over IPv6"),
    }
}

/// The part of the plan that speaks of the port: a service, a rule of the cloud, a guard, in this order.
fn span(plan: &Plan, of: &Open) -> Option<Span> {
    let holds = |at: &Ports| {
        let numbers = match at {
            Ports::Numbers(numbers) => numbers.clone(),
            Ports::Service(name) => match plan.services.get(name)? {
                Service::Own(own) => own.node_ports(),
                Service::Existing { .. } => return None,
            },
        };
        let ports = numbers.get(&of.protocol)?;
        Some(ports.iter().any(|port| of.ports.contains(*port)))
    };
    let services = plan.services.values().filter_map(|service| match service {
        Service::Own(own) => {
            let ports = own.node_ports();
            let ports = ports.get(&of.protocol)?;
            ports.iter().any(|port| of.ports.contains(*port)).then_some(own.span)
        }
        Service::Existing { namespace, name, span } => {
            let named = of.service.as_ref() == Some(&format!("{namespace}/{name}"));
            named.then_some(*span)
        }
    });
    let cloud = plan.cloud.iter().filter(|allow| holds(&allow.at) == Some(true));
    let guards = plan.guards.values().filter(|guard| holds(&guard.at) == Some(true));
    let mut spans = services
        .chain(cloud.map(|allow| allow.span))
        .chain(guards.map(|guard| guard.span));
    spans.next()
}

fn is_open(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Open | Verdict::HostDecides | Verdict::Partly)
}

/// Whether a set holds more than half of the public addresses of a family: a few that are left out change nothing.
pub fn is_most(sources: &AddressSet, family: Family) -> bool {
    let public = internet().only(family);
    size(&sources.intersect(&public)) * 2.0 > size(&public)
}

/// As a part of all addresses of its family.
fn size(set: &AddressSet) -> f64 {
    let cidrs = set.to_cidrs();
    cidrs
        .iter()
        .map(|cidr: &Cidr| 0.5_f64.powi(i32::from(cidr.prefix())))
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(texts: &[&str]) -> AddressSet {
        let cidrs: Vec<Cidr> = texts.iter().map(|text| Cidr::parse(text).expect("a network")).collect();
        AddressSet::from_cidrs(&cidrs)
    }

    #[test]
    fn most_of_the_internet_is_more_than_half_of_it() {
        assert!(is_most(&AddressSet::all(), Family::V4) && is_most(&AddressSet::all(), Family::V6));
        assert!(is_most(&set(&["0.0.0.0/1", "128.0.0.0/2"]), Family::V4));
        let but_one = AddressSet::all().minus(&set(&["198.51.100.7/32"]));
        assert!(is_most(&but_one, Family::V4));
        for narrow in [&["10.0.0.0/8"][..], &["0.0.0.0/2", "192.0.2.0/24"], &["::/0"], &[]] {
            assert!(!is_most(&set(narrow), Family::V4), "{narrow:?}");
        }
        assert!(!is_most(&set(&["0.0.0.0/0"]), Family::V6));
    }
}
