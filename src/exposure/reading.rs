//! Objects as Felix and kube-proxy read them, each read once however many worlds it is in.
//!
//! States that came of one another share the objects that did not change; what was read of those is shared too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::facts::{Facts, PodFacts};
use super::host_endpoint::HostEndpointFacts;
use super::kubernetes::{self, NodeRead, Slice};
use crate::calico::{self, Felix};
use crate::resource::{Key, Kind};
use crate::state::{Object, Pod};

/// What was read of objects, by where they are kept. The objects are held, so that no other takes their place.
#[derive(Default)]
pub struct Reading {
    calicos: Memo<Option<Arc<Value>>>,
    endpoints: Memo<Option<Arc<HostEndpointFacts>>>,
    nodes: Memo<Arc<NodeRead>>,
    slices: Memo<Arc<Slice>>,
    /// The pods read last, which no step changes.
    pods: RefCell<Option<ReadPods>>,
}

/// Pods as they were read, and as what answers need of them.
type ReadPods = (Arc<Pods>, Vec<Arc<PodFacts>>);

type Pods = BTreeMap<Key, Pod>;

struct Memo<T>(RefCell<BTreeMap<*const u8, (Object, T)>>);

impl<T> Default for Memo<T> {
    fn default() -> Memo<T> {
        Memo(RefCell::default())
    }
}

impl<T: Clone> Memo<T> {
    fn of(&self, object: &Object, read: impl FnOnce() -> T) -> T {
        if let Some((_, known)) = self.0.borrow().get(&object.place()) {
            return known.clone();
        }
        let read = read();
        let known = (object.clone(), read.clone());
        self.0.borrow_mut().insert(object.place(), known);
        read
    }
}

impl Reading {
    /// Pods with an interface of their own.
    pub(super) fn of_pods(&self, pods: &Arc<Pods>) -> Vec<Arc<PodFacts>> {
        let mut last = self.pods.borrow_mut();
        match &*last {
            Some((read, facts)) if Arc::ptr_eq(read, pods) => facts.clone(),
            _ => {
                let facts = pods.iter().filter_map(|(key, pod)| kubernetes::pod(key, pod));
                let facts: Vec<Arc<PodFacts>> = facts.map(Arc::new).collect();
                *last = Some((pods.clone(), facts.clone()));
                facts
            }
        }
    }

    pub(super) fn of_node(&self, object: &Object) -> Arc<NodeRead> {
        self.nodes.of(object, || Arc::new(NodeRead::read(&object.open())))
    }

    pub(super) fn of_slice(&self, object: &Object) -> Arc<Slice> {
        self.slices.of(object, || Arc::new(Slice::read(&object.open())))
    }

    /// `None` if Felix drops it.
    pub(super) fn of_endpoint(&self, object: &Object) -> Option<Arc<HostEndpointFacts>> {
        self.endpoints.of(object, || host_endpoint(&object.open()))
    }

    /// Whether Felix makes anything of a policy that is stored so.
    pub fn keeps_policy(&self, policy: &Object) -> bool {
        self.of(Kind::GlobalNetworkPolicy.name(), policy, |_| None).is_some()
    }

    /// The object as Felix reads it, made into one of Calico's first; `None` if Felix drops it. An object is read as one
    /// kind only.
    pub(super) fn of(
        &self,
        kind: &'static str,
        object: &Object,
        calico: impl FnOnce(&Value) -> Option<Value>,
    ) -> Option<Arc<Value>> {
        self.calicos.of(object, || match calico(&object.open()) {
            Some(made) => as_read(kind, &made),
            // Most are read as they are.
            None => {
                let stored = object.shared();
                as_read(kind, &stored).map(|read| if read == stored { stored } else { read })
            }
        })
    }
}

pub(super) fn as_read(kind: &str, object: &Value) -> Option<Arc<Value>> {
    let (felix, read) = calico::as_felix_reads(kind, object);
    matches!(felix, Felix::Kept | Felix::Crashes).then(|| Arc::new(read))
}

fn host_endpoint(object: &Value) -> Option<Arc<HostEndpointFacts>> {
    let read = as_read(HOST_ENDPOINT, object)?;
    Some(Arc::new(HostEndpointFacts::read(&read)))
}

/// Whether Felix makes anything of an object that is stored so.
pub fn felix_keeps(kind: &str, object: &Value) -> bool {
    as_read(kind, object).is_some()
}

const HOST_ENDPOINT: &str = "HostEndpoint";

/// Objects by kind, as Felix reads them; those that it drops are gone.
#[derive(Default)]
pub(super) struct Objects {
    by_kind: BTreeMap<String, Vec<Arc<Value>>>,
    pub endpoints: Vec<Arc<HostEndpointFacts>>,
}

impl Objects {
    pub fn new(facts: &Facts) -> Objects {
        let mut objects = Objects::default();
        for object in &facts.objects {
            match object["kind"].as_str().unwrap_or_default() {
                HOST_ENDPOINT => objects.endpoints.extend(host_endpoint(object)),
                kind => objects.add(kind, as_read(kind, object)),
            }
        }
        objects
    }

    pub fn add(&mut self, kind: &str, read: Option<Arc<Value>>) {
        let Some(read) = read else { return };
        match self.by_kind.get_mut(kind) {
            Some(list) => list.push(read),
            None => {
                self.by_kind.insert(kind.to_string(), vec![read]);
            }
        }
    }

    /// Of any kind but host endpoints.
    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        debug_assert!(kind != HOST_ENDPOINT, "host endpoints are kept apart");
        self.by_kind.get(kind).into_iter().flatten().map(|object| &**object)
    }
}
