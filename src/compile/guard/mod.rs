//! A guard becomes a GlobalNetworkPolicy before DNAT that really restricts.
//!
//! Before DNAT no tier denies by default (Calico: `felix/rules/endpoints.go`), so what is not allowed is denied in so
//! many words. Every rule has the group's host endpoints as its destination, so that other traffic on the same port
//! passes untouched. Whether the policy then does what the guard says is not decided here: `expect` asks the world.

mod selector;

use std::collections::BTreeMap;

use serde_json::{Value, json};

use self::selector::{AUTOMATIC, group_selector};
use super::Builder;
use super::hosts::addresses_of;
use super::objects::{number, own_policy};
use crate::calico::{Level, validate};
use crate::error::{Error, codes};
use crate::net::{Cidr, Family, Protocol};
use crate::plan::{AddressType, Guard, Platform, Policy, Ports, Service, Source, internet};
use crate::resource::{Key, Kind};
use crate::selector::Labels;
use crate::state::labels_of;

/// Networks in one list of a rule (Calico: `api/pkg/apis/projectcalico/v3/policy_common.go`, EntityRule).
const NETS: usize = 256;
/// Where Azure's load balancers probe from (Microsoft Learn, "What is IP address 168.63.129.16?").
const AZURE_PROBES: &str = "168.63.129.16";

pub(super) fn compile(builder: &mut Builder) {
    for (name, guard) in builder.plan.guards.clone() {
        let nodes = builder.groups.get(&guard.nodes).cloned().unwrap_or_default();
        let Some(ports) = ports_of(builder, &guard) else {
            continue;
        };
        if nodes.is_empty() {
            continue; // an error of the group's
        }
        let Some(selector) = group_selector(builder, &name, &guard, &nodes) else {
            continue;
        };
        let spec = spec(builder, &name, &guard, &selector, &ports);
        if refused(builder, &name, &guard, &spec) {
            continue;
        }
        let policy = Policy {
            spec,
            span: guard.span,
            ingress: Vec::new(),
            egress: Vec::new(),
        };
        own_policy(builder, &name, &policy);
        notes(builder, &name, &guard);
    }
}

/// `None` where the ports are an error of the service's.
fn ports_of(builder: &Builder, guard: &Guard) -> Option<BTreeMap<Protocol, Vec<u16>>> {
    let ports = match &guard.at {
        Ports::Numbers(numbers) => numbers,
        Ports::Service(name) => builder.node_ports.get(name)?,
    };
    let listed = ports
        .iter()
        .map(|(protocol, ports)| (*protocol, ports.iter().copied().collect()));
    Some(listed.collect())
}

fn spec(builder: &Builder, name: &str, guard: &Guard, selector: &str, ports: &BTreeMap<Protocol, Vec<u16>>) -> Value {
    let mut rules = Vec::new();
    for (protocol, ports) in ports {
        let mut rule = |action: &str, source: Value| {
            let mut rule = json!({
                "action": action, "protocol": protocol.to_string(),
                "destination": {"selector": selector, "ports": ports},
            });
            if source.as_object().is_some_and(|source| !source.is_empty()) {
                rule["source"] = source;
            }
            rules.push(rule);
        };
        for source in kept(builder) {
            rule("Allow", source);
        }
        let action = if guard.only { "Allow" } else { "Deny" };
        for source in sources(builder, guard) {
            rule(action, source);
        }
        if guard.only {
            // Without networks, so that it stands for both families.
            rule("Deny", json!({}));
        }
    }
    let mut spec = json!({
        "tier": name.split_once('.').map_or("default", |(tier, _)| tier),
        "selector": selector, "preDNAT": true, "applyOnForward": true, "types": ["Ingress"], "ingress": rules,
    });
    if let Some(order) = guard.order {
        spec["order"] = number(order);
    }
    spec
}

/// What no guard may cut: nodes to nodes, and a node to itself by way of its loopback addresses.
fn kept(builder: &Builder) -> Vec<Value> {
    let mut kept = match selector::automatic(builder) {
        true => vec![json!({"selector": AUTOMATIC})],
        false => {
            let nodes = builder.state.list(Kind::Node).into_iter().flatten();
            let hosts = |node: &Value| -> Vec<Cidr> {
                let own = addresses_of(node, AddressType::InternalIP);
                own.filter_map(|text| Some(Cidr::host(text.parse().ok()?))).collect()
            };
            nets(&nodes.flat_map(|(_, node)| hosts(&node)).collect::<Vec<Cidr>>())
        }
    };
    kept.push(json!({"nets": ["127.0.0.0/8"]}));
    let mut nodes = builder.state.list(Kind::Node).into_iter().flatten();
    if nodes.any(|(_, node)| addresses_of(&node, AddressType::InternalIP).any(|text| text.contains(':'))) {
        kept.push(json!({"nets": ["::1/128"]}));
    }
    kept
}

