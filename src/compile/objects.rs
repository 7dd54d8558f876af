//! Objects of the plan's own: Services, tiers, network sets, policies; and claims on fields of others.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Builder;
use super::hosts::{must_exist, selects};
use crate::error::{Error, codes};
use crate::plan::{OwnService, Policy, Service, TargetPort, TrafficPolicy, WorkloadKind, nearest};
use crate::resource::{FieldPath, Key, Kind};
use crate::source::Span;
use crate::state::Observed;

pub(super) fn compile(builder: &mut Builder) {
    for (name, service) in builder.plan.services.clone() {
        match service {
            Service::Own(own) => own_service(builder, &name, &own),
            Service::Existing {
                namespace,
                name: service,
                span,
            } => existing(builder, &name, &namespace, &service, span),
        }
    }
    for (name, tier) in builder.plan.tiers.clone() {
        let mut spec = json!({});
        if let Some(order) = tier.order {
            spec["order"] = number(order);
        }
        if let Some(action) = &tier.default_action {
            spec["defaultAction"] = json!(action);
        }
        let key = Key::cluster(Kind::Tier, name.clone());
        builder.object(key, &json!({"spec": spec}), format!("tiers.{name}"), tier.span);
    }
    for (name, set) in builder.plan.network_sets.clone() {
        let mut body = json!({"spec": {"nets": set.nets}});
        if !set.labels.is_empty() {
            // An empty map would claim all labels: those of others, and the plan's own mark.
            body["metadata"] = json!({"labels": set.labels});
        }
        let key = Key::cluster(Kind::GlobalNetworkSet, name.clone());
        builder.object(key, &body, format!("networkSets.{name}"), set.span);
    }
    for (name, policy) in builder.plan.policies.clone() {
        own_policy(builder, &name, &policy);
    }
    claims(builder);
}

/// 500 rather than 500.0.
pub(super) fn number(value: f64) -> Value {
    let whole = value as i64;
    if whole as f64 == value {
        json!(whole)
    } else {
        json!(value)
    }
}

pub(super) fn workload_kind(kind: WorkloadKind) -> Kind {
    match kind {
        WorkloadKind::Deployment => Kind::Deployment,
        WorkloadKind::StatefulSet => Kind::StatefulSet,
        WorkloadKind::DaemonSet => Kind::DaemonSet,
    }
}

fn own_service(builder: &mut Builder, name: &str, own: &OwnService) {
    let section = format!("services.{name}");
    let key = Key::namespaced(Kind::Service, own.namespace.clone(), name);
    node_port_clashes(builder, &key, own);
    let Some(selector) = workload_selector(builder, &section, own) else {
        return;
    };
    let ports: Vec<Value> = own
        .ports
        .iter()
        .map(|port| {
            let target = match &port.target_port {
                TargetPort::Number(number) => json!(number),
                TargetPort::Name(name) => json!(name),
            };
            let mut body = json!({
                "protocol": port.protocol, "port": port.port, "targetPort": target, "nodePort": port.node_port,
            });
            if let Some(name) = &port.name {
                body["name"] = json!(name);
            }
            body
        })
        .collect();
    let mut spec = json!({"type": "NodePort", "selector": selector, "ports": ports});
    if let Some(policy) = own.external_traffic_policy {
        spec["externalTrafficPolicy"] = json!(match policy {
            TrafficPolicy::Cluster => "Cluster",
            TrafficPolicy::Local => "Local",
        });
    }
    builder.object(key, &json!({"spec": spec}), section, own.span);
}

/// The workload's own selector: what `kubectl expose` takes.
fn workload_selector(builder: &mut Builder, section: &str, own: &OwnService) -> Option<Value> {
    let kind = workload_kind(own.workload);
    let namespace = Key::cluster(Kind::Namespace, own.namespace.clone());
    if builder.state.get(&namespace) == Observed::Absent {
        builder.error(
            Error::failed(
                codes::NO_SUCH_NAMESPACE,
                format!("{section}: there is no namespace `{}`", own.namespace),
            )
            .at(own.span)
            .fix("create it, or correct `namespace`: hostguard creates no workload namespaces"),
        );
        return None;
    }
    let key = Key::namespaced(kind, own.namespace.clone(), own.workload_name.clone());
    let workload = match builder.state.get(&key) {
        Observed::Present(workload) => workload,
        Observed::Absent => {
            let mut error =
                Error::failed(codes::NO_SUCH_WORKLOAD, format!("{section}: there is no {key}")).at(own.expose_span);
            let there: Vec<String> = builder.state.list(kind).map_or_else(
                |_| Vec::new(),
                |all| {
                    all.filter(|(k, _)| k.namespace == own.namespace)
                        .map(|(k, _)| k.name.clone())
                        .collect()
                },
            );
            if let Some(near) = nearest(&own.workload_name, there.iter().map(String::as_str)) {
                error = error.fix(format!("did you mean `{near}`?"));
            }
            builder.error(error);
            return None;
        }
        Observed::Unreadable(why) => {
            let message = format!("{section}: {key} could not be read ({why}), so its selector is unknown");
            let fix = why.way_out(kind);
            builder.error(Error::failed(codes::UNREADABLE, message).at(own.expose_span).fix(fix));
            return None;
        }
    };
    let selector = workload.pointer("/spec/selector");
    let labels = selector
        .and_then(|s| s.get("matchLabels"))
        .filter(|map| map.as_object().is_some_and(|m| !m.is_empty()));
    let expressions = selector
        .and_then(|s| s.get("matchExpressions"))
        .and_then(Value::as_array);
    match labels {
        Some(labels) if expressions.is_none_or(Vec::is_empty) => Some(labels.clone()),
        _ => {
            let message =
                format!("{section}: {key} selects its pods by expressions, a Service can only select by labels");
            builder.error(
                Error::failed(codes::SELECTOR_NOT_LABELS, message)
                    .at(own.expose_span)
                    .fix("make the Service by hand and name it here with `existing`"),
            );
            None
        }
    }
}

