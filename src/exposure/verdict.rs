//! Words of the answer: verdicts, hooks, and what decided.
//!
//! Plain data with names in it, so that whoever shows it needs no world.

use std::fmt;
use std::net::IpAddr;

use crate::net::Protocol;
use crate::resource::{Key, Kind};

/// Whether a packet arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Through every layer that was read.
    Open,
    /// Calico leaves it to the node's own firewall: open under the assumption that this one lets it.
    HostDecides,
    /// Some connections arrive and some do not: it depends on the backend or on the client's port.
    Partly,
    Blocked,
    /// What is needed to tell was not read.
    Unknown,
}

/// Where on a node something happens, in the order of the packet's walk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hook {
    /// Of the cloud, at the interface of the node.
    SecurityGroup,
    NetworkAcl,
    RawPrerouting,
    ManglePrerouting,
    /// kube-proxy's translation and routing.
    Routing,
    FilterInput,
    FilterForward,
    RawOutput,
    FilterOutput,
    ManglePostrouting,
    /// Handed to the network, and lost there.
    Sent,
}

impl Hook {
    pub fn as_str(self) -> &'static str {
        match self {
            Hook::SecurityGroup => "security-group",
            Hook::NetworkAcl => "network-acl",
            Hook::RawPrerouting => "raw-prerouting",
            Hook::ManglePrerouting => "mangle-prerouting",
            Hook::Routing => "routing-or-kube-proxy",
            Hook::FilterInput => "filter-input",
            Hook::FilterForward => "filter-forward",
            Hook::RawOutput => "raw-output",
            Hook::FilterOutput => "filter-output",
            Hook::ManglePostrouting => "mangle-postrouting",
            Hook::Sent => "sent-but-lost",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Ingress,
    Egress,
}

impl Direction {
    pub fn as_str(self) -> &'static str {
        match self {
            Direction::Ingress => "ingress",
            Direction::Egress => "egress",
        }
    }
}

/// Kinds whose rules can decide; wider than [`Kind`], which lists what hostguard reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyKind {
    GlobalNetworkPolicy,
    NetworkPolicy,
    KubernetesNetworkPolicy,
    StagedGlobalNetworkPolicy,
    StagedNetworkPolicy,
    Profile,
}

impl PolicyKind {
    pub fn as_str(self) -> &'static str {
        match self {
            PolicyKind::GlobalNetworkPolicy => "GlobalNetworkPolicy",
            PolicyKind::NetworkPolicy => "NetworkPolicy",
            PolicyKind::KubernetesNetworkPolicy => "KubernetesNetworkPolicy",
            PolicyKind::StagedGlobalNetworkPolicy => "StagedGlobalNetworkPolicy",
            PolicyKind::StagedNetworkPolicy => "StagedNetworkPolicy",
            PolicyKind::Profile => "Profile",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PolicyName {
    pub kind: PolicyKind,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    pub name: String,
}

impl PolicyName {
    /// The key, for kinds that hostguard reads.
    pub fn key(&self) -> Option<Key> {
        match self.kind {
            PolicyKind::GlobalNetworkPolicy => Some(Key::cluster(Kind::GlobalNetworkPolicy, &self.name)),
            PolicyKind::NetworkPolicy => Some(Key::namespaced(Kind::NetworkPolicy, &self.namespace, &self.name)),
            PolicyKind::KubernetesNetworkPolicy => Some(Key::namespaced(
                Kind::KubernetesNetworkPolicy,
                &self.namespace,
                &self.name,
            )),
            PolicyKind::StagedGlobalNetworkPolicy | PolicyKind::StagedNetworkPolicy | PolicyKind::Profile => None,
        }
    }
}

impl fmt::Display for PolicyName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind.as_str(), self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind.as_str(), self.namespace, self.name)
        }
    }
}

/// One rule: `GlobalNetworkPolicy/default.a ingress[2]`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuleRef {
    pub policy: PolicyName,
    pub direction: Direction,
    pub index: usize,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}[{}]", self.policy, self.direction.as_str(), self.index)
    }
}

