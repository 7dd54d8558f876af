//! What must stay, and what the proof does not look at of it.

use serde_json::Value;

use super::lockout;
use super::unseen::decides_nothing;
use crate::changes::{Change, Note};
use crate::resource::Kind;
use crate::selector::Selector;
use crate::state::{Labels, State};

/// Lines for whoever reads the answer: health checks where Services could not be read, and webhooks where steps may cut
/// pods off, because nothing that is read says which pods these are.
pub fn not_looked_at(state: &State, end: &State, steps: &[Change]) -> Vec<Note> {
    let note = |about: &str, text: String| Note {
        about: about.to_string(),
        text,
        code: None,
    };
    let mut deciding = steps.iter().filter(|step| !decides_nothing(state, step)).peekable();
    if deciding.peek().is_none() {
        return Vec::new();
    }
    let mut notes = Vec::new();
    if let Err(why) = state.list(Kind::Service) {
        let text = format!("not looked at, because Services could not be read: {why}");
        notes.push(note("health checks of load balancers", text));
    }
    if deciding.any(|step| may_cut_pods_off(state, end, step)) {
        let text =
            "whether the API server still reaches their pods is not looked at; those of aggregated API servers are";
        notes.push(note("webhooks", text.to_string()));
    }
    notes
}

fn may_cut_pods_off(state: &State, end: &State, step: &Change) -> bool {
    let control_plane_on_nodes = !lockout::needed(state).managed;
    let reaches = |policy: &Value, state: &State| reaches_pods(&policy["spec"], state, control_plane_on_nodes);
    let any = |state: &State| {
        let mut policies = state.list(Kind::GlobalNetworkPolicy).into_iter().flatten();
        policies.any(|(_, policy)| reaches(policy, state))
    };
    match step.key.kind {
        Kind::GlobalNetworkPolicy => {
            let of = |state: &State| state.present(&step.key).is_some_and(|policy| reaches(policy, state));
            of(state) || of(end)
        }
        Kind::Service => false,
        _ => any(state) || any(end), // what it switches on or off
    }
}

/// Whether packets to pods may meet a policy: those that a node sends on, those at the pods themselves, and, where the API
/// server runs on a node, those that the node sends.
fn reaches_pods(spec: &Value, state: &State, control_plane_on_nodes: bool) -> bool {
    let is = |field: &str| spec[field] == Value::Bool(true);
    let to_nodes_only = |rule: &Value| {
        let selector = rule.pointer("/destination/selector").and_then(Value::as_str);
        selector.is_some_and(|selector| !selector.is_empty() && !selects_pods(selector, state))
    };
    let sends = spec["types"].as_array().into_iter().flatten().any(|ty| ty == "Egress");
    if control_plane_on_nodes && sends {
        return true;
    }
    if is("preDNAT") || is("doNotTrack") {
        // No rule is no deny here.
        let mut rules = ["ingress", "egress"]
            .into_iter()
            .filter_map(|list| spec[list].as_array())
            .flatten();
        return rules.any(|rule| !to_nodes_only(rule));
    }
    is("applyOnForward") || selects_pods(spec["selector"].as_str().unwrap_or_default(), state)
}

/// Where pods could not be read, or the selector is none that Calico takes, it may.
fn selects_pods(selector: &str, state: &State) -> bool {
    let (Ok(pods), Ok(selector)) = (state.labels(Kind::Pod), Selector::parse(selector)) else {
        return true;
    };
    pods.iter()
        .any(|labels: &std::borrow::Cow<'_, Labels>| selector.matches(labels.as_ref()))
}
