//! The workshop's policies and the traps around them, as people meet them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::net::{AddressSet, Cidr, Family, Protocol};

const TRUSTED: &str = "10.9.0.4";
const STRANGER: &str = "198.51.100.7";

fn host_endpoint(node: &str, addresses: &[&str]) -> Value {
    let mut labels = json!({"kubernetes.io/hostname": node});
    if node == "n1" {
        labels["host-end-point"] = json!("test");
    }
    json!({"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint",
        "metadata": {"name": format!("{node}-auto-hep"), "labels": labels},
        "spec": {"node": node, "interfaceName": "*", "expectedIPs": addresses,
            "profiles": ["projectcalico-default-allow"]}})
}

fn policy(name: &str, mut spec: Value) -> Value {
    if spec.get("types").is_none() {
        spec["types"] = json!(["Ingress"]);
    }
    json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": {"name": name}, "spec": spec})
}

/// Before translation, at endpoints that are labelled for the test.
fn guard(rule: Value) -> Value {
    let spec = json!({"selector": "host-end-point == 'test'", "order": 100, "preDNAT": true, "applyOnForward": true,
        "ingress": [rule]});
    policy("default.nodeport", spec)
}

fn deny_all_but_trusted() -> Value {
    guard(
        json!({"action": "Deny", "protocol": "TCP", "source": {"notNets": ["10.9.0.4/32"]},
        "destination": {"ports": [30080]}}),
    )
}

/// Two nodes with automatic host endpoints, a Service with a pod on each.
fn facts(policies: &[Value]) -> Facts {
    let nodes = [("n1", ["10.0.1.10", "fd00:1::10"]), ("n2", ["10.0.1.11", "fd00:1::11"])];
    let pods = [
        ("a", "n1", ["10.65.0.2", "fd00:65::2"]),
        ("b", "n2", ["10.65.1.2", "fd00:65:1::2"]),
    ];
    let parsed = |texts: [&str; 2]| texts.map(|text| text.parse().unwrap()).to_vec();
    let mut objects = vec![json!({"kind": "Profile", "metadata": {"name": "kns.shop"},
        "spec": {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}})];
    objects.extend(nodes.iter().map(|(node, addresses)| host_endpoint(node, addresses)));
    objects.extend(policies.iter().cloned());
    let pod = |(name, node, addresses): (&str, &str, [&str; 2])| PodFacts {
        namespace: "shop".into(),
        name: name.into(),
        node: node.into(),
        addresses: parsed(addresses),
        profiles: vec!["kns.shop".into()],
        ..PodFacts::default()
    };
    let backend = |(name, _, addresses): (&str, &str, [&str; 2])| Backend {
        name: name.into(),
        addresses: parsed(addresses),
        port: 8080,
    };
    let node = |(name, addresses): (&str, [&str; 2])| NodeFacts {
        name: name.into(),
        addresses: parsed(addresses),
        ..NodeFacts::default()
    };
    Facts {
        nodes: nodes.map(node).map(Arc::new).to_vec(),
        pods: Some(pods.map(|one| std::sync::Arc::new(pod(one))).to_vec()),
        services: Some(vec![ServiceFacts {
            namespace: "shop".into(),
            name: "frontend".into(),
            protocol: 6,
            port: 80,
            node_port: Some(30080),
            cluster: vec!["10.96.0.10".parse().unwrap()],
            external_local: false,
            internal_local: false,
            backends: Some(pods.map(backend).to_vec()),
        }]),
        objects,
        dataplane: Some(Dataplane::Iptables),
        environment: Some(BTreeMap::new()),
        ..Facts::default()
    }
}

fn world(policies: &[Value]) -> World {
    World::of_facts(&facts(policies))
}

fn packet(source: &str, destination: &str, port: u16) -> Packet {
    Packet {
        from: Origin::Outside,
        source: source.parse().unwrap(),
        destination: destination.parse().unwrap(),
        protocol: Protocol::Tcp,
        port: Some(port),
        source_port: None,
        icmp_type: None,
        backend: None,
    }
}

