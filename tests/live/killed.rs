//! kill -9 at every write of a run, before and after the server made it: the next run ends in the same state, and what
//! was there before comes back.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::workshop::{content, controller, shop};
use crate::support::cluster::{command_on, hostguard_on, plan_file};
use crate::support::command::{finish, hostguard};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::fault_proxy::FaultProxy;
use crate::support::live::live;
use crate::support::script::{Fault, on};
use crate::support::world;

/// What a run leaves, apart from the numbers of locks.
fn left(server: &ControlPlane) -> Vec<Value> {
    let mut all = content(server);
    for object in &mut all {
        if object["kind"] == "Service"
            && let Some(spec) = object["spec"].as_object_mut()
        {
            spec.retain(|field, _| !field.starts_with("clusterIP")); // the server's choice
        }
        let text = object.pointer_mut("/data/inventory.json");
        if let Some(Value::String(text)) = text {
            *text = text.lines().filter(|line| !line.contains("\"fence\"")).collect();
        }
    }
    all
}

fn through(proxy: &FaultProxy, args: &[&str]) -> Child {
    let mut command = hostguard(std::path::Path::new(env!("CARGO_MANIFEST_DIR")));
    command
        .args(args)
        .env("KUBECONFIG", proxy.kubeconfig(Identity::AdminToken))
        .env("HOME", "/nonexistent");
    command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts")
}

