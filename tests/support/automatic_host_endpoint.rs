//! What Calico's controller makes of one node: the host endpoints, to the letter.
//!
//! Pure; `host_endpoint_controller.rs` does the reading and writing. Of the addresses a node may report, those of its
//! interfaces are not played: a test's node has none.

use ipnet::IpNet;
use serde_json::{Value, json};
use std::net::IpAddr;

/// The label that makes a host endpoint the controller's own.
pub const CREATED_BY: (&str, &str) = ("projectcalico.org/created-by", "calico-kube-controllers");

/// Where the agent writes a node's own and its tunnels' addresses, in the order they are used.
const ADDRESS_ANNOTATIONS: [&str; 7] = [
    "projectcalico.org/IPv4Address",
    "projectcalico.org/IPv6Address",
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
    "projectcalico.org/IPv6WireguardInterfaceAddr",
];

/// The host endpoints of a node (`labels`, `annotations`, `addresses`) under `controllers.node.hostEndpoint`.
pub fn automatic(node: &str, about: &Value, hosts: &Value) -> Vec<Value> {
    let addresses = addresses(about);
    let mut made = vec![];
    if hosts["createDefaultHostEndpoint"].as_str().unwrap_or("") != "Disabled" {
        let labels = labels(about, &Value::Null);
        let spec =
            json!({ "node": node, "interfaceName": "*", "expectedIPs": texts(&addresses), "profiles": PROFILES });
        made.push(endpoint(format!("{node}-auto-hep"), labels, &Value::Null, spec));
    }
    for template in hosts["templates"].as_array().into_iter().flatten() {
        assert!(
            template["interfacePattern"].is_null(),
            "the player does not play interface patterns"
        );
        let nets = template["interfaceCIDRs"].as_array().into_iter().flatten();
        let nets: Vec<IpNet> = nets
            .map(|n| n.as_str().and_then(|n| n.parse().ok()).expect("a CIDR"))
            .collect();
        let inside: Vec<IpAddr> = addresses
            .iter()
            .copied()
            .filter(|a| nets.iter().any(|n| n.contains(a)))
            .collect();
        if !selects(template["nodeSelector"].as_str().unwrap_or(""), about) || inside.is_empty() {
            continue;
        }
        let name = template["generateName"].as_str().expect("a template has a name");
        let labels = labels(about, &template["labels"]);
        let spec = json!({ "node": node, "expectedIPs": texts(&inside), "profiles": PROFILES });
        made.push(endpoint(
            format!("{node}-{name}-auto-hep"),
            labels,
            &template["annotations"],
            spec,
        ));
    }
    made
}

const PROFILES: [&str; 1] = ["projectcalico-default-allow"];

/// Whether the controller would correct what it found. Profiles, node and ports it does not look at.
pub fn differs(found: &Value, want: &Value) -> bool {
    let part = |o: &Value| {
        let (metadata, spec) = (&o["metadata"], &o["spec"]);
        [
            &metadata["labels"],
            &metadata["annotations"],
            &spec["expectedIPs"],
            &spec["interfaceName"],
        ]
        .map(filled)
    };
    part(found) != part(want)
}

/// The whole wanted object, at the version that was found.
pub fn wanted(found: &Value, want: &Value) -> Value {
    let mut whole = want.clone();
    whole["metadata"]["resourceVersion"] = found["metadata"]["resourceVersion"].clone();
    whole
}

fn endpoint(name: String, labels: Value, annotations: &Value, spec: Value) -> Value {
    assert!(name.len() <= 253, "the player does not play hashed names");
    let mut metadata = json!({ "name": name, "labels": labels });
    if !annotations.is_null() {
        metadata["annotations"] = annotations.clone();
    }
    json!({ "apiVersion": super::kinds::CALICO, "kind": "HostEndpoint", "metadata": metadata, "spec": spec })
}

fn labels(about: &Value, over: &Value) -> Value {
    let mut labels = filled(&about["labels"]);
    for (key, value) in over.as_object().into_iter().flatten() {
        labels[key] = value.clone();
    }
    labels[CREATED_BY.0] = CREATED_BY.1.into();
    labels
}

/// The agent's addresses, then the InternalIPs; never the ExternalIPs. Each once.
fn addresses(about: &Value) -> Vec<IpAddr> {
    let annotated = ADDRESS_ANNOTATIONS
        .iter()
        .filter_map(|key| about["annotations"][key].as_str());
    let reported = about["addresses"].as_array().into_iter().flatten();
    let internal = reported
        .filter(|a| a["type"] == "InternalIP")
        .filter_map(|a| a["address"].as_str());
    let mut found: Vec<IpAddr> = vec![];
    for address in annotated.chain(internal) {
        let address = address
            .split('/')
            .next()
            .and_then(|a| a.parse().ok())
            .expect("an address");
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

/// The part of the selector language that templates of the tests use: `all()`, `has(k)`, `k == "v"`, joined by `&&`.
fn selects(selector: &str, about: &Value) -> bool {
    selector.split("&&").map(str::trim).all(|term| {
        if term.is_empty() || term == "all()" {
            return true;
        }
        if let Some(key) = term.strip_prefix("has(").and_then(|t| t.strip_suffix(')')) {
            return about["labels"][key.trim()].is_string();
        }
        let (key, value) = term
            .split_once("==")
            .unwrap_or_else(|| panic!("the player cannot read the selector {term}"));
        about["labels"][key.trim()] == value.trim().trim_matches(['"', '\''])
    })
}

fn texts(addresses: &[IpAddr]) -> Vec<String> {
    addresses.iter().map(IpAddr::to_string).collect()
}

fn filled(value: &Value) -> Value {
    if value.is_null() { json!({}) } else { value.clone() }
}
