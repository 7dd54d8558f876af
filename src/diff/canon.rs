//! The canonical form of a field, kind by kind: two values are equal to Calico and Kubernetes iff these are equal.
//!
//! Covers spellings (CIDRs, selectors, numbers, ports), sets written as lists, and what servers add inside a list.
//! Knows nothing of ownership.

use serde_json::{Map, Value, json};

use crate::net::Cidr;
use crate::resource::{FieldPath, Kind};

/// The canonical form of `value` at `path` of an object of that kind.
pub fn canonical(kind: Kind, path: &FieldPath, value: &Value) -> Value {
    let keys: Vec<&str> = path.0.iter().map(String::as_str).collect();
    match (kind, keys.as_slice()) {
        (Kind::GlobalNetworkPolicy, ["spec", "ingress" | "egress"]) => each(value, rule),
        (Kind::GlobalNetworkPolicy, ["spec", "types" | "performanceHints"]) => set(value.clone()),
        (Kind::GlobalNetworkPolicy, ["spec", name]) if name.ends_with("elector") => selector(value),
        (Kind::GlobalNetworkSet, ["spec", "nets"]) | (Kind::HostEndpoint, ["spec", "expectedIPs"]) => nets(value),
        (Kind::FelixConfiguration, ["spec", "failsafeInboundHostPorts" | "failsafeOutboundHostPorts"]) => {
            set(each(value, failsafe))
        }
        (Kind::Service, ["spec", "ports"]) => each(value, service_port),
        _ => number(value),
    }
}

fn each(list: &Value, element: impl Fn(&Value) -> Value) -> Value {
    match list {
        Value::Array(items) => Value::Array(items.iter().map(element).collect()),
        other => other.clone(),
    }
}

/// A list whose order and repeats mean nothing.
fn set(list: Value) -> Value {
    match list {
        Value::Array(mut items) => {
            items.sort_by_key(Value::to_string);
            items.dedup();
            Value::Array(items)
        }
        other => other,
    }
}

/// 500 and 500.0 are one number.
fn number(value: &Value) -> Value {
    match value.as_f64() {
        Some(float) if value.is_number() => json!(float),
        _ => value.clone(),
    }
}

fn selector(value: &Value) -> Value {
    match value.as_str() {
        Some(text) => json!(crate::selector::normalise(text)),
        None => value.clone(),
    }
}

fn nets(value: &Value) -> Value {
    set(each(value, |net| match net.as_str().map(Cidr::parse_lenient) {
        Some(Ok(cidr)) => json!(cidr.to_string()),
        _ => net.clone(),
    }))
}

/// A rule; Calico's API server shows empty `source` and `destination`, which say nothing.
fn rule(value: &Value) -> Value {
    map(value, |key, value| match key {
        "source" | "destination" => {
            let side = entity(value);
            (side != json!({})).then_some(side)
        }
        "protocol" | "notProtocol" => Some(number_or_text(value)),
        _ => Some(value.clone()),
    })
}

fn entity(value: &Value) -> Value {
    map(value, |key, value| match key {
        "nets" | "notNets" => Some(nets(value)),
        "ports" | "notPorts" => Some(set(each(value, number_or_text))),
        "selector" | "notSelector" | "namespaceSelector" => Some(selector(value)),
        _ => Some(value.clone()),
    })
}

fn failsafe(value: &Value) -> Value {
    map(value, |key, value| match (key, value.as_str()) {
        ("protocol", Some(text)) => Some(json!(text.to_ascii_uppercase())),
        ("net", Some(text)) if !text.is_empty() => {
            Some(Cidr::parse_lenient(text).map_or_else(|_| value.clone(), |cidr| json!(cidr.to_string())))
        }
        ("net", Some(_)) => None,
        _ => Some(value.clone()),
    })
}

/// A Service port with what the API server fills in.
fn service_port(value: &Value) -> Value {
    let mut port = map(value, |_, value| Some(value.clone()));
    if let Some(map) = port.as_object_mut() {
        map.entry("protocol").or_insert_with(|| json!("TCP"));
        if let Some(number) = map.get("port").cloned() {
            map.entry("targetPort").or_insert(number);
        }
    }
    port
}

/// `"80"` and 80 are one port, `"6"` and 6 one protocol.
fn number_or_text(value: &Value) -> Value {
    match value {
        Value::String(text) => text
            .parse::<u16>()
            .map_or_else(|_| value.clone(), |number| json!(number)),
        other => other.as_f64().map_or_else(|| other.clone(), |n| json!(n as i64)),
    }
}

fn map(value: &Value, field: impl Fn(&str, &Value) -> Option<Value>) -> Value {
    match value {
        Value::Object(map) => Value::Object(
            map.iter()
                .filter_map(|(key, value)| Some((key.clone(), field(key, value)?)))
                .collect::<Map<_, _>>(),
        ),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn equal(kind: Kind, path: &str, left: Value, right: Value) -> bool {
        let path = FieldPath::dotted(path);
        canonical(kind, &path, &left) == canonical(kind, &path, &right)
    }

    #[test]
    fn spellings_of_one_policy_are_equal() {
        let policy = Kind::GlobalNetworkPolicy;
        let left = json!([{"action": "Deny", "protocol": "6", "source": {}, "destination":
            {"ports": ["80", 443], "nets": ["10.0.0.0/8", "10.1.0.0/16"]}}]);
        let right = json!([{"action": "Deny", "protocol": 6, "destination":
            {"ports": [443, 80], "nets": ["10.1.0.0/16", "10.0.0.0/8"]}}]);
        assert!(equal(policy, "spec.ingress", left, right));
        assert!(equal(policy, "spec.selector", json!("a=='b'"), json!(" a == \"b\" ")));
        assert!(equal(
            policy,
            "spec.types",
            json!(["Ingress", "Egress"]),
            json!(["Egress", "Ingress"])
        ));
        assert!(equal(policy, "spec.order", json!(100), json!(100.0)));
    }

    #[test]
    fn the_order_of_rules_counts() {
        let (allow, deny) = (json!({"action": "Allow"}), json!({"action": "Deny"}));
        assert!(!equal(
            Kind::GlobalNetworkPolicy,
            "spec.ingress",
            json!([allow, deny]),
            json!([deny, allow])
        ));
    }

    #[test]
    fn nets_are_sets_of_cidrs() {
        let set = Kind::GlobalNetworkSet;
        assert!(equal(
            set,
            "spec.nets",
            json!(["10.0.0.1", "fd00::/8"]),
            json!(["FD00::/8", "10.0.0.1/32"])
        ));
        assert!(!equal(set, "spec.nets", json!(["10.0.0.1"]), json!(["10.0.0.2"])));
        assert!(
            !equal(set, "spec.nets", json!(["oops"]), json!([])),
            "what cannot be read is not equal to nothing"
        );
    }

    #[test]
    fn a_service_port_has_defaults() {
        let short = json!([{"port": 80, "nodePort": 30080}]);
        let long = json!([{"port": 80, "nodePort": 30080, "protocol": "TCP", "targetPort": 80}]);
        assert!(equal(Kind::Service, "spec.ports", short, long));
    }
}
