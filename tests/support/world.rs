//! What a test puts on an empty server: a fresh Calico cluster, its nodes, its workloads.

use serde_json::{Map, Value, json};

use super::control_plane::{ControlPlane, Identity};
use super::kinds::{CALICO, calico, path_of};

/// What a native installation of Calico has right after it: tiers, its configurations, its namespace and agent.
pub fn fresh_calico(server: &ControlPlane) {
    for (name, order, action) in [
        ("kube-admin", 1_000, "Pass"),
        ("default", 1_000_000, "Deny"),
        ("kube-baseline", 10_000_000, "Pass"),
    ] {
        if server.rest().get(&calico("tiers", name)).status == 404 {
            create(server, "Tier", name, json!({ "order": order, "defaultAction": action }));
        }
    }
    let period = json!({ "reconcilerPeriod": "5m0s" });
    let controllers = json!({
        "node": {
            "reconcilerPeriod": "5m0s", "leakGracePeriod": "15m0s", "syncLabels": "Enabled",
            "hostEndpoint": { "autoCreate": "Disabled", "createDefaultHostEndpoint": "Enabled" },
        },
        "policy": period, "workloadEndpoint": period, "serviceAccount": period, "namespace": period,
        "loadBalancer": { "assignIPs": "AllServices" },
    });
    let running = json!({
        "controllers": controllers, "etcdV3CompactionPeriod": "10m0s", "healthChecks": "Enabled",
        "logSeverityScreen": "Info", "prometheusMetricsPort": 9094,
    });
    create(server, "KubeControllersConfiguration", "default", running);
    let felix = json!({
        "bpfConnectTimeLoadBalancing": "TCP", "bpfHostNetworkedNATWithoutCTLB": "Enabled", "floatingIPs": "Disabled",
        "logSeverityScreen": "Info", "reportingInterval": "0s",
    });
    create(server, "FelixConfiguration", "default", felix);
    let about = json!({
        "calicoVersion": "v3.34.0", "clusterGUID": "0123456789abcdef0123456789abcdef", "clusterType": "k8s,kdd",
        "datastoreReady": true, "variant": "Calico",
    });
    create(server, "ClusterInformation", "default", about);
    namespace(server, "calico-system");
    server.rest().create(&calico_node());
}

/// The agent's DaemonSet, with the environment that installations give it.
pub fn calico_node() -> Value {
    workload(
        "DaemonSet",
        "calico-system",
        "calico-node",
        json!({
            "name": "calico-node", "image": "calico-node",
            "env": [{ "name": "FELIX_DEFAULTENDPOINTTOHOSTACTION", "value": "ACCEPT" }],
        }),
    )
}

/// An object of one of Calico's cluster-wide kinds.
pub fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({ "apiVersion": CALICO, "kind": kind, "metadata": { "name": name }, "spec": spec })
}

#[track_caller]
pub fn create(server: &ControlPlane, kind: &str, name: &str, spec: Value) -> Value {
    server.rest().create(&object(kind, name, spec))
}

/// Switches automatic host endpoints in the default configuration.
#[track_caller]
pub fn auto_create(server: &ControlPlane, value: &str) {
    let change = json!({ "spec": { "controllers": { "node": { "hostEndpoint": { "autoCreate": value } } } } });
    server
        .rest()
        .merge(&calico("kubecontrollersconfigurations", "default"), &change)
        .ok();
}

/// A node as it is once its kubelet is up: addresses, Ready, no start-up taint.
#[derive(Clone, Debug)]
pub struct Node {
    name: String,
    addresses: Vec<Value>,
    labels: Map<String, Value>,
    annotations: Map<String, Value>,
    provider_id: Option<String>,
    ready: bool,
}

impl Node {
    pub fn named(name: &str) -> Node {
        let mut labels = Map::new();
        labels.insert("kubernetes.io/hostname".into(), name.into());
        labels.insert("kubernetes.io/os".into(), "linux".into());
        let addresses = vec![json!({ "type": "Hostname", "address": name })];
        Node {
            name: name.into(),
            addresses,
            labels,
            annotations: Map::new(),
            provider_id: None,
            ready: true,
        }
    }

