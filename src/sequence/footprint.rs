//! What a step can influence at all, whatever else is there: more than it does, never less.
//!
//! Steps whose footprints do not meet may be made together: every flow then sees at most one of them, so whatever part
//! of them is made, each flow fares as before them or as after them, and both were judged.

use std::borrow::Cow;
use std::cell::{OnceCell, RefCell};
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::batch::{Like, Touch};
use super::unseen::{decides_nothing, holds, labels_in, unseen};
use crate::aws::{Protocols, Rule};
use crate::changes::{Change, Op, merge};
use crate::exposure::port_range;
use crate::net::{PortSet, Protocol};
use crate::resource::Kind;
use crate::selector::Selector;
use crate::state::{Labels, State, labels_of};

/// Flows, by the port at which they come to a node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Footprint {
    #[default]
    Nothing,
    Ports(Ports),
    Everything,
}

type Ports = BTreeMap<Protocol, PortSet>;

/// What there is before the steps, before them once controllers have caught up, and after them all: on the way there is
/// nothing else, object by object.
pub struct Around<'a> {
    states: [&'a State; 3],
    /// What is worked out once for all steps.
    labels: OnceCell<Option<BTreeSet<Labels>>>,
    services: OnceCell<Option<Vec<Ports>>>,
    templates: OnceCell<bool>,
    shadowed: OnceCell<bool>,
    /// By selector: whether it matches no endpoint.
    nobody: RefCell<BTreeMap<String, bool>>,
    /// By the name of a label: whether no selector can name it.
    unseen: RefCell<BTreeMap<String, bool>>,
}

impl Footprint {
    pub fn meets(&self, other: &Footprint) -> bool {
        match (self, other) {
            (Footprint::Nothing, _) | (_, Footprint::Nothing) => false,
            (Footprint::Everything, _) | (_, Footprint::Everything) => true,
            (Footprint::Ports(a), Footprint::Ports(b)) => a
                .iter()
                .any(|(protocol, ports)| b.get(protocol).is_some_and(|other| !ports.intersect(other).is_empty())),
        }
    }

    pub fn and(self, other: Footprint) -> Footprint {
        match (self, other) {
            (Footprint::Nothing, one) | (one, Footprint::Nothing) => one,
            (Footprint::Ports(mut a), Footprint::Ports(b)) => {
                for (protocol, ports) in b {
                    add(&mut a, protocol, &ports);
                }
                Footprint::Ports(a)
            }
            _ => Footprint::Everything,
        }
    }
}

fn add(all: &mut Ports, protocol: Protocol, ports: &PortSet) -> bool {
    let entry = all.entry(protocol).or_insert_with(PortSet::empty);
    let union = entry.union(ports);
    let grew = union != *entry;
    *entry = union;
    grew
}

/// The object before and after a step, as far as it is there.
pub fn sides(step: &Change) -> Vec<Value> {
    match &step.op {
        Op::Create { object } => vec![object.clone()],
        Op::Delete { before } => vec![(**before).clone()],
        Op::Update { before, patch } => {
            let mut after = (**before).clone();
            merge(&mut after, patch);
            vec![(**before).clone(), after]
        }
    }
}

