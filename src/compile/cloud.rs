//! What the firewall of the cloud is to let through becomes rules of security groups.
//!
//! A rule is one object, named by what makes it this rule. One that somebody else made is used and never owned. Which
//! group the rules go into is said, with the reason; where it matters and is not known, nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::Builder;
use super::hosts::addresses_of;
use crate::aws::{Interface, PLAN_TAG, Peer, RULES_PER_GROUP, Rule};
use crate::changes::Note;
use crate::error::{Error, codes};
use crate::net::{Cidr, Family, Protocol};
use crate::plan::{AddressType, CloudAllow, CloudSource, Ports};
use crate::resource::{Key, Kind};
use crate::source::Span;
use crate::state::{Observed, aws_instance};

/// The tag that EKS puts on the security group of a cluster (EKS user guide, "Amazon EKS security group requirements").
const EKS_TAG: &str = "aws:eks:cluster-name";

pub(super) fn compile(builder: &mut Builder) {
    let allows = builder.plan.cloud.clone();
    let Some(first) = allows.first() else { return };
    if !readable(builder, first.span) {
        return;
    }
    let mut wanted: BTreeMap<Key, (Rule, Span)> = BTreeMap::new();
    for allow in &allows {
        let nodes = builder.groups.get(&allow.to).cloned().unwrap_or_default();
        let Some(ports) = ports_of(builder, allow) else {
            continue;
        };
        for group in groups_of(builder, allow, &nodes) {
            for (protocol, port) in &ports {
                for source in &allow.from {
                    let rule = Rule {
                        group: group.clone(),
                        egress: false,
                        protocol: protocol.to_string().to_ascii_lowercase(),
                        ports: Some((*port, *port)),
                        peer: peer(source),
                        id: None,
                    };
                    wanted.entry(rule.key()).or_insert((rule, allow.span));
                }
            }
        }
    }
    for allow in &allows {
        open_anyway(builder, allow);
    }
    quotas(builder, &wanted);
    for (key, (rule, span)) in wanted {
        want(builder, key, &rule, span);
    }
}

/// Without these kinds nothing is known of any group.
fn readable(builder: &mut Builder, span: Span) -> bool {
    for kind in [Kind::NetworkInterface, Kind::SecurityGroup, Kind::SecurityGroupRule] {
        let Err(why) = builder.state.list(kind).map(|_| ()) else {
            continue;
        };
        let message = format!("cloud: {kind} could not be read ({why}), so the nodes' security groups are not known");
        let error = Error::failed(codes::UNREADABLE, message).at(span);
        let error = error.fix(why.way_out(kind));
        builder.error(error);
        return false;
    }
    true
}

/// `None` where the ports are an error of the service's, or of a protocol that no rule can divide by port.
fn ports_of(builder: &mut Builder, allow: &CloudAllow) -> Option<Vec<(Protocol, u16)>> {
    let ports = match &allow.at {
        Ports::Numbers(numbers) => numbers.clone(),
        Ports::Service(name) => builder.node_ports.get(name)?.clone(),
    };
    if ports.contains_key(&Protocol::Sctp) {
        let message = format!(
            "cloud: {} has a node port of SCTP, of which a security group opens all ports or none",
            allow.at
        );
        builder.error(
            Error::failed(codes::CLOUD_PROTOCOL, message)
                .at(allow.span)
                .fix("name the ports of TCP and UDP under `ports`"),
        );
        return None;
    }
    let each = |(protocol, ports): (Protocol, BTreeSet<u16>)| ports.into_iter().map(move |port| (protocol, port));
    Some(ports.into_iter().flat_map(each).collect())
}

