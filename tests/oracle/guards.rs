//! Guards in random worlds: what the policy does, judged by the oracle, is what the guard says, or the plan is refused
//! and the packet that it is refused for fares as shown. `HOSTGUARD_ORACLE_GUARDS` asks for more than the usual number.

use hostguard::changes::Change;
use hostguard::compile::{Compiled, compile};
use hostguard::diff::{Options, diff};
use hostguard::expect::{Counterexample, Fault, Resolved, guards};
use hostguard::plan::{Document, Given, Lookups, Plan};
use hostguard::resource::Kind;
use hostguard::state::{ClusterFacts, Serving, State};

use super::laws::{Dice, NETS_V4, NETS_V6, policy, settings};
use super::*;

pub(super) const NODES: [(&str, &str, &str); 3] = [
    ("n1", "10.0.1.10", "fd00:1::10"),
    ("n2", "10.0.1.11", "fd00:1::11"),
    ("n3", "10.0.1.12", "fd00:1::12"),
];
pub(super) const CLIENTS_V4: [&str; 8] = [
    "10.9.0.4",
    "10.8.0.5",
    "10.9.0.5",
    "198.51.100.7",
    "198.51.101.7",
    "203.0.113.9",
    "192.0.2.1",
    "10.96.0.10",
];
pub(super) const CLIENTS_V6: [&str; 5] = ["fd00:9::4", "fd00:9::5", "fd00:8::5", "fd00:7::7", "2001:db8::1"];
const PORTS: [u16; 5] = [9100, 8080, 30080, 22, 5000];

/// What is there already: tiers, sets and policies of others; host endpoints come with the plan.
pub(super) fn others(dice: &mut Dice) -> Vec<Value> {
    let mut objects = Vec::new();
    for (name, order) in [("security", 100.0), ("late", 2e6)] {
        if dice.chance(50) {
            let spec = json!({"order": order, "defaultAction": dice.one(&["Deny", "Pass"])});
            objects.push(of_kind("Tier", name, json!({}), spec));
        }
    }
    for name in ["s1", "s2"] {
        let mut nets = dice.some(&NETS_V4[..8], 2);
        nets.extend(dice.some(&NETS_V6[..5], 1));
        let labels = json!({"set": dice.one(&["trusted", "other"])});
        objects.push(of_kind("GlobalNetworkSet", name, labels, json!({"nets": nets})));
    }
    if dice.chance(30) {
        objects.push(settings(dice));
    }
    for number in 0..dice.roll(4) {
        let mut policy = policy(dice, number);
        if policy["kind"] == "GlobalNetworkPolicy" {
            if dice.chance(60) {
                // where the guard's policy is, so that the two meet
                let spec = policy["spec"].as_object_mut().expect("a spec");
                spec.retain(|key, _| !["doNotTrack", "egress"].contains(&key.as_str()));
                spec.extend([("preDNAT".into(), json!(true)), ("applyOnForward".into(), json!(true))]);
                spec.insert("types".into(), json!(["Ingress"]));
            }
            objects.push(policy);
        }
    }
    objects
}

pub(super) fn of_kind(kind: &str, name: &str, labels: Value, spec: Value) -> Value {
    json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec})
}

/// A Service and the pods behind it.
pub(super) fn workload() -> Vec<Value> {
    let pod = |name: &str, node: &str, ips: [&str; 2]| {
        let ips = ips.map(|ip| json!({"ip": ip}));
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name, "namespace": "default", "labels": {"app": "web"}},
            "spec": {"nodeName": node}, "status": {"phase": "Running", "podIPs": ips}})
    };
    let port = json!({"port": 80, "targetPort": 8080, "nodePort": 30080, "protocol": "TCP"});
    let service = json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "web", "namespace": "default"},
        "spec": {"type": "NodePort", "selector": {"app": "web"}, "ports": [port], "ipFamilies": ["IPv4", "IPv6"]}});
    vec![
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}}),
        pod("a", "n1", ["10.65.0.2", "fd00:65::2"]),
        pod("b", "n2", ["10.65.1.2", "fd00:65:1::2"]),
        service,
    ]
}

/// A cluster with these objects and the nodes.
pub(super) fn state(objects: &[Value]) -> State {
    let nodes = NODES.iter().map(|(name, v4, v6)| {
        let labels = json!({"role": if *name == "n1" { "front" } else { "back" }, "kubernetes.io/hostname": name});
        let address = |ip: &str| json!({"type": "InternalIP", "address": ip});
        json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
            "status": {"addresses": [address(v4), address(v6)], "conditions": [{"type": "Ready", "status": "True"}]}})
    });
    let node_controller = json!({"controllers": {"node": {"hostEndpoint": {"autoCreate": "Disabled"}}}});
    let controllers = of_kind("KubeControllersConfiguration", "default", json!({}), node_controller);
    let all: Vec<Value> = nodes.chain([controllers]).chain(objects.iter().cloned()).collect();
    state_of(&all)
}

