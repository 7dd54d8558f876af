//! What the server refuses, adds and lets pass when Calico's kinds are native: our beliefs, one by one.
//!
//! Run against our own statement of the kinds and against Calico's; the sentences differ, so none is compared.

use serde_json::{Value, json};

use crate::support::kinds::{calico, path_of};
use crate::support::live::live;
use crate::support::world::{self, object};

fn policy(name: &str, spec: Value) -> Value {
    object("GlobalNetworkPolicy", name, spec)
}

fn rule(rule: Value) -> Value {
    policy("one-rule", json!({ "types": ["Ingress"], "ingress": [rule] }))
}

fn collection(object: &Value) -> String {
    let path = path_of(object);
    path[..path.rfind('/').expect("a path")].to_string()
}

#[test]
fn an_unknown_field_is_refused_when_asked_strictly_and_lost_otherwise() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    let rest = server.rest();
    let typo = rule(json!({ "action": "Deny", "source": { "Nets": ["192.0.2.0/24"] } }));
    let policies = calico("globalnetworkpolicies", "");
    let posted = rest.post(&format!("{policies}?fieldValidation=Strict"), &typo);
    assert_eq!((posted.status, posted.reason()), (400, "BadRequest"));
    assert!(
        posted
            .message()
            .contains("unknown field \"spec.ingress[0].source.Nets\""),
        "{posted}"
    );

    let lost = rest.post(&policies, &typo);
    assert_eq!(lost.status, 201);
    assert!(
        lost.warnings.iter().any(|w| w.contains("unknown field")),
        "{:?}",
        lost.warnings
    );
    assert_eq!(lost.body["spec"]["ingress"][0]["source"], json!({}), "everybody");

    let path = calico("globalnetworkpolicies", "one-rule");
    let merged = rest.merge(
        &format!("{path}?fieldValidation=Strict"),
        &json!({ "spec": { "preDnat": true } }),
    );
    assert_eq!(merged.status, 422, "{merged}");
    let applied = rest.apply(&format!("{path}?fieldManager=test&fieldValidation=Strict"), &typo);
    assert_eq!((applied.status, applied.reason()), (500, ""), "{applied}");
}

#[test]
fn what_native_kinds_do_not_look_into_is_accepted() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    let tcp = |more: Value| {
        let mut rule = json!({ "action": "Allow", "protocol": "TCP" });
        rule.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().expect("an object"));
        rule
    };
    for (belief, accepted) in [
        (
            "a CIDR that is none",
            object(
                "GlobalNetworkSet",
                "odd",
                json!({ "nets": ["not-a-cidr", "10.0.0.0/40"] }),
            ),
        ),
        (
            "a left-over variable",
            rule(tcp(json!({ "source": { "notNets": ["${VM_IP}"] } }))),
        ),
        (
            "a selector that does not parse",
            policy("odd", json!({ "selector": "(((" })),
        ),
        (
            "a tier that does not exist",
            policy("odd", json!({ "tier": "nowhere" })),
        ),
        (
            "ports without a protocol",
            rule(json!({ "action": "Allow", "destination": { "ports": [80] } })),
        ),
        (
            "a port range backwards",
            rule(tcp(json!({ "destination": { "ports": ["90:80"] } }))),
        ),
        (
            "a protocol in lower case",
            rule(json!({ "action": "Allow", "protocol": "tcp" })),
        ),
        (
            "a failsafe port 0 over SCTP",
            object(
                "FelixConfiguration",
                "node.n1",
                json!({ "failsafeInboundHostPorts": [{ "protocol": "SCTP", "port": 0 }] }),
            ),
        ),
        (
            "a host endpoint of a node that is not there",
            object("HostEndpoint", "odd", json!({ "node": "n9", "interfaceName": "*" })),
        ),
    ] {
        let answer = server
            .rest()
            .post(&format!("{}?fieldValidation=Strict", collection(&accepted)), &accepted);
        assert_eq!(answer.status, 201, "{belief}: {answer}");
        server.rest().delete(&path_of(&accepted)).ok();
    }
}

