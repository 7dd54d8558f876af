//! From facts to a world: which objects Felix keeps, who is a member of selectors, what each node has.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use serde_json::Value;

use super::cloud::Cloud;
use super::facts::{Facts, NodeFacts, PodFacts};
use super::felix::Configurations;
use super::host_endpoint::HostEndpointFacts;
use super::members::{Member, Members, PortName, inherited};
use super::order::{Sorter, policies, tiers};
use super::reading::Objects;
use super::rules::{Reader, Rule, protocol_number};
use super::verdict::{PolicyKind, PolicyName};
use super::world::{Applied, Endpoint, Interface, Node, Place, Pod, Pool, Profile, ProfileRules, World};
use crate::net::{AddressSet, Cidr};
use crate::state::labels_of;

use crate::state::Labels;

pub(super) fn name_of(object: &Value) -> &str {
    object["metadata"]["name"].as_str().unwrap_or_default()
}

pub(super) fn namespace_of(object: &Value) -> &str {
    object["metadata"]["namespace"].as_str().unwrap_or("default")
}

fn labels_at(map: &Value) -> Labels {
    let pairs = map.as_object().into_iter().flatten();
    pairs.filter_map(|(k, v)| Some((k.as_str(), v.as_str()?))).collect()
}

pub(super) fn texts(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array().into_iter().flatten().filter_map(Value::as_str)
}

fn nets_of(list: &Value) -> Vec<Cidr> {
    texts(list).filter_map(|text| Cidr::parse_lenient(text).ok()).collect()
}

/// Labels that endpoints and sets inherit, by profile.
fn profile_labels(objects: &Objects) -> BTreeMap<String, Labels> {
    objects
        .of("Profile")
        .map(|p| (name_of(p).to_string(), labels_at(&p["spec"]["labelsToApply"])))
        .collect()
}

/// Pods' labels as Felix has them. Pods of one sort share theirs.
fn pod_labels(pods: &[Arc<PodFacts>], profiles: &BTreeMap<String, Labels>) -> Vec<Arc<Labels>> {
    let mut known: BTreeMap<_, Arc<Labels>> = BTreeMap::new();
    let of = |pod: &PodFacts| {
        let mut own = pod.labels.to_map();
        if let Some(account) = &pod.account {
            own.insert("projectcalico.org/serviceaccount".into(), account.clone());
        }
        own.entry("projectcalico.org/namespace".into())
            .or_insert_with(|| pod.namespace.clone());
        own.entry("projectcalico.org/orchestrator".into())
            .or_insert_with(|| "k8s".into());
        Arc::new(inherited(own.into(), &pod.profiles, profiles))
    };
    let shared = |pod| {
        let pod: &Arc<PodFacts> = pod;
        // All of them are alive as long as the map is: equal places are equal labels.
        let sort = (Arc::as_ptr(&pod.labels), &pod.account, &pod.namespace, &pod.profiles);
        Arc::clone(known.entry(sort).or_insert_with(|| of(pod)))
    };
    pods.iter().map(shared).collect()
}

/// A host endpoint's labels as Felix has them: its own, mostly.
fn endpoint_labels(endpoint: &HostEndpointFacts, profiles: &BTreeMap<String, Labels>) -> Arc<Labels> {
    let inherits = |profile: &String| profiles.get(profile).is_some_and(|labels| !labels.is_empty());
    if !endpoint.profiles.iter().any(inherits) {
        return Arc::clone(&endpoint.labels);
    }
    let own = (*endpoint.labels).clone();
    Arc::new(inherited(own, &endpoint.profiles, profiles))
}

impl World {
    pub fn of_facts(facts: &Facts) -> World {
        World::build(facts, &Objects::new(facts))
    }

