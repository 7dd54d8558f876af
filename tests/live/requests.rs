//! The scripts of `examples/ci`: reviews, comments, apply on merge, drift. The forge is a player (`support/forge.rs`), git
//! is real, and so is the API server where something is applied.

use std::path::{Path, PathBuf};
use std::process::Command;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::workshop::shop;
use crate::support::aws::venv;
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::forge::{FORK_TOKEN, Forge, GITHUB_BOT, GITLAB_BOT, Kind, TOKEN};
use crate::support::kinds::calico;
use crate::support::live::{asked_for, live, not_run};

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/ci").join(name)
}

/// What a script printed, and how it ended.
struct Ran {
    code: i32,
    said: String,
}

impl Ran {
    #[track_caller]
    fn ends(&self, code: i32, says: &[&str]) {
        assert_eq!(self.code, code, "{}", self.said);
        for text in says {
            assert!(self.said.contains(text), "`{text}` is not in {}", self.said);
        }
    }
}

/// A clone with a remote, both in one folder.
struct Repository {
    folder: tempfile::TempDir,
}

impl Repository {
    fn new() -> Repository {
        let repository = Repository {
            folder: tempfile::tempdir().expect("a temporary folder"),
        };
        repository.git_in("..", &["init", "--quiet", "--bare", "remote.git"]);
        repository.git_in("..", &["init", "--quiet", "--initial-branch=main", "clone"]);
        repository.git(&["remote", "add", "origin", "../remote.git"]);
        repository.write(".git/info/exclude", "/out\n/snapshot.json\n/comment.md\n");
        repository
    }

    fn clone(&self) -> PathBuf {
        self.folder.path().join("clone")
    }

    fn git(&self, args: &[&str]) -> String {
        self.git_in(".", args)
    }