/// The API server refuses a node port that any Service has, whatever its protocol.
fn node_port_clashes(builder: &mut Builder, key: &Key, own: &OwnService) {
    let Ok(services) = builder.state.list(Kind::Service) else {
        return;
    };
    let mut clashes = Vec::new();
    for (other, service) in services.filter(|(other, _)| *other != key) {
        let ports = service
            .pointer("/spec/ports")
            .and_then(Value::as_array)
            .into_iter()
            .flatten();
        let taken = ports
            .filter_map(|port| port.get("nodePort")?.as_u64())
            .chain(service.pointer("/spec/healthCheckNodePort").and_then(Value::as_u64));
        for port in taken {
            if let Some(ours) = own.ports.iter().find(|ours| u64::from(ours.node_port) == port) {
                clashes.push((ours.span, port, other.clone()));
            }
        }
    }
    for (span, port, other) in clashes {
        builder.error(
            Error::failed(
                codes::NODE_PORT_TAKEN,
                format!("{key}: node port {port} is taken by {other}"),
            )
            .at(span)
            .fix("choose another nodePort, or guard that Service with `existing`"),
        );
    }
}

fn existing(builder: &mut Builder, name: &str, namespace: &str, service: &str, span: Span) {
    let key = Key::namespaced(Kind::Service, namespace, service);
    if builder.state.get(&key) == Observed::Absent {
        builder.error(
            Error::failed(codes::NO_SUCH_SERVICE, format!("services.{name}: there is no {key}"))
                .at(span)
                .fix("correct `existing`, which is `namespace/name`"),
        );
    }
}

pub(super) fn own_policy(builder: &mut Builder, name: &str, policy: &Policy) {
    let key = Key::cluster(Kind::GlobalNetworkPolicy, name);
    builder.object(
        key.clone(),
        &json!({"spec": policy.spec}),
        format!("policies.{name}"),
        policy.span,
    );
    let tier = policy.spec.get("tier").and_then(Value::as_str).unwrap_or("default");
    let tier_key = Key::cluster(Kind::Tier, tier);
    builder.edge(&key, &tier_key, "the policy is in the tier");
    let in_plan = builder.plan.tiers.contains_key(tier);
    if !in_plan && tier != "default" && builder.state.get(&tier_key) == Observed::Absent {
        builder.error(
            Error::failed(
                codes::NO_SUCH_TIER,
                format!("policies.{name}: there is no tier `{tier}`, in the plan or in the cluster"),
            )
            .at(policy.span)
            .consequence("Felix would enforce the policy after all other tiers, with a deny at its end")
            .fix(format!("add `tiers: {{ {tier}: {{ order: 500 }} }}`")),
        );
    }
    for (name, set) in &builder.plan.network_sets {
        if let Some(rule) = rule_that_selects(&policy.spec, &set.labels) {
            let set_key = Key::cluster(Kind::GlobalNetworkSet, name.clone());
            builder.edge(&key, &set_key, format!("the policy's {rule} selects the set"));
        }
    }
}

/// The first rule with a side whose selector matches a network set's labels.
pub(super) fn rule_that_selects(spec: &Value, labels: &BTreeMap<String, String>) -> Option<String> {
    for direction in ["ingress", "egress"] {
        for (i, rule) in spec
            .get(direction)
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .enumerate()
        {
            for side in ["source", "destination"] {
                let selector = rule
                    .get(side)
                    .and_then(|side| side.get("selector"))
                    .and_then(Value::as_str);
                if selector.is_some_and(|selector| selects(selector, labels)) {
                    return Some(format!("{direction} rule {} ({side})", i + 1));
                }
            }
        }
    }
    None
}

fn claims(builder: &mut Builder) {
    for (at, claim) in builder.plan.claims.clone().into_iter().enumerate() {
        let section = format!("claims[{at}]");
        let key = Key::cluster(claim.kind, claim.name.clone());
        must_exist(
            builder,
            &key,
            &section,
            claim.span,
            "correct `name`: hostguard changes fields of this kind, it does not create the object",
        );
        for (path, value) in &claim.set {
            let mut keys = vec!["spec".to_string()];
            keys.extend(path.split('.').map(str::to_string));
            builder.claim(key.clone(), FieldPath(keys), value.clone(), section.clone(), claim.span);
        }
        if claim.kind == Kind::FelixConfiguration {
            builder.note(
                &section,
                "a change of FelixConfiguration restarts Felix on every node; rules stay in the kernel meanwhile",
            );
        }
    }
}
