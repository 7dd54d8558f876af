//! Many steps in one look lead to the order that is found one by one.

use serde_json::{Value, json};

use super::*;
use crate::changes::FieldChange;
use crate::resource::{FieldPath, Origin};
use crate::sequence::{Ends, Terms, judge};
use crate::state::{ClusterFacts, Serving, State};

const NODES: usize = 6;

fn policy(name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy",
        "metadata": {"name": name, "uid": name, "resourceVersion": "1"}, "spec": spec,
    })
}

/// On the way in, normal or before DNAT, about one port.
fn some_policy(name: &str, random: &mut fastrand::Rng) -> Value {
    let action = if random.bool() { "Allow" } else { "Deny" };
    let role = random.u8(0..3);
    let mut spec = json!({
        "tier": "default", "order": random.u8(..), "selector": format!("role == 'r{role}'"), "types": ["Ingress"],
        "ingress": [{"action": action, "protocol": "TCP", "destination": {"ports": [random.u16(8_000..8_020)]}}],
    });
    if random.u8(0..3) == 0 {
        spec["preDNAT"] = true.into();
        spec["applyOnForward"] = true.into();
    }
    policy(name, spec)
}

fn cluster(policies: Vec<Value>) -> State {
    let mut state = State::new(ClusterFacts {
        name: "c".into(),
        serving: Serving::Native,
        felix_fields: None,
        snapshot: None,
    });
    let labels = |at: usize| json!({"role": format!("r{}", at % 2)});
    let node = |at: usize| {
        let address = format!("10.0.0.{}", at + 1);
        json!({
            "kind": "Node", "metadata": {"name": format!("n{at}"), "uid": "u", "labels": labels(at)}, "spec": {},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        })
    };
    let endpoint = |at: usize| {
        let address = format!("10.0.0.{}", at + 1);
        json!({
            "kind": "HostEndpoint", "metadata": {"name": format!("n{at}-all"), "labels": labels(at)},
            "spec": {
                "node": format!("n{at}"), "interfaceName": "*", "expectedIPs": [address],
                "profiles": ["projectcalico-default-allow"],
            },
        })
    };
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.cloud()) {
        let objects = match kind {
            Kind::Node => (0..NODES).map(node).collect(),
            Kind::HostEndpoint => (0..NODES).map(endpoint).collect(),
            Kind::GlobalNetworkPolicy => policies.clone(),
            _ => Vec::new(),
        };
        state.listed(kind, objects).expect("made objects have names");
    }
    state
}

fn bare(key: Key, op: Op) -> Change {
    Change::bare(key, op, "test")
}

/// Policies come, go and change, and host endpoints get another role.
fn some_steps(state: &State, there: &[Value], random: &mut fastrand::Rng) -> Vec<Change> {
    let mut steps = Vec::new();
    for at in 0..random.usize(4..14) {
        let name = format!("new{at:02}");
        let object = some_policy(&name, random);
        steps.push(bare(
            Key::cluster(Kind::GlobalNetworkPolicy, name),
            Op::Create { object },
        ));
    }
    for old in there {
        let name = old["metadata"]["name"].as_str().expect("a name");
        let key = Key::cluster(Kind::GlobalNetworkPolicy, name);
        let before = state.look(&key).expect("read").expect("it is there").shared();
        match random.u8(0..4) {
            0 | 1 => steps.push(bare(key, Op::Delete { before })),
            2 => {
                let path = FieldPath::dotted("spec.ingress");
                let change = FieldChange {
                    before: path.get(&before).cloned(),
                    after: Some(some_policy(name, random)["spec"]["ingress"].clone()),
                    path,
                    taken_from: None,
                };
                let origin = Origin {
                    section: "test".into(),
                    span: None,
                };
                steps.push(Change::update(key, before, vec![change], origin));
            }
            _ => {}
        }
    }
    if random.bool() {
        let key = Key::cluster(Kind::HostEndpoint, "n0-all");
        let before = state.look(&key).expect("read").expect("it is there").shared();
        let patch = json!({"metadata": {"labels": {"role": "r2"}}});
        steps.push(bare(key, Op::Update { before, patch }));
    }
    steps
}

/// The order, and how many looks it took; with leaps or without.
fn found(state: &State, steps: &[Change], leaps: bool) -> (Option<Vec<String>>, usize) {
    let end = state.after_all(steps).settled();
    let ends = Ends::new(state, &end);
    let start = Prefix::start(&ends);
    let (terms, around) = (Terms::default(), Around::new([state, start.settled_state(), &end]));
    let judge = judge(&ends, &terms, &start);
    let mut search = Search::new(&judge, steps, &[]);
    if leaps {
        search = search.in_leaps(&around);
    }
    let words = |step: &Step| format!("{} {} {:?}", step.change.key, step.wait, step.interrupts);
    let found = search.run(&start).ok();
    (found.map(|steps| steps.iter().map(words).collect()), search.looked)
}

/// Finds the order of random sets one by one and otherwise, which takes fewer looks; how many have one.
fn same_orders(sets: u64, make: impl Fn(&mut fastrand::Rng) -> (State, Vec<Change>)) -> usize {
    let (mut orders, mut looks) = (0, [0, 0]);
    for seed in 0..sets {
        let (state, steps) = make(&mut fastrand::Rng::with_seed(seed));
        let (plain, leaping) = (found(&state, &steps, false), found(&state, &steps, true));
        assert_eq!(plain.0, leaping.0, "seed {seed}");
        if plain.0.is_some() {
            orders += 1;
            looks = [looks[0] + plain.1, looks[1] + leaping.1];
        }
    }
    eprintln!("{orders} orders of {sets}, {looks:?} looks one by one and otherwise");
    assert!(looks[1] < looks[0], "{looks:?} looks");
    orders
}

