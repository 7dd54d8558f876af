//! A selector that matches the host endpoints of a group's nodes and no others.
//!
//! Automatic host endpoints have the labels of their node and one that says who made them, which no pod and no network
//! set has (Calico: `kube-controllers/pkg/controllers/node/hostendpoints.go`).

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::compile::Builder;
use crate::compile::hosts::selects;
use crate::error::{Error, codes};
use crate::plan::{Guard, Select};
use crate::resource::Kind;
use crate::state::{CONTROLLERS, CREATED_BY, labels_of};

/// Every automatic host endpoint.
pub(super) const AUTOMATIC: &str = "has(projectcalico.org/created-by)";
const HOSTNAME: &str = "kubernetes.io/hostname";

/// What both the policy and its rules' destinations select; an error where nothing does.
pub(super) fn group_selector(builder: &mut Builder, name: &str, guard: &Guard, nodes: &[String]) -> Option<String> {
    let all = labels_of_nodes(builder);
    let wanted: BTreeSet<&str> = nodes.iter().map(String::as_str).collect();
    let exact = |selector: &&String| {
        let matching = all.iter().filter(|(_, labels)| selects(selector, *labels));
        matching.map(|(node, _)| node.as_str()).collect::<BTreeSet<_>>() == wanted
    };
    let candidates = candidates(builder, guard, nodes, &all);
    let fitting: Vec<&String> = candidates.iter().filter(exact).collect();
    if let Some(own) = fitting.iter().find(|selector| by_hand(builder, selector, &wanted)) {
        return Some((*own).clone());
    }
    let Some(own) = fitting.first() else {
        let message = format!(
            "policies.{name}: no label tells the nodes of `{}` from all others",
            guard.nodes
        );
        builder.error(
            Error::failed(codes::GUARD_SELECTOR, message)
                .at(guard.span)
                .consequence("the policy would hold on other nodes too, or not on all of these")
                .fix(format!(
                    "give the group one of its own: `labels: {{ {}: guarded }}`",
                    guard.nodes
                )),
        );
        return None;
    };
    Some(if *own == EVERYTHING {
        AUTOMATIC.to_string()
    } else {
        format!("{own} && {AUTOMATIC}")
    })
}

type Labels = BTreeMap<String, String>;

const EVERYTHING: &str = "all()";

/// Ways to say which nodes, the most telling first.
fn candidates(builder: &Builder, guard: &Guard, nodes: &[String], all: &BTreeMap<String, Labels>) -> Vec<String> {
    let mut candidates = Vec::new();
    if let Some(group) = builder.plan.nodes.get(&guard.nodes) {
        let chosen_by = match &group.select {
            Select::MatchLabels(labels) => labels.clone(),
            _ => Labels::new(),
        };
        let both: Labels = group
            .labels
            .iter()
            .chain(&chosen_by)
            .map(|(k, v)| (k.clone(), v.clone()))
            .collect();
        let ways = [&group.labels, &chosen_by, &both].into_iter();
        candidates.extend(ways.filter(|labels| !labels.is_empty()).map(with_labels));
        if group.select == Select::All {
            candidates.insert(0, EVERYTHING.to_string());
        }
    }
    let names: Option<BTreeSet<&str>> = nodes
        .iter()
        .map(|node| all.get(node)?.get(HOSTNAME).map(String::as_str))
        .collect();
    if let Some(names) = names {
        let quoted: Vec<String> = names.iter().map(|name| format!("'{name}'")).collect();
        candidates.push(match quoted.as_slice() {
            [one] => format!("{HOSTNAME} == {one}"),
            several => format!("{HOSTNAME} in {{{}}}", several.join(", ")),
        });
    }
    candidates
}

/// `a == 'x' && b == 'y'`
pub(super) fn with_labels(labels: &Labels) -> String {
    let terms: Vec<String> = labels
        .iter()
        .map(|(key, value)| format!("{key} == '{value}'"))
        .collect();
    terms.join(" && ")
}

/// Whether kube-controllers makes host endpoints here, or will.
pub(super) fn automatic(builder: &Builder) -> bool {
    let planned = builder
        .plan
        .host_endpoints
        .as_ref()
        .and_then(|wanted| wanted.auto_create);
    // Controllers may not have come to it yet.
    let made = || {
        let settled = builder.state.settled();
        let mut endpoints = settled.list(Kind::HostEndpoint).into_iter().flatten();
        endpoints.any(|(_, object)| labels_of(&object).get(CREATED_BY).is_some_and(|by| by == CONTROLLERS))
    };
    planned.unwrap_or_else(made)
}

fn endpoints<'b>(builder: &'b Builder<'_>) -> impl Iterator<Item = Cow<'b, Value>> {
    builder
        .state
        .list(Kind::HostEndpoint)
        .into_iter()
        .flatten()
        .map(|(_, object)| object)
}

/// Whether the nodes have host endpoints written by hand, and this selector picks exactly those and no pod or set.
fn by_hand(builder: &Builder, selector: &str, wanted: &BTreeSet<&str>) -> bool {
    let node = |object: &Value| object.pointer("/spec/node").and_then(Value::as_str).map(str::to_string);
    let mine = |object: &Cow<'_, Value>| node(object).is_some_and(|node| wanted.contains(node.as_str()));
    let written = |object: &Cow<'_, Value>| labels_of(object).get(CREATED_BY).is_none_or(|by| by != CONTROLLERS);
    let written: Vec<Cow<'_, Value>> = endpoints(builder).filter(written).collect();
    let others = [Kind::Pod, Kind::GlobalNetworkSet, Kind::NetworkSet];
    let mut others = others
        .into_iter()
        .flat_map(|kind| builder.state.labels(kind).into_iter().flatten());
    written.iter().any(mine)
        && written
            .iter()
            .all(|object| selects(selector, &labels_of(object)) == mine(object))
        && !others.any(|labels| selects(selector, &*labels))
}

/// Every node's labels as the plan leaves them.
fn labels_of_nodes(builder: &Builder) -> BTreeMap<String, Labels> {
    let nodes = builder.state.list(Kind::Node).into_iter().flatten();
    let mut all: BTreeMap<String, Labels> = nodes
        .map(|(key, node)| (key.name.clone(), labels_of(&node).to_map()))
        .collect();
    for (name, group) in &builder.plan.nodes {
        for node in builder.groups.get(name).into_iter().flatten() {
            let own = all.entry(node.clone()).or_default();
            own.extend(group.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
        }
    }
    all
}
