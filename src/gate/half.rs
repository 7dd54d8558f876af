//! Policies without connection tracking that let packets through in one direction only.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{Finding, Looked, some};
use crate::changes::{Change, FieldChange};
use crate::error::codes;
use crate::exposure::{By, Fate, Flow, Flows, PolicyKind, Senders, Verdict, World, fate_of_connection, port_range};
use crate::net::{AddressSet, PortSet, Protocol};
use crate::plan::Policy;
use crate::resource::{FieldPath, Kind, Origin};
use crate::state::State;

pub fn look(looked: &Looked<'_>) -> Vec<Finding> {
    let untracked = looked.plan.policies.iter().filter(|(_, policy)| {
        policy.spec["doNotTrack"] == Value::Bool(true)
            && policy.spec["ingress"].as_array().is_some_and(|rules| !rules.is_empty())
    });
    let untracked: Vec<(&String, &Policy)> = untracked.collect();
    if untracked.is_empty() {
        return Vec::new();
    }
    let Ok(nodes) = looked.end.keys(Kind::Node) else {
        return Vec::new();
    };
    let nodes: BTreeSet<String> = nodes.map(|key| key.name.clone()).collect();
    let world = World::of_state(&without_interfaces(looked.end));
    let flows = Flows::new(&world);
    untracked
        .into_iter()
        .filter_map(|(name, policy)| of_policy((&world, &flows), &nodes, name, policy))
        .collect()
}

fn of_policy(
    (world, flows): (&World, &Flows<'_>),
    nodes: &BTreeSet<String>,
    name: &str,
    policy: &Policy,
) -> Option<Finding> {
    let mut broken: BTreeSet<String> = BTreeSet::new();
    let mut packet = None;
    for (protocol, ports) in ports(policy) {
        let flow = Flow {
            from: Senders::Outside(AddressSet::all()),
            nodes: nodes.clone(),
            protocol,
            ports,
        };
        for part in flows.of(&flow) {
            let by = part.decision.as_ref().map(|decision| &decision.by);
            let own = matches!(by, Some(By::Rule(rule))
                if rule.policy.kind == PolicyKind::GlobalNetworkPolicy && rule.policy.name == name);
            let open = matches!(part.verdict, Verdict::Open | Verdict::HostDecides | Verdict::Partly);
            if own && open && fate_of_connection(world, &part.witness) == Fate::Cut {
                broken.extend(part.nodes.keys().cloned());
                packet.get_or_insert_with(|| part.witness.clone());
            }
        }
    }
    let packet = packet?;
    let subject = format!("policies.{name}");
    let message = format!(
        "{subject} lets packets in without tracking and their replies are not let out, on {}",
        some(&broken)
    );
    let port = packet.port.map(|port| format!(":{port}")).unwrap_or_default();
    let cause = format!(
        "{} {} -> {}{port} comes in, and what answers it is dropped as invalid",
        packet.protocol, packet.source, packet.destination
    );
    let fix = "add an egress rule with doNotTrack that allows what comes from these ports";
    Some(
        Finding::new(codes::UNTRACKED_HALF, subject, message)
            .at(policy.span)
            .cause(cause)
            .fix(fix),
    )
}

/// Host endpoints by their addresses alone: the API does not show which interface has an address, and the question is
/// only what becomes of packets where the policy is asked.
fn without_interfaces(end: &State) -> State {
    let path = FieldPath::dotted("spec.interfaceName");
    let named = end
        .list(Kind::HostEndpoint)
        .into_iter()
        .flatten()
        .filter(|(_, object)| {
            let name = path.get(object).and_then(Value::as_str);
            name.is_some_and(|name| name != "*")
        });
    let changes: Vec<Change> = named
        .map(|(key, object)| {
            let field = FieldChange {
                path: path.clone(),
                before: path.get(&object).cloned(),
                after: None,
                taken_from: None,
            };
            let origin = Origin {
                section: "half".into(),
                span: None,
            };
            Change::update(key.clone(), object.into_owned(), vec![field], origin)
        })
        .collect();
    end.after_all(&changes)
}

/// What the policy's Allow rules name; all ports where one names none.
fn ports(policy: &Policy) -> BTreeMap<Protocol, PortSet> {
    let mut found: BTreeMap<Protocol, PortSet> = BTreeMap::new();
    let rules = policy.spec["ingress"].as_array().into_iter().flatten();
    for rule in rules.filter(|rule| rule["action"] == "Allow") {
        let protocols = match rule["protocol"].as_str() {
            Some("UDP") => vec![Protocol::Udp],
            Some("TCP") => vec![Protocol::Tcp],
            Some(_) => Vec::new(),
            None => vec![Protocol::Tcp, Protocol::Udp],
        };
        let named = rule.pointer("/destination/ports").and_then(Value::as_array);
        let ranges = named.map(|ports| PortSet::from_ranges(ports.iter().filter_map(port_range)));
        let ports = ranges.unwrap_or_else(PortSet::all);
        for protocol in protocols {
            let entry = found.entry(protocol).or_insert_with(PortSet::empty);
            *entry = entry.union(&ports);
        }
    }
    found
}