/// The sides of rules that stand for the guard's sources: networks by family, because Calico takes no mixture in one
/// rule and Felix leaves a rule out for a family that it names no network of.
fn sources(builder: &Builder, guard: &Guard) -> Vec<Value> {
    let networks = guard.sources.iter().filter_map(|source| match source {
        Source::Net(cidr) => Some(*cidr),
        _ => None,
    });
    let mut sides = nets(&networks.collect::<Vec<_>>());
    let sets = builder.plan.network_sets.clone();
    let mut selectors: Vec<String> = Vec::new();
    for source in &guard.sources {
        let labels = match source {
            Source::Net(_) => None,
            Source::Set(name) => sets.get(name).map(|set| &set.labels),
            Source::Labels(labels) => Some(labels),
        };
        if let Some(selector) = labels.map(selector::with_labels)
            && !selectors.contains(&selector)
        {
            selectors.push(selector);
        }
    }
    sides.extend(selectors.into_iter().map(|selector| json!({"selector": selector})));
    sides
}

fn nets(cidrs: &[Cidr]) -> Vec<Value> {
    let mut sides = Vec::new();
    for family in Family::ALL {
        let mut own: Vec<String> = Vec::new();
        for cidr in cidrs.iter().filter(|cidr| cidr.family() == family) {
            let text = cidr.to_string();
            if !own.contains(&text) {
                own.push(text);
            }
        }
        sides.extend(own.chunks(NETS).map(|nets| json!({"nets": nets})));
    }
    sides
}

/// Holds the policy against Calico's rules, as one that was written out.
fn refused(builder: &mut Builder, name: &str, guard: &Guard, spec: &Value) -> bool {
    let object = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name}, "spec": spec,
    });
    let wrong = validate(&object).into_iter();
    let wrong: Vec<_> = wrong.filter(|violation| violation.level == Level::Error).collect();
    if wrong.is_empty() {
        return false;
    }
    let message = format!("policies.{name}: what the guard becomes is no valid policy");
    let mut error = Error::failed(codes::GUARD_REFUSED, message).at(guard.span);
    for violation in wrong.iter().take(5) {
        error = error.cause(format!(
            "{} [{}]: {}",
            violation.path, violation.rule.id, violation.message
        ));
    }
    builder.error(error.fix("give the group a label of its own under `labels`, or divide the guard"));
    true
}

fn notes(builder: &mut Builder, name: &str, guard: &Guard) {
    let about = format!("policies.{name}");
    for labels in guard.sources.iter().filter_map(|source| match source {
        Source::Labels(labels) => Some(labels),
        _ => None,
    }) {
        if !any_set(builder, labels) {
            let selector = selector::with_labels(labels);
            builder.note(
                &about,
                format!("no network set has {selector}: until one does, it names nobody"),
            );
        }
    }
    // Microsoft Learn, "Virtual network peering": traffic between peered networks keeps its private addresses.
    let public = internet();
    let named = |source: &Source| match source {
        Source::Net(cidr) => public.contains(cidr.network()),
        Source::Set(_) | Source::Labels(_) => false,
    };
    if builder.plan.cluster.platform == Platform::Aks && guard.sources.iter().any(named) {
        builder.note(
            &about,
            "a client in the nodes' own or a peered network arrives with its private address; a public one stands for \
             clients that come from the internet alone",
        );
    }
    if !guard.only {
        return;
    }
    builder.note(
        &about,
        "pods count as anybody else: those that connect with an address of their own are kept out unless `allowOnly` \
         holds it; nodes keep their access to each other",
    );
    let probed = guard.sources.iter().any(|source| match source {
        Source::Net(cidr) => AZURE_PROBES.parse().is_ok_and(|address| cidr.contains(address)),
        _ => false,
    });
    let Ports::Service(service) = &guard.at else { return };
    let balanced = balanced(builder, service);
    if balanced && builder.plan.cluster.platform == Platform::Aks && !probed {
        builder.note(
            &about,
            format!(
                "the load balancer probes these ports from {AZURE_PROBES}, which `allowOnly` does not hold: it takes the \
                 nodes for dead and sends nobody there"
            ),
        );
    } else if balanced && builder.plan.cluster.platform != Platform::Aks {
        builder.note(
            &about,
            "a load balancer is in front of this service: where it probes node ports, or connects with an address of \
             its own, `allowOnly` must hold that address",
        );
    }
}

fn any_set(builder: &Builder, labels: &BTreeMap<String, String>) -> bool {
    let has = |own: &dyn Labels| labels.iter().all(|(key, value)| own.label(key) == Some(value.as_str()));
    let kinds = [Kind::GlobalNetworkSet, Kind::NetworkSet];
    let there = kinds.into_iter().any(|kind| match builder.state.list(kind) {
        Ok(mut sets) => sets.any(|(_, set)| has(&labels_of(&set))),
        Err(_) => true, // not known to have none
    });
    there || builder.plan.network_sets.values().any(|set| has(&set.labels))
}

/// Whether a load balancer stands in front and probes the node ports themselves; with externalTrafficPolicy Local it
/// probes healthCheckNodePort, which no guard of the service touches.
fn balanced(builder: &Builder, service: &str) -> bool {
    let Some(Service::Existing { namespace, name, .. }) = builder.plan.services.get(service) else {
        return false;
    };
    let key = Key::namespaced(Kind::Service, namespace, name);
    builder.state.present(&key).is_some_and(|object| {
        object.pointer("/spec/type") == Some(&json!("LoadBalancer"))
            && object.pointer("/spec/externalTrafficPolicy") != Some(&json!("Local"))
    })
}
