//! A large cluster on the real server: time and memory of every verb that reads or writes it.

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};

use crate::engine::node;
use crate::measure::{Ran, Row, seconds, watched};
use crate::support::command::hostguard;
use crate::support::control_plane::{ControlPlane, Crds, Identity, binary};
use crate::support::kinds::collection_of;
use crate::support::rest::Rest;
use crate::support::world;

const NODES: usize = 5_000;
const POLICIES: usize = 2_000;

pub fn host_endpoint(at: usize) -> Value {
    let node = node(at);
    let name = node["metadata"]["name"].as_str().expect("a name");
    let address = node["status"]["addresses"][0]["address"].clone();
    let mut object = world::object(
        "HostEndpoint",
        &format!("{name}-eth0"),
        json!({"node": name, "interfaceName": "eth0", "expectedIPs": [address]}),
    );
    object["metadata"]["labels"] = json!({"kubernetes.io/hostname": name, "kubernetes.io/os": "linux"});
    object
}

/// One that lets everything in until a policy refuses it, as automatic host endpoints do.
pub fn open_host_endpoint(at: usize) -> Value {
    let mut object = host_endpoint(at);
    object["spec"]["profiles"] = json!(["projectcalico-default-allow"]);
    object
}

fn plan(policies: usize) -> Value {
    let policy = |at: usize| {
        let spec = json!({
            "order": at, "selector": "kubernetes.io/hostname == 'node-000001'", "types": ["Ingress"],
            "ingress": [{"action": "Allow", "protocol": "TCP", "destination": {"ports": [at + 1]}}],
        });
        (format!("security.p{at:04}"), json!({"spec": spec}))
    };
    let policies: serde_json::Map<String, Value> = (0..policies).map(policy).collect();
    json!({
        "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": "size"},
        "spec": {
            "cluster": {"platform": "generic"}, "tiers": {"security": {"order": 500}}, "policies": policies,
            "nodes": {"one": {"names": ["node-000001"], "labels": {"guarded": "yes"}}},
        },
    })
}

pub fn row(what: &str, ran: &Ran, goal: &'static str) -> Row {
    Row::ours(what, format!("{}, {:.0} MiB", seconds(ran.took), ran.peak), goal)
}

pub fn rows() -> Vec<Row> {
    if binary().is_none() {
        eprintln!("not run: HOSTGUARD_CPSERVER names no server (make bench builds one)");
        return Vec::new();
    }
    let server = ControlPlane::start(Crds::V3, &[]);
    world::fresh_calico(&server);
    fill(&server);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a temporary folder");
        path.to_str().expect("a plain path").to_string()
    };
    let small = file("small.yaml", &plan(1).to_string());
    let large = file("large.yaml", &plan(POLICIES).to_string());
    let live = folder
        .path()
        .join("live.json")
        .to_str()
        .expect("a plain path")
        .to_string();
    let run = |args: &[&str], code| {
        let mut command = hostguard(Path::new(env!("CARGO_MANIFEST_DIR")));
        command.args(args).env("KUBECONFIG", server.kubeconfig(Identity::Admin));
        watched(command).ended(&[code])
    };
    let snapshot = run(&["snapshot", "--out", &live], 0);
    let offline = run(&["plan", &small, "--live", &live], 0);
    let planned = run(&["plan", &small], 0);
    let planned_large = run(&["plan", &large], 0);
    let applied = run(&["apply", &large, "--yes"], 0);
    let again = run(&["apply", &large, "--yes"], 0);
    let destroyed = run(&["destroy", &large, "--yes"], 0);
    let on = "5,000 nodes, 5,000 host endpoints";
    vec![
        row(&format!("plan on a snapshot file, {on}"), &offline, "64 MiB"),
        row(&format!("plan on a server, {on}"), &planned, "64 MiB"),
        row(&format!("snapshot, {on}"), &snapshot, ""),
        row("plan of 2,000 policies there", &planned_large, ""),
        row("apply of 2,000 policies there", &applied, ""),
        row("apply with nothing to do there", &again, ""),
        row("destroy of 2,000 policies there", &destroyed, ""),
    ]
}

/// Four at a time: ten thousand objects one by one take a minute.
fn fill(server: &ControlPlane) {
    let kubeconfig = server.kubeconfig(Identity::Admin);
    std::thread::scope(|scope| {
        for part in 0..4 {
            let kubeconfig = &kubeconfig;
            scope.spawn(move || {
                let rest = Rest::new(kubeconfig);
                for at in (part..NODES).step_by(4) {
                    let mut node = node(at);
                    for field in ["uid", "resourceVersion"] {
                        node["metadata"].as_object_mut().expect("metadata").remove(field);
                    }
                    for object in [node, host_endpoint(at)] {
                        rest.post(&collection_of(&object), &object).ok();
                    }
                }
            });
        }
    });
    std::thread::sleep(Duration::from_millis(100));
}
