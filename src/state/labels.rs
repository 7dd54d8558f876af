//! Labels as they are kept: a large cluster has tens of thousands of sets of a few each.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::selector;

/// Labels of an object, by name. All names and values are one text, which takes a fifth of a map's memory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Labels {
    /// Name, value, name, value, ... in the order of names, one after the other.
    text: Box<str>,
    /// Where each of them ends.
    ends: Box<[usize]>,
}

impl Labels {
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let mut start = 0;
        self.ends.chunks_exact(2).map(move |ends| {
            let pair = (&self.text[start..ends[0]], &self.text[ends[0]..ends[1]]);
            start = ends[1];
            pair
        })
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(own, _)| *own == name).map(|(_, value)| value)
    }

    /// To be changed.
    pub fn to_map(&self) -> BTreeMap<String, String> {
        let owned = |(name, value): (&str, &str)| (name.to_string(), value.to_string());
        self.iter().map(owned).collect()
    }
}

/// The labels of an object in API shape.
pub fn labels_of(object: &Value) -> Labels {
    let map = object.pointer("/metadata/labels").and_then(Value::as_object);
    let pairs = map.into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some((name.as_str(), value.as_str()?)))
        .collect()
}

/// Of two values for one name the later counts.
impl<'a> FromIterator<(&'a str, &'a str)> for Labels {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(pairs: T) -> Labels {
        let sorted: BTreeMap<&str, &str> = pairs.into_iter().collect();
        let (mut text, mut ends) = (String::new(), Vec::with_capacity(2 * sorted.len()));
        for part in sorted.into_iter().flat_map(|(name, value)| [name, value]) {
            text.push_str(part);
            ends.push(text.len());
        }
        Labels {
            text: text.into(),
            ends: ends.into(),
        }
    }
}

impl From<BTreeMap<String, String>> for Labels {
    fn from(map: BTreeMap<String, String>) -> Labels {
        map.iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect()
    }
}

impl selector::Labels for Labels {
    fn label(&self, name: &str) -> Option<&str> {
        self.get(name)
    }
}

impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(self.iter())
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_put_in_comes_out_by_name() {
        let labels: Labels = [("b", "2"), ("", "none"), ("a", ""), ("b", "3")].into_iter().collect();
        let pairs: Vec<_> = labels.iter().collect();
        assert_eq!(pairs, [("", "none"), ("a", ""), ("b", "3")]);
        assert_eq!(
            (labels.get("a"), labels.get("b"), labels.get("c")),
            (Some(""), Some("3"), None)
        );
        assert_eq!(Labels::from(labels.to_map()), labels);
        assert!(Labels::default().is_empty() && Labels::default().iter().next().is_none());
    }

    #[test]
    fn the_same_text_cut_elsewhere_is_another_set() {
        let one: Labels = [("ab", "c")].into_iter().collect();
        let other: Labels = [("a", "bc")].into_iter().collect();
        assert_ne!(one, other);
    }
}