    /// With these of Calico's objects instead of those in the facts.
    pub(super) fn build(facts: &Facts, objects: &Objects) -> World {
        let profile_labels = profile_labels(objects);
        let pods = facts.pods.as_deref().unwrap_or_default();
        let pod_labels = pod_labels(pods, &profile_labels);
        let mut endpoints: Vec<(&Arc<HostEndpointFacts>, Arc<Labels>)> = objects
            .endpoints
            .iter()
            .map(|endpoint| (endpoint, endpoint_labels(endpoint, &profile_labels)))
            .collect();
        endpoints.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
        let members = members(facts, objects, &endpoints, &pod_labels, &profile_labels);
        let mut reader = Reader::new(&members);
        let tiers = tiers(facts, objects);
        let (tiers, policies, subjects) = policies(objects, tiers, &mut reader);
        let mut sorter = Sorter::new(&policies, &tiers, &subjects);

        let mut sorted: Vec<&NodeFacts> = facts.nodes.iter().map(|node| &**node).collect();
        sorted.sort_by(|a, b| a.name.cmp(&b.name));
        let names: Vec<&str> = sorted.iter().map(|node| node.name.as_str()).collect();
        let of_node = |name: &str| names.binary_search(&name).ok();

        let named = endpoints.iter().flat_map(|(endpoint, _)| &endpoint.profiles);
        let named = named.chain(pods.iter().flat_map(|pod| &pod.profiles));
        let profiles = profiles(objects, named, &mut reader);
        let mut applied = Numbered::new(&profiles);

        let mut world = World {
            nodes: Vec::new(),
            endpoints: Vec::new(),
            pods: Vec::new(),
            services: facts.services.clone(),
            profiles,
            pools: pools(objects),
            pod_ranges: pod_ranges(facts),
            cloud: facts.cloud.as_ref().map(|cloud| Cloud::new(cloud, &names)),
            unread: unread(facts),
            environment_read: facts.environment.is_some(),
            stages: Vec::new(),
            applied: Vec::new(),
            places: BTreeMap::new(),
            dataplanes: BTreeSet::new(),
            policies: Vec::new(),
            tiers: Vec::new(),
        };
        let mut owned: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
        for (endpoint, labels) in endpoints {
            if let Some(node) = of_node(&endpoint.node) {
                owned.entry(node).or_default().push(world.endpoints.len());
            }
            world.endpoints.push(Endpoint {
                applied: applied.number(sorter.sort(&labels, None), &endpoint.profiles),
                facts: Arc::clone(endpoint),
            });
        }
        let mut by_name: Vec<(&Arc<PodFacts>, &Arc<Labels>)> = pods.iter().zip(&pod_labels).collect();
        by_name.sort_by(|(a, _), (b, _)| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        for (pod, labels) in by_name {
            let Some(node) = of_node(&pod.node) else { continue };
            world.pods.push(Pod {
                facts: pod.clone(),
                node,
                applied: applied.number(sorter.sort(labels, Some(&pod.namespace)), &pod.profiles),
            });
        }
        world.stages = sorter.stages;
        world.applied = applied.list();
        world.add_nodes(facts, objects, &sorted, owned);
        world.policies = policies;
        world.tiers = tiers;
        world.locate();
        world
    }

    fn add_nodes(
        &mut self,
        facts: &Facts,
        objects: &Objects,
        sorted: &[&NodeFacts],
        mut owned: BTreeMap<usize, Vec<usize>>,
    ) {
        let configurations: Vec<&Value> = objects.of("FelixConfiguration").collect();
        let configurations = Configurations::new(
            &configurations,
            facts.environment.as_ref(),
            facts.dataplane,
            !facts.unread.contains_key("FelixConfiguration"),
        );
        let mut settings = BTreeMap::new();
        for (index, node) in sorted.iter().enumerate() {
            let felix = settings.entry(configurations.of(node));
            let felix = Rc::clone(felix.or_insert_with_key(|felix| Rc::new(felix.clone())));
            self.dataplanes.extend(&felix.dataplanes);
            let node = self::node(self, node, felix, owned.remove(&index).unwrap_or_default());
            self.nodes.push(node);
        }
    }

    /// Remembers where each address is: a node's before a pod's.
    fn locate(&mut self) {
        for (index, pod) in self.pods.iter().enumerate() {
            for address in &pod.addresses {
                self.places.insert(*address, Place::Pod(index));
            }
        }
        for (index, node) in self.nodes.iter().enumerate() {
            for address in &node.addresses {
                self.places.insert(*address, Place::Node(index));
            }
        }
    }
}

/// What kube-proxy takes for pods' addresses; where it is not known, those that pods have.
fn pod_ranges(facts: &Facts) -> Option<AddressSet> {
    let own = || {
        let pods = facts.pods.as_ref()?.iter();
        Some(AddressSet::from_addresses(
            pods.flat_map(|p| p.addresses.iter().copied()),
        ))
    };
    facts.pod_ranges.clone().or_else(own)
}

/// Kinds that were not read, lists that are missing among them.
fn unread(facts: &Facts) -> BTreeMap<String, String> {
    let mut unread = facts.unread.clone();
    for (kind, missing) in [("Pod", facts.pods.is_none()), ("Service", facts.services.is_none())] {
        if missing {
            unread.entry(kind.to_string()).or_insert_with(|| "not read".to_string());
        }
    }
    unread
}

fn members(
    facts: &Facts,
    objects: &Objects,
    endpoints: &[(&Arc<HostEndpointFacts>, Arc<Labels>)],
    pod_labels: &[Arc<Labels>],
    inherit: &BTreeMap<String, Labels>,
) -> Members {
    let mut list: Vec<Member> = Vec::new();
    for (endpoint, labels) in endpoints {
        list.push(Member {
            labels: Arc::clone(labels),
            nets: endpoint.expected.iter().map(|ip| Cidr::host(*ip)).collect(),
            ports: endpoint.ports.clone(),
        });
    }
    for (pod, labels) in facts.pods.iter().flatten().zip(pod_labels) {
        let ports = pod.ports.iter().filter_map(|port| {
            Some(PortName {
                name: port.name.clone(),
                protocol: protocol_number(&Value::from(port.protocol.as_str()))?,
                port: port.port,
            })
        });
        list.push(Member {
            labels: Arc::clone(labels),
            nets: pod.addresses.iter().map(|ip| Cidr::host(*ip)).collect(),
            ports: ports.collect(),
        });
    }
    for set in objects.of("GlobalNetworkSet") {
        list.push(Member {
            labels: Arc::new(labels_of(set)),
            nets: nets_of(&set["spec"]["nets"]),
            ports: Vec::new(),
        });
    }
    for set in objects.of("NetworkSet") {
        let own = labels_of(set);
        let labels = own
            .iter()
            .chain([("projectcalico.org/namespace", namespace_of(set))])
            .collect();
        let profile = format!("kns.{}", namespace_of(set));
        list.push(Member {
            labels: Arc::new(inherited(labels, &[profile], inherit)),
            nets: nets_of(&set["spec"]["nets"]),
            ports: Vec::new(),
        });
    }
    Members::new(list, elsewhere(facts))
}

/// Where members may be that were not read: anywhere, but pods not at a node's address.
fn elsewhere(facts: &Facts) -> AddressSet {
    let unread = |kinds: &[&str]| kinds.iter().any(|kind| facts.unread.contains_key(*kind));
    if unread(&["HostEndpoint", "GlobalNetworkSet", "NetworkSet"]) {
        return AddressSet::all();
    }
    if facts.pods.is_some() && !unread(&["Namespace", "Profile"]) {
        return AddressSet::empty();
    }
    let own = |node: &NodeFacts| -> Vec<IpAddr> {
        let interfaces = node.interfaces.iter().flatten();
        let addresses = interfaces.flat_map(|i| i.addresses.iter().map(|(a, _)| *a));
        addresses
            .chain(node.addresses.iter().copied())
            .chain(node.external.iter().copied())
            .collect()
    };
    AddressSet::from_addresses(facts.nodes.iter().flat_map(|node| own(node))).complement()
}

/// Profiles that are there, and those that are only named.
fn profiles<'a>(
    objects: &'a Objects,
    named: impl Iterator<Item = &'a String>,
    reader: &mut Reader<'_>,
) -> Vec<Profile> {
    let allow = serde_json::json!({"metadata": {"name": "projectcalico-default-allow"},
        "spec": {"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}});
    let named: BTreeSet<&String> = named.collect(); // every pod names some
    let named = named.into_iter().map(|name| (name.clone(), None));
    let mut profiles: BTreeMap<String, Option<ProfileRules>> = named.collect();
    for object in [&allow].into_iter().chain(objects.of("Profile")) {
        let mut rules = |key: &str| -> Vec<Rule> {
            let list = object["spec"][key].as_array().into_iter().flatten();
            list.map(|rule| reader.rule(rule, None)).collect()
        };
        let rules = ProfileRules {
            ingress: rules("ingress"),
            egress: rules("egress"),
        };
        profiles.insert(name_of(object).to_string(), Some(rules));
    }
    let profile = |(name, rules)| Profile {
        name: PolicyName {
            kind: PolicyKind::Profile,
            namespace: String::new(),
            name,
        },
        rules,
    };
    profiles.into_iter().map(profile).collect()
}

/// Numbers for what is in force at endpoints.
struct Numbered {
    profiles: BTreeMap<String, usize>,
    numbers: BTreeMap<Applied, usize>,
}

impl Numbered {
    fn new(profiles: &[Profile]) -> Self {
        let places = profiles.iter().enumerate();
        Numbered {
            profiles: places.map(|(i, profile)| (profile.name.name.clone(), i)).collect(),
            numbers: BTreeMap::new(),
        }
    }

    fn number(&mut self, stages: usize, profiles: &[String]) -> usize {
        let applied = Applied {
            stages,
            profiles: profiles.iter().map(|name| self.profiles[name]).collect(),
        };
        let next = self.numbers.len();
        *self.numbers.entry(applied).or_insert(next)
    }

    fn list(self) -> Vec<Applied> {
        let mut list: Vec<(Applied, usize)> = self.numbers.into_iter().collect();
        list.sort_by_key(|(_, number)| *number);
        list.into_iter().map(|(applied, _)| applied).collect()
    }
}

fn pools(objects: &Objects) -> Vec<Pool> {
    let one = |object: &Value| {
        let spec = &object["spec"];
        let net = Cidr::parse_lenient(spec["cidr"].as_str()?).ok()?;
        let mode = |key: &str| {
            spec[key]
                .as_str()
                .is_some_and(|mode| mode != "Never" && !mode.is_empty())
        };
        Some(Pool {
            nets: AddressSet::from_cidrs([&net]),
            nat_outgoing: spec["natOutgoing"] == Value::Bool(true),
            encapsulated: mode("vxlanMode") || mode("ipipMode"),
            always: ["vxlanMode", "ipipMode"].into_iter().any(|key| spec[key] == "Always"),
            vxlan: mode("vxlanMode"),
            ipip: mode("ipipMode"),
            family: net.family(),
        })
    };
    objects.of("IPPool").filter_map(one).collect()
}

fn node(world: &World, facts: &NodeFacts, felix: Rc<super::felix::Felix>, owned: Vec<usize>) -> Node {
    let star = owned.iter().copied().find(|e| world.endpoints[*e].interface == "*");
    let endpoints: Vec<usize> = owned
        .into_iter()
        .filter(|e| world.endpoints[*e].interface != "*")
        .collect();
    let interfaces = facts.interfaces.as_ref().map(|list| {
        let one = |interface: &super::facts::InterfaceFacts| {
            let addresses: Vec<IpAddr> = interface.addresses.iter().map(|(a, _)| *a).collect();
            let governs = |e: &usize| world.governs(*e, &interface.name, &addresses);
            Interface {
                addresses: interface.addresses.clone(),
                governed: endpoints
                    .iter()
                    .copied()
                    .find(governs)
                    .filter(|_| !felix.is_workload(&interface.name)),
            }
        };
        list.iter().map(one).collect::<Vec<_>>()
    });
    let listed = facts.interfaces.iter().flatten();
    let addresses = listed.flat_map(|i| i.addresses.iter().map(|(a, _)| *a));
    Node {
        name: facts.name.clone(),
        addresses: addresses.chain(facts.addresses.iter().copied()).collect(),
        external: facts.external.clone(),
        interfaces,
        felix,
        endpoints,
        star,
    }
}
