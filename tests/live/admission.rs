//! What the server refuses, adds and lets pass when Calico's kinds are native: our beliefs, one by one.
//!
//! Run against our own statement of the kinds and against Calico's; the sentences differ, so none is compared.

use serde_json::{Value, json};

use crate::support::kinds::{calico, collection_of, path_of};
use crate::support::live::live;
use crate::support::world::{self, object};

fn policy(name: &str, spec: Value) -> Value {
    object("GlobalNetworkPolicy", name, spec)
}

fn rule(rule: Value) -> Value {
    policy("one-rule", json!({ "types": ["Ingress"], "ingress": [rule] }))
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
        let answer = server.rest().post(
            &format!("{}?fieldValidation=Strict", collection_of(&accepted)),
            &accepted,
        );
        assert_eq!(answer.status, 201, "{belief}: {answer}");
        server.rest().delete(&path_of(&accepted)).ok();
    }
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
