//! Plan × State → Graph, or all conflicts with the world.
//!
//! What it takes from the state (picked nodes, a workload's selector, what the inventory remembers) is recorded with
//! its provenance. Knows nothing of differences: whether anything must change is `diff`'s business.

mod cloud;
mod findings;
mod guard;
mod hosts;
mod lookups;
mod node_ports;
mod objects;
mod release;
mod remembered;
mod revert;

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::changes::{Finding, Note};
use crate::error::{Error, codes};
use crate::graph::{Edge, Graph};
use crate::inventory::{Entry, Inventory};
use crate::plan::{CloudSource, InputValue, LookupOf, Plan, Platform};
use crate::resource::{FieldPath, Key, Kind, Origin, Resource, Target, Want};
use crate::source::Span;
use crate::state::{CloudScope, Scope, Serving, State};

pub use lookups::resolve as resolve_lookups;
pub use node_ports::NodePorts;
pub use revert::compile as revert;

/// What `diff` needs: the graph, and what the inventories say.
#[derive(Clone, Debug)]
pub struct Compiled {
    pub graph: Graph,
    pub mine: Inventory,
    /// Inventories of other plans, by plan name.
    pub others: BTreeMap<String, Inventory>,
    /// Nodes picked for each group, for the record.
    pub picks: BTreeMap<String, Vec<String>>,
    /// The nodes of each group, for people.
    pub groups: BTreeMap<String, Vec<String>>,
    /// The node ports of each service that a guard or a promise is about.
    pub node_ports: NodePorts,
    pub notes: Vec<Note>,
    /// What the record says once all is done, where that does not follow from what is wanted: a revert brings back what
    /// it said before.
    pub entries: Option<BTreeMap<Key, Entry>>,
    /// What is wrong with objects that are there already.
    pub findings: Vec<Finding>,
    /// The cluster's Calico and which release's rules apply; `None` when its version could not be read.
    pub release: Option<String>,
}

/// What must be read for this plan: the same kinds for every plan, and the workloads it exposes.
pub fn scope(plan: &Plan, inventory_namespace: &str) -> Scope {
    let mut kinds: BTreeSet<Kind> = [Kind::Namespace, Kind::ClusterInformation, Kind::ConfigMap, Kind::Node]
        .into_iter()
        .collect();
    // Host endpoints and their controller are context of every answer, the rest is what a plan or a record can name.
    kinds.extend([
        Kind::KubeControllersConfiguration,
        Kind::HostEndpoint,
        Kind::FelixConfiguration,
    ]);
    kinds.extend([
        Kind::Tier,
        Kind::GlobalNetworkSet,
        Kind::GlobalNetworkPolicy,
        Kind::Service,
    ]);
    // what decides about packets that a Service hands on, and what overrides Felix
    kinds.extend([Kind::EndpointSlice, Kind::Pod, Kind::DaemonSet]);
    kinds.extend([
        Kind::NetworkPolicy,
        Kind::NetworkSet,
        Kind::KubernetesNetworkPolicy,
        Kind::IPPool,
    ]);
    for service in plan.services.values() {
        if let crate::plan::Service::Own(own) = service {
            kinds.insert(objects::workload_kind(own.workload));
        }
    }
    // what a plan or a record may name; read only where the scope of the cloud says so
    kinds.extend(Kind::ALL.into_iter().filter(|kind| kind.cloud()));
    Scope {
        kinds,
        inventory_namespace: inventory_namespace.to_string(),
        cloud: Some(cloud_scope(plan)),
    }
}

fn cloud_scope(plan: &Plan) -> CloudScope {
    let mut scope = CloudScope::default();
    if plan.cluster.platform == Platform::Eks {
        scope.eks_cluster = plan.cluster.name.clone();
    }
    for input in plan.inputs.values() {
        let InputValue::Lookup(lookup) = &input.value else {
            continue;
        };
        match &lookup.of {
            LookupOf::Instance(id) => drop(scope.instances.insert(id.clone())),
            LookupOf::ThisMachine => drop(scope.lookups.insert(lookup.source())),
            LookupOf::Node(_) | LookupOf::Group(_) => {}
        }
    }
    let picked = plan
        .cloud
        .iter()
        .filter_map(|allow| Some(allow.group.as_ref()?.value.clone()));
    scope.groups.extend(picked);
    for source in plan.cloud.iter().flat_map(|allow| &allow.from) {
        match source {
            CloudSource::Net(_) => {}
            CloudSource::PrefixList(id) => drop(scope.prefix_lists.insert(id.clone())),
            CloudSource::Group(id) => drop(scope.groups.insert(id.clone())),
        }
    }
    let named = !plan.cloud.is_empty() || !scope.instances.is_empty() || !scope.lookups.is_empty();
    scope.recorded_by = (!named).then(|| plan.name().to_string());
    scope
}

/// The graph of what the plan and its inventory want of this state, or every conflict with the world.
pub fn compile(plan: &Plan, state: &State) -> Result<Compiled, Vec<Error>> {
    let mut builder = Builder::new(plan, state);
    builder.guard_cluster();
    builder.read_inventories();
    hosts::compile(&mut builder);
    objects::compile(&mut builder);
    node_ports::compile(&mut builder);
    guard::compile(&mut builder);
    cloud::compile(&mut builder);
    release::compile(&mut builder);
    remembered::compile(&mut builder);
    builder.finish()
}

/// Collects resources, edges and conflicts. The parts of `compile` write into it and read only plan and state.
struct Builder<'a> {
    plan: &'a Plan,
    state: &'a State,
    resources: BTreeMap<Key, Resource>,
    edges: Vec<Edge>,
    errors: Vec<Error>,
    notes: Vec<Note>,
    mine: Inventory,
    others: BTreeMap<String, Inventory>,
    picks: BTreeMap<String, Vec<String>>,
    groups: BTreeMap<String, Vec<String>>,
    node_ports: NodePorts,
    release: Option<String>,
}

