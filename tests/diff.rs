//! What `diff` says of two plans: nothing of what differs anyway, and the other way round what it says this way.

use std::path::Path;

use serde_json::{Value, json};

use crate::golden::{cases, folder_of, folder_with_cluster, split};
use crate::support::command::{Ran, finish, hostguard};

fn run(folder: &Path, words: &[String]) -> Ran {
    finish(hostguard(folder).args(words).output().expect("the binary starts"))
}

/// Every `plan` of a golden case that is answered.
fn plans(case: &Path) -> Vec<Vec<String>> {
    let args = std::fs::read_to_string(case.join("args")).expect("a case has args");
    let lines = args.lines().filter(|line| line.starts_with("hostguard plan "));
    let words = lines.map(|line| split(line)[1..].to_vec());
    let wanted = |word: &String| !matches!(word.as_str(), "--accept" | "--force-conflicts" | "--out" | "<" | "-");
    words
        .filter(|words| words.iter().all(|word| wanted(word) && !word.starts_with("--accept=")))
        .collect()
}

/// Whatever a cluster looks like, a plan differs from itself in nothing: all of its steps are drift.
#[test]
fn drift_alone_shows_as_nothing() {
    let (mut looked, mut drifted) = (0, 0);
    for case in cases() {
        let folder = folder_of(&case);
        for words in plans(&case) {
            let mut json = words.clone();
            json.retain(|word| !word.starts_with("-o") && word != "--detailed-exitcode");
            json.push("-ojson".into());
            let planned = run(folder.path(), &json);
            let Ok(answer) = serde_json::from_str::<Value>(&planned.stdout) else {
                continue;
            };
            if answer.get("errors").is_some() {
                continue;
            }
            let mut twice = json.clone();
            twice[0] = "diff".into();
            twice.insert(1, words[1].clone());
            twice.push("--detailed-exitcode".into());
            let ran = run(folder.path(), &twice);
            let what = format!("{} {twice:?}\n{}{}", case.display(), ran.stdout, ran.stderr);
            let unreadable = answer["unreadable"] != json!([]);
            assert_eq!(ran.code, i32::from(unreadable), "{what}");
            let diff: Value = serde_json::from_str(&ran.stdout).expect("JSON");
            let none = json!({"new": [], "gone": []});
            for part in ["gates", "lowered", "refused", "expectations", "kept"] {
                assert_eq!(diff[part], none, "{what}");
            }
            assert_eq!((&diff["steps"], &diff["exposure"]), (&json!([]), &json!([])), "{what}");
            let steps = answer["steps"].as_array().map_or(0, Vec::len);
            assert_eq!(diff["drift"], json!(steps), "{what}");
            looked += 1;
            drifted += usize::from(steps > 0);
        }
    }
    assert!(looked > 50 && drifted > 50, "{looked} {drifted}");
}

