//! What moved between two readings, other than versions and hostguard's own books.

use std::collections::BTreeSet;
use std::fmt;

use serde_json::{Map, Value};

use super::State;
use crate::resource::{Key, Kind};

/// Something that is not as it was.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Moved {
    New(Key),
    Gone(Key),
    Changed(Key),
    /// A kind that can be read now and could not, or the other way round.
    Read(Kind),
}

impl Moved {
    /// The kind, and the object where it is one.
    pub fn about(&self) -> (Kind, Option<&Key>) {
        match self {
            Moved::New(key) | Moved::Gone(key) | Moved::Changed(key) => (key.kind, Some(key)),
            Moved::Read(kind) => (*kind, None),
        }
    }
}

impl fmt::Display for Moved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Moved::New(key) => write!(f, "{key} is new"),
            Moved::Gone(key) => write!(f, "{key} is gone"),
            Moved::Changed(key) => write!(f, "{key} was changed"),
            Moved::Read(kind) => write!(f, "whether {kind} can be read has changed"),
        }
    }
}

/// What every write changes or every new object gets, and nobody depends on.
const UNIMPORTANT: [&str; 5] = [
    "resourceVersion",
    "generation",
    "managedFields",
    "creationTimestamp",
    "uid",
];
/// Items of a list have none.
const OF_THE_LIST: [&str; 3] = ["metadata", "apiVersion", "kind"];

impl State {
    /// What differs between this state and a later one, in the order of keys. Versions and managers do not count, nor do
    /// the books that hostguard keeps; of everything else only what is read at all can.
    pub fn moved(&self, now: &State) -> Vec<Moved> {
        let mut moved = Vec::new();
        for kind in Kind::ALL.into_iter().filter(|kind| !kind.bookkeeping()) {
            let readable = |state: &State| state.listed_or_why(kind).is_ok();
            match (readable(self), readable(now)) {
                (true, true) if kind == Kind::Pod => moved.extend(compare(&self.pods, &now.pods, |a, b| a == b)),
                (true, true) => {
                    let shelf = |state: &State| state.shelves.get(&kind).cloned().unwrap_or_default();
                    let (before, now) = (shelf(self), shelf(now));
                    moved.extend(before.changes(&now, same));
                }
                (false, false) => {}
                _ => moved.push(Moved::Read(kind)),
            }
        }
        moved
    }
}

/// The keys in which two maps differ.
fn compare<V>(
    before: &std::collections::BTreeMap<Key, V>,
    now: &std::collections::BTreeMap<Key, V>,
    same: impl Fn(&V, &V) -> bool,
) -> Vec<Moved> {
    let keys: BTreeSet<&Key> = before.keys().chain(now.keys()).collect();
    keys.into_iter()
        .filter_map(|key| between(key, before.get(key), now.get(key), &same))
        .collect()
}

/// How one object moved.
pub(super) fn between<V>(
    key: &Key,
    before: Option<&V>,
    now: Option<&V>,
    same: impl Fn(&V, &V) -> bool,
) -> Option<Moved> {
    match (before, now) {
        (Some(before), Some(now)) => (!same(before, now)).then(|| Moved::Changed(key.clone())),
        (Some(_), None) => Some(Moved::Gone(key.clone())),
        (None, Some(_)) => Some(Moved::New(key.clone())),
        (None, None) => None,
    }
}

/// Whether two objects say the same.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    fn rest<'a>(map: &'a Map<String, Value>, without: &'a [&str]) -> impl Iterator<Item = (&'a String, &'a Value)> {
        map.iter()
            .filter(move |(name, value)| !without.contains(&name.as_str()) && !empty(value))
    }
    let (Value::Object(a), Value::Object(b)) = (a, b) else {
        return a == b;
    };
    let none = Map::new();
    let [of_a, of_b] = [a, b].map(|map| map.get("metadata").and_then(Value::as_object).unwrap_or(&none));
    rest(a, &OF_THE_LIST).eq(rest(b, &OF_THE_LIST)) && rest(of_a, &UNIMPORTANT).eq(rest(of_b, &UNIMPORTANT))
}

/// A server may keep an empty map or leave it out.
fn empty(value: &Value) -> bool {
    value.is_null() || value.as_object().is_some_and(Map::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{ClusterFacts, Serving};
    use serde_json::json;

    fn state(objects: &[(&str, &str, &str)]) -> State {
        let mut state = State::new(ClusterFacts {
            snapshot: None,
            name: "c".into(),
            serving: Serving::Native,
            felix_fields: None,
        });
        let object = |(name, version, value): &(&str, &str, &str)| {
            json!({
                "apiVersion": "projectcalico.org/v3", "kind": "Tier",
                "metadata": {"name": name, "resourceVersion": version, "generation": version, "managedFields": [{"manager": version}]},
                "spec": {"order": value},
            })
        };
        state.listed(Kind::Tier, objects.iter().map(object).collect()).unwrap();
        state
    }

    #[test]
    fn versions_are_no_movement_and_values_are() {
        let before = state(&[("a", "1", "x"), ("b", "2", "x"), ("c", "3", "x")]);
        let now = state(&[("a", "9", "x"), ("b", "2", "y"), ("d", "4", "x")]);
        let tier = |name: &str| Key::cluster(Kind::Tier, name);
        let expected = vec![Moved::Changed(tier("b")), Moved::Gone(tier("c")), Moved::New(tier("d"))];
        assert_eq!(before.moved(&now), expected);
    }

    #[test]
    fn a_kind_that_cannot_be_read_any_more_has_moved() {
        let before = state(&[]);
        let mut now = before.clone();
        let why = crate::state::Unreadable {
            reason: crate::state::Reason::Forbidden,
            detail: String::new(),
        };
        now.unreadable(Kind::Tier, why);
        assert_eq!(before.moved(&now), [Moved::Read(Kind::Tier)]);
        assert_eq!(before.moved(&before), []);
    }
}
