//! Writes that a real server refuses in the middle of an apply: what is done, what is kept, what is said.

use serde_json::{Value, json};

use super::workshop::{content, shop};
use crate::support::cluster::{hostguard_on, plan_file};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::kinds::calico;
use crate::support::live::{eventually, live};
use crate::support::world;

/// An admission policy that refuses one operation on one resource, once it acts.
fn refuse(server: &ControlPlane, group: &str, resource: &str, operation: &str, probe: impl Fn() -> bool) {
    let api = "admissionregistration.k8s.io/v1";
    let rule = json!({"apiGroups": [group], "apiVersions": ["*"], "operations": [operation], "resources": [resource]});
    let policy = json!({
        "apiVersion": api, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "refuse"},
        "spec": {
            "failurePolicy": "Fail", "matchConstraints": {"resourceRules": [rule]},
            "validations": [{"expression": "false", "message": "refused by the test"}],
        },
    });
    let binding = json!({
        "apiVersion": api, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": "refuse"},
        "spec": {"policyName": "refuse", "validationActions": ["Deny"]},
    });
    let path = "/apis/admissionregistration.k8s.io/v1";
    server
        .rest()
        .post(&format!("{path}/validatingadmissionpolicies"), &policy)
        .ok();
    server
        .rest()
        .post(&format!("{path}/validatingadmissionpolicybindings"), &binding)
        .ok();
    eventually("the admission policy acts", std::time::Duration::from_secs(30), || {
        if probe() { Ok(()) } else { Err("not yet".into()) }
    });
}

fn allow(server: &ControlPlane) {
    let path = "/apis/admissionregistration.k8s.io/v1";
    server
        .rest()
        .delete(&format!("{path}/validatingadmissionpolicybindings/refuse"))
        .ok();
    server
        .rest()
        .delete(&format!("{path}/validatingadmissionpolicies/refuse"))
        .ok();
}

fn dry(server: &ControlPlane, path: &str, object: &Value) -> bool {
    server.rest().post(&format!("{path}?dryRun=All"), object).status == 422
}

const TWO: &str = "tiers: { security: { order: 500 } }\nnetworkSets: { partners: { labels: { role: partner }, nets: [ 10.0.0.0/8 ] } }";

#[test]
fn a_step_that_is_refused_leaves_the_others_done_and_all_known() {
    let Some(server) = live!() else { return };
    shop(&server);
    let before = content(&server);
    let set = world::object("GlobalNetworkSet", "probe", json!({"nets": ["10.0.0.0/8"]}));
    refuse(&server, "projectcalico.org", "globalnetworksets", "CREATE", || {
        dry(&server, &calico("globalnetworksets", ""), &set)
    });
    let plan = plan_file(TWO);
    let ran = hostguard_on(&server, Identity::Admin, &["apply", plan.path(), "--yes"]);
    assert_eq!(ran.code, 5, "{}{}", ran.stdout, ran.stderr);
    assert!(
        ran.stdout.contains("2 done, 1 failed, 0 skipped of 3 steps"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stderr.contains("HG0708") && ran.stderr.contains("refused by the test"),
        "{}",
        ran.stderr
    );
    server.rest().get(&calico("tiers", "security")).ok();
    allow(&server);
    eventually(
        "a second apply goes on from here",
        std::time::Duration::from_secs(30),
        || {
            let again = hostguard_on(&server, Identity::Admin, &["apply", plan.path(), "--yes"]);
            if again.code == 0 { Ok(()) } else { Err(again.stderr) }
        },
    );
    let destroyed = hostguard_on(&server, Identity::Admin, &["destroy", plan.path(), "--yes"]);
    assert_eq!(destroyed.code, 0, "{}{}", destroyed.stdout, destroyed.stderr);
    assert_eq!(content(&server), before);
}

#[test]
fn a_comment_says_when_it_was_read_and_what_was_refused() {
    let Some(server) = live!() else { return };
    shop(&server);
    let plan = plan_file(TWO);
    let comment = |verb: &str| {
        hostguard_on(
            &server,
            Identity::Admin,
            &[verb, plan.path(), "--yes", "-o", "markdown"],
        )
    };
    let planned = hostguard_on(&server, Identity::Admin, &["plan", plan.path(), "-o", "markdown"]);
    let said = |text: &str| text.lines().nth(1).unwrap_or_default().to_string();
    assert!(said(&planned.stdout).contains(" as read at 20"), "{}", planned.stdout);
    let exactly = format!("hostguard apply {} --expect-id sha256:", plan.path());
    assert!(planned.stdout.contains(&exactly), "{}", planned.stdout);
    let set = world::object("GlobalNetworkSet", "probe", json!({"nets": ["10.0.0.0/8"]}));
    refuse(&server, "projectcalico.org", "globalnetworksets", "CREATE", || {
        dry(&server, &calico("globalnetworksets", ""), &set)
    });
    let ran = comment("apply");
    assert_eq!(ran.code, 5, "{}{}", ran.stdout, ran.stderr);
    let partly = "**applied in part** (HG0708): 2 of 3 steps done, 1 failed, 0 skipped";
    assert!(said(&ran.stdout).contains(partly), "{}", ran.stdout);
    for says in [
        "- `create GlobalNetworkSet/partners: failed:",
        "Go on from here:",
        "Take it back:",
    ] {
        assert!(ran.stdout.contains(says), "{says}\n{}", ran.stdout);
    }
    allow(&server);
    eventually("a second apply ends it", std::time::Duration::from_secs(30), || {
        let again = comment("apply");
        let done = again.code == 0 && said(&again.stdout).contains("**applied**: 1 of 1 step done");
        if done { Ok(()) } else { Err(again.stderr) }
    });
}

#[test]
fn without_a_lock_no_change_is_made() {
    let Some(server) = live!() else { return };
    shop(&server);
    // without its controller a deleted namespace stays, and takes nothing new
    world::namespace(&server, "hostguard");
    server.rest().delete("/api/v1/namespaces/hostguard").ok();
    let before = content(&server);
    let plan = plan_file(TWO);
    let ran = hostguard_on(&server, Identity::Admin, &["apply", plan.path(), "--yes"]);
    assert_eq!(ran.code, 1, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("HG0715"), "{}", ran.stderr);
    assert_eq!(content(&server), before);
}

#[test]
fn a_record_that_cannot_be_brought_up_to_date_still_knows_everything() {
    let Some(server) = live!() else { return };
    shop(&server);
    let before = content(&server);
    world::namespace(&server, "hostguard");
    let probe =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "probe", "namespace": "hostguard"}});
    server.rest().create(&probe);
    let path = "/api/v1/namespaces/hostguard/configmaps/probe?dryRun=All";
    let plan = plan_file(TWO);
    let ran = hostguard_on(&server, Identity::Admin, &["apply", plan.path(), "--yes"]);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    refuse(&server, "", "configmaps", "DELETE", || {
        server.rest().delete(path).status == 422
    });
    let ran = hostguard_on(&server, Identity::Admin, &["destroy", plan.path(), "--yes"]);
    assert_eq!(ran.code, 5, "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stderr.contains("HG0711"), "{}", ran.stderr);
    allow(&server);
    eventually(
        "a second destroy brings it up to date",
        std::time::Duration::from_secs(30),
        || {
            let again = hostguard_on(&server, Identity::Admin, &["destroy", plan.path(), "--yes"]);
            if again.code == 0 { Ok(()) } else { Err(again.stderr) }
        },
    );
    server
        .rest()
        .delete("/api/v1/namespaces/hostguard/configmaps/probe")
        .ok();
    assert_eq!(content(&server), before);
}
