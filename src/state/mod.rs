//! What is there: objects in API shape, each absent, present, or unreadable and why.
//!
//! A [`State`] comes from a provider's `read`, from [`State::after`] (the write) or from [`State::settled`] (what
//! Calico's controllers make of it). Those two are the only meaning of a change and of a controller: the snapshot
//! provider, the prediction and the tests all use them. Knows nothing of plans or of providers.

mod ahead;
mod cloud;
mod endpoints;
mod labels;
mod listing;
mod moved;
mod object;
mod pods;
mod redact;
mod settled;
mod shelf;

pub use ahead::Ahead;
pub use cloud::{CloudScope, aws_instance};
pub use labels::{Labels, labels_of};
pub use listing::Listing;
pub use moved::Moved;
pub use object::{Object, Whole};
pub use pods::{ContainerPort, Pod};
pub use settled::{CONTROLLERS, CREATED_BY, TUNNEL_ADDRESSES};

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};

use shelf::Shelf;

use crate::changes::{Change, Op, merge};
use crate::inventory::{Inventory, Unusable};
use crate::resource::{CALICO_GROUP, Key, Kind};

/// The namespace whose uid identifies a cluster.
pub const CLUSTER_NAMESPACE: &str = "kube-system";

/// What must be read to answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub kinds: BTreeSet<Kind>,
    /// Where inventories are; `ConfigMap` is read only here.
    pub inventory_namespace: String,
    /// What of the cloud is read besides; `None`: nothing, and no credentials for it are looked for.
    pub cloud: Option<CloudScope>,
}

impl Scope {
    /// What two answers need that are made of one reading.
    pub fn with(mut self, other: Scope) -> Scope {
        self.kinds.extend(other.kinds);
        self.cloud = match (self.cloud, other.cloud) {
            (Some(one), Some(other)) => Some(one.with(other)),
            (one, other) => one.or(other),
        };
        self
    }

    /// The scope of later reads: a cloud that was read once is read on, also when no record names objects of it any
    /// more. Without it everything would look open.
    pub fn after(mut self, read: &State) -> Scope {
        if let Some(cloud) = self.cloud.as_mut().filter(|_| read.has_cloud()) {
            cloud.recorded_by = None;
        }
        self
    }
}

/// One object as seen.
#[derive(Clone, Debug, PartialEq)]
pub enum Observed<'a> {
    Absent,
    Present(Cow<'a, Value>),
    Unreadable(&'a Unreadable),
}

/// Why a kind could not be read. Never the same as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable {
    pub reason: Reason,
    /// The server's or system's own words.
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    Forbidden,
    TimedOut,
    NotServed,
    /// Not part of what was read (a snapshot without it).
    NotRead,
    Failed,
}

impl Reason {
    pub const ALL: [Reason; 5] = [
        Reason::Forbidden,
        Reason::TimedOut,
        Reason::NotServed,
        Reason::NotRead,
        Reason::Failed,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Forbidden => "forbidden",
            Reason::TimedOut => "timed out",
            Reason::NotServed => "kind not served",
            Reason::NotRead => "not read",
            Reason::Failed => "failed",
        }
    }
}

impl Unreadable {
    /// What a person can do about it.
    pub fn way_out(&self, kind: Kind) -> String {
        let plural = kind.api().plural;
        match self.reason {
            Reason::Forbidden if kind.cloud() => format!("allow {}", kind.cloud_actions()),
            Reason::Forbidden => format!("allow get and list of {plural}"),
            Reason::TimedOut => "give it more time with --request-timeout".to_string(),
            Reason::NotServed => format!("see whether the cluster should serve {plural}"),
            Reason::NotRead => format!("take a snapshot that has {plural}"),
            Reason::Failed => "try again; if it stays, see why the server answers so".to_string(),
        }
    }
}

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.detail.is_empty() {
            f.write_str(self.reason.as_str())
        } else {
            write!(f, "{}: {}", self.reason.as_str(), self.detail)
        }
    }
}

/// How Calico's API is served (Calico: `libcalico-go/lib/backend/k8s/discovery.go`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serving {
    /// `projectcalico.org/v3` by Calico's API server over `crd.projectcalico.org/v1`.
    Aggregated,
    /// `projectcalico.org/v3` as CRDs.
    Native,
    /// Only `crd.projectcalico.org/v1`: nothing validates or defaults what is written there.
    V1Only,
    NotInstalled,
}

impl Serving {
    pub const ALL: [Serving; 4] = [
        Serving::Aggregated,
        Serving::Native,
        Serving::V1Only,
        Serving::NotInstalled,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Serving::Aggregated => "aggregated",
            Serving::Native => "native",
            Serving::V1Only => "v1-only",
            Serving::NotInstalled => "not-installed",
        }
    }
}

