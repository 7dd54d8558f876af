//! Whether a guard does what it says, asked of the world that the plan leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use serde_json::Value;

use super::resolve::{Guarded, Resolved};
use super::{Broken, Counterexample, Fault, counterexample, is_open, node_of};
use crate::exposure::{By, Flow, Flows, Movement, Part, Row, Senders, Verdict, World, difference};
use crate::net::{AddressSet, PortSet};
use crate::resource::Kind;
use crate::state::State;

/// What is wrong with guards, the first fault of each kind. `end` is what the plan leaves and `world` its world. A guard speaks of the nodes:
/// what a firewall in front of them does besides is no fault of it.
pub fn guards(resolved: &Resolved, end: &State, world: &World) -> Vec<Broken> {
    if resolved.guards.is_empty() {
        return Vec::new();
    }
    let beneath = end.has_cloud().then(|| end.without_cloud());
    let alone = beneath.as_ref().map(World::of_state);
    let (end, world) = (beneath.as_ref().unwrap_or(end), alone.as_ref().unwrap_or(world));
    let flows = Flows::new(world);
    let mut broken = Vec::new();
    for guard in &resolved.guards {
        let fault = |fault| Broken {
            guard: guard.key.name.clone(),
            span: guard.span,
            fault,
        };
        let without = without_endpoint(guard, end);
        if !without.is_empty() {
            broken.push(fault(Fault::NoEndpoint(without)));
            continue; // everything else follows from it
        }
        broken.extend(words(guard, &flows).into_iter().map(fault));
        broken.extend(elsewhere(guard, end, world, &flows).map(fault));
    }
    broken
}

/// Nodes that no host endpoint is of; none where host endpoints were not read, which leaves everything unknown.
fn without_endpoint(guard: &Guarded, end: &State) -> Vec<String> {
    let Ok(endpoints) = end.list(Kind::HostEndpoint) else {
        return Vec::new();
    };
    let with: BTreeSet<String> = endpoints
        .filter_map(|(_, endpoint)| Some(endpoint.pointer("/spec/node")?.as_str()?.to_string()))
        .collect();
    let without = guard.nodes.iter().filter(|node| !with.contains(*node));
    without.cloned().collect()
}

/// Every source that it names, and with `allowOnly` every other one too.
fn words(guard: &Guarded, flows: &Flows<'_>) -> Vec<Fault> {
    let ask = |sources: &AddressSet| -> Vec<Part> {
        let of = |(protocol, ports): (_, &PortSet)| Flow {
            from: Senders::Outside(sources.clone()),
            nodes: guard.nodes.clone(),
            protocol,
            ports: ports.clone(),
        };
        let all = guard.ports.iter().map(|(protocol, ports)| of((*protocol, ports)));
        all.flat_map(|flow| flows.of(&flow)).collect()
    };
    let others = AddressSet::all().minus(&guard.sources);
    let (shut_out, let_in) = if guard.only {
        (ask(&others), ask(&guard.sources))
    } else {
        (ask(&guard.sources), Vec::new())
    };
    let mut faults = Vec::new();
    // Sources may all be inside the cluster; what no packet reaches shows nothing.
    if shut_out.is_empty() && let_in.is_empty() && ask(&AddressSet::all()).is_empty() {
        faults.push(Fault::NoAddress);
    }
    let first = shut_out.iter().find(|part| part.verdict != Verdict::Blocked);
    faults.extend(first.map(|part| Fault::LetsIn(counterexample(part))));
    let first = let_in
        .iter()
        .find(|part| !is_open(part.verdict) && !nobody_listens(part));
    faults.extend(first.map(|part| Fault::ShutsOut(counterexample(part))));
    faults
}

/// A service without an endpoint there is not the guard's doing.
fn nobody_listens(part: &Part) -> bool {
    part.verdict == Verdict::Blocked
        && part
            .decision
            .as_ref()
            .is_some_and(|decision| matches!(decision.by, By::NoBackend { .. }))
}

