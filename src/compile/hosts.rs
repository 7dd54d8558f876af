//! Nodes and host endpoints: which nodes a group holds, their labels, and the switches that make host endpoints.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Builder;
use crate::error::{Error, codes};
use crate::plan::{AddressType, FlowLogs, HostEndpoints, NodeGroup, Select, nearest};
use crate::resource::{FieldPath, Key, Kind};
use crate::selector::{Labels, Selector};
use crate::source::Span;
use crate::state::{Observed, State};

/// The field that only the schemas of Calico Enterprise and Calico Cloud have.
const FLOW_LOGS: &str = "flowLogsEnableHostEndpoint";

pub(super) fn compile(builder: &mut Builder) {
    if let Some(host_endpoints) = builder.plan.host_endpoints.clone() {
        auto_create(builder, &host_endpoints);
        flow_logs(builder, &host_endpoints);
    }
    for (name, group) in &builder.plan.nodes {
        let nodes = nodes_of(builder, name, group);
        if matches!(group.select, Select::Pick { .. }) && !nodes.is_empty() {
            builder.picks.insert(name.clone(), nodes.clone());
        }
        for node in &nodes {
            for (label, value) in &group.labels {
                let key = Key::cluster(Kind::Node, node.clone());
                builder.claim(
                    key,
                    FieldPath::label(label),
                    json!(value),
                    format!("nodes.{name}"),
                    group.span,
                );
            }
        }
        builder.groups.insert(name.clone(), nodes);
    }
}

fn auto_create(builder: &mut Builder, wanted: &HostEndpoints) {
    let Some(on) = wanted.auto_create else { return };
    let key = Key::cluster(Kind::KubeControllersConfiguration, "default");
    must_exist(
        builder,
        &key,
        "hostEndpoints.autoCreate",
        wanted.span,
        "is kube-controllers running?",
    );
    if let Some(value) = builder.state.auto_create_override()
        && value.eq_ignore_ascii_case("enabled") != on
    {
        let want = if on { "Enabled" } else { "Disabled" };
        builder.error(
            Error::failed(
                codes::ENVIRONMENT_OVERRIDE,
                format!("{key}: AUTO_HOST_ENDPOINTS={value} in the environment of kube-controllers overrides autoCreate: {want}"),
            )
            .at(wanted.span)
            .consequence("the field would be written and would have no effect")
            .fix("remove AUTO_HOST_ENDPOINTS from the kube-controllers Deployment, or correct the plan"),
        );
    }
    let path = FieldPath::dotted("spec.controllers.node.hostEndpoint.autoCreate");
    let value = json!(if on { "Enabled" } else { "Disabled" });
    builder.claim(key, path, value, "hostEndpoints.autoCreate".into(), wanted.span);
}

fn flow_logs(builder: &mut Builder, wanted: &HostEndpoints) {
    let Some(flow_logs) = wanted.flow_logs else { return };
    let about = "hostEndpoints.flowLogs";
    let key = Key::cluster(Kind::FelixConfiguration, "default");
    let on = flow_logs != FlowLogs::Disabled;
    match builder
        .state
        .facts
        .felix_fields
        .as_ref()
        .map(|fields| fields.contains(FLOW_LOGS))
    {
        Some(true) => {
            must_exist(builder, &key, about, wanted.span, "is calico-node running?");
            let path = FieldPath(vec!["spec".into(), FLOW_LOGS.into()]);
            builder.claim(key, path, json!(on), about.into(), wanted.span);
            builder.note(
                about,
                "a change of FelixConfiguration restarts Felix on every node; rules stay in the kernel meanwhile",
            );
        }
        Some(false) if flow_logs == FlowLogs::Enabled => builder.error(
            Error::failed(
                codes::FLOW_LOGS_UNSUPPORTED,
                format!("{key}: this edition of Calico has no field {FLOW_LOGS}"),
            )
            .at(wanted.span)
            .consequence("host endpoint flow logs by switch exist only in Calico Enterprise and Calico Cloud")
            .fix("write `flowLogs: IfSupported` to go on without it"),
        ),
        Some(false) => builder.note(
            about,
            format!("not done: this edition of Calico has no field {FLOW_LOGS}"),
        ),
        None if flow_logs == FlowLogs::Enabled => builder.error(
            Error::failed(
                codes::FLOW_LOGS_UNSUPPORTED,
                format!("{key}: whether this edition has {FLOW_LOGS} could not be read"),
            )
            .at(wanted.span)
            .fix("allow get of /openapi/v3, or write `flowLogs: IfSupported`"),
        ),
        None => builder.note(
            about,
            "not done: the served schema could not be read, so the edition is unknown",
        ),
    }
}