    fn git_in(&self, within: &str, args: &[&str]) -> String {
        let folder = match within {
            ".." => self.folder.path().to_path_buf(),
            _ => self.clone(),
        };
        let mut command = Command::new("git");
        clean(&mut command).current_dir(folder).args(args);
        let output = command.output().expect("git starts");
        assert!(
            output.status.success(),
            "{args:?} {}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).expect("text").trim().to_string()
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.clone().join(file);
        std::fs::create_dir_all(path.parent().expect("in a folder")).expect("a temporary folder");
        std::fs::write(path, text).expect("a temporary folder");
    }

    fn read(&self, file: &str) -> String {
        std::fs::read_to_string(self.clone().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"))
    }

    /// A commit of everything, on a branch of that name.
    fn commit(&self, branch: &str) -> String {
        self.git(&["checkout", "--quiet", "-B", branch]);
        self.git(&["add", "--all", "."]);
        self.git(&["commit", "--quiet", "--allow-empty", "-m", branch]);
        let commit = self.git(&["rev-parse", "HEAD"]);
        self.git(&["checkout", "--quiet", "-B", "work", "main"]);
        commit
    }

    fn run(&self, name: &str, args: &[&str], around: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(script(name));
        clean(&mut command)
            .current_dir(self.clone())
            .args(args)
            .env("HOSTGUARD", env!("CARGO_BIN_EXE_hostguard"))
            .envs(around.iter().copied());
        let output = command.output().expect("bash starts");
        let mut said = String::from_utf8(output.stdout).expect("text");
        said.push_str(&String::from_utf8(output.stderr).expect("text"));
        assert!(!said.contains(TOKEN), "a token is printed: {said}");
        Ran {
            code: output.status.code().expect("it ends by itself"),
            said,
        }
    }
}

/// Nothing of this machine but its programs.
fn clean(command: &mut Command) -> &mut Command {
    command
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("HOME", "/nonexistent")
        .env("GIT_CONFIG_NOSYSTEM", "1")
        .envs([("GIT_AUTHOR_NAME", "a"), ("GIT_AUTHOR_EMAIL", "a@localhost")])
        .envs([("GIT_COMMITTER_NAME", "a"), ("GIT_COMMITTER_EMAIL", "a@localhost")])
}

fn around(forge: &Forge) -> Vec<(&'static str, String)> {
    match forge.kind {
        Kind::GitHub => vec![
            ("FORGE", "github".into()),
            ("GITHUB_TOKEN", TOKEN.into()),
            ("GITHUB_REPOSITORY", "o/r".into()),
            ("GITHUB_API_URL", forge.url.clone()),
        ],
        Kind::GitLab => vec![
            ("FORGE", "gitlab".into()),
            ("HOSTGUARD_GITLAB_TOKEN", TOKEN.into()),
            ("CI_PROJECT_ID", "7".into()),
            ("CI_API_V4_URL", forge.url.clone()),
        ],
    }
}

fn with<'a>(around: &'a [(&'static str, String)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let own = around.iter().map(|(name, value)| (*name, value.as_str()));
    own.chain(more.iter().copied()).collect()
}

fn bot(kind: Kind) -> &'static str {
    match kind {
        Kind::GitHub => GITHUB_BOT,
        Kind::GitLab => GITLAB_BOT,
    }
}

const PLAN: &str = "plans/shop.yaml";

fn plan(order: u64, nets: &str) -> String {
    format!(
        "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: {{ name: shop }}\nspec:\n  cluster: {{ platform: generic }}\n  tiers: {{ guarding: {{ order: {order} }} }}\n  networkSets: {{ partners: {{ labels: {{ role: partner }}, nets: [{nets}] }} }}\n"
    )
}

/// The snapshot of the examples, taken just now.
fn snapshot(repository: &Repository, taken: Timestamp) {
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cluster.json");
    let text = std::fs::read(example).expect("the snapshot");
    let mut value: Value = serde_json::from_slice(&text).expect("JSON");
    value["time"] = json!(format!("{taken:.0}"));
    repository.write("snapshot.json", &value.to_string());
}

macro_rules! asked {
    () => {{
        fn here() {}
        if asked_for(std::any::type_name_of_val(&here)).is_none() {
            return;
        }
    }};
}

#[test]
fn the_scripts_are_what_shellcheck_wants() {
    let Some(venv) = venv() else {
        return not_run(
            "requests::the_scripts_are_what_shellcheck_wants",
            "needs shellcheck: make test",
        );
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = ["tests/run.sh", "tests/control-plane/build.sh", "tests/aws/build.sh"]
        .map(|file| root.join(file))
        .into();
    let folder = std::fs::read_dir(root.join("examples/ci")).expect("the folder");
    files.extend(
        folder
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.extension().is_some_and(|e| e == "sh")),
    );
    assert!(files.len() >= 10, "{files:?}");
    let checked = Command::new(venv.join("bin/shellcheck"))
        .arg("-x")
        .args(&files)
        .output()
        .expect("shellcheck starts");
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stdout));
}

/// Among two hundred comments of others, some of which pretend, ours is found, edited, and stays one.
#[test]
fn there_is_one_comment_and_only_ours_is_edited() {
    asked!();
    for kind in [Kind::GitHub, Kind::GitLab] {
        let (forge, repository) = (Forge::start(kind), Repository::new());
        let forged = format!("<!-- hostguard:{PLAN} id=sha256:0 head=0 -->\nnothing opens");
        let mut said = vec![("mallory", forged.as_str()); 3];
        said.extend(vec![("bob", "what about `x`?"); 220]);
        said.push((
            bot(kind),
            "<!-- hostguard:plans/other.yaml id=none head=0 -->\nanother plan",
        ));
        forge.request(5, &said);
        let around = around(&forge);
        let comment = |text: &str| {
            repository.write(
                "comment.md",
                &format!("<!-- hostguard:{PLAN} id=none head=0 -->\n{text}\n"),
            );
            repository.run("comment.sh", &["5", PLAN, "comment.md"], &with(&around, &[]))
        };
        comment("one `code` \"quoted\" $(touch made) ü").ends(0, &["commented on request 5"]);
        let all = forge.said(5);
        assert_eq!(all.len(), said.len() + 1);
        assert_eq!(all[said.len()].0, bot(kind));
        assert!(all[said.len()].1.contains("one `code` \"quoted\" $(touch made) ü"));
        // the same again writes nothing, another text edits
        forge.asked();
        comment("one `code` \"quoted\" $(touch made) ü").ends(0, &["says so already"]);
        let asked = forge.asked();
        assert!(asked.iter().all(|asked| asked.method == "GET"), "{asked:?}");
        assert!(
            asked
                .iter()
                .filter(|asked| asked.path.ends_with("comments") || asked.path.ends_with("notes"))
                .count()
                == 3,
            "three pages: {asked:?}"
        );
        comment("two").ends(0, &["edited the comment"]);
        let now = forge.said(5);
        assert_eq!(now.len(), all.len());
        assert!(now[said.len()].1.ends_with("two\n") || now[said.len()].1.ends_with("two"));
        for (nth, (who, body)) in said.iter().enumerate() {
            assert_eq!(
                (now[nth].0.as_str(), now[nth].1.as_str()),
                (*who, *body),
                "others' words stay"
            );
        }
        assert!(!repository.clone().join("made").exists());
    }
}

