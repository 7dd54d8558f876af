//! Law 6: no state on the way of a sequence lets a packet through that gets through neither before nor after, and none
//! cuts off what must stay, judged by the oracle. `HOSTGUARD_ORACLE_ORDERS` asks for more than the usual number.

use hostguard::changes::{Change, ChangeSet, Need, Op};
use hostguard::resource::{Key, Kind};
use hostguard::sequence::{Sequence, Step, Terms};
use hostguard::state::State;

use super::guards::{CLIENTS_V4, CLIENTS_V6, NODES, of_kind, others, state, state_of, workload};
use super::laws::{Dice, policy, settings};
use super::*;

#[path = "small.rs"]
mod small;

/// Packets for each pair.
const QUESTIONS: usize = 80;
const PORTS: [u16; 11] = [22, 80, 443, 8080, 9100, 10250, 30080, 30081, 179, 5473, 5000];
const PODS: [(&str, &str, &str); 2] = [("a", "10.65.0.2", "fd00:65::2"), ("b", "10.65.1.2", "fd00:65:1::2")];

// -- random pairs

fn node(dice: &mut Dice, at: usize) -> Value {
    let (name, v4, v6) = NODES[at];
    let address = |ip: &str| json!({"type": "InternalIP", "address": ip});
    let mut labels = json!({"role": if at == 0 { "front" } else { "back" }, "kubernetes.io/hostname": name});
    if dice.chance(40) {
        labels["host-end-point"] = json!("test");
    }
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels},
        "status": {"addresses": [address(v4), address(v6)], "conditions": [{"type": "Ready", "status": "True"}]}})
}

fn controllers(dice: &mut Dice) -> Value {
    let auto = json!({"autoCreate": dice.one(&["Enabled", "Enabled", "Disabled"])});
    let spec = json!({"controllers": {"node": {"hostEndpoint": auto}}});
    of_kind("KubeControllersConfiguration", "default", json!({}), spec)
}

fn own_endpoint(dice: &mut Dice, at: usize) -> Value {
    let (node, v4, v6) = NODES[at];
    let labels = json!({"role": dice.one(&["front", "back"]), "host-end-point": dice.one(&["test", "other"])});
    let profiles = if dice.chance(70) {
        json!(["projectcalico-default-allow"])
    } else {
        json!([])
    };
    let spec =
        json!({"node": node, "interfaceName": dice.one(&["*", "eth0"]), "expectedIPs": [v4, v6], "profiles": profiles});
    of_kind("HostEndpoint", &format!("own-{node}"), labels, spec)
}

/// Many of the policies deny, so that what they meet depends on what was there before.
fn global_policy(dice: &mut Dice, number: usize) -> Value {
    loop {
        let mut policy = policy(dice, number);
        if policy["kind"] == "GlobalNetworkPolicy" {
            policy["metadata"]["name"] = json!(format!("p{number}"));
            return policy;
        }
    }
}

fn before(dice: &mut Dice) -> Vec<Value> {
    let mut objects = others(dice);
    objects.retain(|object| object["kind"] != "GlobalNetworkPolicy");
    for number in 0..dice.roll(4) {
        objects.push(global_policy(dice, number));
    }
    objects.extend((0..NODES.len()).map(|at| node(dice, at)));
    objects.push(controllers(dice));
    if dice.chance(20) {
        let at = dice.roll(NODES.len());
        objects.push(own_endpoint(dice, at));
    }
    let service = dice.chance(60);
    objects.extend(
        workload()
            .into_iter()
            .filter(|object| service || object["kind"] != "Service"),
    );
    objects
}

/// The same object, made anew.
fn other(dice: &mut Dice, object: &Value) -> Value {
    let name = str_of(&object["metadata"], "name");
    match str_of(object, "kind") {
        "GlobalNetworkPolicy" => {
            let number = name[1..].parse().expect("p and a number");
            let mut new = global_policy(dice, number);
            if dice.chance(40) {
                new["spec"] = object["spec"].clone();
                new["spec"]["order"] = json!([1.0, 100.0, 200.5][dice.roll(3)]);
            }
            new
        }
        "Tier" => {
            let spec = json!({"order": object["spec"]["order"], "defaultAction": dice.one(&["Deny", "Pass"])});
            of_kind("Tier", name, json!({}), spec)
        }
        "GlobalNetworkSet" => {
            let labels = json!({"set": dice.one(&["trusted", "other"])});
            of_kind("GlobalNetworkSet", name, labels, object["spec"].clone())
        }
        "Node" => {
            let at = NODES.iter().position(|node| node.0 == name).expect("one of them");
            node(dice, at)
        }
        "KubeControllersConfiguration" => controllers(dice),
        "FelixConfiguration" => settings(dice),
        _ => object.clone(),
    }
}

