//! Snapshot files as worlds: written, read, torn in the middle of an apply, compared.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use hostguard::apply::{Outcome, Report};
use hostguard::changes::Change;
use hostguard::error::Error;
use hostguard::inventory::Inventory;
use hostguard::plan::Plan;
use hostguard::provider::snapshot::{Snapshot, encode};
use hostguard::provider::{Denied, OwnLock, Provider, Refusal, Why};
use hostguard::resource::Kind;
use hostguard::state::{ClusterFacts, Scope, Serving, State};
use serde_json::Value;

use super::pipeline::{apply_with, runtime};

/// A state in which every kind was listed.
pub fn state(objects: &[Value]) -> State {
    let facts = ClusterFacts {
        snapshot: None,
        name: "random".into(),
        serving: Serving::Native,
        felix_fields: Some([].into()),
    };
    let mut state = State::new(facts);
    for kind in Kind::ALL.into_iter().filter(|kind| !kind.cloud()) {
        let of_kind = objects
            .iter()
            .filter(|object| object["kind"] == kind.name())
            .cloned()
            .collect();
        state.listed(kind, of_kind).expect("made objects have names");
    }
    state
}

/// A snapshot provider that counts its writes and, once `left` of them are made, plays a killed process.
pub struct Killed {
    inner: Snapshot,
    left: AtomicUsize,
    pub writes: AtomicUsize,
}

impl Killed {
    pub fn after(path: &Path, left: usize) -> Killed {
        let inner = Snapshot::open(path).expect("the snapshot was just written");
        Killed {
            inner,
            left: AtomicUsize::new(left),
            writes: AtomicUsize::new(0),
        }
    }
}

#[async_trait]
impl Provider for Killed {
    fn owns(&self, kind: Kind) -> bool {
        self.inner.owns(kind)
    }

    async fn read(&self, scope: &Scope) -> Result<State, Error> {
        self.inner.read(scope).await
    }

    async fn may(&self, changes: &[&Change]) -> Result<Vec<Denied>, Error> {
        self.inner.may(changes).await
    }

    fn lock(&self, plan: &str, holder: &str) -> OwnLock {
        self.inner.lock(plan, holder)
    }

    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal> {
        let left = self.left.load(Ordering::SeqCst);
        if left == 0 {
            return Err(Refusal {
                why: Why::Other,
                message: "killed".into(),
            });
        }
        self.left.store(left - 1, Ordering::SeqCst);
        self.writes.fetch_add(1, Ordering::SeqCst);
        self.inner.perform(change).await
    }
}

/// Applies as the command does: read, compare, approve, run.
pub fn apply(plan: &Plan, provider: &dyn Provider) -> Result<Report, String> {
    apply_with(&runtime(), plan, provider)
}

pub fn all_done(report: &Report) -> bool {
    report.steps.iter().all(|(_, _, outcome)| *outcome == Outcome::Done) && report.record_behind.is_none()
}

/// Writes a state where a snapshot provider finds it.
pub fn write(state: &State, path: &Path) {
    std::fs::write(path, encode(state, "2026-01-01T00:00:00Z")).expect("a temporary folder can be written");
}

pub fn read(path: &Path) -> State {
    let provider = Snapshot::open(path).expect("the snapshot is there");
    let scope = Scope {
        kinds: Kind::ALL.into_iter().collect(),
        inventory_namespace: "hostguard".into(),
        cloud: None,
    };
    runtime()
        .block_on(provider.read(&scope))
        .expect("a snapshot can be read")
}

/// The objects without what every write changes: versions and uids, and what hostguard leaves on purpose (its
/// namespace, the accounts of its runs, a lock that nobody holds). Empty maps are dropped: a server keeps a map whose last key was taken out.
pub fn content(state: &State) -> Vec<(String, Value)> {
    fn prune(value: &mut Value) {
        if let Value::Object(map) = value {
            map.values_mut().for_each(prune);
            map.retain(|_, value| !value.as_object().is_some_and(serde_json::Map::is_empty));
        }
    }
    let of_interest = state
        .objects()
        .filter(|(key, _)| key.to_string() != "Namespace/hostguard")
        .filter(|(key, _)| !matches!(key.kind, Kind::Run | Kind::Lease));
    of_interest
        .map(|(key, object)| {
            let mut object = object.open().into_owned();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("resourceVersion");
                metadata.remove("uid");
            }
            if key.kind == Kind::ConfigMap {
                without_fence(&mut object);
            }
            prune(&mut object);
            (key.to_string(), object)
        })
        .collect()
}

/// How many held the lock before is no part of what a record says.
fn without_fence(record: &mut Value) {
    let Some(Ok(mut inventory)) = Inventory::read(record) else {
        return;
    };
    inventory.fence = 0;
    let namespace = record["metadata"]["namespace"].as_str().unwrap_or_default();
    record["data"] = inventory.object(namespace)["data"].clone();
}

/// What two states differ in, as a line diff; empty when they hold the same.
pub fn differences(one: &State, other: &State) -> String {
    let text = |state: &State| -> String {
        let lines = content(state).into_iter();
        lines
            .map(|(key, object)| format!("{key} {}\n", serde_json::to_string_pretty(&object).expect("plain")))
            .collect()
    };
    similar::TextDiff::from_lines(text(one), text(other))
        .unified_diff()
        .context_radius(6)
        .to_string()
}