/// A claim needs its object: hostguard never creates what others own.
pub(super) fn must_exist(builder: &mut Builder, key: &Key, section: &str, span: Span, hint: &str) {
    if builder.state.get(key) == Observed::Absent {
        builder.error(
            Error::failed(
                codes::NO_SUCH_OBJECT,
                format!("{key} does not exist; {section} claims a field of it"),
            )
            .at(span)
            .fix(hint),
        );
    }
}

/// The nodes of a group, by name. One that finds none by labels, names or pick is an error: it would protect nothing.
fn nodes_of(builder: &mut Builder, group_name: &str, group: &NodeGroup) -> Vec<String> {
    let state = builder.state;
    let (Ok(names), Ok(nodes)) = (state.keys(Kind::Node), state.list(Kind::Node)) else {
        return unreadable_nodes(builder, group_name, group);
    };
    match &group.select {
        Select::All => names.map(|key| key.name.clone()).collect(),
        Select::MatchLabels(labels) => {
            let found: Vec<String> = nodes
                .filter(|(_, node)| has_labels(node, labels))
                .map(|(key, _)| key.name.clone())
                .collect();
            if found.is_empty() {
                let seen = names.count();
                let text: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
                let message = format!("nodes.{group_name}: no node has the labels {}", text.join(", "));
                builder.error(Error::failed(codes::EMPTY_GROUP, message).at(group.span).fix(format!(
                    "look at `kubectl get nodes --show-labels`; {seen} nodes were seen"
                )));
            }
            found
        }
        Select::Names(wanted) => {
            let nodes: BTreeSet<&str> = names.map(|key| key.name.as_str()).collect();
            for name in wanted {
                if !nodes.contains(name.value.as_str()) {
                    let error = Error::failed(
                        codes::NO_SUCH_NODE,
                        format!("nodes.{group_name}: there is no node `{}`", name.value),
                    )
                    .at(name.span);
                    let near = nearest(&name.value, nodes.iter().copied());
                    let fix = near.map_or_else(|| known(&nodes), |near| format!("did you mean `{near}`?"));
                    builder.error(error.fix(fix));
                }
            }
            wanted
                .iter()
                .map(|name| name.value.clone())
                .filter(|name| nodes.contains(name.as_str()))
                .collect()
        }
        Select::Pick { address, count } => {
            let found = nodes.map(|(key, node)| (key.name.as_str(), ineligible(&node, *address)));
            let nodes: BTreeMap<&str, Option<String>> = found.collect();
            pick(builder, group_name, group, &nodes, *count)
        }
    }
}

/// What could have been named; a few.
fn known(nodes: &BTreeSet<&str>) -> String {
    let few: Vec<String> = nodes.iter().take(5).map(|name| format!("`{name}`")).collect();
    match nodes.len() - few.len() {
        _ if few.is_empty() => "see `kubectl get nodes`: none was seen".to_string(),
        0 => format!("write the name of one that there is: {}", few.join(", ")),
        more => format!(
            "write the name of one that there is: {} and {more} more",
            few.join(", ")
        ),
    }
}

/// Without a list of nodes only groups by name are known; `diff` reports the labels as unreadable.
fn unreadable_nodes(builder: &mut Builder, group_name: &str, group: &NodeGroup) -> Vec<String> {
    if let Select::Names(names) = &group.select {
        return names.iter().map(|name| name.value.clone()).collect();
    }
    let Err(why) = builder.state.list(Kind::Node) else {
        return Vec::new();
    };
    builder.error(
        Error::failed(
            codes::UNREADABLE,
            format!("nodes.{group_name}: nodes could not be read ({why}), so the group is unknown"),
        )
        .at(group.span)
        .fix(why.way_out(Kind::Node)),
    );
    Vec::new()
}