#[test]
fn leaps_lead_to_the_order_that_is_found_one_by_one() {
    let orders = same_orders(150, |random| {
        let there: Vec<Value> = (0..6).map(|at| some_policy(&format!("old{at}"), random)).collect();
        let state = cluster(there.clone());
        let steps = some_steps(&state, &there, random);
        (state, steps)
    });
    assert!(orders > 50, "{orders} orders");
}

#[test]
fn hundreds_of_policies_are_a_few_looks() {
    let state = cluster(Vec::new());
    let step = |at: u16| {
        let name = format!("p{at:03}");
        let rule = json!({"action": "Deny", "protocol": "TCP", "destination": {"ports": [20_000 + at]}});
        let spec = json!({"tier": "default", "order": at, "selector": "role == 'r1'", "types": ["Ingress"], "ingress": [
            rule,
        ]});
        let object = policy(&name, spec);
        bare(Key::cluster(Kind::GlobalNetworkPolicy, name), Op::Create { object })
    };
    // All but these ports are open before and after.
    let allow = json!({"tier": "default", "order": 1_000, "selector": "role == 'r1'", "types": ["Ingress"],
        "ingress": [{"action": "Allow"}]});
    let object = policy("last", allow);
    let mut steps = vec![bare(
        Key::cluster(Kind::GlobalNetworkPolicy, "last"),
        Op::Create { object },
    )];
    steps.extend((0..300).map(step));
    let (order, looks) = found(&state, &steps, true);
    assert_eq!(order.expect("it is safe").len(), steps.len());
    assert!(looks < 30, "{looks} looks");
}

/// Nodes with automatic host endpoints, in two or three sorts, and pods on some.
fn automatic(policies: &[Value], nodes: usize) -> State {
    let mut state = cluster(policies.to_vec());
    let node = |at: usize| {
        let address = format!("10.0.0.{}", at + 1);
        json!({
            "kind": "Node", "spec": {},
            "metadata": {
                "name": format!("n{at}"), "uid": format!("u{at}"), "labels": {"role": format!("r{}", at % 2)},
            },
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        })
    };
    let controllers = json!({"controllers": {"node": {"hostEndpoint": {"autoCreate": "Enabled"}}}});
    let configuration = json!({
        "metadata": {"name": "default", "uid": "k"}, "spec": controllers, "status": {"runningConfig": controllers},
    });
    let mut list = |kind, objects| state.listed(kind, objects).expect("made objects have names");
    list(Kind::Node, (0..nodes).map(node).collect());
    list(Kind::HostEndpoint, Vec::new());
    list(Kind::KubeControllersConfiguration, vec![configuration]);
    state.settled()
}

/// On the nodes that have the label, or about packets from them.
fn guarding(name: &str, random: &mut fastrand::Rng) -> Value {
    let action = if random.bool() { "Allow" } else { "Deny" };
    let source = match random.u8(0..3) {
        0 => json!({"selector": "guarded == 'yes'"}),
        1 => json!({"notNets": ["203.0.113.0/24"]}),
        _ => json!({}),
    };
    let selector = ["guarded == 'yes'", "guarded == 'yes' && role == 'r1'", "!has(guarded)"];
    let port = random.u16(8_000..8_004);
    let mut spec = json!({
        "tier": "default", "order": random.u8(..), "selector": selector[random.usize(0..3)], "types": ["Ingress"],
        "ingress": [
            {"action": action, "protocol": "TCP", "source": source, "destination": {"ports": [port]}},
            {"action": "Allow", "protocol": "TCP"},
        ],
    });
    if random.u8(0..3) == 0 {
        spec["preDNAT"] = true.into();
        spec["applyOnForward"] = true.into();
    }
    policy(name, spec)
}

fn label(state: &State, at: usize) -> Change {
    let key = Key::cluster(Kind::Node, format!("n{at}"));
    let before = state.look(&key).expect("read").expect("it is there").shared();
    let field = FieldChange {
        path: FieldPath::label("guarded"),
        before: None,
        after: Some("yes".into()),
        taken_from: None,
    };
    let origin = Origin {
        section: "nodes.all".into(),
        span: None,
    };
    Change::update(key, before, vec![field], origin)
}

#[test]
fn nodes_that_are_alike_are_labelled_in_the_order_that_is_found_one_by_one() {
    let orders = same_orders(60, |random| {
        let there: Vec<Value> = (0..random.usize(1..4))
            .map(|at| guarding(&format!("old{at}"), random))
            .collect();
        let nodes = random.usize(8..18);
        let state = automatic(&there, nodes);
        let mut steps: Vec<Change> = (0..nodes)
            .filter(|at| at % 7 != 6)
            .map(|at| label(&state, at))
            .collect();
        if random.bool() {
            let object = guarding("new", random);
            steps.push(bare(
                Key::cluster(Kind::GlobalNetworkPolicy, "new"),
                Op::Create { object },
            ));
        }
        (state, steps)
    });
    assert!(orders > 20, "{orders} orders");
}

#[test]
fn a_label_on_two_hundred_nodes_is_a_few_looks() {
    let deny = json!({"action": "Deny", "protocol": "TCP", "destination": {"ports": [8_000]}});
    let spec = json!({
        "tier": "default", "order": 1, "selector": "guarded == 'yes'", "types": ["Ingress"], "preDNAT": true,
        "applyOnForward": true, "ingress": [deny],
    });
    let state = automatic(&[policy("guard", spec)], 200);
    let steps: Vec<Change> = (0..200).map(|at| label(&state, at)).collect();
    let (order, looks) = found(&state, &steps, true);
    assert_eq!(order.expect("it is safe").len(), steps.len());
    assert!(looks < 40, "{looks} looks");
}