/// A cluster with these objects and no others.
pub(super) fn state_of(objects: &[Value]) -> State {
    let mut state = State::new(ClusterFacts {
        name: "random".into(),
        serving: Serving::Native,
        felix_fields: None,
        snapshot: None,
    });
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.cloud()) {
        let own = objects.iter().filter(|object| object["kind"] == kind.name());
        state.listed(kind, own.cloned().collect()).expect("objects of the kind");
    }
    state
}

/// A guard in words, and what it is about.
struct Said {
    plan: Plan,
    nodes: Vec<&'static str>,
    ports: Vec<u16>,
    nets: Vec<String>,
    only: bool,
}

fn guard(dice: &mut Dice, objects: &[Value]) -> Said {
    let (group, nodes) = match dice.roll(4) {
        0 => ("{ all: true }", vec!["n1", "n2", "n3"]),
        1 => ("{ names: [n1], labels: { host-end-point: guarded } }", vec!["n1"]),
        2 => ("{ matchLabels: { role: back } }", vec!["n2", "n3"]),
        _ => ("{ names: [n1, n3] }", vec!["n1", "n3"]),
    };
    let mut ports = vec![PORTS[dice.roll(3)]];
    if dice.chance(30) {
        ports.push(if dice.chance(20) { 22 } else { 5000 });
    }
    let only = dice.chance(70);
    let mut nets = dice.some(&NETS_V4[..8], 2);
    if dice.chance(60) {
        nets.extend(dice.some(&NETS_V6[..5], 2));
    }
    let mut sources: Vec<String> = nets.iter().map(|net| format!("\"{net}\"")).collect();
    if only && dice.chance(10) {
        (nets, sources) = (Vec::new(), Vec::new());
    }
    if dice.chance(25) {
        sources.push("{ matchLabels: { set: trusted } }".into());
        let sets = objects.iter().filter(|object| object["kind"] == "GlobalNetworkSet");
        for set in sets.filter(|set| set["metadata"]["labels"]["set"] == "trusted") {
            nets.extend(items(&set["spec"], "nets").map(|net| net.as_str().expect("a network").to_string()));
        }
    }
    let listed: Vec<String> = ports.iter().map(|port| format!("tcp/{port}")).collect();
    let order = ["", ", order: 0.5", ", order: 100"][dice.roll(3)];
    let text = format!(
        "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: {{ name: p }}\nspec:\n  cluster: {{ platform: \
         generic }}\n  hostEndpoints: {{ autoCreate: Enabled }}\n  nodes: {{ guarded: {group} }}\n  tiers: {{ security: {{ \
         order: 100 }} }}\n  policies:\n    security.guard:\n      guard: {{ nodes: guarded, ports: [{}], {}: [{}]{order} \
         }}\n",
        listed.join(", "),
        if only { "allowOnly" } else { "deny" },
        sources.join(", ")
    );
    let document = Document::read("p.yaml", text.as_bytes());
    let plan = document.the_plan(&Given::default(), &Lookups::Known(BTreeMap::new()));
    Said {
        plan: plan.unwrap_or_else(|problems| panic!("{problems:?}\n{text}")),
        nodes,
        ports,
        nets,
        only,
    }
}

/// The Calico objects of a state, for the oracle.
fn case(end: &State, without: Option<&str>) -> Value {
    let kinds = [
        Kind::Tier,
        Kind::HostEndpoint,
        Kind::GlobalNetworkSet,
        Kind::GlobalNetworkPolicy,
        Kind::FelixConfiguration,
    ];
    let objects: Vec<Value> = kinds
        .into_iter()
        .flat_map(|kind| end.list(kind).expect("all was listed"))
        .filter(|(key, _)| Some(key.name.as_str()) != without)
        .map(|(_, object)| object.into_owned())
        .collect();
    let nodes = NODES
        .iter()
        .map(|(name, v4, v6)| json!({"name": name, "labels": {}, "interfaces": {"eth0": [v4, v6]}}));
    let nodes: Vec<Value> = nodes.collect();
    let mut case = json!({"dataplane": "iptables", "nodes": nodes, "pods": [], "services": [], "resources": objects});
    if end.list(Kind::Service).expect("all was listed").next().is_some() {
        let pod = |name: &str, node: &str, ips: [&str; 2]| {
            json!({"name": name, "node": node, "ips": ips, "interface": format!("cali{name}"), "labels": {"app": "web"},
                "profiles": ["kns.default"]})
        };
        case["pods"] = json!([
            pod("a", "n1", ["10.65.0.2", "fd00:65::2"]),
            pod("b", "n2", ["10.65.1.2", "fd00:65:1::2"])
        ]);
        case["services"] = json!([{"name": "web", "proto": "tcp", "nodePort": 30080, "clusterIP": "10.96.0.10",
            "clusterIPv6": "fd00:96::10", "port": 80, "targetPort": 8080, "externalTrafficPolicy": "Cluster",
            "backends": ["a", "b"]}]);
        let allow = json!([{"action": "Allow"}]);
        let labels = json!({"pcns.projectcalico.org/name": "default"});
        let spec = json!({"ingress": allow, "egress": allow, "labelsToApply": labels});
        let profile = of_kind("Profile", "kns.default", json!({}), spec);
        case["resources"].as_array_mut().expect("a list").push(profile);
    }
    case
}