fn pick(
    builder: &mut Builder,
    group_name: &str,
    group: &NodeGroup,
    // why each cannot be picked
    nodes: &BTreeMap<&str, Option<String>>,
    count: usize,
) -> Vec<String> {
    let eligible: Vec<&str> = nodes
        .iter()
        .filter(|(_, ineligible)| ineligible.is_none())
        .map(|(name, _)| *name)
        .collect();
    let earlier = builder.mine.picks.get(group_name).cloned().unwrap_or_default();
    let stay = earlier
        .iter()
        .map(String::as_str)
        .filter(|name| eligible.contains(name));
    let others = eligible
        .iter()
        .copied()
        .filter(|name| !earlier.iter().any(|picked| picked == name));
    let mut picked: Vec<String> = stay.chain(others).take(count).map(str::to_string).collect();
    for gone in earlier.iter().filter(|name| !picked.contains(name)) {
        let why = match nodes.get(gone.as_str()) {
            None => "it is gone".to_string(),
            Some(Some(why)) => why.clone(),
            Some(None) => format!("the count is now {count}"),
        };
        builder.note(
            format!("nodes.{group_name}"),
            format!("the pick moves: {gone} is no longer picked, {why}"),
        );
    }
    picked.sort();
    if picked.len() < count {
        let reasons: Vec<String> = nodes
            .iter()
            .filter_map(|(name, ineligible)| Some(format!("{name}: {}", ineligible.as_ref()?)))
            .collect();
        let message = format!(
            "nodes.{group_name}: {count} wanted, {} of {} nodes are eligible",
            eligible.len(),
            nodes.len()
        );
        let mut error = Error::failed(codes::PICK_SHORT, message).at(group.span);
        for reason in reasons.iter().take(5) {
            error = error.cause(reason.clone());
        }
        if reasons.len() > 5 {
            error = error.cause(format!("and {} more", reasons.len() - 5));
        }
        builder.error(error.fix("lower `count`, choose another `address`, or name the nodes with `names`"));
    }
    picked
}

/// Why a node cannot be picked.
fn ineligible(node: &Value, address: Option<AddressType>) -> Option<String> {
    let ready = node
        .pointer("/status/conditions")
        .and_then(Value::as_array)
        .is_some_and(|all| all.iter().any(|c| c["type"] == "Ready" && c["status"] == "True"));
    if !ready {
        return Some("it is not Ready".into());
    }
    if node.pointer("/spec/unschedulable") == Some(&json!(true)) {
        return Some("it is unschedulable".into());
    }
    if let Some(address) = address
        && addresses_of(node, address).next().is_none()
    {
        return Some(format!("it has no {}", address_name(address)));
    }
    None
}

pub(super) fn address_name(address: AddressType) -> &'static str {
    match address {
        AddressType::InternalIP => "InternalIP",
        AddressType::ExternalIP => "ExternalIP",
    }
}

pub(super) fn addresses_of(node: &Value, address: AddressType) -> impl Iterator<Item = &str> {
    let wanted = address_name(address);
    let all = node.pointer("/status/addresses").and_then(Value::as_array);
    all.into_iter()
        .flatten()
        .filter(move |a| a["type"] == wanted)
        .filter_map(|a| a["address"].as_str())
}

fn has_labels(node: &Value, wanted: &BTreeMap<String, String>) -> bool {
    let labels = node.pointer("/metadata/labels");
    wanted.iter().all(|(key, value)| {
        labels
            .and_then(|map| map.get(key))
            .is_some_and(|found| found == value.as_str())
    })
}

/// Whether a selector of rules or policies matches these labels; one that cannot be parsed matches nothing here.
pub(super) fn selects(selector: &str, labels: &impl Labels) -> bool {
    Selector::parse(selector).is_ok_and(|selector| selector.matches(labels))
}

/// The address a lookup stands for.
pub(super) fn node_address(state: &State, node: &str, address: AddressType, v4: bool) -> Result<String, String> {
    let key = Key::cluster(Kind::Node, node);
    let object = match state.get(&key) {
        Observed::Present(object) => object,
        Observed::Absent => return Err(format!("there is no node `{node}`")),
        Observed::Unreadable(why) => return Err(format!("nodes could not be read ({why})")),
    };
    let family = |text: &&str| text.parse::<std::net::IpAddr>().is_ok_and(|ip| ip.is_ipv4() == v4);
    let family_name = if v4 { "IPv4" } else { "IPv6" };
    addresses_of(&object, address)
        .find(family)
        .map(str::to_string)
        .ok_or_else(|| format!("node `{node}` has no {family_name} {}", address_name(address)))
}
