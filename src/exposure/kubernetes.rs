//! Kubernetes' objects as the model has them: pods, Services with their endpoints, NetworkPolicies, namespaces.
//!
//! Follows `libcalico-go/lib/backend/k8s/conversion/conversion.go`. Objects in API shape.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::facts::{Backend, NamedPort, NodeFacts, PodFacts, ServiceFacts};
use super::rules::protocol_number;
use crate::net::Cidr;
use crate::resource::Key;
use crate::state::{ContainerPort, Pod, TUNNEL_ADDRESSES, aws_instance, labels_of};

fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(object: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> {
    object.pointer(pointer).and_then(Value::as_array).into_iter().flatten()
}

fn address(value: &Value) -> Option<IpAddr> {
    value.as_str()?.split('/').next()?.parse().ok()
}

/// A node, and what its object says besides.
pub(super) struct NodeRead {
    pub facts: Arc<NodeFacts>,
    /// The ranges that it hands to pods; `None` where it does not say.
    pub pod_ranges: Option<Vec<Cidr>>,
    /// Its instance in the cloud, if it is one.
    pub instance: Option<String>,
}

impl NodeRead {
    pub fn read(object: &Value) -> NodeRead {
        let ranges = object.pointer("/spec/podCIDRs").and_then(Value::as_array);
        let range = |text: &Value| Cidr::parse_lenient(text.as_str()?).ok();
        NodeRead {
            facts: Arc::new(node(object)),
            pod_ranges: ranges.map(|ranges| ranges.iter().filter_map(range).collect()),
            instance: aws_instance(text(object, "/spec/providerID")).map(|(_, id)| id.to_string()),
        }
    }
}

/// A node of which only addresses are known.
fn node(object: &Value) -> NodeFacts {
    let of_type = |kind: &str| -> Vec<IpAddr> {
        let all = list(object, "/status/addresses").filter(|a| a["type"] == kind);
        all.filter_map(|a| address(&a["address"])).collect()
    };
    let annotations = object.pointer("/metadata/annotations").unwrap_or(&Value::Null);
    let tunnels = TUNNEL_ADDRESSES.iter().filter_map(|name| address(&annotations[*name]));
    NodeFacts {
        name: text(object, "/metadata/name").into(),
        labels: labels_of(object),
        interfaces: None,
        addresses: of_type("InternalIP").into_iter().chain(tunnels).collect(),
        external: of_type("ExternalIP"),
    }
}

/// `None` for one that has no interface of its own: in the host's network, finished, or without an address yet.
pub(super) fn pod(key: &Key, pod: &Pod) -> Option<PodFacts> {
    let finished = matches!(&*pod.phase, "Succeeded" | "Failed");
    if finished || pod.in_host_network || pod.addresses.is_empty() {
        return None;
    }
    let namespace = key.namespace.clone();
    let account = match &*pod.service_account {
        "" => "default",
        name => name,
    };
    let named = |port: &ContainerPort| NamedPort {
        name: port.name.clone(),
        protocol: port.protocol.clone(),
        port: port.port,
    };
    Some(PodFacts {
        name: key.name.clone(),
        node: pod.node.to_string(),
        addresses: pod.addresses.to_vec(),
        interface: None,
        labels: Arc::clone(&pod.labels),
        account: Some(account.to_string()),
        profiles: vec![format!("kns.{namespace}"), format!("ksa.{namespace}.{account}")],
        ports: pod.ports.iter().map(named).collect(),
        namespace,
    })
}

/// The profile of a namespace.
pub(super) fn namespace_profile(object: &Value) -> Value {
    let name = text(object, "/metadata/name");
    let mut inherited: Map<String, Value> = labels_of(object)
        .iter()
        .map(|(name, value)| (format!("pcns.{name}"), Value::from(value)))
        .collect();
    inherited.insert("pcns.projectcalico.org/name".into(), name.into());
    profile(&format!("kns.{name}"), true, inherited)
}

/// The profile of a service account, which has no rules; its own labels are not read.
pub(super) fn account_profile(name: &str) -> Value {
    profile(name, false, Map::new())
}

fn profile(name: &str, allows: bool, labels: Map<String, Value>) -> Value {
    let rules = if allows {
        json!([{"action": "Allow"}])
    } else {
        json!([])
    };
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "Profile",
        "metadata": {"name": name},
        "spec": {"ingress": rules, "egress": rules, "labelsToApply": labels},
    })
}