#[test]
fn what_the_schema_and_the_cross_field_rules_forbid_is_refused_at_its_place() {
    let Some(server) = live!() else { return };
    let http = json!({ "methods": ["GET"] });
    let services = json!({ "name": "web", "namespace": "shop" });
    let side = |more: Value| {
        let mut side = json!({ "services": services });
        side.as_object_mut()
            .expect("an object")
            .extend(more.as_object().cloned().expect("an object"));
        rule(json!({ "action": "Allow", "destination": side }))
    };
    let ingress = "spec.ingress[0]";
    let destination = "spec.ingress[0].destination";
    let felix = |name: &str, spec: Value| object("FelixConfiguration", name, spec);
    let refused: Vec<(&str, Value)> = vec![
        (
            "spec",
            policy(
                "p",
                json!({ "preDNAT": true, "doNotTrack": true, "applyOnForward": true }),
            ),
        ),
        ("spec", policy("p", json!({ "preDNAT": true, "types": ["Ingress"] }))),
        (
            "spec",
            policy("p", json!({ "doNotTrack": true, "applyOnForward": false })),
        ),
        (
            "spec",
            policy(
                "p",
                json!({ "preDNAT": true, "applyOnForward": true, "types": ["Egress"] }),
            ),
        ),
        (
            "spec",
            policy(
                "p",
                json!({ "preDNAT": true, "applyOnForward": true, "types": ["Ingress"], "egress": [{ "action": "Deny" }] }),
            ),
        ),
        ("spec", policy("p", json!({ "selector": "global()" }))),
        ("spec", policy("p", json!({ "namespaceSelector": "a == 'global('" }))),
        ("spec", policy("p", json!({ "serviceAccountSelector": "global()" }))),
        ("spec.types[1]", policy("p", json!({ "types": ["Ingress", "Ingress"] }))),
        ("spec.types[0]", policy("p", json!({ "types": ["ingress"] }))),
        ("spec.selector", policy("p", json!({ "selector": "a".repeat(1025) }))),
        ("spec.ingress[0].action", rule(json!({ "action": "allow" }))),
        ("spec.ingress[0].action", rule(json!({ "protocol": "TCP" }))),
        (
            "spec.ingress[0].ipVersion",
            rule(json!({ "action": "Allow", "ipVersion": 5 })),
        ),
        (ingress, rule(json!({ "action": "Deny", "http": http }))),
        (
            ingress,
            rule(json!({ "action": "Allow", "http": http, "protocol": "UDP" })),
        ),
        (ingress, rule(json!({ "action": "Allow", "icmp": { "type": 8 } }))),
        (
            ingress,
            rule(json!({ "action": "Allow", "icmp": { "type": 8 }, "protocol": "TCP" })),
        ),
        (
            ingress,
            rule(json!({ "action": "Allow", "protocol": "ICMP", "ipVersion": 6 })),
        ),
        (
            ingress,
            rule(json!({ "action": "Allow", "protocol": 58, "ipVersion": 4 })),
        ),
        (
            ingress,
            rule(json!({ "action": "Allow", "notProtocol": 1, "ipVersion": 6 })),
        ),
        (
            ingress,
            rule(json!({ "action": "Allow", "notProtocol": "ICMPv6", "ipVersion": 4 })),
        ),
        (
            "spec.ingress[0].icmp",
            rule(json!({ "action": "Allow", "protocol": "ICMP", "icmp": { "code": 0 } })),
        ),
        (
            "spec.ingress[0].notICMP",
            rule(json!({ "action": "Allow", "protocol": "ICMP", "notICMP": { "code": 0 } })),
        ),
        (
            "spec.ingress[0].source.nets[1]",
            rule(json!({ "action": "Allow", "source": { "nets": ["192.0.2.0/24", "192.0.2.0/24"] } })),
        ),
        (
            "spec.ingress[0].source",
            rule(json!({ "action": "Allow", "source": { "selector": "global()" } })),
        ),
        (destination, side(json!({ "namespaceSelector": "all()" }))),
        (destination, side(json!({ "serviceAccounts": { "names": ["a"] } }))),
        (destination, side(json!({ "notSelector": "a == 'b'" }))),
        (destination, side(json!({ "notNets": ["192.0.2.0/24"] }))),
        (destination, side(json!({ "services": { "namespace": "shop" } }))),
        (ingress, side(json!({ "notPorts": [80] }))),
        ("spec", object("HostEndpoint", "h", json!({ "node": "n1" }))),
        ("spec", object("HostEndpoint", "h", json!({ "interfaceName": "*" }))),
        (
            "spec.interfaceName",
            object(
                "HostEndpoint",
                "h",
                json!({ "node": "n1", "interfaceName": "sixteen-letters0" }),
            ),
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
        (
            "spec.controllers.node.hostEndpoint.autoCreate",
            object(
                "KubeControllersConfiguration",
                "default",
                json!({ "controllers": { "node": { "hostEndpoint": { "autoCreate": "enabled" } } } }),
            ),
        ),
        (
            "spec.controllers",
            object("KubeControllersConfiguration", "default", json!({})),
        ),
    ];
    let mut wrong = vec![];
    for (place, object) in refused {
        let answer = server
            .rest()
            .post(&format!("{}?fieldValidation=Strict", collection(&object)), &object);
        if (answer.status, answer.reason()) != (422, "Invalid") || !answer.fields().contains(&place) {
            wrong.push(format!("{object}\n    should be refused at {place}: {answer}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_server_adds_tier_label_types_and_defaults() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    let (allow, tier) = (json!([{ "action": "Allow" }]), "projectcalico.org/tier");
    for (spec, types) in [
        (json!({}), json!(["Ingress"])),
        (json!({ "ingress": allow }), json!(["Ingress"])),
        (json!({ "egress": allow }), json!(["Egress"])),
        (json!({ "egress": [] }), json!(["Egress"])),
        (
            json!({ "ingress": allow, "egress": allow }),
            json!(["Ingress", "Egress"]),
        ),
        (json!({ "types": ["Egress"], "ingress": allow }), json!(["Egress"])),
    ] {
        let made = server.rest().create(&policy("p", spec));
        assert_eq!(
            (&made["spec"]["types"], &made["spec"]["tier"]),
            (&types, &json!("default"))
        );
        assert_eq!(made["metadata"]["labels"], json!({ (tier): "default" }));
        server.rest().delete(&path_of(&made)).ok();
    }
    let mut labelled = policy("security.p", json!({ "tier": "security" }));
    labelled["metadata"]["labels"] = json!({ "a": "b", (tier): "other" });
    let made = server.rest().create(&labelled);
    assert_eq!(made["metadata"]["labels"], json!({ "a": "b", (tier): "security" }));
    let managers = made["metadata"]["managedFields"].to_string();
    assert!(
        !managers.contains("f:types"),
        "nobody owns what the server added: {managers}"
    );
    let felix = world::create(&server, "FelixConfiguration", "node.n1", json!({}));
    assert_eq!(
        felix["spec"],
        json!({ "nftablesMode": "Auto", "nftablesFlowTableOffload": "Disabled" })
    );
}

#[test]
fn the_built_in_tiers_cannot_be_deleted() {
    let Some(server) = live!() else { return };
    world::fresh_calico(&server);
    for tier in ["default", "kube-admin", "kube-baseline"] {
        let refused = server.rest().delete(&calico("tiers", tier));
        assert_eq!((refused.status, refused.reason()), (422, "Invalid"), "{refused}");
    }
    world::create(&server, "Tier", "security", json!({ "order": 500 }));
    server.rest().delete(&calico("tiers", "security")).ok();
}

#[test]
fn lists_that_are_sets_merge_and_the_others_are_owned_whole() {
    let Some(server) = live!() else { return };
    let path = calico("globalnetworksets", "partners");
    let set = |net: &str| object("GlobalNetworkSet", "partners", json!({ "nets": [net] }));
    server
        .rest()
        .apply(&format!("{path}?fieldManager=one"), &set("192.0.2.0/24"))
        .ok();
    let merged = server
        .rest()
        .apply(&format!("{path}?fieldManager=two"), &set("198.51.100.0/24"))
        .ok();
    assert_eq!(merged["spec"]["nets"], json!(["192.0.2.0/24", "198.51.100.0/24"]));
    let path = calico("felixconfigurations", "node.n1");
    let felix = |port: u16| {
        object(
            "FelixConfiguration",
            "node.n1",
            json!({ "failsafeInboundHostPorts": [{ "port": port }] }),
        )
    };
    server
        .rest()
        .apply(&format!("{path}?fieldManager=one"), &felix(22))
        .ok();
    let conflict = server.rest().apply(&format!("{path}?fieldManager=two"), &felix(443));
    assert_eq!(
        (conflict.status, conflict.fields()),
        (409, vec![".spec.failsafeInboundHostPorts"]),
        "{conflict}"
    );
}
