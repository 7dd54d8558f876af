//! What Felix does with an object that a kube-apiserver has accepted.
//!
//! It converts to an older model and validates that (`typha/pkg/validator/v1/validator.go`): a policy or host endpoint
//! that fails counts as missing (`felix/calc/validation_filter.go`). What stops Felix altogether is in `crash.rs`.

use serde_json::Value;

use super::cross::{items, text};
use super::findings::{Findings, Stage, shown};
use super::format;
use super::golang::Port;
use super::path::At;
use super::rules::Id;
use super::validator::ports_are_allowed;
use crate::selector::Selector;

const POLICY: &str = "Felix treats the policy as missing: what it denied passes";
const ENDPOINT: &str = "Felix treats the host endpoint as missing: the node is unprotected";

/// The filter, over an object as `decode.rs` writes it.
pub(super) fn filter(kind: &str, object: &Value, out: &mut Findings) {
    let null = Value::Null;
    let spec = object.get("spec").unwrap_or(&null);
    let at = At::Keys(&["spec"]);
    match kind {
        "GlobalNetworkPolicy" => policy(spec, &at, out),
        "HostEndpoint" => host_endpoint(spec, &at, out),
        _ => {}
    }
}

fn policy(spec: &Value, at: &At<'_>, out: &mut Findings) {
    // The conversion drops selectors that do not parse from the combined text, and the filter reads that text.
    let selectors = [
        ("selector", ""),
        ("namespaceSelector", "pcns."),
        ("serviceAccountSelector", "pcsa."),
    ];
    let mut combined = String::new();
    for (key, prefix) in selectors {
        let Some(given) = text(spec, key) else { continue };
        if prefix.is_empty() {
            combined = given.to_string();
            continue;
        }
        if let Ok(parsed) = Selector::parse(given) {
            let part = parsed.with_label_prefix(prefix).canonical();
            combined = if combined.is_empty() {
                part
            } else {
                format!("({combined}) && {part}")
            };
        }
    }
    joined(&combined, spec, &["selector"], at, out);
    for direction in ["ingress", "egress"] {
        for (i, rule) in items(spec, direction).iter().enumerate() {
            self::rule(rule, &at.item(direction, i), out);
        }
    }
}

/// Reports a combined text that does not parse: at the selector that is to blame, or at the parent.
fn joined(combined: &str, parent: &Value, keys: &[&str], at: &At<'_>, out: &mut Findings) {
    if Selector::parse(combined).is_ok() {
        return;
    }
    let mut blamed = false;
    for key in keys {
        if let Some(given) = text(parent, key).filter(|s| Selector::parse(s).is_err()) {
            super::checks::selector(given, &at.key(key), Stage::Dropped, out);
            blamed = true;
        }
    }
    if !blamed {
        let message = format!(
            "the selectors here do not parse once joined: {}",
            shown(&Value::from(combined))
        );
        out.add(Stage::Dropped, Id::Combined, at, message)
            .because(POLICY)
            .fix("remove blank selectors");
    }
}

fn rule(rule: &Value, at: &At<'_>, out: &mut Findings) {
    let lower = |value: &Value| {
        value
            .as_str()
            .map_or_else(|| value.clone(), |p| Value::from(p.to_lowercase()))
    };
    for key in ["protocol", "notProtocol"] {
        let Some(value) = rule.get(key).map(lower) else {
            continue;
        };
        let known = match &value {
            Value::String(name) => matches!(name.as_str(), "tcp" | "udp" | "icmp" | "icmpv6" | "sctp" | "udplite"),
            number => number.as_u64() != Some(0),
        };
        if !known {
            out.add(
                Stage::Dropped,
                Id::Protocol,
                &at.key(key),
                format!("{} is not a protocol", shown(&rule[key])),
            )
            .because(POLICY);
        }
    }
    let protocol = rule.get("protocol").map(lower);
    for side in ["source", "destination"] {
        let Some(entity) = rule.get(side) else { continue };
        let at = at.key(side);
        for key in ["ports", "notPorts"] {
            let ports = items(entity, key);
            if !ports_are_allowed(protocol.as_ref(), ports) {
                out.add(
                    Stage::Dropped,
                    Id::PortsNeedProtocol,
                    &at.key(key),
                    format!("{key} without a protocol that has ports"),
                )
                .because(POLICY);
            }
            for (i, port) in ports.iter().enumerate() {
                self::port(port, &at.item(key, i), POLICY, out);
            }
        }
        entity_selectors(entity, &at, out);
    }
}

