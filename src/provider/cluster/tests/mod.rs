//! The provider against a scripted server: what it sends, how often, and what it makes of bad answers.

mod connecting;
mod reading;
mod writing;

use crate::resource::Kind;
use crate::state::Scope;

fn scope(kinds: &[Kind]) -> Scope {
    Scope {
        cloud: None,
        kinds: kinds.iter().copied().collect(),
        inventory_namespace: "hostguard".into(),
    }
}
