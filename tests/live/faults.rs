//! A cluster that misbehaves: what a person reads, how it ends, what was written, and that nothing is lost.
//!
//! Every case runs the binary through the fault proxy before the real API server. `docs/faults.md` is this table as
//! text; `BLESS=1` writes it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

use super::faults_table::{Case, Verb, cases};
use super::workshop::{content, shop};
use crate::support::cluster::{PlanFile, hostguard_on, plan_file};
use crate::support::control_plane::{ControlPlane, Identity};
use crate::support::fault_proxy::FaultProxy;
use crate::support::faulty::{Came, run, take_back};
use crate::support::live::live;

/// Three writes: the record, a tier, a label. The namespace is there from the first run.
const PLAN: &str = "\
tiers: { security: { order: 500 } }
nodes: { guarded: { names: [ ip-10-0-1-5 ], labels: { host-end-point: test } } }";

/// A request may take two seconds, a whole read eight.
const TIMES: [&str; 4] = ["--request-timeout", "2", "--wait", "1"];
/// No case has more to wait for than two reads and two requests.
const DEADLINE: Duration = Duration::from_secs(20);

struct World<'a> {
    server: &'a ControlPlane,
    proxy: FaultProxy,
    plan: PlanFile,
    before: Vec<Value>,
}

#[test]
fn each_fault_is_said_written_once_and_taken_back() {
    let Some(server) = live!() else { return };
    shop(&server);
    let world = World {
        server: &server,
        proxy: FaultProxy::before(&server),
        plan: plan_file(PLAN),
        before: content(&server),
    };
    let ran = hostguard_on(
        &server,
        Identity::Admin,
        &["apply", world.plan.path(), "--yes", "--wait", "1"],
    );
    assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
    take_back(&server, world.plan.path());
    let mut page = String::from(HEAD);
    let mut told = String::new();
    for case in cases() {
        let came = world.case(&case);
        let words = came.told(&world.proxy).replace(world.plan.path(), "plan.yaml");
        page.push_str(&format!(
            "| {} | {} | {} | {} |\n",
            case.what,
            headline(&words),
            came.ran.code,
            came.writes().len()
        ));
        told.push_str(&format!("\n### {}\n\n```\n{}\n```\n", case.what, words.trim_end()));
    }
    page.push_str("\n## In full\n\nStandard error of each run.\n");
    page.push_str(&told);
    compare(&page);
}

const HEAD: &str = "\
# What happens when the cluster misbehaves

Made by `tests/live/faults.rs` (`BLESS=1` rewrites it) with a proxy that misbehaves in front of a real API server. The
plan writes its run, its record, a tier and a node's label, and brings the books up to date; destroy does the same. A write is sent twice only where
the server said that it had not looked at it (429). After every case `destroy` gave back what
was there before.

| what the cluster does | what is read | exit code | writes sent (without the lock) |
|---|---|---|---|
";

/// The first line of the first error, or that there was none.
fn headline(told: &str) -> String {
    let Some(at) = told.find("error[") else {
        return "no error".to_string();
    };
    let lines: Vec<&str> = told[at..]
        .lines()
        .take_while(|line| !line.starts_with("  caused by:") && !line.starts_with("  fix:") && !line.is_empty())
        .take_while(|line| !line.trim_start().starts_with('╭'))
        .map(str::trim)
        .collect();
    lines.join(" ").replace('|', "\\|")
}

fn compare(page: &str) {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/faults.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("the project's folder");
        std::fs::write(&file, page).expect("the project's folder");
        return;
    }
    let expected = std::fs::read_to_string(&file).unwrap_or_default();
    let diff = similar::TextDiff::from_lines(expected.as_str(), page);
    assert!(
        expected == page,
        "docs/faults.md differs (BLESS=1 rewrites it):\n{}",
        diff.unified_diff().header("expected", "got")
    );
}

impl World<'_> {
    fn case(&self, case: &Case) -> Came {
        let kubeconfig = self.kubeconfig(case);
        if case.verb == Verb::Destroy {
            let ran = hostguard_on(
                self.server,
                Identity::Admin,
                &["apply", self.plan.path(), "--yes", "--wait", "1"],
            );
            assert_eq!(ran.code, 0, "{}{}", ran.stdout, ran.stderr);
        }
        self.proxy.page_size(case.page_size);
        self.proxy.script(case.rules.clone());
        let verb = match case.verb {
            Verb::Apply => "apply",
            Verb::Destroy => "destroy",
        };
        let args = [&[verb, self.plan.path(), "--yes"], &TIMES[..]].concat();
        let came = run(&self.proxy, &kubeconfig, &args);
        self.proxy.script([]);
        let wrong = |what: &str| panic!("{}: {what}\n{}{}", case.what, came.ran.stdout, came.ran.stderr);
        if came.took > DEADLINE {
            wrong(&format!("it took {:?}", came.took));
        }
        if came.ran.stderr.contains("s3cret") || came.ran.stdout.contains("s3cret") {
            wrong("a secret was printed");
        }
        if came.repeated().iter().map(|(_, times)| times - 1).sum::<usize>() != case.refused_unseen {
            wrong(&format!("these writes were repeated: {:?}", came.repeated()));
        }
        take_back(self.server, self.plan.path());
        assert_eq!(content(self.server), self.before, "{}: something is lost", case.what);
        came
    }

    fn kubeconfig(&self, case: &Case) -> PathBuf {
        match &case.plugin {
            None => self.proxy.kubeconfig(Identity::AdminToken),
            Some(script) => {
                let exec = serde_json::json!({
                    "apiVersion": "client.authentication.k8s.io/v1", "command": "/bin/sh", "args": ["-c", script],
                    "interactiveMode": "Never",
                });
                self.proxy
                    .kubeconfig_as("plugin", &serde_json::json!({"exec": exec}).to_string())
            }
        }
    }
}
