//! What is wrong with objects that are there already: policies that Felix drops, settings that stop it.
//!
//! The same rules as for plans. An object that every gate let through and Felix ignores fails open, and nobody is told.

use serde_json::Value;

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
            for violation in calico::validate(&as_written(object.into_owned())) {
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
fn as_written(mut object: Value) -> Value {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for name in SET_BY_SERVER {
            metadata.remove(name);
        }
    }
    if let Some(map) = object.as_object_mut() {
        map.remove("status");
    }
    object
}
