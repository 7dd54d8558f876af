//! Calico's validator and create path beyond single values, over an object as `decode.rs` writes it
//! (`libcalico-go/lib/validator/v3/validator.go`, the struct validators; `libcalico-go/lib/clientv3`).

use std::collections::BTreeSet;

use serde_json::Value;

use super::configs;
use super::cross::{items, text};
use super::findings::{Findings, Stage, shown};
use super::format::go_net;
use super::path::At;
use super::rules::Id;
use super::schema::is_namespaced;
use crate::net::Family;
use crate::selector::Selector;

/// Struct validators and the checks of the create calls.
pub(super) fn check(kind: &str, object: &Value, out: &mut Findings) {
    let null = Value::Null;
    let spec = object.get("spec").unwrap_or(&null);
    let at = At::Keys(&["spec"]);
    match kind {
        "GlobalNetworkPolicy" | "NetworkPolicy" => policy(kind, spec, &at, out),
        "HostEndpoint" => endpoint_ports(spec, &at, out),
        "FelixConfiguration" => configs::felix(spec, &at, out),
        "KubeControllersConfiguration" => configs::templates(spec, out),
        "GlobalNetworkSet" | "NetworkSet" => reserved_label(object, out),
        _ => {}
    }
    if kind == "KubeControllersConfiguration" && object.pointer("/metadata/name") != Some(&Value::from("default")) {
        out.add(
            Stage::Create,
            Id::OnlyDefault,
            &At::Keys(&["metadata", "name"]),
            "the name is not `default`",
        )
        .because("kube-controllers ignores it")
        .fix("write `name: default`");
    }
    if text(object.get("metadata").unwrap_or(&null), "resourceVersion").is_some() {
        out.add(
            Stage::Validate,
            Id::Revision,
            &At::Keys(&["metadata", "resourceVersion"]),
            "resourceVersion is given",
        )
        .fix("remove `resourceVersion`");
    }
    let namespace = object
        .pointer("/metadata/namespace")
        .and_then(Value::as_str)
        .unwrap_or_default();
    if is_namespaced(kind) && namespace.is_empty() {
        out.add(
            Stage::Validate,
            Id::Namespace,
            &At::Keys(&["metadata"]),
            "`namespace` is missing",
        )
        .fix("add `namespace`");
    }
}

fn policy(kind: &str, spec: &Value, at: &At<'_>, out: &mut Findings) {
    let types = items(spec, "types");
    for (i, one) in types.iter().enumerate() {
        if types[..i].contains(one) {
            out.add(
                Stage::Validate,
                Id::TypesRepeated,
                &at.item("types", i),
                format!("{} is listed twice", shown(one)),
            )
            .fix("remove the repeat");
        }
    }
    for direction in ["ingress", "egress"] {
        for (i, rule) in items(spec, direction).iter().enumerate() {
            let at = at.item(direction, i);
            ports_need_protocol(rule, &at, out);
            families(rule, &at, out);
            namespace_selectors(rule, &at, out);
            services(kind, direction, rule, &at, out);
            http(direction, rule, &at, out);
            if let Some(annotations) = rule.pointer("/metadata/annotations") {
                super::metadata::annotations(
                    annotations,
                    &at.key("metadata").key("annotations"),
                    Stage::Validate,
                    out,
                );
            }
        }
    }
}

/// Sides of a rule with the four lists of one sort.
const SIDES: [&str; 2] = ["source", "destination"];

/// Whether a protocol value has ports, as `api/pkg/lib/numorstring/protocol.go` SupportsPorts.
pub(super) fn supports_ports(protocol: &Value) -> bool {
    match protocol {
        Value::String(name) => matches!(name.as_str(), "TCP" | "UDP" | "SCTP" | "tcp" | "udp" | "sctp"),
        other => matches!(other.as_u64(), Some(6 | 17 | 132)),
    }
}

/// A port list that the rule's protocol does not allow: named ports alone need none.
pub(super) fn ports_are_allowed(protocol: Option<&Value>, ports: &[Value]) -> bool {
    let named = |port: &Value| port.as_str().is_some_and(|p| !p.contains(':'));
    match protocol {
        None => ports.iter().all(named),
        Some(protocol) => ports.is_empty() || supports_ports(protocol),
    }
}

fn ports_need_protocol(rule: &Value, at: &At<'_>, out: &mut Findings) {
    let protocol = rule.get("protocol");
    for side in SIDES {
        for key in ["ports", "notPorts"] {
            let ports = rule.get(side).map(|s| items(s, key)).unwrap_or_default();
            if ports_are_allowed(protocol, ports) {
                continue;
            }
            let message = match protocol {
                None => format!("{key} without a protocol"),
                Some(protocol) => format!("{key} with protocol {}", shown(protocol)),
            };
            out.add(Stage::Validate, Id::PortsNeedProtocol, &at.key(side).key(key), message)
                .because("Felix treats the policy as missing: what it denied passes")
                .fix("add `protocol: TCP`, `UDP` or `SCTP`");
        }
    }
}