fn after(dice: &mut Dice, before: &[Value]) -> Vec<Value> {
    let mut objects = Vec::new();
    for object in before {
        let stays = ["Node", "KubeControllersConfiguration", "Pod", "Namespace"].contains(&str_of(object, "kind"));
        match dice.roll(100) {
            0..=24 if !stays => {}
            25..=54 => objects.push(other(dice, object)),
            _ => objects.push(object.clone()),
        }
    }
    let has = |objects: &[Value], kind: &str, name: &str| {
        objects
            .iter()
            .any(|object| object["kind"] == kind && object["metadata"]["name"] == name)
    };
    for number in 0..dice.roll(4) {
        let policy = global_policy(dice, number + 2);
        if !has(&objects, "GlobalNetworkPolicy", str_of(&policy["metadata"], "name")) {
            objects.push(policy);
        }
    }
    for tier in ["security", "late"] {
        if dice.chance(30) && !has(&objects, "Tier", tier) {
            objects.push(of_kind(
                "Tier",
                tier,
                json!({}),
                json!({"order": 100.0, "defaultAction": "Deny"}),
            ));
        }
    }
    if dice.chance(30) && !has(&objects, "Service", "web") {
        objects.extend(workload().into_iter().filter(|object| object["kind"] == "Service"));
    }
    objects
}

fn key(object: &Value) -> Key {
    let kind = Kind::ALL
        .into_iter()
        .find(|kind| object["kind"] == kind.name())
        .expect("a kind");
    let name = str_of(&object["metadata"], "name");
    match kind {
        Kind::Service | Kind::Pod => Key::namespaced(kind, str_of(&object["metadata"], "namespace"), name),
        _ => Key::cluster(kind, name),
    }
}

/// RFC 7386 the other way round.
fn patch(before: &Value, after: &Value) -> Value {
    let (Some(old), Some(new)) = (before.as_object(), after.as_object()) else {
        return after.clone();
    };
    let mut patch = json!({});
    for (key, value) in new {
        match old.get(key) {
            Some(there) if there == value => {}
            Some(there) => patch[key] = self::patch(there, value),
            None => patch[key] = value.clone(),
        }
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        patch[key] = Value::Null;
    }
    patch
}

/// Steps from one list of objects to another, by key, with the needs of tiers.
fn steps(before: &[Value], after: &[Value], live: &State) -> Vec<Change> {
    let old: BTreeMap<Key, &Value> = before.iter().map(|object| (key(object), object)).collect();
    let new: BTreeMap<Key, &Value> = after.iter().map(|object| (key(object), object)).collect();
    let mut steps = Vec::new();
    for at in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        let op = match (old.get(at), new.get(at)) {
            (Some(old), Some(new)) if old != new => Op::Update {
                before: live.present(at).expect("it is there").into_owned().into(),
                patch: patch(old, new),
            },
            (Some(_), None) => Op::Delete {
                before: live.present(at).expect("it is there").into_owned().into(),
            },
            (None, Some(new)) => Op::Create { object: (*new).clone() },
            _ => continue,
        };
        steps.push(Change::bare(at.clone(), op, "random"));
    }
    let tier = |object: &Value| {
        object["spec"]["tier"]
            .as_str()
            .map(|name| Key::cluster(Kind::Tier, name))
    };
    let all: BTreeMap<Key, Op> = steps.iter().map(|step| (step.key.clone(), step.op.clone())).collect();
    for step in &mut steps {
        let mut need = |key: Key, reason: &str| {
            let reason = reason.to_string();
            step.needs.push(Need { key, reason });
        };
        match &step.op {
            Op::Create { .. } | Op::Update { .. } => {
                let in_tier = new.get(&step.key).and_then(|object| tier(object));
                if let Some(tier) = in_tier.filter(|tier| matches!(all.get(tier), Some(Op::Create { .. }))) {
                    need(tier, "it is in this tier");
                }
            }
            Op::Delete { .. } if step.key.kind == Kind::Tier => {
                let users = old
                    .iter()
                    .filter(|(_, object)| tier(object).as_ref() == Some(&step.key));
                for (user, _) in users.filter(|(user, _)| matches!(all.get(*user), Some(Op::Delete { .. }))) {
                    need(user.clone(), "it is in this tier");
                }
            }
            Op::Delete { .. } => {}
        }
    }
    steps
}