/// A snapshot file in the cluster's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Played {
    /// As the user named it.
    pub file: String,
    /// When it was taken, as the file has it: RFC 3339, UTC, unless somebody wrote it by hand.
    pub time: String,
    /// It has a digest, which fits: nobody edited it since.
    pub sealed: bool,
}

impl std::fmt::Display for Played {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {}", self.file, self.time)?;
        f.write_str(if self.sealed { ", digest fits" } else { "" })
    }
}

/// What is known of the cluster as a whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterFacts {
    /// For people: the kubeconfig context's cluster, or the snapshot's.
    pub name: String,
    pub serving: Serving,
    /// The snapshot file that plays the cluster; `None` for a cluster.
    pub snapshot: Option<Played>,
    /// The properties of FelixConfiguration's spec in the served schema; `None` when it could not be read.
    pub felix_fields: Option<BTreeSet<String>>,
}

/// What is there.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    pub facts: ClusterFacts,
    /// Values that are no objects, by what was asked (`imds/public-ipv4`), or why there are none. Of the moment: no
    /// snapshot holds them.
    pub looked_up: BTreeMap<String, Result<String, String>>,
    /// Kinds that were listed (`None`) or could not be (`Some`). A kind that is missing here was not asked for.
    coverage: BTreeMap<Kind, Option<Unreadable>>,
    /// Shared with the states that this one was made of. A kind without objects has no shelf.
    shelves: BTreeMap<Kind, Arc<Shelf>>,
    /// Pods are kept as what answers need of them, not in API shape.
    pods: Arc<BTreeMap<Key, Pod>>,
    not_read: Unreadable,
    kept_apart: Unreadable,
}

impl State {
    pub fn new(facts: ClusterFacts) -> State {
        State {
            facts,
            looked_up: BTreeMap::new(),
            coverage: BTreeMap::new(),
            shelves: BTreeMap::new(),
            pods: Arc::default(),
            not_read: Unreadable {
                reason: Reason::NotRead,
                detail: String::new(),
            },
            kept_apart: Unreadable {
                reason: Reason::NotRead,
                detail: "pods are not kept as objects".into(),
            },
        }
    }

    pub fn unreadable(&mut self, kind: Kind, why: Unreadable) {
        self.shelves.remove(&kind);
        if kind == Kind::Pod {
            self.pods = Arc::default();
        }
        self.coverage.insert(kind, Some(why));
    }

    /// Adds what another provider read: every kind that it listed or could not list.
    pub fn merge(&mut self, other: State) {
        self.looked_up.extend(other.looked_up);
        for (kind, why) in other.coverage {
            if kind == Kind::Pod {
                self.pods = other.pods.clone();
            }
            self.shelves.remove(&kind);
            if let Some(shelf) = other.shelves.get(&kind) {
                self.shelves.insert(kind, shelf.clone());
            }
            self.coverage.insert(kind, why);
        }
    }

    fn shelve(&mut self, kind: Kind, shelf: Shelf) {
        if shelf.len() == 0 {
            self.shelves.remove(&kind);
        } else {
            self.shelves.insert(kind, Arc::new(shelf));
        }
    }

    fn find(&self, key: &Key) -> Option<&Object> {
        self.shelves.get(&key.kind)?.get(key)
    }

    fn keep(&mut self, key: Key, object: Value) {
        let object = Object::new(key.kind, object);
        self.insert(key, object);
    }

    fn insert(&mut self, key: Key, object: Object) {
        let shelf = self.shelves.entry(key.kind).or_default();
        Arc::make_mut(shelf).insert(key, object);
    }

    fn remove(&mut self, key: &Key) {
        if self.find(key).is_none() {
            return;
        }
        let shelf = self.shelves.get_mut(&key.kind).expect("it holds the object");
        Arc::make_mut(shelf).remove(key);
        if shelf.len() == 0 {
            self.shelves.remove(&key.kind);
        }
    }

    pub fn coverage(&self) -> &BTreeMap<Kind, Option<Unreadable>> {
        &self.coverage
    }

