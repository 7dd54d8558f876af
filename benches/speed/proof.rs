//! The proof of an order: 200 policies that each close a port on some nodes, and a label on every node.

use hostguard::compile;
use hostguard::diff::{self, Options};
use hostguard::plan::Plan;
use hostguard::resource::Kind;
use hostguard::sequence::{Sequence, Terms};
use hostguard::state::State;
use serde_json::{Map, Value, json};

use crate::engine;
use crate::measure::{Row, median, seconds};
use crate::size;
use crate::support::plans;

/// Each on the host endpoints that a selector names; without any it decides nothing.
fn policies(count: usize) -> Plan {
    let policy = |at: usize| {
        let rule = json!({
            "action": "Deny", "protocol": "TCP", "source": {"notNets": [format!("203.0.{at}.0/24")]},
            "destination": {"ports": [30_000 + at]},
        });
        let spec = json!({
            "order": at, "selector": "kubernetes.io/os == 'linux'", "types": ["Ingress"], "preDNAT": true,
            "applyOnForward": true, "ingress": [rule],
        });
        (format!("security.p{at:04}"), json!({"spec": spec}))
    };
    let policies: Map<String, Value> = (0..count).map(policy).collect();
    plans::parse(&json!({
        "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": "size"},
        "spec": {
            "cluster": {"platform": "generic"}, "tiers": {"security": {"order": 500}}, "policies": policies,
        },
    }))
}

fn row(what: &str, state: &State, plan: &Plan, goal: &'static str) -> Row {
    let compiled = compile::compile(plan, state).expect("the plan fits");
    let set = diff::diff(&compiled, state, &Options::default()).set;
    let time = median(1, || {
        let found = Sequence::find(state, &set, &Terms::default()).expect("all is readable");
        assert_eq!(found.expect("it is safe").steps().len(), set.steps.len());
    });
    Row::ours(
        format!("proof of {} steps, {what}", set.steps.len()),
        seconds(time),
        goal,
    )
}

pub fn rows() -> Vec<Row> {
    let (mut small, large) = (engine::state(100), engine::state(1_000));
    small
        .listed(Kind::HostEndpoint, (0..100).map(size::open_host_endpoint).collect())
        .expect("made objects have names");
    vec![
        row("policies on 100 nodes", &small, &policies(200), "2 s"),
        row("a label on each of 1,000 nodes", &large, &engine::plan(), ""),
    ]
}
