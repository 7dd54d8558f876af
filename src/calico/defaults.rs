//! What Calico's create path adds to an object before it is stored.

use serde_json::{Map, Value, json};

use super::cross::{items, text};
use super::findings::{Findings, Stage};
use super::schema::{Field, schema};
use super::{crd, decode, kind_of};

/// Makes of the object what Calico stores: unknown keys gone, values in canonical form, defaults filled in.
///
/// An object that Calico cannot read is left as it is.
pub fn defaults(object: &mut Value) {
    let kind = kind_of(object);
    let Some(field) = schema(&kind) else { return };
    let mut found = Findings::default();
    let mut stored = decode::decode(field, object, Stage::Decode, &mut found);
    if !found.list.is_empty() {
        return;
    }
    fill(&kind, field, &mut stored);
    *object = stored;
}

/// The defaults of one kind, on an object as `decode.rs` writes it.
pub(super) fn fill(kind: &str, field: &Field, object: &mut Value) {
    before(kind, object);
    let filled = crd::admitted(field, object);
    // Once more through the Go types: an empty list or text that a default replaced is gone.
    *object = decode::decode(field, &filled, Stage::Decode, &mut Findings::default());
    for (key, value) in [("apiVersion", "projectcalico.org/v3"), ("kind", kind)] {
        object[key] = Value::from(value);
    }
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for key in [
            "creationTimestamp",
            "uid",
            "resourceVersion",
            "managedFields",
            "generation",
            "selfLink",
        ] {
            metadata.remove(key);
        }
    }
}

/// What the create calls of `libcalico-go/lib/clientv3` fill in before they validate.
fn before(kind: &str, object: &mut Value) {
    match kind {
        "GlobalNetworkPolicy" | "NetworkPolicy" => policy(object),
        "Tier" => {
            let spec = &mut object["spec"];
            set_if_missing(spec, "order", json!(1_000_000));
            set_if_missing(spec, "defaultAction", json!("Deny"));
        }
        "FelixConfiguration" => felix(&mut object["spec"]),
        "KubeControllersConfiguration" => {
            let spec = &mut object["spec"];
            set_if_missing(spec, "prometheusMetricsPort", json!(9094));
            if let Some(node) = spec.pointer_mut("/controllers/node") {
                set_if_missing(node, "leakGracePeriod", json!("15m0s"));
            }
            if let Some(balancer) = spec.pointer_mut("/controllers/loadBalancer") {
                set_if_missing(balancer, "assignIPs", json!("AllServices"));
            }
        }
        _ => {}
    }
}

fn set_if_missing(value: &mut Value, key: &str, default: Value) {
    if let Some(map) = value.as_object_mut() {
        map.entry(key).or_insert(default);
    }
}

/// `api/pkg/defaults/networkpolicy.go`.
fn policy(object: &mut Value) {
    let spec = &object["spec"];
    let types = match (items(spec, "ingress").is_empty(), items(spec, "egress").is_empty()) {
        (_, true) => json!(["Ingress"]),
        (true, false) => json!(["Egress"]),
        (false, false) => json!(["Ingress", "Egress"]),
    };
    let tier = text(spec, "tier").unwrap_or("default").to_string();
    set_if_missing(&mut object["spec"], "types", types);
    if let Some(metadata) = object["metadata"].as_object_mut()
        && let Some(labels) = metadata
            .entry("labels")
            .or_insert_with(|| Value::Object(Map::new()))
            .as_object_mut()
    {
        labels.insert("projectcalico.org/tier".to_string(), Value::from(tier));
    }
}

/// `libcalico-go/lib/clientv3/felixconfig.go` setDefaults.
fn felix(spec: &mut Value) {
    set_if_missing(spec, "floatingIPs", json!("Disabled"));
    set_if_missing(spec, "bpfConnectTimeLoadBalancing", json!("TCP"));
    set_if_missing(spec, "bpfHostNetworkedNATWithoutCTLB", json!("Enabled"));
    if let Some(enabled) = spec.get("bpfConnectTimeLoadBalancingEnabled").and_then(Value::as_bool) {
        spec["bpfHostNetworkedNATWithoutCTLB"] = json!("Disabled");
        spec["bpfConnectTimeLoadBalancing"] = json!(if enabled { "Enabled" } else { "Disabled" });
    }
}
