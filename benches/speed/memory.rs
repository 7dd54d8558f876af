//! Memory and time of `plan` on a file of 10,000 objects: 2,000 nodes with 8,000 pods, host endpoints still to be made.

use std::path::Path;

use hostguard::provider::snapshot::encode;
use hostguard::resource::Kind;
use hostguard::state::State;
use serde_json::{Value, json};

use crate::engine;
use crate::measure::{self, Row, watched};
use crate::size::row;
use crate::support::command::hostguard;

const NODES: usize = 2_000;
const PODS: usize = 8_000;

fn pod(at: usize, apps: usize) -> Value {
    let address = format!("10.{}.{}.{}", 128 + (at >> 16), (at >> 8) & 255, at & 255);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": format!("web-{at:05}"), "namespace": "shop", "uid": format!("pod-{at}"),
            "labels": {"app": format!("a{}", at % apps)},
        },
        "spec": {"nodeName": engine::node(at % NODES)["metadata"]["name"], "serviceAccountName": "default"},
        "status": {"phase": "Running", "podIP": address, "podIPs": [{"ip": address}]},
    })
}

/// With the pods of so many applications; each has one label.
fn state(apps: usize) -> State {
    let mut state = engine::state(NODES);
    let controller = json!({"controllers": {"node": {"hostEndpoint": {"autoCreate": "Disabled"}}}});
    let mut list = |kind, objects| state.listed(kind, objects).expect("made objects have names");
    list(Kind::Pod, (0..PODS).map(|at| pod(at, apps)).collect());
    list(Kind::Namespace, vec![json!({"metadata": {"name": "shop"}})]);
    let deployment = json!({
        "metadata": {"name": "web", "namespace": "shop"}, "spec": {"selector": {"matchLabels": {"app": "a0"}}},
    });
    list(Kind::Deployment, vec![deployment]);
    let configuration = json!({
        "metadata": {"name": "default", "uid": "controllers", "resourceVersion": "1"},
        "spec": controller, "status": {"runningConfig": controller},
    });
    list(Kind::KubeControllersConfiguration, vec![configuration]);
    list(
        Kind::FelixConfiguration,
        vec![json!({"metadata": {"name": "default"}, "spec": {}})],
    );
    state
}

/// Makes host endpoints, labels a node, exposes an application, and lets one network in.
fn plan() -> Value {
    let to = json!({"ports": [30_080]});
    let rules = json!([
        {"action": "Allow", "protocol": "TCP", "source": {"nets": ["203.0.113.0/24"]}, "destination": to},
        {"action": "Deny", "protocol": "TCP", "destination": to},
    ]);
    let policy = json!({
        "order": 100, "selector": "guarded == 'yes'", "types": ["Ingress"], "preDNAT": true, "applyOnForward": true,
        "ingress": rules,
    });
    let web = json!({
        "namespace": "shop", "expose": "deployment/web", "ports": [{"port": 80, "targetPort": 8080, "nodePort": 30_080}],
    });
    json!({
        "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": "size"},
        "spec": {
            "cluster": {"platform": "generic"}, "hostEndpoints": {"autoCreate": "Enabled"},
            "nodes": {"one": {"names": ["node-000001"], "labels": {"guarded": "yes"}}},
            "services": {"web": web}, "tiers": {"security": {"order": 500}},
            "policies": {"security.web": {"spec": policy}},
        },
    })
}

pub fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, bytes: &[u8]| measure::file(folder.path(), name, bytes);
    let plan = file("plan.yaml", plan().to_string().as_bytes());
    let planned = |what: &str, apps: usize, goal| {
        let live = file("live.json", &encode(&state(apps), "2026-01-01T00:00:00Z"));
        let mut command = hostguard(Path::new(env!("CARGO_MANIFEST_DIR")));
        command.args(["plan", &plan, "--live", &live]);
        row(
            &format!("plan on a file, {NODES} nodes, {PODS} pods, {what}"),
            &watched(command).ended(&[0]),
            goal,
        )
    };
    vec![
        planned("400 of them behind the Service", 20, "64 MiB"),
        planned("all behind the Service", 1, ""),
    ]
}