    /// Never of a pod: see [`State::pods`].
    pub fn get(&self, key: &Key) -> Observed<'_> {
        match self.look(key) {
            Err(why) => Observed::Unreadable(why),
            Ok(None) => Observed::Absent,
            Ok(Some(object)) => Observed::Present(object.open()),
        }
    }

    /// The object as it is kept, `None` when it is not there, or why that is not known. Equal places are equal objects.
    pub fn look(&self, key: &Key) -> Result<Option<&Object>, &Unreadable> {
        match self.coverage.get(&key.kind) {
            _ if key.kind == Kind::Pod => Err(&self.kept_apart),
            None => Err(&self.not_read),
            Some(Some(why)) => Err(why),
            Some(None) => Ok(self.find(key)),
        }
    }

    /// The object, when it is known to be there.
    pub fn present(&self, key: &Key) -> Option<Cow<'_, Value>> {
        match self.get(key) {
            Observed::Present(object) => Some(object),
            Observed::Absent | Observed::Unreadable(_) => None,
        }
    }

    /// All objects of a kind by name, or why they could not be read. Never of pods: see [`State::pods`].
    pub fn list(&self, kind: Kind) -> Result<impl Iterator<Item = (&Key, Cow<'_, Value>)>, &Unreadable> {
        self.listed_or_why(kind)?;
        self.kept_whole(kind)?;
        Ok(self.shelf(kind).map(|(key, object)| (key, object.open())))
    }

    /// Which there are, by name.
    pub fn keys(&self, kind: Kind) -> Result<impl Iterator<Item = &Key>, &Unreadable> {
        self.listed_or_why(kind)?;
        self.kept_whole(kind)?;
        Ok(self.shelf(kind).map(|(key, _)| key))
    }

    /// All objects of a kind as they are kept: equal places are equal objects.
    pub fn kept(&self, kind: Kind) -> Result<impl Iterator<Item = &Object>, &Unreadable> {
        self.listed_or_why(kind)?;
        self.kept_whole(kind)?;
        Ok(self.shelf(kind).map(|(_, object)| object))
    }

    /// Whether a kind was listed.
    pub fn is_read(&self, kind: Kind) -> bool {
        self.listed_or_why(kind).is_ok()
    }

    fn listed_or_why(&self, kind: Kind) -> Result<(), &Unreadable> {
        match self.coverage.get(&kind) {
            None => Err(&self.not_read),
            Some(Some(why)) => Err(why),
            Some(None) => Ok(()),
        }
    }

    /// An answer about pods from where there are none would be a wrong one.
    fn kept_whole(&self, kind: Kind) -> Result<(), &Unreadable> {
        debug_assert!(kind != Kind::Pod, "pods are not kept as objects");
        if kind == Kind::Pod {
            Err(&self.kept_apart)
        } else {
            Ok(())
        }
    }

    /// Every object by kind and name.
    pub fn objects(&self) -> impl Iterator<Item = (&Key, Whole<'_>)> {
        let kept = self.shelves.values().flat_map(|shelf| shelf.iter());
        let pods = self.pods.iter().map(|(key, pod)| (key, Whole::Pod(key, pod)));
        kept.map(|(key, object)| (key, Whole::Object(object))).chain(pods)
    }

    /// How many objects there are.
    pub fn count(&self) -> usize {
        let kept: usize = self.shelves.values().map(|shelf| shelf.len()).sum();
        kept + self.pods.len()
    }

    /// The labels of all objects of a kind, pods among them, or why they could not be read.
    pub fn labels(&self, kind: Kind) -> Result<impl Iterator<Item = Cow<'_, Labels>>, &Unreadable> {
        self.listed_or_why(kind)?;
        // no objects of pods are kept, and no pods of another kind
        let pods = self.pods.values().filter(move |_| kind == Kind::Pod);
        let objects = self
            .shelf(kind)
            .map(|(_, object)| Cow::Owned(labels_of(&object.open())));
        Ok(pods.map(|pod| Cow::Borrowed(&*pod.labels)).chain(objects))
    }

    /// The objects of a kind that were read, by name.
    fn shelf(&self, kind: Kind) -> impl Iterator<Item = (&Key, &Object)> {
        self.shelves.get(&kind).into_iter().flat_map(|shelf| shelf.iter())
    }

    /// The uid of namespace `kube-system`, when it could be read.
    pub fn cluster_uid(&self) -> Option<String> {
        let object = self.present(&Key::cluster(Kind::Namespace, CLUSTER_NAMESPACE))?;
        Some(object.pointer("/metadata/uid")?.as_str()?.to_string())
    }

    /// Every plan's inventory, by plan name; those that cannot be used with the reason.
    pub fn inventories(&self) -> Result<BTreeMap<String, Result<Inventory, Unusable>>, &Unreadable> {
        let mut inventories = BTreeMap::new();
        for (key, object) in self.list(Kind::ConfigMap)? {
            if let Some(inventory) = Inventory::read(&object) {
                let plan = key.name.strip_prefix("hostguard-").unwrap_or(&key.name);
                inventories.insert(plan.to_string(), inventory);
            }
        }
        Ok(inventories)
    }

    /// The state once `change` is written: the object, what the server adds to it, and nothing else.
    pub fn after(&self, change: &Change) -> State {
        let mut state = self.clone();
        state.write(change);
        state
    }

    /// The state once every one of these changes is written.
    pub fn after_all<'c>(&self, changes: impl IntoIterator<Item = &'c Change>) -> State {
        let mut state = self.clone();
        for change in changes {
            state.write(change);
        }
        state
    }

    /// [`State::after`] in place.
    pub fn write(&mut self, change: &Change) {
        let mut object = match &change.op {
            Op::Delete { .. } => {
                self.remove(&change.key);
                return;
            }
            Op::Create { object } => with_defaults(change.key.kind, object.clone()),
            Op::Update { before, patch } => {
                let there = self.find(&change.key);
                let there = there.map(|there| there.open());
                let mut object = there.as_deref().unwrap_or(before).clone();
                merge(&mut object, patch);
                without_empty_maps(&mut object);
                if there.is_some_and(|there| *there == object) {
                    return; // a server stores nothing, and the version stays
                }
                object
            }
        };
        stamp(&change.key, &mut object, &self.next_version());
        self.keep(change.key.clone(), object);
    }

    /// The state as it is read once an object is stored so; `None`: it is gone.
    pub fn put(&mut self, key: &Key, object: Option<Value>) {
        match object {
            Some(mut object) => {
                redact::trim(key.kind, &mut object);
                self.keep(key.clone(), object);
            }
            None => self.remove(key),
        }
    }

    /// The state as it would be without one object.
    pub fn without(&self, key: &Key) -> State {
        let mut state = self.clone();
        state.remove(key);
        state
    }

    /// Whether anything of the cloud was asked for.
    pub fn has_cloud(&self) -> bool {
        self.coverage.keys().any(|kind| kind.cloud())
    }

    /// The state as if nobody had asked for the cloud.
    pub fn without_cloud(&self) -> State {
        let mut state = self.clone();
        state.coverage.retain(|kind, _| !kind.cloud());
        state.shelves.retain(|kind, _| !kind.cloud());
        state
    }

    /// A version that no object of this state has: one more than the highest number.
    fn next_version(&self) -> String {
        let highest = self.shelves.values().map(|shelf| shelf.highest()).max();
        (highest.unwrap_or(0) + 1).to_string()
    }
}

