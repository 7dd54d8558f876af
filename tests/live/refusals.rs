//! What the schemas and the cross-field rules of Calico's kinds refuse, each at its place.
//!
//! Run against our own statement of the kinds and against Calico's: both must refuse the same objects at the same
//! fields. The sentences differ, so none is compared.

use serde_json::{Value, json};

use crate::support::control_plane::ControlPlane;
use crate::support::kinds::collection_of;
use crate::support::live::live;
use crate::support::world::object;

/// Each object is one mistake; the field is where the server says it is.
#[track_caller]
fn refused(server: &ControlPlane, mistakes: Vec<(&str, Value)>) {
    let mut wrong = vec![];
    for (place, object) in mistakes {
        let answer = server
            .rest()
            .post(&format!("{}?fieldValidation=Strict", collection_of(&object)), &object);
        if (answer.status, answer.reason()) != (422, "Invalid") || !answer.fields().contains(&place) {
            wrong.push(format!("{object}\n    should be refused at {place}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn policy(spec: Value) -> Value {
    object("GlobalNetworkPolicy", "p", spec)
}

fn rule(rule: Value) -> Value {
    policy(json!({ "types": ["Ingress"], "ingress": [rule] }))
}

fn felix(name: &str, spec: Value) -> Value {
    object("FelixConfiguration", name, spec)
}

#[test]
fn flags_and_selectors_of_a_policy_that_contradict_each_other() {
    let Some(server) = live!() else { return };
    let pre_dnat = |more: Value| {
        let mut spec = json!({ "preDNAT": true, "applyOnForward": true, "types": ["Ingress"] });
        spec.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().expect("an object"));
        ("spec", policy(spec))
    };
    refused(
        &server,
        vec![
            pre_dnat(json!({ "doNotTrack": true })),
            pre_dnat(json!({ "applyOnForward": false })),
            pre_dnat(json!({ "types": ["Ingress", "Egress"] })),
            pre_dnat(json!({ "egress": [{ "action": "Deny" }] })),
            ("spec", policy(json!({ "preDNAT": true, "types": ["Ingress"] }))),
            ("spec", policy(json!({ "doNotTrack": true, "applyOnForward": false }))),
            ("spec", policy(json!({ "selector": "global()" }))),
            ("spec", policy(json!({ "namespaceSelector": "a == 'global('" }))),
            ("spec", policy(json!({ "serviceAccountSelector": "global()" }))),
            ("spec.selector", policy(json!({ "selector": "a".repeat(1025) }))),
            ("spec.types", policy(json!({ "types": [] }))),
            ("spec.types[1]", policy(json!({ "types": ["Ingress", "Ingress"] }))),
            ("spec.types[0]", policy(json!({ "types": ["ingress"] }))),
        ],
    );
}

#[test]
fn rules_that_cannot_match() {
    let Some(server) = live!() else { return };
    let http = json!({ "methods": ["GET"] });
    let at = "spec.ingress[0]";
    let twice = json!(["192.0.2.0/24", "192.0.2.0/24"]);
    refused(
        &server,
        vec![
            ("spec.ingress[0].action", rule(json!({ "action": "allow" }))),
            ("spec.ingress[0].action", rule(json!({ "protocol": "TCP" }))),
            (
                "spec.ingress[0].ipVersion",
                rule(json!({ "action": "Allow", "ipVersion": 5 })),
            ),
            (
                "spec.ingress[0].source.nets[1]",
                rule(json!({ "action": "Allow", "source": { "nets": twice } })),
            ),
            (
                "spec.ingress[0].source",
                rule(json!({ "action": "Allow", "source": { "selector": "global()" } })),
            ),
            (at, rule(json!({ "action": "Deny", "http": http }))),
            (at, rule(json!({ "action": "Allow", "http": http, "protocol": "UDP" }))),
            (at, rule(json!({ "action": "Allow", "icmp": { "type": 8 } }))),
            (
                at,
                rule(json!({ "action": "Allow", "icmp": { "type": 8 }, "protocol": "TCP" })),
            ),
            (
                at,
                rule(json!({ "action": "Allow", "protocol": "ICMP", "ipVersion": 6 })),
            ),
            (at, rule(json!({ "action": "Allow", "protocol": 58, "ipVersion": 4 }))),
            (at, rule(json!({ "action": "Allow", "notProtocol": 1, "ipVersion": 6 }))),
            (
                at,
                rule(json!({ "action": "Allow", "notProtocol": "ICMPv6", "ipVersion": 4 })),
            ),
            (
                "spec.ingress[0].icmp",
                rule(json!({ "action": "Allow", "protocol": 1, "icmp": { "code": 0 } })),
            ),
            (
                "spec.ingress[0].notICMP",
                rule(json!({ "action": "Allow", "protocol": 1, "notICMP": { "code": 0 } })),
            ),
        ],
    );
}

#[test]
fn services_beside_another_way_to_name_a_destination() {
    let Some(server) = live!() else { return };
    let with = |more: Value| {
        let mut side = json!({ "services": { "name": "web", "namespace": "shop" } });
        side.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().expect("an object"));
        rule(json!({ "action": "Allow", "destination": side }))
    };
    let at = "spec.ingress[0].destination";
    refused(
        &server,
        vec![
            (at, with(json!({ "namespaceSelector": "all()" }))),
            (at, with(json!({ "serviceAccounts": { "names": ["a"] } }))),
            (at, with(json!({ "selector": "a == 'b'" }))),
            (at, with(json!({ "notSelector": "a == 'b'" }))),
            (at, with(json!({ "nets": ["192.0.2.0/24"] }))),
            (at, with(json!({ "notNets": ["192.0.2.0/24"] }))),
            (at, with(json!({ "services": { "namespace": "shop" } }))),
            ("spec.ingress[0]", with(json!({ "ports": [80] }))),
            ("spec.ingress[0]", with(json!({ "notPorts": [80] }))),
        ],
    );
}

#[test]
fn host_endpoints_and_tiers_that_cannot_be() {
    let Some(server) = live!() else { return };
    let host = |spec: Value| object("HostEndpoint", "h", spec);
    refused(
        &server,
        vec![
            ("spec", host(json!({ "node": "n1" }))),
            ("spec", host(json!({ "interfaceName": "*" }))),
            (
                "spec.interfaceName",
                host(json!({ "node": "n1", "interfaceName": "sixteen-letters0" })),
            ),
            (
                "<nil>",
                object("Tier", "default", json!({ "order": 5, "defaultAction": "Deny" })),
            ),
            (
                "<nil>",
                object(
                    "Tier",
                    "default",
                    json!({ "order": 1_000_000, "defaultAction": "Pass" }),
                ),
            ),
            ("<nil>", object("Tier", "kube-admin", json!({ "order": 1_000 }))),
            (
                "<nil>",
                object("Tier", "kube-baseline", json!({ "defaultAction": "Pass" })),
            ),
            (
                "spec.defaultAction",
                object("Tier", "t", json!({ "defaultAction": "Allow" })),
            ),
        ],
    );
}

#[test]
fn configurations_that_no_agent_could_follow() {
    let Some(server) = live!() else { return };
    let controllers = |spec: Value| object("KubeControllersConfiguration", "default", spec);
    let enabled = json!({ "controllers": { "node": { "hostEndpoint": { "autoCreate": "enabled" } } } });
    refused(
        &server,
        vec![
            ("<nil>", felix("default", json!({ "nodeSelector": "all()" }))),
            ("<nil>", felix("node.n1", json!({ "nodeSelector": "all()" }))),
            ("spec", felix("default", json!({ "natOutgoingAddress": "2001:db8::1" }))),
            (
                "spec",
                felix("default", json!({ "deviceRouteSourceAddress": "nowhere" })),
            ),
            (
                "spec",
                felix("default", json!({ "deviceRouteSourceAddressIPv6": "192.0.2.1" })),
            ),
            (
                "spec.routeTableRange",
                felix("default", json!({ "routeTableRange": { "min": 0, "max": 250 } })),
            ),
            (
                "spec.routeTableRanges[0]",
                felix("default", json!({ "routeTableRanges": [{ "min": 9, "max": 8 }] })),
            ),
            (
                "spec.chainInsertMode",
                felix("default", json!({ "chainInsertMode": "Prepend" })),
            ),
            (
                "spec.flowLogsFlushInterval",
                felix("default", json!({ "flowLogsFlushInterval": "1.5s" })),
            ),
            ("spec.nftablesMode", felix("default", json!({ "nftablesMode": "auto" }))),
            ("spec.controllers.node.hostEndpoint.autoCreate", controllers(enabled)),
            ("spec.controllers", controllers(json!({}))),
        ],
    );
}
