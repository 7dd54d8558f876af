//! Looking is free: what `plan` sends, proven from the API server's audit log.

use std::collections::BTreeMap;

use serde_json::json;

use super::workshop::shop;
use crate::support::cluster::{hostguard_on, plan_file};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::live::live;
use crate::support::world;

/// What SECURITY.md says that a reader needs, and nothing else.
fn grant_reading(server: &ControlPlane) {
    let rules = json!([
        {"apiGroups": [""], "resources": ["nodes", "namespaces", "services", "pods", "configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["get", "list"]},
        {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["get", "list"]},
        {"apiGroups": ["apps"], "resources": ["deployments", "statefulsets", "daemonsets"], "verbs": ["get", "list"]},
        {"apiGroups": ["projectcalico.org"], "resources": ["*"], "verbs": ["get", "list"]},
    ]);
    world::grant(server, Identity::Reader, rules);
}

const EKS: [&str; 4] = ["plan", "plans/eks-nodeport.yaml", "--set", "trusted=203.0.113.7/32"];

#[test]
fn plan_works_with_get_and_list_and_sends_nothing_else() {
    let Some(server) = live!() else { return };
    shop(&server);
    grant_reading(&server);
    let mark = server.audit().mark();
    let ran = hostguard_on(&server, Identity::Reader, &EKS);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let sent: Vec<_> = server
        .audit()
        .since(mark)
        .into_iter()
        .filter(|e| e.user == "reader")
        .collect();
    assert!(!sent.is_empty());
    let other: Vec<_> = sent
        .iter()
        .filter(|e| !["get", "list"].contains(&e.verb.as_str()))
        .collect();
    assert!(other.is_empty(), "dry runs and access reviews included: {other:#?}");
    assert!(sent.iter().all(|e| e.resource != "secrets"));
}

/// At most 4 requests beside one LIST a kind and the extra pages; never a GET per object.
#[test]
fn plan_stays_below_its_request_ceiling() {
    let Some(server) = live!() else { return };
    shop(&server);
    let mark = server.audit().mark();
    let ran = hostguard_on(&server, Identity::AdminToken, &EKS);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let sent: Vec<_> = server
        .audit()
        .since(mark)
        .into_iter()
        .filter(|e| e.agent.starts_with("hostguard/"))
        .collect();
    let mut lists: BTreeMap<&str, usize> = BTreeMap::new();
    for entry in sent.iter().filter(|e| e.verb == "list") {
        let path = entry.uri.split('?').next().unwrap_or_default();
        *lists.entry(path).or_default() += 1;
    }
    assert!(lists.values().all(|count| *count == 1), "one LIST a kind: {lists:?}");
    assert!(
        sent.len() <= 4 + lists.len(),
        "{} requests for {} kinds: {sent:#?}",
        sent.len(),
        lists.len()
    );
}

#[test]
fn a_kind_that_may_not_be_listed_is_unreadable_and_not_absent() {
    let Some(server) = live!() else { return };
    shop(&server);
    let rules = json!([
        {"apiGroups": [""], "resources": ["nodes", "namespaces", "services", "configmaps"], "verbs": ["get", "list"]},
        {"apiGroups": ["projectcalico.org"], "resources": ["kubecontrollersconfigurations"], "verbs": ["get", "list"]},
    ]);
    world::grant(&server, Identity::Reader, rules);
    let plan = plan_file("tiers: { security: { order: 500 } }");
    let ran = hostguard_on(&server, Identity::Reader, &["plan", plan.path()]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("Tier/security: forbidden"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("to create"), "{}", ran.stdout);
}

#[test]
fn missing_rights_are_all_named_before_the_first_write() {
    let Some(server) = live!() else { return };
    shop(&server);
    grant_reading(&server);
    let mark = server.audit().mark();
    let plan = plan_file(
        "tiers: { security: { order: 500 } }\nnodes: { g: { names: [ ip-10-0-1-5 ], labels: { host-end-point: test } } }",
    );
    let ran = hostguard_on(&server, Identity::Reader, &["apply", plan.path(), "--yes"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    for right in [
        "create namespaces",
        "create configmaps in namespace hostguard",
        "create tiers.projectcalico.org",
        "patch nodes",
    ] {
        assert!(ran.stderr.contains(right), "no `{right}` in {}", ran.stderr);
    }
    assert!(ran.stderr.contains("HG0706"), "{}", ran.stderr);
    assert!(server.audit().since(mark).iter().all(|entry| !entry.writes()));
}

#[test]
fn a_snapshot_gives_the_same_answer_as_the_cluster() {
    let Some(server) = live!() else { return };
    shop(&server);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("live.json");
    let file = file.to_str().expect("a plain path");
    let ran = hostguard_on(&server, Identity::Admin, &["snapshot", "--out", file]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    let online = hostguard_on(&server, Identity::Admin, &EKS);
    let offline = hostguard_on(&server, Identity::Admin, &[&EKS[..], &["--live", file]].concat());
    let played = |line: &&str| line.starts_with("  played by a snapshot: ");
    let answer: Vec<&str> = offline.stdout.lines().filter(|line| !played(line)).collect();
    assert_eq!(online.stdout.lines().collect::<Vec<_>>(), answer);
    assert!(
        offline.stdout.lines().any(|line| played(&line)),
        "it says that a file plays the cluster"
    );
    let diff = [
        "diff",
        "/dev/null",
        "plans/eks-nodeport.yaml",
        "--set",
        "trusted=203.0.113.7/32",
    ];
    let mark = server.audit().mark();
    let online = hostguard_on(&server, Identity::AdminToken, &diff);
    assert_eq!(online.code, 0, "{}", online.stderr);
    let sent = server.audit().since(mark);
    assert!(
        sent.iter().all(|asked| ["get", "list"].contains(&asked.verb.as_str())),
        "{sent:#?}"
    );
    let offline = hostguard_on(&server, Identity::Admin, &[&diff[..], &["--live", file]].concat());
    let answer: Vec<&str> = offline.stdout.lines().filter(|line| !played(line)).collect();
    assert_eq!(online.stdout.lines().collect::<Vec<_>>(), answer, "of two plans too");
}

/// Secrets are not asked for, and what objects carry beside what answers need stays behind.
#[test]
fn a_snapshot_holds_no_secret_of_the_cluster() {
    let Some(server) = live!() else { return };
    shop(&server);
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s", "namespace": "hipstershop"},
        "stringData": {"password": "hunter2"},
    });
    server
        .rest()
        .post("/api/v1/namespaces/hipstershop/secrets", &secret)
        .ok();
    let config = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "hipstershop"},
        "data": {"password": "hunter2"},
    });
    server
        .rest()
        .post("/api/v1/namespaces/hipstershop/configmaps", &config)
        .ok();
    let noted = json!({"metadata": {"annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "hunter2", "example.com/token": "hunter2",
    }}});
    let deployment = "/apis/apps/v1/namespaces/hipstershop/deployments/frontend";
    for path in [
        "/api/v1/nodes/ip-10-0-1-5",
        "/api/v1/namespaces/hipstershop",
        deployment,
    ] {
        server.rest().merge(path, &noted).ok();
    }
    let variables = json!({"spec": {"template": {"spec": {"containers": [
        {"name": "server", "image": "frontend", "env": [{"name": "TOKEN", "value": "hunter2"}]},
    ]}}}});
    server.rest().merge(deployment, &variables).ok();
    let mark = server.audit().mark();
    let ran = hostguard_on(&server, Identity::AdminToken, &["snapshot"]);
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(ran.stdout.contains("\"Deployment/hipstershop/frontend\"") && ran.stdout.contains("\"digest\": \"sha256:"));
    for word in ["hunter2", "last-applied-configuration", "TOKEN"] {
        assert!(!ran.stdout.contains(word), "{word} is in the snapshot");
    }
    assert!(
        server
            .audit()
            .since(mark)
            .iter()
            .all(|asked| asked.resource != "secrets")
    );
}
