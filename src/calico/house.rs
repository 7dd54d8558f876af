//! What hostguard refuses or remarks on top: objects that every gate lets through and that do not do what they say.

use serde_json::Value;

use super::cross::{given, is_true, items, text};
use super::findings::{Findings, Stage, shown};
use super::format::go_net;
use super::path::At;
use super::rules::Id;
use crate::net::Family;
use crate::selector::Selector;

/// Over the object as it was written.
pub(super) fn check(kind: &str, object: &Value, out: &mut Findings) {
    let null = Value::Null;
    let spec = object.get("spec").unwrap_or(&null);
    let at = At::Keys(&["spec"]);
    match kind {
        "GlobalNetworkPolicy" => policy(spec, &at, true, out),
        "NetworkPolicy" => policy(spec, &at, false, out),
        "GlobalNetworkSet" | "NetworkSet" => nets(spec, "nets", &at, out),
        "FelixConfiguration" => {
            annotated(object, out);
            felix(spec, &at, out);
        }
        _ => {}
    }
}

fn policy(spec: &Value, at: &At<'_>, global: bool, out: &mut Findings) {
    let host = global
        && ["preDNAT", "doNotTrack", "applyOnForward"]
            .iter()
            .any(|flag| is_true(spec, flag));
    if host {
        for key in ["namespaceSelector", "serviceAccountSelector"] {
            if text(spec, key).is_some() {
                pod_only(&at.key(key), key, "the policy selects no host endpoint", out);
            }
        }
    }
    for direction in ["ingress", "egress"] {
        for (i, rule) in items(spec, direction).iter().enumerate() {
            let at = at.item(direction, i);
            if host && given(rule, "http") {
                pod_only(
                    &at.key("http"),
                    "http",
                    "hosts do not look at it: the rule matches all TCP",
                    out,
                );
            }
            for side in ["source", "destination"] {
                let Some(entity) = rule.get(side) else { continue };
                for key in ["nets", "notNets"] {
                    nets(entity, key, &at.key(side), out);
                }
                for key in ["namespaceSelector", "serviceAccounts"] {
                    // An empty text is none, and global() is about hosts and global sets.
                    if host && given(entity, key) && entity[key] != "" && entity[key] != "global()" {
                        pod_only(&at.key(side).key(key), key, "it matches pods only", out);
                    }
                }
            }
            one_family(rule, &at, out);
        }
    }
}

fn pod_only(at: &At<'_>, key: &str, consequence: &str, out: &mut Findings) {
    out.add(Stage::House, Id::PodOnly, at, format!("{key} in a policy for hosts"))
        .because(consequence)
        .fix(format!("remove `{key}`"));
}

fn nets(parent: &Value, key: &str, at: &At<'_>, out: &mut Findings) {
    for (i, net) in items(parent, key).iter().enumerate() {
        let Some(text) = net.as_str() else { continue };
        let placeholder = text.contains("${") || text.contains('<') || text.contains("{{");
        if placeholder || text.trim() != text || text.is_empty() {
            let message = match placeholder {
                true => format!("{} is a placeholder", shown(net)),
                false => format!("{} holds blanks or nothing", shown(net)),
            };
            out.add(Stage::House, Id::Placeholder, &at.item(key, i), message)
                .because("Felix skips the entry; a list with no other entry then matches everybody")
                .fix(if placeholder {
                    "replace it with its value"
                } else {
                    "remove the blanks, or the entry"
                });
        }
    }
}

/// A Deny whose networks are all of one family is not rendered for the other.
fn one_family(rule: &Value, at: &At<'_>, out: &mut Findings) {
    if rule.get("action").and_then(Value::as_str) != Some("Deny") || given(rule, "ipVersion") {
        return;
    }
    for side in ["source", "destination"] {
        for key in ["notNets", "nets"] {
            let families: Vec<Family> = rule
                .get(side)
                .map(|s| items(s, key))
                .unwrap_or_default()
                .iter()
                .filter_map(|n| go_net(n.as_str()?)?.family)
                .collect();
            let Some(family) = families.first().filter(|f| families.iter().all(|g| g == *f)) else {
                continue;
            };
            // A positive list of one family says itself that it is about that family only.
            if key == "notNets" {
                let other = if *family == Family::V4 { Family::V6 } else { Family::V4 };
                out.add(
                    Stage::Advice,
                    Id::OtherFamily,
                    &at.key(side).key(key),
                    format!("only {family} networks in {key}"),
                )
                .because(format!("the rule denies nothing over {other}"))
                .fix(format!("add a second rule for {other}, or say `ipVersion`"));
                return;
            }
        }
    }
}

fn felix(spec: &Value, at: &At<'_>, out: &mut Findings) {
    for key in ["failsafeInboundHostPorts", "failsafeOutboundHostPorts"] {
        for (i, entry) in items(spec, key).iter().enumerate() {
            if entry.get("port").and_then(Value::as_f64) == Some(0.0) {
                out.add(
                    Stage::House,
                    Id::FailsafePort,
                    &at.item(key, i).key("port"),
                    "failsafe port 0",
                )
                .because("it opens nothing")
                .fix("write a port from 1 to 65535");
            }
        }
    }
    for key in ["iptablesFilterDenyAction", "nftablesFilterDenyAction"] {
        if text(spec, key) == Some("Reject") {
            out.add(Stage::Advice, Id::DenyReject, &at.key(key), "deny action Reject")
                .because("Felix dies once a normal or pre-DNAT host policy exists (calico#7914)")
                .fix("write `Drop`");
        }
    }
    if let Some(Err(error)) = text(spec, "nodeSelector").map(Selector::parse) {
        let message = format!("{} is not a selector: {}", shown(&spec["nodeSelector"]), error.message);
        let finding = out.add(Stage::House, Id::NodeSelector, &at.key("nodeSelector"), message);
        finding
            .because("nothing checks it, and the configuration applies to no node")
            .fix = error.fix;
    }
}

fn annotated(object: &Value, out: &mut Findings) {
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    for key in annotations.into_iter().flat_map(|a| a.keys()) {
        if let Some(parameter) = key.strip_prefix("config.projectcalico.org/") {
            let message = format!("annotation `{key}` sets {parameter} past the spec");
            out.add(
                Stage::Advice,
                Id::AnnotatedConfig,
                &At::Keys(&["metadata", "annotations", key]),
                message,
            )
            .because("Felix takes the annotation's value, whatever the spec says")
            .fix("write the parameter in the spec");
        }
    }
}