// -- the oracle on states

fn case(state: &State) -> Value {
    let kinds = [
        Kind::Tier,
        Kind::HostEndpoint,
        Kind::GlobalNetworkSet,
        Kind::GlobalNetworkPolicy,
        Kind::FelixConfiguration,
    ];
    let listed = kinds
        .into_iter()
        .flat_map(|kind| state.list(kind).expect("all was listed"));
    let mut objects: Vec<Value> = listed.map(|(_, object)| object.into_owned()).collect();
    let allow = json!([{"action": "Allow"}]);
    let labels = json!({"pcns.projectcalico.org/name": "default"});
    let spec = json!({"ingress": allow, "egress": allow, "labelsToApply": labels});
    objects.push(of_kind("Profile", "kns.default", json!({}), spec));
    let there: BTreeSet<String> = state
        .list(Kind::Node)
        .expect("all was listed")
        .map(|(key, _)| key.name.clone())
        .collect();
    let here = NODES.iter().filter(|(name, ..)| there.contains(*name));
    let nodes = here.map(|(name, v4, v6)| json!({"name": name, "labels": {}, "interfaces": {"eth0": [v4, v6]}}));
    let pods = PODS.iter().zip(homes(state)).map(|((name, v4, v6), node)| {
        json!({"name": name, "node": node, "ips": [v4, v6], "interface": format!("cali{name}"), "labels": {"app": "web"},
            "profiles": ["kns.default"]})
    });
    let service = json!({"name": "web", "proto": "tcp", "nodePort": 30080, "clusterIP": "10.96.0.10",
        "clusterIPv6": "fd00:96::10", "port": 80, "targetPort": 8080, "externalTrafficPolicy": "Cluster",
        "backends": ["a", "b"]});
    let services = if serves(state) { vec![service] } else { Vec::new() };
    json!({"dataplane": "iptables", "nodes": nodes.collect::<Vec<_>>(), "pods": pods.collect::<Vec<_>>(),
        "services": services, "resources": objects})
}

/// The nodes of the two pods.
fn homes(state: &State) -> [String; 2] {
    let pods = state.pods().expect("all was listed");
    ["a", "b"].map(|name| {
        let pod = pods.get(&Key::namespaced(Kind::Pod, "default", name));
        pod.expect("it is there").node.to_string()
    })
}

fn serves(state: &State) -> bool {
    state.list(Kind::Service).expect("all was listed").next().is_some()
}

/// How much of it gets through: of the two endpoints that kube-proxy may pick, those with which it arrives.
fn level(oracle: &mut Oracle<'_>, probe: &Value) -> usize {
    let choice = probe["port"] == 30080 && items(oracle.case, "services").next().is_some();
    if !choice {
        return if oracle.probe(probe).0 == "drop" { 0 } else { 2 };
    }
    let with = |backend: &&&str| {
        let mut probe = probe.clone();
        probe["backend"] = json!(**backend);
        oracle.probe(&probe).0 != "drop"
    };
    ["a", "b"].iter().filter(with).count()
}

struct Question {
    probe: Value,
    /// Whether it must stay.
    needed: bool,
    node_port: bool,
}

