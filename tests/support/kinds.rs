//! Which kinds the live tests touch and where the API serves them.

use serde_json::Value;

pub struct Kind {
    pub api_version: &'static str,
    pub kind: &'static str,
    pub plural: &'static str,
    pub namespaced: bool,
}

pub const CALICO: &str = "projectcalico.org/v3";

const fn cluster(api_version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind {
        api_version,
        kind,
        plural,
        namespaced: false,
    }
}

const fn namespaced(api_version: &'static str, kind: &'static str, plural: &'static str) -> Kind {
    Kind {
        api_version,
        kind,
        plural,
        namespaced: true,
    }
}

/// Everything a test may create: what it leaves behind is found by this list. Namespaces come last.
pub const KINDS: &[Kind] = &[
    cluster(CALICO, "GlobalNetworkPolicy", "globalnetworkpolicies"),
    cluster(CALICO, "GlobalNetworkSet", "globalnetworksets"),
    cluster(CALICO, "HostEndpoint", "hostendpoints"),
    cluster(CALICO, "IPPool", "ippools"),
    cluster(CALICO, "FelixConfiguration", "felixconfigurations"),
    cluster(CALICO, "KubeControllersConfiguration", "kubecontrollersconfigurations"),
    cluster(CALICO, "ClusterInformation", "clusterinformations"),
    cluster(CALICO, "Tier", "tiers"),
    cluster("v1", "Node", "nodes"),
    cluster("rbac.authorization.k8s.io/v1", "ClusterRole", "clusterroles"),
    cluster(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        "clusterrolebindings",
    ),
    namespaced(CALICO, "NetworkPolicy", "networkpolicies"),
    namespaced(CALICO, "NetworkSet", "networksets"),
    namespaced("apps/v1", "DaemonSet", "daemonsets"),
    namespaced("apps/v1", "Deployment", "deployments"),
    namespaced("apps/v1", "StatefulSet", "statefulsets"),
    namespaced("coordination.k8s.io/v1", "Lease", "leases"),
    namespaced("discovery.k8s.io/v1", "EndpointSlice", "endpointslices"),
    namespaced("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    namespaced("rbac.authorization.k8s.io/v1", "Role", "roles"),
    namespaced("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings"),
    namespaced("v1", "ConfigMap", "configmaps"),
    namespaced("v1", "Pod", "pods"),
    namespaced("v1", "Secret", "secrets"),
    namespaced("v1", "Service", "services"),
    namespaced("v1", "ServiceAccount", "serviceaccounts"),
    cluster("v1", "Namespace", "namespaces"),
];

impl Kind {
    /// The path of the collection, over all namespaces.
    pub fn collection(&self) -> String {
        collection(self.api_version, None, self.plural)
    }

    /// The path of one object of this kind.
    pub fn path(&self, object: &Value) -> String {
        let metadata = &object["metadata"];
        let namespace = metadata["namespace"].as_str().filter(|_| self.namespaced);
        let name = metadata["name"].as_str().expect("an object has a name");
        format!("{}/{name}", collection(self.api_version, namespace, self.plural))
    }
}

fn collection(api_version: &str, namespace: Option<&str>, plural: &str) -> String {
    let root = if api_version == "v1" { "api" } else { "apis" };
    match namespace {
        Some(namespace) => format!("/{root}/{api_version}/namespaces/{namespace}/{plural}"),
        None => format!("/{root}/{api_version}/{plural}"),
    }
}

/// The path of a Calico kind's object, or of its collection with an empty name.
pub fn calico(plural: &str, name: &str) -> String {
    format!("/apis/{CALICO}/{plural}/{name}")
        .trim_end_matches('/')
        .to_string()
}

#[track_caller]
fn kind_of(object: &Value) -> &'static Kind {
    let found = KINDS
        .iter()
        .find(|k| object["apiVersion"] == k.api_version && object["kind"] == k.kind);
    found.unwrap_or_else(|| panic!("kinds.rs does not list the kind of {object}"))
}

#[track_caller]
pub fn path_of(object: &Value) -> String {
    kind_of(object).path(object)
}

#[track_caller]
pub fn collection_of(object: &Value) -> String {
    let path = path_of(object);
    path[..path.rfind('/').expect("a path has parts")].to_string()
}