/// What decided at a hook.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    Rule(RuleRef),
    /// A failsafe port, which no policy can close.
    Failsafe {
        port: u16,
    },
    /// A policy of the tier applies in this direction and none allowed or passed.
    EndOfTier {
        tier: String,
    },
    /// No profile of the endpoint allows.
    NoProfile,
    /// The endpoint names a profile that does not exist: deny.
    MissingProfile {
        name: String,
    },
    /// No forward policy selects the host endpoint.
    NoForwardPolicy,
    /// Policies of this stage apply, and none decides.
    NoRule,
    /// No host endpoint governs the interface.
    NoEndpoint,
    /// Tunnel packets of known peers pass, those of others do not.
    Tunnel,
    /// Pods may not send tunnel packets.
    PodTunnel,
    /// `defaultEndpointToHostAction`.
    EndpointToHost,
    /// Calico never judges what a node sends to its own pods.
    OwnPod,
    /// Accepted at an earlier hook.
    Earlier,
    /// The Service has no endpoint that kube-proxy may use here.
    NoBackend {
        service: String,
    },
    /// kube-proxy sends the connection to this endpoint.
    Service {
        service: String,
        backend: String,
    },
    /// An untracked packet to a Service is not translated.
    NotTranslated,
    /// A rule of a security group: `tcp/22 from 192.0.2.0/24`.
    CloudRule {
        group: String,
        rule: String,
        /// `None` of a rule that a plan makes.
        id: Option<String>,
    },
    /// The same, if the other end is in the group or list that it names.
    CloudPeer {
        group: String,
        rule: String,
        id: Option<String>,
    },
    /// No rule of these security groups lets it through.
    NoCloudRule {
        groups: Vec<String>,
    },
    /// An entry of a network ACL; none: the end of its list.
    Acl {
        acl: String,
        entry: Option<(u32, Direction)>,
    },
    /// No network interface of the node was found in the cloud.
    NoInterface,
    /// Not known, because this was not read.
    Unread {
        what: String,
        why: String,
    },
    /// How this dataplane treats the packet is not established.
    NotEstablished {
        what: &'static str,
    },
}

/// What one hook made of the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruling {
    /// Accepted, and later hooks of the node skip policy.
    Accept,
    /// Let through at this hook only.
    Pass,
    Drop,
    /// No verdict here.
    Nothing,
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Hop {
    pub node: String,
    pub hook: Hook,
    /// The host endpoint or pod whose policy was asked.
    pub endpoint: Option<String>,
    pub ruling: Ruling,
    pub by: By,
}

/// Where a packet starts.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// Neither a node nor a pod of this cluster.
    Outside,
    /// A process of the node, or a pod in its network.
    Node(String),
    Pod {
        namespace: String,
        name: String,
    },
}

/// The first packet of a connection.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Packet {
    pub from: Origin,
    pub source: IpAddr,
    pub destination: IpAddr,
    pub protocol: Protocol,
    /// Of TCP, UDP and SCTP.
    pub port: Option<u16>,
    /// The client's port; `None`: whichever it likes.
    pub source_port: Option<u16>,
    pub icmp_type: Option<u8>,
    /// Which endpoint of a Service kube-proxy picks; `None`: each in turn.
    pub backend: Option<String>,
}

impl fmt::Display for Packet {
    /// `203.0.113.7>10.0.1.5:30080/tcp`; a client inside the cluster by name: `node/NAME>…`, `pod/NAMESPACE/NAME>…`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.from {
            Origin::Outside => write!(f, "{}>", self.source)?,
            Origin::Node(name) => write!(f, "node/{name}>")?,
            Origin::Pod { namespace, name } => write!(f, "pod/{namespace}/{name}>")?,
        }
        let protocol = self.protocol.to_string().to_lowercase();
        match (self.port, self.destination) {
            (Some(port), IpAddr::V4(to)) => write!(f, "{to}:{port}/{protocol}"),
            (Some(port), IpAddr::V6(to)) => write!(f, "[{to}]:{port}/{protocol}"),
            (None, to) => write!(f, "{to}/{protocol}"),
        }
    }
}

/// One packet, hop by hop.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    pub verdict: Verdict,
    /// The hop that decided the verdict.
    pub decided: Option<Hop>,
    /// Every way the packet can take: one per endpoint of a Service, and per thing that is not known.
    pub ways: Vec<Way>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Way {
    pub verdict: Verdict,
    pub hops: Vec<Hop>,
    /// The endpoint that kube-proxy picked.
    pub backend: Option<String>,
    /// Which hop decided.
    pub decided: Option<usize>,
}
