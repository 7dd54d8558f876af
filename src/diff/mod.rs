//! Graph × State → ChangeSet: what differs, field by field, and who owns it.
//!
//! Local and pure. Compares only what the plan claims, in the canonical form of its kind, and says for every field
//! what the record must remember. Knows nothing of servers: a conflict here is two claims, not an HTTP status.

mod between;
pub mod canon;
mod owners;
mod record;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use crate::changes::{Change, ChangeSet, FieldChange, Note, Op, hex_digest};
use crate::compile::Compiled;
use crate::error::{Error, Kind as ErrorKind, codes};
use crate::graph::Placed;
use crate::inventory::{Entry, PLAN_LABEL, Recorded};
use crate::resource::{FieldPath, Key, Kind, Origin, Target, Want, fields_of};
use crate::state::{Ahead, Object, Observed, State};

pub use between::{Altered, Between, End, between};
pub use record::Record;

/// What the caller decides.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub inventory_namespace: String,
    /// Fields to take from another applier, as `KEY:FIELD`.
    pub force_conflicts: BTreeSet<String>,
}

/// Everything that `plan` shows and `apply` does.
#[derive(Clone, Debug)]
pub struct Difference {
    pub set: ChangeSet,
    pub record: Record,
    /// Claims of others with another value. Nothing is applied while there is one.
    pub conflicts: Vec<Error>,
}

/// Compares what is wanted with what is there.
pub fn diff(compiled: &Compiled, state: &State, options: &Options) -> Difference {
    let mut differ = Differ {
        compiled,
        state,
        ahead: Ahead::new(state),
        options,
        set: ChangeSet::default(),
        after: Vec::new(),
        conflicts: Vec::new(),
        unforced: options.force_conflicts.clone(),
    };
    for placed in compiled.graph.placed() {
        differ.resource(placed);
    }
    differ.finish()
}

struct Differ<'a> {
    compiled: &'a Compiled,
    state: &'a State,
    /// Steps mostly come in the order of keys.
    ahead: Ahead<'a>,
    options: &'a Options,
    set: ChangeSet,
    /// The record's entries once everything is done.
    after: Vec<(Key, Entry)>,
    conflicts: Vec<Error>,
    /// Named with `--force-conflicts`, and no field that the plan claims so far.
    unforced: BTreeSet<String>,
}

impl<'a> Differ<'a> {
    fn resource(&mut self, placed: Placed<'_>) {
        let resource = placed.resource();
        let key = &resource.key;
        match (&resource.want, self.ahead.look(key)) {
            (_, Err(why)) => {
                self.set.unreadable.push((key.clone(), why.to_string()));
                self.keep_entry(key);
            }
            (Want::Object(fields), Ok(None)) => self.create(placed, fields),
            (Want::Object(fields), Ok(Some(object))) => self.update(placed, object, fields, true),
            (Want::Fields(fields), Ok(Some(object))) => self.update(placed, object, fields, false),
            (Want::Fields(_), Ok(None)) => self.note(key, "is gone, so there is nothing to give back"),
            (Want::Absent, Ok(None)) => {}
            (Want::Absent, Ok(Some(object))) => self.delete(placed, &object.shared()),
        }
    }

    fn keep_entry(&mut self, key: &Key) {
        if let Some(entry) = self.compiled.mine.entry(key) {
            self.after.push((key.clone(), entry.clone()));
        }
    }

    fn note(&mut self, key: &Key, text: impl Into<String>) {
        self.set.notes.push(Note {
            about: key.to_string(),
            text: text.into(),
            code: None,
        });
    }

    fn push(&mut self, placed: Placed<'_>, op: Op, fields: Vec<FieldChange>) {
        let resource = placed.resource();
        let change = Change {
            key: resource.key.clone(),
            op,
            fields,
            origin: resource.origin.clone(),
            needs: placed.needs(),
        };
        self.set.steps.push(change);
    }

    fn create(&mut self, placed: Placed<'_>, fields: &BTreeMap<FieldPath, Target>) {
        let key = &placed.resource().key;
        let api = key.kind.api();
        let plan = &self.compiled.mine.plan;
        let mut object = json!({"apiVersion": api.api_version(), "kind": api.kind, "metadata": {"name": key.name}});
        if key.kind.cloud() {
            object["spec"] = json!({"tags": {PLAN_LABEL: plan}, "description": format!("hostguard, plan {plan}")});
        } else {
            object["metadata"]["labels"] = json!({PLAN_LABEL: plan});
        }
        if api.namespaced {
            object["metadata"]["namespace"] = json!(key.namespace);
        }
        let mut changes = Vec::new();
        let mut entry = Entry {
            created: true,
            fields: BTreeMap::new(),
        };
        for (path, target) in fields {
            let Target::Value(value) = target else { continue };
            if value.is_null() {
                continue;
            }
            path.set(&mut object, value.clone());
            let wrote = self.digest(key.kind, path, Some(value));
            entry.fields.insert(path.pointer(), Recorded { before: None, wrote });
            changes.push(FieldChange {
                path: path.clone(),
                before: None,
                after: Some(value.clone()),
                taken_from: None,
            });
        }
        self.after.push((key.clone(), entry));
        self.push(placed, Op::Create { object }, changes);
    }