impl<'a> Around<'a> {
    pub fn new(states: [&'a State; 3]) -> Around<'a> {
        Around {
            states,
            labels: OnceCell::new(),
            services: OnceCell::new(),
            templates: OnceCell::new(),
            shadowed: OnceCell::new(),
            nobody: RefCell::default(),
            unseen: RefCell::default(),
        }
    }

    pub fn touch(&self, step: &Change) -> Touch {
        let sides = sides(step);
        let all = |of: &dyn Fn(&Value) -> Footprint| sides.iter().map(of).fold(Footprint::Nothing, Footprint::and);
        let mut beside = None;
        let found = match step.key.kind {
            _ if self.decides_nothing(step) => Footprint::Nothing,
            Kind::Tier if self.is_empty_tier(&step.key.name) => Footprint::Nothing,
            Kind::GlobalNetworkSet => all(&|set| self.network_set(set)),
            Kind::GlobalNetworkPolicy => match like(&sides) {
                Some(like) => {
                    beside = Some(like);
                    all(&|policy| self.ports_of(policy))
                }
                None => all(&|policy| self.policy(policy)),
            },
            Kind::Service => all(&service),
            Kind::SecurityGroupRule => all(&rule_of_group),
            Kind::Node => self.of_labels(step),
            _ => Footprint::Everything,
        };
        let flows = self.closed(found);
        Touch {
            beside: beside.filter(|_| flows != Footprint::Nothing),
            flows,
        }
    }

    fn decides_nothing(&self, step: &Change) -> bool {
        let everywhere = |of: &dyn Fn(&State) -> bool| self.states.iter().all(|state| of(state));
        match (step.key.kind, &step.op) {
            (Kind::Node, Op::Update { patch, .. }) => labels_in(patch).is_some_and(|mut names| {
                names.all(|name| {
                    let mut known = self.unseen.borrow_mut();
                    *known
                        .entry(name.clone())
                        .or_insert_with(|| everywhere(&|state| unseen(state, name)))
                })
            }),
            _ => everywhere(&|state| decides_nothing(state, step)),
        }
    }

    fn all(&self, kind: Kind) -> impl Iterator<Item = Cow<'_, Value>> {
        let lists = self.states.iter().filter_map(move |state| state.list(kind).ok());
        lists.flat_map(|list| list.map(|(_, object)| object))
    }

    fn read(&self, kinds: &[Kind]) -> bool {
        self.states
            .iter()
            .all(|state| kinds.iter().all(|kind| state.is_read(*kind)))
    }

    fn is_empty_tier(&self, name: &str) -> bool {
        let policies = [Kind::GlobalNetworkPolicy, Kind::NetworkPolicy];
        // What the plan puts there comes after the tier, by its need.
        let there = |kind: &Kind| {
            let list = self.states[0].list(*kind).into_iter().flatten();
            list.into_iter()
                .any(|(_, policy)| policy["spec"]["tier"].as_str().unwrap_or("default") == name)
        };
        self.read(&policies) && !policies.iter().any(there)
    }

    /// A set that no rule selects decides nothing.
    fn network_set(&self, set: &Value) -> Footprint {
        let labels = labels_of(set);
        let kinds = [Kind::GlobalNetworkPolicy, Kind::NetworkPolicy];
        let selects = |policy: &Value| {
            let mut selectors = rule_selectors(policy).into_iter();
            selectors.any(|text| Selector::parse(&text).map_or(true, |selector| selector.matches(&labels)))
        };
        if self.read(&kinds) && !kinds.iter().any(|kind| self.all(*kind).any(|policy| selects(&policy))) {
            Footprint::Nothing
        } else {
            Footprint::Everything
        }
    }

    /// A policy before DNAT decides about the ports of its rules, and brings no default of its own. Which host endpoint
    /// is asked depends on who has such a policy, where some are named.
    fn policy(&self, policy: &Value) -> Footprint {
        let spec = &policy["spec"];
        let plain = spec["preDNAT"] == true && spec["egress"].as_array().is_none_or(Vec::is_empty);
        match self.ports_of(policy) {
            Footprint::Ports(_) if !plain || self.shadowed() => Footprint::Everything,
            found => found,
        }
    }

    /// The ports that the rules of a policy on the way in decide about.
    fn ports_of(&self, policy: &Value) -> Footprint {
        let spec = &policy["spec"];
        if self.selects_nobody(spec["selector"].as_str().unwrap_or_default()) {
            return Footprint::Nothing;
        }
        let mut ports = Ports::new();
        for rule in spec["ingress"].as_array().into_iter().flatten() {
            let protocol = rule["protocol"].as_str().and_then(|name| name.parse::<Protocol>().ok());
            let (Some(protocol), Some(of_rule)) = (protocol, numbers(&rule["destination"]["ports"])) else {
                return Footprint::Everything;
            };
            add(&mut ports, protocol, &of_rule);
        }
        Footprint::Ports(ports)
    }

    /// Whether some node may have an endpoint for one of its interfaces beside one for all: which of the two is asked
    /// before DNAT depends on which of them has such a policy.
    fn shadowed(&self) -> bool {
        *self.shadowed.get_or_init(|| {
            if !self.read(&[Kind::HostEndpoint]) {
                return true;
            }
            let mut kinds: BTreeMap<String, BTreeSet<bool>> = BTreeMap::new();
            for endpoint in self.all(Kind::HostEndpoint) {
                let spec = &endpoint["spec"];
                let node = spec["node"].as_str().unwrap_or_default().to_string();
                let whole = spec["interfaceName"].as_str() == Some("*");
                kinds.entry(node).or_default().insert(whole);
            }
            kinds.values().any(|kinds| kinds.len() > 1)
        })
    }

    /// Whether it matches no endpoint, nor one that a node may get on the way: these have the node's labels. What Calico,
    /// a namespace or an account add to labels is not looked at, so a selector that names such is taken to match.
    fn selects_nobody(&self, text: &str) -> bool {
        if let Some(known) = self.nobody.borrow().get(text) {
            return *known;
        }
        let inherited = text.contains("pcns.") || text.contains("pcsa.") || text.contains("projectcalico.org");
        let nobody = match Selector::parse(text) {
            Ok(selector) if !inherited && !self.has_templates() => {
                let none = |all: &BTreeSet<Labels>| !all.iter().any(|labels| selector.matches(labels));
                self.labels().is_some_and(none)
            }
            _ => false,
        };
        self.nobody.borrow_mut().insert(text.to_string(), nobody);
        nobody
    }

    /// Labels of everything that is an endpoint or may become one; `None` where that is not known.
    fn labels(&self) -> Option<&BTreeSet<Labels>> {
        let kinds = [Kind::HostEndpoint, Kind::Pod, Kind::Node];
        let all = self.labels.get_or_init(|| {
            let mut all = BTreeSet::new();
            for state in self.states {
                for kind in kinds {
                    all.extend(state.labels(kind).ok()?.map(Cow::into_owned));
                }
            }
            Some(all)
        });
        all.as_ref()
    }

    /// Labels of a node arrive on its host endpoint and decide which policies hold there.
    fn of_labels(&self, step: &Change) -> Footprint {
        let keys: Option<BTreeSet<&str>> = step
            .fields
            .iter()
            .map(|field| match field.path.0.as_slice() {
                [metadata, labels, key] if metadata == "metadata" && labels == "labels" => Some(key.as_str()),
                _ => None,
            })
            .collect();
        let policies = [
            Kind::GlobalNetworkPolicy,
            Kind::NetworkPolicy,
            Kind::KubernetesNetworkPolicy,
        ];
        let (Some(keys), true) = (
            keys,
            self.read(&policies) && self.read(&[Kind::KubeControllersConfiguration, Kind::FelixConfiguration]),
        ) else {
            return Footprint::Everything;
        };
        if self.has_templates() {
            return Footprint::Everything;
        }
        let names = |text: &str| keys.iter().any(|key| text.contains(key));
        let mut found = Footprint::Nothing;
        for policy in self.all(Kind::GlobalNetworkPolicy) {
            if rule_selectors(&policy).iter().any(|text| names(text)) {
                return Footprint::Everything; // who is meant by a rule changes everywhere
            }
            if policy["spec"]["selector"].as_str().is_some_and(names) {
                found = found.and(self.policy(&policy));
            }
        }
        // Selectors of these decide about whole nodes: which settings they have, which pods may reach them.
        let others = [
            Kind::NetworkPolicy,
            Kind::FelixConfiguration,
            Kind::KubeControllersConfiguration,
        ];
        let named = |object: &Value| keys.iter().any(|key| holds(&object["spec"], key));
        if others.iter().any(|kind| self.all(*kind).any(|object| named(&object))) {
            return Footprint::Everything;
        }
        found
    }

    /// Templates of host endpoints give labels of their own; unread counts as some.
    fn has_templates(&self) -> bool {
        let some = |config: &Value| {
            let templates = config.pointer("/spec/controllers/node/hostEndpoint/templates");
            templates.and_then(Value::as_array).is_some_and(|all| !all.is_empty())
        };
        let kind = Kind::KubeControllersConfiguration;
        *self
            .templates
            .get_or_init(|| !self.read(&[kind]) || self.all(kind).any(|config| some(&config)))
    }

    /// A flow to a node port goes on to ports behind the Service, and meets the policies on both.
    fn closed(&self, footprint: Footprint) -> Footprint {
        let Footprint::Ports(mut ports) = footprint else {
            return footprint;
        };
        let Some(services) = self.services() else {
            return Footprint::Everything;
        };
        loop {
            let mut grew = false;
            for own in services {
                if Footprint::Ports(own.clone()).meets(&Footprint::Ports(ports.clone())) {
                    for (protocol, more) in own {
                        grew |= add(&mut ports, *protocol, more);
                    }
                }
            }
            if !grew {
                return Footprint::Ports(ports);
            }
        }
    }

    /// The ports of each Service, before and behind it; `None` where they are not known.
    fn services(&self) -> Option<&[Ports]> {
        let all = self.services.get_or_init(|| {
            self.read(&[Kind::Service, Kind::EndpointSlice]).then_some(())?;
            let all: BTreeSet<Ports> = self.states.iter().flat_map(|state| services_of(state)).collect();
            Some(all.into_iter().collect())
        });
        all.as_deref()
    }
}

/// What a policy has in common with others before and after a step on it, where that is the same.
fn like(sides: &[Value]) -> Option<Like> {
    let first = Like::of(sides.first()?)?;
    sides
        .iter()
        .all(|side| Like::of(side).as_ref() == Some(&first))
        .then_some(first)
}

fn services_of(state: &State) -> Vec<Ports> {
    let mut slices: BTreeMap<(String, String), Ports> = BTreeMap::new();
    for (_, slice) in state.list(Kind::EndpointSlice).into_iter().flatten() {
        let label = slice.pointer("/metadata/labels/kubernetes.io~1service-name");
        if let (Some(namespace), Some(of)) = (slice["metadata"]["namespace"].as_str(), label.and_then(Value::as_str)) {
            let own = slices.entry((namespace.to_string(), of.to_string())).or_default();
            add_ports(own, &slice["ports"], &["port"]);
        }
    }
    let services = state.list(Kind::Service).into_iter().flatten();
    let ports = services.map(|(key, object)| {
        let mut own = ports_of_service(&object);
        let behind = slices.get(&(key.namespace.clone(), key.name.clone()));
        for (protocol, ports) in behind.into_iter().flatten() {
            add(&mut own, *protocol, ports);
        }
        own
    });
    ports.collect()
}

/// A rule of a security group decides about its ports, at every node that the group is on.
fn rule_of_group(object: &Value) -> Footprint {
    let rule = Rule::read(object);
    let protocol = match rule.as_ref().and_then(Rule::protocols) {
        Some(Protocols::One(number)) => Protocol::from_number(number),
        _ => None,
    };
    match (protocol, rule.and_then(|rule| rule.ports)) {
        (Some(protocol @ (Protocol::Tcp | Protocol::Udp)), Some(range)) => {
            Footprint::Ports(Ports::from([(protocol, PortSet::from_ranges([range]))]))
        }
        _ => Footprint::Everything,
    }
}

/// The ports of a Service, before and behind it where they are numbers.
fn ports_of_service(object: &Value) -> Ports {
    let mut ports = Ports::new();
    add_ports(
        &mut ports,
        &object["spec"]["ports"],
        &["nodePort", "port", "targetPort"],
    );
    if let Some(port) = object["spec"]["healthCheckNodePort"]
        .as_u64()
        .and_then(|p| u16::try_from(p).ok())
    {
        add(&mut ports, Protocol::Tcp, &PortSet::from_ranges([(port, port)]));
    }
    ports
}

fn service(object: &Value) -> Footprint {
    Footprint::Ports(ports_of_service(object))
}

fn add_ports(all: &mut Ports, list: &Value, names: &[&str]) {
    for port in list.as_array().into_iter().flatten() {
        let protocol = port["protocol"]
            .as_str()
            .and_then(|name| name.parse().ok())
            .unwrap_or(Protocol::Tcp);
        for number in names
            .iter()
            .filter_map(|name| u16::try_from(port[*name].as_u64()?).ok())
        {
            add(all, protocol, &PortSet::from_ranges([(number, number)]));
        }
    }
}

/// Ports that are numbers or ranges, all of them; `None` for every port, and for names.
fn numbers(list: &Value) -> Option<PortSet> {
    let list = list.as_array().filter(|list| !list.is_empty())?;
    Some(PortSet::from_ranges(
        list.iter().map(port_range).collect::<Option<Vec<_>>>()?,
    ))
}

/// Every selector of a policy's rules.
fn rule_selectors(policy: &Value) -> Vec<String> {
    let rules = ["ingress", "egress"].into_iter();
    let rules = rules.flat_map(|list| policy["spec"][list].as_array().into_iter().flatten());
    let sides = rules.flat_map(|rule| [&rule["source"], &rule["destination"]]);
    let names = ["selector", "notSelector", "namespaceSelector"];
    let texts = sides.flat_map(|side| names.iter().filter_map(|name| side[*name].as_str()));
    texts.map(str::to_string).collect()
}
