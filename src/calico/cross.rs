//! Rules about several fields at once that the CRDs carry as CEL expressions
//! (`api/pkg/apis/projectcalico/v3`, the XValidation markers).
//!
//! Run twice: over the object as a kube-apiserver admits it, and over what Calico's own types make of it.

use serde_json::Value;

use super::checks::address_of;
use super::findings::{Findings, Stage, shown};
use super::path::At;
use super::rules::Id;
use crate::net::Family;

/// Checks an object whose structure has been checked; values of unexpected types count as not given.
pub(super) fn check(kind: &str, object: &Value, stage: Stage, out: &mut Findings) {
    let null = Value::Null;
    let spec = object.get("spec").unwrap_or(&null);
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let at = At::Keys(&["spec"]);
    let mut rules = Cross { stage, out };
    match kind {
        "GlobalNetworkPolicy" => {
            rules.stages(spec, &at);
            rules.no_global(spec, &["selector", "serviceAccountSelector", "namespaceSelector"], &at);
            rules.policy(spec, &at);
        }
        "NetworkPolicy" => {
            rules.no_global(spec, &["selector", "serviceAccountSelector"], &at);
            rules.policy(spec, &at);
        }
        "HostEndpoint" => rules.host_endpoint(spec, &at),
        "Tier" => rules.tier(name, spec, &at),
        "FelixConfiguration" => rules.felix(name, spec, &at),
        _ => {}
    }
}

/// Text that is given and not empty.
pub(super) fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    value.get(key).and_then(Value::as_str).filter(|t| !t.is_empty())
}

/// Items of a list; none when it is not given.
pub(super) fn items<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default()
}

pub(super) fn is_true(value: &Value, key: &str) -> bool {
    value.get(key) == Some(&Value::Bool(true))
}

/// Given at all; null does not count.
pub(super) fn given(value: &Value, key: &str) -> bool {
    value.get(key).is_some_and(|v| !v.is_null())
}

/// Written with a fraction or an exponent (`6.0`): the CRD counts it as whole, CEL cannot read it.
fn is_float(value: Option<&Value>) -> bool {
    value.is_some_and(Value::is_f64)
}

/// A protocol given as this name or this number.
fn is_protocol(value: Option<&Value>, name: &str, number: f64) -> bool {
    value.is_some_and(|v| v.as_str() == Some(name) || v.as_f64() == Some(number))
}

struct Cross<'a> {
    stage: Stage,
    out: &'a mut Findings,
}

