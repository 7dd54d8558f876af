//! Where Calico's API is served in other ways than as native resources.
//!
//! The aggregated API server is played by the fault proxy (`support/aggregated.rs`): what was recorded of a real one,
//! laid over the native server. Native, v1-only and the Enterprise schema are the real API server (`workshop.rs`).

use std::time::Duration;

use hostguard::changes::{Change, Op};
use hostguard::provider::cluster::{Cluster, Connect};
use hostguard::provider::{Provider, Why};
use hostguard::resource::{Key, Kind, Origin};
use serde_json::json;

use super::workshop::{content, controller, shop};
use crate::support::aggregated::Aggregated;
use crate::support::cluster::{hostguard_on, plan_file};
use crate::support::control_plane::Identity;
use crate::support::fault_proxy::FaultProxy;
use crate::support::faulty::run;
use crate::support::kinds::calico;
use crate::support::live::{eventually, live};

const EKS: [&str; 3] = ["plans/eks-nodeport.yaml", "--set", "trusted=203.0.113.7/32"];

#[test]
fn behind_an_aggregated_server_there_is_nothing_to_do_after_an_apply() {
    let Some(server) = live!() else { return };
    shop(&server);
    let _controller = controller(&server);
    let before = content(&server);
    let proxy = FaultProxy::before(&server);
    proxy.aggregated(Aggregated::default());
    let kubeconfig = proxy.kubeconfig(Identity::AdminToken);
    let hostguard = |verb: &str, more: &[&str]| {
        let args = if verb == "destroy" { &EKS[..1] } else { &EKS[..] };
        let came = run(&proxy, &kubeconfig, &[&[verb], args, more].concat());
        (
            came.ran.code,
            format!("{}{}", came.ran.stdout, came.ran.stderr),
            came.seen,
        )
    };
    eventually(
        "the controller has reported",
        Duration::from_secs(10),
        || match hostguard("plan", &["--detailed-exitcode"]) {
            (2, told, _) if told.contains("Calico v3 by its API server") => Ok(()),
            (_, told, _) => Err(told),
        },
    );
    let (code, told, _) = hostguard("apply", &["--yes"]);
    assert_eq!(code, 0, "{told}");
    let (code, told, seen) = hostguard("plan", &["--detailed-exitcode"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("Nothing to do"), "{told}");
    assert!(seen.iter().all(|seen| !seen.writes()));
    let (code, told, seen) = hostguard("apply", &["--yes"]);
    assert_eq!(
        (code, seen.iter().filter(|seen| seen.writes()).count()),
        (0, 0),
        "{told}"
    );
    let (code, told, _) = hostguard("destroy", &["--yes"]);
    assert_eq!(code, 0, "{told}");
    eventually("what was there before is there again", Duration::from_secs(10), || {
        if content(&server) == before {
            Ok(())
        } else {
            Err(format!("{:#?}", content(&server)))
        }
    });
}

/// What Calico's own validation refuses comes as a plain 500: nothing was stored, and it is not asked twice.
#[test]
fn an_object_that_the_aggregated_server_finds_invalid_is_sent_once() {
    let Some(server) = live!() else { return };
    let proxy = FaultProxy::before(&server);
    proxy.aggregated(Aggregated::default());
    let runtime = crate::support::pipeline::runtime();
    let change = Change {
        key: Key::cluster(Kind::GlobalNetworkSet, "odd"),
        op: Op::Create {
            object: json!({"metadata": {"name": "odd"}, "spec": {"nets": ["not-a-cidr"]}}),
        },
        fields: Vec::new(),
        origin: Origin {
            section: "test".into(),
            span: None,
        },
        needs: Vec::new(),
    };
    let refusal = runtime.block_on(async {
        let kubeconfig = Some(proxy.kubeconfig(Identity::AdminToken));
        let connect = Connect {
            kubeconfig,
            ..Connect::default()
        };
        let cluster = Cluster::connect(connect).await.expect("the proxy is up");
        cluster.perform(&change).await.expect_err("it is refused")
    });
    assert_eq!(refusal.why, Why::Other);
    assert!(
        refusal.message.starts_with("error with field Nets[0] = 'not-a-cidr'"),
        "{refusal:?}"
    );
    assert_eq!(proxy.take().len(), 1);
    assert_eq!(server.rest().get(&calico("globalnetworksets", "odd")).status, 404);
}

#[test]
fn an_aggregated_server_that_is_down_is_said_and_nothing_is_taken_for_absent() {
    let Some(server) = live!() else { return };
    shop(&server);
    let proxy = FaultProxy::before(&server);
    proxy.aggregated(Aggregated { down: true });
    let kubeconfig = proxy.kubeconfig(Identity::AdminToken);
    let plan = plan_file("tiers: { security: { order: 500 } }");
    for verb in ["plan", "apply"] {
        let yes: &[&str] = if verb == "apply" { &["--yes"] } else { &[] };
        let came = run(
            &proxy,
            &kubeconfig,
            &[&[verb, plan.path(), "--request-timeout", "3"], yes].concat(),
        );
        let told = came.told(&proxy);
        assert_eq!((came.ran.code, came.writes().len()), (1, 0), "{told}");
        let told = told.split_whitespace().collect::<Vec<_>>().join(" ");
        let said = "error[HG0521] Tier/security could not be read: failed: Calico's API server does not answer: \
                    service unavailable (see kubectl get apiservice v3.projectcalico.org)";
        assert!(told.contains(said), "{told}");
    }
}

#[test]
fn while_the_datastore_is_locked_nothing_is_applied_or_destroyed() {
    let Some(server) = live!() else { return };
    shop(&server);
    let plan = plan_file("tiers: { security: { order: 500 } }");
    let lock = |ready: bool| {
        let patch = json!({"spec": {"datastoreReady": ready}});
        server
            .rest()
            .merge(&calico("clusterinformations", "default"), &patch)
            .ok();
    };
    let hostguard =
        |verb: &str, more: &[&str]| hostguard_on(&server, Identity::AdminToken, &[&[verb, plan.path()], more].concat());
    lock(false);
    assert_eq!(hostguard("plan", &[]).code, 0, "looking is allowed");
    let mark = server.audit().mark();
    let ran = hostguard("apply", &["--yes"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(
        ran.stderr
            .contains("error[HG0707] ClusterInformation/default: datastoreReady is false"),
        "{}",
        ran.stderr
    );
    assert!(server.audit().since(mark).iter().all(|entry| !entry.writes()));
    lock(true);
    assert_eq!(hostguard("apply", &["--yes"]).code, 0);
    lock(false);
    let done = server.audit().mark();
    let ran = hostguard("destroy", &["--yes"]);
    assert_eq!(ran.code, 1, "{}", ran.stdout);
    assert!(ran.stderr.contains("HG0707"), "{}", ran.stderr);
    assert!(server.audit().since(done).iter().all(|entry| !entry.writes()));
}
