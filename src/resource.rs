//! What one object should be: kinds, keys, fields, wants.
//!
//! Kinds are a closed list, so that an exhaustive `match` names every place a new kind must be handled.
//! Knows nothing of plans, of what is there, or of how it is written.

use std::collections::BTreeMap;
use std::fmt;

use serde_json::{Map, Value};

use crate::source::Span;

/// Every kind that hostguard reads or writes. The order of the list is the order of output and of ties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Namespace,
    ClusterInformation,
    KubeControllersConfiguration,
    FelixConfiguration,
    Tier,
    GlobalNetworkSet,
    GlobalNetworkPolicy,
    HostEndpoint,
    Deployment,
    StatefulSet,
    DaemonSet,
    Service,
    Node,
    /// Read only: what decides about packets behind a Service.
    EndpointSlice,
    Pod,
    /// Of projectcalico.org.
    NetworkPolicy,
    NetworkSet,
    /// Read only: which packets of pods change their source, and which tunnels there are.
    IPPool,
    /// Of networking.k8s.io; the name is ours, because two groups have a NetworkPolicy.
    KubernetesNetworkPolicy,
    /// Read only in the inventory namespace: the inventories of all plans.
    ConfigMap,
    /// A ConfigMap beside the inventories: what one run did; the name is ours. Read only where history matters.
    Run,
    /// Of coordination.k8s.io, in the inventory namespace: who is applying a plan just now.
    Lease,
    /// One rule of a security group of AWS; what a `cloud` section makes.
    SecurityGroupRule,
    /// Read only: how a packet gets from the outside to a node of AWS.
    Instance,
    NetworkInterface,
    SecurityGroup,
    NetworkAcl,
    PrefixList,
    EksCluster,
}

/// How a kind is served by a Kubernetes API server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Api {
    pub group: &'static str,
    pub version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
}

impl Api {
    /// `v1` or `group/version`, as in `apiVersion`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }
}

/// What only a server writes into `metadata`; a create that brings it is refused.
pub const SET_BY_SERVER: [&str; 8] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// Calico's API group in the version hostguard uses, aggregated or native.
pub const CALICO_GROUP: &str = "projectcalico.org";

/// What stands in `apiVersion` of AWS's objects. No server serves it: the shape is ours, so that states, snapshots and
/// differences need no second one.
pub const AWS_GROUP: &str = "aws";

const fn calico(kind: &'static str, plural: &'static str) -> Api {
    Api {
        group: CALICO_GROUP,
        version: "v3",
        kind,
        plural,
        namespaced: false,
    }
}

const fn core(kind: &'static str, plural: &'static str, namespaced: bool) -> Api {
    Api {
        group: "",
        version: "v1",
        kind,
        plural,
        namespaced,
    }
}

const fn apps(kind: &'static str, plural: &'static str) -> Api {
    namespaced("apps", "v1", kind, plural)
}

const fn aws(kind: &'static str, plural: &'static str) -> Api {
    Api {
        group: AWS_GROUP,
        version: "v1",
        kind,
        plural,
        namespaced: false,
    }
}