fn port(port: &Value, at: &At<'_>, consequence: &str, out: &mut Findings) {
    match Port::from_json(port) {
        Some(Port::Range(0, _)) => {
            out.add(
                Stage::Dropped,
                Id::PortZero,
                at,
                format!("{} includes port 0", shown(port)),
            )
            .because(consequence);
        }
        Some(Port::Name(name)) if !format::is_port_name(&name) => {
            out.add(
                Stage::Dropped,
                Id::PortName,
                at,
                format!("{} is not a port name", shown(port)),
            )
            .because(consequence);
        }
        _ => {}
    }
}

/// `libcalico-go/lib/backend/syncersv1/updateprocessors/rules.go` getEndpointSelector, for a global policy.
fn entity_selectors(entity: &Value, at: &At<'_>, out: &mut Findings) {
    for key in ["selector", "notSelector", "namespaceSelector"] {
        if let Some(selector) = text(entity, key) {
            super::checks::selector(selector, &at.key(key), Stage::Dropped, out);
        }
    }
    let null = Value::Null;
    let accounts = entity.get("serviceAccounts").unwrap_or(&null);
    if let Some(selector) = text(accounts, "selector") {
        super::checks::selector(
            selector,
            &at.key("serviceAccounts").key("selector"),
            Stage::Dropped,
            out,
        );
    }
    let parts: Vec<String> = [
        service_accounts(accounts),
        text(entity, "selector").unwrap_or_default().to_string(),
    ]
    .into_iter()
    .filter(|p| !p.is_empty())
    .collect();
    let mut combined = match parts.as_slice() {
        [one] => one.clone(),
        [] => String::new(),
        _ => format!("({})", parts.join(") && (")),
    };
    let namespaces = text(entity, "namespaceSelector").and_then(|s| Selector::parse(s).ok());
    if let Some(namespaces) = namespaces {
        let namespaces = namespaces.with_label_prefix("pcns.").canonical();
        combined = if combined.is_empty() {
            namespaces
        } else {
            format!("({namespaces}) && ({combined})")
        };
    }
    joined(&combined, entity, &["selector"], at, out);
}

/// The selector that stands for a service account match; empty when it does not parse.
fn service_accounts(accounts: &Value) -> String {
    let selector = text(accounts, "selector").and_then(|s| Selector::parse(s).ok());
    let selector = selector
        .map(|s| s.with_label_prefix("pcsa.").canonical())
        .unwrap_or_default();
    let names: Vec<&str> = items(accounts, "names").iter().filter_map(Value::as_str).collect();
    if names.is_empty() {
        return selector;
    }
    let listed = format!("projectcalico.org/serviceaccount in {{ '{}' }}", names.join("', '"));
    match (Selector::parse(&listed), selector.is_empty()) {
        (Err(_), _) => String::new(),
        (Ok(listed), true) => listed.canonical(),
        (Ok(listed), false) => format!("({selector}) && ({})", listed.canonical()),
    }
}

fn host_endpoint(spec: &Value, at: &At<'_>, out: &mut Findings) {
    if let Some(name) = text(spec, "interfaceName").filter(|n| !format::is_interface(n)) {
        let message = format!("{} is not an interface name", shown(&Value::from(name)));
        out.add(Stage::Dropped, Id::Interface, &at.key("interfaceName"), message)
            .because(ENDPOINT);
    }
    for (i, profile) in items(spec, "profiles").iter().enumerate() {
        if !profile.as_str().is_some_and(format::is_model_name) {
            let message = format!("{} is not a profile name", shown(profile));
            out.add(Stage::Dropped, Id::ProfileName, &at.item("profiles", i), message)
                .because(ENDPOINT);
        }
    }
    for (i, port) in items(spec, "ports").iter().enumerate() {
        let at = at.item("ports", i);
        let protocol = port.get("protocol").unwrap_or(&Value::Null);
        let known = protocol
            .as_str()
            .is_some_and(|p| matches!(p.to_lowercase().as_str(), "tcp" | "udp" | "sctp"));
        if !known {
            out.add(
                Stage::Dropped,
                Id::EndpointPortNumber,
                &at.key("protocol"),
                format!(
                    "endpoint port protocol {} is not TCP, UDP or SCTP by name",
                    shown(protocol)
                ),
            )
            .because(ENDPOINT)
            .fix("write TCP, UDP or SCTP");
        }
        let name = port.get("name").and_then(Value::as_str).unwrap_or_default();
        if !format::is_model_name(name) {
            out.add(
                Stage::Dropped,
                Id::PortName,
                &at.key("name"),
                format!("{} is not a port name", shown(&Value::from(name))),
            )
            .because(ENDPOINT);
        }
    }
}
