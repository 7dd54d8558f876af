//! What of an object is kept: what answers need, and no secrets.
//!
//! Workloads keep their selector only (pod templates hold environment variables), nodes what selects and addresses
//! them. In a snapshot, which people attach to pull requests, no object keeps annotations that are not Calico's.

use serde_json::{Map, Value, json};

use super::{Object, State};
use crate::inventory::INVENTORY_LABEL;
use crate::resource::{CALICO_GROUP, Key, Kind};

impl State {
    /// The state as a snapshot holds it.
    pub fn redacted(&self) -> State {
        let mut state = self.clone();
        let kept = |(key, object): &(&Key, &Object)| {
            let inventory = || {
                let object = object.open();
                let labels = object.pointer("/metadata/labels");
                labels.is_some_and(|labels| labels.get(INVENTORY_LABEL).is_some())
            };
            key.kind != Kind::ConfigMap || inventory()
        };
        for kind in self.shelves.keys() {
            let redacted = self.shelf(*kind).filter(kept).map(|(key, object)| {
                let mut object = object.open().into_owned();
                redact(&mut object);
                (key.clone(), Object::new(key.kind, object))
            });
            state.shelve(*kind, redacted.collect());
        }
        state
    }
}

fn redact(object: &mut Value) {
    let Some(metadata) = object.get_mut("metadata") else {
        return;
    };
    keep_calicos(metadata, "annotations", is_calicos);
    // who wrote an annotation is told by its name
    let managers = metadata.get_mut("managedFields").and_then(Value::as_array_mut);
    for manager in managers.into_iter().flatten() {
        if let Some(fields) = manager.pointer_mut("/fieldsV1/f:metadata") {
            let named = |name: &str| name.strip_prefix("f:").is_some_and(is_calicos);
            keep_calicos(fields, "f:annotations", named);
        }
    }
}

/// Of a map in the object only what passes; an empty map goes.
fn keep_calicos(object: &mut Value, map: &str, passes: impl Fn(&str) -> bool) {
    let Some(object) = object.as_object_mut() else { return };
    if let Some(annotations) = object.get_mut(map).and_then(Value::as_object_mut) {
        annotations.retain(|name, _| passes(name));
        if annotations.is_empty() {
            object.remove(map);
        }
    }
}

/// `projectcalico.org/x`, and `config.projectcalico.org/x`, which overrides what Felix reads from the spec.
fn is_calicos(annotation: &str) -> bool {
    let domain = annotation.split_once('/').map(|(domain, _)| domain);
    domain.is_some_and(|domain| domain == CALICO_GROUP || domain.ends_with(&format!(".{CALICO_GROUP}")))
}

/// Takes out what is large, secret or nobody's need, as soon as it was read.
pub(super) fn trim(kind: Kind, object: &mut Value) {
    let managers = match kind {
        Kind::Node => Managers::OfLabels,
        Kind::EndpointSlice
        | Kind::HostEndpoint
        | Kind::Deployment
        | Kind::StatefulSet
        | Kind::DaemonSet
        | Kind::NetworkPolicy
        | Kind::NetworkSet
        | Kind::IPPool
        | Kind::KubernetesNetworkPolicy => Managers::Nobody,
        _ => Managers::All,
    };
    managers.keep(object);
    if matches!(kind, Kind::Node | Kind::EndpointSlice | Kind::HostEndpoint) {
        redact(object);
    }
    match kind {
        Kind::Deployment | Kind::StatefulSet => {
            keep(object, "spec", &["selector"]);
            remove(object, "status");
        }
        Kind::DaemonSet => {
            let agent = object
                .pointer("/metadata/name")
                .is_some_and(|name| name == "calico-node");
            let settings = if agent { felix_environment(object) } else { Value::Null };
            keep(object, "spec", &["selector"]);
            remove(object, "status");
            if !settings.is_null() {
                object["spec"]["template"] = settings;
            }
        }
        Kind::Node => {
            keep(
                object,
                "spec",
                &["providerID", "unschedulable", "taints", "podCIDR", "podCIDRs"],
            );
            keep(object, "status", &["addresses", "conditions"]);
            keep_ready(object);
        }
        Kind::Namespace => {
            remove(object, "spec");
            remove(object, "status");
        }
        Kind::ClusterInformation
        | Kind::KubeControllersConfiguration
        | Kind::FelixConfiguration
        | Kind::Tier
        | Kind::GlobalNetworkSet
        | Kind::GlobalNetworkPolicy
        | Kind::HostEndpoint
        | Kind::Service
        | Kind::EndpointSlice
        // kept as [`super::Pod`]
        | Kind::Pod
        | Kind::NetworkPolicy
        | Kind::NetworkSet
        | Kind::IPPool
        | Kind::KubernetesNetworkPolicy
        | Kind::ConfigMap
        | Kind::Run
        | Kind::Lease
        | Kind::SecurityGroupRule
        | Kind::Instance
        | Kind::NetworkInterface
        | Kind::SecurityGroup
        | Kind::NetworkAcl
        | Kind::PrefixList
        | Kind::EksCluster => {}
    }
}

