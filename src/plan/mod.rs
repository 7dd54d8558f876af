//! The plan as a person means it: valid, or nonexistent.
//!
//! `Draft` (what was typed) becomes [`Plan`] only through `Draft::check`, which returns all problems or one plan.
//! Knows nothing of clusters: what a plan means for one is `compile`'s business.

mod check;
mod choice;
mod claims;
mod cloud;
mod decode;
mod document;
mod draft;
mod fill;
mod gates;
mod given;
mod inputs;
mod language;
mod lookup;
mod node;
mod objects;
mod platform;
mod promises;
mod raw;
mod scalar;
mod services;
mod text;
mod yaml;

use std::collections::{BTreeMap, BTreeSet};

pub use document::Document;
pub use draft::Draft;
pub use gates::{GATES, Gates, Level, Rule, Waiver};
pub use given::{Given, GivenValue, read_inputs, variable};
pub use inputs::Lookups;
pub(crate) use language::nearest;
pub use language::{field_help, field_paths, schema};
use serde_json::Value;

use crate::net::{Cidr, Protocol};
use crate::selector::Selector;
use crate::source::{Span, Spanned};

pub use platform::{Facts as PlatformFacts, PLATFORMS};
pub(crate) use promises::internet;

/// A valid plan.
#[derive(Clone, Debug)]
pub struct Plan {
    pub(crate) name: String,
    pub(crate) cluster: Cluster,
    /// Values of all inputs after resolution, for display with provenance.
    pub(crate) inputs: BTreeMap<String, Input>,
    pub(crate) host_endpoints: Option<HostEndpoints>,
    pub(crate) nodes: BTreeMap<String, NodeGroup>,
    pub(crate) services: BTreeMap<String, Service>,
    pub(crate) tiers: BTreeMap<String, Tier>,
    pub(crate) network_sets: BTreeMap<String, NetworkSet>,
    pub(crate) policies: BTreeMap<String, Policy>,
    /// Policies written as guards, by the policy's name.
    pub(crate) guards: BTreeMap<String, Guard>,
    pub(crate) claims: Vec<Claim>,
    /// What the cloud's firewall is to let through.
    pub(crate) cloud: Vec<CloudAllow>,
    /// What must be open or blocked in the end.
    pub(crate) expect: Vec<Expectation>,
    /// What no step may open, and what none may cut.
    pub(crate) never_open: Vec<Promise>,
    pub(crate) never_close: Vec<Promise>,
    pub(crate) gates: Gates,
    /// Findings that are let through for a while.
    pub(crate) waivers: Vec<Waiver>,
    /// Warnings found by `check`; shown, never fatal.
    pub(crate) warnings: Vec<crate::error::Diagnostic>,
}

/// Which cluster the plan is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub platform: Platform,
    /// A name for people; shown, not verified.
    pub name: Option<String>,
    /// The uid of namespace `kube-system`: guards against the wrong cluster.
    pub uid: Option<Spanned<String>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    Eks,
    Aks,
    Gke,
    Kubeadm,
    Rke2,
    Generic,
}

/// An input after resolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Canonical text: addresses as CIDRs or IPs, lists joined by a comma and a space.
    pub value: InputValue,
    pub provenance: Provenance,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InputValue {
    Known(String),
    /// Resolved from live state before compile; `check` alone never sees the value.
    Lookup(Lookup),
}

/// Where the value of an input came from; shown in every answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provenance {
    /// `--set NAME=VALUE`
    Set,
    /// `--inputs FILE`
    File(String),
    /// `HOSTGUARD_INPUT_NAME`
    Environment(String),
    /// From what [`Lookup::source`] says.
    Lookup(String),
    Default,
}

/// An address, looked up in live state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lookup {
    pub of: LookupOf,
    pub address: AddressType,
    pub family: crate::net::Family,
}

/// Whose address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupOf {
    /// A node by its name.
    Node(String),
    /// The only node of a group of this plan.
    Group(String),
    /// An instance of AWS by its id.
    Instance(String),
    /// The instance of AWS that hostguard runs on, as its metadata service says.
    ThisMachine,
}

