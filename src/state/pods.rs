//! Pods as they are kept: a cluster has more of them than of everything else, and they are only read.
//!
//! A pod in API shape is a dozen maps, several kilobytes; what answers need of it is a tenth of that. Texts and labels
//! that pods have in common are kept once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::labels::{Labels, labels_of};
use crate::resource::Key;

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    uid: Option<Box<str>>,
    pub labels: Arc<Labels>,
    /// Empty for a pod that has none yet.
    pub node: Arc<str>,
    /// Empty where it was not written.
    pub service_account: Arc<str>,
    /// It has no network of its own.
    pub in_host_network: bool,
    /// `Running`, `Succeeded`; empty where it was not written.
    pub phase: Arc<str>,
    pub addresses: Box<[IpAddr]>,
    /// Those of its containers that have a name; only these can be asked for by one.
    pub ports: Arc<[ContainerPort]>,
}

/// A named port of a container.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerPort {
    pub name: String,
    /// As written: `TCP`.
    pub protocol: String,
    pub port: u16,
}

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

/// What pods have in common.
#[derive(Default)]
pub(super) struct Shared {
    texts: BTreeSet<Arc<str>>,
    labels: BTreeSet<Arc<Labels>>,
    ports: BTreeSet<Arc<[ContainerPort]>>,
}

impl Shared {
    fn text(&mut self, text: &str) -> Arc<str> {
        if let Some(known) = self.texts.get(text) {
            return Arc::clone(known);
        }
        let new: Arc<str> = Arc::from(text);
        self.texts.insert(Arc::clone(&new));
        new
    }

    fn labels(&mut self, labels: Labels) -> Arc<Labels> {
        if let Some(known) = self.labels.get(&labels) {
            return Arc::clone(known);
        }
        let new = Arc::new(labels);
        self.labels.insert(Arc::clone(&new));
        new
    }

    fn ports(&mut self, ports: Vec<ContainerPort>) -> Arc<[ContainerPort]> {
        if let Some(known) = self.ports.get(ports.as_slice()) {
            return Arc::clone(known);
        }
        let new: Arc<[ContainerPort]> = Arc::from(ports);
        self.ports.insert(Arc::clone(&new));
        new
    }
}

impl Pod {
    /// From API shape.
    pub(super) fn read(object: &Value, shared: &mut Shared) -> Pod {
        let address = |value: &Value| value.as_str()?.split('/').next()?.parse::<IpAddr>().ok();
        let mut addresses: Vec<IpAddr> = list(object, "/status/podIPs")
            .filter_map(|ip| address(&ip["ip"]))
            .collect();
        if addresses.is_empty() {
            addresses.extend(object.pointer("/status/podIP").and_then(address));
        }
        let ports = list(object, "/spec/containers").flat_map(|container| list(container, "/ports"));
        let named = |port: &Value| {
            Some(ContainerPort {
                name: port["name"].as_str()?.to_string(),
                protocol: port["protocol"].as_str().unwrap_or("TCP").to_string(),
                port: u16::try_from(port["containerPort"].as_u64()?).ok()?,
            })
        };
        Pod {
            uid: object.pointer("/metadata/uid").and_then(Value::as_str).map(Box::from),
            labels: shared.labels(labels_of(object)),
            node: shared.text(text(object, "/spec/nodeName")),
            service_account: shared.text(text(object, "/spec/serviceAccountName")),
            in_host_network: object.pointer("/spec/hostNetwork") == Some(&Value::Bool(true)),
            phase: shared.text(text(object, "/status/phase")),
            addresses: addresses.into_boxed_slice(),
            ports: shared.ports(ports.filter_map(named).collect()),
        }
    }

    /// In API shape, for a snapshot: reads back as the same pod.
    pub(super) fn object(&self, key: &Key) -> Value {
        let mut metadata = json!({"name": key.name, "namespace": key.namespace});
        let (mut spec, mut status) = (Map::new(), Map::new());
        if let Some(uid) = &self.uid {
            metadata["uid"] = json!(uid);
        }
        if !self.labels.is_empty() {
            metadata["labels"] = json!(*self.labels);
        }
        let texts = [("nodeName", &self.node), ("serviceAccountName", &self.service_account)];
        for (name, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            spec.insert(name.to_string(), json!(**text));
        }
        if self.in_host_network {
            spec.insert("hostNetwork".to_string(), json!(true));
        }
        if !self.ports.is_empty() {
            let port = |port: &ContainerPort| json!({"name": port.name, "protocol": port.protocol, "containerPort": port.port});
            let ports: Vec<Value> = self.ports.iter().map(port).collect();
            spec.insert("containers".to_string(), json!([{"ports": ports}]));
        }
        if !self.phase.is_empty() {
            status.insert("phase".to_string(), json!(*self.phase));
        }
        if let Some(first) = self.addresses.first() {
            let all: Vec<Value> = self.addresses.iter().map(|address| json!({"ip": address})).collect();
            status.insert("podIP".to_string(), json!(first));
            status.insert("podIPs".to_string(), json!(all));
        }
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec, "status": status})
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;

    #[test]
    fn a_pod_reads_back_what_it_was_written_as() {
        let object = json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"name": "a", "namespace": "n", "uid": "u", "labels": {"app": "x"}, "annotations": {"secret": "hunter2"}},
            "spec": {"nodeName": "n1", "serviceAccountName": "default", "hostNetwork": true, "containers": [
                {"name": "c", "env": [{"value": "hunter2"}], "ports": [{"name": "http", "containerPort": 8080}, {"containerPort": 9}]}]},
            "status": {"phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}]},
        });
        let key = Key::of(Kind::Pod, &object).unwrap();
        let mut shared = Shared::default();
        let pod = Pod::read(&object, &mut shared);
        let written = pod.object(&key);
        assert_eq!(Pod::read(&written, &mut shared), pod);
        assert_eq!(written["status"], object["status"]);
        assert_eq!(
            written["spec"]["containers"],
            json!([{"ports": [{"name": "http", "protocol": "TCP", "containerPort": 8080}]}])
        );
        assert!(!written.to_string().contains("hunter2"));
    }

    #[test]
    fn what_pods_have_in_common_is_kept_once() {
        let object = json!({"metadata": {"labels": {"app": "x"}}, "spec": {"nodeName": "n1"}});
        let mut shared = Shared::default();
        let (a, b) = (Pod::read(&object, &mut shared), Pod::read(&object, &mut shared));
        assert!(Arc::ptr_eq(&a.labels, &b.labels) && Arc::ptr_eq(&a.node, &b.node));
    }
}