fn verdict(world: &World, source: &str, destination: &str, port: u16) -> Verdict {
    walk(world, &packet(source, destination, port)).verdict
}

#[test]
fn an_allow_alone_before_translation_restricts_nothing() {
    let allow = guard(
        json!({"action": "Allow", "protocol": "TCP", "source": {"nets": ["10.9.0.4/32"]},
        "destination": {"ports": [30080]}}),
    );
    assert!(difference(&world(&[]), &world(&[allow])).is_empty());
}

#[test]
fn a_deny_closes_the_labelled_node_for_all_but_one_and_says_what_stays_open() {
    let rows = difference(&world(&[]), &world(&[deny_all_but_trusted()]));
    let told: Vec<_> = rows
        .iter()
        .map(|row| {
            let nodes: Vec<&str> = row.nodes.keys().map(String::as_str).collect();
            (
                row.movement,
                row.subject.family,
                nodes.join(","),
                row.subject.sources.clone(),
            )
        })
        .collect();
    let trusted = AddressSet::from_cidrs([&Cidr::parse("10.9.0.4/32").unwrap()]);
    let v4 = AddressSet::family(Family::V4);
    let expected = [
        (Movement::Closes, Family::V4, "n1".to_string(), v4.minus(&trusted)),
        (Movement::Stays, Family::V4, "n1".to_string(), trusted),
        (Movement::Stays, Family::V4, "n2".to_string(), v4),
        // The rule is not rendered for IPv6: it has no network of that family.
        (
            Movement::Stays,
            Family::V6,
            "n1,n2".to_string(),
            AddressSet::family(Family::V6),
        ),
    ];
    assert_eq!(told.iter().cloned().collect::<BTreeSet<_>>(), expected.into());
    let closed = &rows[0];
    assert_eq!(closed.subject.service.as_deref(), Some("shop/frontend"));
    let by = &closed.after.as_ref().unwrap().decision.as_ref().unwrap().by;
    let By::Rule(rule) = by else { panic!("{by:?}") };
    assert_eq!(rule.to_string(), "GlobalNetworkPolicy/default.nodeport ingress[0]");
    assert!(rule.policy.key().is_some());
}

#[test]
fn a_backend_behind_another_node_is_judged_there_too() {
    let deny = policy(
        "default.forward",
        json!({"selector": "kubernetes.io/hostname == 'n2'", "applyOnForward": true,
            "ingress": [{"action": "Deny", "source": {"nets": ["10.0.1.10/32"]}}, {"action": "Allow"}]}),
    );
    let world = world(&[deny]);
    assert_eq!(verdict(&world, STRANGER, "10.0.1.10", 30080), Verdict::Partly);
    let far = Packet {
        backend: Some("b".into()),
        ..packet(STRANGER, "10.0.1.10", 30080)
    };
    let walk = walk(&world, &far);
    assert_eq!(walk.verdict, Verdict::Blocked);
    let hop = walk.decided.unwrap();
    assert_eq!((hop.node.as_str(), hop.hook), ("n2", Hook::FilterForward));
}

#[test]
fn a_client_may_pick_a_port_that_the_raw_table_takes_for_a_reply() {
    let deny = policy(
        "default.raw",
        json!({"selector": "all()", "doNotTrack": true, "applyOnForward": true,
            "ingress": [{"action": "Deny", "protocol": "TCP", "destination": {"ports": [9100]}}]}),
    );
    let mut facts = facts(&[deny]);
    // Untracked policy on `*` is ignored.
    for object in facts.objects.iter_mut().filter(|o| o["kind"] == "HostEndpoint") {
        object["spec"]["interfaceName"] = json!("");
    }
    let world = World::of_facts(&facts);
    assert_eq!(verdict(&world, STRANGER, "10.0.1.10", 9100), Verdict::Partly);
    let usual = Packet {
        source_port: Some(40000),
        ..packet(STRANGER, "10.0.1.10", 9100)
    };
    assert_eq!(walk(&world, &usual).verdict, Verdict::Blocked);
}

