//! The answer to a change set of 1,000 steps, in the forms that a pull request gets: its text alone.

use std::collections::BTreeMap;

use hostguard::compile;
use hostguard::diff::{self, Options};
use hostguard::error::codes;
use hostguard::exposure::{World, difference};
use hostguard::gate::Finding;
use hostguard::graph::Graph;
use hostguard::plan::Level;
use hostguard::render::{self, Answer, Names, Words};
use hostguard::resource::Kind;
use hostguard::source::{Source, Span};
use hostguard::state::State;
use serde_json::{Map, Value, json};

use crate::engine;
use crate::measure::{Row, median, seconds};
use crate::size;
use crate::support::plans;

const STEPS: usize = 1_000;
/// Warnings, each with its place in the plan.
const FINDINGS: usize = 200;

type Form = fn(&Answer) -> String;

/// Every policy closes a port for most.
fn text() -> String {
    let policy = |at: usize| {
        let rule = json!({
            "action": "Deny", "protocol": "TCP", "source": {"notNets": [format!("203.0.{}.0/24", at % 250)]},
            "destination": {"ports": [30_000 + at]},
        });
        let spec = json!({
            "order": at, "selector": "kubernetes.io/os == 'linux'", "types": ["Ingress"], "preDNAT": true, "applyOnForward": true,
            "ingress": [rule],
        });
        (format!("security.p{at:04}"), json!({"spec": spec}))
    };
    let policies: Map<String, Value> = (0..STEPS - 2).map(policy).collect();
    let plan = json!({
        "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": "forms"},
        "spec": {
            "cluster": {"platform": "generic"}, "tiers": {"security": {"order": 500}}, "policies": policies,
        },
    });
    serde_json::to_string_pretty(&plan).expect("a plan is plain data")
}

fn findings(graph: &Graph) -> Vec<Finding> {
    let spans: Vec<Span> = graph.in_order().filter_map(|resource| resource.origin.span).collect();
    let finding = |at: usize| {
        let message = format!("policies.p{at:04}: a port that most of the internet can reach");
        let mut finding = Finding::new(codes::NO_EFFECT, format!("policies.p{at:04}"), message).at(spans[at]);
        finding.level = Level::Warning;
        finding
    };
    (0..FINDINGS).map(finding).collect()
}

pub fn rows() -> Vec<Row> {
    let text = text();
    let (plan, source) = (plans::check(&text), Source::new("plan.yaml", text.as_str()));
    let mut state: State = engine::state(10);
    state
        .listed(Kind::HostEndpoint, (0..10).map(size::open_host_endpoint).collect())
        .expect("made objects have names");
    let compiled = compile::compile(&plan, &state).expect("the plan fits");
    let found = diff::diff(&compiled, &state, &Options::default());
    let after = state.after_all(&found.set.steps).settled();
    let exposure = difference(&World::of_state(&state), &World::of_state(&after));
    let (findings, names, words) = (findings(&compiled.graph), Names::default(), Words::default());
    let answer = Answer {
        verb: "plan",
        plan: plan.name(),
        source: Some(&source),
        platform: None,
        facts: &state.facts,
        cluster_uid: None,
        release: None,
        inputs: &BTreeMap::new(),
        lookups: &BTreeMap::new(),
        groups: &compiled.groups,
        set: &found.set,
        id: found.set.digest(),
        exposure: &exposure,
        inside: Some(&[]),
        names: &names,
        assumptions: &[],
        conflicts: &[],
        refused: &[],
        findings: &findings,
        warnings: &[],
        rules: Vec::new(),
        guards: Vec::new(),
        lowered: Vec::new(),
        expectations: &[],
        kept: &[],
        sequence: None,
        record: None,
        report: None,
        ended: &[],
        graph: &compiled.graph,
        read: None,
        words: Some(&words),
    };
    let forms: [(&str, Form); 3] = [
        ("Markdown", render::markdown::plan),
        ("JSON", render::json),
        ("SARIF", render::sarif),
    ];
    let (steps, rows) = (found.set.steps.len(), exposure.len());
    let row = |(name, form): (&str, Form)| {
        let time = median(21, || assert!(form(&answer).len() > 1_000));
        let what = format!("{name} of {steps} steps, {rows} rows of exposure, {FINDINGS} findings");
        Row::ours(what, seconds(time), "10 ms")
    };
    forms.into_iter().map(row).collect()
}
