//! The proven order on a real server: what opens is written once what closes holds, and not at all when it does not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use hostguard::changes::{Change, Op};
use hostguard::provider::Provider;
use hostguard::provider::snapshot::Snapshot;
use hostguard::resource::{CALICO_GROUP, Key, Kind};
use hostguard::state::{Scope, State};
use serde_json::Value;

use super::moving::BEHIND_A_WAIT;
use super::workshop::{controller, shop};
use crate::support::cluster::{hostguard_on, plan_file};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::fault_proxy::FaultProxy;
use crate::support::faulty::run;
use crate::support::kinds::{calico, collection_of};
use crate::support::live::{eventually, live};
use crate::support::pipeline::{accepting, difference, runtime};
use crate::support::plans::check;
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
    let writes = writes.filter(|entry| entry.writes() && entry.resource != "configmaps" && entry.resource != "leases");
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

fn make(server: &ControlPlane, change: &Change) {
    let at = |object: &Value| format!("{}/{}", collection_of(object), change.key.name);
    match &change.op {
        Op::Create { object } => server.rest().create(object),
        Op::Update { before, patch } => server.rest().merge(&at(before), patch).ok(),
        Op::Delete { before } => server.rest().delete(&at(before)).ok(),
    };
}

fn live_state(server: &ControlPlane) -> State {
    let file = tempfile::NamedTempFile::new().expect("a temporary folder can be written");
    let path = file.path().to_str().expect("text");
    let ran = hostguard_on(server, Identity::Admin, &["snapshot", "--out", path]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let provider = Snapshot::open(file.path()).expect("just written");
    let scope = Scope {
        kinds: Kind::ALL.into_iter().collect(),
        inventory_namespace: "hostguard".into(),
        cloud: None,
    };
    runtime().block_on(provider.read(&scope)).expect("it can be read")
}

/// What of the prediction is not so on the server. The server adds fields of its own to Kubernetes' objects (a
/// Service's address); of Calico's kinds and of labels it may add none. No controller makes EndpointSlices here.
fn wrong(predicted: &State, live: &State) -> Vec<String> {
    fn within(predicted: &Value, live: &Value) -> bool {
        match (predicted, live) {
            (Value::Object(few), Value::Object(many)) => few
                .iter()
                .all(|(name, value)| many.get(name).is_some_and(|there| within(value, there))),
            (Value::Array(few), Value::Array(many)) => {
                few.len() == many.len() && few.iter().zip(many).all(|(a, b)| within(a, b))
            }
            (a, b) => a == b,
        }
    }
    let held = |state: &State| -> BTreeMap<String, (Kind, Value)> {
        let all = state.objects().filter(|(key, _)| key.kind != Kind::EndpointSlice);
        all.map(|(key, object)| {
            let mut object = object.open().into_owned();
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.retain(|name, _| ["name", "namespace", "labels"].contains(&name.as_str()));
            }
            // A server keeps no empty map, and leaves one behind.
            let empty = |part: &Value| part.as_object().is_some_and(serde_json::Map::is_empty);
            if let Some(parts) = object.as_object_mut() {
                parts.retain(|_, part| !empty(part));
            }
            (key.to_string(), (key.kind, object))
        })
        .collect()
    };
    let (predicted, live) = (held(predicted), held(live));
    let keys: BTreeSet<&String> = predicted.keys().chain(live.keys()).collect();
    let differs = |key: &&String| match (predicted.get(*key), live.get(*key)) {
        (Some((kind, wanted)), Some((_, there))) => {
            let exact = kind.api().group == CALICO_GROUP;
            !(within(wanted, there)
                && (!exact || (wanted["spec"] == there["spec"] && wanted["metadata"] == there["metadata"])))
        }
        _ => true,
    };
    let shown = |key: &String| format!("{key}: {:?} is {:?}", predicted.get(key), live.get(key));
    keys.into_iter().filter(differs).map(shown).collect()
}

#[test]
fn every_step_makes_of_the_cluster_what_was_predicted() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    let file = plan_file(BEHIND_A_WAIT);
    let plan = check(&std::fs::read_to_string(file.path()).expect("just written"));
    let mut state = live_state(&server);
    let set = difference(&plan, &state).expect("no conflict").set;
    let (sequence, accepted) = accepting(&state, &set);
    assert!(accepted.is_empty() && sequence.steps().len() >= 5, "{accepted:?}");
    for step in sequence.steps() {
        make(&server, &step.change);
        let predicted = state.after(&step.change).settled();
        state = eventually(&step.change.key.to_string(), Duration::from_secs(20), || {
            let live = live_state(&server);
            let wrong = wrong(&predicted, &live);
            if wrong.is_empty() {
                Ok(live)
            } else {
                Err(wrong.join("\n"))
            }
        });
    }
    assert!(difference(&plan, &state).expect("no conflict").set.steps.is_empty());
}