impl<'a> Builder<'a> {
    fn new(plan: &'a Plan, state: &'a State) -> Self {
        Builder {
            plan,
            state,
            resources: BTreeMap::new(),
            edges: Vec::new(),
            errors: Vec::new(),
            notes: Vec::new(),
            mine: Inventory::new(plan.name()),
            others: BTreeMap::new(),
            picks: BTreeMap::new(),
            groups: BTreeMap::new(),
            node_ports: NodePorts::new(),
            release: None,
        }
    }

    /// Refuses another cluster than the plan's, and a cluster where Calico's v3 API is not served.
    fn guard_cluster(&mut self) {
        if let Some(wanted) = &self.plan.cluster.uid
            && let Some(found) = self.state.cluster_uid()
            && found != wanted.value
        {
            self.errors.push(
                Error::failed(
                    codes::WRONG_CLUSTER,
                    format!("this is cluster {found}, the plan is for {}", wanted.value),
                )
                .at(wanted.span)
                .fix("choose the cluster with --context or --kubeconfig, or correct spec.cluster.uid"),
            );
        } else if let Some(wanted) = &self.plan.cluster.uid
            && self.state.cluster_uid().is_none()
        {
            let message = format!(
                "the plan is for cluster {}, and which cluster this is could not be read",
                wanted.value
            );
            self.errors.push(
                Error::failed(codes::WRONG_CLUSTER, message)
                    .at(wanted.span)
                    .fix("allow get and list of namespaces: the uid of namespace kube-system identifies a cluster"),
            );
        }
        match self.state.facts.serving {
            Serving::Aggregated | Serving::Native => {}
            Serving::V1Only => self.errors.push(
                Error::failed(
                    codes::V1_ONLY,
                    "Calico's v3 API is not served here, only crd.projectcalico.org/v1",
                )
                .consequence(
                    "what is written to the v1 group is neither validated nor defaulted, and a bad policy fails open",
                )
                .fix("install Calico's API server: with the operator, create the APIServer resource named `default`"),
            ),
            Serving::NotInstalled => self.errors.push(
                Error::failed(codes::NOT_INSTALLED, "Calico is not installed in this cluster")
                    .fix("install Calico with its API server, or choose another cluster with --context"),
            ),
        }
    }

    fn read_inventories(&mut self) {
        let Ok(inventories) = self.state.inventories() else {
            return;
        }; // `diff` marks it unreadable
        for (plan, inventory) in inventories {
            match inventory {
                Ok(inventory) if plan == self.plan.name() => self.mine = inventory,
                Ok(inventory) => {
                    self.others.insert(plan, inventory);
                }
                Err(unusable) => self.errors.push(remembered::unusable(&plan, &unusable)),
            }
        }
    }

    fn error(&mut self, error: Error) {
        self.errors.push(error);
    }

    fn note(&mut self, about: impl Into<String>, text: impl Into<String>) {
        self.notes.push(Note {
            about: about.into(),
            text: text.into(),
            code: None,
        });
    }

    fn edge(&mut self, dependent: &Key, on: &Key, reason: impl Into<String>) {
        self.edges.push(Edge {
            dependent: dependent.clone(),
            on: on.clone(),
            reason: reason.into(),
        });
    }

    /// An object that should exist with the fields of `body`.
    fn object(&mut self, key: Key, body: &Value, section: String, span: Span) {
        let fields = crate::resource::fields_of(body)
            .into_iter()
            .map(|(path, value)| (path, Target::Value(value)));
        let want = Want::Object(fields.collect());
        let origin = Origin {
            section,
            span: Some(span),
        };
        self.resources.insert(key.clone(), Resource { key, want, origin });
    }

    /// A field of an object that others own. Two parts of a plan may want the same value, not two values.
    fn claim(&mut self, key: Key, path: FieldPath, value: Value, section: String, span: Span) {
        let origin = Origin {
            section,
            span: Some(span),
        };
        let resource = self.resources.entry(key).or_insert_with_key(|key| Resource {
            key: key.clone(),
            want: Want::Fields(BTreeMap::new()),
            origin: origin.clone(),
        });
        let Want::Fields(fields) = &mut resource.want else {
            return;
        };
        match fields.get(&path) {
            Some(Target::Value(other)) if other != &value => {
                let message = format!(
                    "{}: {path} is wanted as {other} by {} and as {value} by {}",
                    resource.key, resource.origin.section, origin.section
                );
                self.errors.push(
                    Error::failed(codes::TWO_VALUES, message)
                        .at(span)
                        .fix("let one part of the plan say it, or give the nodes disjoint groups"),
                );
            }
            _ => {
                fields.insert(path, Target::Value(value));
            }
        }
    }

    fn finish(mut self) -> Result<Compiled, Vec<Error>> {
        self.notes.sort();
        self.notes.dedup();
        if !self.errors.is_empty() {
            self.errors
                .sort_by(|a, b| (a.span, a.code, &a.message).cmp(&(b.span, b.code, &b.message)));
            self.errors.dedup();
            return Err(self.errors);
        }
        let graph = Graph::build(self.resources.into_values().collect(), self.edges).map_err(|cycle| {
            vec![
                Error::failed(codes::CYCLE, format!("the steps need each other: {cycle}"))
                    .fix("apply the plan in two parts, the first without one of these"),
            ]
        })?;
        Ok(Compiled {
            graph,
            mine: self.mine,
            others: self.others,
            picks: self.picks,
            groups: self.groups,
            node_ports: self.node_ports,
            notes: self.notes,
            entries: None,
            findings: findings::live(self.state),
            release: self.release,
        })
    }
}