    fn delete(&mut self, placed: Placed<'_>, object: &Arc<Value>) {
        let key = &placed.resource().key;
        if !carries_label(object) {
            let mark = if key.kind.cloud() { "tag" } else { "label" };
            self.note(
                key,
                format!(
                    "stays: it no longer carries the {mark} {PLAN_LABEL}, so it is not the object that was created"
                ),
            );
            return;
        }
        if object.pointer("/metadata/deletionTimestamp").is_some() {
            self.note(
                key,
                "is being deleted already, and is kept by a finalizer until what uses it is gone",
            );
            self.keep_entry(key);
            return;
        }
        let changed = self.changed_since(key, object);
        if !changed.is_empty() {
            self.note(
                key,
                format!("goes, although it was changed since: {}", changed.join(", ")),
            );
        }
        let fields = fields_of(object).into_iter().filter(|(path, _)| path.0[0] == "spec");
        let fields = fields.map(|(path, value)| FieldChange {
            path,
            before: Some(value),
            after: None,
            taken_from: None,
        });
        let before = object.clone();
        self.push(placed, Op::Delete { before }, fields.collect());
    }

    /// Fields of an object that hostguard created which no longer hold what was written.
    fn changed_since(&self, key: &Key, object: &Value) -> Vec<String> {
        let recorded = self
            .compiled
            .mine
            .entry(key)
            .into_iter()
            .flat_map(|entry| &entry.fields);
        recorded
            .filter_map(|(pointer, recorded)| Some((FieldPath::from_pointer(pointer)?, recorded)))
            .filter(|(path, recorded)| self.digest(key.kind, path, path.get(object)) != recorded.wrote)
            .map(|(path, _)| path.to_string())
            .collect()
    }

    fn update(&mut self, placed: Placed<'_>, kept: &Object, fields: &BTreeMap<FieldPath, Target>, whole: bool) {
        let resource = placed.resource();
        let opened = kept.open();
        let object = &*opened;
        let key = &resource.key;
        let others_created = self
            .compiled
            .others
            .values()
            .any(|other| other.entry(key).is_some_and(|e| e.created));
        let mine_created = self.compiled.mine.entry(key).is_some_and(|entry| entry.created);
        let created = whole && carries_label(object) && (mine_created || others_created);
        let mut entry = Entry {
            created,
            fields: BTreeMap::new(),
        };
        let mut changes = Vec::new();
        let unnamed: BTreeMap<FieldPath, Target> = match key.kind.closed() {
            Some(_) if whole => fields_of(object)
                .into_keys()
                .filter(|path| path.is_closed(key.kind) && !fields.contains_key(path))
                .map(|path| (path, Target::Value(Value::Null)))
                .collect(),
            _ => BTreeMap::new(),
        };
        let wanted: BTreeMap<&FieldPath, &Target> = fields.iter().chain(&unnamed).collect();
        for (path, target) in wanted {
            let live = path.get(object);
            let change = match target {
                Target::Value(value) => {
                    let value = Some(value).filter(|value| !value.is_null());
                    self.want_value(key, path, live, value, object, &mut entry, &resource.origin)
                }
                Target::Before { before, wrote } => self.want_before(key, path, live, before.as_ref(), wrote),
            };
            changes.extend(change);
        }
        if entry.created || !entry.fields.is_empty() {
            self.after.push((key.clone(), entry));
        }
        if !changes.is_empty() {
            let update = Change::update(key.clone(), kept.stay_open(opened), changes, resource.origin.clone());
            self.push(placed, update.op, update.fields);
        }
    }

