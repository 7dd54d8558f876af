//! Steps that provably decide about no packet, so that no world has to be built to see it.

use serde_json::Value;

use crate::changes::{Change, Op};
use crate::resource::Kind;
use crate::state::State;

/// Kinds with selectors that may look at a node's labels: directly, or at those that its host endpoints get from it.
const SELECTING: [Kind; 5] = [
    Kind::GlobalNetworkPolicy,
    Kind::NetworkPolicy,
    Kind::KubernetesNetworkPolicy,
    Kind::FelixConfiguration,
    Kind::KubeControllersConfiguration,
];

/// Whether a step is on something that no packet ever meets, in that state.
pub(super) fn decides_nothing(state: &State, step: &Change) -> bool {
    match step.key.kind {
        Kind::ConfigMap | Kind::Run | Kind::Lease | Kind::ClusterInformation | Kind::Deployment | Kind::StatefulSet => {
            true
        }
        // a namespace that is made has no pods
        Kind::Namespace => matches!(step.op, Op::Create { .. }),
        Kind::Node => match &step.op {
            Op::Update { patch, .. } => labels_in(patch).is_some_and(|mut names| names.all(|name| unseen(state, name))),
            Op::Create { .. } | Op::Delete { .. } => false,
        },
        _ => false,
    }
}

/// The labels that a patch is about, if it is about nothing else.
pub(super) fn labels_in(patch: &Value) -> Option<impl Iterator<Item = &String>> {
    let only = |value: &Value, names: &[&str]| {
        let map = value.as_object();
        map.is_some_and(|map| map.keys().all(|name| names.contains(&name.as_str())))
    };
    let metadata = patch.get("metadata")?;
    // A precondition changes nothing.
    let fits = only(patch, &["metadata"]) && only(metadata, &["labels", "resourceVersion", "uid"]);
    let labels = metadata.get("labels")?.as_object()?;
    fits.then(|| labels.keys())
}

/// Whether no selector can name the label. Selectors write names as they are, so a text that does not hold the name does
/// not name it; what Calico puts before names (`pcns.`, `pcsa.`) is left out, and its own labels count as named.
pub(super) fn unseen(state: &State, label: &str) -> bool {
    let written = ["pcns.", "pcsa."].iter().find_map(|prefix| label.strip_prefix(prefix));
    let written = written.unwrap_or(label);
    if written.is_empty() || written.starts_with("projectcalico.org/") {
        return false;
    }
    SELECTING.iter().all(|kind| match state.list(*kind) {
        Ok(mut objects) => objects.all(|(_, object)| !holds(&object["spec"], written)),
        Err(_) => false,
    })
}

pub(super) fn holds(value: &Value, text: &str) -> bool {
    match value {
        Value::String(written) => written.contains(text),
        Value::Array(list) => list.iter().any(|value| holds(value, text)),
        Value::Object(map) => map
            .iter()
            .any(|(name, value)| name.contains(text) || holds(value, text)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_patch_of_labels_and_of_nothing_else() {
        let names = |patch: Value| labels_in(&patch).map(|names| names.cloned().collect::<Vec<_>>());
        let both = json!({"metadata": {"labels": {"a": "1", "b": null}, "resourceVersion": "7"}});
        assert_eq!(names(both), Some(vec!["a".to_string(), "b".to_string()]));
        assert_eq!(names(json!({"metadata": {"labels": {"a": "1"}}, "spec": {}})), None);
        assert_eq!(names(json!({"metadata": {"annotations": {"a": "1"}}})), None);
    }

    #[test]
    fn names_are_found_in_keys_and_in_selectors() {
        let spec = json!({"selector": "has(guarded) && !has(other)", "rules": [{"matchLabels": {"app/x": "y"}}]});
        assert!(holds(&spec, "guarded") && holds(&spec, "app/x"));
        assert!(!holds(&spec, "host-end-point"));
    }
}