/// Of the agent's pod template only what overrides FelixConfiguration.
fn felix_environment(object: &Value) -> Value {
    let containers = object
        .pointer("/spec/template/spec/containers")
        .and_then(Value::as_array);
    let agent = containers
        .into_iter()
        .flatten()
        .find(|container| container["name"] == "calico-node");
    let Some(agent) = agent else { return Value::Null };
    let mut variables = agent["env"].as_array().cloned().unwrap_or_default();
    variables.retain(|variable| variable["name"].as_str().is_some_and(|name| name.starts_with("FELIX_")));
    json!({"spec": {"containers": [{"name": "calico-node", "env": variables}]}})
}

/// Whose fields must be known: of objects that are never written nobody's, of a node only those of its labels.
enum Managers {
    All,
    OfLabels,
    Nobody,
}

impl Managers {
    fn keep(&self, object: &mut Value) {
        let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
        let Some(metadata) = metadata else { return };
        match self {
            Managers::All => {}
            Managers::Nobody => drop(metadata.remove("managedFields")),
            Managers::OfLabels => {
                let entries = metadata.get_mut("managedFields").and_then(Value::as_array_mut);
                for entry in entries.into_iter().flatten() {
                    keep(entry, "fieldsV1", &["f:metadata"]);
                    if let Some(fields) = entry.get_mut("fieldsV1") {
                        keep(fields, "f:metadata", &["f:labels"]);
                    }
                }
            }
        }
    }
}

fn keep(object: &mut Value, part: &str, names: &[&str]) {
    if let Some(map) = object.get_mut(part).and_then(Value::as_object_mut) {
        map.retain(|name, _| names.contains(&name.as_str()));
    }
}

fn remove(object: &mut Value, part: &str) {
    object
        .as_object_mut()
        .map(|map: &mut Map<String, Value>| map.remove(part));
}

/// Of a node's conditions only whether it is Ready; heartbeats would make two snapshots differ.
fn keep_ready(object: &mut Value) {
    let Some(conditions) = object.pointer_mut("/status/conditions").and_then(Value::as_array_mut) else {
        return;
    };
    conditions.retain(|condition| condition["type"] == "Ready");
    for condition in conditions {
        if let Some(map) = condition.as_object_mut() {
            map.retain(|name, _| name == "type" || name == "status");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Key;
    use crate::state::{ClusterFacts, Serving};
    use serde_json::json;

    #[test]
    fn no_secret_of_a_pod_template_or_annotation_gets_into_a_snapshot() {
        let facts = ClusterFacts {
            snapshot: None,
            name: "c".into(),
            serving: Serving::Native,
            felix_fields: None,
        };
        let mut state = State::new(facts);
        let deployment = json!({
            "metadata": {"name": "d", "namespace": "n", "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "hunter2"}},
            "spec": {"selector": {"matchLabels": {"app": "d"}}, "template": {"spec": {"containers": [{"env": [{"value": "hunter2"}]}]}}},
            "status": {"replicas": 1},
        });
        let other =
            json!({"metadata": {"name": "app-config", "namespace": "hostguard"}, "data": {"password": "hunter2"}});
        state.listed(Kind::Deployment, vec![deployment]).unwrap();
        state.listed(Kind::ConfigMap, vec![other]).unwrap();
        let redacted = state.redacted();
        let text = crate::provider::snapshot::encode(&redacted, "t");
        assert!(!String::from_utf8(text).unwrap().contains("hunter2"));
        let key = Key::namespaced(Kind::Deployment, "n", "d");
        assert_eq!(
            redacted.present(&key).unwrap()["spec"],
            json!({"selector": {"matchLabels": {"app": "d"}}})
        );
    }
}