#[test]
fn what_the_forge_refuses_is_said_and_nothing_is_said_twice() {
    asked!();
    for kind in [Kind::GitHub, Kind::GitLab] {
        let (forge, repository) = (Forge::start(kind), Repository::new());
        forge.request(5, &[]);
        let around = around(&forge);
        let marker = format!("<!-- hostguard:{PLAN} id=none head=0 -->\n");
        repository.write("comment.md", &format!("{marker}text\n"));
        let run = |number: &str, more: &[(&str, &str)]| {
            repository.run("comment.sh", &[number, PLAN, "comment.md"], &with(&around, more))
        };
        let token = |token: &'static str| match kind {
            Kind::GitHub => [("GITHUB_TOKEN", token), ("HOSTGUARD_LOGIN", GITHUB_BOT)],
            Kind::GitLab => [("HOSTGUARD_GITLAB_TOKEN", token), ("HOSTGUARD_LOGIN", GITLAB_BOT)],
        };
        run("5", &token(FORK_TOKEN)).ends(1, &["403", "a pull request from a fork has a read-only one"]);
        run("5", &token("wrong")).ends(1, &["401"]);
        run("77", &[]).ends(1, &["404"]);
        run("5; touch made", &[]).ends(1, &["is no number of a request"]);
        assert_eq!(forge.said(5), []);
        // a text without its marker, or one that has no room, is not sent
        repository.write("comment.md", "text\n");
        run("5", &[]).ends(1, &["does not begin with its marker"]);
        repository.write("comment.md", &format!("{marker}{}\n", "x".repeat(65_536)));
        forge.asked();
        run("5", &[]).ends(1, &["longer than a comment can be"]);
        assert_eq!(forge.asked(), []);
        // a read is tried again; what could have been written is not
        repository.write("comment.md", &format!("{marker}text\n"));
        forge.fail(&[502, 503]);
        run("5", &[]).ends(0, &["commented on request 5"]);
        repository.write("comment.md", &format!("{marker}other\n"));
        forge.request(6, &[]);
        let posts = || forge.asked().iter().filter(|asked| asked.method == "POST").count();
        posts();
        forge.fail_writes(&[502, 502]);
        run("6", &[]).ends(1, &["POST", "502"]);
        assert_eq!((posts(), forge.said(6)), (1, Vec::new()), "it may have been made");
        forge.fail_writes(&[]);
        run("6", &[]).ends(0, &["commented on request 6"]);
        repository.write("comment.md", &format!("{marker}third\n"));
        forge.fail_writes(&[502]);
        run("6", &[]).ends(0, &["edited the comment"]);
        assert_eq!(forge.said(6).len(), 1);
    }
}

