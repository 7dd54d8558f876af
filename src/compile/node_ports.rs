//! The node ports that guards and promises are about: a service's own, or those that live state shows.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Builder;
use crate::error::{Error, codes};
use crate::net::Protocol;
use crate::plan::{Ports, Service};
use crate::resource::{Key, Kind};
use crate::source::Span;
use crate::state::Observed;

/// By the service's name in the plan, then by protocol.
pub type NodePorts = BTreeMap<String, BTreeMap<Protocol, BTreeSet<u16>>>;

pub(super) fn compile(builder: &mut Builder) {
    for (name, span) in wanted(builder) {
        match builder.plan.services.get(&name) {
            Some(Service::Own(own)) => {
                let ports = own.node_ports();
                builder.node_ports.insert(name, ports);
            }
            Some(Service::Existing {
                namespace,
                name: service,
                ..
            }) => {
                let key = Key::namespaced(Kind::Service, namespace, service);
                existing(builder, &name, &key, span);
            }
            None => {}
        }
    }
}

/// Services that something is said about, and where first.
fn wanted(builder: &Builder) -> BTreeMap<String, Span> {
    let plan = builder.plan;
    let guards = plan.guards.values().map(|guard| (&guard.at, guard.span));
    let allows = plan.cloud.iter().map(|allow| (&allow.at, allow.span));
    let promises = plan.expect.iter().map(|expectation| &expectation.promise);
    let promises = promises.chain(&plan.never_open).chain(&plan.never_close);
    let mut wanted = BTreeMap::new();
    for (at, span) in guards
        .chain(allows)
        .chain(promises.map(|promise| (&promise.at, promise.span)))
    {
        if let Ports::Service(name) = at {
            wanted.entry(name.clone()).or_insert(span);
        }
    }
    wanted
}

fn existing(builder: &mut Builder, name: &str, key: &Key, span: Span) {
    let error = match builder.state.get(key) {
        // said where the service is declared
        Observed::Absent => return,
        Observed::Unreadable(why) => {
            let message = format!("services.{name}: {key} could not be read ({why}), so its node ports are not known");
            Error::failed(codes::NO_NODE_PORT, message).fix(why.way_out(Kind::Service))
        }
        Observed::Present(service) => {
            let ports = node_ports(&service);
            if !ports.is_empty() {
                builder.node_ports.insert(name.to_string(), ports);
                return;
            }
            let ty = service.pointer("/spec/type").and_then(Value::as_str);
            let message = format!(
                "services.{name}: {key} has no node port; its type is {}",
                ty.unwrap_or("ClusterIP")
            );
            Error::failed(codes::NO_NODE_PORT, message)
                .fix("name a Service of type NodePort or LoadBalancer, or the nodes' own `ports`")
        }
    };
    builder.error(error.at(span));
}

fn node_ports(service: &Value) -> BTreeMap<Protocol, BTreeSet<u16>> {
    let mut ports: BTreeMap<Protocol, BTreeSet<u16>> = BTreeMap::new();
    let listed = service.pointer("/spec/ports").and_then(Value::as_array);
    for port in listed.into_iter().flatten() {
        let number = port.get("nodePort").and_then(Value::as_u64);
        let number = number.and_then(|number| u16::try_from(number).ok()).filter(|n| *n > 0);
        let protocol = match port.get("protocol").and_then(Value::as_str).unwrap_or("TCP") {
            "TCP" => Protocol::Tcp,
            "UDP" => Protocol::Udp,
            "SCTP" => Protocol::Sctp,
            _ => continue,
        };
        if let Some(number) = number {
            ports.entry(protocol).or_default().insert(number);
        }
    }
    ports
}
