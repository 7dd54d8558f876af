//! Policies of a plan that do nothing once everything is done, as findings that say why and where.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::changes::Note;
use crate::error::codes;
use crate::exposure::{self, Blocker, Idle, PolicyKind, PolicyName, RuleRef, World};
use crate::gate::Finding;
use crate::plan::{Plan, Policy};
use crate::resource::{Key, Kind};
use crate::state::{State, labels_of};

#[derive(Default)]
pub(super) struct Found {
    pub findings: Vec<Finding>,
    pub notes: Vec<Note>,
}

/// What is wrong with the plan's policies in the state that all steps and then controllers leave, whose world it is.
pub(super) fn look(plan: &Plan, after: &State, world: &World) -> Found {
    if plan.policies.is_empty() || !controllers_are_known(after) {
        return Found::default();
    }
    let idle = exposure::idle(world, &plan.policies.keys().map(|name| named(name)).collect());
    let of_plan =
        |(name, why): &(PolicyName, Idle)| Some(finding(&name.name, plan.policies.get(&name.name)?, why, after, plan));
    let mut notes = Vec::new();
    if let Some(first) = idle.not_asked.first() {
        notes.push(Note {
            about: format!("policies.{}", first.name),
            text: format!(
                "whether {} of the plan's policies do anything was not looked at: there are too many rules",
                idle.not_asked.len()
            ),
            code: Some(codes::NO_EFFECT.as_str()),
        });
    }
    let findings = idle
        .idle
        .iter()
        .filter(|(name, why)| !comes_to_pods(plan, &name.name, why, after))
        .filter_map(of_plan)
        .collect();
    Found { findings, notes }
}

fn named(name: &str) -> PolicyName {
    PolicyName {
        kind: PolicyKind::GlobalNetworkPolicy,
        namespace: String::new(),
        name: name.to_string(),
    }
}

/// Whether the host endpoints that controllers will make are all predicted, and which dataplane there is is known: not
/// where their configuration or calico-node's environment could not be read, nor with templates by interface, which the
/// API does not show.
fn controllers_are_known(after: &State) -> bool {
    let read = |kind| after.is_read(kind);
    if !read(Kind::KubeControllersConfiguration) || !read(Kind::DaemonSet) {
        return false;
    }
    let key = Key::cluster(Kind::KubeControllersConfiguration, "default");
    let configuration = after.present(&key).unwrap_or_default();
    let templates = configuration.pointer("/spec/controllers/node/hostEndpoint/templates");
    let templates = templates.and_then(Value::as_array);
    !templates
        .into_iter()
        .flatten()
        .any(|template| template.get("interfacePattern").is_some())
}

/// Whether a policy that no endpoint asks matches a pod that has no node yet.
fn comes_to_pods(plan: &Plan, name: &str, why: &Idle, after: &State) -> bool {
    let selector = plan.policies.get(name).and_then(Policy::selector);
    let (Idle::SelectsNothing, Some(selector), Ok(pods)) = (why, selector, after.pods()) else {
        return false;
    };
    pods.values().any(|pod| selector.matches(&*pod.labels))
}

fn finding(name: &str, policy: &Policy, why: &Idle, after: &State, plan: &Plan) -> Finding {
    let finding = |code, message| Finding::new(code, format!("policies.{name}"), message).at(policy.span);
    let blocker = |by: &Blocker| match by {
        Blocker::Rule(rule) => rule_name(rule, plan),
        Blocker::EndOfTier(tier) => format!("the end of tier `{tier}`"),
    };
    let selector = policy.selector_text();
    match why {
        Idle::AllowsOnly => finding(
            codes::NO_EFFECT,
            format!("policies.{name} only allows, so it restricts nothing"),
        )
        .consequence("before DNAT no tier denies at its end: what no rule denies goes on, from every source")
        .fix(format!("add a rule after it that denies: {}", denial(policy))),
        Idle::ChangesNothing => finding(codes::NO_EFFECT, format!("policies.{name} restricts nothing"))
            .consequence("every packet fares the same without it, at every host endpoint and pod that it selects")
            .fix("add a rule that denies what is meant to be closed, or delete the policy"),
        Idle::SelectsNothing => finding(
            codes::SELECTS_NOTHING,
            format!("policies.{name} selects nothing: no host endpoint and no pod matches `{selector}`"),
        )
        .consequence("no packet ever meets it")
        .fix(labels_to_choose(after)),
        Idle::SelectsPodsOnly => finding(
            codes::SELECTS_NOTHING,
            format!("policies.{name} selects pods only: no host endpoint matches `{selector}`"),
        )
        .consequence("policy before DNAT or without tracking is asked at host endpoints alone, so no packet meets it")
        .fix(labels_to_choose(after)),
        Idle::NeverReached(by) => finding(
            codes::NEVER_REACHED,
            format!("policies.{name} is never reached: {} decides before it", blocker(by)),
        )
        .consequence("no packet comes to any of its rules")
        .fix("give it a lower order or an earlier tier, narrow what decides before it, or delete it"),
        Idle::RuleNeverReached(rule, by) => finding(
            codes::NEVER_REACHED,
            format!(
                "{} is never reached: {} decides before it",
                rule_name(rule, plan),
                blocker(by)
            ),
        )
        .consequence("no packet that it matches comes to it")
        .fix("move it up, narrow what decides before it, or delete it"),
    }
}

/// As the plan calls it, if it is the plan's.
fn rule_name(rule: &RuleRef, plan: &Plan) -> String {
    let own = rule.policy.kind == PolicyKind::GlobalNetworkPolicy && plan.policies.contains_key(&rule.policy.name);
    if own {
        format!(
            "policies.{} {}[{}]",
            rule.policy.name,
            rule.direction.as_str(),
            rule.index
        )
    } else {
        rule.to_string()
    }
}

/// A Deny of what the first rule allows.
fn denial(policy: &Policy) -> String {
    let rule = &policy.spec["ingress"][0];
    let mut parts = vec!["action: Deny".to_string()];
    parts.extend(
        rule["protocol"]
            .as_str()
            .map(|protocol| format!("protocol: {protocol}")),
    );
    let ports = rule["destination"]["ports"].as_array().map(|ports| {
        let texts: Vec<String> = ports
            .iter()
            .map(|port| port.as_str().map_or_else(|| port.to_string(), str::to_string))
            .collect();
        format!("destination: {{ ports: [ {} ] }}", texts.join(", "))
    });
    parts.extend(ports);
    format!("{{ {} }}", parts.join(", "))
}

fn labels_to_choose(after: &State) -> String {
    let mut endpoints = after.list(Kind::HostEndpoint).into_iter().flatten();
    let first = endpoints.next();
    let Some((_, first)) = first else {
        return "there is no host endpoint: add `hostEndpoints: { autoCreate: Enabled }`".into();
    };
    let usual = [
        "kubernetes.io/",
        "beta.kubernetes.io/",
        "projectcalico.org/",
        "node.kubernetes.io/",
    ];
    let own: BTreeSet<String> = std::iter::once(first)
        .chain(endpoints.map(|(_, object)| object))
        .flat_map(|object| labels_of(&object).to_map())
        .filter(|(key, _)| !usual.iter().any(|prefix| key.starts_with(prefix)))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    let shown: Vec<String> = own.iter().take(3).cloned().collect();
    if shown.is_empty() {
        return "let a node group of the plan write the label, or select by one that the nodes have".into();
    }
    let more = if own.len() > shown.len() { " and others" } else { "" };
    format!("select by a label that host endpoints have: {}{more}", shown.join(", "))
}