/// A question about a world of that many nodes.
fn question(dice: &mut Dice, nodes: usize, six: bool) -> Question {
    let pick = |(name, v4, v6): (&'static str, &'static str, &'static str)| (name, if six { v6 } else { v4 });
    let (to, dst) = pick(NODES[dice.roll(nodes)]);
    let (from, src) = match dice.roll(10) {
        0..=5 if six => ("outside", CLIENTS_V6[dice.roll(CLIENTS_V6.len())]),
        0..=5 => ("outside", CLIENTS_V4[dice.roll(CLIENTS_V4.len())]),
        6..=7 => pick(NODES[dice.roll(nodes)]),
        _ => pick(PODS[dice.roll(PODS.len())]),
    };
    let node = NODES.iter().any(|node| node.0 == from);
    if node && dice.chance(30) {
        let (proto, port) = [("udp", 53), ("udp", 123), ("tcp", 443), ("tcp", 6443)][dice.roll(4)];
        let dst = if six { "fd00:7::7" } else { "198.51.100.7" };
        let probe = json!({"from": from, "src": src, "dst": dst, "proto": proto, "port": port, "sport": 40000});
        return Question {
            probe,
            needed: true,
            node_port: false,
        };
    }
    let proto = dice.one(&["tcp", "tcp", "tcp", "tcp", "udp"]);
    let port = PORTS[dice.roll(PORTS.len())];
    let needed = proto == "tcp"
        && match port {
            22 => from == "outside",
            10250 => from == "outside" || node,
            179 | 5473 => node && from != to,
            _ => false,
        };
    let probe = json!({"from": from, "src": src, "dst": dst, "proto": proto, "port": port, "sport": 40000});
    Question {
        probe,
        needed,
        node_port: proto == "tcp" && port == 30080,
    }
}

fn questions(dice: &mut Dice) -> Vec<Question> {
    let question = |_| {
        let six = dice.chance(40);
        question(dice, NODES.len(), six)
    };
    (0..QUESTIONS).map(question).collect()
}

/// The ends of a change set (live, live once controllers have caught up, and everything done) and how each question
/// fares there.
struct Ends<'q> {
    questions: &'q [Question],
    levels: Vec<Vec<usize>>,
    serve: Vec<bool>,
}

impl<'q> Ends<'q> {
    fn new(ends: &[&State], questions: &'q [Question]) -> Ends<'q> {
        let levels = |state: &&State| {
            let case = case(state);
            let mut oracle = Oracle::new(&case);
            questions
                .iter()
                .map(|question| level(&mut oracle, &question.probe))
                .collect()
        };
        Ends {
            questions,
            levels: ends.iter().map(levels).collect(),
            serve: ends.iter().map(|state| serves(state)).collect(),
        }
    }

    /// Packets for which a state is worse than the ends.
    fn worse(&self, state: &State) -> Vec<String> {
        let here = case(state);
        let mut here = Oracle::new(&here);
        let mut worse = Vec::new();
        for (at, question) in self.questions.iter().enumerate() {
            let now = level(&mut here, &question.probe);
            let mut ends = self.levels.iter().map(|levels| levels[at]).zip(&self.serve);
            let exposed = now > 0
                && ends.clone().all(|(end, serves)| {
                    let new = question.node_port && self::serves(state) && !serves;
                    new || end < now
                });
            // what controllers are about to cut off already is nothing that a step does
            let cut = question.needed && now < 2 && ends.by_ref().take(2).all(|(end, _)| end > now);
            if exposed || cut {
                worse.push(format!(
                    "{} {}",
                    if exposed { "exposed" } else { "cut off" },
                    question.probe
                ));
            }
        }
        worse
    }
}

/// States that can be there after some of the steps, by how long controllers take.
#[derive(Default)]
struct Passed {
    states: Vec<(String, State)>,
}

/// As written since the last wait and as settled, after every step.
fn on_the_way(live: &State, steps: &[Step]) -> Passed {
    let (mut written, mut passed) = (live.clone(), Passed::default());
    for step in steps {
        if step.wait {
            written = written.settled();
        }
        written.write(&step.change);
        let settled = written.settled();
        passed
            .states
            .push((format!("{} written", step.change.key), written.clone()));
        if settled != written {
            passed.states.push((format!("{} settled", step.change.key), settled));
        }
    }
    passed
}

/// Controllers that have acted for some nodes, or after some of the steps.
fn half_way(live: &State, steps: &[Step], dice: &mut Dice) -> Passed {
    let (mut written, mut acted, mut passed) = (live.clone(), live.clone(), Passed::default());
    for step in steps {
        if step.wait {
            (written, acted) = (written.settled(), written.settled());
        }
        if dice.chance(50) {
            acted = acted.settled();
        }
        written.write(&step.change);
        acted.write(&step.change);
        let settled = written.settled();
        if settled == written {
            continue;
        }
        passed
            .states
            .push((format!("{} acted before", step.change.key), acted.clone()));
        let some = NODES[dice.roll(NODES.len())].0;
        let of = |state: &State, at: bool| -> Vec<Value> {
            let all = state.list(Kind::HostEndpoint).expect("all was listed");
            let mine = all.filter(|(_, object)| (object["spec"]["node"] == some) == at);
            mine.map(|(_, object)| object.into_owned()).collect()
        };
        let mut mixed = written.clone();
        let endpoints = [of(&settled, true), of(&written, false)].concat();
        mixed
            .listed(Kind::HostEndpoint, endpoints)
            .expect("objects of the kind");
        passed
            .states
            .push((format!("{} acted for {some}", step.change.key), mixed));
    }
    passed
}

fn worse_at(ends: &Ends<'_>, passed: &Passed) -> Vec<String> {
    let at = passed.states.iter().flat_map(|(name, state)| {
        let worse = ends.worse(state);
        worse.into_iter().map(move |packet| format!("{name}: {packet}"))
    });
    at.collect()
}

struct Pair {
    live: State,
    set: ChangeSet,
}

fn pair(dice: &mut Dice) -> Pair {
    let old = before(dice);
    let new = after(dice, &old);
    let live = state(&old);
    let live = if dice.chance(80) { live.settled() } else { live };
    let steps = steps(&old, &new, &live);
    let set = ChangeSet {
        steps,
        ..ChangeSet::default()
    };
    Pair { live, set }
}

impl Pair {
    fn ends<'q>(&self, questions: &'q [Question]) -> Ends<'q> {
        let mut end = self.live.clone();
        self.set.steps.iter().for_each(|step| end.write(step));
        Ends::new(&[&self.live, &self.live.settled(), &end.settled()], questions)
    }
}

