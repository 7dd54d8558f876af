//! What Calico's controllers make of a state: host endpoints for nodes, and the effective configuration.
//!
//! Follows kube-controllers (Calico: `kube-controllers/pkg/controllers/node/hostendpoints.go` and
//! `pkg/config/runconfig.go`). A controller whose inputs could not be read changes nothing here.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::{Object, State};
use crate::net::Cidr;
use crate::resource::{Key, Kind};
use crate::selector::Selector;

/// The only mark of an automatic host endpoint.
pub const CREATED_BY: &str = "projectcalico.org/created-by";
pub const CONTROLLERS: &str = "calico-kube-controllers";
/// Overrides `autoCreate` when set on kube-controllers.
pub const AUTO_HOST_ENDPOINTS: &str = "AUTO_HOST_ENDPOINTS";

/// Annotations with a node's Calico addresses, in the order the controller adds them. These carry a mask.
const OWN_ADDRESSES: [&str; 2] = ["projectcalico.org/IPv4Address", "projectcalico.org/IPv6Address"];
/// Those of its tunnels, which come after.
pub const TUNNEL_ADDRESSES: [&str; 6] = [
    "projectcalico.org/IPv4IPIPTunnelAddr",
    "projectcalico.org/IPv4VXLANTunnelAddr",
    "projectcalico.org/IPv6VXLANTunnelAddr",
    "projectcalico.org/IPv4WireguardInterfaceAddr",
    "projectcalico.org/IPv6WireguardInterfaceAddr",
    "projectcalico.org/WireguardInterfaceAddr",
];

/// Names longer than this get a hash in them, which is not predicted.
const MAX_NAME: usize = 253;

impl State {
    /// The state once Calico's and Kubernetes' controllers have caught up.
    pub fn settled(&self) -> State {
        self.settled_like(&State::new(self.facts.clone()))
    }

    /// The same, for a state that is looked at and not written anywhere: what comes out as it is in another state, but
    /// for its version, is that state's object.
    pub fn settled_like(&self, other: &State) -> State {
        let mut state = self.clone();
        state.settle_endpoints(other);
        let Some(config) = self.controllers() else { return state };
        let running = running_config(&config);
        let key = Key::cluster(Kind::KubeControllersConfiguration, "default");
        if config.pointer("/status/runningConfig").is_some_and(Value::is_object) {
            let mut settled = Value::clone(&config);
            settle_running_config(&mut settled, &running);
            if settled != *config {
                state.keep(key, settled);
            }
        }
        let (Ok(nodes), Ok(_)) = (self.list(Kind::Node), self.list(Kind::HostEndpoint)) else {
            return state;
        };
        let Some(node_controller) = running.pointer("/controllers/node").filter(|node| node.is_object()) else {
            return state; // off: neither creation nor clean-up
        };
        let wanted = match node_controller
            .pointer("/hostEndpoint/autoCreate")
            .and_then(Value::as_str)
        {
            Some("Enabled") => wanted_host_endpoints(node_controller, nodes.map(|(_, node)| node), other),
            _ => Wanted::new(other),
        };
        state.reconcile(wanted);
        state
    }

    /// Whether what controllers make of a state depends on objects of that kind.
    pub fn is_settled_by(kind: Kind) -> bool {
        matches!(
            kind,
            Kind::Node
                | Kind::HostEndpoint
                | Kind::KubeControllersConfiguration
                | Kind::Service
                | Kind::EndpointSlice
                | Kind::Pod
        )
    }

    fn controllers(&self) -> Option<Cow<'_, Value>> {
        self.present(&Key::cluster(Kind::KubeControllersConfiguration, "default"))
    }

    /// An environment variable of kube-controllers that overrides `autoCreate`, with its value.
    pub fn auto_create_override(&self) -> Option<String> {
        let controllers = self.controllers()?;
        let variables = controllers.pointer("/status/environmentVars")?;
        Some(variables.get(AUTO_HOST_ENDPOINTS)?.as_str()?.to_string())
    }

    fn reconcile(&mut self, wanted: Wanted<'_>) {
        let is_auto = |object: &Value| label(object, CREATED_BY) == Some(CONTROLLERS);
        let gone: Vec<Key> = self
            .shelf(Kind::HostEndpoint)
            .filter(|(key, _)| !wanted.objects.contains_key(*key))
            .filter(|(_, object)| {
                let object = object.open();
                is_auto(&object) && !wanted.keeps(&object)
            })
            .map(|(key, _)| key.clone())
            .collect();
        for key in gone {
            self.remove(&key);
        }
        for (key, body) in wanted.objects {
            match (self.find(&key), body) {
                (None, Body::Known(object)) => self.insert(key, object),
                (None, Body::New(body)) => {
                    let mut object = body.open().into_owned();
                    super::stamp(&key, &mut object, &self.next_version());
                    self.keep(key, object);
                }
                (Some(there), Body::New(body) | Body::Known(body)) => {
                    let (there, body) = (there.open(), body.open());
                    if is_auto(&there) && differs(&there, &body) {
                        let mut object = corrected(&there, &body);
                        object["metadata"]["resourceVersion"] = json!(self.next_version());
                        self.keep(key, object);
                    }
                }
            }
        }
    }
}