impl Lookup {
    /// What is asked, for people: `node/address`, `aws/instance i-…`.
    pub fn source(&self) -> String {
        match &self.of {
            LookupOf::Node(_) | LookupOf::Group(_) => language::NODE_ADDRESS.to_string(),
            LookupOf::Instance(id) => format!("{} {id}", language::AWS_INSTANCE),
            LookupOf::ThisMachine => language::OWN_ADDRESS.to_string(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressType {
    InternalIP,
    ExternalIP,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostEndpoints {
    pub auto_create: Option<bool>,
    pub flow_logs: Option<FlowLogs>,
    pub span: Span,
}

/// Host endpoint flow logs, which only the Enterprise and Cloud editions have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlowLogs {
    Enabled,
    Disabled,
    /// Enabled where the edition has the field; else listed as not done.
    IfSupported,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeGroup {
    pub select: Select,
    pub labels: BTreeMap<String, String>,
    pub span: Span,
}

/// Which nodes a group holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Select {
    /// `count` eligible nodes: Ready, schedulable, and with the address if one is named. Those picked earlier
    /// stay while eligible, then by name.
    Pick {
        address: Option<AddressType>,
        count: usize,
    },
    MatchLabels(BTreeMap<String, String>),
    Names(Vec<Spanned<String>>),
    All,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Service {
    /// A NodePort Service of ours in front of a workload.
    Own(OwnService),
    /// One that is there already; never written.
    Existing {
        namespace: String,
        name: String,
        span: Span,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnService {
    pub namespace: String,
    pub workload: WorkloadKind,
    pub workload_name: String,
    pub ports: Vec<ServicePort>,
    /// `Cluster` (the API's default) when not written.
    pub external_traffic_policy: Option<TrafficPolicy>,
    pub span: Span,
    /// The place of `expose`.
    pub expose_span: Span,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkloadKind {
    Deployment,
    StatefulSet,
    DaemonSet,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TrafficPolicy {
    Cluster,
    Local,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// Required by the API when there are several ports.
    pub name: Option<String>,
    /// `TCP`, `UDP` or `SCTP`.
    pub protocol: String,
    pub port: u16,
    pub target_port: TargetPort,
    pub node_port: u16,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetPort {
    Number(u16),
    Name(String),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Tier {
    pub order: Option<f64>,
    /// `Deny` or `Pass`.
    pub default_action: Option<String>,
    pub span: Span,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkSet {
    pub labels: BTreeMap<String, String>,
    /// Canonical CIDRs, in the order written, without repeats.
    pub nets: Vec<String>,
    pub span: Span,
}

/// A Calico GlobalNetworkPolicy, its spec as Calico's API has it. `spec.tier` and `spec.types` are always there.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    pub spec: Value,
    pub span: Span,
    /// Where each of its rules was written.
    pub ingress: Vec<Span>,
    pub egress: Vec<Span>,
}

/// Who may reach a service or ports on a group of nodes; becomes a policy.
#[derive(Clone, Debug, PartialEq)]
pub struct Guard {
    /// The group.
    pub nodes: String,
    pub at: Ports,
    pub sources: Vec<Source>,
    /// Whether the sources alone may connect; else they may not.
    pub only: bool,
    pub order: Option<f64>,
    pub span: Span,
}

/// Where connections go to on a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ports {
    /// The node ports of a service of this plan.
    Service(String),
    Numbers(BTreeMap<Protocol, BTreeSet<u16>>),
}

/// A source of a guard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    Net(Cidr),
    /// A network set of this plan.
    Set(String),
    /// Network sets by their labels.
    Labels(BTreeMap<String, String>),
}

/// What the firewall of the cloud lets through to a group of nodes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudAllow {
    /// The group.
    pub to: String,
    pub at: Ports,
    /// Each once, in the order written.
    pub from: Vec<CloudSource>,
    /// The security group, where the plan picks one.
    pub group: Option<Spanned<String>>,
    pub span: Span,
}

/// Whom the firewall of the cloud lets in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CloudSource {
    Net(Cidr),
    /// By id, `pl-…`.
    PrefixList(String),
    /// By id, `sg-…`.
    Group(String),
}

/// Something said about connections from here to there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Promise {
    pub from: From,
    /// The group.
    pub to: String,
    pub at: Ports,
    pub span: Span,
}

/// Who connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Clients outside the cluster in these networks.
    Nets(Vec<Cidr>),
    /// Every public address outside the cluster.
    Internet,
    /// Every source outside the cluster that no expectation says is open there.
    Others,
    Node(String),
    /// A network set of this plan.
    Set(String),
    /// Network sets by their labels.
    Labels(BTreeMap<String, String>),
    Pods {
        namespace: Option<String>,
        labels: BTreeMap<String, String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    pub promise: Promise,
    /// Else blocked.
    pub open: bool,
}

/// Fields of an object that others own.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub kind: crate::resource::Kind,
    pub name: String,
    /// Below `spec`: dotted path to value.
    pub set: BTreeMap<String, Value>,
    pub span: Span,
}

impl Policy {
    /// Whom it selects; none is written where all are meant.
    pub fn selector(&self) -> Option<Selector> {
        Selector::parse(self.selector_text()).ok()
    }

    pub fn selector_text(&self) -> &str {
        self.spec["selector"].as_str().unwrap_or_default()
    }
}

impl Plan {
    /// The plan that wants nothing: what `destroy` compares with the inventory of `name`.
    pub fn nothing(name: &str) -> Plan {
        Plan {
            name: name.to_string(),
            cluster: Cluster {
                platform: Platform::Generic,
                name: None,
                uid: None,
            },
            inputs: BTreeMap::new(),
            host_endpoints: None,
            nodes: BTreeMap::new(),
            services: BTreeMap::new(),
            tiers: BTreeMap::new(),
            network_sets: BTreeMap::new(),
            policies: BTreeMap::new(),
            guards: BTreeMap::new(),
            claims: Vec::new(),
            cloud: Vec::new(),
            expect: Vec::new(),
            never_open: Vec::new(),
            never_close: Vec::new(),
            gates: Gates::default(),
            waivers: Vec::new(),
            warnings: Vec::new(),
        }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What `check` found worth saying; never fatal.
    pub fn warnings(&self) -> &[crate::error::Diagnostic] {
        &self.warnings
    }
}