#[test]
fn a_review_says_what_the_request_does_and_runs_nothing_of_it() {
    asked!();
    let repository = Repository::new();
    snapshot(&repository, Timestamp::now());
    repository.write(PLAN, &plan(500, "203.0.113.0/24"));
    let base = repository.commit("main");
    let review = |head: &str, more: &[(&str, &str)]| {
        let _ = std::fs::remove_dir_all(repository.clone().join("out"));
        let ran = repository.run("review.sh", &[PLAN, "main", head, "out"], more);
        let comment = std::fs::read_to_string(repository.clone().join("out/comment.md")).unwrap_or_default();
        (ran, comment)
    };
    // a change
    repository.write(PLAN, &plan(500, "203.0.113.0/24, 198.51.100.0/24"));
    let head = repository.commit("change");
    let (ran, comment) = review(&head, &[("GITHUB_TOKEN", "hunter2"), ("HOSTGUARD_INPUT_X", "hunter2")]);
    ran.ends(0, &[]);
    let first = comment.lines().next().expect("a line");
    let set: Value = serde_json::from_str(&repository.read("out/set.json")).expect("JSON");
    assert_eq!(
        first,
        format!(
            "<!-- hostguard:{PLAN} id={} head={head} -->",
            set["id"].as_str().expect("an id")
        )
    );
    for says in [
        set["id"].as_str().expect("an id"),
        "**This change of** `shop`",
        "198.51.100.0/24",
        &base[..12],
        &head[..12],
    ] {
        let said = comment.split_once('\n').expect("more than the marker").1;
        let flowing = said.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flowing.contains(says), "{says}: {comment}");
    }
    assert!(!repository.read("out/set.json").contains("hunter2"));
    // main moved on meanwhile: what it did is not the request's
    repository.write(PLAN, &plan(700, "203.0.113.0/24"));
    repository.git(&["checkout", "--quiet", "main"]);
    repository.git(&["commit", "--quiet", "-am", "later"]);
    let (_, comment) = review(&head, &[]);
    assert!(!comment.contains("700"), "{comment}");
    // a plan that goes, one that comes, and one that is no file
    repository.git(&["rm", "--quiet", PLAN]);
    let gone = repository.commit("gone");
    repository.git(&["checkout", "--quiet", "-f", "main"]);
    let (ran, comment) = review(&gone, &[]);
    ran.ends(0, &[]);
    assert!(
        comment.contains("this takes the plan away") && comment.contains("hostguard destroy --name shop"),
        "{comment}"
    );
    assert!(comment.starts_with(&format!("<!-- hostguard:{PLAN} id=none head={gone} -->")));
    repository.git(&["rm", "--quiet", PLAN]);
    std::fs::create_dir_all(repository.clone().join("plans")).expect("a temporary folder");
    std::os::unix::fs::symlink("/etc/passwd", repository.clone().join(PLAN)).expect("a link can be made");
    let link = repository.commit("link");
    repository.git(&["checkout", "--quiet", "-f", "main"]);
    let (ran, comment) = review(&link, &[]);
    ran.ends(1, &["is no regular file"]);
    assert_eq!(comment, "");
    // a plan with mistakes, and one whose words mean something to a shell
    repository.write(
        PLAN,
        "apiVersion: hostguard.dev/v1alpha1\nkind: $(touch made)\nname: `touch made`\n",
    );
    let broken = repository.commit("broken");
    repository.git(&["checkout", "--quiet", "-f", "main"]);
    let (ran, comment) = review(&broken, &[]);
    ran.ends(1, &["error[HG"]);
    assert!(
        comment.contains("HG0001") && comment.contains(" id=none ") && comment.contains("could not be told"),
        "{comment}"
    );
    // more than a comment has room for
    let set = |i: usize| format!("set-{i}: {{ labels: {{ role: partner }}, nets: [203.0.113.0/24] }}, ");
    let many: String = (0..600).map(set).collect();
    let sets = format!("networkSets: {{ {many}partners");
    repository.write(
        PLAN,
        &plan(500, "203.0.113.0/24").replace("networkSets: { partners", &sets),
    );
    let many = repository.commit("many");
    let (ran, comment) = review(&many, &[]);
    ran.ends(0, &[]);
    let length = comment.chars().count();
    assert!((50_000..65_536).contains(&length), "{length}");
    assert!(
        comment.contains("has no room here; the job has it as diff.md"),
        "{}",
        &comment[comment.len() - 400..]
    );
    // an old snapshot
    snapshot(&repository, Timestamp::now() - jiff::SignedDuration::from_hours(30));
    let (ran, comment) = review(&head, &[]);
    ran.ends(1, &["HG0820"]);
    assert!(comment.contains("HG0820") && comment.contains(" id=none "), "{comment}");
    review(&head, &[("MAX_AGE", "31h")]).0.ends(0, &[]);
    review("--help", &[]).0.ends(1, &["is no commit"]);
    assert!(!repository.clone().join("made").exists() && !repository.clone().join("out/made").exists());
}

