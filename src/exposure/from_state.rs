//! A world from what was read of a cluster.
//!
//! A kind that was not read is never taken for one without objects: the reason is kept, and answers that depend on it
//! are unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::cloud::{CloudFacts, CloudRule};
use super::facts::{Facts, ServiceFacts};
use super::kubernetes::{self, NodeRead, Slice};
use super::reading::{Objects, Reading, as_read};
use super::world::World;
use crate::aws::{Acl, Interface, PLAN_TAG, Rule};
use crate::net::{AddressSet, Cidr};
use crate::resource::{Key, Kind};
use crate::state::{Object, State, Unreadable};

/// Host endpoints are read apart.
const CALICO_KINDS: [Kind; 7] = [
    Kind::FelixConfiguration,
    Kind::Tier,
    Kind::GlobalNetworkSet,
    Kind::GlobalNetworkPolicy,
    Kind::NetworkPolicy,
    Kind::NetworkSet,
    Kind::IPPool,
];

impl World {
    /// The world of a state. Kinds of it that were not read make answers that depend on them unknown.
    pub fn of_state(state: &State) -> World {
        World::of_state_with(state, &Reading::default())
    }

    /// The same with what was read of objects that other states hold too.
    pub fn of_state_with(state: &State, reading: &Reading) -> World {
        let (facts, objects) = facts(state, reading);
        World::build(&facts, &objects)
    }
}

/// Takes lists out of a state, remembering those that could not be read.
struct Lists<'a> {
    state: &'a State,
    unread: BTreeMap<String, String>,
}

impl<'a> Lists<'a> {
    fn of(&mut self, kind: Kind) -> Option<Vec<&'a Object>> {
        let objects = self.state.kept(kind);
        self.read(kind, objects.map(Iterator::collect))
    }

    /// What was read of a kind; the reason is kept where it was not.
    fn read<T>(&mut self, kind: Kind, found: Result<T, &Unreadable>) -> Option<T> {
        let keep = |why: &&Unreadable| drop(self.unread.insert(kind.name().to_string(), why.to_string()));
        found.inspect_err(keep).ok()
    }
}

/// Calico's objects beside the rest, whose own list of them is empty.
fn facts(state: &State, reading: &Reading) -> (Facts, Objects) {
    let mut lists = Lists {
        state,
        unread: BTreeMap::new(),
    };
    let mut objects = Objects::default();
    for kind in CALICO_KINDS {
        for object in lists.of(kind).unwrap_or_default() {
            objects.add(kind.name(), reading.of(kind.name(), object, |_| None));
        }
    }
    for object in lists.of(Kind::HostEndpoint).unwrap_or_default() {
        objects.endpoints.extend(reading.of_endpoint(object));
    }
    let policy = Kind::KubernetesNetworkPolicy.name();
    for object in lists.of(Kind::KubernetesNetworkPolicy).unwrap_or_default() {
        let made = |object: &Value| Some(kubernetes::network_policy(object));
        objects.add(policy, reading.of(policy, object, made));
    }
    for object in lists.of(Kind::Namespace).unwrap_or_default() {
        let made = |object: &Value| Some(kubernetes::namespace_profile(object));
        objects.add("Profile", reading.of("Profile", object, made));
    }
    let pods = lists.read(Kind::Pod, state.pods());
    let pods = pods.map(|pods| reading.of_pods(pods));
    let accounts: BTreeSet<&String> = pods
        .iter()
        .flatten()
        .flat_map(|p| &p.profiles)
        .filter(|p| p.starts_with("ksa."))
        .collect();
    for name in accounts {
        objects.add("Profile", as_read("Profile", &kubernetes::account_profile(name)));
    }
    let nodes = lists.of(Kind::Node).unwrap_or_default().into_iter();
    let nodes: Vec<Arc<NodeRead>> = nodes.map(|object| reading.of_node(object)).collect();
    let slices = lists.of(Kind::EndpointSlice);
    let slices = slices.map(|all| all.into_iter().map(|object| reading.of_slice(object)));
    let services = lists.of(Kind::Service);
    let cloud = cloud(&mut lists, &nodes);
    let facts = Facts {
        cloud,
        pod_ranges: pod_ranges(&nodes),
        nodes: nodes.iter().map(|node| Arc::clone(&node.facts)).collect(),
        services: services.map(|services| self::services(&services, slices)),
        pods,
        objects: Vec::new(),
        unread: lists.unread,
        dataplane: None,
        environment: environment(state),
    };
    (facts, objects)
}

