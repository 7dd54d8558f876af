//! The record of a change set: the inventory before the first step, and the one after the last.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use crate::changes::{Change, ChangeSet, Note, Op};
use crate::compile::Compiled;
use crate::inventory::{Entry, FORMAT, Inventory, MAX_BYTES};
use crate::resource::{Key, Kind};
use crate::state::{Observed, State};

/// What the inventory is now, must be before the first write, and is to be after the last.
#[derive(Clone, Debug)]
pub struct Record {
    /// The ConfigMap.
    pub key: Key,
    /// The ConfigMap as it was read.
    pub found: Option<Value>,
    /// Old entries and new ones: whatever happens on the way, every before-value is known.
    pub intended: Inventory,
    /// Only what the plan wants now.
    pub settled: Inventory,
    found_inventory: Inventory,
}

impl Record {
    pub(super) fn new(compiled: &Compiled, state: &State, namespace: &str, after: BTreeMap<Key, Entry>) -> Record {
        let key = Inventory::key(namespace, &compiled.mine.plan);
        let found = state.present(&key).map(Cow::into_owned);
        let mut settled = Inventory {
            format: FORMAT,
            fence: compiled.mine.fence,
            picks: BTreeMap::new(),
            accepted: compiled.mine.accepted.clone(),
            entries: BTreeMap::new(),
            plan: compiled.mine.plan.clone(),
        };
        settled.entries = after.into_iter().map(|(key, entry)| (key.to_string(), entry)).collect();
        if !settled.entries.is_empty() {
            settled.picks = compiled.picks.clone();
        }
        let mut intended = settled.clone();
        for (key, old) in &compiled.mine.entries {
            let entry = intended.entries.entry(key.clone()).or_insert_with(|| old.clone());
            entry.created |= old.created;
            for (path, recorded) in &old.fields {
                entry.fields.entry(path.clone()).or_insert_with(|| recorded.clone());
            }
        }
        Record {
            key,
            found,
            intended,
            settled,
            found_inventory: compiled.mine.clone(),
        }
    }

    /// Remembers what was accepted for good: it is shown with every later answer.
    pub fn accept(&mut self, accepted: impl Iterator<Item = String>) {
        self.settled.accepted.extend(accepted);
        self.intended.accepted.extend(self.settled.accepted.iter().cloned());
    }

    /// Whether the inventory itself has to be written although no step is.
    pub fn changes(&self) -> bool {
        let (found, settled) = (&self.found_inventory, &self.settled);
        found.entries != settled.entries || found.picks != settled.picks || found.accepted != settled.accepted
    }

    /// Whether it must be written before the first step.
    pub fn must_be_written_first(&self) -> bool {
        self.intended.entries != self.found_inventory.entries || self.intended.accepted != self.found_inventory.accepted
    }

    /// The record as it is written under a lock: each holder has a higher number than the one before.
    pub fn under(&mut self, lock: u64) {
        let fence = lock.max(self.found_inventory.fence + 1);
        (self.intended.fence, self.settled.fence) = (fence, fence);
    }

    /// What the record said of an object before the run.
    pub fn entry_found(&self, key: &Key) -> Option<&Entry> {
        self.found_inventory.entry(key)
    }

    /// The record after a run that did not do these steps: their old entries stay beside the new ones. Those that were
    /// taken back have only their old ones.
    pub fn after_without(&self, not_done: &BTreeSet<Key>, taken_back: &BTreeSet<Key>) -> Inventory {
        let mut inventory = self.settled.clone();
        for key in taken_back {
            match self.found_inventory.entry(key) {
                Some(entry) => inventory.entries.insert(key.to_string(), entry.clone()),
                None => inventory.entries.remove(&key.to_string()),
            };
        }
        for key in not_done.difference(taken_back) {
            if let Some(entry) = self.intended.entry(key) {
                inventory.entries.insert(key.to_string(), entry.clone());
            }
        }
        if !inventory.entries.is_empty() && inventory.picks.is_empty() {
            inventory.picks = self.found_inventory.picks.clone();
        }
        inventory
    }

    /// The bytes of the largest form, when they are more than a ConfigMap can hold.
    pub fn too_large(&self) -> Option<usize> {
        let size = self.intended.size();
        (size > MAX_BYTES).then_some(size)
    }

    /// The inventory's namespace is a shown first step. It is never deleted: records of other plans may be in it.
    pub(super) fn add_namespace_step(&self, state: &State, set: &mut ChangeSet) {
        let key = Key::cluster(Kind::Namespace, self.key.namespace.clone());
        let needed = !self.intended.entries.is_empty() && self.changes();
        match state.get(&key) {
            Observed::Absent if needed => {
                let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": key.name}});
                let step = Change::bare(key, Op::Create { object }, "inventory");
                set.steps.insert(0, step);
            }
            Observed::Present(_) if self.settled.entries.is_empty() && self.found.is_some() => {
                let text = "stays: it holds the records and the last runs of all plans; delete it when no plan is left"
                    .to_string();
                set.notes.push(Note {
                    about: key.to_string(),
                    text,
                    code: None,
                });
            }
            Observed::Absent | Observed::Present(_) | Observed::Unreadable(_) => {}
        }
    }
}
