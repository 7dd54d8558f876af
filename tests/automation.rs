//! The files of `examples/ci` and the pre-commit hooks, as far as no forge is needed to judge them: they parse, name what
//! is there, and give no job more than it needs. `tests/live/requests.rs` runs the scripts.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::support::command::{finish, hostguard};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(file: &str) -> String {
    std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

fn yaml(file: &str) -> Value {
    serde_saphyr::from_str(&text(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
}

const WORKFLOWS: [&str; 3] = ["github-review.yml", "github-apply.yml", "github-schedule.yml"];

fn jobs(file: &str) -> BTreeMap<String, Value> {
    let jobs = yaml(&format!("examples/ci/{file}"))["jobs"].take();
    serde_json::from_value(jobs).expect("jobs by name")
}

fn steps(job: &Value) -> Vec<Value> {
    job["steps"].as_array().expect("a job has steps").clone()
}

/// Every script that a text names is there, and can be started.
fn scripts_in(text: &str) -> usize {
    let mut found = 0;
    for (at, _) in text.match_indices("examples/ci/") {
        let file: String = text[at..]
            .chars()
            .take_while(|c| c.is_ascii_alphanumeric() || "/.-_".contains(*c))
            .collect();
        if file.ends_with(".sh") {
            let there = std::fs::metadata(root().join(&file)).unwrap_or_else(|e| panic!("{file}: {e}"));
            assert!(there.permissions().mode() & 0o111 != 0, "{file} can be started");
            found += 1;
        }
    }
    found
}

#[test]
fn workflows_give_each_job_what_it_needs_and_no_more() {
    let mut given = BTreeMap::new();
    for file in WORKFLOWS {
        let workflow = yaml(&format!("examples/ci/{file}"));
        assert_eq!(
            workflow["permissions"],
            json!({}),
            "{file}: none but what a job asks for"
        );
        for (name, job) in jobs(file) {
            let permissions = job["permissions"]
                .as_object()
                .unwrap_or_else(|| panic!("{file} {name}"))
                .clone();
            given.insert(format!("{file} {name}"), Value::Object(permissions));
            assert!(job["timeout-minutes"].is_u64(), "{file} {name} ends");
            for step in steps(&job) {
                if let Some(run) = step["run"].as_str() {
                    assert!(
                        !run.contains("${{"),
                        "{file} {name}: a text of the request would become shell: {run}"
                    );
                } else {
                    let uses = step["uses"].as_str().expect("a step runs or uses");
                    let (action, version) = uses.split_once('@').expect("an action has a version");
                    assert!(action.starts_with("actions/") && version.starts_with('v'), "{uses}");
                    assert_eq!(
                        step["with"]["ref"],
                        Value::Null,
                        "{file} {name}: nothing of the request is checked out"
                    );
                }
            }
        }
    }
    let expected = json!({
        "github-review.yml plan": {"contents": "read"},
        "github-review.yml comment": {"contents": "read", "pull-requests": "write"},
        "github-apply.yml apply": {"contents": "read", "pull-requests": "write"},
        "github-schedule.yml snapshot": {"contents": "write"},
        "github-schedule.yml drift": {"contents": "read", "issues": "write"},
    });
    assert_eq!(json!(given), expected);
}

/// The job that reads the request's plan has no secret, and the one that may comment never has its files.
#[test]
fn what_reads_the_request_and_what_speaks_for_the_project_are_two_jobs() {
    let review = jobs("github-review.yml");
    for (name, job) in &review {
        assert!(!job.to_string().contains("secrets."), "{name}");
    }
    assert!(!review["plan"].to_string().contains("github.token"));
    let comment = review["comment"].to_string();
    assert!(
        !comment.contains("git fetch") && !comment.contains("head.sha"),
        "{comment}"
    );
    let gitlab: BTreeMap<String, Value> = serde_json::from_value(yaml("examples/ci/gitlab-ci.yml")).expect("jobs");
    let jobs: Vec<_> = gitlab
        .iter()
        .filter(|(name, _)| name.starts_with("hostguard-"))
        .collect();
    assert_eq!(jobs.len(), 4);
    for (name, job) in jobs {
        let rules = job["rules"].as_array().expect("rules");
        for rule in rules {
            let on = rule["if"].as_str().expect("a condition");
            assert!(on.contains("$CI_COMMIT_BRANCH == $CI_DEFAULT_BRANCH"), "{name}: {on}");
            assert!(
                !on.contains("merge_request_event"),
                "{name}: a request brings its own jobs there"
            );
        }
        assert!(
            job["resource_group"].is_string() && job["timeout"].is_string(),
            "{name}"
        );
    }
}

#[test]
fn every_script_that_is_named_is_there() {
    let mut found = 0;
    for file in WORKFLOWS.into_iter().chain(["gitlab-ci.yml"]) {
        found += scripts_in(&text(&format!("examples/ci/{file}")));
    }
    assert!(found >= 9, "{found}");
    scripts_in(&text("docs/review.md"));
    let folder = std::fs::read_dir(root().join("examples/ci")).expect("the folder");
    for entry in folder.map(|entry| entry.expect("an entry").path()) {
        if entry.extension().is_some_and(|ending| ending == "sh") && !entry.ends_with("lib.sh") {
            let script = std::fs::read_to_string(&entry).expect("text");
            assert!(
                script.starts_with("#!/usr/bin/env bash\n") && script.contains("\nset -euo pipefail\n"),
                "{entry:?}"
            );
        }
    }
}

#[test]
fn the_images_are_small_and_nobodys_root() {
    let file = text("examples/ci/Containerfile");
    let froms: Vec<&str> = file.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    assert_eq!(froms, ["rust:1.95-alpine AS build", "alpine:3.22 AS ci", "scratch"]);
    let version = text("Cargo.toml");
    assert!(
        version.contains("rust-version = \"1.95\""),
        "the image has the Rust of Cargo.toml"
    );
    for stage in file.split("\nFROM ").skip(2) {
        assert!(stage.contains("\nUSER 65532"), "{stage}");
    }
    for line in file
        .lines()
        .filter_map(|line| line.strip_prefix("COPY "))
        .filter(|line| !line.starts_with("--from"))
    {
        for source in line.split(' ').rev().skip(1) {
            assert!(root().join(source).exists(), "{source}");
        }
    }
}

/// The command of each hook, on every plan of the project, as pre-commit calls it.
#[test]
fn the_pre_commit_hooks_check_the_projects_own_plans() {
    let hooks = yaml(".pre-commit-hooks.yaml");
    let hooks = hooks.as_array().expect("a list of hooks");
    assert_eq!(hooks.len(), 2);
    let mut plans: Vec<String> = std::fs::read_dir(root().join("plans"))
        .expect("plans/")
        .map(|entry| format!("plans/{}", entry.expect("an entry").file_name().to_string_lossy()))
        .collect();
    plans.sort();
    assert!(plans.len() >= 7 && plans.iter().all(|plan| plan.ends_with(".yaml")));
    for hook in hooks {
        assert_eq!(
            (&hook["files"], &hook["pass_filenames"]),
            (&json!("\\.(yaml|yml)$"), &json!(true))
        );
        let entry = hook["entry"].as_str().expect("a command");
        let words: Vec<&str> = entry.split(' ').collect();
        assert_eq!(words[0], "hostguard");
        let run = |files: &[String]| {
            let mut command = hostguard(&root());
            finish(command.args(&words[1..]).args(files).output().expect("it starts"))
        };
        let right = run(&plans);
        assert_eq!(right.code, 0, "{}{}", right.stdout, right.stderr);
        let wrong = run(&["examples/05-all-mistakes/plan.yaml".to_string()]);
        assert_eq!(wrong.code, 1, "a commit with mistakes is stopped");
        assert!(Path::new(&root()).join("examples/05-all-mistakes/plan.yaml").exists());
    }
}