fn plain(changes: impl IntoIterator<Item = Change>) -> Vec<Step> {
    let step = |change| Step {
        change,
        wait: false,
        together: false,
        accepted: Vec::new(),
        interrupts: Vec::new(),
    };
    changes.into_iter().map(step).collect()
}

/// All steps are there, and each after those that it needs.
fn needs_come_first(order: &[Step], set: &ChangeSet) {
    assert_eq!(order.len(), set.steps.len());
    for (at, step) in order.iter().enumerate() {
        let early = |need: &Need| order[..at].iter().any(|other| other.change.key == need.key);
        let all = step.change.needs.iter().all(early);
        assert!(all, "{} comes too early in {}", step.change.key, shown(order));
    }
}

fn shown(order: &[Step]) -> String {
    let steps = order.iter().map(|step| {
        let wait = if step.wait { "(wait) " } else { "" };
        format!("{wait}{}", step.change.key)
    });
    steps.collect::<Vec<_>>().join(", ")
}

fn rounds() -> usize {
    let asked = std::env::var("HOSTGUARD_ORACLE_ORDERS").ok();
    asked.map_or(24, |n| n.parse().expect("HOSTGUARD_ORACLE_ORDERS is a number"))
}

/// Laws 5 and 6.
#[test]
fn no_step_of_a_sequence_is_worse_than_the_ends() {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut found, mut stuck, mut states, mut steps) = (0, 0, 0, 0);
    let (mut wrong, mut turned_wrong) = (Vec::new(), 0);
    for round in 0..rounds() {
        let pair = pair(&mut dice);
        let questions: Vec<Question> = questions(&mut dice);
        let ends = pair.ends(&questions);
        let turned = plain(pair.set.steps.iter().rev().cloned());
        let worse = worse_at(&ends, &on_the_way(&pair.live, &turned));
        turned_wrong += usize::from(!worse.is_empty());
        let Ok(sequence) = Sequence::find(&pair.live, &pair.set, &Terms::default()).expect("all is readable") else {
            stuck += 1;
            continue;
        };
        found += 1;
        let order = sequence.steps();
        needs_come_first(order, &pair.set);
        let passed = on_the_way(&pair.live, order);
        states += passed.states.len();
        steps += order.len();
        let worse = worse_at(&ends, &passed);
        if !worse.is_empty() {
            wrong.push(format!("round {round}: {}\n{}", shown(order), worse.join("\n")));
        }
        let half = worse_at(&ends, &half_way(&pair.live, order, &mut dice));
        if !half.is_empty() {
            wrong.push(format!("round {round}, half way:\n{}", half.join("\n")));
        }
    }
    println!(
        "orders: {found} found of {steps} steps and {states} states, {stuck} stuck, {} wrong; of those by key, turned round, \
         {turned_wrong} of {} are",
        wrong.len(),
        rounds()
    );
    assert!(wrong.is_empty(), "{}", wrong[..wrong.len().min(3)].join("\n"));
    let enough = found * 3 > rounds() && steps > found * 2 && states > steps;
    assert!(enough, "too little was looked at to say anything");
    assert!(turned_wrong > 0, "no order is worse: the test sees nothing");
}

