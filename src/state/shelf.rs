//! The objects of one kind, shared between the states that hold them: a state that differs from another in one object
//! shares all others with it, and all of the kinds that did not change.

use std::collections::BTreeMap;
use std::collections::btree_map::Range;
use std::ops::Bound;
use std::sync::Arc;

use serde_json::Value;

use super::Object;
use super::moved::{Moved, between};
use crate::resource::Key;

#[derive(Clone, Debug, Default)]
pub(super) struct Shelf {
    objects: BTreeMap<Arc<Key>, Object>,
    /// The highest number among their versions.
    highest: u64,
}

/// Objects that are shared are not looked into.
impl PartialEq for Shelf {
    fn eq(&self, other: &Shelf) -> bool {
        self.objects == other.objects
    }
}

impl Shelf {
    pub fn get(&self, key: &Key) -> Option<&Object> {
        self.objects.get(key)
    }

    /// Those after a key.
    pub fn after(&self, key: &Key) -> Range<'_, Arc<Key>, Object> {
        self.objects.range::<Key, _>((Bound::Excluded(key), Bound::Unbounded))
    }

    pub fn iter(&self) -> impl Iterator<Item = (&Key, &Object)> {
        self.objects.iter().map(|(key, object)| (&**key, object))
    }

    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// The keys in which another shelf differs, in their order. Objects that are shared are not looked into.
    pub fn changes(&self, other: &Shelf, same: impl Fn(&Value, &Value) -> bool) -> Vec<Moved> {
        let same = |a: &Object, b: &Object| a.is(b) || same(&a.open(), &b.open());
        let (mut before, mut now) = (self.objects.iter().peekable(), other.objects.iter().peekable());
        let mut changes = Vec::new();
        // both are in the order of keys
        while let Some(key) = match (before.peek(), now.peek()) {
            (Some((a, _)), Some((b, _))) => Some((*a).min(b)),
            (one, other) => one.or(other).map(|(key, _)| *key),
        } {
            let of_before = before.next_if(|(other, _)| *other == key).map(|(_, object)| object);
            let of_now = now.next_if(|(other, _)| *other == key).map(|(_, object)| object);
            changes.extend(between(key, of_before, of_now, same));
        }
        changes
    }

    pub fn highest(&self) -> u64 {
        self.highest
    }

    pub fn insert(&mut self, key: Key, object: Object) {
        let (old, new) = (self.get(&key).map_or(0, Object::version), object.version());
        match self.objects.get_mut(&key) {
            Some(place) => *place = object,
            None => {
                self.objects.insert(Arc::new(key), object);
            }
        }
        self.highest = self.highest.max(new);
        if old == self.highest && new < old {
            self.find_highest();
        }
    }

    pub fn remove(&mut self, key: &Key) {
        if let Some(object) = self.objects.remove(key)
            && object.version() == self.highest
        {
            self.find_highest();
        }
    }

    fn find_highest(&mut self) {
        self.highest = self.objects.values().map(Object::version).max().unwrap_or(0);
    }
}

impl FromIterator<(Key, Object)> for Shelf {
    fn from_iter<T: IntoIterator<Item = (Key, Object)>>(objects: T) -> Shelf {
        let shared = objects.into_iter().map(|(key, object)| (Arc::new(key), object));
        let mut shelf = Shelf {
            objects: shared.collect(),
            highest: 0,
        };
        shelf.find_highest();
        shelf
    }
}
