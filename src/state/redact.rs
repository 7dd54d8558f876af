//! What of a state goes into a file that people attach to pull requests: what answers need, and no secrets.
//!
//! Workloads keep their selector only (pod templates hold environment variables), nodes what selects and addresses
//! them, and no object keeps annotations that are not Calico's.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::State;
use crate::inventory::INVENTORY_LABEL;
use crate::resource::{Key, Kind};

impl State {
    /// The state as a snapshot holds it.
    pub fn redacted(&self) -> State {
        let mut state = self.clone();
        let kept = |(key, object): &(&Key, &Arc<Value>)| {
            let labels = object.pointer("/metadata/labels");
            key.kind != Kind::ConfigMap || labels.is_some_and(|labels| labels.get(INVENTORY_LABEL).is_some())
        };
        for kind in self.shelves.keys() {
            let redacted = self.shelf(*kind).filter(kept).map(|(key, object)| {
                let mut object = Value::clone(object);
                redact(key.kind, &mut object);
                (key.clone(), object)
            });
            state.shelve(*kind, redacted.collect());
        }
        state
    }
}

fn redact(kind: Kind, object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        if let Some(annotations) = metadata.get_mut("annotations").and_then(Value::as_object_mut) {
            annotations.retain(|name, _| name.starts_with("projectcalico.org/"));
            if annotations.is_empty() {
                metadata.remove("annotations");
            }
        }
        let reader_only = matches!(
            kind,
            Kind::Node | Kind::Deployment | Kind::StatefulSet | Kind::DaemonSet
        );
        if reader_only && kind != Kind::Node {
            metadata.remove("managedFields");
        }
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
        | Kind::Pod
        | Kind::NetworkPolicy
        | Kind::NetworkSet
        | Kind::IPPool
        | Kind::KubernetesNetworkPolicy
        | Kind::ConfigMap
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

/// Takes out what is large and nobody's need, right after reading: half the bytes of a node or pod, and the field
/// managers of kinds that are never written.
pub fn trim(kind: Kind, object: &mut Value) {
    match kind {
        Kind::Node => {
            if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
                status.remove("images");
            }
        }
        Kind::Pod => {
            let ports = |container: &Value| json!({"name": container["name"], "ports": container["ports"]});
            let containers = object.pointer("/spec/containers").and_then(Value::as_array);
            let containers: Vec<Value> = containers.into_iter().flatten().map(ports).collect();
            keep(object, "spec", &["nodeName", "hostNetwork", "serviceAccountName"]);
            object["spec"]["containers"] = Value::Array(containers);
            keep(object, "status", &["phase", "podIP", "podIPs", "hostIP"]);
        }
        _ => {}
    }
    let never_written = matches!(
        kind,
        Kind::Pod
            | Kind::EndpointSlice
            | Kind::HostEndpoint
            | Kind::Deployment
            | Kind::StatefulSet
            | Kind::DaemonSet
            | Kind::NetworkPolicy
            | Kind::NetworkSet
            | Kind::IPPool
            | Kind::KubernetesNetworkPolicy
    );
    if never_written && let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
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
