//! Objects that move between reading and writing: compare-and-set on a real server.

use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use hostguard::apply::{Outcome, Report};
use hostguard::changes::{Change, Op};
use hostguard::error::Error;
use hostguard::plan::Plan;
use hostguard::provider::cluster::{Cluster, Connect};
use hostguard::provider::{Denied, Provider, Refusal, Why};
use hostguard::resource::{Key, Kind};
use hostguard::state::{Scope, State};
use serde_json::{Value, json};

use super::workshop::shop;
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::kinds::calico;
use crate::support::live::live;
use crate::support::pipeline::{apply_with, runtime};
use crate::support::plans;
use crate::support::world;

fn connect(server: &ControlPlane, runtime: &tokio::runtime::Runtime) -> Cluster {
    let kubeconfig = Some(server.kubeconfig(Identity::Admin));
    let connect = Connect {
        kubeconfig,
        context: None,
        request_timeout: Duration::from_secs(10),
    };
    runtime
        .block_on(Cluster::connect(connect))
        .expect("the server is up")
        .for_plan("shop")
}

fn order(order: u64) -> Plan {
    plans::parse(&json!({
        "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": "shop"},
        "spec": {"cluster": {"platform": "generic"}, "tiers": {"security": {"order": order}}},
    }))
}

/// A cluster where somebody is faster: between the last look and the first step.
struct Faster<F> {
    cluster: Cluster,
    then: Mutex<Option<F>>,
}

#[async_trait]
impl<F: FnOnce() + Send> Provider for Faster<F> {
    fn owns(&self, kind: Kind) -> bool {
        self.cluster.owns(kind)
    }

    async fn read(&self, scope: &Scope) -> Result<State, Error> {
        self.cluster.read(scope).await
    }

    async fn may(&self, changes: &[&Change]) -> Result<Vec<Denied>, Error> {
        self.cluster.may(changes).await
    }

    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal> {
        let step = !change.key.kind.bookkeeping() && change.key.kind != Kind::Namespace;
        let then = self.then.lock().expect("nobody panics holding it").take_if(|_| step);
        if let Some(then) = then {
            // it waits for answers of its own, which a thread of this runtime must not
            std::thread::scope(|scope| scope.spawn(then).join()).expect("it is done");
        }
        self.cluster.perform(change).await
    }
}

fn apply(server: &ControlPlane, plan: &Plan, between: impl FnOnce() + Send) -> Report {
    let runtime = runtime();
    let raced = Faster {
        cluster: connect(server, &runtime),
        then: Mutex::new(Some(between)),
    };
    apply_with(&runtime, plan, &raced).expect("something is written")
}

fn outcome_of<'a>(report: &'a Report, key: &str) -> &'a Outcome {
    &report
        .steps
        .iter()
        .find(|(k, _, _)| k.to_string() == key)
        .expect("a step")
        .2
}

#[test]
fn a_conflict_over_something_else_is_no_conflict() {
    let Some(server) = live!() else { return };
    shop(&server);
    world::create(&server, "Tier", "security", json!({"order": 700}));
    let report = apply(&server, &order(500), || {
        let label = json!({"metadata": {"labels": {"touched": "yes"}}});
        server.rest().merge(&calico("tiers", "security"), &label).ok();
    });
    assert_eq!(outcome_of(&report, "Tier/security"), &Outcome::Done);
    let tier = server.rest().get(&calico("tiers", "security")).ok();
    assert_eq!(
        (&tier["spec"]["order"], &tier["metadata"]["labels"]["touched"]),
        (&json!(500), &json!("yes"))
    );
}

#[test]
fn a_conflict_over_the_same_field_is_stale_and_writes_nothing() {
    let Some(server) = live!() else { return };
    shop(&server);
    world::create(&server, "Tier", "security", json!({"order": 700}));
    let report = apply(&server, &order(500), || {
        server
            .rest()
            .merge(&calico("tiers", "security"), &json!({"spec": {"order": 900}}))
            .ok();
    });
    let Outcome::Failed(refusal) = outcome_of(&report, "Tier/security") else {
        panic!("{report:#?}")
    };
    assert!(refusal.message.starts_with("stale: "), "{refusal:?}");
    assert_eq!(
        server.rest().get(&calico("tiers", "security")).ok()["spec"]["order"],
        900
    );
}

#[test]
fn an_object_that_appears_meanwhile_is_not_overwritten_and_not_ours() {
    let Some(server) = live!() else { return };
    shop(&server);
    let report = apply(&server, &order(500), || {
        world::create(&server, "Tier", "security", json!({"order": 800}));
    });
    assert!(
        matches!(outcome_of(&report, "Tier/security"), Outcome::Failed(refusal) if refusal.message.starts_with("stale: "))
    );
    let destroyed = apply(&server, &Plan::nothing("shop"), || {});
    assert!(
        destroyed.steps.is_empty(),
        "the record said created, the object says otherwise: {destroyed:#?}"
    );
    assert_eq!(
        server.rest().get(&calico("tiers", "security")).ok()["spec"]["order"],
        800
    );
}

#[test]
fn an_object_that_is_replaced_meanwhile_is_not_deleted() {
    let Some(server) = live!() else { return };
    shop(&server);
    apply(&server, &order(500), || {});
    let report = apply(&server, &Plan::nothing("shop"), || {
        server.rest().delete(&calico("tiers", "security")).ok();
        world::create(&server, "Tier", "security", json!({"order": 500}));
    });
    assert!(
        matches!(outcome_of(&report, "Tier/security"), Outcome::Done | Outcome::Failed(_)),
        "{report:#?}"
    );
    let tier = server.rest().get(&calico("tiers", "security")).ok();
    assert_eq!(
        tier["metadata"].get("labels"),
        None,
        "somebody else's tier is still there"
    );
}

#[test]
fn a_field_that_the_server_does_not_know_is_refused_by_it() {
    let Some(server) = live!() else { return };
    let runtime = runtime();
    let cluster = connect(&server, &runtime);
    let key = Key::cluster(Kind::GlobalNetworkSet, "odd");
    let object = json!({
        "apiVersion": "projectcalico.org/v3", "kind": "GlobalNetworkSet", "metadata": {"name": "odd"},
        "spec": {"Nets": ["10.0.0.0/8"]},
    });
    let change = Change::bare(key, Op::Create { object }, "test");
    let refusal = runtime
        .block_on(cluster.perform(&change))
        .expect_err("Strict refuses it");
    assert_eq!(refusal.why, Why::Invalid, "{refusal:?}");
    assert!(refusal.message.contains("Nets"), "{refusal:?}");
    assert_eq!(server.rest().get(&calico("globalnetworksets", "odd")).status, 404);
}
