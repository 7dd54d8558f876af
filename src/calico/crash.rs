//! Objects that pass every gate and stop Felix, or keep it from starting.
//!
//! Seen on a running Felix, or read where it parses its parameters (`felix/config/param_types.go`; a parameter marked
//! die-on-fail in `felix/config/config_params.go` ends the process).

use serde_json::Value;

use super::cross::{given, is_true, items, text};
use super::findings::{Findings, Stage, shown};
use super::format::{self, go_net};
use super::path::At;
use super::rules::Id;
use crate::net::Family;

const PANIC: &str = "Felix panics on every node it reaches, and again after each restart";
const NO_START: &str = "Felix does not start on any node that reads it";

/// Over an object as `decode.rs` writes it.
pub(super) fn check(kind: &str, object: &Value, out: &mut Findings) {
    let null = Value::Null;
    let spec = object.get("spec").unwrap_or(&null);
    let at = At::Keys(&["spec"]);
    match kind {
        "GlobalNetworkPolicy" | "NetworkPolicy" => {
            for direction in ["ingress", "egress"] {
                for (i, rule) in items(spec, direction).iter().enumerate() {
                    self::rule(rule, &at.item(direction, i), out);
                }
            }
        }
        "GlobalNetworkSet" | "NetworkSet" => set(spec, &at, out),
        "FelixConfiguration" => {
            for key in ["failsafeInboundHostPorts", "failsafeOutboundHostPorts"] {
                for (i, entry) in items(spec, key).iter().enumerate() {
                    failsafe(entry, &at.item(key, i), out);
                }
            }
            mark_masks(spec, &at, out);
            interface_prefix(spec, &at, out);
            parameters(spec, &at, out);
        }
        _ => {}
    }
}

fn rule(rule: &Value, at: &At<'_>, out: &mut Findings) {
    let protocol = rule.get("protocol");
    let named = protocol
        .and_then(Value::as_str)
        .is_some_and(|p| matches!(p.to_lowercase().as_str(), "icmp" | "icmpv6"));
    let numbered = matches!(protocol.and_then(Value::as_u64), Some(1 | 58));
    // Without a type neither field makes a match.
    let typed = |key: &str| rule.get(key).is_some_and(|icmp| given(icmp, "type"));
    if typed("notICMP") && !named && !numbered {
        out.add(
            Stage::Crash,
            Id::NotIcmp,
            &at.key("notICMP"),
            "notICMP in a rule without protocol ICMP or ICMPv6",
        )
        .because(PANIC)
        .fix("add `protocol: ICMP` or `protocol: ICMPv6`");
    }
    // A protocol given by name brings its IP version (`felix/calc/rule_convert.go`), a number does not.
    if (typed("icmp") || typed("notICMP")) && numbered && !given(rule, "ipVersion") {
        out.add(
            Stage::Crash,
            Id::IcmpNumber,
            &at.key("protocol"),
            "icmp with a numeric protocol and no ipVersion",
        )
        .because(PANIC)
        .fix("write the protocol by name");
    }
    if protocol.is_some() && given(rule, "notProtocol") {
        out.add(
            Stage::Crash,
            Id::TwoProtocols,
            &at.key("notProtocol"),
            "protocol and notProtocol in one rule",
        )
        .because("Felix panics on it in iptables mode")
        .fix("remove `notProtocol`");
    }
    for key in ["icmp", "notICMP"] {
        if typed(key) && given(&rule[key], "code") {
            out.add(
                Stage::Crash,
                Id::TypeAndCode,
                &at.key(key),
                format!("{key} with type and code"),
            )
            .because("Felix panics on it in nftables mode")
            .fix("remove `code`");
        }
    }
}

fn set(spec: &Value, at: &At<'_>, out: &mut Findings) {
    for (i, net) in items(spec, "nets").iter().enumerate() {
        let written = net.as_str().unwrap_or_default();
        if written.is_empty() || is_mapped(written) {
            out.add(
                Stage::Crash,
                Id::SetEntry,
                &at.item("nets", i),
                format!("{} in a network set", shown(net)),
            )
            .because("Felix panics once a rule uses the set")
            .fix(if written.is_empty() {
                "remove the entry"
            } else {
                "write it as IPv4"
            });
        }
    }
}

/// An IPv4 network written as IPv6.
fn is_mapped(text: &str) -> bool {
    text.contains(':') && go_net(text).is_some_and(|n| n.family == Some(Family::V4))
}