/// One entry per port of a Service; `slices` are its EndpointSlices, `None` where they were not read.
pub(super) fn services(object: &Value, slices: Option<&[Arc<Slice>]>) -> Vec<ServiceFacts> {
    if text(object, "/spec/type") == "ExternalName" {
        return Vec::new();
    }
    let name = text(object, "/metadata/name");
    let mut cluster: Vec<IpAddr> = list(object, "/spec/clusterIPs").filter_map(address).collect();
    if cluster.is_empty() {
        cluster.extend(object.pointer("/spec/clusterIP").and_then(address));
    }
    let number = |port: &Value, key: &str| port[key].as_u64().and_then(|n| u16::try_from(n).ok());
    let one = |port: &Value| {
        Some(ServiceFacts {
            namespace: text(object, "/metadata/namespace").into(),
            name: name.into(),
            protocol: protocol_number(&Value::from(port["protocol"].as_str().unwrap_or("TCP")))?,
            port: number(port, "port")?,
            node_port: number(port, "nodePort").filter(|n| *n != 0),
            cluster: cluster.clone(),
            external_local: text(object, "/spec/externalTrafficPolicy") == "Local",
            internal_local: text(object, "/spec/internalTrafficPolicy") == "Local",
            backends: slices.map(|slices| backends(slices, port["name"].as_str().unwrap_or_default())),
        })
    };
    list(object, "/spec/ports").filter_map(one).collect()
}

/// An EndpointSlice.
pub(super) struct Slice {
    pub namespace: String,
    /// The Service that it is of.
    pub service: String,
    /// By name.
    ports: Vec<(String, u16)>,
    /// The pods' names, or an address.
    ready: Vec<(String, Vec<IpAddr>)>,
}

impl Slice {
    pub fn read(object: &Value) -> Slice {
        let port = |port: &Value| {
            let number = u16::try_from(port["port"].as_u64()?).ok()?;
            Some((port["name"].as_str().unwrap_or_default().to_string(), number))
        };
        let ready = list(object, "/endpoints").filter(|e| e.pointer("/conditions/ready") != Some(&Value::Bool(false)));
        let endpoint = |endpoint: &Value| {
            let addresses: Vec<IpAddr> = list(endpoint, "/addresses").filter_map(address).collect();
            let name = match text(endpoint, "/targetRef/name") {
                "" => addresses.first().map(IpAddr::to_string).unwrap_or_default(),
                name => name.to_string(),
            };
            (name, addresses)
        };
        let service = &object["metadata"]["labels"]["kubernetes.io/service-name"];
        Slice {
            namespace: text(object, "/metadata/namespace").into(),
            service: service.as_str().unwrap_or_default().into(),
            ports: list(object, "/ports").filter_map(port).collect(),
            ready: ready.map(endpoint).collect(),
        }
    }
}

/// Ready endpoints of a port by its name; both families of one pod are one endpoint.
fn backends(slices: &[Arc<Slice>], port: &str) -> Vec<Backend> {
    let mut found: BTreeMap<(&str, u16), Vec<IpAddr>> = BTreeMap::new();
    for slice in slices {
        let Some((_, number)) = slice.ports.iter().find(|(name, _)| name == port) else {
            continue;
        };
        for (name, addresses) in &slice.ready {
            found.entry((name, *number)).or_default().extend(addresses);
        }
    }
    let backend = |((name, port), addresses): ((&str, u16), _)| Backend {
        name: name.to_string(),
        addresses,
        port,
    };
    found.into_iter().map(backend).collect()
}

/// A Kubernetes NetworkPolicy as Calico sees it.
pub(super) fn network_policy(object: &Value) -> Value {
    let rules = |direction: &str, peers: &str, ingress: bool| -> Vec<Value> {
        list(object, &format!("/spec/{direction}"))
            .flat_map(|rule| self::rules(rule, peers, ingress))
            .collect()
    };
    let mut types: Vec<&str> = list(object, "/spec/policyTypes").filter_map(Value::as_str).collect();
    if types.is_empty() {
        types.push("Ingress");
    }
    json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "KubernetesNetworkPolicy",
        "metadata": {"name": text(object, "/metadata/name"), "namespace": text(object, "/metadata/namespace")},
        "spec": {
            "tier": "default",
            "order": 1000,
            "selector": pod_selector(object.pointer("/spec/podSelector")),
            "types": types,
            "ingress": rules("ingress", "from", true),
            "egress": rules("egress", "to", false),
        },
    })
}

fn rules(rule: &Value, peers: &str, ingress: bool) -> Vec<Value> {
    let some = |key: &str| rule[key].as_array().filter(|list| !list.is_empty());
    // Protocol to ports; no ports is every port.
    let mut protocols: BTreeMap<Option<String>, Option<Vec<Value>>> = BTreeMap::new();
    for port in some("ports").into_iter().flatten() {
        let protocol = port["protocol"].as_str().unwrap_or("TCP").to_string();
        let entry = protocols.entry(Some(protocol)).or_insert_with(|| Some(Vec::new()));
        match (port_text(port), entry.as_mut()) {
            (None, _) => *entry = None,
            (Some(port), Some(ports)) => ports.push(port),
            (Some(_), None) => {}
        }
    }
    if protocols.is_empty() {
        protocols.insert(None, None);
    }
    let everyone = vec![Value::Null];
    let peers = some(peers).unwrap_or(&everyone);
    let mut rules = Vec::new();
    for (protocol, ports) in &protocols {
        for peer in peers {
            let (near, far) = if ingress {
                ("destination", "source")
            } else {
                ("source", "destination")
            };
            let mut made = json!({"action": "Allow", "source": {}, "destination": {}});
            made[near] = json!({});
            made[far] = self::peer(peer);
            if let Some(protocol) = protocol {
                made["protocol"] = Value::from(protocol.as_str());
            }
            if let Some(ports) = ports {
                made["destination"]["ports"] = Value::from(ports.clone());
            }
            rules.push(made);
        }
    }
    rules
}