/// On GitLab the protected branch reviews what is open, forks too, each head once.
#[test]
fn open_merge_requests_are_reviewed_from_the_protected_branch() {
    asked!();
    let (forge, repository) = (Forge::start(Kind::GitLab), Repository::new());
    snapshot(&repository, Timestamp::now());
    repository.write(PLAN, &plan(500, "203.0.113.0/24"));
    repository.commit("main");
    repository.git(&["checkout", "--quiet", "main"]);
    let open = |number: u64, file: &str, text: &str| {
        repository.write(file, text);
        let head = repository.commit("request");
        repository.git(&["checkout", "--quiet", "-f", "main"]);
        repository.git(&[
            "push",
            "--quiet",
            "--force",
            "origin",
            &format!("{head}:refs/merge-requests/{number}/head"),
        ]);
        forge.open(number, &head);
    };
    open(3, PLAN, &plan(600, "203.0.113.0/24"));
    open(4, "plans/readme.txt", "nothing of the plan");
    open(5, PLAN, "no plan at all");
    let around = around(&forge);
    let run = || repository.run("open-requests.sh", &[PLAN, "main"], &with(&around, &[]));
    run().ends(0, &["commented on request 3", "commented on request 5"]);
    assert!(
        forge.said(3)[0].1.contains("**This change of** `shop`"),
        "{:?}",
        forge.said(3)
    );
    assert_eq!(forge.said(4), []);
    assert!(forge.said(5)[0].1.contains("HG0"));
    forge.asked();
    run().ends(0, &[]);
    assert!(forge.asked().iter().all(|asked| asked.method == "GET"), "nothing new");
    open(3, PLAN, &plan(650, "203.0.113.0/24"));
    run().ends(0, &["edited the comment on request 3"]);
    assert_eq!(forge.said(3).len(), 1);
}

fn tier(server: &ControlPlane) -> Value {
    server.rest().get(&calico("tiers", "guarding")).body["spec"]["order"].take()
}

/// From a snapshot to a review, a merge, and what was approved or nothing.
#[test]
fn what_was_approved_is_applied_on_merge_and_drift_is_an_issue() {
    let Some(server) = live!() else { return };
    for kind in [Kind::GitHub, Kind::GitLab] {
        server.reset();
        merged(kind, &server);
    }
}