/// Kills the run when its n-th write is on its way. `false`: it ended before, with success.
fn killed(proxy: &FaultProxy, args: &[&str], nth: usize, fault: Fault) -> bool {
    proxy.take();
    proxy.script([on("write", "*").nth(nth).then(fault)]);
    let mut child = through(proxy, args);
    let end = Instant::now() + Duration::from_secs(120);
    loop {
        if proxy.take().iter().any(|seen| seen.faulted) {
            // what the server was asked is done soon: the answer is kept until then
            std::thread::sleep(Duration::from_millis(100));
            child.kill().expect("it runs");
            child.wait().expect("it ends");
            return true;
        }
        if let Some(status) = child.try_wait().expect("it can be asked") {
            let ran = finish(child.wait_with_output().expect("it ended"));
            assert!(status.success(), "{}{}", ran.stdout, ran.stderr);
            return false;
        }
        assert!(
            Instant::now() < end,
            "the run neither ends nor comes to its write {nth}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn done(mut command: Command) -> String {
    let ran = finish(command.output().expect("the binary starts"));
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    ran.stdout + &ran.stderr
}

/// The lock of a killed run ends by itself; where that is not what is looked at, it is taken away.
fn free(server: &ControlPlane) {
    server
        .rest()
        .delete("/apis/coordination.k8s.io/v1/namespaces/hostguard/leases/hostguard-shop");
}

#[test]
fn killed_at_any_write_the_next_run_ends_in_the_same_state() {
    let Some(server) = live!() else { return };
    shop(&server);
    let proxy = FaultProxy::before(&server);
    let plan = plan_file(
        "tiers: { security: { order: 500 } }
networkSets: { partners: { nets: [ 203.0.113.0/24 ] } }
nodes: { guarded: { names: [ ip-10-0-2-7 ], labels: { guarded: 'yes' } } }
claims:
  - { kind: FelixConfiguration, name: default, set: { logSeverityScreen: Warning } }",
    );
    let (apply, destroy) = (
        ["apply", plan.path(), "--yes", "--settle", "0", "--wait", "1"],
        ["destroy", plan.path(), "--yes", "--settle", "0", "--wait", "1"],
    );
    // the namespace of the records stays, so that every round is alike
    world::namespace(&server, "hostguard");
    let start = left(&server);
    done(command_on(&server, Identity::Admin, &apply));
    let end = left(&server);
    assert_ne!(start, end);
    done(command_on(&server, Identity::Admin, &destroy));
    assert_eq!(left(&server), start);

    let mut points = 0;
    for (args, from, to) in [(&apply, &start, &end), (&destroy, &end, &start)] {
        for nth in 1.. {
            let mut further = false;
            for fault in [Fault::Hang, Fault::KeepAnswer] {
                let after = format!("after write {nth} of {} ({fault:?})", args[0]);
                let was_killed = killed(&proxy, args, nth, fault);
                further |= was_killed;
                if was_killed {
                    points += 1;
                    free(&server);
                    done(command_on(&server, Identity::Admin, args));
                }
                assert_eq!(&left(&server), to, "{after}");
                // back to where the round began: what was found is known, however often it was torn
                let back = if args[0] == "apply" { &destroy } else { &apply };
                done(command_on(&server, Identity::Admin, back));
                assert_eq!(&left(&server), from, "{after}, and back");
            }
            if !further {
                break;
            }
        }
        // the next round begins where this one ended
        done(command_on(&server, Identity::Admin, args));
    }
    assert!(points >= 20, "{points} points to die at");
    eprintln!("killed at {points} points");
}

/// The workshop's plan, with its wait for controllers; here the lock is left to end by itself.
#[test]
fn a_killed_run_of_the_workshop_is_taken_up_once_its_lock_has_ended() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    let proxy = FaultProxy::before(&server);
    let args = [
        "apply",
        "plans/eks-nodeport.yaml",
        "--set",
        "trusted=203.0.113.7/32",
        "--yes",
        "--settle",
        "0",
    ];
    done(command_on(&server, Identity::Admin, &args));
    let end = left(&server);
    done(command_on(
        &server,
        Identity::Admin,
        &["destroy", "plans/eks-nodeport.yaml", "--yes"],
    ));
    let start = left(&server);

    assert!(killed(&proxy, &args, 8, Fault::KeepAnswer));
    let locked = hostguard_on(&server, Identity::Admin, &args);
    assert_eq!(locked.code, 6, "{}{}", locked.stdout, locked.stderr);
    assert!(locked.stderr.contains("HG0713"), "{}", locked.stderr);
    let began = Instant::now();
    let story = done(command_on(
        &server,
        Identity::Admin,
        &[&args[..], &["--lock-timeout", "60"]].concat(),
    ));
    assert!(story.contains("waiting for the lock"), "{story}");
    assert!(
        began.elapsed() < Duration::from_secs(30),
        "a dead lock is free after eight seconds, and some for the run"
    );
    assert_eq!(left(&server), end);
    let history = hostguard_on(&server, Identity::Admin, &["history", "plans/eks-nodeport.yaml"]);
    assert!(
        history.stdout.contains("apply: killed on the way; a later run went on"),
        "{}",
        history.stdout
    );
    done(command_on(
        &server,
        Identity::Admin,
        &["destroy", "plans/eks-nodeport.yaml", "--yes"],
    ));
    assert_eq!(left(&server), start);
}

/// A process that is stopped for longer than its lock lasts writes nothing when it goes on.
#[test]
fn a_run_that_stood_still_writes_nothing_under_a_lost_lock() {
    let Some(server) = live!() else { return };
    shop(&server);
    world::namespace(&server, "hostguard");
    let proxy = FaultProxy::before(&server);
    let first = plan_file(
        "tiers: { security: { order: 500 }, later: { order: 600 } }\nnetworkSets: { one: { nets: [ 203.0.113.0/24 ] } }",
    );
    let second = plan_file("tiers: { security: { order: 900 } }");
    let apply = |path: &str| {
        [
            "apply".to_string(),
            path.to_string(),
            "--yes".into(),
            "--settle".into(),
            "0".into(),
            "--wait".into(),
            "1".into(),
        ]
    };
    let (one, two) = (apply(first.path()), apply(second.path()));
    let (one, two): (Vec<&str>, Vec<&str>) = (
        one.iter().map(String::as_str).collect(),
        two.iter().map(String::as_str).collect(),
    );
    // it stands still while its record is written, before any step
    proxy.take();
    proxy.script([on("write", "*configmaps*")
        .nth(2)
        .then(Fault::Slow(Duration::from_secs(3)))]);
    let mut child = through(&proxy, &one);
    while !proxy.take().iter().any(|seen| seen.faulted) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let id = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(id, rustix::process::Signal::STOP).expect("it runs");
    let took = done(command_on(
        &server,
        Identity::Admin,
        &[&two[..], &["--lock-timeout", "60"]].concat(),
    ));
    assert!(took.contains("waiting for the lock"), "{took}");
    let after = left(&server);
    proxy.take();
    rustix::process::kill_process(id, rustix::process::Signal::CONT).expect("it is stopped");
    let status = child.wait().expect("it ends");
    let ran = finish(child.wait_with_output().expect("it ended"));
    assert_eq!(status.code(), Some(6), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("HG0714"), "{}", ran.stderr);
    let steps = proxy
        .take()
        .into_iter()
        .filter(|seen| seen.writes() && !seen.path.contains("/leases/"));
    assert_eq!(
        steps.collect::<Vec<_>>(),
        [],
        "no write but the question whether the lock is still its own"
    );
    assert_eq!(left(&server), after);
}

/// Somebody changes what a step left, before the next one: no further step is made.
#[test]
fn an_edit_between_two_steps_stops_the_rest() {
    let Some(server) = live!() else { return };
    shop(&server);
    let proxy = FaultProxy::before(&server);
    let plan = plan_file(
        "tiers: { security: { order: 500 } }
policies:
  security.late:
    spec:
      selector: app == 'frontend'
      types: [Ingress]
      ingress: [ { action: Deny, protocol: TCP, destination: { ports: [ 9999 ] } }, { action: Allow } ]",
    );
    proxy.take();
    proxy.script([on("POST", "*/tiers").then(Fault::Slow(Duration::from_secs(3)))]);
    let child = through(&proxy, &["apply", plan.path(), "--yes", "--settle", "0", "--wait", "1"]);
    let tier = crate::support::kinds::calico("tiers", "security");
    crate::support::live::eventually("the tier is there", Duration::from_secs(30), || {
        let order = serde_json::json!({"spec": {"order": 900}});
        let answer = server.rest().merge(&tier, &order);
        if answer.status == 200 {
            Ok(())
        } else {
            Err(answer.status.to_string())
        }
    });
    let ran = finish(child.wait_with_output().expect("it ends"));
    assert_eq!(ran.code, 5, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("HG0716"), "{}", ran.stderr);
    assert!(
        ran.stderr.contains("Tier/security is not as it was left"),
        "{}",
        ran.stderr
    );
    let policies = server
        .rest()
        .list(&crate::support::kinds::calico("globalnetworkpolicies", ""));
    assert!(
        policies
            .iter()
            .all(|policy| policy["metadata"]["name"] != "security.late"),
        "{policies:#?}"
    );
}
