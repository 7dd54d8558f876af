//! A world from what was read of a cluster.
//!
//! What hostguard reads comes in a `State`; pods and what else policy on them needs comes beside it, each list `None`
//! where it was not read.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::facts::{Facts, NodeFacts, ServiceFacts};
use super::kubernetes;
use super::world::World;
use crate::net::{AddressSet, Cidr};
use crate::resource::{Key, Kind};
use crate::state::State;

/// Objects in API shape of kinds that a `State` does not hold.
#[derive(Clone, Debug, Default)]
pub struct Context {
    pub pods: Option<Vec<Value>>,
    pub endpoint_slices: Option<Vec<Value>>,
    /// Of networking.k8s.io.
    pub kubernetes_policies: Option<Vec<Value>>,
    /// Of projectcalico.org.
    pub calico_policies: Option<Vec<Value>>,
    pub network_sets: Option<Vec<Value>>,
    pub ip_pools: Option<Vec<Value>>,
}

const CALICO_KINDS: [Kind; 5] = [
    Kind::FelixConfiguration,
    Kind::Tier,
    Kind::GlobalNetworkSet,
    Kind::GlobalNetworkPolicy,
    Kind::HostEndpoint,
];

impl World {
    /// The world of a state. Kinds of it that were not read make answers that depend on them unknown.
    pub fn of_state(state: &State) -> World {
        let list = |kind: Kind| -> Option<Vec<Value>> {
            Some(state.list(kind).ok()?.map(|(_, object)| object.clone()).collect())
        };
        let context = Context {
            pods: list(Kind::Pod),
            endpoint_slices: list(Kind::EndpointSlice),
            kubernetes_policies: list(Kind::KubernetesNetworkPolicy),
            calico_policies: list(Kind::NetworkPolicy),
            network_sets: list(Kind::NetworkSet),
            ip_pools: list(Kind::IPPool),
        };
        World::of_state_and(state, &context)
    }

    pub fn of_state_and(state: &State, context: &Context) -> World {
        World::of_facts(&facts(state, context))
    }
}

/// Takes lists out of a state, remembering those that could not be read.
struct Lists<'a> {
    state: &'a State,
    unread: BTreeMap<String, String>,
}

impl<'a> Lists<'a> {
    fn of(&mut self, kind: Kind) -> Option<Vec<&'a Value>> {
        match self.state.list(kind) {
            Ok(objects) => Some(objects.map(|(_, object)| object).collect()),
            Err(why) => {
                self.unread.insert(kind.name().to_string(), why.to_string());
                None
            }
        }
    }

    fn extra<'b>(&mut self, kind: &str, list: Option<&'b Vec<Value>>) -> &'b [Value] {
        if list.is_none() {
            let why = Kind::parse(kind).and_then(|kind| self.state.list(kind).err().map(ToString::to_string));
            self.unread
                .insert(kind.to_string(), why.unwrap_or_else(|| "not read".to_string()));
        }
        list.map_or(&[], Vec::as_slice)
    }
}

fn facts(state: &State, context: &Context) -> Facts {
    let mut lists = Lists {
        state,
        unread: BTreeMap::new(),
    };
    let mut objects: Vec<Value> = Vec::new();
    for kind in CALICO_KINDS {
        let list = lists.of(kind).unwrap_or_default();
        // Objects of a list response need not say their kind.
        objects.extend(list.into_iter().map(|object| of_kind(object, kind.name())));
    }
    for (kind, list) in [
        ("NetworkPolicy", &context.calico_policies),
        ("NetworkSet", &context.network_sets),
        ("IPPool", &context.ip_pools),
    ] {
        objects.extend(lists.extra(kind, list.as_ref()).iter().map(|o| of_kind(o, kind)));
    }
    let policies = lists.extra("KubernetesNetworkPolicy", context.kubernetes_policies.as_ref());
    objects.extend(policies.iter().map(kubernetes::network_policy));

    let nodes: Vec<&Value> = lists.of(Kind::Node).unwrap_or_default();
    let namespaces = lists.of(Kind::Namespace).unwrap_or_default();
    objects.extend(namespaces.into_iter().map(kubernetes::namespace_profile));
    let pods = context
        .pods
        .as_ref()
        .map(|pods| pods.iter().filter_map(kubernetes::pod));
    let pods: Option<Vec<_>> = pods.map(Iterator::collect);
    let accounts: BTreeSet<&String> = pods
        .iter()
        .flatten()
        .flat_map(|p| &p.profiles)
        .filter(|p| p.starts_with("ksa."))
        .collect();
    objects.extend(accounts.into_iter().map(|name| kubernetes::account_profile(name)));
    if pods.is_none() {
        lists.extra("Pod", None);
    }

    let services = lists
        .of(Kind::Service)
        .map(|services| self::services(&services, context));
    if context.endpoint_slices.is_none() {
        lists.extra("EndpointSlice", None);
    }
    Facts {
        pod_ranges: pod_ranges(&nodes),
        nodes: nodes
            .iter()
            .map(|node| kubernetes::node(node))
            .collect::<Vec<NodeFacts>>(),
        pods,
        services,
        objects,
        unread: lists.unread,
        dataplane: None,
        environment: environment(state),
    }
}

fn services(services: &[&Value], context: &Context) -> Vec<ServiceFacts> {
    let slices = context.endpoint_slices.as_ref().map(|slices| {
        let mut by_service: BTreeMap<(&str, &str), Vec<&Value>> = BTreeMap::new();
        for slice in slices {
            by_service.entry(kubernetes::service_of(slice)).or_default().push(slice);
        }
        by_service
    });
    let of = |service: &&Value| {
        let at = |pointer: &str| service.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
        let key = (at("/metadata/namespace"), at("/metadata/name"));
        let slices = slices
            .as_ref()
            .map(|slices| slices.get(&key).map_or(&[][..], Vec::as_slice));
        kubernetes::services(service, slices)
    };
    services.iter().flat_map(of).collect()
}

fn of_kind(object: &Value, kind: &str) -> Value {
    let mut object = object.clone();
    object["kind"] = kind.into();
    object
}

/// The ranges that nodes hand to pods; `None` unless every node says.
fn pod_ranges(nodes: &[&Value]) -> Option<AddressSet> {
    let mut nets = Vec::new();
    for node in nodes {
        let given = node.pointer("/spec/podCIDRs").and_then(Value::as_array)?;
        nets.extend(given.iter().filter_map(|text| Cidr::parse_lenient(text.as_str()?).ok()));
    }
    (!nets.is_empty()).then(|| AddressSet::from_cidrs(&nets))
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
