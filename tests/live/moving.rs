//! A world that moves under a run: at the prompt, and between reading and writing.

use std::io::{Read, Write};
use std::process::Stdio;
use std::time::Duration;

use serde_json::{Value, json};

use super::workshop::{controller, shop};
use crate::support::cluster::{command_on, hostguard_on, plan_file, terminal};
use crate::support::command::finish;
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::fault_proxy::FaultProxy;
use crate::support::kinds::calico;
use crate::support::live::{eventually, live};
use crate::support::script::{Fault, on};
use crate::support::world::{self, Node};

const EVERY_NODE: &str = "nodes: { guarded: { all: true, labels: { host-end-point: test } } }";

/// The Service opens, so it waits until the policy holds.
pub const BEHIND_A_WAIT: &str = "\
hostEndpoints: { autoCreate: Enabled }
nodes: { guarded: { names: [ip-10-0-1-5], labels: { host-end-point: test } } }
services:
  frontend-nodeport:
    namespace: hipstershop
    expose: deployment/frontend
    ports: [{ port: 80, targetPort: 8080, nodePort: 30002 }]
tiers: { security: { order: 500 } }
policies:
  security.deny:
    spec:
      order: 1
      selector: host-end-point == 'test'
      preDNAT: true
      applyOnForward: true
      types: [Ingress]
      ingress: [{ action: Deny, protocol: TCP, destination: { ports: [30002] } }]
";

/// What is told up to these words, or up to the end.
fn read_until(stderr: &mut impl Read, words: &str) -> String {
    let mut told = String::new();
    let mut byte = [0];
    while !told.ends_with(words) && stderr.read(&mut byte).expect("a pipe can be read") == 1 {
        told.push(char::from(byte[0]));
    }
    told
}

/// Runs apply at a terminal; `meanwhile` happens between the question and the answer.
fn answer(server: &ControlPlane, plan: &str, meanwhile: impl FnOnce(), answer: &str) -> (i32, String) {
    let (mut ours, theirs) = terminal();
    let mut command = command_on(server, Identity::Admin, &["apply", plan]);
    let mut child = command
        .stdin(theirs)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stderr = child.stderr.take().expect("a pipe");
    let mut told = read_until(&mut stderr, "is a yes: ");
    assert!(told.ends_with("is a yes: "), "no question: {told}");
    meanwhile();
    ours.write_all(answer.as_bytes()).expect("a terminal can be written");
    stderr.read_to_string(&mut told).expect("text");
    let code = child.wait().expect("it ends").code().expect("by itself");
    (code, told)
}

#[test]
fn a_node_added_and_one_deleted_at_the_prompt_make_it_stale() {
    let Some(server) = live!() else { return };
    shop(&server);
    let plan = plan_file(EVERY_NODE);
    let mark = server.audit().mark();
    let meanwhile = || {
        Node::named("ip-10-0-9-9").internal_ip("10.0.9.9").create(&server);
        server.rest().delete("/api/v1/nodes/ip-10-0-2-7").ok();
    };
    let (code, told) = answer(&server, plan.path(), meanwhile, "yes\n");
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("HG0703"), "{told}");
    assert!(told.contains("new: update Node/ip-10-0-9-9"), "{told}");
    assert!(told.contains("no longer needed: update Node/ip-10-0-2-7"), "{told}");
    let writes: Vec<_> = server.audit().since(mark).into_iter().filter(|e| e.writes()).collect();
    assert!(writes.is_empty(), "{writes:#?}");
}

#[test]
fn yes_at_the_prompt_applies_and_anything_else_does_not() {
    let Some(server) = live!() else { return };
    shop(&server);
    let plan = plan_file("tiers: { security: { order: 500 } }");
    let (code, told) = answer(&server, plan.path(), || {}, "y\n");
    assert_eq!(code, 1, "{told}");
    assert!(told.contains("HG0701"), "{told}");
    assert_eq!(server.rest().get(&calico("tiers", "security")).status, 404);
    let (code, told) = answer(&server, plan.path(), || {}, "yes\n");
    assert_eq!(code, 0, "{told}");
    server.rest().get(&calico("tiers", "security")).ok();
}

/// A heartbeat changes a node's version and nothing that was approved.
#[test]
fn a_version_that_moves_at_the_prompt_is_not_stale() {
    let Some(server) = live!() else { return };
    shop(&server);
    let plan = plan_file(EVERY_NODE);
    let heartbeat = || {
        let status = json!({"status": {"conditions": [{"type": "Ready", "status": "True", "reason": "Heartbeat"}]}});
        server.rest().merge("/api/v1/nodes/ip-10-0-1-5/status", &status).ok();
    };
    let (code, told) = answer(&server, plan.path(), heartbeat, "yes\n");
    assert_eq!(code, 0, "{told}");
}

