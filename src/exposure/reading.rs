//! Calico's objects as Felix reads them, each read once however many worlds it is in.
//!
//! States that came of one another share the objects that did not change; what was read of those is shared too.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::facts::{Facts, PodFacts};
use super::kubernetes;
use crate::calico::{self, Felix};
use crate::resource::Key;
use crate::state::Pod;

/// Pods as they were read, and as what answers need of them.
type ReadPods = (Arc<Pods>, Vec<Arc<PodFacts>>);

/// What was read of objects, by where they are kept. The objects are held, so that no other takes their place.
#[derive(Default)]
pub struct Reading {
    known: RefCell<BTreeMap<(&'static str, *const Value), Read>>,
    /// The pods read last, which no step changes.
    pods: RefCell<Option<ReadPods>>,
}

type Pods = BTreeMap<Key, Pod>;

type Read = (Arc<Value>, Option<Arc<Value>>);

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

    /// The object as Felix reads it, made into one of Calico's first; `None` if Felix drops it.
    pub(super) fn of(
        &self,
        kind: &'static str,
        object: &Arc<Value>,
        calico: impl FnOnce(&Value) -> Option<Value>,
    ) -> Option<Arc<Value>> {
        let at = (kind, Arc::as_ptr(object));
        if let Some((_, read)) = self.known.borrow().get(&at) {
            return read.clone();
        }
        let read = match calico(object) {
            Some(made) => as_read(kind, &made),
            // Most are read as they are.
            None => as_read(kind, object).map(|read| if read == *object { Arc::clone(object) } else { read }),
        };
        self.known.borrow_mut().insert(at, (object.clone(), read.clone()));
        read
    }
}

pub(super) fn as_read(kind: &str, object: &Value) -> Option<Arc<Value>> {
    let (felix, read) = calico::as_felix_reads(kind, object);
    matches!(felix, Felix::Kept | Felix::Crashes).then(|| Arc::new(read))
}

/// Whether Felix makes anything of an object that is stored so.
pub fn felix_keeps(kind: &str, object: &Value) -> bool {
    as_read(kind, object).is_some()
}

/// Objects by kind, as Felix reads them; those that it drops are gone.
#[derive(Default)]
pub(super) struct Objects(BTreeMap<String, Vec<Arc<Value>>>);

impl Objects {
    pub fn new(facts: &Facts) -> Objects {
        let mut objects = Objects::default();
        for object in &facts.objects {
            let kind = object["kind"].as_str().unwrap_or_default();
            objects.add(kind, as_read(kind, object));
        }
        objects
    }

    pub fn add(&mut self, kind: &str, read: Option<Arc<Value>>) {
        let Some(read) = read else { return };
        match self.0.get_mut(kind) {
            Some(list) => list.push(read),
            None => {
                self.0.insert(kind.to_string(), vec![read]);
            }
        }
    }

    pub fn of(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.get(kind).into_iter().flatten().map(|object| &**object)
    }
}
