//! In which order policies are asked, whom they select, and what each endpoint's stages hold.
//!
//! Tiers and policies are ordered as in `felix/calc/policy_sorter.go`, stages filled as in
//! `felix/calc/event_sequencer.go`.

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use serde_json::Value;

use super::build::{name_of, namespace_of, texts};
use super::facts::Facts;
use super::members::Terms;
use super::reading::Objects;
use super::rules::{Reader, Rule, namespace_term};
use super::verdict::{PolicyKind, PolicyName};
use super::world::{Lists, Policy, PolicyStage, Stages, Tier, TierRun};
use crate::selector::Selector;
use crate::state::Labels;

/// Tiers in order; the built-in ones are always there (`felix/calc/policy_sorter.go`).
pub(super) fn tiers(facts: &Facts, objects: &Objects) -> BTreeMap<String, (f64, bool, bool)> {
    let known = !facts.unread.contains_key("Tier");
    let mut tiers: BTreeMap<String, (f64, bool, bool)> = BTreeMap::new();
    tiers.insert("default".into(), (1_000_000.0, true, true));
    tiers.insert("kube-admin".into(), (1_000.0, false, true));
    tiers.insert("kube-baseline".into(), (10_000_000.0, false, true));
    for tier in objects.of("Tier") {
        let order = tier["spec"]["order"].as_f64().unwrap_or(1_000_000.0);
        let denies = tier["spec"]["defaultAction"].as_str() != Some("Pass");
        tiers.insert(name_of(tier).to_string(), (order, denies, true));
    }
    for kind in ["GlobalNetworkPolicy", "NetworkPolicy"] {
        for policy in objects.of(kind) {
            // A tier that does not exist comes last and denies.
            let tier = tiers.entry(tier_of(policy).to_string());
            tier.or_insert((f64::INFINITY, true, known));
        }
    }
    tiers
}

fn tier_of(policy: &Value) -> &str {
    policy["spec"]["tier"]
        .as_str()
        .filter(|t| !t.is_empty())
        .unwrap_or("default")
}

/// Whom a policy selects.
pub(super) struct Subject {
    terms: Terms,
    /// Of a namespaced policy.
    namespace: Option<String>,
}

const POLICY_KINDS: [(&str, PolicyKind, bool); 5] = [
    ("GlobalNetworkPolicy", PolicyKind::GlobalNetworkPolicy, false),
    ("NetworkPolicy", PolicyKind::NetworkPolicy, false),
    ("KubernetesNetworkPolicy", PolicyKind::KubernetesNetworkPolicy, false),
    ("StagedGlobalNetworkPolicy", PolicyKind::StagedGlobalNetworkPolicy, true),
    ("StagedNetworkPolicy", PolicyKind::StagedNetworkPolicy, true),
];

pub(super) fn policies(
    objects: &Objects,
    tiers: BTreeMap<String, (f64, bool, bool)>,
    reader: &mut Reader<'_>,
) -> (Vec<Tier>, Vec<Policy>, Vec<Subject>) {
    let mut ordered: Vec<_> = tiers.into_iter().collect();
    ordered.sort_by(|(a, (x, ..)), (b, (y, ..))| x.total_cmp(y).then_with(|| a.cmp(b)));
    let place: BTreeMap<&str, usize> = ordered
        .iter()
        .enumerate()
        .map(|(i, (name, _))| (name.as_str(), i))
        .collect();
    let mut keyed: Vec<(usize, f64, String, Policy, Subject)> = Vec::new();
    for (kind_name, kind, staged) in POLICY_KINDS {
        for object in objects.of(kind_name) {
            let namespaced = !matches!(
                kind,
                PolicyKind::GlobalNetworkPolicy | PolicyKind::StagedGlobalNetworkPolicy
            );
            let namespace = namespaced.then(|| namespace_of(object).to_string());
            let Some(subject) = subject(object, namespace.clone()) else {
                continue;
            };
            let tier = place.get(tier_of(object)).copied().unwrap_or(ordered.len() - 1);
            let policy = policy(object, kind, staged, tier, reader);
            // Ties go by the bytes of this text (`felix/calc/policy_sorter.go`).
            let tie = format!("{}/{}/{kind_name}", name_of(object), namespace.unwrap_or_default());
            let order = object["spec"]["order"].as_f64().unwrap_or(f64::INFINITY);
            keyed.push((tier, order, tie, policy, subject));
        }
    }
    keyed.sort_by(|a, b| {
        a.0.cmp(&b.0)
            .then(a.1.total_cmp(&b.1))
            .then_with(|| a.2.as_bytes().cmp(b.2.as_bytes()))
    });
    let (policies, subjects) = keyed.into_iter().map(|(.., policy, subject)| (policy, subject)).unzip();
    let tiers = ordered
        .into_iter()
        .map(|(name, (_, denies, known))| Tier { name, denies, known });
    (tiers.collect(), policies, subjects)
}

