//! The stages between reading and writing, without either and without the proof of an order: compile and diff.

use hostguard::compile;
use hostguard::diff::{self, Options};
use hostguard::plan::Plan;
use hostguard::state::{ClusterFacts, Serving, State};
use serde_json::{Value, json};

use crate::measure::{Row, median, seconds};
use crate::support::plans;

/// Steps, runs, and the goal.
const SIZES: [(usize, usize, &str); 3] = [(1_000, 15, "15 ms"), (10_000, 5, "150 ms"), (100_000, 3, "linear")];

/// A label on each node: as many steps as nodes.
pub fn body() -> Value {
    json!({
        "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": "size"},
        "spec": {"cluster": {"platform": "generic"}, "nodes": {"every": {"all": true, "labels": {"guarded": "yes"}}}},
    })
}

pub fn plan() -> Plan {
    plans::parse(&body())
}

pub fn node(at: usize) -> Value {
    let name = format!("node-{at:06}");
    let address = format!("10.{}.{}.{}", at >> 16, (at >> 8) & 255, at & 255);
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": name, "uid": format!("uid-{at}"), "resourceVersion": "1",
            "labels": {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"},
        },
        "status": {
            "addresses": [{"type": "InternalIP", "address": address}],
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    })
}

pub fn state(nodes: usize) -> State {
    let mut state = State::new(ClusterFacts {
        snapshot: None,
        name: "size".into(),
        serving: Serving::Native,
        felix_fields: Some([].into()),
    });
    let kinds = hostguard::resource::Kind::ALL.into_iter();
    for kind in kinds.filter(|kind| !kind.cloud()) {
        let objects = match kind {
            hostguard::resource::Kind::Node => (0..nodes).map(node).collect(),
            _ => Vec::new(),
        };
        state.listed(kind, objects).expect("made objects have names");
    }
    state
}

pub fn rows() -> Vec<Row> {
    let plan = plan();
    let mut first = None;
    let mut rows = Vec::new();
    for (size, runs, goal) in SIZES {
        // Each run has a state of its own: objects are opened once.
        let mut states: Vec<State> = (0..runs).map(|_| state(size)).collect();
        let time = median(runs, || {
            let state = states.pop().expect("one for each run");
            let compiled = compile::compile(&plan, &state).expect("the plan fits");
            let now = diff::diff(&compiled, &state, &Options::default());
            assert!(now.set.steps.len() >= size);
            std::mem::forget((compiled, now, state)); // as `plan` does
        });
        let each = time.as_secs_f64() / size as f64;
        let against_first = each / *first.get_or_insert(each);
        let text = format!(
            "{} ({:.1} µs a step, {against_first:.2} of the first)",
            seconds(time),
            each * 1e6
        );
        rows.push(Row::ours(format!("engine without IO, {size} steps"), text, goal));
    }
    rows
}