fn failsafe(entry: &Value, at: &At<'_>, out: &mut Findings) {
    let protocol = entry.get("protocol").and_then(Value::as_str).unwrap_or_default();
    if !protocol.eq_ignore_ascii_case("tcp") && !protocol.eq_ignore_ascii_case("udp") {
        let message = match protocol {
            "" => "a failsafe port without a protocol".to_string(),
            other => format!("failsafe protocol {}", shown(&Value::from(other))),
        };
        out.add(Stage::Crash, Id::FailsafeProtocol, &at.key("protocol"), message)
            .because(NO_START)
            .fix("write TCP or UDP");
    }
    let Some(net) = text(entry, "net") else { return };
    let place = at.key("net");
    if go_net(net).is_none() {
        out.add(
            Stage::Crash,
            Id::FailsafeNet,
            &place,
            format!("{} is not a network", shown(&Value::from(net))),
        )
        .because(PANIC)
        .fix("write a network such as `10.0.0.0/8`");
    } else if is_mapped(net) {
        // Taken for IPv4, it is joined without brackets, and its colons are taken for separators.
        out.add(
            Stage::Crash,
            Id::FailsafeNet,
            &place,
            format!("{} is IPv4 written as IPv6", shown(&Value::from(net))),
        )
        .because(NO_START)
        .fix("write it as IPv4");
    }
}

/// Bits Felix allocates (`felix/dataplane/driver.go`): accept, pass, drop and two scratch bits, one more for WireGuard.
const MARK_BITS: u32 = 5;

fn mark_masks(spec: &Value, at: &At<'_>, out: &mut Findings) {
    let wireguard = is_true(spec, "wireguardEnabled") || is_true(spec, "wireguardEnabledV6");
    let needed = MARK_BITS + u32::from(wireguard);
    for key in ["iptablesMarkMask", "nftablesMarkMask"] {
        if let Some(mask) = spec
            .get(key)
            .and_then(Value::as_u64)
            .filter(|m| m.count_ones() < needed)
        {
            let message = format!(
                "mask {mask:#x} has {} bits where Felix needs {needed}",
                mask.count_ones()
            );
            out.add(Stage::Crash, Id::MarkMask, &at.key(key), message)
                .because(NO_START)
                .fix("write 4294901760 (0xffff0000), the default");
        }
    }
}

/// Names that network cards go by; a pod interface prefix that one of them starts with takes the card for a pod's.
const CARDS: [&str; 12] = [
    "bond0", "br0", "em1", "en0", "eno1", "enp0s3", "ens3", "eth0", "ib0", "lo", "team0", "wlan0",
];

fn interface_prefix(spec: &Value, at: &At<'_>, out: &mut Findings) {
    let Some(prefixes) = text(spec, "interfacePrefix") else {
        return;
    };
    for prefix in prefixes.split(',') {
        let well_formed = format::is_plain_interface(prefix) && !prefix.contains('.');
        let card = CARDS.iter().find(|card| well_formed && card.starts_with(prefix));
        let (message, consequence) = match card {
            Some(card) => (
                format!("interface prefix `{prefix}` matches network cards such as `{card}`"),
                "Felix takes the card for a pod's interface and removes the node's addresses from it",
            ),
            None if !well_formed => (
                format!("{} is not an interface prefix", shown(&Value::from(prefix))),
                NO_START,
            ),
            None => continue,
        };
        out.add(Stage::Crash, Id::InterfacePrefix, &at.key("interfacePrefix"), message)
            .because(consequence)
            .fix("write the prefix of the pods' interfaces, such as `cali`");
    }
}

/// The rest of the parameters that the servers take and Felix does not.
fn parameters(spec: &Value, at: &At<'_>, out: &mut Findings) {
    if let Some(size) = spec.get("maxIpsetSize").and_then(Value::as_i64).filter(|n| *n < 2) {
        out.add(
            Stage::Crash,
            Id::IpsetSize,
            &at.key("maxIpsetSize"),
            format!("maxIpsetSize {size}"),
        )
        .because(PANIC)
        .fix("write 1048576, the default");
    }
    for key in ["iptablesFilterDenyAction", "nftablesFilterDenyAction"] {
        if let Some(action) = text(spec, key).filter(|a| *a != "Reject" && a.eq_ignore_ascii_case("reject")) {
            out.add(
                Stage::Crash,
                Id::DenyCase,
                &at.key(key),
                format!("deny action `{action}`"),
            )
            .because(PANIC)
            .fix("write `Drop`");
        }
    }
    let host = |h: &str| {
        h.bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
    };
    let mut refused: Vec<(At<'_>, &Value)> = Vec::new();
    if text(spec, "metadataAddr").is_some_and(|h| !host(h)) {
        refused.push((at.key("metadataAddr"), &spec["metadataAddr"]));
    }
    if spec
        .get("metadataPort")
        .and_then(Value::as_i64)
        .is_some_and(|port| !(0..=65535).contains(&port))
    {
        refused.push((at.key("metadataPort"), &spec["metadataPort"]));
    }
    for (i, net) in items(spec, "externalNodesList").iter().enumerate() {
        // Joined and split again: an entry may itself be a list.
        let entries = net.as_str().unwrap_or_default().split(',').map(str::trim);
        if entries.filter(|n| !n.is_empty()).any(|n| go_net(n).is_none()) {
            refused.push((at.item("externalNodesList", i), net));
        }
    }
    for (place, value) in refused {
        out.add(
            Stage::Crash,
            Id::StartValue,
            &place,
            format!("{} is not a value Felix starts with", shown(value)),
        )
        .because(NO_START);
    }
}