/// `None` for one that selects nothing.
fn subject(object: &Value, namespace: Option<String>) -> Option<Subject> {
    let text = |key: &str| object["spec"][key].as_str().unwrap_or_default();
    let mut terms = vec![(false, Selector::parse(text("selector")).ok()?)];
    if !text("namespaceSelector").is_empty() {
        // `global()` is replaced in rules only.
        if text("namespaceSelector").contains("global(") {
            return None;
        }
        terms.push((false, namespace_term(text("namespaceSelector"), false)?));
    }
    if !text("serviceAccountSelector").is_empty() {
        let prefixed = Selector::parse(text("serviceAccountSelector"))
            .ok()?
            .with_label_prefix("pcsa.");
        let replaced = prefixed
            .canonical()
            .replace("all()", "has(projectcalico.org/serviceaccount)");
        terms.push((false, Selector::parse(&replaced).ok()?));
    }
    Some(Subject {
        terms: Terms(terms),
        namespace,
    })
}

fn policy(object: &Value, kind: PolicyKind, staged: bool, tier: usize, reader: &mut Reader<'_>) -> Policy {
    let spec = &object["spec"];
    let namespaced = !matches!(
        kind,
        PolicyKind::GlobalNetworkPolicy | PolicyKind::StagedGlobalNetworkPolicy
    );
    let namespace = if namespaced { namespace_of(object) } else { "" };
    let flag = |key: &str| spec[key] == Value::Bool(true);
    let stage = match () {
        _ if flag("doNotTrack") => PolicyStage::Untracked,
        _ if flag("preDNAT") => PolicyStage::PreDnat,
        _ if flag("applyOnForward") => PolicyStage::Forward,
        _ => PolicyStage::Normal,
    };
    let types: Vec<&str> = texts(&spec["types"]).collect();
    let polices = |direction: &str| types.is_empty() || types.contains(&direction);
    let mut rules = |key: &str| -> Vec<Rule> {
        let list = spec[key].as_array().into_iter().flatten().filter(|_| !staged);
        list.map(|rule| reader.rule(rule, namespaced.then_some(namespace)))
            .collect()
    };
    Policy {
        name: PolicyName {
            kind,
            namespace: namespace.to_string(),
            name: name_of(object).to_string(),
        },
        tier,
        staged,
        stage,
        ingress: polices("Ingress").then(|| rules("ingress")),
        egress: (polices("Egress") && stage != PolicyStage::PreDnat).then(|| rules("egress")),
    }
}

/// Sorts policies into stages for a set of labels; equal answers are kept once.
pub(super) struct Sorter<'a> {
    policies: &'a [Policy],
    tiers: &'a [Tier],
    subjects: &'a [Subject],
    /// Labels that some policy looks at.
    names: BTreeSet<&'a str>,
    known: BTreeMap<(Labels, Option<String>), usize>,
    by_policies: BTreeMap<Vec<usize>, usize>,
    pub stages: Vec<Rc<Stages>>,
}

impl<'a> Sorter<'a> {
    pub fn new(policies: &'a [Policy], tiers: &'a [Tier], subjects: &'a [Subject]) -> Self {
        let selectors = subjects.iter().flat_map(|subject| &subject.terms.0);
        Sorter {
            policies,
            tiers,
            subjects,
            names: selectors.flat_map(|(_, selector)| selector.label_names()).collect(),
            known: BTreeMap::new(),
            by_policies: BTreeMap::new(),
            stages: Vec::new(),
        }
    }

    /// The place of the stages of an endpoint with these labels; `namespace` for pods.
    pub fn sort(&mut self, labels: &Labels, namespace: Option<&str>) -> usize {
        let used: Labels = labels.iter().filter(|(name, _)| self.names.contains(*name)).collect();
        let key = (used, namespace.map(str::to_string));
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let selects = |subject: &Subject| {
            let here = subject.namespace.is_none() || subject.namespace.as_deref() == namespace;
            here && subject.terms.matches(&key.0)
        };
        let numbered = self.subjects.iter().enumerate();
        let selected: Vec<usize> = numbered.filter(|(_, s)| selects(s)).map(|(i, _)| i).collect();
        // Labels that differ, such as names of hosts, mostly select the same.
        let place = match self.by_policies.get(&selected) {
            Some(place) => *place,
            None => {
                let mut stages = Stages::default();
                for index in &selected {
                    self.enter(&mut stages, *index, &self.policies[*index]);
                }
                self.stages.push(Rc::new(stages));
                self.by_policies.insert(selected, self.stages.len() - 1);
                self.stages.len() - 1
            }
        };
        self.known.insert(key, place);
        place
    }

    fn enter(&self, stages: &mut Stages, index: usize, policy: &Policy) {
        let denies = self.tiers[policy.tier].denies;
        let add = |lists: &mut Lists, denies: bool| {
            for (run, polices) in [
                (&mut lists.ingress, policy.ingress.is_some()),
                (&mut lists.egress, policy.egress.is_some()),
            ] {
                if !polices {
                    continue;
                }
                if run.last().is_none_or(|last: &TierRun| last.tier != policy.tier) {
                    run.push(TierRun {
                        tier: policy.tier,
                        denies: false,
                        policies: Vec::new(),
                        index: OnceCell::new(),
                    });
                }
                let last = run.last_mut().expect("pushed above");
                last.policies.push(index);
                // Staged policies alone bring no default deny.
                last.denies |= denies && !policy.staged;
            }
        };
        match policy.stage {
            PolicyStage::Untracked => add(&mut stages.untracked, false),
            PolicyStage::PreDnat => add(&mut stages.pre_dnat, false),
            PolicyStage::Normal => add(&mut stages.normal, denies),
            PolicyStage::Forward => {
                add(&mut stages.normal, denies);
                add(&mut stages.forward, denies);
            }
        }
    }
}
