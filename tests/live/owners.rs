//! Objects and fields of others: adopted, respected, given back.

use serde_json::{Value, json};

use super::workshop::shop;
use crate::support::cluster::{hostguard_on, plan_file};
use crate::support::command::Ran;
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::kinds::calico;
use crate::support::live::live;
use crate::support::world;

fn run(server: &ControlPlane, args: &[&str]) -> Ran {
    hostguard_on(server, Identity::Admin, args)
}

/// The exit code, and words that are somewhere in what was printed, however the lines are broken.
fn expect(ran: &Ran, code: i32, words: &str) {
    let all = format!("{}\n{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, code, "{all}");
    let flowing = all.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flowing.contains(words), "no `{words}` in\n{all}");
}

fn tier(server: &ControlPlane) -> Value {
    server.rest().get(&calico("tiers", "security")).ok()
}

#[test]
fn an_object_with_equal_values_is_not_ours() {
    let Some(server) = live!() else { return };
    shop(&server);
    world::create(&server, "Tier", "security", json!({"order": 500}));
    let before = tier(&server);
    let plan = plan_file("tiers: { security: { order: 500.0 } }");
    expect(&run(&server, &["apply", plan.path(), "--yes"]), 0, "Nothing to do");
    expect(
        &run(&server, &["destroy", plan.path(), "--yes"]),
        0,
        "Nothing to take back",
    );
    assert_eq!(tier(&server), before, "not labelled, not written, not deleted");
}

#[test]
fn an_object_with_different_values_is_changed_and_given_back() {
    let Some(server) = live!() else { return };
    shop(&server);
    world::create(
        &server,
        "Tier",
        "security",
        json!({"order": 700, "defaultAction": "Pass"}),
    );
    let plan = plan_file("tiers: { security: { order: 500 } }");
    expect(
        &run(&server, &["apply", plan.path(), "--yes"]),
        0,
        "spec.order: 700 -> 500",
    );
    assert_eq!(tier(&server)["spec"], json!({"order": 500, "defaultAction": "Pass"}));
    assert_eq!(
        tier(&server)["metadata"].get("labels"),
        None,
        "a foreign object gets no label"
    );
    expect(
        &run(&server, &["destroy", plan.path(), "--yes"]),
        0,
        "spec.order: 500 -> 700",
    );
    assert_eq!(tier(&server)["spec"], json!({"order": 700, "defaultAction": "Pass"}));
}

#[test]
fn a_value_changed_by_somebody_since_is_left_and_reported() {
    let Some(server) = live!() else { return };
    shop(&server);
    world::create(&server, "Tier", "security", json!({"order": 700}));
    let plan = plan_file("tiers: { security: { order: 500 } }");
    expect(
        &run(&server, &["apply", plan.path(), "--yes"]),
        0,
        "0 failed, 0 skipped",
    );
    server
        .rest()
        .merge(&calico("tiers", "security"), &json!({"spec": {"order": 900}}))
        .ok();
    expect(&run(&server, &["destroy", plan.path(), "--yes"]), 0, "stays 900");
    assert_eq!(tier(&server)["spec"]["order"], 900);
}

#[test]
fn a_claim_by_another_applier_is_refused_and_can_be_taken() {
    let Some(server) = live!() else { return };
    shop(&server);
    let body = json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "security"}, "spec": {"order": 700}});
    let kubectl = server.kubectl(Identity::Admin);
    let args = ["apply", "--server-side", "--field-manager", "argocd", "-f", "-"];
    let applied = kubectl.run(&args, &body.to_string());
    assert_eq!(applied.code, 0, "{}", applied.stderr);

    let plan = plan_file("tiers: { security: { order: 500 } }");
    let refused = run(&server, &["apply", plan.path(), "--yes"]);
    expect(&refused, 3, "managed by argocd");
    assert!(refused.stdout.contains("live: 700, wanted: 500"), "{}", refused.stdout);
    assert_eq!(tier(&server)["spec"]["order"], 700);

    expect(
        &run(
            &server,
            &[
                "apply",
                plan.path(),
                "--yes",
                "--force-conflicts",
                "Tier/security:spec.order",
            ],
        ),
        0,
        "0 failed, 0 skipped",
    );
    assert_eq!(tier(&server)["spec"]["order"], 500);
    let again = kubectl.run(&args, &body.to_string());
    assert!(
        again.stderr.contains("conflict"),
        "kubectl sees the new owner: {}",
        again.stderr
    );
}

#[test]
fn a_mere_updater_is_shown_and_taken_over() {
    let Some(server) = live!() else { return };
    shop(&server);
    let body = json!({"apiVersion": "projectcalico.org/v3", "kind": "Tier", "metadata": {"name": "security"}, "spec": {"order": 700}});
    let created = server
        .kubectl(Identity::Admin)
        .run(&["create", "--field-manager", "by-hand", "-f", "-"], &body.to_string());
    assert_eq!(created.code, 0, "{}", created.stderr);
    let plan = plan_file("tiers: { security: { order: 500 } }");
    expect(
        &run(&server, &["apply", plan.path(), "--yes"]),
        0,
        "(was set by by-hand)",
    );
}

#[test]
fn a_taken_node_port_is_found_at_plan_time() {
    let Some(server) = live!() else { return };
    shop(&server);
    server
        .rest()
        .create(&world::node_port("hipstershop", "taken", 30080, 80, 8080));
    let mark = server.audit().mark();
    let ran = run(
        &server,
        &[
            "apply",
            "plans/eks-nodeport.yaml",
            "--set",
            "trusted=203.0.113.7/32",
            "--yes",
        ],
    );
    expect(&ran, 1, "node port 30080 is taken by Service/hipstershop/taken");
    assert!(server.audit().since(mark).iter().all(|entry| !entry.writes()));
}

#[test]
fn two_plans_share_a_value_and_the_last_one_restores() {
    let Some(server) = live!() else { return };
    shop(&server);
    world::create(&server, "Tier", "security", json!({"order": 700}));
    let one = plan_file("tiers: { security: { order: 500 } }");
    let two = plan_file("tiers: { security: { order: 500 } }").named("two");
    expect(&run(&server, &["apply", one.path(), "--yes"]), 0, "0 failed, 0 skipped");
    expect(
        &run(&server, &["apply", two.path(), "--yes"]),
        0,
        "Record ConfigMap/hostguard/hostguard-two",
    );
    expect(&run(&server, &["destroy", one.path(), "--yes"]), 0, "No object changes");
    assert_eq!(tier(&server)["spec"]["order"], 500);
    expect(
        &run(&server, &["destroy", two.path(), "--yes"]),
        0,
        "spec.order: 500 -> 700",
    );
    assert_eq!(tier(&server)["spec"]["order"], 700);
}
