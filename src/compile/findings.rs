//! What is wrong with objects that are there already: policies that Felix drops, settings that stop it.
//!
//! The same rules as for plans. An object that every gate let through and Felix ignores fails open, and nobody is told.

use serde_json::{Map, Value};

use crate::calico::{self, Gates, Level};
use crate::changes::Finding;
use crate::resource::{Kind, SET_BY_SERVER};
use crate::state::State;

/// Kinds whose objects are looked at.
const LOOKED_AT: [Kind; 6] = [
    Kind::KubeControllersConfiguration,
    Kind::FelixConfiguration,
    Kind::Tier,
    Kind::GlobalNetworkSet,
    Kind::GlobalNetworkPolicy,
    Kind::HostEndpoint,
];

/// Every live object that is not enforced as written, in the order of keys.
pub(super) fn live(state: &State) -> Vec<Finding> {
    let mut findings = Vec::new();
    for kind in LOOKED_AT {
        let Ok(objects) = state.list(kind) else { continue };
        for (key, object) in objects {
            for violation in calico::validate(&as_written(&object)) {
                let matters =
                    violation.rule.gates.contains(Gates::FELIX) || violation.rule.gates.contains(Gates::HOSTGUARD);
                if violation.level == Level::Error && matters {
                    findings.push(Finding {
                        key: key.clone(),
                        code: violation.rule.id,
                        path: violation.path.to_string(),
                        message: violation.message,
                        consequence: violation.consequence,
                    });
                }
            }
        }
    }
    findings
}

/// Without what only the server writes: the rules are about objects as people send them.
fn as_written(object: &Value) -> Value {
    let Some(object) = object.as_object() else {
        return object.clone();
    };
    let but = |map: &Map<String, Value>, names: &[&str]| -> Value {
        let kept = map.iter().filter(|(name, _)| !names.contains(&name.as_str()));
        kept.map(|(name, value)| (name.clone(), value.clone())).collect()
    };
    let mut written = but(object, &["metadata", "status"]);
    if let Some(metadata) = object.get("metadata") {
        written["metadata"] = match metadata.as_object() {
            Some(metadata) => but(metadata, &SET_BY_SERVER),
            None => metadata.clone(),
        };
    }
    written
}
