//! What the model is built from: nodes, pods and services as plain facts, Calico's objects as JSON.
//!
//! Two sources fill it in the same way: a `State` (`from_state.rs`) and recorded worlds of the tests. What was not read
//! is `None` or stands in `unread` with the reason; it is never an empty list.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::cloud::CloudFacts;
use crate::net::AddressSet;
use crate::state::Labels;

/// Everything that is known.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    pub nodes: Vec<Arc<NodeFacts>>,
    /// `None`: not read.
    pub pods: Option<Vec<Arc<PodFacts>>>,
    /// `None`: not read.
    pub services: Option<Vec<ServiceFacts>>,
    /// Calico's `projectcalico.org/v3` objects, of any kind.
    pub objects: Vec<Value>,
    /// Kinds of objects that could not be read, by name, with the reason.
    pub unread: BTreeMap<String, String>,
    /// The addresses that kube-proxy takes for pods; `None`: not known.
    pub pod_ranges: Option<AddressSet>,
    /// When it is known from elsewhere than FelixConfiguration.
    pub dataplane: Option<Dataplane>,
    /// `FELIX_*` of the calico-node container, which override every FelixConfiguration; `None`: not read.
    pub environment: Option<BTreeMap<String, String>>,
    /// `None`: nothing in front of the nodes was asked for.
    pub cloud: Option<CloudFacts>,
}

#[derive(Clone, Debug, Default)]
pub struct NodeFacts {
    pub name: String,
    pub labels: Labels,
    /// `None`: only addresses are known. The first one has the default route.
    pub interfaces: Option<Vec<InterfaceFacts>>,
    /// Addresses of the node where interfaces are not known.
    pub addresses: Vec<IpAddr>,
    /// Addresses by which others know the node and which something in front of it translates to its own.
    pub external: Vec<IpAddr>,
}

#[derive(Clone, Debug, Default)]
pub struct InterfaceFacts {
    pub name: String,
    /// With the length of the prefix that is reached directly.
    pub addresses: Vec<(IpAddr, u8)>,
}

/// A pod with an interface of its own; one in the host's network is a local process of its node.
#[derive(Clone, Debug, Default)]
pub struct PodFacts {
    pub namespace: String,
    pub name: String,
    pub node: String,
    pub addresses: Vec<IpAddr>,
    /// The host's end of its interface, where known.
    pub interface: Option<String>,
    /// Its own. Pods share them.
    pub labels: Arc<Labels>,
    /// Its service account, where that is not among its labels.
    pub account: Option<String>,
    pub profiles: Vec<String>,
    pub ports: Vec<NamedPort>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedPort {
    pub name: String,
    /// As written: `TCP`.
    pub protocol: String,
    pub port: u16,
}

/// One port of a Service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceFacts {
    pub namespace: String,
    pub name: String,
    pub protocol: u8,
    pub port: u16,
    pub node_port: Option<u16>,
    pub cluster: Vec<IpAddr>,
    /// externalTrafficPolicy: Local.
    pub external_local: bool,
    /// internalTrafficPolicy: Local.
    pub internal_local: bool,
    /// `None`: not read.
    pub backends: Option<Vec<Backend>>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Backend {
    pub name: String,
    pub addresses: Vec<IpAddr>,
    pub port: u16,
}

/// How Felix programs the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Dataplane {
    Iptables,
    Nftables,
    Ebpf,
}