/// States that can be there while steps that are made together are in flight: some of them are written.
fn in_flight(live: &State, steps: &[Step], dice: &mut Dice) -> (usize, Passed) {
    let (mut written, mut passed, mut batches) = (live.clone(), Passed::default(), 0);
    let mut at = 0;
    while at < steps.len() {
        if steps[at].wait {
            written = written.settled();
        }
        let more = steps[at + 1..].iter().take_while(|step| step.together).count();
        let batch = &steps[at..=at + more];
        for _ in 0..if more > 0 { 4 } else { 0 } {
            let mut some = written.clone();
            let mut names = Vec::new();
            for step in batch.iter().filter(|_| dice.chance(50)) {
                some.write(&step.change);
                names.push(step.change.key.to_string());
            }
            let settled = some.settled();
            if settled != some {
                passed.states.push((format!("{names:?} settled"), settled));
            }
            passed.states.push((format!("{names:?} written"), some));
        }
        batches += usize::from(more > 0);
        batch.iter().for_each(|step| written.write(&step.change));
        at += more + 1;
    }
    (batches, passed)
}

/// A policy before DNAT on few ports, as a guard has it.
fn on_ports(dice: &mut Dice, number: usize) -> Value {
    let rule = |dice: &mut Dice, action: &str| {
        let port = [80, 443, 8080, 9100, 30080, 5000][dice.roll(6)];
        let mut rule = json!({"action": action, "protocol": "TCP", "destination": {"ports": [port]}});
        if dice.chance(50) {
            rule["source"] = json!({"nets": [dice.one(&["192.0.2.0/24", "198.51.100.0/24"])]});
        }
        rule
    };
    let rules = [rule(dice, "Allow"), rule(dice, "Deny")];
    let selector = dice.one(&["host-end-point == 'test'", "role == 'front'", "all()"]);
    let spec = json!({"tier": "default", "order": f64::from(u32::try_from(number).expect("small")), "selector": selector,
        "types": ["Ingress"], "preDNAT": true, "applyOnForward": true, "ingress": rules});
    of_kind("GlobalNetworkPolicy", &format!("p{number}"), json!({}), spec)
}

/// Steps that are made together are within what was proven, whichever of them are written.
#[test]
fn what_is_made_together_is_no_worse_in_any_part() {
    let mut dice = Dice(0xD1B5_4A32_D192_ED03);
    let (mut batches, mut states, mut wrong) = (0, 0, Vec::new());
    for round in 0..rounds() * 2 {
        let mut old = before(&mut dice);
        old.retain(|object| object["kind"] != "GlobalNetworkPolicy" && object["kind"] != "HostEndpoint");
        let mut new = old.clone();
        for number in 0..5 {
            let (there, wanted) = (dice.chance(50), dice.chance(70));
            old.extend(there.then(|| on_ports(&mut dice, number)));
            new.extend(wanted.then(|| on_ports(&mut dice, number)));
        }
        let live = state(&old).settled();
        let steps = steps(&old, &new, &live);
        let set = ChangeSet {
            steps,
            ..ChangeSet::default()
        };
        let Ok(sequence) = Sequence::find(&live, &set, &Terms::default()).expect("all is readable") else {
            continue;
        };
        let pair = Pair { live, set };
        let questions: Vec<Question> = questions(&mut dice);
        let (found, passed) = in_flight(&pair.live, sequence.steps(), &mut dice);
        batches += found;
        states += passed.states.len();
        let worse = worse_at(&pair.ends(&questions), &passed);
        if !worse.is_empty() {
            wrong.push(format!("round {round}: {}", worse.join("\n")));
        }
    }
    println!("in flight: {batches} batches in {states} states, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{}", wrong[..wrong.len().min(3)].join("\n"));
    assert!(
        batches * 4 > rounds(),
        "too few steps were made together to say anything"
    );
}
