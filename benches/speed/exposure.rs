//! How long it takes to say who can reach what, and what changes, at 100, 1,000 and 10,000 nodes.
//!
//! The best of three runs each, on one core. The second size has ten times the nodes and the rules of the first, the
//! third ten times the nodes of the second.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hostguard::exposure::{
    Backend, Dataplane, Facts, NodeFacts, PodFacts, ServiceFacts, World, difference, difference_inside, exposure, walk,
};
use serde_json::{Value, json};

use crate::measure::{Row, seconds};

fn best<T>(mut run: impl FnMut() -> T) -> Duration {
    (0..3)
        .map(|_| {
            let start = Instant::now();
            black_box(run());
            start.elapsed()
        })
        .min()
        .expect("three runs")
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % sides
    }
}

const ROLES: u64 = 10;
const APPS: u16 = 50;
/// Of each policy.
const RULES: usize = 10;

fn policy(dice: &mut Dice, number: usize, rules: usize) -> Value {
    let rule = |_| {
        let net = format!("{}.{}.{}.0/24", 11 + dice.roll(180), dice.roll(256), dice.roll(256));
        let port = match dice.roll(2) {
            0 => 30_000 + dice.roll(APPS.into()),
            _ => 8_000 + dice.roll(200),
        };
        let (key, action) = match dice.roll(4) {
            0 => ("notNets", "Deny"),
            1 => ("nets", "Deny"),
            _ => ("nets", "Allow"),
        };
        json!({"action": action, "protocol": "TCP", "source": {key: [net]}, "destination": {"ports": [port]}})
    };
    let rules: Vec<Value> = (0..rules).map(rule).collect();
    let selector = format!("role == 'r{}'", dice.roll(ROLES));
    let mut spec = json!({"order": number, "selector": selector, "types": ["Ingress"], "ingress": rules});
    if dice.roll(2) == 0 {
        spec["preDNAT"] = true.into();
        spec["applyOnForward"] = true.into();
    }
    let metadata = json!({"name": format!("default.p{number}")});
    json!({"apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkPolicy", "metadata": metadata, "spec": spec})
}

fn facts(nodes: usize, policies: usize) -> Facts {
    let mut dice = Dice(88_172_645_463_325_252);
    let mut facts = Facts {
        environment: Some(BTreeMap::new()),
        dataplane: Some(Dataplane::Iptables),
        ..Facts::default()
    };
    let mut pods: Vec<Arc<PodFacts>> = Vec::new();
    for i in 0..nodes {
        let (name, high, low) = (format!("n{i:05}"), i / 250, i % 250);
        let address = format!("10.{high}.{low}.10");
        let labels = json!({"kubernetes.io/hostname": name, "role": format!("r{}", i as u64 % ROLES)});
        facts.objects.push(json!({
            "apiVersion": "projectcalico.org/v3",
            "kind": "HostEndpoint",
            "metadata": {"name": format!("{name}-auto-hep"), "labels": labels},
            "spec": {"node": name, "interfaceName": "*", "expectedIPs": [address],
                "profiles": ["projectcalico-default-allow"]},
        }));
        for p in 0..3 {
            pods.push(Arc::new(PodFacts {
                namespace: "shop".into(),
                name: format!("p{i}-{p}"),
                node: name.clone(),
                addresses: vec![
                    format!("10.{}.{low}.{}", 100 + high, p + 2)
                        .parse()
                        .expect("an address"),
                ],
                profiles: vec!["kns.shop".into()],
                labels: Arc::new(
                    [("app", format!("a{}", i % usize::from(APPS)).as_str())]
                        .into_iter()
                        .collect(),
                ),
                ..PodFacts::default()
            }));
        }
        facts.nodes.push(Arc::new(NodeFacts {
            name,
            addresses: vec![address.parse().expect("an address")],
            ..NodeFacts::default()
        }));
    }
    let allow = json!([{"action": "Allow"}]);
    let spec = json!({"ingress": allow, "egress": allow});
    facts
        .objects
        .push(json!({"kind": "Profile", "metadata": {"name": "kns.shop"}, "spec": spec}));
    let service = |s: u16| ServiceFacts {
        namespace: "shop".into(),
        name: format!("s{s}"),
        protocol: 6,
        port: 80,
        node_port: Some(30_000 + s),
        cluster: Vec::new(),
        external_local: s.is_multiple_of(2),
        internal_local: false,
        backends: Some(backends(&pods, s)),
    };
    facts.services = Some((0..APPS).map(service).collect());
    facts.pods = Some(pods);
    facts
        .objects
        .extend((0..policies).map(|number| policy(&mut dice, number, RULES)));
    facts
}

fn backends(pods: &[Arc<PodFacts>], app: u16) -> Vec<Backend> {
    let of = pods
        .iter()
        .filter(|pod| pod.labels.get("app") == Some(&format!("a{app}")));
    let backend = |pod: &Arc<PodFacts>| Backend {
        name: pod.name.clone(),
        addresses: pod.addresses.clone(),
        port: 8080,
    };
    of.take(10).map(backend).collect()
}

/// The same with the first rules opened to everybody.
fn opened(facts: &Facts) -> Facts {
    let mut after = facts.clone();
    for object in &mut after.objects {
        let first = (0..5).any(|number| object["metadata"]["name"] == format!("default.p{number}"));
        if first {
            object["spec"]["ingress"][0]["action"] = "Allow".into();
            object["spec"]["ingress"][0]["source"] = json!({});
        }
    }
    after
}

pub fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    let mut before: Option<Duration> = None;
    for (nodes, policies, goal) in [(100, 200, ""), (1_000, 2_000, "1 s"), (10_000, 2_000, "")] {
        let facts = facts(nodes, policies);
        let (old, new) = (World::of_facts(&facts), World::of_facts(&opened(&facts)));
        let first = difference(&old, &new).into_iter().next();
        let packet = first.expect("rules were opened").witness;
        let changes = best(|| difference(&old, &new));
        let growth = before.replace(changes).map(|before| {
            let times = changes.as_secs_f64() / before.as_secs_f64();
            format!(" ({times:.1} times the one before)")
        });
        let of = format!("{nodes} nodes, {policies} policies, {} rules", policies * RULES);
        let mut row = |what: &str, took: String, goal| rows.push(Row::ours(format!("{what}, {of}"), took, goal));
        row("difference", seconds(changes) + &growth.unwrap_or_default(), goal);
        row("difference inside", seconds(best(|| difference_inside(&old, &new))), "");
        row("exposure", seconds(best(|| exposure(&old))), "");
        row("world built", seconds(best(|| World::of_facts(&facts))), "");
        let goal = if nodes == 1_000 { "100 ms" } else { "" };
        row("`why` of a packet", seconds(best(|| walk(&old, &packet))), goal);
    }
    rows
}
