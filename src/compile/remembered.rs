//! What the plan no longer names comes back from its inventory: objects it created go, fields get their old values.
//!
//! What another plan records too stays, and that plan's record keeps the first before-value.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde_json::Value;

use super::Builder;
use super::objects::rule_that_selects;
use crate::error::{Error, codes};
use crate::inventory::{Entry, FORMAT, Inventory, Unusable};
use crate::resource::{FieldPath, Key, Kind, Origin, Resource, Target, Want};

pub(super) fn compile(builder: &mut Builder) {
    let mine = builder.mine.clone();
    let Ok(entries) = mine.keyed() else { return }; // reading refused such a record
    for (key, entry) in entries {
        let claimed_by = other_plans(builder, &key);
        if let Some(resource) = builder.resources.get_mut(&key) {
            add_forgotten_fields(resource, entry, &claimed_by);
            continue;
        }
        if entry.created {
            if let Some((plan, _)) = claimed_by.iter().find(|(_, other)| other.created) {
                builder.note(key.to_string(), format!("stays: plan {plan} wants it too"));
            } else {
                builder.resources.insert(key.clone(), resource(&key, Want::Absent));
            }
        } else {
            let mut back = resource(&key, Want::Fields(BTreeMap::new()));
            add_forgotten_fields(&mut back, entry, &claimed_by);
            builder.resources.insert(key.clone(), back);
        }
    }
    deletions_come_after_their_users(builder);
}

fn resource(key: &Key, want: Want) -> Resource {
    Resource {
        key: key.clone(),
        want,
        origin: Origin {
            section: "inventory".into(),
            span: None,
        },
    }
}

fn other_plans(builder: &Builder, key: &Key) -> Vec<(String, Entry)> {
    let others = builder.others.iter();
    others
        .filter_map(|(plan, inventory)| Some((plan.clone(), inventory.entry(key)?.clone())))
        .collect()
}

/// Adds to a resource the recorded fields that nothing wants now.
fn add_forgotten_fields(resource: &mut Resource, entry: &Entry, claimed_by: &[(String, Entry)]) {
    let (fields, object) = match &mut resource.want {
        Want::Object(fields) => (fields, true),
        Want::Fields(fields) => (fields, false),
        Want::Absent => return,
    };
    for (pointer, recorded) in &entry.fields {
        let Some(path) = FieldPath::from_pointer(pointer) else {
            continue;
        };
        if fields.contains_key(&path) || claimed_by.iter().any(|(_, other)| other.fields.contains_key(pointer)) {
            continue;
        }
        let target = if object && path.is_closed(resource.key.kind) {
            Target::Value(Value::Null)
        } else {
            Target::Before {
                before: recorded.before.clone(),
                wrote: recorded.wrote.clone(),
            }
        };
        fields.insert(path, target);
    }
}

/// A tier goes after the policies in it, a network set after the policies that select it.
pub(super) fn deletions_come_after_their_users(builder: &mut Builder) {
    let going = |builder: &Builder, kind: Kind| -> Vec<Key> {
        let all = builder.resources.values();
        all.filter(|r| r.key.kind == kind && r.want == Want::Absent)
            .map(|r| r.key.clone())
            .collect()
    };
    let Ok(policies) = builder.state.list(Kind::GlobalNetworkPolicy) else {
        return;
    };
    let policies: Vec<(&Key, Cow<'_, Value>)> = policies.collect();
    for tier in going(builder, Kind::Tier) {
        let mut users = Vec::new();
        for (key, policy) in &policies {
            if policy
                .pointer("/spec/tier")
                .and_then(Value::as_str)
                .unwrap_or("default")
                != tier.name
            {
                continue;
            }
            if builder.resources.get(key).is_some_and(|r| r.want == Want::Absent) {
                builder.edge(&tier, key, "the policy is in the tier");
            } else {
                users.push(key.to_string());
            }
        }
        if !users.is_empty() {
            builder.error(
                Error::failed(
                    codes::TIER_IN_USE,
                    format!("{tier} cannot go: {} is in it", users.join(", ")),
                )
                .consequence("Calico keeps a tier until the last policy in it is gone")
                .fix("delete those policies or move them to another tier, then try again"),
            );
        }
    }
    for set in going(builder, Kind::GlobalNetworkSet) {
        let labels = labels_of(builder, &set);
        for (key, policy) in &policies {
            if let Some(spec) = policy.get("spec")
                && builder.resources.contains_key(key)
                && let Some(rule) = rule_that_selects(spec, &labels)
            {
                builder.edge(&set, key, format!("the policy's {rule} selects the set"));
            }
        }
    }
}

fn labels_of(builder: &Builder, key: &Key) -> BTreeMap<String, String> {
    builder
        .state
        .present(key)
        .map(|object| crate::state::labels_of(&object).to_map())
        .unwrap_or_default()
}

/// The refusal for a record that this binary cannot use.
pub(super) fn unusable(plan: &str, why: &Unusable) -> Error {
    let name = Inventory::key("", plan).name;
    match why {
        Unusable::Newer { found } => Error::failed(
            codes::INVENTORY_NEWER,
            format!("the inventory of plan {plan} has format {found}, this hostguard reads up to {FORMAT}"),
        )
        .fix("use the newer hostguard that wrote it"),
        Unusable::Broken(detail) => Error::failed(
            codes::INVENTORY_BROKEN,
            format!("the inventory of plan {plan} (ConfigMap {name}) cannot be read"),
        )
        .cause(detail.clone())
        .consequence("what the plan owns and which values it found are not known, so nothing can be taken back safely")
        .fix("restore the ConfigMap from a backup or its managed history"),
    }
}