/// The security groups that the rules go into: one for each node, found or picked.
fn groups_of(builder: &mut Builder, allow: &CloudAllow, nodes: &[String]) -> BTreeSet<String> {
    let interfaces: Vec<Interface> = interfaces(builder);
    let mut chosen: BTreeMap<(String, &'static str), Vec<String>> = BTreeMap::new();
    let mut uncovered: Vec<String> = Vec::new();
    for node in nodes {
        let own = match interfaces_of(builder, node, &interfaces) {
            Ok(own) => own,
            Err(why) => {
                let error = Error::failed(codes::CLOUD_NODE, format!("cloud: {why}")).at(allow.span);
                builder.error(error.fix(
                    "let the group hold nodes that are EC2 instances, and read the region and account that they are in",
                ));
                continue;
            }
        };
        match choose(builder, allow, node, &own) {
            Ok((group, why)) => chosen.entry((group, why)).or_default().push(node.clone()),
            Err(None) => uncovered.push(node.clone()),
            Err(Some(error)) => builder.error(*error),
        }
    }
    if let Some(group) = &allow.group {
        picked(
            builder,
            allow,
            &group.value,
            chosen.is_empty(),
            &uncovered,
            nodes,
            &interfaces,
        );
    }
    for ((group, why), nodes) in &chosen {
        let others = others_in(builder, group, nodes, &interfaces);
        let mut text = format!(
            "rules go into {}, {why} of {}",
            named_group(builder, group),
            nodes.join(", ")
        );
        if !others.is_empty() {
            text.push_str(&format!(
                "; they open the same on {}, which the group is on too",
                others.join(", ")
            ));
        }
        builder.note(format!("cloud.{}", allow.to), text);
    }
    chosen.into_keys().map(|(group, _)| group).collect()
}

fn interfaces(builder: &Builder) -> Vec<Interface> {
    let all = builder.state.list(Kind::NetworkInterface).into_iter().flatten();
    all.map(|(_, object)| Interface::read(&object)).collect()
}

/// All interfaces of a node, that with the node's own address first.
fn interfaces_of(builder: &Builder, node: &str, all: &[Interface]) -> Result<Vec<Interface>, String> {
    let key = Key::cluster(Kind::Node, node);
    let object = builder.state.present(&key).unwrap_or_default();
    let provider = object
        .pointer("/spec/providerID")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let Some((_, instance)) = aws_instance(provider) else {
        let found = if provider.is_empty() { "none" } else { provider };
        return Err(format!("{key} is no EC2 instance: its spec.providerID is {found}"));
    };
    let mut own: Vec<Interface> = all
        .iter()
        .filter(|i| i.instance.as_deref() == Some(instance))
        .cloned()
        .collect();
    if own.is_empty() {
        return Err(format!(
            "{key}: no network interface of its instance {instance} was found"
        ));
    }
    let internal: Vec<&str> = addresses_of(&object, AddressType::InternalIP).collect();
    let holds = |interface: &Interface| {
        interface
            .addresses()
            .any(|own| internal.contains(&own.to_string().as_str()))
    };
    own.sort_by_key(|interface| (!holds(interface), !interface.primary, interface.id.clone()));
    Ok(own)
}

/// The group for a node and why it; `Err(None)` where the one that the plan picks is not on the node.
fn choose(
    builder: &Builder,
    allow: &CloudAllow,
    node: &str,
    own: &[Interface],
) -> Result<(String, &'static str), Option<Box<Error>>> {
    if let Some(group) = &allow.group {
        let on = own.iter().any(|interface| interface.groups.contains(&group.value));
        return on.then(|| (group.value.clone(), "picked by the plan,")).ok_or(None);
    }
    let groups = &own[0].groups;
    let clusters = builder.state.list(Kind::EksCluster).into_iter().flatten();
    let clusters: Vec<String> = clusters
        .filter_map(|(_, cluster)| Some(cluster.pointer("/spec/clusterSecurityGroupId")?.as_str()?.to_string()))
        .collect();
    if let Some(group) = groups.iter().find(|group| clusters.contains(group)) {
        return Ok((
            group.clone(),
            "the EKS cluster's security group, on the first interface",
        ));
    }
    let tagged: Vec<&String> = groups
        .iter()
        .filter(|group| tag(builder, group, EKS_TAG).is_some())
        .collect();
    match (tagged.as_slice(), groups.as_slice()) {
        ([group], _) => Ok((
            (*group).clone(),
            "which has the tag of an EKS cluster, on the first interface",
        )),
        (_, [group]) => Ok((group.clone(), "the only security group of the first interface")),
        _ => {
            let message = format!("cloud: {node} has several security groups, and none is an EKS cluster's");
            let mut error = Error::failed(codes::CLOUD_AMBIGUOUS, message).at(allow.span);
            for group in groups {
                let others = others_in(builder, group, &[node.to_string()], &interfaces(builder));
                let on = if others.is_empty() {
                    "no other node".to_string()
                } else {
                    others.join(", ")
                };
                error = error.cause(format!("{}, also on {on}", named_group(builder, group)));
            }
            let example = groups.first().map_or("sg-…", String::as_str);
            Err(Some(Box::new(
                error.fix(format!("pick one: `securityGroup: {example}`")),
            )))
        }
    }
}

/// What is to be said of a group that the plan picks: that no node has it, or which have not.
fn picked(
    builder: &mut Builder,
    allow: &CloudAllow,
    group: &str,
    nowhere: bool,
    uncovered: &[String],
    nodes: &[String],
    all: &[Interface],
) {
    if uncovered.is_empty() {
        return;
    }
    if !nowhere {
        let text = format!(
            "not opened on {}: {group} is on no interface of theirs",
            uncovered.join(", ")
        );
        return builder.note(format!("cloud.{}", allow.to), text);
    }
    let message = format!("cloud: {group} is on no interface of the nodes of group `{}`", allow.to);
    let span = allow.group.as_ref().map_or(allow.span, |group| group.span);
    let mut error = Error::failed(codes::CLOUD_GROUP, message).at(span);
    for node in nodes.iter().take(5) {
        let own = interfaces_of(builder, node, all).unwrap_or_default();
        let groups: BTreeSet<&String> = own.iter().flat_map(|interface| &interface.groups).collect();
        let groups: Vec<String> = groups.into_iter().map(|group| named_group(builder, group)).collect();
        error = error.cause(format!("{node} has {}", groups.join(", ")));
    }
    builder.error(error.fix("pick one of these, or leave `securityGroup` out"));
}

/// Nodes, other than these, that a group is on.
fn others_in(builder: &Builder, group: &str, but: &[String], all: &[Interface]) -> Vec<String> {
    let nodes = builder.state.keys(Kind::Node).into_iter().flatten();
    let names = nodes.map(|key| key.name.clone()).filter(|name| !but.contains(name));
    let has = |name: &String| {
        let own = interfaces_of(builder, name, all).unwrap_or_default();
        own.iter()
            .any(|interface| interface.groups.iter().any(|own| own == group))
    };
    names.filter(has).collect()
}

fn tag(builder: &Builder, group: &str, tag: &str) -> Option<String> {
    let object = builder.state.present(&Key::cluster(Kind::SecurityGroup, group))?;
    object["spec"]["tags"][tag].as_str().map(str::to_string)
}

/// A group by its id, and its name where that is known.
fn named_group(builder: &Builder, group: &str) -> String {
    let object = builder.state.present(&Key::cluster(Kind::SecurityGroup, group));
    match object.as_ref().and_then(|object| object["spec"]["groupName"].as_str()) {
        Some(name) => format!("{group} ({name})"),
        None => group.to_string(),
    }
}

/// A rule of ours, or one that is there already and somebody else's.
fn want(builder: &mut Builder, key: Key, rule: &Rule, span: Span) {
    if let Observed::Present(object) = builder.state.get(&key) {
        let recorded =
            |inventory: &crate::inventory::Inventory| inventory.entry(&key).is_some_and(|entry| entry.created);
        let ours = recorded(&builder.mine) || builder.others.values().any(recorded);
        if !ours || object["spec"]["tags"][PLAN_TAG].is_null() {
            let id = Rule::read(&object).and_then(|rule| rule.id).unwrap_or_default();
            let text = format!("is there already as {id}, made by somebody else: it is used, and never taken back");
            return builder.note(key.to_string(), text);
        }
    }
    builder.object(key, &json!({"spec": rule.spec()}), "cloud".to_string(), span);
}

/// Says which rules of others let in more than the plan names, at the same ports of the same nodes.
fn open_anyway(builder: &mut Builder, allow: &CloudAllow) {
    let Some(ports) = ports_of(builder, allow) else { return };
    let nodes = builder.groups.get(&allow.to).cloned().unwrap_or_default();
    let all = interfaces(builder);
    let own = nodes
        .iter()
        .flat_map(|node| interfaces_of(builder, node, &all).unwrap_or_default());
    let groups: BTreeSet<String> = own.flat_map(|interface| interface.groups).collect();
    let rules = builder.state.list(Kind::SecurityGroupRule).into_iter().flatten();
    let mut notes = Vec::new();
    for (_, object) in rules.filter(|(_, object)| object["spec"]["tags"][PLAN_TAG].is_null()) {
        let Some(rule) = Rule::read(&object).filter(|rule| !rule.egress && groups.contains(&rule.group)) else {
            continue;
        };
        let named = |net: &Cidr| {
            allow.from.iter().any(|own| match own {
                CloudSource::Net(own) => own.prefix() <= net.prefix() && own.contains(net.network()),
                CloudSource::PrefixList(_) | CloudSource::Group(_) => false,
            })
        };
        let wider = match &rule.peer {
            Peer::Net(net) => !named(net),
            Peer::PrefixList(id) => !allow.from.contains(&CloudSource::PrefixList(id.clone())),
            // nodes of the group among themselves
            Peer::Group(_) => false,
        };
        let opens = ports.iter().filter(|(protocol, port)| {
            let within = rule.ports.is_none_or(|(from, to)| (from..=to).contains(port));
            within && rule.protocols().is_some_and(|own| own.holds(protocol.number()))
        });
        let opens: Vec<String> = opens
            .map(|(protocol, port)| format!("{}/{port}", protocol.to_string().to_ascii_lowercase()))
            .collect();
        if wider && !opens.is_empty() {
            let id = rule.id.clone().unwrap_or_default();
            let text = format!(
                "{} is open to {} anyway, by {id} of {}",
                opens.join(", "),
                rule.peer,
                named_group(builder, &rule.group)
            );
            notes.push(Note {
                about: format!("cloud.{}", allow.to),
                text,
                code: Some(codes::CLOUD_OPEN_ANYWAY.as_str()),
            });
        }
    }
    builder.notes.extend(notes);
}

/// Refuses more rules than a group holds, before the first is written.
fn quotas(builder: &mut Builder, wanted: &BTreeMap<Key, (Rule, Span)>) {
    let mut new: BTreeMap<(&str, Family), (usize, Span)> = BTreeMap::new();
    for (rule, span) in wanted
        .iter()
        .filter(|(key, _)| builder.state.present(key).is_none())
        .map(|(_, new)| new)
    {
        for family in Family::ALL {
            let count = new.entry((&rule.group, family)).or_insert((0, *span));
            count.0 += taken(builder, rule, family);
        }
    }
    new.retain(|_, (more, _)| *more > 0);
    for ((group, family), (more, span)) in new {
        let object = builder.state.present(&Key::cluster(Kind::SecurityGroup, group));
        let quota = object.and_then(|object| object["spec"]["rulesQuota"].as_u64());
        let quota = quota
            .and_then(|quota| usize::try_from(quota).ok())
            .unwrap_or(RULES_PER_GROUP);
        let there = weight(builder, group, family);
        // more than that are there already: the account's quota is another
        if there > quota || there + more <= quota {
            continue;
        }
        let name = named_group(builder, group);
        let message =
            format!("cloud: {name} holds {there} of {quota} incoming rules for {family}, and {more} more are wanted");
        let error = Error::failed(codes::CLOUD_QUOTA, message).at(span);
        builder.error(error.fix("name fewer or larger networks, take rules out, or raise the account's quota"));
    }
}

/// How much of its quota a group's incoming rules take.
fn weight(builder: &Builder, group: &str, family: Family) -> usize {
    let rules = builder.state.list(Kind::SecurityGroupRule).into_iter().flatten();
    let rules = rules.filter_map(|(_, object)| Rule::read(&object));
    let own = rules.filter(|rule| rule.group == group && !rule.egress);
    own.map(|rule| taken(builder, &rule, family)).sum()
}

/// A rule that names a group counts in both families, one that names a prefix list as often as the list has entries.
fn taken(builder: &Builder, rule: &Rule, family: Family) -> usize {
    match &rule.peer {
        Peer::Net(net) => usize::from(net.family() == family),
        Peer::Group(_) => 1,
        Peer::PrefixList(id) => {
            let object = builder.state.present(&Key::cluster(Kind::PrefixList, id.clone()));
            let Some(spec) = object.as_ref().map(|object| &object["spec"]) else {
                return 1;
            };
            let same = spec["addressFamily"]
                .as_str()
                .is_none_or(|text| text == family.to_string());
            let listed = spec["entries"].as_array().map_or(0, Vec::len);
            let most = spec["maxEntries"].as_u64().and_then(|most| usize::try_from(most).ok());
            if same { most.unwrap_or(listed) } else { 0 }
        }
    }
}

fn peer(source: &CloudSource) -> Peer {
    match source {
        CloudSource::Net(net) => Peer::Net(*net),
        CloudSource::PrefixList(id) => Peer::PrefixList(id.clone()),
        CloudSource::Group(id) => Peer::Group(id.clone()),
    }
}