    #[allow(clippy::too_many_arguments)] // the parts of one comparison, used nowhere else
    fn want_value(
        &mut self,
        key: &Key,
        path: &FieldPath,
        live: Option<&Value>,
        value: Option<&Value>,
        object: &Value,
        entry: &mut Entry,
        origin: &Origin,
    ) -> Option<FieldChange> {
        let name = || format!("{key}:{path}");
        if !self.unforced.is_empty() {
            self.unforced.remove(&name());
        }
        let wrote = self.digest(key.kind, path, value);
        let equal = canonical(key.kind, path, live) == canonical(key.kind, path, value);
        let other = self
            .compiled
            .others
            .iter()
            .find_map(|(plan, inventory)| Some((plan, inventory.recorded(key, path)?)));
        if let Some((plan, other)) = other
            && other.wrote != wrote
        {
            self.conflict(
                Error::new(
                    ErrorKind::Conflict,
                    codes::OTHER_PLAN,
                    format!("{key}: {path} is claimed by plan {plan} with another value"),
                )
                .cause(format!("live: {}, wanted here: {}", shown(live), shown(value))),
                origin,
                "agree on one value, or take the claim out of one of the two plans",
            );
            return None;
        }
        let before = match (self.compiled.mine.recorded(key, path), other) {
            (Some(mine), _) => Some(mine.before.clone()),
            (None, Some((_, other))) => Some(other.before.clone()),
            (None, None) if entry.created => Some(None),
            (None, None) if !equal => Some(live.cloned()),
            (None, None) => None, // it was right already: not ours
        };
        if let Some(before) = before {
            entry.fields.insert(path.pointer(), Recorded { before, wrote });
        }
        if equal {
            return None;
        }
        let me = format!("hostguard-{}", self.compiled.mine.plan);
        let owners = owners::owners(object, path, &me);
        if let Some(owner) = owners.iter().find(|owner| owner.applier)
            && !self.options.force_conflicts.contains(&name())
        {
            let manager = &owner.manager;
            let message = format!("{key}: {path} is managed by {manager} with another value");
            let error = Error::new(ErrorKind::Conflict, codes::OTHER_APPLIER, message)
                .cause(format!("live: {}, wanted: {}", shown(live), shown(value)))
                .consequence(format!(
                    "{manager} would set its value again, and each would undo the other"
                ));
            let fix = format!(
                "take it out of {manager}, use its value, or take it over with --force-conflicts '{}'",
                name()
            );
            self.conflict(error, origin, &fix);
            return None;
        }
        let taken_from = owners.into_iter().next().map(|owner| owner.manager);
        Some(FieldChange {
            path: path.clone(),
            before: live.cloned(),
            after: value.cloned(),
            taken_from,
        })
    }

    fn want_before(
        &mut self,
        key: &Key,
        path: &FieldPath,
        live: Option<&Value>,
        before: Option<&Value>,
        wrote: &str,
    ) -> Option<FieldChange> {
        let found = self.digest(key.kind, path, live);
        if found == self.digest(key.kind, path, before) {
            return None;
        }
        if found != wrote {
            let text = format!(
                "{path} stays {}: it is not what was written any more; the value found at first was {}",
                shown(live),
                shown(before)
            );
            self.note(key, text);
            return None;
        }
        Some(FieldChange {
            path: path.clone(),
            before: live.cloned(),
            after: before.cloned(),
            taken_from: None,
        })
    }

    fn conflict(&mut self, mut error: Error, origin: &Origin, fix: &str) {
        error.span = origin.span;
        self.conflicts.push(error.fix(fix));
    }

    fn digest(&self, kind: Kind, path: &FieldPath, value: Option<&Value>) -> String {
        digest(kind, path, value)
    }

    fn finish(mut self) -> Difference {
        for name in std::mem::take(&mut self.unforced) {
            let error = Error::new(
                ErrorKind::Usage,
                codes::NOTHING_TO_FORCE,
                format!("--force-conflicts {name}: no such conflict"),
            );
            self.conflicts
                .push(error.fix("name a conflict as it is printed, KEY:FIELD"));
        }
        let mut notes: Vec<Note> = self.compiled.notes.clone();
        notes.append(&mut self.set.notes);
        self.set.notes = notes;
        self.set.findings = self.compiled.findings.clone();
        let after = self
            .compiled
            .entries
            .clone()
            .unwrap_or_else(|| self.after.into_iter().collect());
        let record = Record::new(self.compiled, self.state, &self.options.inventory_namespace, after);
        let accepted = self.compiled.mine.accepted.iter().map(|accepted| Note {
            about: record.key.to_string(),
            text: format!("accepted on an earlier run: {accepted}"),
            code: None,
        });
        self.set.notes.extend(accepted);
        record.add_namespace_step(self.state, &mut self.set);
        if let Observed::Unreadable(why) = self.state.get(&record.key) {
            self.set.unreadable.push((record.key.clone(), why.to_string()));
        }
        Difference {
            set: self.set,
            record,
            conflicts: self.conflicts,
        }
    }
}

/// The digest that a record keeps of a value written: of its canonical form.
pub fn digest(kind: Kind, path: &FieldPath, value: Option<&Value>) -> String {
    hex_digest(&canonical(kind, path, value))
}

fn canonical(kind: Kind, path: &FieldPath, value: Option<&Value>) -> Value {
    value.map_or(Value::Null, |value| canon::canonical(kind, path, value))
}

/// Whether it is marked as some plan's; what has no labels carries the mark as a tag.
fn carries_label(object: &Value) -> bool {
    let marks = [object.pointer("/metadata/labels"), object.pointer("/spec/tags")];
    marks.into_iter().flatten().any(|marks| marks.get(PLAN_LABEL).is_some())
}

fn shown(value: Option<&Value>) -> String {
    value.map_or_else(|| "absent".to_string(), Value::to_string)
}
