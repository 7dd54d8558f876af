//! What EC2 and EKS answer, as objects of the shape that states keep.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::answers::{Acl, Group, Instance, Interface, Items, List, Rule, Tag};
use crate::net::Cidr;
use crate::resource::Kind;

/// An object with its name; what is null in `spec` is left out.
fn object(kind: Kind, name: &str, uid: &str, spec: Value) -> Value {
    let api = kind.api();
    json!({
        "apiVersion": api.api_version(),
        "kind": api.kind,
        "metadata": {"name": name, "uid": uid},
        "spec": without_nulls(spec),
    })
}

fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let kept = map.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(list) => Value::Array(list.into_iter().map(without_nulls).collect()),
        other => other,
    }
}

fn tags(set: &Items<Tag>) -> Value {
    let pairs: BTreeMap<&str, &str> = set.item.iter().map(|tag| (&*tag.key, &*tag.value)).collect();
    json!(pairs)
}

pub(super) fn instance(from: &Instance) -> Value {
    let spec = json!({
        "state": from.instance_state.as_ref().map(|state| &state.name),
        "vpcId": from.vpc_id,
        "subnetId": from.subnet_id,
        "privateIpAddress": from.private_ip_address,
        "publicIpAddress": from.ip_address,
        "tags": tags(&from.tag_set),
    });
    object(Kind::Instance, &from.instance_id, &from.instance_id, spec)
}

pub(super) fn interface(of: &Instance, from: &Interface) -> Value {
    let mut groups: Vec<&str> = from.group_set.item.iter().map(|group| &*group.group_id).collect();
    groups.sort_unstable();
    let addresses = from.private_ip_addresses_set.item.iter().map(|address| {
        let public = address.association.as_ref().and_then(|a| a.public_ip.as_ref());
        json!({"privateIpAddress": address.private_ip_address, "publicIp": public})
    });
    let ipv6 = from.ipv6_addresses_set.item.iter().map(|address| &address.ipv6_address);
    let spec = json!({
        "instanceId": of.instance_id,
        "deviceIndex": from.attachment.as_ref().and_then(|attachment| attachment.device_index),
        "subnetId": from.subnet_id,
        "vpcId": from.vpc_id,
        "groups": groups,
        "privateIpAddresses": addresses.collect::<Vec<_>>(),
        "ipv6Addresses": ipv6.collect::<Vec<_>>(),
    });
    object(
        Kind::NetworkInterface,
        &from.network_interface_id,
        &from.network_interface_id,
        spec,
    )
}

pub(super) fn group(from: &Group) -> Value {
    let spec = json!({"groupName": from.group_name, "vpcId": from.vpc_id, "tags": tags(&from.tag_set)});
    object(Kind::SecurityGroup, &from.group_id, &from.group_id, spec)
}

/// A rule, under the name that says what it is.
pub(super) fn rule(from: &Rule) -> Result<Value, String> {
    let group = &from.referenced_group_info;
    let group = group.as_ref().and_then(|group| group.group_id.clone());
    let id = &from.security_group_rule_id;
    let spec = json!({
        "groupId": from.group_id,
        "isEgress": from.is_egress,
        "ipProtocol": from.ip_protocol,
        "fromPort": from.from_port.unwrap_or(-1),
        "toPort": from.to_port.unwrap_or(-1),
        "cidrIpv4": canonical(&from.cidr_ipv4)?,
        "cidrIpv6": canonical(&from.cidr_ipv6)?,
        "prefixListId": from.prefix_list_id,
        "referencedGroupId": group,
        "description": from.description.as_ref().filter(|text| !text.is_empty()),
        "tags": tags(&from.tag_set),
    });
    let mut rule = object(Kind::SecurityGroupRule, id, id, spec);
    let read = crate::aws::Rule::read(&rule);
    let read = read.ok_or_else(|| format!("rule {id} is not understood: it has no peer, or ports that are none"))?;
    rule["metadata"]["name"] = json!(read.key().name);
    rule["status"] = json!({"ruleId": id});
    Ok(rule)
}

/// EC2 keeps networks in their canonical spelling; so do names.
fn canonical(cidr: &Option<String>) -> Result<Option<String>, String> {
    let Some(text) = cidr else { return Ok(None) };
    let cidr = Cidr::parse_lenient(text).map_err(|_| format!("{text} is no network"))?;
    Ok(Some(cidr.to_string()))
}

pub(super) fn acl(from: &Acl) -> Value {
    let mut subnets: Vec<&str> = from
        .association_set
        .item
        .iter()
        .filter_map(|a| a.subnet_id.as_deref())
        .collect();
    subnets.sort_unstable();
    let mut entries: Vec<_> = from.entry_set.item.iter().collect();
    entries.sort_by_key(|entry| (entry.egress, entry.rule_number, entry.ipv6_cidr_block.is_some()));
    let entries = entries.into_iter().map(|entry| {
        let range = entry
            .port_range
            .as_ref()
            .map(|range| json!({"from": range.from, "to": range.to}));
        let icmp = entry.icmp_type_code.as_ref();
        json!({
            "ruleNumber": entry.rule_number,
            "egress": entry.egress,
            "protocol": entry.protocol,
            "ruleAction": entry.rule_action,
            "cidrBlock": entry.cidr_block,
            "ipv6CidrBlock": entry.ipv6_cidr_block,
            "portRange": range,
            "icmpTypeCode": icmp.map(|icmp| json!({"type": icmp.r#type, "code": icmp.code})),
        })
    });
    let spec = json!({"vpcId": from.vpc_id, "subnetIds": subnets, "entries": entries.collect::<Vec<_>>()});
    object(Kind::NetworkAcl, &from.network_acl_id, &from.network_acl_id, spec)
}

pub(super) fn prefix_list(from: &List, mut entries: Vec<String>) -> Value {
    entries.sort_unstable();
    let spec = json!({
        "prefixListName": from.prefix_list_name,
        "addressFamily": from.address_family,
        "maxEntries": from.max_entries,
        "entries": entries,
    });
    object(Kind::PrefixList, &from.prefix_list_id, &from.prefix_list_id, spec)
}

/// From `DescribeCluster`.
pub(super) fn eks_cluster(name: &str, region: &str, answer: &Value) -> Result<Value, String> {
    let cluster = answer.get("cluster").and_then(Value::as_object);
    let cluster = cluster.ok_or_else(|| "the answer has no cluster".to_string())?;
    let network = cluster.get("resourcesVpcConfig").and_then(Value::as_object);
    let field = |name: &str| network.unwrap_or(&Map::new()).get(name).cloned();
    let spec = json!({
        "clusterSecurityGroupId": field("clusterSecurityGroupId"),
        "vpcId": field("vpcId"),
        "region": region,
    });
    let uid = cluster.get("arn").and_then(Value::as_str).unwrap_or(name);
    Ok(object(Kind::EksCluster, name, uid, spec))
}
