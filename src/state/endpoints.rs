//! What Kubernetes' own controllers make of Services: EndpointSlices of the pods that a Service selects.
//!
//! Only Services without any slice get one here (a new Service, in a prediction or a snapshot): what is there is the
//! controller's own. Follows the endpoint slice controller (Kubernetes: `pkg/controller/endpointslice`).

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::settled::is_but_stamped;
use super::{Pod, State};
use crate::resource::{Key, Kind};

/// The label that ties a slice to its Service.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

impl State {
    /// The state once Services have endpoints. That is the work of another controller than Calico's, which as a rule is
    /// done much sooner: a Service can serve while host endpoints are still to come.
    /// What comes out as it is in another state, but for its version, is that state's object.
    pub fn served_like(mut self, other: &State) -> State {
        self.settle_endpoints(other);
        self
    }

    /// Adds slices for Services that have none, and drops those of Services that are gone.
    pub(super) fn settle_endpoints(&mut self, other: &State) {
        let (Ok(services), Ok(slices), Ok(pods)) =
            (self.list(Kind::Service), self.list(Kind::EndpointSlice), self.pods())
        else {
            return;
        };
        let service_of = |key: &Key, slice: &Value| {
            let name = slice.pointer("/metadata/labels")?.get(SERVICE_NAME)?.as_str()?;
            Some(Key::namespaced(Kind::Service, key.namespace.clone(), name))
        };
        let owners: Vec<(Key, Option<Key>)> = slices
            .map(|(key, slice)| (key.clone(), service_of(key, &slice)))
            .collect();
        let owned: BTreeSet<&Key> = owners.iter().filter_map(|(_, owner)| owner.as_ref()).collect();
        let made: Vec<Value> = services
            .filter(|(key, _)| !owned.contains(key))
            .flat_map(|(key, service)| slices_of(key, &service, pods))
            .collect();
        let gone: Vec<Key> = owners
            .into_iter()
            .filter(|(_, owner)| owner.as_ref().is_some_and(|owner| self.find(owner).is_none()))
            .map(|(key, _)| key)
            .collect();
        for key in gone {
            self.remove(&key);
        }
        for mut slice in made {
            let Some(key) = Key::of(Kind::EndpointSlice, &slice) else {
                continue;
            };
            match other.find(&key).filter(|known| is_but_stamped(&known.open(), &slice)) {
                Some(known) => self.insert(key, known.clone()),
                None => {
                    super::stamp(&key, &mut slice, &self.next_version());
                    self.keep(key, slice);
                }
            }
        }
    }
}

/// One slice a family, for a Service with a selector.
fn slices_of(key: &Key, service: &Value, pods: &BTreeMap<Key, Pod>) -> Vec<Value> {
    let Some(selector) = service
        .pointer("/spec/selector")
        .and_then(Value::as_object)
        .filter(|map| !map.is_empty())
    else {
        return Vec::new();
    };
    let selected = pods.iter().filter(|(pod_key, pod)| {
        pod_key.namespace == key.namespace
            && selector
                .iter()
                .all(|(name, value)| value.as_str().is_some() && pod.labels.get(name) == value.as_str())
            && ["", "Running"].contains(&&*pod.phase)
    });
    let mut by_family: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut ports = Vec::new();
    for (pod_key, pod) in selected {
        if ports.is_empty() {
            ports = ports_of(service, pod);
        }
        for address in &pod.addresses {
            let family = if address.is_ipv6() { "IPv6" } else { "IPv4" };
            by_family.entry(family).or_default().push(json!({
                "addresses": [address], "conditions": {"ready": true}, "nodeName": node_name(pod),
                "targetRef": {"kind": "Pod", "namespace": pod_key.namespace, "name": pod_key.name},
            }));
        }
    }
    let slice = |(family, endpoints): (&str, Vec<Value>)| {
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{}-{}", key.name, family.to_ascii_lowercase()), "namespace": key.namespace,
                "labels": {SERVICE_NAME: key.name},
            },
            "addressType": family, "endpoints": endpoints, "ports": ports,
        })
    };
    by_family.into_iter().map(slice).collect()
}

fn node_name(pod: &Pod) -> Option<&str> {
    Some(&*pod.node).filter(|name| !name.is_empty())
}

/// The Service's ports as the pod has them: names are looked up in its containers.
fn ports_of(service: &Value, pod: &Pod) -> Vec<Value> {
    let ports = service
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten();
    ports
        .map(|port| {
            let target = port.get("targetPort").filter(|target| !target.is_null()).unwrap_or(&port["port"]);
            let number = match target.as_str() {
                Some(name) => container_port(pod, name),
                None => target.as_u64(),
            };
            json!({"name": port["name"].as_str().unwrap_or_default(), "protocol": port.get("protocol").unwrap_or(&json!("TCP")), "port": number})
        })
        .collect()
}

fn container_port(pod: &Pod, name: &str) -> Option<u64> {
    pod.ports
        .iter()
        .find(|port| port.name == name)
        .map(|port| u64::from(port.port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{ClusterFacts, Serving};

    fn state(target: Value) -> State {
        let facts = ClusterFacts {
            snapshot: None,
            name: "c".into(),
            serving: Serving::Native,
            felix_fields: None,
        };
        let mut state = State::new(facts);
        let service = json!({"metadata": {"name": "web", "namespace": "shop"}, "spec": {
            "selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": target, "protocol": "TCP"}]}});
        let pod = |name: &str, app: &str, ip: &str| {
            json!({"metadata": {"name": name, "namespace": "shop", "labels": {"app": app}},
                   "spec": {"nodeName": "n1", "containers": [{"ports": [{"name": "http", "containerPort": 8080}]}]},
                   "status": {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}]}})
        };
        state.listed(Kind::Service, vec![service]).unwrap();
        state
            .listed(
                Kind::Pod,
                vec![pod("a", "web", "10.65.0.2"), pod("b", "db", "10.65.0.3")],
            )
            .unwrap();
        state.listed(Kind::EndpointSlice, Vec::new()).unwrap();
        state
    }

    #[test]
    fn a_new_service_gets_the_pods_it_selects() {
        let mut state = state(json!("http"));
        state = state.settled();
        let key = Key::namespaced(Kind::EndpointSlice, "shop", "web-ipv4");
        let slice = state.present(&key).expect("a slice").clone();
        assert_eq!(slice["endpoints"][0]["addresses"], json!(["10.65.0.2"]));
        assert_eq!(slice["endpoints"].as_array().map(Vec::len), Some(1));
        assert_eq!(slice["ports"][0]["port"], 8080);
        let again = state.clone();
        state = state.settled();
        assert_eq!(state, again, "a Service that has a slice keeps it");
    }

    #[test]
    fn the_slices_of_a_service_that_is_gone_go() {
        let mut state = state(json!(8080));
        state = state.settled();
        state.listed(Kind::Service, Vec::new()).unwrap();
        state = state.settled();
        assert_eq!(state.list(Kind::EndpointSlice).unwrap().count(), 0);
    }
}