/// The last write is under way when somebody's policy takes its effect away: no later step is left that a look could
/// stop, so it is said.
#[test]
fn what_takes_the_effect_of_the_last_step_away_is_said() {
    let Some(server) = live!() else { return };
    shop(&server);
    world::auto_create(&server, "Enabled");
    let _controller = controller(&server);
    let label = json!({"metadata": {"labels": {"host-end-point": "test"}}});
    server.rest().merge("/api/v1/nodes/ip-10-0-1-5", &label).ok();
    world::create(&server, "Tier", "security", json!({"order": 500}));
    let port = json!([{"action": "Allow", "protocol": "TCP", "destination": {"ports": [30002]}}]);
    let rules = |order: u32, ingress: &Value| {
        json!({"tier": "security", "order": order, "selector": "host-end-point == 'test'", "preDNAT": true,
            "applyOnForward": true, "types": ["Ingress"], "ingress": ingress})
    };
    eventually("the node has its label", Duration::from_secs(10), || {
        let endpoint = server.rest().get(&calico("hostendpoints", "ip-10-0-1-5-auto-hep")).body;
        match endpoint["metadata"]["labels"]["host-end-point"].as_str() {
            Some("test") => Ok(()),
            _ => Err(endpoint.to_string()),
        }
    });
    let plan = plan_file(
        "
policies:
  security.deny:
    spec:
      order: 10
      selector: host-end-point == 'test'
      preDNAT: true
      applyOnForward: true
      types: [Ingress]
      ingress: [{ action: Deny, protocol: TCP, destination: { ports: [30002] } }]
",
    );
    world::namespace(&server, "hostguard");
    let proxy = FaultProxy::before(&server);
    proxy.script([on("POST", "*globalnetworkpolicies*").then(Fault::Slow(Duration::from_secs(3)))]);
    let mut command = command_on(&server, Identity::Admin, &["apply", plan.path(), "--yes"]);
    let child = command
        .env("KUBECONFIG", proxy.kubeconfig(Identity::AdminToken))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let policy = calico("globalnetworkpolicies", "security.deny");
    eventually("the policy is there", Duration::from_secs(60), || {
        match server.rest().get(&policy).status {
            200 => Ok(()),
            status => Err(status.to_string()),
        }
    });
    world::create(&server, "GlobalNetworkPolicy", "security.theirs", rules(1, &port));
    let ran = finish(child.wait_with_output().expect("it ends"));
    let told: Vec<&str> = ran.stderr.split_whitespace().collect();
    let told = told.join(" ");
    assert_eq!(ran.code, 7, "{told}");
    for words in [
        "HG0716",
        "every step was made, and somebody changed meanwhile where they lead",
        "GlobalNetworkPolicy/security.theirs is new",
    ] {
        assert!(told.contains(words), "{words}: {told}");
    }
}

#[test]
fn interrupted_it_reports_and_a_second_apply_goes_on() {
    let Some(server) = live!() else { return };
    shop(&server);
    // no controller runs, so apply waits for host endpoints until it is interrupted
    let plan = plan_file(BEHIND_A_WAIT);
    let mut command = command_on(
        &server,
        Identity::Admin,
        &["apply", plan.path(), "--yes", "--wait", "4"],
    );
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stderr = child.stderr.take().expect("a pipe");
    let mut told = read_until(&mut stderr, "waiting for Calico");
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("our own child");
    stderr.read_to_string(&mut told).expect("text");
    let code = child.wait().expect("it ends").code().expect("by itself");
    assert_eq!(code, 130, "{told}");
    assert!(told.contains("HG0712"), "{told}");
    assert_eq!(
        server
            .rest()
            .get("/api/v1/namespaces/hipstershop/services/frontend-nodeport")
            .status,
        404,
        "the rest was skipped"
    );
    let destroy = || {
        hostguard_on(
            &server,
            Identity::Admin,
            &["destroy", plan.path(), "--yes", "--wait", "1"],
        )
    };
    // What controllers still have to make could meet a step half-way: it waits for them, and is not made without.
    let waiting = destroy();
    assert_eq!(waiting.code, 7, "{}{}", waiting.stdout, waiting.stderr);
    let node = server.rest().get("/api/v1/nodes/ip-10-0-1-5").ok();
    assert_eq!(node["metadata"]["labels"]["host-end-point"], "test");
    let _controller = controller(&server);
    let destroyed = destroy();
    assert_eq!(destroyed.code, 0, "{}{}", destroyed.stdout, destroyed.stderr);
    let config = server
        .rest()
        .get(&calico("kubecontrollersconfigurations", "default"))
        .ok();
    assert_eq!(
        config["spec"]["controllers"]["node"]["hostEndpoint"]["autoCreate"],
        "Disabled"
    );
}

/// Somebody else's policy, made after the last step, lets everybody in before the guard is asked.
#[test]
fn an_expectation_that_is_lost_on_the_way_is_said_after_apply() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    let args = [
        "apply",
        "plans/eks-nodeport.yaml",
        "--set",
        "trusted=203.0.113.7/32",
        "--yes",
    ];
    let mut command = command_on(&server, Identity::Admin, &args);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut stderr = child.stderr.take().expect("a pipe");
    let mut told = read_until(&mut stderr, "Service/hipstershop/frontend-nodeport: done");
    let allow = json!([{"action": "Allow", "protocol": "TCP", "destination": {"ports": [30080]}}]);
    let spec = json!({"tier": "security", "order": 1, "selector": "all()", "preDNAT": true, "applyOnForward": true,
        "types": ["Ingress"], "ingress": allow});
    world::create(&server, "GlobalNetworkPolicy", "security.everybody", spec);
    stderr.read_to_string(&mut told).expect("text");
    let code = child.wait().expect("it ends").code().expect("by itself");
    assert_eq!(code, 7, "{told}");
    for said in [
        "HG0709",
        "somebody it shuts out gets in",
        "others -> guarded, frontend-nodeport is expected blocked",
    ] {
        assert!(
            told.split_whitespace().collect::<Vec<_>>().join(" ").contains(said),
            "{said}: {told}"
        );
    }
}