const fn namespaced(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Api {
    Api {
        group,
        version,
        kind,
        plural,
        namespaced: true,
    }
}

impl Kind {
    pub const ALL: [Kind; 29] = [
        Kind::Namespace,
        Kind::ClusterInformation,
        Kind::KubeControllersConfiguration,
        Kind::FelixConfiguration,
        Kind::Tier,
        Kind::GlobalNetworkSet,
        Kind::GlobalNetworkPolicy,
        Kind::HostEndpoint,
        Kind::Deployment,
        Kind::StatefulSet,
        Kind::DaemonSet,
        Kind::Service,
        Kind::Node,
        Kind::EndpointSlice,
        Kind::Pod,
        Kind::NetworkPolicy,
        Kind::NetworkSet,
        Kind::IPPool,
        Kind::KubernetesNetworkPolicy,
        Kind::ConfigMap,
        Kind::Run,
        Kind::Lease,
        Kind::SecurityGroupRule,
        Kind::Instance,
        Kind::NetworkInterface,
        Kind::SecurityGroup,
        Kind::NetworkAcl,
        Kind::PrefixList,
        Kind::EksCluster,
    ];

    pub const fn api(self) -> Api {
        match self {
            Kind::Namespace => core("Namespace", "namespaces", false),
            Kind::ClusterInformation => calico("ClusterInformation", "clusterinformations"),
            Kind::KubeControllersConfiguration => {
                calico("KubeControllersConfiguration", "kubecontrollersconfigurations")
            }
            Kind::FelixConfiguration => calico("FelixConfiguration", "felixconfigurations"),
            Kind::Tier => calico("Tier", "tiers"),
            Kind::GlobalNetworkSet => calico("GlobalNetworkSet", "globalnetworksets"),
            Kind::GlobalNetworkPolicy => calico("GlobalNetworkPolicy", "globalnetworkpolicies"),
            Kind::HostEndpoint => calico("HostEndpoint", "hostendpoints"),
            Kind::Deployment => apps("Deployment", "deployments"),
            Kind::StatefulSet => apps("StatefulSet", "statefulsets"),
            Kind::DaemonSet => apps("DaemonSet", "daemonsets"),
            Kind::Service => core("Service", "services", true),
            Kind::Node => core("Node", "nodes", false),
            Kind::EndpointSlice => namespaced("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices"),
            Kind::Pod => core("Pod", "pods", true),
            Kind::NetworkPolicy => namespaced(CALICO_GROUP, "v3", "NetworkPolicy", "networkpolicies"),
            Kind::NetworkSet => namespaced(CALICO_GROUP, "v3", "NetworkSet", "networksets"),
            Kind::IPPool => calico("IPPool", "ippools"),
            Kind::KubernetesNetworkPolicy => namespaced("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Kind::ConfigMap | Kind::Run => core("ConfigMap", "configmaps", true),
            Kind::Lease => namespaced("coordination.k8s.io", "v1", "Lease", "leases"),
            Kind::SecurityGroupRule => aws("SecurityGroupRule", "securitygrouprules"),
            Kind::Instance => aws("Instance", "instances"),
            Kind::NetworkInterface => aws("NetworkInterface", "networkinterfaces"),
            Kind::SecurityGroup => aws("SecurityGroup", "securitygroups"),
            Kind::NetworkAcl => aws("NetworkAcl", "networkacls"),
            Kind::PrefixList => aws("PrefixList", "prefixlists"),
            Kind::EksCluster => aws("EksCluster", "eksclusters"),
        }
    }

    /// The name in keys, snapshots and answers.
    pub fn name(self) -> &'static str {
        match self {
            Kind::KubernetesNetworkPolicy => "KubernetesNetworkPolicy",
            Kind::Run => "Run",
            other => other.api().kind,
        }
    }

    /// Maps that a wanted object claims whole: a field below them that the plan does not name is to be absent.
    /// A policy with one rule list more than was written is another policy; a Service with one selector label
    /// more selects other pods.
    pub const fn closed(self) -> Option<&'static [&'static str]> {
        match self {
            Kind::GlobalNetworkPolicy => Some(&["spec"]),
            Kind::Service => Some(&["spec", "selector"]),
            _ => None,
        }
    }

    /// Whether hostguard keeps its own books in it: never what a plan wants, and no part of any answer about packets.
    pub const fn bookkeeping(self) -> bool {
        matches!(self, Kind::ConfigMap | Kind::Run | Kind::Lease)
    }

    /// Whether it is an object of the cloud and not of the cluster: another provider reads and writes it.
    pub fn cloud(self) -> bool {
        self.api().group == AWS_GROUP
    }

    /// What AWS calls the right to read it.
    pub fn cloud_actions(self) -> &'static str {
        match self {
            Kind::SecurityGroupRule => "ec2:DescribeSecurityGroupRules",
            // an instance is described with its interfaces
            Kind::Instance | Kind::NetworkInterface => "ec2:DescribeInstances",
            Kind::SecurityGroup => "ec2:DescribeSecurityGroups",
            Kind::NetworkAcl => "ec2:DescribeNetworkAcls",
            Kind::PrefixList => "ec2:DescribeManagedPrefixLists and ec2:GetManagedPrefixListEntries",
            Kind::EksCluster => "eks:DescribeCluster",
            _ => "",
        }
    }

    pub fn parse(name: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which object: `Kind/name` or `Kind/namespace/name`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub kind: Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    pub name: String,
}

