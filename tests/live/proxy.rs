//! The fault proxy itself: what goes through it arrives whole, and each fault is what it says.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::control_plane::Identity;
use crate::support::fault_proxy::FaultProxy;
use crate::support::kinds::calico;
use crate::support::live::live;
use crate::support::rest::Rest;
use crate::support::script::{Fault, Said, on};
use crate::support::world;

fn rest(proxy: &FaultProxy, who: Identity) -> Rest {
    Rest::new(&proxy.kubeconfig(who))
}

#[test]
fn requests_and_answers_pass_as_they_are_and_are_counted() {
    let Some(server) = live!() else { return };
    let proxy = FaultProxy::before(&server);
    let through = rest(&proxy, Identity::AdminToken);
    through.create(&world::object(
        "GlobalNetworkSet",
        "s",
        json!({"nets": ["192.0.2.0/24"]}),
    ));
    let path = calico("globalnetworksets", "s");
    assert_eq!(through.get(&path).ok(), server.rest().get(&path).ok());
    assert_eq!(
        rest(&proxy, Identity::ReaderToken).get(&path).status,
        403,
        "who asks is handed on"
    );
    let seen = proxy.take();
    assert_eq!(seen.iter().filter(|seen| seen.writes()).count(), 1);
    assert_eq!((seen.len(), proxy.connections(), proxy.most_in_flight()), (3, 2, 1));
    assert!(seen.iter().all(|seen| !seen.faulted));
}

/// The request as the client sees it end: an answer, or the words of what broke.
fn outcome(ask: impl FnOnce() -> u16 + std::panic::UnwindSafe) -> Option<u16> {
    std::panic::catch_unwind(ask).ok()
}

#[test]
fn each_fault_is_what_it_says() {
    let Some(server) = live!() else { return };
    let proxy = FaultProxy::before(&server);
    let kubeconfig = proxy.kubeconfig(Identity::AdminToken);
    let get = || Rest::new(&kubeconfig).get("/api/v1/namespaces").status;
    for fault in [Fault::Reset, Fault::Truncate, Fault::LoseAnswer] {
        proxy.script([on("GET", "/api/v1/namespaces").nth(1).then(fault.clone())]);
        assert_eq!((outcome(get), outcome(get)), (None, Some(200)), "{fault:?}");
    }
    let refused = Said::status(403, "Forbidden", "not today");
    proxy.script([on("GET", "/api/v1/name*").nth(2).then(refused.into())]);
    assert_eq!((get(), get(), get()), (200, 403, 200));
    proxy.script([on("*", "/api/v1/namespaces").then(Fault::Slow(Duration::from_millis(300)))]);
    let start = Instant::now();
    assert_eq!(get(), 200);
    assert!(start.elapsed() >= Duration::from_millis(250), "{:?}", start.elapsed());
}

#[test]
fn a_write_whose_answer_is_lost_is_made_and_one_that_is_swallowed_is_not() {
    let Some(server) = live!() else { return };
    let proxy = FaultProxy::before(&server);
    let kubeconfig = proxy.kubeconfig(Identity::AdminToken);
    world::create(&server, "Tier", "t", json!({"order": 10}));
    let path = calico("tiers", "t");
    let write = |order: u64| {
        let patch = json!({"spec": {"order": order}});
        outcome(|| Rest::new(&kubeconfig).merge(&path, &patch).status)
    };
    let order = || server.rest().get(&path).ok()["spec"]["order"].clone();
    proxy.script([on("PATCH", &path).then(Fault::LoseAnswer)]);
    assert_eq!((write(20), order()), (None, Value::from(20)));
    proxy.script([on("PATCH", &path).then(Fault::Swallow)]);
    assert_eq!((write(30), order()), (Some(200), Value::from(20)));
}