/// As the controller leaves it; profiles, node and ports are not corrected (`hostendpoints.go`, hostEndpointNeedsUpdate).
fn corrected(there: &Value, body: &Value) -> Value {
    let mut object = there.clone();
    for pointer in ["/metadata/labels", "/metadata/annotations"] {
        set_or_remove(&mut object, pointer, body.pointer(pointer).cloned());
    }
    for field in ["expectedIPs", "interfaceName"] {
        set_or_remove(&mut object, &format!("/spec/{field}"), body["spec"].get(field).cloned());
    }
    object
}

/// The effective configuration: the spec, with the environment's overrides on top.
fn running_config(config: &Value) -> Value {
    let mut running = config.get("spec").cloned().unwrap_or_else(|| json!({}));
    let variable = config
        .pointer("/status/environmentVars")
        .and_then(|vars| vars.get(AUTO_HOST_ENDPOINTS));
    if let Some(value) = variable.and_then(Value::as_str)
        && running.pointer("/controllers/node").is_some_and(Value::is_object)
    {
        let node = running["controllers"]["node"].as_object_mut().expect("checked above");
        if value.eq_ignore_ascii_case("enabled") {
            let endpoint = node.entry("hostEndpoint").or_insert_with(|| json!({}));
            endpoint["autoCreate"] = json!("Enabled");
        } else {
            node.remove("hostEndpoint");
        }
    }
    running
}

/// Brings the shown effective value of `autoCreate` up to date; other parts of the status are the controller's.
fn settle_running_config(object: &mut Value, running: &Value) {
    let effective = running.pointer("/controllers/node/hostEndpoint").cloned();
    if let Some(node) = object
        .pointer_mut("/status/runningConfig/controllers/node")
        .and_then(Value::as_object_mut)
    {
        match effective {
            Some(endpoint) => {
                let shown = node.entry("hostEndpoint").or_insert_with(|| json!({}));
                crate::changes::merge(shown, &endpoint);
            }
            None => {
                node.remove("hostEndpoint");
            }
        }
    }
}

/// The host endpoints that should be, and for which nodes that is not known.
struct Wanted<'a> {
    objects: BTreeMap<Key, Body>,
    /// Nodes with a template by interface pattern, or with a name too long: what is there stays.
    unpredicted: BTreeSet<String>,
    /// Where the same may be already.
    other: &'a State,
}

enum Body {
    /// Without a version.
    New(Object),
    /// Another state's, with a version.
    Known(Object),
}

impl<'a> Wanted<'a> {
    fn new(other: &'a State) -> Wanted<'a> {
        Wanted {
            objects: BTreeMap::new(),
            unpredicted: BTreeSet::new(),
            other,
        }
    }

    fn keeps(&self, object: &Value) -> bool {
        let node = object.pointer("/spec/node").and_then(Value::as_str).unwrap_or_default();
        self.unpredicted.contains(node)
    }

    fn add(&mut self, node: &str, name: String, body: Value) {
        if name.len() > MAX_NAME {
            self.unpredicted.insert(node.to_string());
        } else {
            let key = Key::cluster(Kind::HostEndpoint, name);
            let known = self
                .other
                .find(&key)
                .filter(|known| is_but_stamped(&known.open(), &body))
                .cloned();
            let body = known.map_or_else(|| Body::New(Object::new(key.kind, body)), Body::Known);
            self.objects.insert(key, body);
        }
    }
}

/// Whether an object is that body with what a server adds to a new object.
pub(super) fn is_but_stamped(object: &Value, body: &Value) -> bool {
    let (Some(object), Some(body)) = (object.as_object(), body.as_object()) else {
        return false;
    };
    let metadata = |map: &Map<String, Value>| map.get("metadata").and_then(Value::as_object).cloned();
    let (Some(mut stamped), Some(plain)) = (metadata(object), metadata(body)) else {
        return false;
    };
    for name in ["resourceVersion", "uid"] {
        stamped.remove(name);
    }
    let rest = |map: &'_ Map<String, Value>| map.iter().filter(|(name, _)| *name != "metadata").count();
    stamped == plain
        && rest(object) == rest(body)
        && body
            .iter()
            .all(|(name, value)| name == "metadata" || object.get(name) == Some(value))
}

fn wanted_host_endpoints<'n, 'a>(
    controller: &Value,
    nodes: impl Iterator<Item = Cow<'n, Value>>,
    other: &'a State,
) -> Wanted<'a> {
    let endpoint = &controller["hostEndpoint"];
    let default_too = endpoint.get("createDefaultHostEndpoint").and_then(Value::as_str) != Some("Disabled");
    let templates = endpoint
        .get("templates")
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    let mut wanted = Wanted::new(other);
    for node in nodes {
        let Some(name) = node.pointer("/metadata/name").and_then(Value::as_str) else {
            continue;
        };
        let addresses = addresses(&node);
        if default_too {
            let name_of_it = format!("{name}-auto-hep");
            let body = host_endpoint(&name_of_it, name, labels(&node), None, Some("*"), &addresses);
            wanted.add(name, name_of_it, body);
        }
        for template in &templates {
            from_template(template, &node, name, &addresses, &mut wanted);
        }
    }
    wanted
}