/// Somebody whom the guard does not name and who fares differently with it than without.
fn elsewhere(guard: &Guarded, end: &State, world: &World, flows: &Flows<'_>) -> Option<Fault> {
    end.present(&guard.key)?;
    let without = World::of_state(&end.without(&guard.key));
    let rows = difference(&without, world);
    let moved = rows.iter().filter(|row| row.movement != Movement::Stays);
    let outside = flows.outside();
    moved.filter_map(|row| unnamed(guard, row, outside)).next()
}

/// What of a row the guard does not name.
fn unnamed(guard: &Guarded, row: &Row, outside: &AddressSet) -> Option<Fault> {
    let own = guard.ports.get(&row.subject.protocol);
    let named = own.map_or_else(PortSet::empty, |own| own.intersect(&row.subject.ports));
    let other_ports = row.subject.ports.minus(&named);
    let (mine, others): (Nodes, Nodes) = row
        .nodes
        .iter()
        .map(|(name, addresses)| (name.clone(), addresses.clone()))
        .partition(|(name, _)| guard.nodes.contains(name));
    let sources = row.subject.sources.intersect(outside);
    let unnamed = if guard.only {
        AddressSet::empty()
    } else {
        sources.minus(&guard.sources)
    };
    // The part of the row that is about other nodes, else about other ports, else about sources it does not name.
    let (nodes, ports, sources) = if !others.is_empty() {
        (others, row.subject.ports.clone(), sources)
    } else if !other_ports.is_empty() || named.is_empty() {
        (mine, other_ports, sources)
    } else {
        (mine, named, unnamed)
    };
    let source = sources.example()?;
    let same_family = |address: &&IpAddr| address.is_ipv4() == source.is_ipv4();
    let destination = *nodes.values().flatten().find(same_family)?;
    let mut packet = row.witness.clone();
    packet.source = source;
    packet.destination = destination;
    packet.port = ports.ranges().first().map(|(low, _)| *low);
    let after = row.after.as_ref();
    let found = Counterexample {
        node: node_of(&nodes, destination),
        packet,
        verdict: after.map_or(Verdict::Blocked, |answer| answer.verdict),
        decision: after.and_then(|answer| answer.decision.clone()),
    };
    Some(Fault::Elsewhere(
        found,
        row.before.as_ref().map(|answer| answer.verdict),
    ))
}

type Nodes = BTreeMap<String, BTreeSet<IpAddr>>;

/// Addresses of guarded nodes that no host endpoint of theirs holds, by guard, node and type: packets to them are only
/// judged where something in front of the node translates the address to one that is held.
pub fn uncovered(resolved: &Resolved, end: &State) -> BTreeMap<String, Vec<(String, String, String)>> {
    let mut found: BTreeMap<String, Vec<(String, String, String)>> = BTreeMap::new();
    let (Ok(endpoints), Ok(nodes)) = (end.list(Kind::HostEndpoint), end.list(Kind::Node)) else {
        return found;
    };
    let mut held: BTreeMap<String, BTreeSet<IpAddr>> = BTreeMap::new();
    for (_, endpoint) in endpoints {
        let node = endpoint
            .pointer("/spec/node")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let listed = endpoint.pointer("/spec/expectedIPs").and_then(Value::as_array);
        let listed = listed
            .into_iter()
            .flatten()
            .filter_map(|ip| ip.as_str()?.parse::<IpAddr>().ok());
        held.entry(node.to_string()).or_default().extend(listed);
    }
    for (key, node) in nodes {
        let listed = node.pointer("/status/addresses").and_then(Value::as_array);
        for address in listed.into_iter().flatten() {
            let (Some(ty), Some(text)) = (address["type"].as_str(), address["address"].as_str()) else {
                continue;
            };
            let Ok(ip) = text.parse::<IpAddr>() else { continue };
            // A node without any endpoint is a fault of its own.
            if held.get(key.name.as_str()).is_none_or(|held| held.contains(&ip)) {
                continue;
            }
            for guard in resolved.guards.iter().filter(|guard| guard.nodes.contains(&key.name)) {
                let line = (key.name.clone(), ty.to_string(), text.to_string());
                found.entry(guard.key.name.clone()).or_default().push(line);
            }
        }
    }
    found
}
