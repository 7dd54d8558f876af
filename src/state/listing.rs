//! A list of one kind as it comes in: each object is trimmed at once, so that a large list is never held whole.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::pods::{Pod, Shared};
use super::redact::trim;
use super::shelf::Shelf;
use super::{Object, State, Unreadable};
use crate::resource::{Key, Kind};

/// Objects of one kind, collected.
pub struct Listing {
    kind: Kind,
    objects: Vec<(Key, Object)>,
    pods: BTreeMap<Key, Pod>,
    shared: Shared,
    /// An object without a usable name.
    nameless: bool,
}

impl Listing {
    pub fn new(kind: Kind) -> Listing {
        Listing {
            kind,
            objects: Vec::new(),
            pods: BTreeMap::new(),
            shared: Shared::default(),
            nameless: false,
        }
    }

    /// An object in API shape. What is large and nobody's need is not kept.
    pub fn add(&mut self, mut object: Value) {
        let Some(key) = Key::of(self.kind, &object) else {
            self.nameless = true;
            return;
        };
        if self.kind == Kind::Pod {
            self.pods.insert(key, Pod::read(&object, &mut self.shared));
        } else {
            trim(self.kind, &mut object);
            self.objects.push((key, Object::new(self.kind, object)));
        }
    }
}

impl State {
    /// Records a complete list of one kind. Objects without a usable name are refused by name of the kind.
    pub fn take(&mut self, listing: Listing) -> Result<(), String> {
        let kind = listing.kind;
        if listing.nameless {
            return Err(format!("a {kind} without a name"));
        }
        if kind == Kind::Pod {
            self.pods = Arc::new(listing.pods);
        } else {
            self.shelve(kind, listing.objects.into_iter().collect::<Shelf>());
        }
        self.coverage.insert(kind, None);
        Ok(())
    }

    /// [`State::take`] of objects that are all there.
    pub fn listed(&mut self, kind: Kind, objects: Vec<Value>) -> Result<(), String> {
        let mut listing = Listing::new(kind);
        objects.into_iter().for_each(|object| listing.add(object));
        self.take(listing)
    }

    /// All pods by namespace and name, or why they could not be read.
    pub fn pods(&self) -> Result<&Arc<BTreeMap<Key, Pod>>, &Unreadable> {
        self.listed_or_why(Kind::Pod)?;
        Ok(&self.pods)
    }
}