impl Cross<'_> {
    fn add(&mut self, id: Id, path: &At<'_>, message: impl Into<String>) -> &mut super::findings::Finding {
        self.out.add(self.stage, id, path, message)
    }

    /// preDNAT, doNotTrack and applyOnForward.
    fn stages(&mut self, spec: &Value, at: &At<'_>) {
        let (pre, untracked) = (is_true(spec, "preDNAT"), is_true(spec, "doNotTrack"));
        if pre && untracked {
            self.add(
                Id::TwoStages,
                &at.key("doNotTrack"),
                "preDNAT and doNotTrack are both true",
            )
            .fix("remove one of them");
        }
        if pre && !items(spec, "egress").is_empty() {
            self.add(
                Id::PreDnatEgress,
                &at.key("egress"),
                "a preDNAT policy has egress rules",
            )
            .fix("move the egress rules to a policy without preDNAT");
        }
        if pre && let Some(i) = items(spec, "types").iter().position(|t| t == "Egress") {
            self.add(
                Id::PreDnatEgress,
                &at.item("types", i),
                "a preDNAT policy has type Egress",
            )
            .fix("write `types: [Ingress]`");
        }
        if (pre || untracked) && !is_true(spec, "applyOnForward") {
            let flag = if pre { "preDNAT" } else { "doNotTrack" };
            let place = if given(spec, "applyOnForward") {
                at.key("applyOnForward")
            } else {
                *at
            };
            self.add(
                Id::ApplyOnForward,
                &place,
                format!("{flag} without `applyOnForward: true`"),
            )
            .because("where nothing refuses it, Felix runs it as if applyOnForward were true")
            .fix("add `applyOnForward: true`");
        }
    }

    fn no_global(&mut self, value: &Value, keys: &[&str], at: &At<'_>) {
        for key in keys {
            if let Some(selector) = text(value, key).filter(|s| s.contains("global(")) {
                let message = format!("{} holds `global(`", shown(&Value::from(selector)));
                self.add(Id::Global, &at.key(key), message)
                    .fix("use global() in a rule's namespaceSelector only");
            }
        }
    }

    fn policy(&mut self, spec: &Value, at: &At<'_>) {
        for direction in ["ingress", "egress"] {
            for (i, rule) in items(spec, direction).iter().enumerate() {
                self.rule(rule, &at.item(direction, i));
            }
        }
    }

    fn rule(&mut self, rule: &Value, at: &At<'_>) {
        let protocol = rule.get("protocol").filter(|p| !p.is_null());
        if given(rule, "http") {
            if protocol.is_some() && !is_protocol(protocol, "TCP", 6.0) {
                self.add(
                    Id::Http,
                    &at.key("protocol"),
                    "http in a rule of another protocol than TCP",
                )
                .fix("write `protocol: TCP`");
            }
            if rule.get("action").and_then(Value::as_str) != Some("Allow") {
                self.add(Id::Http, &at.key("http"), "http in a rule that does not allow")
                    .fix("use `action: Allow` or remove `http`");
            }
        }
        self.unreadable_numbers(rule, at);
        self.icmp(rule, protocol, at);
        for side in ["source", "destination"] {
            if let Some(entity) = rule.get(side) {
                self.entity(entity, &at.key(side));
            }
        }
        if let Some(destination) = rule.get("destination").filter(|d| given(d, "services")) {
            for key in ["ports", "notPorts"] {
                if !items(destination, key).is_empty() {
                    self.add(
                        Id::Services,
                        &at.key("destination").key(key),
                        format!("{key} beside services"),
                    )
                    .fix(format!("remove `{key}`: services bring their ports"));
                }
            }
        }
    }

    /// An expression that meets such a number fails, unless another part of it already holds.
    fn unreadable_numbers(&mut self, rule: &Value, at: &At<'_>) {
        let version = given(rule, "ipVersion");
        let compared = [
            ("protocol", given(rule, "http") || given(rule, "icmp") || version),
            ("notProtocol", version),
        ];
        for (key, _) in compared
            .into_iter()
            .filter(|(key, compared)| *compared && is_float(rule.get(key)))
        {
            self.fraction(&rule[key], &at.key(key));
        }
        let icmp = |p: Option<&Value>| is_protocol(p, "ICMP", 1.0) || is_protocol(p, "ICMPv6", 58.0);
        if is_float(rule.get("ipVersion")) && (icmp(rule.get("protocol")) || icmp(rule.get("notProtocol"))) {
            self.fraction(&rule["ipVersion"], &at.key("ipVersion"));
        }
    }

    fn fraction(&mut self, value: &Value, at: &At<'_>) {
        self.add(
            Id::WrongType,
            at,
            format!("{} where a whole number belongs", shown(value)),
        )
        .fix("write it without a fraction");
    }

    fn icmp(&mut self, rule: &Value, protocol: Option<&Value>, at: &At<'_>) {
        let is_icmp = |p: Option<&Value>| is_protocol(p, "ICMP", 1.0);
        let is_icmp6 = |p: Option<&Value>| is_protocol(p, "ICMPv6", 58.0);
        if given(rule, "icmp") && !is_icmp(protocol) && !is_icmp6(protocol) {
            self.add(
                Id::IcmpProtocol,
                &at.key("icmp"),
                "icmp in a rule of another protocol than ICMP or ICMPv6",
            )
            .fix("write `protocol: ICMP` or `protocol: ICMPv6`");
        }
        for key in ["icmp", "notICMP"] {
            if rule.get(key).is_some_and(|i| given(i, "code") && !given(i, "type")) {
                self.add(Id::IcmpCode, &at.key(key), format!("{key} has a code and no type"))
                    .fix("add `type`");
            }
        }
        let Some(version) = rule.get("ipVersion").and_then(Value::as_f64) else {
            return;
        };
        for key in ["protocol", "notProtocol"] {
            let named = rule.get(key);
            let wrong = is_icmp(named) && version != 4.0 || is_icmp6(named) && version != 6.0;
            if wrong {
                let (name, needs) = if is_icmp(named) { ("ICMP", 4) } else { ("ICMPv6", 6) };
                self.add(
                    Id::IcmpVersion,
                    &at.key("ipVersion"),
                    format!("{key} {name} with ipVersion {version}"),
                )
                .fix(format!("write `ipVersion: {needs}`"));
            }
        }
    }

    fn entity(&mut self, entity: &Value, at: &At<'_>) {
        self.no_global(entity, &["selector"], at);
        let Some(services) = entity.get("services").filter(|s| !s.is_null()) else {
            return;
        };
        if text(services, "name").is_none() {
            self.add(Id::Services, &at.key("services"), "services without a name")
                .fix("add `name`");
        }
        let texts = ["namespaceSelector", "selector", "notSelector"]
            .into_iter()
            .filter(|k| text(entity, k).is_some());
        let lists = ["nets", "notNets"].into_iter().filter(|k| !items(entity, k).is_empty());
        let accounts = ["serviceAccounts"].into_iter().filter(|k| given(entity, k));
        for key in texts.chain(lists).chain(accounts) {
            self.add(Id::Services, &at.key(key), format!("{key} beside services"))
                .fix(format!("remove `{key}` or `services`"));
        }
    }

    fn host_endpoint(&mut self, spec: &Value, at: &At<'_>) {
        if text(spec, "interfaceName").is_none() && items(spec, "expectedIPs").is_empty() {
            self.add(
                Id::EndpointTarget,
                at,
                "neither `interfaceName` nor `expectedIPs` is given",
            )
            .fix("add `interfaceName: \"*\"`, an interface, or `expectedIPs`");
        }
        if text(spec, "node").is_none() {
            self.add(Id::EndpointNode, at, "`node` is missing").fix("add `node`");
        }
    }

    fn tier(&mut self, name: &str, spec: &Value, at: &At<'_>) {
        let (order, action) = match name {
            "default" => (1_000_000.0, "Deny"),
            "kube-admin" => (1_000.0, "Pass"),
            "kube-baseline" => (10_000_000.0, "Pass"),
            _ => return,
        };
        if spec.get("defaultAction").and_then(Value::as_str) != Some(action) {
            self.add(
                Id::BuiltInTier,
                &at.key("defaultAction"),
                format!("tier {name} with another default action than {action}"),
            )
            .fix(format!("write `defaultAction: {action}`"));
        }
        if spec.get("order").and_then(Value::as_f64) != Some(order) {
            self.add(
                Id::BuiltInTier,
                &at.key("order"),
                format!("tier {name} with another order than {order}"),
            )
            .fix(format!("write `order: {order}`"));
        }
    }

    fn felix(&mut self, name: &str, spec: &Value, at: &At<'_>) {
        if (name == "default" || name.starts_with("node.")) && given(spec, "nodeSelector") {
            self.add(
                Id::ScopedConfig,
                &at.key("nodeSelector"),
                format!("nodeSelector on configuration `{name}`"),
            )
            .fix("remove `nodeSelector`");
        }
        if given(spec, "routeTableRange") && given(spec, "routeTableRanges") {
            self.add(
                Id::RouteTables,
                &at.key("routeTableRange"),
                "routeTableRange and routeTableRanges together",
            )
            .fix("remove `routeTableRange`");
        }
        let bounds = |range: &Value| {
            (
                range.get("min").and_then(Value::as_f64),
                range.get("max").and_then(Value::as_f64),
            )
        };
        let ranges = items(spec, "routeTableRanges").iter().enumerate();
        let ranges = ranges.map(|(i, range)| (range, at.item("routeTableRanges", i)));
        for (range, at) in ranges.chain(
            spec.get("routeTableRange")
                .map(|range| (range, at.key("routeTableRange"))),
        ) {
            for key in ["min", "max"].into_iter().filter(|key| is_float(range.get(key))) {
                self.fraction(&range[key], &at.key(key));
            }
        }
        if let Some((Some(min), Some(max))) = spec.get("routeTableRange").map(bounds)
            && !(min >= 1.0 && max >= min && max <= 250.0)
        {
            self.add(
                Id::RouteTables,
                &at.key("routeTableRange"),
                format!("{min} to {max} is not a range within 1 to 250"),
            );
        }
        for (i, range) in items(spec, "routeTableRanges").iter().enumerate() {
            if let (Some(min), Some(max)) = bounds(range)
                && (min < 1.0 || min > max)
            {
                let place = at.item("routeTableRanges", i);
                self.add(
                    Id::RouteTables,
                    &place,
                    format!("{min} to {max} is not a range from 1 up"),
                );
            }
        }
        for (key, family) in [
            ("natOutgoingAddress", Family::V4),
            ("deviceRouteSourceAddress", Family::V4),
            ("deviceRouteSourceAddressIPv6", Family::V6),
        ] {
            if let Some(address) = text(spec, key).filter(|a| !address_of(a, family)) {
                let message = format!("{} is not an {family} address", shown(&Value::from(address)));
                self.add(Id::ConfigAddress, &at.key(key), message);
            }
        }
    }
}
