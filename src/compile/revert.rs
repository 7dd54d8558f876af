//! A run and the state now → what was there before the run, as something to be wanted like any plan.
//!
//! A value found goes back only where the live one still is what the run wrote. The record says afterwards of these
//! objects what it said before.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{Builder, Compiled, remembered};
use crate::error::{Error, codes};
use crate::history::{Past, Step};
use crate::plan::Plan;
use crate::resource::{FieldPath, Key, Kind, Origin, Resource, Target, Want, fields_of};
use crate::state::State;

/// The graph of what takes `run` back, or why it cannot be. `later`: the runs since.
pub fn compile(plan: &Plan, run: &Past, later: &[Past], state: &State) -> Result<Compiled, Vec<Error>> {
    let mut builder = Builder::new(plan, state);
    builder.guard_cluster();
    builder.read_inventories();
    if run.intent.without_values {
        let message = format!("run {} was kept without the values it found", run.intent.number);
        let fix = "take the whole plan back with `hostguard destroy`, or apply the plan as it was before";
        builder.error(Error::failed(codes::RUN_WITHOUT_VALUES, message).fix(fix));
    }
    let mut entries = match builder.mine.keyed() {
        Ok(keyed) => keyed.into_iter().map(|(key, entry)| (key, entry.clone())).collect(),
        Err(_) => BTreeMap::new(), // reading refused such a record
    };
    for step in run.made() {
        let Some(key) = Key::parse(&step.key) else {
            let message = format!("run {}: `{}` is not a key", run.intent.number, step.key);
            let fix = "restore the run's ConfigMap, or take the whole plan back with `hostguard destroy`";
            builder.error(Error::failed(codes::RUN_UNREADABLE, message).fix(fix));
            continue;
        };
        if let Some(since) = later
            .iter()
            .find(|later| later.made().any(|other| other.key == step.key))
        {
            builder.error(overlaid(run, since, &key));
            continue;
        }
        let want = wanted(step, &key);
        if want == Want::Absent && !entries.contains_key(&key) {
            builder.note(key.to_string(), "stays: the plan's record does not know it any more");
            continue;
        }
        let section = format!("run {}", run.intent.number);
        let origin = Origin { section, span: None };
        builder.resources.insert(
            key.clone(),
            Resource {
                key: key.clone(),
                want,
                origin,
            },
        );
        match &step.entry {
            Some(entry) => entries.insert(key, entry.clone()),
            None => entries.remove(&key),
        };
    }
    policies_come_after_their_tiers(&mut builder);
    remembered::deletions_come_after_their_users(&mut builder);
    let picks = builder.mine.picks.clone();
    let mut compiled = builder.finish()?;
    compiled.picks = picks;
    compiled.entries = Some(entries);
    Ok(compiled)
}

fn overlaid(run: &Past, later: &Past, key: &Key) -> Error {
    let (number, since) = (run.intent.number, later.intent.number);
    let name = &run.intent.plan;
    let message = if later.intent.reverts == Some(number) {
        format!("run {number} was taken back already, by run {since}: {key}")
    } else {
        format!("run {number} cannot be taken back: run {since} changed {key} since")
    };
    let first = format!("take run {since} back first: hostguard revert {since} --name {name}");
    Error::failed(codes::RUN_OVERLAID, message).fix(first)
}

fn wanted(step: &Step, key: &Key) -> Want {
    match (&step.object, step.verb.as_str()) {
        (Some(object), _) => Want::Object(of_deleted(object, key.kind)),
        (None, "create") => Want::Absent,
        (None, _) => {
            let target = |(pointer, found): (&String, &Value)| {
                let before = Some(found.clone()).filter(|found| !found.is_null());
                let wrote = step.wrote.get(pointer).cloned().unwrap_or_default();
                Some((FieldPath::from_pointer(pointer)?, Target::Before { before, wrote }))
            };
            Want::Fields(step.found.iter().filter_map(target).collect())
        }
    }
}

/// The fields of an object that goes back whole; the rest of it is said by its key.
fn of_deleted(object: &Value, kind: Kind) -> BTreeMap<FieldPath, Target> {
    let mut body = Map::new();
    if let Some(spec) = object.get("spec") {
        body.insert("spec".to_string(), spec.clone());
    }
    if !kind.cloud()
        && let Some(labels) = object.pointer("/metadata/labels").and_then(Value::as_object)
    {
        let own = |name: &String| name != crate::inventory::PLAN_LABEL;
        let labels: Map<String, Value> = labels.clone().into_iter().filter(|(name, _)| own(name)).collect();
        if !labels.is_empty() {
            body.insert("metadata".to_string(), serde_json::json!({"labels": labels}));
        }
    }
    let fields = fields_of(&Value::Object(body)).into_iter();
    fields.map(|(path, value)| (path, Target::Value(value))).collect()
}

/// A policy cannot be made before its tier is.
fn policies_come_after_their_tiers(builder: &mut Builder) {
    let tier_of = |resource: &Resource| match &resource.want {
        Want::Object(fields) if resource.key.kind == Kind::GlobalNetworkPolicy => {
            match fields.get(&FieldPath::dotted("spec.tier")) {
                Some(Target::Value(Value::String(tier))) => Some(Key::cluster(Kind::Tier, tier.clone())),
                _ => None,
            }
        }
        _ => None,
    };
    let pairs = builder
        .resources
        .values()
        .filter_map(|resource| Some((resource.key.clone(), tier_of(resource)?)));
    let pairs: Vec<(Key, Key)> = pairs.filter(|(_, tier)| builder.resources.contains_key(tier)).collect();
    for (policy, tier) in pairs {
        builder.edge(&policy, &tier, "the policy is in the tier");
    }
}
