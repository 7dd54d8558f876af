//! What must stay, and what the proof does not look at of it.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::BTreeSet;

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
    let control_plane_on_nodes = !lockout::needed(state).managed;
    let ends = [state, end].map(|state| End::new(state, control_plane_on_nodes));
    if deciding.any(|step| may_cut_pods_off(&ends, step)) {
        let text =
            "whether the API server still reaches their pods is not looked at; those of aggregated API servers are";
        notes.push(note("webhooks", text.to_string()));
    }
    notes
}

fn may_cut_pods_off(ends: &[End<'_>; 2], step: &Change) -> bool {
    match step.key.kind {
        Kind::GlobalNetworkPolicy => ends.iter().any(|end| {
            end.state
                .present(&step.key)
                .is_some_and(|policy| end.reaches_pods(&policy))
        }),
        Kind::Service => false,
        _ => ends.iter().any(End::some_policy_does), // what it switches on or off
    }
}

/// A state, with what of it is worked out once for all steps.
struct End<'a> {
    state: &'a State,
    control_plane_on_nodes: bool,
    /// Labels of pods, each once; `None` where pods could not be read.
    pods: Option<BTreeSet<Cow<'a, Labels>>>,
    some: OnceCell<bool>,
}

impl<'a> End<'a> {
    fn new(state: &'a State, control_plane_on_nodes: bool) -> End<'a> {
        End {
            state,
            control_plane_on_nodes,
            pods: state.labels(Kind::Pod).ok().map(Iterator::collect),
            some: OnceCell::new(),
        }
    }

    fn some_policy_does(&self) -> bool {
        *self.some.get_or_init(|| {
            let mut policies = self.state.list(Kind::GlobalNetworkPolicy).into_iter().flatten();
            policies.any(|(_, policy)| self.reaches_pods(&policy))
        })
    }

    /// Whether packets to pods may meet a policy: those that a node sends on, those at the pods themselves, and, where
    /// the API server runs on a node, those that the node sends.
    fn reaches_pods(&self, policy: &Value) -> bool {
        let spec = &policy["spec"];
        let is = |field: &str| spec[field] == Value::Bool(true);
        let to_nodes_only = |rule: &Value| {
            let selector = rule.pointer("/destination/selector").and_then(Value::as_str);
            selector.is_some_and(|selector| !selector.is_empty() && !self.selects_pods(selector))
        };
        let sends = spec["types"].as_array().into_iter().flatten().any(|ty| ty == "Egress");
        if self.control_plane_on_nodes && sends {
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
        is("applyOnForward") || self.selects_pods(spec["selector"].as_str().unwrap_or_default())
    }

    /// Where pods could not be read, or the selector is none that Calico takes, it may.
    fn selects_pods(&self, selector: &str) -> bool {
        let (Some(pods), Ok(selector)) = (&self.pods, Selector::parse(selector)) else {
            return true;
        };
        pods.iter().any(|labels| selector.matches(labels.as_ref()))
    }
}