impl Key {
    pub fn cluster(kind: Kind, name: impl Into<String>) -> Key {
        Key {
            kind,
            namespace: String::new(),
            name: name.into(),
        }
    }

    pub fn namespaced(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Key {
        Key {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    /// The inverse of `Display`.
    pub fn parse(text: &str) -> Option<Key> {
        let (kind, rest) = text.split_once('/')?;
        let kind = Kind::parse(kind)?;
        match (kind.api().namespaced, rest.split_once('/')) {
            // the name of a rule is a path: group, direction, protocol, ports, peer
            (false, None) => Some(Key::cluster(kind, rest)),
            (false, Some(_)) if kind.cloud() => Some(Key::cluster(kind, rest)),
            (true, Some((namespace, name))) if !name.contains('/') => Some(Key::namespaced(kind, namespace, name)),
            _ => None,
        }
    }

    /// The key of an object in API shape.
    pub fn of(kind: Kind, object: &Value) -> Option<Key> {
        let metadata = object.get("metadata")?;
        let name = metadata.get("name")?.as_str()?;
        if kind.api().namespaced {
            Some(Key::namespaced(kind, metadata.get("namespace")?.as_str()?, name))
        } else {
            Some(Key::cluster(kind, name))
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.namespace.is_empty() {
            write!(f, "{}/{}", self.kind, self.name)
        } else {
            write!(f, "{}/{}/{}", self.kind, self.namespace, self.name)
        }
    }
}

/// The path of a field from the object's root, map keys only: lists are compared and written whole.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FieldPath(pub Vec<String>);

impl FieldPath {
    /// From keys joined by dots; no key may contain one.
    pub fn dotted(text: &str) -> FieldPath {
        FieldPath(text.split('.').map(str::to_string).collect())
    }

    pub fn label(name: &str) -> FieldPath {
        FieldPath(vec!["metadata".into(), "labels".into(), name.into()])
    }

    /// RFC 6901, for the inventory.
    pub fn pointer(&self) -> String {
        let mut text = String::new();
        for key in &self.0 {
            text.push('/');
            if key.bytes().any(|b| b == b'~' || b == b'/') {
                text.push_str(&key.replace('~', "~0").replace('/', "~1"));
            } else {
                text.push_str(key);
            }
        }
        text
    }

    pub fn from_pointer(text: &str) -> Option<FieldPath> {
        let keys = text.strip_prefix('/')?;
        Some(FieldPath(
            keys.split('/')
                .map(|key| key.replace("~1", "/").replace("~0", "~"))
                .collect(),
        ))
    }

    pub fn get<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        self.0
            .iter()
            .try_fold(object, |value, key| value.get(key))
            .filter(|value| !value.is_null())
    }

    /// Whether the field lies below the map that objects of that kind claim whole.
    pub fn is_closed(&self, kind: Kind) -> bool {
        kind.closed().is_some_and(|prefix| {
            self.0.len() > prefix.len() && self.0.iter().zip(prefix).all(|(key, wanted)| key == wanted)
        })
    }

    /// Sets the field, making the maps on the way.
    pub fn set(&self, object: &mut Value, value: Value) {
        let mut at = object;
        for key in &self.0 {
            if !at.is_object() {
                *at = Value::Object(Map::new());
            }
            at = at
                .as_object_mut()
                .expect("made a map above")
                .entry(key.clone())
                .or_insert(Value::Null);
        }
        *at = value;
    }
}

impl fmt::Display for FieldPath {
    /// `spec.order`; keys that hold a dot or a slash stand in brackets: `metadata.labels[a.b/c]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, key) in self.0.iter().enumerate() {
            match (key.contains(['.', '/']), i) {
                (true, _) => write!(f, "[{key}]")?,
                (false, 0) => f.write_str(key)?,
                (false, _) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}

/// Splits a body into its fields: maps are followed, everything else (lists too) is one field.
pub fn fields_of(body: &Value) -> BTreeMap<FieldPath, Value> {
    fn walk(value: &Value, at: &mut Vec<String>, fields: &mut BTreeMap<FieldPath, Value>) {
        match value {
            Value::Object(map) if !map.is_empty() => {
                for (key, value) in map {
                    at.push(key.clone());
                    walk(value, at, fields);
                    at.pop();
                }
            }
            Value::Null => {}
            _ => {
                fields.insert(FieldPath(at.clone()), value.clone());
            }
        }
    }
    let mut fields = BTreeMap::new();
    walk(body, &mut Vec::new(), &mut fields);
    fields
}

/// Which part of the plan asks for something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// `tiers.security`, `inventory` for what comes back from the record.
    pub section: String,
    pub span: Option<Span>,
}

/// What a field should hold.
#[derive(Clone, Debug, PartialEq)]
pub enum Target {
    /// This value; null is absence.
    Value(Value),
    /// The value found before hostguard changed it (`None`: there was none); it goes back only if the digest of
    /// the live value still is `wrote`.
    Before { before: Option<Value>, wrote: String },
}

/// What an object should be.
#[derive(Clone, Debug, PartialEq)]
pub enum Want {
    /// The object exists with these fields; created when absent.
    Object(BTreeMap<FieldPath, Target>),
    /// These fields of an object that others own; never created.
    Fields(BTreeMap<FieldPath, Target>),
    /// The object, which hostguard created, is gone.
    Absent,
}

/// One node of the graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    pub key: Key,
    pub want: Want,
    pub origin: Origin,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_read_back_what_they_print() {
        for key in [
            Key::cluster(Kind::Node, "n1"),
            Key::namespaced(Kind::Service, "shop", "web"),
            Key::cluster(Kind::SecurityGroupRule, "sg-0a/ingress/tcp/30080/203.0.113.7/32"),
        ] {
            assert_eq!(Key::parse(&key.to_string()), Some(key));
        }
        assert_eq!(Key::parse("Service/web"), None, "a Service has a namespace");
        assert_eq!(Key::parse("Secret/a/b"), None);
        assert_eq!(Key::parse("Node/a/b"), None, "only rules of the cloud are paths");
        assert_eq!(Key::parse("Service/a/b/c"), None);
    }

    #[test]
    fn pointers_read_back_what_they_print() {
        let path = FieldPath::label("example.com/a~b");
        assert_eq!(path.pointer(), "/metadata/labels/example.com~1a~0b");
        assert_eq!(FieldPath::from_pointer(&path.pointer()), Some(path.clone()));
        assert_eq!(path.to_string(), "metadata.labels[example.com/a~b]");
    }

    #[test]
    fn a_body_splits_into_fields_and_lists_stay_whole() {
        let fields = fields_of(
            &json!({"spec": {"order": 1, "types": ["Ingress"], "x": null}, "metadata": {"labels": {"a": "b"}}}),
        );
        let names: Vec<String> = fields.keys().map(FieldPath::to_string).collect();
        assert_eq!(names, ["metadata.labels.a", "spec.order", "spec.types"]);
    }

    #[test]
    fn a_null_field_is_absent() {
        assert_eq!(FieldPath::dotted("a.b").get(&json!({"a": {"b": null}})), None);
    }
}