#[test]
fn what_is_not_read_is_unknown_and_a_sure_deny_stays_blocked() {
    let mut less = facts(&[deny_all_but_trusted()]);
    less.pods = None;
    less.services
        .iter_mut()
        .flatten()
        .for_each(|service| service.backends = None);
    let world = World::of_facts(&less);
    assert_eq!(verdict(&world, STRANGER, "10.0.1.10", 30080), Verdict::Blocked);
    assert_eq!(verdict(&world, TRUSTED, "10.0.1.10", 30080), Verdict::Unknown);
    assert_eq!(verdict(&world, STRANGER, "10.0.1.10", 8443), Verdict::Open);
    less.unread.insert("HostEndpoint".into(), "forbidden".into());
    let world = World::of_facts(&less);
    let walk = walk(&world, &packet(STRANGER, "10.0.1.10", 8443));
    assert_eq!(walk.verdict, Verdict::Unknown);
    let by = By::Unread {
        what: "HostEndpoint".into(),
        why: "forbidden".into(),
    };
    assert_eq!(walk.decided.unwrap().by, by);
}

#[test]
fn a_named_host_endpoint_matters_where_its_interface_is_not_known() {
    let named = json!({"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": {"name": "n1-eth0"},
        "spec": {"node": "n1", "interfaceName": "eth0"}});
    // Where it governs, traffic ends in the deny of an endpoint without a profile; elsewhere `*` allows.
    let world = world(&[named]);
    assert_eq!(verdict(&world, STRANGER, "10.0.1.10", 8443), Verdict::Unknown);
    assert_eq!(verdict(&world, STRANGER, "10.0.1.11", 8443), Verdict::Open);
}

#[test]
fn ebpf_is_known_before_translation_only() {
    let mut facts = facts(&[deny_all_but_trusted()]);
    facts.dataplane = Some(Dataplane::Ebpf);
    let world = World::of_facts(&facts);
    assert_eq!(verdict(&world, STRANGER, "10.0.1.10", 30080), Verdict::Blocked);
    assert_eq!(verdict(&world, TRUSTED, "10.0.1.10", 30080), Verdict::Unknown);
    assert_eq!(verdict(&world, STRANGER, "10.0.1.10", 8443), Verdict::Open);
}

#[test]
fn the_address_that_a_cloud_translates_leads_to_the_node() {
    let mut facts = facts(&[deny_all_but_trusted()]);
    let mut node = (*facts.nodes[0]).clone();
    node.external = vec!["203.0.113.9".parse().unwrap()];
    facts.nodes[0] = Arc::new(node);
    let world = World::of_facts(&facts);
    assert_eq!(verdict(&world, STRANGER, "203.0.113.9", 30080), Verdict::Blocked);
    assert_eq!(verdict(&world, TRUSTED, "203.0.113.9", 30080), Verdict::Open);
}

#[test]
fn every_port_and_source_has_exactly_one_answer() {
    let world = world(&[deny_all_but_trusted()]);
    let exposure = exposure(&world);
    for (family, node) in [(Family::V4, "10.0.1.10"), (Family::V6, "fd00:1::10")] {
        let node = node.parse().unwrap();
        for port in [1, 22, 30080, 65535] {
            let here = exposure.reaches.iter().filter(|reach| {
                reach.subject.protocol == Protocol::Tcp
                    && reach.subject.ports.contains(port)
                    && reach.nodes.values().any(|addresses| addresses.contains(&node))
            });
            let sets: Vec<&AddressSet> = here.map(|reach| &reach.subject.sources).collect();
            let parts = AddressSet::overlay(&sets);
            assert!(parts.iter().all(|(of, _)| of.len() == 1), "{port}: {parts:?}");
            let all = parts.iter().fold(AddressSet::empty(), |all, (_, part)| all.union(part));
            assert_eq!(all, AddressSet::family(family));
        }
    }
}
