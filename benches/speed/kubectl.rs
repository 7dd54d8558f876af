//! The same 200 policies by hostguard and by the kubectl of the server's own source, with 20 ms added to each request.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use crate::measure::{Ran, Row, seconds, watched};
use crate::support::command::hostguard;
use crate::support::control_plane::{ControlPlane, Crds, Identity, binary};
use crate::support::fault_proxy::FaultProxy;
use crate::support::kinds::calico;
use crate::support::world;

const POLICIES: usize = 200;
const DELAY: Duration = Duration::from_millis(20);
/// Of what takes a fraction of a second; kubectl's seconds are taken once.
const RUNS: usize = 5;

struct Bench {
    server: ControlPlane,
    proxy: FaultProxy,
    folder: tempfile::TempDir,
}

/// What one run came to.
struct Figure {
    took: Duration,
    requests: usize,
}

impl Figure {
    fn text(&self) -> String {
        format!("{} ({} requests)", seconds(self.took), self.requests)
    }
}

fn policy(at: usize, order: usize) -> Value {
    json!({
        "tier": "security", "order": order + at, "selector": "host-end-point == 'test'", "types": ["Ingress"],
        "ingress": [
            {"action": "Allow", "protocol": "TCP", "source": {"nets": ["203.0.113.0/24"]}, "destination": {"ports": [at + 1]}},
            {"action": "Deny", "protocol": "TCP", "destination": {"ports": [at + 1]}},
        ],
    })
}

fn name(at: usize) -> String {
    format!("security.p{at:03}")
}

impl Bench {
    fn new() -> Bench {
        let server = ControlPlane::start(Crds::V3, &[]);
        world::fresh_calico(&server);
        world::create(
            &server,
            "Tier",
            "security",
            json!({"order": 500, "defaultAction": "Deny"}),
        );
        let proxy = FaultProxy::before(&server);
        proxy.delay(DELAY);
        let folder = tempfile::tempdir().expect("a temporary folder");
        Bench { server, proxy, folder }
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a temporary folder");
        std::fs::write(&path, text).expect("a temporary folder");
        path
    }

    fn plan(&self, order: usize) -> PathBuf {
        let spec = |at| {
            let mut spec = policy(at, order);
            spec.as_object_mut().expect("an object").remove("tier");
            json!({"spec": spec})
        };
        let policies: serde_json::Map<String, Value> = (0..POLICIES).map(|at| (name(at), spec(at))).collect();
        let plan = json!({
            "apiVersion": "hostguard.dev/v1alpha1", "kind": "HostProtection", "metadata": {"name": "bench"},
            "spec": {"cluster": {"platform": "generic"}, "policies": policies},
        });
        self.file(&format!("plan-{order}.yaml"), &plan.to_string())
    }

    /// One file of all, and a folder with one file each.
    fn manifests(&self, order: usize) -> (PathBuf, PathBuf) {
        let object = |at| world::object("GlobalNetworkPolicy", &name(at), policy(at, order));
        let all: Vec<Value> = (0..POLICIES).map(object).collect();
        for (at, one) in all.iter().enumerate() {
            self.file(&format!("each-{order}/{at}.json"), &one.to_string());
        }
        let list = json!({"apiVersion": "v1", "kind": "List", "items": all});
        let file = self.file(&format!("all-{order}.json"), &list.to_string());
        (file, self.folder.path().join(format!("each-{order}")))
    }

    fn run(&self, command: Command, codes: &[i32]) -> Figure {
        self.proxy.take();
        let Ran { took, .. } = watched(command).ended(codes);
        let requests = self.proxy.take().len();
        Figure { took, requests }
    }

    fn hostguard(&self, args: &[&str], codes: &[i32]) -> Figure {
        let mut command = hostguard(Path::new(env!("CARGO_MANIFEST_DIR")));
        command
            .args(args)
            .env("KUBECONFIG", self.proxy.kubeconfig(Identity::AdminToken));
        self.run(command, codes)
    }