/// Whether it arrives, whichever endpoint kube-proxy picks; `None` where that makes a difference.
fn fares(oracle: &mut Oracle<'_>, source: &str, destination: &str, port: u16) -> Option<bool> {
    let mut to = |backend: &str| {
        let probe = json!({"from": "outside", "src": source, "dst": destination, "proto": "tcp", "port": port,
            "sport": 40000, "backend": backend});
        oracle.probe(&probe).0 != "drop"
    };
    let (a, b) = (to("a"), to("b"));
    (a == b).then_some(a)
}

/// What the guard says of a packet, and what the packet does, with the guard and without it.
fn judged(said: &Said, end: &State, wrong: &mut Vec<String>) -> usize {
    let (with, without) = (case(end, None), case(end, Some("security.guard")));
    let (mut with, mut without) = (Oracle::new(&with), Oracle::new(&without));
    let mut packets = 0;
    for (node, v4, v6) in NODES {
        let clients = CLIENTS_V4.iter().map(|client| (*client, v4));
        for (source, destination) in clients.chain(CLIENTS_V6.iter().map(|client| (*client, v6))) {
            let named = said
                .nets
                .iter()
                .any(|text| net(text).is_some_and(|net| net.contains(ip(source))));
            for port in PORTS {
                packets += 1;
                let open = fares(&mut with, source, destination, port);
                let before = fares(&mut without, source, destination, port);
                let here = said.nodes.contains(&node) && said.ports.contains(&port);
                let should = match (here, said.only, named) {
                    (false, ..) | (true, false, false) => before,
                    (true, true, named) => Some(named),
                    (true, false, true) => Some(false),
                };
                if open != should {
                    wrong.push(format!(
                        "{source} -> {destination}:{port} is {open:?}, should be {should:?}"
                    ));
                }
            }
        }
    }
    packets
}

/// Whether the oracle agrees with a refusal.
fn right_to_refuse(fault: &Fault, end: &State) -> Option<bool> {
    let (found, open): (&Counterexample, bool) = match fault {
        Fault::LetsIn(found) => (found, true),
        Fault::ShutsOut(found) => (found, false),
        Fault::Elsewhere(found, before) => {
            let before = !matches!(before, Some(Verdict::Blocked));
            let case = case(end, Some("security.guard"));
            let packet = &found.packet;
            let mut oracle = Oracle::new(&case);
            let (source, destination) = (packet.source.to_string(), packet.destination.to_string());
            let is = fares(&mut oracle, &source, &destination, packet.port?)?;
            if is != before {
                return Some(false);
            }
            (found, !before)
        }
        Fault::NoEndpoint(_) | Fault::NoAddress => return Some(false),
    };
    if matches!(found.verdict, Verdict::Unknown | Verdict::Partly) || found.packet.protocol.number() != 6 {
        return None;
    }
    let case = case(end, None);
    let packet = &found.packet;
    let (source, destination) = (packet.source.to_string(), packet.destination.to_string());
    let fares = fares(&mut Oracle::new(&case), &source, &destination, packet.port?)?;
    Some(fares == open)
}

#[test]
fn a_guard_does_what_it_says_or_is_refused() {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let (mut kept, mut refused, mut packets, mut wrong) = (0, 0, 0, Vec::new());
    let rounds = std::env::var("HOSTGUARD_ORACLE_GUARDS").ok();
    let rounds: usize = rounds.map_or(120, |n| n.parse().expect("HOSTGUARD_ORACLE_GUARDS is a number"));
    for round in 0..rounds {
        let mut objects = others(&mut dice);
        if dice.chance(40) {
            objects.extend(workload());
        }
        let said = guard(&mut dice, &objects);
        let state = state(&objects);
        let compiled: Compiled = compile(&said.plan, &state).unwrap_or_else(|errors| panic!("{errors:?}"));
        let difference = diff(&compiled, &state, &Options::default());
        let steps: &[Change] = &difference.set.steps;
        let mut end = state.clone();
        steps.iter().for_each(|step| end.write(step));
        let end = end.settled();
        let resolved = Resolved::new(&said.plan, &compiled.groups, &compiled.node_ports, &end);
        let broken = guards(&resolved, &end, &World::of_state(&end));
        let mut found = Vec::new();
        if broken.is_empty() {
            kept += 1;
            packets += judged(&said, &end, &mut found);
        } else {
            refused += 1;
            for broken in &broken {
                if right_to_refuse(&broken.fault, &end) == Some(false) {
                    found.push(format!("refused for {:?}", broken.fault));
                }
            }
        }
        if !found.is_empty() {
            wrong.push(format!("round {round}: {found:#?}\n{}", case(&end, None)["resources"]));
        }
    }
    println!(
        "guards: {kept} kept on {packets} packets, {refused} refused, {} wrong",
        wrong.len()
    );
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(3)].join("\n")
    );
    let both = kept * 4 > rounds && refused * 12 > rounds;
    assert!(
        both,
        "{kept} kept, {refused} refused of {rounds}: the test must see both"
    );
}
