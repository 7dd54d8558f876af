//! What was approved is what happens: saved change sets, the lock, history and reverts, on a file as the cluster.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::golden::{ends, folder_with_cluster};
use crate::support::command::{Ran, finish, hostguard};

const PLAN: &str = "apiVersion: hostguard.dev/v1alpha1
kind: HostProtection
metadata: { name: shop }
spec:
  cluster: { platform: generic }
  tiers: { guarding: { order: ORDER } }
  networkSets: { partners: { nets: [ 203.0.113.0/24 ] } }
  nodes: { guarded: { names: [ ip-10-0-1-5 ], labels: { guarded: \"yes\" } } }
";

fn plan(folder: &Path, order: u64) {
    fs::write(folder.join("plan.yaml"), PLAN.replace("ORDER", &order.to_string())).expect("a temporary folder");
}

fn run(folder: &Path, args: &[&str]) -> Ran {
    let mut all = args.to_vec();
    if !matches!(args[0], "show" | "schema") {
        all.extend(["--live", "cluster.json"]);
    }
    let mut command = hostguard(folder);
    command
        .args(all)
        .env("HOSTGUARD_ACTOR", "alice")
        .env("HOSTGUARD_COMMIT", "c0ffee");
    finish(command.output().expect("the binary starts"))
}

fn read(folder: &Path, file: &str) -> Value {
    serde_json::from_slice(&fs::read(folder.join(file)).expect("the file is there")).expect("JSON")
}

fn edit(folder: &Path, file: &str, change: impl FnOnce(&mut Value)) {
    let mut value = read(folder, file);
    change(&mut value);
    fs::write(folder.join(file), value.to_string()).expect("a temporary folder");
}

/// The objects of the cluster that these plans can touch, without what every write changes.
fn objects(folder: &Path) -> Value {
    let mut objects = read(folder, "cluster.json")["objects"].take();
    let map = objects.as_object_mut().expect("a map");
    let touched = ["Node/", "Tier/", "GlobalNetworkSet/", "Namespace/kube-system"];
    map.retain(|key, _| touched.iter().any(|kind| key.starts_with(kind)));
    for object in map.values_mut() {
        // what is made again is another object
        for field in ["resourceVersion", "uid"] {
            object["metadata"][field] = Value::Null;
        }
    }
    objects
}

#[test]
fn a_saved_change_set_is_shown_as_it_was_and_applied_exactly() {
    let folder = folder_with_cluster();
    let folder = folder.path();
    plan(folder, 700);
    let planned = run(folder, &["plan", "plan.yaml", "--out", "set.json", "--expires", "24h"]);
    ends(&planned, 0, &["saved: set.json"]);
    let shown = run(folder, &["show", "set.json"]);
    ends(&shown, 0, &["expires"]);
    let without_file = |text: &str| -> String {
        text.lines()
            .filter(|line| !line.contains("played by a snapshot"))
            .map(|line| format!("{line}\n"))
            .collect()
    };
    assert_eq!(without_file(&shown.stdout), without_file(&planned.stdout));
    for format in ["json", "markdown"] {
        ends(&run(folder, &["show", "set.json", "-o", format]), 0, &[]);
    }
    let schema: Value = serde_json::from_str(&run(folder, &["schema", "change-set"]).stdout).expect("JSON");
    let set = read(folder, "set.json");
    let errors: Vec<String> = jsonschema::validator_for(&schema)
        .expect("a schema")
        .iter_errors(&set)
        .map(|error| error.to_string())
        .collect();
    assert!(errors.is_empty(), "{errors:?}");
    let id = set["id"].as_str().expect("an id").to_string();
    assert!(planned.stdout.contains(&id));
    ends(&run(folder, &["apply", "set.json", "--yes"]), 0, &["4 done, 0 failed"]);
    // done already: another change set
    ends(
        &run(folder, &["apply", "set.json", "--yes"]),
        4,
        &["HG0703", "no longer needed: create Tier/guarding"],
    );
}

#[test]
fn a_change_set_that_was_edited_expired_or_is_of_another_cluster_is_refused() {
    let folder = folder_with_cluster();
    let folder = folder.path();
    plan(folder, 700);
    ends(
        &run(folder, &["plan", "plan.yaml", "--out", "set.json", "--expires", "1s"]),
        0,
        &[],
    );
    ends(&run(folder, &["plan", "plan.yaml", "--out", "long.json"]), 0, &[]);
    let before = objects(folder);
    edit(folder, "long.json", |set| {
        set["steps"][1]["write"]["spec"]["order"] = json!(1)
    });
    ends(
        &run(folder, &["apply", "long.json", "--yes"]),
        1,
        &["HG0717", "does not fit its digest"],
    );
    ends(&run(folder, &["plan", "plan.yaml", "--out", "long.json"]), 0, &[]);
    let text = fs::read_to_string(folder.join("long.json")).expect("the file is there");
    fs::write(folder.join("cut.json"), &text[..text.len() / 2]).expect("a temporary folder");
    ends(&run(folder, &["show", "cut.json"]), 1, &["HG0717"]);
    let option = run(folder, &["apply", "long.json", "--yes", "--set", "a=b"]);
    ends(&option, 64, &["HG0721"]);
    plan(folder, 701);
    ends(
        &run(folder, &["apply", "long.json", "--yes"]),
        4,
        &["HG0720", "plan.yaml was edited"],
    );
    plan(folder, 700);
    std::thread::sleep(std::time::Duration::from_millis(2_100));
    ends(&run(folder, &["apply", "set.json", "--yes"]), 4, &["HG0719"]);
    edit(folder, "cluster.json", |cluster| {
        cluster["objects"]["Namespace/kube-system"]["metadata"]["uid"] = json!("another");
    });
    ends(
        &run(folder, &["apply", "long.json", "--yes"]),
        1,
        &["HG0518", "another)"],
    );
    let mut after = objects(folder);
    after["Namespace/kube-system"]["metadata"]["uid"] = before["Namespace/kube-system"]["metadata"]["uid"].clone();
    assert_eq!(after, before, "nothing was written");
}

/// What somebody changes, how apply ends then, and what it says.
type Edit = (&'static str, fn(&mut Value), i32, &'static [&'static str]);

#[test]
fn harmless_edits_are_mentioned_and_others_stop_it() {
    let edits: [Edit; 5] = [
        (
            "a label that nothing selects",
            |objects| objects["Node/ip-10-0-2-7"]["metadata"]["labels"]["rack"] = json!("7"),
            0,
            &["moved meanwhile, without effect: Node/ip-10-0-2-7 was changed"],
        ),
        (
            "a version",
            |objects| objects["Node/ip-10-0-1-5"]["metadata"]["resourceVersion"] = json!("99999"),
            0,
            &["4 done"],
        ),
        (
            "the step's own object",
            |objects| objects["Node/ip-10-0-1-5"]["metadata"]["labels"]["guarded"] = json!("no"),
            4,
            &["HG0703", "now another change: update Node/ip-10-0-1-5"],
        ),
        (
            "an object that is to be made",
            |objects| {
                objects["Tier/guarding"] = json!({
                    "apiVersion": "projectcalico.org/v3", "kind": "Tier",
                    "metadata": {"name": "guarding", "uid": "x", "resourceVersion": "7"}, "spec": {"order": 700},
                });
            },
            4,
            &["HG0703", "no longer needed: create Tier/guarding"],
        ),
        (
            "a node that is gone",
            |objects| drop(objects.as_object_mut().expect("a map").remove("Node/ip-10-0-1-5")),
            1,
            &["ip-10-0-1-5"],
        ),
    ];
    for (what, change, code, says) in edits {
        let folder = folder_with_cluster();
        let folder = folder.path();
        plan(folder, 700);
        ends(&run(folder, &["plan", "plan.yaml", "--out", "set.json"]), 0, &[]);
        edit(folder, "cluster.json", |cluster| change(&mut cluster["objects"]));
        let before = objects(folder);
        let applied = run(folder, &["apply", "set.json", "--yes"]);
        assert_eq!(applied.code, code, "{what}: {}{}", applied.stdout, applied.stderr);
        ends(&applied, code, says);
        if code != 0 {
            assert_eq!(objects(folder), before, "{what}: nothing was written");
        }
    }
}

#[test]
fn who_has_the_lock_is_said_and_waited_for() {
    let folder = folder_with_cluster();
    let folder = folder.path();
    plan(folder, 700);
    let path = folder.join(".cluster.json.shop.lock");
    let file = fs::File::create(&path).expect("a temporary folder");
    file.lock().expect("nobody else has it");
    let said = json!({"who": "bob", "host": "laptop", "verb": "apply", "changes": "sha256:1", "since": "2026-01-01T00:00:00Z"});
    fs::write(&path, said.to_string()).expect("a temporary folder");
    let says = [
        "HG0713",
        "bob on laptop since 2026-01-01T00:00:00Z, apply",
        "change set sha256:1",
    ];
    ends(&run(folder, &["apply", "plan.yaml", "--yes"]), 6, &says);
    // plan takes none
    ends(&run(folder, &["plan", "plan.yaml"]), 0, &[]);
    let freed = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_secs(1));
        drop(file);
    });
    let waited = run(folder, &["apply", "plan.yaml", "--yes", "--lock-timeout", "60"]);
    ends(&waited, 0, &["waiting for the lock: bob on laptop", "done"]);
    freed.join().expect("it ends");
    assert!(!path.exists(), "the lock file goes with the lock");
}

#[test]
fn history_tells_of_every_run_and_revert_takes_one_back() {
    let folder = folder_with_cluster();
    let folder = folder.path();
    let start = objects(folder);
    ends(
        &run(folder, &["history", "--name", "shop"]),
        0,
        &["No run of plan shop is kept here."],
    );
    plan(folder, 700);
    ends(&run(folder, &["apply", "plan.yaml", "--yes"]), 0, &[]);
    let first = objects(folder);
    plan(folder, 800);
    ends(&run(folder, &["apply", "plan.yaml", "--yes"]), 0, &[]);
    let second = objects(folder);
    let history = run(folder, &["history", "plan.yaml"]);
    ends(
        &history,
        0,
        &[
            "   2  apply: done",
            "   1  apply: done",
            "by alice on ",
            "commit c0ffee",
            "1 of 1 step done",
            "4 of 4 steps done", // the namespace of the records is one that was shown
        ],
    );
    let answer: Value =
        serde_json::from_str(&run(folder, &["history", "plan.yaml", "-o", "json"]).stdout).expect("JSON");
    let schema: Value = serde_json::from_str(&run(folder, &["schema", "history"]).stdout).expect("JSON");
    assert!(jsonschema::is_valid(&schema, &answer), "{answer:#}");
    let steps = |run: usize| answer["runs"][run]["steps"].as_array().expect("steps").len();
    assert_eq!((steps(0), steps(1)), (4, 1), "{answer:#}");
    let made = serde_json::json!({"key": "Namespace/hostguard", "verb": "create", "outcome": "done"});
    assert_eq!(answer["runs"][0]["steps"][0], made);
    let id = answer["runs"][1]["id"].as_str().expect("an id").to_string();

    ends(
        &run(folder, &["revert", "9", "plan.yaml", "--yes"]),
        1,
        &["HG0722", "kept: 1, 2"],
    );
    let overlaid = run(folder, &["revert", "1", "plan.yaml", "--yes"]);
    ends(
        &overlaid,
        1,
        &["HG0723", "run 2 changed Tier/guarding since", "take run 2 back first"],
    );
    ends(
        &run(folder, &["revert", &id, "plan.yaml", "--dry-run"]),
        0,
        &["order: 800 -> 700"],
    );
    assert_eq!(objects(folder), second, "a dry run writes nothing");
    ends(
        &run(folder, &["revert", &id, "plan.yaml", "--yes"]),
        0,
        &["1 done, 0 failed"],
    );
    assert_eq!(objects(folder), first);
    plan(folder, 700);
    ends(&run(folder, &["plan", "plan.yaml"]), 0, &["Nothing to do"]);

    // a plan for another cluster takes nothing back here, nor one of which it is not known for which it is
    for (uid, code) in [
        ("00000000-0000-0000-0000-000000000000", "HG0518"),
        ("not-this-one", "HG0205"),
    ] {
        let elsewhere = PLAN
            .replace("ORDER", "700")
            .replace("{ platform", &format!("{{ uid: {uid}, platform"));
        fs::write(folder.join("elsewhere.yaml"), elsewhere).expect("a temporary folder");
        for verb in [&["revert", "3"][..], &["destroy"]] {
            let ran = run(folder, &[verb, &["elsewhere.yaml", "--yes"]].concat());
            ends(&ran, 1, &[code]);
        }
    }

    // a destroy is a run like any other: taken back, the plan is there again, record and all
    ends(&run(folder, &["destroy", "plan.yaml", "--yes"]), 0, &[]);
    assert_eq!(objects(folder), start);
    ends(&run(folder, &["revert", "4", "--name", "shop", "--yes"]), 0, &[]);
    assert_eq!(objects(folder), first);
    ends(&run(folder, &["plan", "plan.yaml"]), 0, &["Nothing to do"]);
    ends(&run(folder, &["revert", "5", "--name", "shop", "--yes"]), 0, &[]);
    assert_eq!(objects(folder), start);
    let history = run(folder, &["history", "plan.yaml"]);
    ends(
        &history,
        0,
        &["   5  revert of run 4: done", "   6  revert of run 5: done"],
    );
}

#[test]
fn ten_runs_are_kept() {
    let folder = folder_with_cluster();
    let folder = folder.path();
    for order in 0..12 {
        plan(folder, 600 + order);
        ends(&run(folder, &["apply", "plan.yaml", "--yes"]), 0, &[]);
    }
    let objects = read(folder, "cluster.json")["objects"].take();
    let runs: Vec<&String> = objects
        .as_object()
        .expect("a map")
        .keys()
        .filter(|key| key.starts_with("Run/"))
        .collect();
    assert_eq!(runs.len(), 10, "{runs:?}");
    ends(
        &run(folder, &["history", "plan.yaml"]),
        0,
        &["  12  apply: done", "   3  apply: done"],
    );
}

/// Books that somebody meddled with, a change set of another format, a lock that cannot be asked for.
#[test]
fn what_cannot_be_used_is_refused_by_name() {
    let folder = folder_with_cluster();
    let folder = folder.path();
    plan(folder, 700);
    ends(&run(folder, &["plan", "plan.yaml", "--out", "set.json"]), 0, &[]);
    edit(folder, "set.json", |set| set["hostguard_change_set"] = json!(2));
    ends(&run(folder, &["show", "set.json"]), 1, &["HG0718", "format 2"]);
    let lock = folder.join(".cluster.json.shop.lock");
    fs::create_dir(&lock).expect("a temporary folder");
    ends(
        &run(folder, &["apply", "plan.yaml", "--yes"]),
        1,
        &["HG0715", "no change was made"],
    );
    fs::remove_dir(&lock).expect("it is empty");

    ends(&run(folder, &["apply", "plan.yaml", "--yes"]), 0, &[]);
    let next = "Run/hostguard/hostguard-shop.run-2";
    edit(folder, "cluster.json", |cluster| {
        cluster["objects"][next] = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "hostguard-shop.run-2", "namespace": "hostguard", "resourceVersion": "1"},
        });
    });
    plan(folder, 701);
    ends(
        &run(folder, &["apply", "plan.yaml", "--yes"]),
        1,
        &["HG0710", "no change was made"],
    );
    plan(folder, 700);
    edit(folder, "cluster.json", |cluster| {
        drop(cluster["objects"].as_object_mut().expect("a map").remove(next));
    });
    let with_run = |text: &str| {
        edit(folder, "cluster.json", |cluster| {
            cluster["objects"]["Run/hostguard/hostguard-shop.run-1"]["data"]["run.json"] = json!(text);
        });
    };
    let whole =
        read(folder, "cluster.json")["objects"]["Run/hostguard/hostguard-shop.run-1"]["data"]["run.json"].take();
    let mut bare: Value = serde_json::from_str(whole.as_str().expect("a text")).expect("JSON");
    bare["without_values"] = json!(true);
    with_run(&bare.to_string());
    ends(&run(folder, &["revert", "1", "plan.yaml", "--yes"]), 1, &["HG0724"]);
    with_run("{");
    ends(
        &run(folder, &["history", "plan.yaml"]),
        1,
        &["HG0725", "hostguard-shop.run-1"],
    );
    // plan and apply need no history
    ends(&run(folder, &["plan", "plan.yaml"]), 0, &["Nothing to do"]);
}
