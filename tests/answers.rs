//! What machines read: `-o json` answers fit the published schema and are the same bytes every time; plans fit theirs.

use std::path::Path;

use serde_json::Value;

use crate::golden::folder_with_cluster;
use crate::support::command::{finish, hostguard};

fn json(folder: &Path, args: &[&str]) -> Value {
    let ran = finish(hostguard(folder).args(args).output().expect("it starts"));
    serde_json::from_str(&ran.stdout).unwrap_or_else(|e| panic!("{args:?}: {e}\n{}\n{}", ran.stdout, ran.stderr))
}

fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let validator = jsonschema::validator_for(schema).expect("the published schema is a schema");
    validator
        .iter_errors(value)
        .map(|e| format!("{}: {e}", e.instance_path()))
        .collect()
}

const EKS: [&str; 6] = [
    "plans/eks-nodeport.yaml",
    "--live",
    "cluster.json",
    "--set",
    "trusted=203.0.113.7/32",
    "-ojson",
];

#[test]
fn answers_fit_their_schema_and_are_stable() {
    let folder = folder_with_cluster();
    let schema = json(folder.path(), &["schema", "answer"]);
    let plan = json(folder.path(), &[&["plan"], &EKS[..]].concat());
    assert_eq!(errors(&schema, &plan), Vec::<String>::new());
    assert_eq!(plan, json(folder.path(), &[&["plan"], &EKS[..]].concat()));
    assert_eq!(plan["steps"].as_array().map(Vec::len), Some(6));
    let applied = json(folder.path(), &[&["apply", "--yes"], &EKS[..]].concat());
    assert_eq!(errors(&schema, &applied), Vec::<String>::new());
    assert_eq!(applied["report"]["done"], 6);
    assert_eq!(
        applied["changeSet"], plan["changeSet"],
        "the same id as in the plan that was reviewed"
    );
    let destroyed = json(
        folder.path(),
        &[
            "destroy",
            "plans/eks-nodeport.yaml",
            "--yes",
            "--live",
            "cluster.json",
            "-ojson",
        ],
    );
    assert_eq!(errors(&schema, &destroyed), Vec::<String>::new());
    assert_eq!(destroyed["report"]["failed"], 0);
}

#[test]
fn exposure_and_walks_fit_their_schemas_and_are_stable() {
    let folder = folder_with_cluster();
    let live = ["--live", "cluster.json", "-ojson"];
    let packet = ["why", "198.51.100.7", "node/ip-10-0-1-5:30080/tcp"];
    let eks = &EKS[..1];
    let cases: [(&str, Vec<&str>); 4] = [
        ("exposure", [&["exposure"], &live[..]].concat()),
        ("exposure", [&["exposure", "--after"], &EKS[..]].concat()),
        ("why", [&packet[..], &EKS[..]].concat()),
        ("why", [&packet[..], eks, &live[..]].concat()),
    ];
    for (kind, args) in cases {
        let schema = json(folder.path(), &["schema", kind]);
        let answer = json(folder.path(), &args);
        assert_eq!(errors(&schema, &answer), Vec::<String>::new(), "{args:?}");
        assert_eq!(answer, json(folder.path(), &args));
    }
    let walked = json(folder.path(), &[&packet[..], &EKS[..]].concat());
    let decided = &walked["ways"][0]["hops"][0];
    assert_eq!(
        (&walked["verdict"], &decided["place"]),
        (&"blocked".into(), &"plans/eks-nodeport.yaml:48:5".into())
    );
}

/// Whatever a plan and a cluster hold, a comment has room on GitHub.
#[test]
fn a_comment_is_never_longer_than_there_is_room_for() {
    let folder = folder_with_cluster();
    let mut plan = String::from(
        "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: { name: many }\nspec:\n  cluster: { platform: \
         generic }\n  hostEndpoints: { autoCreate: Enabled }\n  policies:\n",
    );
    for i in 0..400 {
        plan.push_str(&format!(
            "    p{i}:\n      spec:\n        order: {i}\n        selector: all()\n        preDNAT: true\n        applyOnForward: \
             true\n        ingress:\n          - {{ action: Deny, protocol: TCP, destination: {{ ports: [{}] }} }}\n",
            2 * i + 1000
        ));
    }
    std::fs::write(folder.path().join("many.yaml"), plan).expect("the folder can be written");
    let args = ["plan", "many.yaml", "--live", "cluster.json", "-omarkdown"];
    let ran = finish(hostguard(folder.path()).args(args).output().expect("it starts"));
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(
        ran.stdout.len() <= 60_000 && ran.stdout.len() > 50_000,
        "{}",
        ran.stdout.len()
    );
    assert!(
        ran.stdout.contains("No room here for ") && ran.stdout.contains("the fields of "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("</details>"), "the fold is closed");
}

#[test]
fn failures_are_answers_too() {
    let folder = folder_with_cluster();
    let schema = json(folder.path(), &["schema", "answer"]);
    let no_input = json(
        folder.path(),
        &["plan", "plans/eks-nodeport.yaml", "--live", "cluster.json", "-ojson"],
    );
    assert_eq!(errors(&schema, &no_input), Vec::<String>::new());
    assert_eq!(no_input["errors"][0]["code"], "HG0210");
    assert_eq!(no_input["errors"][0]["place"], "plans/eks-nodeport.yaml:17:5");
    let no_file = json(
        folder.path(),
        &[
            "plan",
            "plans/eks-nodeport.yaml",
            "--live",
            "no-such.json",
            "--set",
            "trusted=10.0.0.0/8",
            "-ojson",
        ],
    );
    assert_eq!(errors(&schema, &no_file), Vec::<String>::new());
    assert_eq!(no_file["errors"][0]["code"], "HG0801");
}