/// `None` where nobody asked for what is in front of the nodes.
fn cloud(lists: &mut Lists<'_>, nodes: &[Arc<NodeRead>]) -> Option<CloudFacts> {
    let asked = |kind: Kind| lists.state.coverage().contains_key(&kind);
    if !asked(Kind::NetworkInterface) && !asked(Kind::SecurityGroupRule) {
        return None;
    }
    let instance = |node: &Arc<NodeRead>| Some((node.facts.name.clone(), node.instance.clone()?));
    let instances: BTreeMap<String, String> = nodes.iter().filter_map(instance).collect();
    if instances.is_empty() {
        return None; // another cloud's nodes, or nobody's
    }
    let mut of = |kind: Kind| lists.of(kind).unwrap_or_default();
    let interfaces = of(Kind::NetworkInterface);
    let (objects, acl_objects) = (of(Kind::SecurityGroupRule), of(Kind::NetworkAcl));
    let rules: Option<Vec<CloudRule>> = objects.iter().map(|object| rule(&object.open())).collect();
    let acls: Option<Vec<Acl>> = acl_objects.iter().map(|object| Acl::read(&object.open())).collect();
    let facts = CloudFacts {
        instances,
        interfaces: interfaces
            .iter()
            .map(|object| Interface::read(&object.open()))
            .collect(),
        rules: rules.clone().unwrap_or_default(),
        acls: acls.clone().unwrap_or_default(),
        prefix_lists: of(Kind::PrefixList)
            .iter()
            .filter_map(|object| prefix_list(&object.open()))
            .collect(),
        listed: of(Kind::SecurityGroup)
            .iter()
            .filter_map(|object| listed(&object.open()))
            .collect(),
    };
    // One that is not understood may say anything.
    for (kind, known) in [
        (Kind::SecurityGroupRule, rules.is_some()),
        (Kind::NetworkAcl, acls.is_some()),
    ] {
        if !known {
            let why = "one of them has a shape that is not known".to_string();
            lists.unread.entry(kind.name().to_string()).or_insert(why);
        }
    }
    Some(facts)
}

fn rule(object: &Value) -> Option<CloudRule> {
    Some(CloudRule {
        rule: Rule::read(object)?,
        planned: !object["spec"]["tags"][PLAN_TAG].is_null(),
    })
}

fn prefix_list(object: &Value) -> Option<(String, AddressSet)> {
    let entries = object["spec"]["entries"].as_array()?.iter();
    let nets: Option<Vec<Cidr>> = entries.map(|entry| Cidr::parse_lenient(entry.as_str()?).ok()).collect();
    Some((
        object["metadata"]["name"].as_str()?.to_string(),
        AddressSet::from_cidrs(&nets?),
    ))
}

/// A group of which every interface was read says so.
fn listed(object: &Value) -> Option<String> {
    let whole = object
        .pointer("/status/interfaces")
        .is_some_and(|word| word == "listed");
    whole
        .then(|| object["metadata"]["name"].as_str().map(str::to_string))
        .flatten()
}

fn services(services: &[&Object], slices: Option<impl Iterator<Item = Arc<Slice>>>) -> Vec<ServiceFacts> {
    let slices = slices.map(|slices| {
        let mut by_service: BTreeMap<(String, String), Vec<Arc<Slice>>> = BTreeMap::new();
        for slice in slices {
            let key = (slice.namespace.clone(), slice.service.clone());
            by_service.entry(key).or_default().push(slice);
        }
        by_service
    });
    let of = |service: &&Object| {
        let service = service.open();
        let at = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let key = (at("/metadata/namespace").to_string(), at("/metadata/name").to_string());
        let slices = slices
            .as_ref()
            .map(|slices| slices.get(&key).map_or(&[][..], Vec::as_slice));
        kubernetes::services(&service, slices)
    };
    services.iter().flat_map(of).collect()
}

/// The ranges that nodes hand to pods; `None` unless every node says.
fn pod_ranges(nodes: &[Arc<NodeRead>]) -> Option<AddressSet> {
    let mut nets = Vec::new();
    for node in nodes {
        nets.extend(node.pod_ranges.as_ref()?);
    }
    (!nets.is_empty()).then(|| AddressSet::from_cidrs(nets))
}

/// `FELIX_*` of the calico-node container; `None` where it was not read.
fn environment(state: &State) -> Option<BTreeMap<String, String>> {
    let namespaces = ["calico-system", "kube-system"];
    let set = namespaces
        .iter()
        .find_map(|namespace| state.present(&Key::namespaced(Kind::DaemonSet, *namespace, "calico-node")))?;
    let containers = set.pointer("/spec/template/spec/containers")?.as_array()?;
    let container = containers.iter().find(|c| c["name"] == "calico-node")?;
    let variables = container["env"].as_array().into_iter().flatten();
    let felix = variables.filter_map(|v| Some((v["name"].as_str()?.to_string(), v["value"].as_str()?.to_string())));
    Some(felix.filter(|(name, _)| name.starts_with("FELIX_")).collect())
}