/// validateRule's scan of the four net lists.
fn families(rule: &Value, at: &At<'_>, out: &mut Findings) {
    let version = rule.get("ipVersion").and_then(Value::as_i64);
    let mut seen: BTreeSet<Family> = BTreeSet::new();
    for side in SIDES {
        for key in ["nets", "notNets"] {
            for (i, net) in rule
                .get(side)
                .map(|s| items(s, key))
                .unwrap_or_default()
                .iter()
                .enumerate()
            {
                let text = net.as_str().unwrap_or_default();
                let Some((net, family)) = go_net(text).filter(|n| n.has_prefix).and_then(|n| Some((n, n.family?)))
                else {
                    continue;
                };
                let side = at.key(side);
                let place = side.item(key, i);
                if key == "notNets" && (text == "0.0.0.0/0" || family == Family::V6 && net.everything && net.masked) {
                    out.add(
                        Stage::Validate,
                        Id::CatchAll,
                        &place,
                        format!("`{text}` leaves nothing to match"),
                    )
                    .fix("remove the entry");
                }
                let wanted = if family == Family::V4 { 4 } else { 6 };
                if version.is_some_and(|v| v != wanted) {
                    out.add(
                        Stage::Validate,
                        Id::MixedFamilies,
                        &place,
                        format!("`{text}` in a rule of ipVersion {}", 10 - wanted),
                    )
                    .fix(format!(
                        "write `ipVersion: {wanted}` or move the network to another rule"
                    ));
                }
                seen.insert(family);
                if seen.len() > 1 {
                    out.add(
                        Stage::Validate,
                        Id::MixedFamilies,
                        &place,
                        format!("`{text}` beside networks of the other family"),
                    )
                    .fix("write one rule per family");
                }
            }
        }
    }
}

/// validateEntityRule: `global()` stands alone.
fn namespace_selectors(rule: &Value, at: &At<'_>, out: &mut Findings) {
    for side in SIDES {
        let Some(selector) = rule.get(side).and_then(|s| text(s, "namespaceSelector")) else {
            continue;
        };
        let bare = selector.trim_start_matches([' ', '\t']).starts_with("global(");
        let alone = bare && Selector::parse(selector).is_ok_and(|s| s.canonical() == "global()");
        if selector.contains("global(") && !alone {
            let message = format!("{} joins global() with something else", shown(&Value::from(selector)));
            out.add(
                Stage::Validate,
                Id::Global,
                &at.key(side).key("namespaceSelector"),
                message,
            )
            .fix("write `global()` alone");
        }
    }
}

fn services(kind: &str, direction: &str, rule: &Value, at: &At<'_>, out: &mut Findings) {
    for side in SIDES {
        let Some(services) = rule.get(side).and_then(|s| s.get("services")) else {
            continue;
        };
        let at = at.key(side);
        let place = at.key("services");
        let allowed = if direction == "ingress" {
            "source"
        } else {
            "destination"
        };
        if side != allowed {
            out.add(
                Stage::Validate,
                Id::Services,
                &place,
                format!("services in the {side} of an {direction} rule"),
            )
            .fix(format!("move it to `{allowed}`"));
        } else if kind == "GlobalNetworkPolicy" && text(services, "namespace").is_none() {
            out.add(
                Stage::Validate,
                Id::Services,
                &place,
                "services without a namespace in a global policy",
            )
            .fix("add `namespace`");
        }
    }
}

fn http(direction: &str, rule: &Value, at: &At<'_>, out: &mut Findings) {
    let Some(http) = rule.get("http") else { return };
    let at = at.key("http");
    if direction == "egress" {
        out.add(Stage::Validate, Id::Http, &at, "http in an egress rule")
            .fix("remove `http`");
    }
    let methods = items(http, "methods");
    for (i, method) in methods.iter().enumerate() {
        if methods[..i].contains(method) {
            out.add(
                Stage::Validate,
                Id::HttpMatch,
                &at.item("methods", i),
                format!("method {} is listed twice", shown(method)),
            )
            .fix("remove the repeat");
        }
    }
    for (i, path) in items(http, "paths").iter().enumerate() {
        let message = match (text(path, "exact"), text(path, "prefix")) {
            (Some(_), Some(_)) => "exact and prefix in one path".to_string(),
            (None, None) => "a path with neither exact nor prefix".to_string(),
            (Some(p), None) | (None, Some(p)) if !p.starts_with('/') || p.contains([' ', '?', '#']) => {
                format!(
                    "path {} does not start with `/` or holds a blank, `?` or `#`",
                    shown(&Value::from(p))
                )
            }
            _ => continue,
        };
        out.add(Stage::Validate, Id::HttpMatch, &at.item("paths", i), message);
    }
}

fn endpoint_ports(spec: &Value, at: &At<'_>, out: &mut Findings) {
    for (i, port) in items(spec, "ports").iter().enumerate() {
        let at = at.item("ports", i);
        if let Some(protocol) = port.get("protocol").filter(|p| !supports_ports(p)) {
            out.add(
                Stage::Validate,
                Id::EndpointProtocol,
                &at.key("protocol"),
                format!("protocol {} has no ports", shown(protocol)),
            )
            .fix("write TCP, UDP or SCTP");
        }
        if port.get("port").and_then(Value::as_u64) == Some(0) {
            out.add(Stage::Validate, Id::PortZero, &at.key("port"), "port 0")
                .fix("write a port from 1 to 65535");
        }
    }
}

fn reserved_label(object: &Value, out: &mut Findings) {
    const LABEL: &str = "projectcalico.org/namespace";
    let labels = object.pointer("/metadata/labels").unwrap_or(&Value::Null);
    if labels.get(LABEL).is_some() {
        let path = At::Keys(&["metadata", "labels", LABEL]);
        out.add(
            Stage::Validate,
            Id::ReservedLabel,
            &path,
            format!("label `{LABEL}` is reserved"),
        )
        .fix("remove the label");
    }
}
