//! From the words of a plan to flows: groups to nodes, services to ports, labels to networks and pods.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::Value;

use crate::compile::NodePorts;
use crate::exposure::{Flow, Senders};
use crate::net::{AddressSet, Cidr, PortSet, Protocol};
use crate::plan::{From, Guard, Plan, Ports, Promise, Source, internet};
use crate::resource::{Key, Kind};
use crate::source::Span;
use crate::state::{State, Unreadable};

/// The promises of a plan for one cluster.
#[derive(Clone, Debug, Default)]
pub struct Resolved {
    pub(super) expected: Vec<Expected>,
    pub(super) never_open: Vec<Line>,
    pub(super) never_close: Vec<Line>,
    pub(super) guards: Vec<Guarded>,
}

/// How the plan words a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Words {
    pub from: String,
    pub to: String,
    pub at: String,
    pub span: Span,
}

#[derive(Clone, Debug)]
pub(super) struct Line {
    pub words: Words,
    pub flows: Result<Vec<Flow>, Nobody>,
}

#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub words: Words,
    pub flows: Result<Vec<Flow>, Nobody>,
    pub open: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Guarded {
    pub key: Key,
    pub span: Span,
    pub nodes: BTreeSet<String>,
    pub ports: BTreeMap<Protocol, PortSet>,
    /// The addresses that its sources stand for.
    pub sources: AddressSet,
    pub only: bool,
}

/// Why a promise is about nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Nobody {
    NoNode(String),
    NoPod(String),
    NoSet(String),
    /// The networks hold no address outside the cluster.
    Inside(String),
    Unread(Kind, Unreadable),
}

impl Resolved {
    /// Whether something may never open, or never close.
    pub fn forbids(&self) -> bool {
        !self.never_open.is_empty() || !self.never_close.is_empty()
    }

    /// `end` is what the plan leaves: labels are looked up there.
    pub fn new(plan: &Plan, groups: &BTreeMap<String, Vec<String>>, node_ports: &NodePorts, end: &State) -> Resolved {
        let resolver = Resolver {
            plan,
            groups,
            node_ports,
            end,
        };
        let line = |promise: &Promise| Line {
            words: words(promise),
            flows: resolver.flows(promise),
        };
        Resolved {
            expected: plan
                .expect
                .iter()
                .map(|expectation| Expected {
                    words: words(&expectation.promise),
                    flows: resolver.flows(&expectation.promise),
                    open: expectation.open,
                })
                .collect(),
            never_open: plan.never_open.iter().map(line).collect(),
            never_close: plan.never_close.iter().map(line).collect(),
            guards: plan
                .guards
                .iter()
                .map(|(name, guard)| resolver.guard(name, guard))
                .collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.expected.is_empty() && self.guards.is_empty() && self.never_open.is_empty() && self.never_close.is_empty()
    }

    /// Flows that are expected to be open.
    pub fn open(&self) -> impl Iterator<Item = &Flow> {
        let open = self.expected.iter().filter(|line| line.open);
        open.flat_map(|line| line.flows.iter().flatten())
    }

    /// Flows that may never close: who needs them is known.
    pub fn kept(&self) -> impl Iterator<Item = &Flow> {
        self.never_close.iter().flat_map(|line| line.flows.iter().flatten())
    }
}

fn words(promise: &Promise) -> Words {
    Words {
        from: promise.from.to_string(),
        to: promise.to.clone(),
        at: promise.at.to_string(),
        span: promise.span,
    }
}

struct Resolver<'a> {
    plan: &'a Plan,
    groups: &'a BTreeMap<String, Vec<String>>,
    node_ports: &'a NodePorts,
    end: &'a State,
}

