//! Whether a policy does anything: the world with it beside the world without it.

use super::difference::{Movement, difference};
use super::world::World;
use crate::resource::Key;
use crate::selector::Selector;
use crate::state::State;

/// Why a policy does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Idle {
    /// Its selector matches no host endpoint and no pod.
    SelectsNothing,
    /// No packet from outside the cluster fares differently with it.
    ChangesNothing,
}

/// Those of these policies that do nothing in a state, whose world is `with`, for sources outside the cluster. Where an answer is unknown with
/// the policy, it is not said to do nothing.
pub fn idle(state: &State, with: &World, policies: &[Key]) -> Vec<(Key, Idle)> {
    let mut idle = Vec::new();
    for key in policies {
        let Some(policy) = state.present(key) else { continue };
        let selector = policy
            .pointer("/spec/selector")
            .and_then(serde_json::Value::as_str)
            .unwrap_or_default();
        if selects_nothing(state, selector) {
            idle.push((key.clone(), Idle::SelectsNothing));
            continue;
        }
        let rows = difference(&World::of_state(&state.without(key)), with);
        if rows.iter().all(|row| row.movement == Movement::Stays) {
            idle.push((key.clone(), Idle::ChangesNothing));
        }
    }
    idle
}

/// Known only where host endpoints and pods were read.
fn selects_nothing(state: &State, selector: &str) -> bool {
    use crate::resource::Kind;
    let (Ok(selector), Ok(endpoints), Ok(pods)) = (
        Selector::parse(selector),
        state.list(Kind::HostEndpoint),
        state.list(Kind::Pod),
    ) else {
        return false;
    };
    let labels = |object: &serde_json::Value| -> std::collections::BTreeMap<String, String> {
        let map = object
            .pointer("/metadata/labels")
            .and_then(serde_json::Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_string())))
            .collect()
    };
    !endpoints
        .chain(pods)
        .any(|(_, object)| selector.matches(&labels(object)))
}