/// One template for one node (Calico: `hostendpoints.go`, templates since v3.30).
fn from_template(template: &Value, node: &Value, name: &str, addresses: &[String], wanted: &mut Wanted<'_>) {
    let selector = template.get("nodeSelector").and_then(Value::as_str).unwrap_or_default();
    match Selector::parse(selector) {
        Ok(selector) if !selector.matches(&super::labels_of(node)) => return,
        Ok(_) => {}
        Err(_) => {
            wanted.unpredicted.insert(name.to_string());
            return;
        }
    }
    if template.get("interfacePattern").is_some() {
        wanted.unpredicted.insert(name.to_string()); // the node's interfaces are not in the API
        return;
    }
    let cidrs: Vec<Cidr> = strings(template.get("interfaceCIDRs"))
        .filter_map(|text| Cidr::parse_lenient(text).ok())
        .collect();
    let inside: Vec<String> = addresses
        .iter()
        .filter(|text| text.parse().is_ok_and(|ip| cidrs.iter().any(|cidr| cidr.contains(ip))))
        .cloned()
        .collect();
    if inside.is_empty() {
        return;
    }
    let mut all = labels(node);
    all.extend(
        template
            .get("labels")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default(),
    );
    let generate = template.get("generateName").and_then(Value::as_str).unwrap_or_default();
    let name_of_it = format!("{name}-{generate}-auto-hep");
    let body = host_endpoint(&name_of_it, name, all, template.get("annotations"), None, &inside);
    wanted.add(name, name_of_it, body);
}

fn host_endpoint(
    name: &str,
    node: &str,
    mut labels: Map<String, Value>,
    annotations: Option<&Value>,
    interface: Option<&str>,
    addresses: &[String],
) -> Value {
    labels.insert(CREATED_BY.into(), json!(CONTROLLERS));
    let mut body = json!({
        "apiVersion": "projectcalico.org/v3",
        "kind": "HostEndpoint",
        "metadata": {"name": name, "labels": labels},
        "spec": {"node": node, "expectedIPs": addresses, "profiles": ["projectcalico-default-allow"]},
    });
    if let Some(annotations) = annotations.filter(|map| map.as_object().is_some_and(|map| !map.is_empty())) {
        body["metadata"]["annotations"] = annotations.clone();
    }
    if let Some(interface) = interface {
        body["spec"]["interfaceName"] = json!(interface);
    }
    body
}

/// Whether the controller would correct it: labels, annotations, addresses and interface.
fn differs(object: &Value, body: &Value) -> bool {
    let map = |value: &Value, pointer: &str| {
        value
            .pointer(pointer)
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let set = |value: &Value| {
        strings(value.pointer("/spec/expectedIPs"))
            .map(str::to_string)
            .collect::<BTreeSet<_>>()
    };
    map(object, "/metadata/labels") != map(body, "/metadata/labels")
        || map(object, "/metadata/annotations") != map(body, "/metadata/annotations")
        || set(object) != set(body)
        || object.pointer("/spec/interfaceName") != body.pointer("/spec/interfaceName")
}

/// A node's addresses as the controller collects them: Calico's own, then InternalIPs; never ExternalIPs.
pub fn addresses(node: &Value) -> Vec<String> {
    let mut found = Vec::new();
    let mut add = |text: &str| {
        let text = text.split('/').next().unwrap_or_default();
        if text.parse::<std::net::IpAddr>().is_ok() && !found.iter().any(|seen| seen == text) {
            found.push(text.to_string());
        }
    };
    let annotations = node.pointer("/metadata/annotations");
    for name in OWN_ADDRESSES.iter().chain(&TUNNEL_ADDRESSES) {
        if let Some(text) = annotations.and_then(|map| map.get(*name)).and_then(Value::as_str) {
            add(text);
        }
    }
    for address in node
        .pointer("/status/addresses")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
    {
        if address["type"] == "InternalIP"
            && let Some(text) = address["address"].as_str()
        {
            add(text);
        }
    }
    found
}

fn strings(list: Option<&Value>) -> impl Iterator<Item = &str> {
    list.and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn labels(object: &Value) -> Map<String, Value> {
    object
        .pointer("/metadata/labels")
        .and_then(Value::as_object)
        .cloned()
        .unwrap_or_default()
}

fn label<'a>(object: &'a Value, name: &str) -> Option<&'a str> {
    object.pointer("/metadata/labels")?.get(name)?.as_str()
}

fn set_or_remove(object: &mut Value, pointer: &str, value: Option<Value>) {
    let (parent, key) = pointer.rsplit_once('/').expect("pointers here have a parent");
    if let Some(map) = object.pointer_mut(parent).and_then(Value::as_object_mut) {
        match value {
            Some(value) => map.insert(key.to_string(), value),
            None => map.remove(key),
        };
    }
}