fn merged(kind: Kind, server: &ControlPlane) {
    shop(server);
    let (forge, repository) = (Forge::start(kind), Repository::new());
    let around = around(&forge);
    let kubeconfig = server.kubeconfig(Identity::Admin).display().to_string();
    let on_cluster = [
        ("KUBECONFIG", kubeconfig.as_str()),
        ("SETTLE", "0"),
        ("LOCK_TIMEOUT", "0"),
    ];
    let trusted = with(&around, &on_cluster);
    repository.write("README", "x");
    repository.write("plans/other.txt", "x");
    repository.commit("main");
    // the trusted side takes a snapshot; the review has only that
    repository
        .run("snapshot.sh", &["hostguard-snapshot"], &trusted)
        .ends(0, &[]);
    let take = || {
        repository.git(&["fetch", "--quiet", "--depth=1", "origin", "hostguard-snapshot"]);
        let text = repository.git(&["cat-file", "blob", "FETCH_HEAD:snapshot.json"]);
        repository.write("snapshot.json", &format!("{text}\n"));
    };
    take();
    assert_eq!(
        repository.git(&["rev-list", "--count", "FETCH_HEAD"]),
        "1",
        "no history of snapshots"
    );
    repository.write(PLAN, &plan(500, "203.0.113.0/24"));
    let head = repository.commit("request");
    repository
        .run("review.sh", &[PLAN, "main", &head, "out"], &[])
        .ends(0, &[]);
    forge.request(
        5,
        &[(
            "mallory",
            &format!("<!-- hostguard:{PLAN} id=sha256:00000000000000000000000000000000 head=0 -->\n"),
        )],
    );
    repository
        .run("comment.sh", &["5", PLAN, "out/comment.md"], &with(&around, &[]))
        .ends(0, &["commented"]);
    assert!(
        repository.read("out/comment.md").contains(", digest fits")
            || repository.read("snapshot.json").contains("\"digest\"")
    );

    // merged: nothing but what was approved happens
    repository.git(&["checkout", "--quiet", "-B", "main", &head]);
    forge.merge(5, &head);
    let apply = |commit: &str, more: &[(&str, &str)]| {
        let all: Vec<_> = trusted.iter().copied().chain(more.iter().copied()).collect();
        repository.run("apply.sh", &[PLAN, commit], &all)
    };
    apply(&head, &[]).ends(0, &["applied", "done, 0 failed"]);
    assert_eq!(tier(server), json!(500));
    let said = forge.said(5);
    assert_eq!(said.len(), 2);
    assert!(
        said[1].1.contains("**hostguard: applied**") && said[1].1.contains("2 done, 0 failed")
            || said[1].1.contains("3 done, 0 failed"),
        "{}",
        said[1].1
    );
    // a job that runs again has nothing left to do, and says so
    apply(&head, &[]).ends(0, &["Nothing to do"]);

    // drift
    let drift = || repository.run("drift.sh", &[PLAN], &trusted);
    drift().ends(0, &[]);
    assert_eq!(forge.issues(), Vec::<Value>::new());
    server
        .rest()
        .merge(&calico("tiers", "guarding"), &json!({"spec": {"order": 7}}))
        .ok();
    drift().ends(2, &["drift: opened issue 1"]);
    drift().ends(2, &["drift: edited issue 1"]);
    let issues = forge.issues();
    let text = issues[0]["body"]
        .as_str()
        .or(issues[0]["description"].as_str())
        .expect("a text");
    assert!(
        issues.len() == 1 && text.contains("- spec.order: 7 ") && text.contains("+ spec.order: 500"),
        "{issues:#?}"
    );

    // a request that was reviewed before somebody changed what it changes
    repository
        .run("snapshot.sh", &["hostguard-snapshot"], &trusted)
        .ends(0, &[]);
    take();
    repository.write(PLAN, &plan(600, "203.0.113.0/24"));
    let head = repository.commit("second");
    repository
        .run("review.sh", &[PLAN, "main", &head, "out"], &[])
        .ends(0, &[]);
    forge.request(6, &[]);
    repository
        .run("comment.sh", &["6", PLAN, "out/comment.md"], &with(&around, &[]))
        .ends(0, &["commented"]);
    server
        .rest()
        .merge(&calico("tiers", "guarding"), &json!({"spec": {"order": 8}}))
        .ok();
    repository.git(&["checkout", "--quiet", "-B", "main", &head]);
    forge.merge(6, &head);
    apply(&head, &[]).ends(4, &["the approval is stale"]);
    assert_eq!(tier(server), json!(8), "nothing was written");
    let stale = forge.said(6)[0].1.clone();
    assert!(
        stale.contains("**hostguard: not applied: the approval is stale**")
            && stale.contains("- spec.order: 8 ")
            && stale.contains("+ spec.order: 600"),
        "{stale}"
    );
    // to start it again makes nobody approve it
    apply(&head, &[]).ends(4, &["the approval is stale"]);
    let now = stale
        .split("done now is `")
        .nth(1)
        .and_then(|rest| rest.split('`').next())
        .expect("the id of now");
    apply(&head, &[("APPROVED", now)]).ends(0, &["applied"]);
    assert_eq!(tier(server), json!(600));
    drift().ends(0, &["no drift any more: closed issue 1"]);
    assert_eq!(forge.issues()[0]["state"], json!("closed"));

    // a commit that no request made, and one on which only a stranger said something
    server
        .rest()
        .merge(&calico("tiers", "guarding"), &json!({"spec": {"order": 9}}))
        .ok();
    apply("0000000000000000000000000000000000000000", &[]).ends(4, &["the approval is stale"]);
    let id = "sha256:0123456789abcdef0123456789abcdef";
    forge.request(
        7,
        &[("mallory", &format!("<!-- hostguard:{PLAN} id={id} head=0 -->\n"))],
    );
    forge.merge(7, "7777777777777777777777777777777777777777");
    apply("7777777777777777777777777777777777777777", &[]).ends(4, &["the approval is stale"]);
    assert_eq!(tier(server), json!(9));
    // what cannot be told is no drift
    let nowhere: Vec<_> = trusted
        .iter()
        .copied()
        .chain([("KUBECONFIG", "/nonexistent")])
        .collect();
    repository
        .run("drift.sh", &[PLAN], &nowhere)
        .ends(1, &["could not be told"]);
}