    /// The run in the middle of several, by the time they took: of a verb that changes nothing.
    fn again(&self, args: &[&str], codes: &[i32]) -> Figure {
        let mut runs: Vec<Figure> = (0..RUNS).map(|_| self.hostguard(args, codes)).collect();
        runs.sort_by_key(|run| run.took);
        runs.swap_remove(RUNS / 2)
    }

    fn kubectl(&self, args: &[&str], codes: &[i32]) -> Figure {
        let mut command = self.server.kubectl(Identity::AdminToken).command();
        command
            .args(args)
            .arg("--kubeconfig")
            .arg(self.proxy.kubeconfig(Identity::AdminToken));
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()); // kubectl diff runs diff
        self.run(command, codes)
    }

    fn clean(&self) {
        for at in 0..POLICIES {
            self.server.rest().delete(&calico("globalnetworkpolicies", &name(at)));
        }
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a plain path")
}

pub fn rows() -> Vec<Row> {
    if binary().is_none() {
        eprintln!("not run: HOSTGUARD_CPSERVER names no server (make bench builds one)");
        return Vec::new();
    }
    let bench = Bench::new();
    let (plan, later) = (bench.plan(100), bench.plan(2_000));
    let created = bench.hostguard(&["apply", text(&plan), "--yes"], &[0]);
    let plan_none = bench.again(&["plan", text(&plan), "--detailed-exitcode"], &[0]);
    let apply_none = bench.again(&["apply", text(&plan), "--yes"], &[0]);
    let plan_all = bench.again(&["plan", text(&later), "--detailed-exitcode"], &[2]);
    let changed = bench.hostguard(&["apply", text(&later), "--yes"], &[0]);
    let destroyed = bench.hostguard(&["destroy", text(&plan), "--yes"], &[0]);
    bench.clean();

    let ((all, each), (all_later, each_later)) = (bench.manifests(100), bench.manifests(2_000));
    bench.kubectl(&["get", "tiers.projectcalico.org"], &[0]); // its cache of discovery
    let apply = |file: &Path| bench.kubectl(&["apply", "--server-side", "-f", text(file)], &[0]);
    let diff = |file: &Path, more: &[&str], code| {
        bench.kubectl(&[&["diff", "--server-side", "-f", text(file)], more].concat(), &[code])
    };
    let wide = ["--concurrency", "64"];
    let kubectl_created = apply(&all);
    let kubectl_none = diff(&all, &[], 0);
    let kubectl_none_best = diff(&each, &wide, 0);
    let kubectl_apply_none = apply(&all);
    let kubectl_all = diff(&all_later, &[], 1);
    let kubectl_all_best = diff(&each_later, &wide, 1);
    let kubectl_changed = apply(&all_later);
    let kubectl_deleted = bench.kubectl(&["delete", "--wait=false", "-f", text(&all)], &[0]);

    let row = |what: &str, ours: &Figure, theirs: &Figure, goal| Row {
        what: what.to_string(),
        hostguard: ours.text(),
        other: Some(theirs.text()),
        ratio: Some(ours.took.as_secs_f64() / theirs.took.as_secs_f64()),
        goal,
    };
    vec![
        row(
            "plan of 200 policies, none changed; `diff --server-side`",
            &plan_none,
            &kubectl_none,
            "0.15 s",
        ),
        row(
            "the same from 200 files, --concurrency 64",
            &plan_none,
            &kubectl_none_best,
            "",
        ),
        row(
            "plan of 200 policies, all changed; `diff --server-side`",
            &plan_all,
            &kubectl_all,
            "0.15 s",
        ),
        row(
            "the same from 200 files, --concurrency 64",
            &plan_all,
            &kubectl_all_best,
            "",
        ),
        row(
            "apply with nothing to do; `apply --server-side`",
            &apply_none,
            &kubectl_apply_none,
            "0.15 s",
        ),
        row(
            "apply of 200 creations; `apply --server-side`",
            &created,
            &kubectl_created,
            "not slower",
        ),
        row(
            "apply of 200 changes; `apply --server-side`",
            &changed,
            &kubectl_changed,
            "",
        ),
        row("destroy of 200 policies; `delete`", &destroyed, &kubectl_deleted, ""),
    ]
}