/// What a server gives every object it stores: a version and a uid; and no empty maps of labels.
fn stamp(key: &Key, object: &mut Value, version: &str) {
    object["metadata"]["resourceVersion"] = json!(version);
    let metadata = object["metadata"].as_object_mut().expect("indexed as a map above");
    metadata.entry("uid").or_insert_with(|| json!(uid(key)));
    without_empty_maps(object);
    if key.kind == Kind::SecurityGroupRule {
        object["status"]["ruleId"] = object["metadata"]["uid"].clone();
    }
}

/// A server keeps no empty maps of labels and annotations.
fn without_empty_maps(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|name, map| {
            let empty = map.as_object().is_some_and(serde_json::Map::is_empty);
            !(empty && (name == "labels" || name == "annotations"))
        });
    }
}

/// The uid of a new object. A rule of a security group is known by the id that AWS gives it.
fn uid(key: &Key) -> String {
    if key.kind == Kind::SecurityGroupRule {
        let digest = crate::changes::hex_digest(&json!(key.to_string()));
        let hex = digest.trim_start_matches("sha256:");
        return format!("sgr-{}", hex.get(..17).unwrap_or(hex));
    }
    format!("uid-{}", key.to_string().replace('/', "-"))
}

/// A new object with the defaults of its kind. An object that is there has them already.
fn with_defaults(kind: Kind, mut object: Value) -> Value {
    if kind.api().group == CALICO_GROUP {
        let mut filled = json!({
            "apiVersion": object["apiVersion"], "kind": object["kind"], "spec": object["spec"],
            "metadata": {"name": object["metadata"]["name"], "labels": object["metadata"]["labels"]},
        });
        crate::calico::defaults(&mut filled);
        add_missing(&mut object, &filled);
    }
    object
}

/// Adds what the server adds, and changes nothing that is there.
fn add_missing(object: &mut Value, filled: &Value) {
    let (Value::Object(object), Value::Object(filled)) = (object, filled) else {
        return;
    };
    for (name, value) in filled {
        match object.get_mut(name) {
            Some(there) => add_missing(there, value),
            None if value.is_null() => {}
            None => {
                object.insert(name.clone(), value.clone());
            }
        }
    }
}
