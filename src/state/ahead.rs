//! Looking at one object after another in the order of keys, without a search for each.

use std::collections::btree_map::Range;
use std::sync::Arc;

use super::{Object, State, Unreadable};
use crate::resource::Key;

/// Answers as [`State::look`] does.
pub struct Ahead<'a> {
    state: &'a State,
    /// What comes after the object seen last.
    next: Option<Range<'a, Arc<Key>, Object>>,
}

impl<'a> Ahead<'a> {
    pub fn new(state: &'a State) -> Ahead<'a> {
        Ahead { state, next: None }
    }

    pub fn look(&mut self, key: &Key) -> Result<Option<&'a Object>, &'a Unreadable> {
        if let Some((_, object)) = self
            .next
            .as_mut()
            .and_then(Iterator::next)
            .filter(|(at, _)| ***at == *key)
        {
            return Ok(Some(object));
        }
        let found = self.state.look(key)?;
        let shelf = self.state.shelves.get(&key.kind);
        self.next = found.and_then(|_| Some(shelf?.after(key)));
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;
    use crate::state::{ClusterFacts, Serving};
    use serde_json::json;

    #[test]
    fn the_order_in_which_is_asked_makes_no_difference() {
        let mut state = State::new(ClusterFacts {
            snapshot: None,
            name: "c".into(),
            serving: Serving::Native,
            felix_fields: None,
        });
        let named = |name: &str| json!({"metadata": {"name": name}});
        state.listed(Kind::Tier, ["a", "b", "d"].map(named).to_vec()).unwrap();
        state.listed(Kind::Node, ["a", "c"].map(named).to_vec()).unwrap();
        let asked = ["a", "b", "b", "c", "d", "a", "d", "e", "b"];
        let keys = asked.iter().flat_map(|name| {
            [Kind::Tier, Kind::Node, Kind::Node, Kind::Tier, Kind::Service].map(|kind| Key::cluster(kind, *name))
        });
        let mut ahead = Ahead::new(&state);
        for key in keys.collect::<Vec<Key>>() {
            assert_eq!(ahead.look(&key), state.look(&key), "{key}");
        }
    }
}