    pub fn internal_ip(self, address: &str) -> Node {
        self.address("InternalIP", address)
    }

    pub fn external_ip(self, address: &str) -> Node {
        self.address("ExternalIP", address)
    }

    fn address(mut self, kind: &str, address: &str) -> Node {
        self.addresses.push(json!({ "type": kind, "address": address }));
        self
    }

    pub fn label(mut self, key: &str, value: &str) -> Node {
        self.labels.insert(key.into(), value.into());
        self
    }

    pub fn annotation(mut self, key: &str, value: &str) -> Node {
        self.annotations.insert(key.into(), value.into());
        self
    }

    pub fn provider_id(mut self, id: &str) -> Node {
        self.provider_id = Some(id.into());
        self
    }

    pub fn not_ready(mut self) -> Node {
        self.ready = false;
        self
    }

    /// Creates it, takes off the taint that admission gives to a new node, and reports its status.
    #[track_caller]
    pub fn create(self, server: &ControlPlane) {
        let metadata = json!({ "name": self.name, "labels": self.labels, "annotations": self.annotations });
        let mut node = json!({ "apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": {} });
        if let Some(id) = self.provider_id {
            node["spec"]["providerID"] = id.into();
        }
        server.rest().create(&node);
        let path = path_of(&node);
        let ready = if self.ready { "True" } else { "False" };
        if self.ready {
            server.rest().merge(&path, &json!({ "spec": { "taints": null } })).ok();
        }
        let status = json!({ "addresses": self.addresses, "conditions": [{ "type": "Ready", "status": ready }] });
        server
            .rest()
            .merge(&format!("{path}/status"), &json!({ "status": status }))
            .ok();
    }
}

#[track_caller]
pub fn namespace(server: &ControlPlane, name: &str) {
    let namespace = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
    server.rest().create(&namespace);
}

/// A Deployment or DaemonSet of one container, selected by `app: NAME`.
pub fn workload(kind: &str, namespace: &str, name: &str, container: Value) -> Value {
    let labels = json!({ "app": name });
    json!({
        "apiVersion": "apps/v1", "kind": kind, "metadata": { "name": name, "namespace": namespace, "labels": labels },
        "spec": {
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    })
}

/// A pod `app: APP` that runs on a node, as its kubelet reports it.
#[track_caller]
pub fn pod(server: &ControlPlane, namespace: &str, app: &str, node: &str, address: &str) {
    let pod = json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": format!("{app}-{node}"), "namespace": namespace, "labels": { "app": app } },
        "spec": { "nodeName": node, "containers": [{ "name": "server", "image": app }] },
    });
    server.rest().create(&pod);
    let ips = json!([{ "ip": address }]);
    let status = json!({ "phase": "Running", "podIP": address, "podIPs": ips });
    let path = format!("{}/status", path_of(&pod));
    server.rest().merge(&path, &json!({ "status": status })).ok();
}

/// A Service of type NodePort for the pods `app: NAME`.
pub fn node_port(namespace: &str, name: &str, node_port: u16, port: u16, target_port: u16) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": { "name": name, "namespace": namespace },
        "spec": {
            "type": "NodePort", "selector": { "app": name },
            "ports": [{ "name": "http", "protocol": "TCP", "port": port, "targetPort": target_port, "nodePort": node_port }],
        },
    })
}

/// Gives an identity rights on the whole cluster: rules as in a ClusterRole.
#[track_caller]
pub fn grant(server: &ControlPlane, who: Identity, rules: Value) {
    let api = "rbac.authorization.k8s.io";
    let name = format!("test-{}", who.user());
    let version = format!("{api}/v1");
    let role = json!({ "apiVersion": version, "kind": "ClusterRole", "metadata": { "name": name }, "rules": rules });
    server.rest().create(&role);
    server.rest().create(&json!({
        "apiVersion": version, "kind": "ClusterRoleBinding", "metadata": { "name": name },
        "roleRef": { "apiGroup": api, "kind": "ClusterRole", "name": name },
        "subjects": [{ "apiGroup": api, "kind": "User", "name": who.user() }],
    }));
}