impl Resolver<'_> {
    fn guard(&self, name: &str, guard: &Guard) -> Guarded {
        let sources = guard.sources.iter().map(|source| match source {
            Source::Net(cidr) => AddressSet::from_cidrs(&[*cidr]),
            Source::Set(name) => self.own_set(name),
            // What could not be read is unknown to the policy's walk too.
            Source::Labels(labels) => self.sets(labels).unwrap_or_else(|_| AddressSet::empty()),
        });
        Guarded {
            key: Key::cluster(Kind::GlobalNetworkPolicy, name),
            span: guard.span,
            nodes: self.nodes(&guard.nodes),
            ports: self.ports(&guard.at),
            sources: AddressSet::union_of(&sources.collect::<Vec<_>>()),
            only: guard.only,
        }
    }

    fn nodes(&self, group: &str) -> BTreeSet<String> {
        self.groups.get(group).into_iter().flatten().cloned().collect()
    }

    fn ports(&self, at: &Ports) -> BTreeMap<Protocol, PortSet> {
        let ports = match at {
            Ports::Numbers(numbers) => Some(numbers),
            Ports::Service(name) => self.node_ports.get(name),
        };
        let of = |(protocol, ports): (&Protocol, &BTreeSet<u16>)| {
            (*protocol, PortSet::from_ranges(ports.iter().map(|port| (*port, *port))))
        };
        ports.into_iter().flatten().map(of).collect()
    }

    /// One flow a protocol; for `others`, as many as there are different sets of sources.
    fn flows(&self, promise: &Promise) -> Result<Vec<Flow>, Nobody> {
        let mut flows = Vec::new();
        for (protocol, ports) in self.ports(&promise.at) {
            let senders = match &promise.from {
                From::Others => {
                    flows.extend(self.others(promise, protocol, &ports)?);
                    continue;
                }
                From::Nets(_) | From::Internet | From::Set(_) | From::Labels(_) => {
                    Senders::Outside(self.addresses(&promise.from)?)
                }
                From::Node(name) => Senders::Node(self.node(name)?),
                From::Pods { namespace, labels } => Senders::Pods(self.pods(namespace.as_deref(), labels)?),
            };
            flows.push(Flow {
                from: senders,
                nodes: self.nodes(&promise.to),
                protocol,
                ports,
            });
        }
        Ok(flows)
    }

    /// Addresses outside the cluster that a source stands for; none of `others`, nodes and pods.
    fn addresses(&self, from: &From) -> Result<AddressSet, Nobody> {
        match from {
            From::Nets(nets) => Ok(AddressSet::from_cidrs(nets)),
            From::Internet => Ok(internet()),
            From::Set(name) => Ok(self.own_set(name)),
            From::Labels(labels) => self.sets(labels),
            From::Others | From::Node(_) | From::Pods { .. } => Ok(AddressSet::empty()),
        }
    }

    /// Every source that no expectation says is open: nodes and ports with the same are one flow.
    fn others(&self, promise: &Promise, protocol: Protocol, ports: &PortSet) -> Result<Vec<Flow>, Nobody> {
        let open = self.plan.expect.iter().filter(|expectation| expectation.open);
        let mut open_at = Vec::new();
        for expectation in open {
            let of = &expectation.promise;
            let there = self.ports(&of.at).remove(&protocol).unwrap_or_else(PortSet::empty);
            open_at.push((self.nodes(&of.to), there, self.addresses(&of.from)?));
        }
        let sets: Vec<&PortSet> = [ports]
            .into_iter()
            .chain(open_at.iter().map(|(_, ports, _)| ports))
            .collect();
        let parts = PortSet::overlay(&sets).into_iter();
        let mut flows: BTreeMap<(BTreeSet<String>, Vec<usize>), PortSet> = BTreeMap::new();
        for (of, part) in parts.filter(|(of, _)| of.first() == Some(&0)) {
            let mut nodes: BTreeMap<Vec<usize>, BTreeSet<String>> = BTreeMap::new();
            for node in self.nodes(&promise.to) {
                let here = of[1..].iter().map(|index| index - 1);
                let here = here.filter(|index| open_at[*index].0.contains(&node)).collect();
                nodes.entry(here).or_default().insert(node);
            }
            for (here, nodes) in nodes {
                let entry = flows.entry((nodes, here)).or_insert_with(PortSet::empty);
                *entry = entry.union(&part);
            }
        }
        let flow = |((nodes, here), ports): ((BTreeSet<String>, Vec<usize>), PortSet)| {
            let expected: Vec<AddressSet> = here.iter().map(|index| open_at[*index].2.clone()).collect();
            Flow {
                from: Senders::Outside(AddressSet::all().minus(&AddressSet::union_of(&expected))),
                nodes,
                protocol,
                ports,
            }
        };
        Ok(flows.into_iter().map(flow).collect())
    }

    fn own_set(&self, name: &str) -> AddressSet {
        let nets = self.plan.network_sets.get(name).map(|set| set.nets.iter());
        let nets: Vec<Cidr> = nets
            .into_iter()
            .flatten()
            .filter_map(|net| Cidr::parse(net).ok())
            .collect();
        AddressSet::from_cidrs(&nets)
    }

    fn sets(&self, labels: &BTreeMap<String, String>) -> Result<AddressSet, Nobody> {
        let mut found: Vec<Cidr> = Vec::new();
        let mut any = false;
        for kind in [Kind::GlobalNetworkSet, Kind::NetworkSet] {
            let sets = self.end.list(kind).map_err(|why| Nobody::Unread(kind, why.clone()))?;
            for (_, set) in sets.filter(|(_, set)| has_labels(set, labels)) {
                any = true;
                let nets = set.pointer("/spec/nets").and_then(Value::as_array);
                let nets = nets.into_iter().flatten().filter_map(Value::as_str);
                found.extend(nets.filter_map(|net| Cidr::parse_lenient(net).ok()));
            }
        }
        if !any {
            return Err(Nobody::NoSet(text(labels)));
        }
        Ok(AddressSet::from_cidrs(&found))
    }

    fn node(&self, name: &str) -> Result<String, Nobody> {
        match self.end.present(&Key::cluster(Kind::Node, name)) {
            Some(_) => Ok(name.to_string()),
            None => match self.end.keys(Kind::Node) {
                Ok(_) => Err(Nobody::NoNode(name.to_string())),
                Err(why) => Err(Nobody::Unread(Kind::Node, why.clone())),
            },
        }
    }

    fn pods(
        &self,
        namespace: Option<&str>,
        labels: &BTreeMap<String, String>,
    ) -> Result<BTreeSet<(String, String)>, Nobody> {
        let pods = self.end.pods().map_err(|why| Nobody::Unread(Kind::Pod, why.clone()))?;
        let chosen = pods.iter().filter(|(key, pod)| {
            namespace.is_none_or(|namespace| key.namespace == namespace)
                && labels.iter().all(|(name, value)| pod.labels.get(name) == Some(value))
        });
        let names: BTreeSet<(String, String)> = chosen
            .map(|(key, _)| (key.namespace.clone(), key.name.clone()))
            .collect();
        if names.is_empty() {
            return Err(Nobody::NoPod(text(labels)));
        }
        Ok(names)
    }
}

fn has_labels(object: &Value, wanted: &BTreeMap<String, String>) -> bool {
    let labels = object.pointer("/metadata/labels");
    wanted
        .iter()
        .all(|(key, value)| labels.and_then(|labels| labels.get(key)?.as_str()) == Some(value))
}

fn text(labels: &BTreeMap<String, String>) -> String {
    let pairs: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.join(", ")
}

impl fmt::Display for Nobody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Nobody::NoNode(name) => write!(f, "there is no node `{name}`"),
            Nobody::NoPod(labels) => write!(f, "there is no pod with the labels {labels}"),
            Nobody::NoSet(labels) => write!(f, "there is no network set with the labels {labels}"),
            Nobody::Inside(nets) => write!(f, "{nets} holds no address outside the cluster"),
            Nobody::Unread(kind, why) => write!(f, "{} could not be read ({why})", kind.api().plural),
        }
    }
}
