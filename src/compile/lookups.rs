//! Values that the plan takes from live state: node addresses.
//!
//! Resolved once, before the second check of the plan; the answer is shown with its provenance.

use std::collections::BTreeMap;

use super::Builder;
use super::hosts::{self, node_address};
use crate::error::{Error, codes};
use crate::net::Family;
use crate::plan::{InputValue, LookupNode, Plan};
use crate::state::State;

/// The values of all lookup inputs, or every one that cannot be had.
pub fn resolve(plan: &Plan, state: &State) -> Result<BTreeMap<String, String>, Vec<Error>> {
    let mut values = BTreeMap::new();
    let mut errors = Vec::new();
    let mut groups = None;
    for (name, input) in &plan.inputs {
        let InputValue::Lookup(lookup) = &input.value else {
            continue;
        };
        let node = match &lookup.node {
            LookupNode::Name(node) => Ok(node.clone()),
            LookupNode::Group(group) => {
                let groups = groups.get_or_insert_with(|| groups_of(plan, state));
                only_node(group, groups.get(group).map_or(&[], Vec::as_slice))
            }
        };
        let value = node.and_then(|node| node_address(state, &node, lookup.address, lookup.family == Family::V4));
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
