//! What a snapshot says of itself, and what it never holds.

use std::fs;
use std::path::Path;

use hostguard::provider::snapshot::seal;
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::golden::{ends, folder_with_cluster};
use crate::support::command::{Ran, finish, hostguard};

const PLAN: &str = "apiVersion: hostguard.dev/v1alpha1
kind: HostProtection
metadata: { name: shop }
spec:
  cluster: { platform: generic }
  tiers: { guarding: { order: 700 } }
  nodes: { guarded: { names: [ ip-10-0-1-5 ], labels: { guarded: \"yes\" } } }
";

fn run(folder: &Path, line: &str) -> Ran {
    let mut command = hostguard(folder);
    command.args(line.split(' '));
    finish(command.output().expect("the binary starts"))
}

/// The shared cluster, changed, as `snapshot` would have written it.
fn take(folder: &Path, change: impl FnOnce(&mut Value)) {
    let text = fs::read(folder.join("cluster.json")).expect("the shared cluster");
    let mut value: Value = serde_json::from_slice(&text).expect("JSON");
    change(&mut value);
    let loose = serde_json::to_string_pretty(&value).expect("a value is printable");
    fs::write(folder.join("loose.json"), loose).expect("a temporary folder");
    ends(
        &run(folder, "snapshot --live loose.json --out taken.json"),
        0,
        &["objects of cluster"],
    );
}

fn folder() -> tempfile::TempDir {
    let folder = folder_with_cluster();
    fs::write(folder.path().join("plan.yaml"), PLAN).expect("a temporary folder");
    folder
}

#[test]
fn a_snapshot_that_is_older_than_allowed_is_refused_by_every_verb() {
    let folder = folder();
    let folder = folder.path();
    let ago = |hours| format!("{:.0}", Timestamp::now() - SignedDuration::from_hours(hours));
    take(folder, |cluster| cluster["time"] = json!(ago(25)));
    let verbs = [
        "plan plan.yaml",
        "exposure",
        "why 198.51.100.7 node/ip-10-0-1-5:30080/tcp",
        "diff plan.yaml plan.yaml",
        "destroy plan.yaml --dry-run",
        "history plan.yaml",
        "snapshot",
    ];
    for verb in verbs {
        let old = run(folder, &format!("{verb} --live taken.json --max-age 24h"));
        ends(
            &old,
            1,
            &[
                "[HG0820]",
                "and is 25h ",
                "--max-age allows 24h",
                "hostguard snapshot --out",
            ],
        );
        assert_eq!(old.stdout, "", "{verb}: nothing is answered from it");
        ends(&run(folder, &format!("{verb} --live taken.json --max-age 26h")), 0, &[]);
        ends(&run(folder, &format!("{verb} --live taken.json")), 0, &[]);
    }
    // a copy is as old as what it was taken from
    ends(&run(folder, "snapshot --live taken.json --out copy.json"), 0, &[]);
    ends(
        &run(folder, "plan plan.yaml --live copy.json --max-age 24h"),
        1,
        &["[HG0820]"],
    );
    let answer = run(folder, "plan plan.yaml --live copy.json -o json").stdout;
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let played = &answer["cluster"]["snapshot"];
    assert_eq!(
        (&played["file"], &played["digest"]),
        (&json!("copy.json"), &json!(true))
    );
}

#[test]
fn a_snapshot_that_was_edited_is_refused_and_one_that_was_applied_to_is_not() {
    let folder = folder();
    let folder = folder.path();
    take(folder, |_| {});
    let taken = fs::read_to_string(folder.join("taken.json")).expect("it was written");
    ends(
        &run(folder, "plan plan.yaml --live taken.json"),
        0,
        &["Z, digest fits\n"],
    );
    let edits: [(&str, String); 3] = [
        ("a value", taken.replacen("10.0.1.5", "10.0.1.6", 1)),
        ("an object less", {
            let mut value: Value = serde_json::from_str(&taken).expect("JSON");
            drop(
                value["objects"]
                    .as_object_mut()
                    .expect("a map")
                    .remove("Node/ip-10-0-1-5"),
            );
            format!(
                "{}\n",
                serde_json::to_string_pretty(&value).expect("a value is printable")
            )
        }),
        ("line ends", taken.replace('\n', "\r\n")),
    ];
    for (what, edited) in edits {
        assert_ne!(edited, taken, "{what}");
        fs::write(folder.join("edited.json"), edited).expect("a temporary folder");
        let ran = run(folder, "plan plan.yaml --live edited.json");
        ends(&ran, 1, &["[HG0821]", "snapshot edited.json does not fit its digest"]);
        assert_eq!(ran.stdout, "");
    }
    fs::write(folder.join("cut.json"), &taken[..taken.len() / 2]).expect("a temporary folder");
    ends(&run(folder, "plan plan.yaml --live cut.json"), 1, &["[HG0803]"]);
    ends(
        &run(folder, "apply plan.yaml --live taken.json --yes"),
        0,
        &["0 failed"],
    );
    ends(
        &run(folder, "plan plan.yaml --live taken.json"),
        0,
        &["digest fits", "Nothing to do"],
    );
    // the shared cluster is edited by hand, before and after
    ends(
        &run(folder, "apply plan.yaml --live cluster.json --yes"),
        0,
        &["0 failed"],
    );
    let hand = fs::read_to_string(folder.join("cluster.json")).expect("it was written");
    assert!(!hand.contains("\"digest\""));
    assert!(
        String::from_utf8(seal(hand.into_bytes()))
            .expect("text")
            .contains("\"digest\": \"sha256:")
    );
}

/// Whatever an object says of itself, what answers do not need stays behind: in snapshots, in saved change sets, in
/// answers.
#[test]
fn no_secret_of_the_cluster_gets_into_a_file() {
    const SECRET: &str = "hunter2";
    let folder = folder();
    let folder = folder.path();
    take(folder, |cluster| {
        let objects = cluster["objects"].as_object_mut().expect("a map");
        let container = json!({
            "name": "calico-node", "image": SECRET, "args": [SECRET],
            "env": [{"name": "TOKEN", "value": SECRET}, {"name": "FELIX_LOGSEVERITYSCREEN", "value": "Info"}],
        });
        let template = json!({"metadata": {"annotations": {"vault": SECRET}}, "spec": {"containers": [container]}});
        for object in objects.values_mut() {
            object["metadata"]["annotations"] = json!({
                "kubectl.kubernetes.io/last-applied-configuration": SECRET,
                "example.com/token": SECRET,
                "projectcalico.org.example.com/x": SECRET,
            });
            object["metadata"]["managedFields"] = json!([{
                "manager": "kubectl", "operation": "Update", "apiVersion": "v1", "fieldsType": "FieldsV1",
                "fieldsV1": {"f:metadata": {"f:annotations": {"f:example.com/token": {}}}},
            }]);
        }
        let named = |kind: &str, name: &str| {
            json!({"apiVersion": "apps/v1", "kind": kind, "metadata": {"name": name, "namespace": "calico-system"},
                   "spec": {"selector": {"matchLabels": {"k8s-app": name}}, "template": template}, "status": {"note": SECRET}})
        };
        for (kind, name) in [
            ("Deployment", "app"),
            ("StatefulSet", "db"),
            ("DaemonSet", "calico-node"),
            ("DaemonSet", "other"),
        ] {
            objects.insert(format!("{kind}/calico-system/{name}"), named(kind, name));
        }
        objects.insert(
            "Pod/calico-system/app-1".into(),
            json!({"apiVersion": "v1", "kind": "Pod",
                   "metadata": {"name": "app-1", "namespace": "calico-system", "annotations": {"vault": SECRET}},
                   "spec": {"nodeName": "ip-10-0-1-5", "serviceAccountName": "default", "containers": [container]},
                   "status": {"podIP": "10.244.0.9", "podIPs": [{"ip": "10.244.0.9"}], "message": SECRET}}),
        );
        objects.insert(
            "ConfigMap/hostguard/app-config".into(),
            json!({"apiVersion": "v1", "kind": "ConfigMap",
                   "metadata": {"name": "app-config", "namespace": "hostguard"}, "data": {"password": SECRET}}),
        );
        for kind in ["Deployment", "StatefulSet", "DaemonSet", "Pod", "ConfigMap"] {
            cluster["kinds"][kind] = json!({"read": "listed"});
        }
    });
    let loose = fs::read_to_string(folder.join("loose.json")).expect("it was written");
    assert!(loose.matches(SECRET).count() > 50, "the secrets are there to be found");
    ends(
        &run(folder, "plan plan.yaml --live loose.json --out set.json"),
        0,
        &["saved"],
    );
    for file in ["taken.json", "set.json"] {
        let text = fs::read_to_string(folder.join(file)).expect("it was written");
        assert!(
            text.contains("app-1") && text.contains("FELIX_LOGSEVERITYSCREEN"),
            "{file}: what is needed stays"
        );
        for word in [
            SECRET,
            "last-applied-configuration",
            "example.com/token",
            "TOKEN",
            "password",
        ] {
            let at = text.find(word).map(|at| &text[at.saturating_sub(300)..at]);
            assert!(at.is_none(), "{file}: {word} after {}", at.unwrap_or_default());
        }
    }
    for form in ["text", "json", "markdown"] {
        let shown = run(folder, &format!("plan plan.yaml --live loose.json -o {form}"));
        assert!(!shown.stdout.contains(SECRET), "{}", shown.stdout);
    }
    // a kind that hostguard does not read has no place in the file
    take_refused(folder);
}

fn take_refused(folder: &Path) {
    let text = fs::read(folder.join("cluster.json")).expect("the shared cluster");
    let mut value: Value = serde_json::from_slice(&text).expect("JSON");
    value["kinds"]["Secret"] = json!({"read": "listed"});
    fs::write(folder.join("secret.json"), value.to_string()).expect("a temporary folder");
    ends(
        &run(folder, "snapshot --live secret.json"),
        1,
        &["HG0803", "kind `Secret` is not known"],
    );
}