const BASE: &str = "apiVersion: hostguard.dev/v1alpha1
kind: HostProtection
metadata: { name: shop }
spec:
  cluster: { platform: generic }
  tiers: { guarding: { order: 500 } }
  networkSets: { partners: { labels: { role: partner }, nets: [ 203.0.113.0/24, 198.51.100.7/32 ] } }
  nodes: { guarded: { names: [ ip-10-0-1-5 ], labels: { guarded: \"yes\" } } }
";

fn changed() -> String {
    BASE.replace("order: 500", "order: 600")
        .replace(
            "203.0.113.0/24, 198.51.100.7/32",
            "198.51.100.7/32, 203.0.113.0/24, 192.0.2.0/24",
        )
        .replace("  nodes: { guarded", "  nodes: { watched")
        .replace("{ guarded: \"yes\" } } }", "{ watched: \"yes\" } } }")
}

fn diff(folder: &Path, base: &str, head: &str) -> Value {
    std::fs::write(folder.join("base.yaml"), base).expect("a temporary folder");
    std::fs::write(folder.join("head.yaml"), head).expect("a temporary folder");
    let words = ["diff", "base.yaml", "head.yaml", "--live", "cluster.json", "-ojson"].map(str::to_string);
    let ran = run(folder, &words);
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    serde_json::from_str(&ran.stdout).expect("JSON")
}

/// Key, what becomes of it, and its fields from one end to the other.
fn told(diff: &Value, turned: bool) -> Vec<(String, String, String, Value, Value)> {
    let mut told = Vec::new();
    for step in diff["steps"].as_array().expect("steps") {
        let change = match (step["change"].as_str().expect("a word"), turned) {
            ("new", true) => "gone",
            ("gone", true) => "new",
            (change, _) => change,
        };
        // of what goes, only the spec was ever there to be named
        for field in step["fields"].as_array().expect("fields") {
            let path = field["path"].as_str().expect("a path").to_string();
            if change != "changed" && !path.starts_with("/spec/") {
                continue;
            }
            let (mut before, mut after) = (field["before"].clone(), field["after"].clone());
            if turned {
                std::mem::swap(&mut before, &mut after);
            }
            told.push((
                step["key"].as_str().expect("a key").to_string(),
                change.to_string(),
                path,
                before,
                after,
            ));
        }
    }
    told.sort_by_key(|(key, _, path, ..)| (key.clone(), path.clone()));
    told
}

/// Before the base is applied, and after: the same change of the plan is told, in the same words, and the drift that
/// somebody made meanwhile is not.
#[test]
fn the_change_of_a_plan_is_the_same_whether_it_was_applied_or_not() {
    let folder = folder_with_cluster();
    let folder = folder.path();
    let fresh = diff(folder, BASE, &changed());
    let turned = diff(folder, &changed(), BASE);
    assert_eq!(told(&fresh, false), told(&turned, true));
    let expected = [
        ("GlobalNetworkSet/partners", "changed", "/spec/nets"),
        ("Node/ip-10-0-1-5", "changed", "/metadata/labels/guarded"),
        ("Node/ip-10-0-1-5", "changed", "/metadata/labels/watched"),
        ("Tier/guarding", "changed", "/spec/order"),
    ];
    let short = |diff: &Value| -> Vec<(String, String, String)> {
        let told = told(diff, false).into_iter();
        told.map(|(key, change, path, ..)| (key, change, path)).collect()
    };
    let expected = expected.map(|(key, change, path)| (key.to_string(), change.to_string(), path.to_string()));
    assert_eq!(short(&fresh), expected);
    assert_eq!(fresh["drift"], json!(1), "the namespace of the record");

    std::fs::write(folder.join("base.yaml"), BASE).expect("a temporary folder");
    let apply = ["apply", "base.yaml", "--live", "cluster.json", "--yes"].map(str::to_string);
    assert_eq!(run(folder, &apply).code, 0);
    let applied = diff(folder, BASE, &changed());
    assert_eq!(told(&applied, false), told(&fresh, false));
    assert_eq!(applied["drift"], json!(0));
    // somebody undoes one thing that the change is about, and one that it is not
    let file = folder.join("cluster.json");
    let mut cluster: Value = serde_json::from_slice(&std::fs::read(&file).expect("the file")).expect("JSON");
    cluster["objects"]["Tier/guarding"]["spec"]["order"] = json!(7);
    cluster["objects"]["GlobalNetworkSet/partners"]["metadata"]["labels"]["role"] = json!("somebody");
    std::fs::write(&file, cluster.to_string()).expect("a temporary folder");
    let drifted = diff(folder, BASE, &changed());
    assert_eq!(told(&drifted, false), told(&fresh, false));
    let only_order = diff(folder, BASE, &BASE.replace("order: 500", "order: 600"));
    assert_eq!(told(&only_order, false).len(), 1);
    assert_eq!(only_order["drift"], json!(1), "the label is drift of both");
    // a list in another order is no change
    let same = BASE.replace("203.0.113.0/24, 198.51.100.7/32", "198.51.100.7/32, 203.0.113.0/24");
    assert_eq!(diff(folder, BASE, &same)["steps"], json!([]));
}

/// Of a plan that comes or goes, all is told, whether it was applied already or not.
#[test]
fn an_empty_file_is_no_plan() {
    let folder = folder_with_cluster();
    let folder = folder.path();
    let comes = diff(folder, "\n", BASE);
    assert_eq!(
        (&comes["base"]["plan"], &comes["head"]["plan"]),
        (&Value::Null, &json!("shop"))
    );
    let keys = |diff: &Value| -> Vec<Value> {
        let steps = diff["steps"].as_array().expect("steps").iter();
        let mut keys: Vec<Value> = steps.map(|step| json!([step["key"], step["change"]])).collect();
        keys.sort_by_key(Value::to_string);
        keys
    };
    let all = [
        json!(["GlobalNetworkSet/partners", "new"]),
        json!(["Namespace/hostguard", "new"]),
        json!(["Node/ip-10-0-1-5", "changed"]),
        json!(["Tier/guarding", "new"]),
    ];
    assert_eq!(keys(&comes), all);
    // not applied yet, it leaves nothing behind; the namespace would stay
    let goes = diff(folder, BASE, "");
    assert_eq!(keys(&goes).len(), 3);
    std::fs::write(folder.join("base.yaml"), BASE).expect("a temporary folder");
    let apply = ["apply", "base.yaml", "--live", "cluster.json", "--yes"].map(str::to_string);
    assert_eq!(run(folder, &apply).code, 0);
    let goes = diff(folder, BASE, "");
    assert_eq!(
        (&goes["base"]["plan"], &goes["head"]["plan"]),
        (&json!("shop"), &Value::Null)
    );
    let gone: Vec<Value> = keys(&goes);
    assert!(gone.contains(&json!(["Tier/guarding", "gone"])) && gone.contains(&json!(["Node/ip-10-0-1-5", "changed"])));
    assert!(
        !gone.contains(&json!(["Namespace/hostguard", "gone"])),
        "destroy leaves it: {gone:?}"
    );
    assert!(
        goes["notes"][0]
            .as_str()
            .is_some_and(|note| note.contains("hostguard destroy --name shop"))
    );
    let comes = diff(folder, "", BASE);
    let stays = |key: &&Value| **key != json!(["Namespace/hostguard", "new"]);
    let rest: Vec<Value> = all.iter().filter(stays).cloned().collect();
    assert_eq!(keys(&comes), rest, "the namespace stays either way");
}
