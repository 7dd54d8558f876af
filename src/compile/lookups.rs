//! Values that the plan takes from live state: addresses of nodes, of instances, of the machine itself.
//!
//! Resolved once, before the second check of the plan; the answer is shown with its provenance.

use std::collections::BTreeMap;

use super::Builder;
use super::hosts::{self, node_address};
use crate::aws::Interface;
use crate::error::{Error, codes};
use crate::net::Family;
use crate::plan::{AddressType, InputValue, Lookup, LookupOf, Plan};
use crate::resource::{Key, Kind};
use crate::state::{Observed, State};

/// The values of all lookup inputs, or every one that cannot be had.
pub fn resolve(plan: &Plan, state: &State) -> Result<BTreeMap<String, String>, Vec<Error>> {
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    let mut groups = None;
    for (name, input) in &plan.inputs {
        let InputValue::Lookup(lookup) = &input.value else {
            continue;
        };
        let of_node = |node: &str| node_address(state, node, lookup.address, lookup.family == Family::V4);
        let value = match &lookup.of {
            LookupOf::Node(node) => of_node(node),
            LookupOf::Group(group) => {
                let groups = groups.get_or_insert_with(|| groups_of(plan, state));
                only_node(group, groups.get(group).map_or(&[], Vec::as_slice)).and_then(|node| of_node(&node))
            }
            LookupOf::Instance(id) => of_instance(state, id, lookup),
            LookupOf::ThisMachine => of_this_machine(state, lookup),
        };
        match value {
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(why) => errors.push(
                Error::failed(
                    codes::LOOKUP_FAILED,
                    format!("input `{name}` could not be looked up: {why}"),
                )
                .at(input.span)
                .fix(format!("give it with --set {name}=ADDRESS")),
            ),
        }
    }
    if errors.is_empty() { Ok(values) } else { Err(errors) }
}

/// What a provider found beside the objects.
fn of_this_machine(state: &State, lookup: &Lookup) -> Result<String, String> {
    match state.looked_up.get(&lookup.source()) {
        Some(Ok(value)) => Ok(value.clone()),
        Some(Err(why)) => Err(why.clone()),
        None => Err("nobody asked the metadata service of AWS: a snapshot is no machine".to_string()),
    }
}

fn of_instance(state: &State, id: &str, lookup: &Lookup) -> Result<String, String> {
    let object = match state.get(&Key::cluster(Kind::Instance, id)) {
        Observed::Present(object) => object,
        Observed::Absent => return Err(format!("there is no instance {id} in this account and region")),
        Observed::Unreadable(why) => return Err(format!("instances could not be read ({why})")),
    };
    if lookup.family == Family::V6 {
        let interfaces = state.list(Kind::NetworkInterface).into_iter().flatten();
        let mut own = interfaces.map(|(_, object)| Interface::read(&object));
        let address = own.find_map(|own| own.v6.first().copied().filter(|_| own.instance.as_deref() == Some(id)));
        return address
            .map(|address| address.to_string())
            .ok_or(format!("{id} has no IPv6 address"));
    }
    let (field, name) = match lookup.address {
        AddressType::ExternalIP => ("publicIpAddress", "public"),
        AddressType::InternalIP => ("privateIpAddress", "private"),
    };
    let found = object["spec"][field].as_str();
    found
        .map(str::to_string)
        .ok_or(format!("{id} has no {name} IPv4 address"))
}

fn groups_of(plan: &Plan, state: &State) -> BTreeMap<String, Vec<String>> {
    let mut builder = Builder::new(plan, state);
    builder.read_inventories();
    hosts::compile(&mut builder);
    builder.groups
}

fn only_node(group: &str, nodes: &[String]) -> Result<String, String> {
    match nodes {
        [node] => Ok(node.clone()),
        nodes => Err(format!(
            "group `{group}` holds {} nodes, a lookup needs exactly one",
            nodes.len()
        )),
    }
}