fn port_text(port: &Value) -> Option<Value> {
    match (&port["port"], port["endPort"].as_u64()) {
        (Value::Null, _) => None,
        (Value::Number(first), Some(last)) => Some(Value::from(format!("{first}:{last}"))),
        (port, _) => Some(port.clone()),
    }
}

fn peer(peer: &Value) -> Value {
    if let Some(block) = peer.get("ipBlock").filter(|block| block.is_object()) {
        return json!({"nets": [block["cidr"]], "notNets": block.get("except").cloned().unwrap_or(json!([]))});
    }
    if !peer.is_object() {
        return json!({});
    }
    let mut entity = json!({"selector": pod_selector(peer.get("podSelector"))});
    if let Some(namespaces) = peer.get("namespaceSelector").filter(|s| s.is_object()) {
        let terms = selector_terms(namespaces);
        entity["namespaceSelector"] = if terms.is_empty() {
            "all()".into()
        } else {
            terms.join(" && ").into()
        };
    }
    entity
}

fn pod_selector(selector: Option<&Value>) -> String {
    let mut terms = vec!["projectcalico.org/orchestrator == 'k8s'".to_string()];
    terms.extend(selector.map(selector_terms).unwrap_or_default());
    terms.join(" && ")
}

fn selector_terms(selector: &Value) -> Vec<String> {
    let pairs = selector["matchLabels"].as_object().into_iter().flatten();
    let mut terms: Vec<String> = pairs
        .map(|(key, value)| format!("{key} == '{}'", value.as_str().unwrap_or_default()))
        .collect();
    for expression in list(selector, "/matchExpressions") {
        let key = text(expression, "/key");
        let values: Vec<&str> = list(expression, "/values").filter_map(Value::as_str).collect();
        let values = values.join("', '");
        terms.push(match text(expression, "/operator") {
            "In" => format!("{key} in {{ '{values}' }}"),
            "NotIn" => format!("{key} not in {{ '{values}' }}"),
            "Exists" => format!("has({key})"),
            _ => format!("! has({key})"),
        });
    }
    terms
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::selector::Selector;

    #[test]
    fn a_network_policy_becomes_one_rule_per_protocol_and_peer() {
        let policy = network_policy(&json!({
            "metadata": {"name": "p", "namespace": "shop"},
            "spec": {
                "podSelector": {"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "x", "operator": "DoesNotExist"}]},
                "ingress": [{
                    "from": [{"namespaceSelector": {}}, {"ipBlock": {"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}}],
                    "ports": [{"port": 80}, {"port": 100, "endPort": 200}, {"port": 53, "protocol": "UDP"}],
                }],
            },
        }));
        let selector = policy["spec"]["selector"].as_str().unwrap();
        assert_eq!(
            selector,
            "projectcalico.org/orchestrator == 'k8s' && app == 'web' && ! has(x)"
        );
        assert!(Selector::parse(selector).is_ok());
        let rules = policy["spec"]["ingress"].as_array().unwrap();
        assert_eq!(rules.len(), 4);
        assert_eq!(rules[0]["destination"]["ports"], json!([80, "100:200"]));
        assert_eq!(rules[0]["source"]["namespaceSelector"], "all()");
        assert_eq!(rules[1]["source"]["notNets"], json!(["10.1.0.0/16"]));
        assert_eq!(policy["spec"]["types"], json!(["Ingress"]));
    }

    #[test]
    fn both_families_of_a_pod_are_one_endpoint_and_unready_ones_are_none() {
        let slice = |address: &str, ready: bool| {
            json!({"ports": [{"name": "http", "port": 8080}],
                   "endpoints": [{"addresses": [address], "conditions": {"ready": ready}, "targetRef": {"name": "a"}}]})
        };
        let slices = [
            slice("10.65.0.2", true),
            slice("fd00::2", true),
            slice("10.65.0.9", false),
        ];
        let slices = slices.map(|slice| Arc::new(Slice::read(&slice)));
        let service = json!({"metadata": {"name": "web", "namespace": "shop"},
            "spec": {"clusterIP": "10.96.0.1", "ports": [{"name": "http", "port": 80, "nodePort": 30080}]}});
        let found = services(&service, Some(&slices));
        let backends = found[0].backends.as_ref().unwrap();
        assert_eq!((backends.len(), backends[0].addresses.len()), (1, 2));
        assert_eq!(services(&service, None)[0].backends, None);
    }
}
