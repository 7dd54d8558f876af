//! The proven order on a real server: what opens is written once what closes holds, and not at all when it does not.

use hostguard::resource::Key;
use serde_json::Value;

use super::moving::BEHIND_A_WAIT;
use super::workshop::{controller, shop};
use crate::support::cluster::{hostguard_on, plan_file};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::fault_proxy::FaultProxy;
use crate::support::faulty::run;
use crate::support::kinds::calico;
use crate::support::live::live;
use crate::support::script::{Said, on};

const SERVICE: &str = "/api/v1/namespaces/hipstershop/services/frontend-nodeport";

/// When an object was last written, as etcd counts.
fn revision(object: &Value) -> u64 {
    let version = object["metadata"]["resourceVersion"].as_str().expect("a version");
    version.parse().expect("etcd's revision")
}

fn object(server: &ControlPlane, path: &str) -> Value {
    server.rest().get(path).ok()
}

#[test]
fn a_node_port_opens_once_the_host_endpoint_has_the_label() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    let plan = plan_file(BEHIND_A_WAIT);
    let proven = hostguard_on(&server, Identity::Admin, &["plan", plan.path(), "-o", "json"]);
    let proven: Value = serde_json::from_str(&proven.stdout).expect("an answer");
    let mark = server.audit().mark();
    let ran = hostguard_on(&server, Identity::Admin, &["apply", plan.path(), "--yes"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let writes = server.audit().since(mark).into_iter();
    let writes = writes.filter(|entry| entry.writes() && entry.resource != "configmaps");
    let written: Vec<String> = writes.map(|entry| entry.resource).collect();
    let steps = proven["steps"].as_array().expect("steps").iter();
    let steps: Vec<&str> = steps
        .filter_map(|step| Some(Key::parse(step["key"].as_str()?)?.kind.api().plural))
        .collect();
    assert_eq!(written, steps, "the order of the proof is the order of the writes");
    let endpoint = object(&server, &calico("hostendpoints", "ip-10-0-1-5-auto-hep"));
    assert_eq!(endpoint["metadata"]["labels"]["host-end-point"], "test");
    let policy = object(&server, &calico("globalnetworkpolicies", "security.deny"));
    let service = object(&server, SERVICE);
    assert!(revision(&policy) < revision(&endpoint), "the label arms what is there");
    assert!(revision(&endpoint) < revision(&service), "the port opens last");

    let mark = server.audit().mark();
    let ran = hostguard_on(&server, Identity::Admin, &["destroy", plan.path(), "--yes"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let writes = server.audit().since(mark).into_iter().filter(|entry| entry.writes());
    let written: Vec<String> = writes.map(|entry| entry.resource).collect();
    let place = |resource: &str| written.iter().position(|one| one == resource);
    assert!(
        place("services").expect("deleted") < place("nodes").expect("patched"),
        "{written:?}"
    );
}

#[test]
fn what_opens_is_not_made_when_what_closes_failed() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    let plan = plan_file(BEHIND_A_WAIT);
    let proxy = FaultProxy::before(&server);
    let refuse = Said::status(403, "Forbidden", "admission webhook says no");
    proxy.script([on("PATCH", "/api/v1/nodes/ip-10-0-1-5").then(refuse.into())]);
    let kubeconfig = proxy.kubeconfig(Identity::Admin);
    let came = run(&proxy, &kubeconfig, &["apply", plan.path(), "--yes"]);
    let told = format!("{}{}", came.ran.stdout, came.ran.stderr);
    assert_eq!(came.ran.code, 5, "{told}");
    assert!(
        told.contains("Service/hipstershop/frontend-nodeport: skipped: an earlier step failed"),
        "{told}"
    );
    assert_eq!(server.rest().get(SERVICE).status, 404, "the port stays closed");

    proxy.script([]);
    let came = run(&proxy, &kubeconfig, &["apply", plan.path(), "--yes"]);
    assert_eq!(came.ran.code, 0, "{}{}", came.ran.stdout, came.ran.stderr);
    assert_eq!(object(&server, SERVICE)["spec"]["type"], "NodePort");
}
