//! One run of hostguard through a proxy that misbehaves, and what it came to.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use super::cluster::hostguard_on;
use super::command::{Ran, finish, hostguard};
use super::control_plane::{ControlPlane, Identity};
use super::fault_proxy::{FaultProxy, Seen};

/// What a person saw, and what the server was sent.
pub struct Came {
    pub ran: Ran,
    pub took: Duration,
    pub seen: Vec<Seen>,
}

/// Runs it in the project's folder with this kubeconfig.
pub fn run(proxy: &FaultProxy, kubeconfig: &Path, args: &[&str]) -> Came {
    proxy.take();
    let start = Instant::now();
    let output = hostguard(Path::new(env!("CARGO_MANIFEST_DIR")))
        .args(super::cluster::with_no_dataplane(args))
        .env("KUBECONFIG", kubeconfig)
        .env("HOME", "/nonexistent")
        .output()
        .expect("the binary under test starts");
    Came {
        took: start.elapsed(),
        ran: finish(output),
        seen: proxy.take(),
    }
}

impl Came {
    pub fn writes(&self) -> Vec<&Seen> {
        self.seen.iter().filter(|seen| seen.writes()).collect()
    }

    /// Writes that were sent more than once, with how often.
    pub fn repeated(&self) -> Vec<(String, usize)> {
        let mut count: BTreeMap<String, usize> = BTreeMap::new();
        // A lock is renewed and a run tells how far it came, again and again.
        let told = |write: &&&Seen| !write.path.contains("/leases") && !write.path.contains(".run-");
        for write in self.writes().iter().filter(told) {
            let path = write.path.split('?').next().expect("split gives one");
            *count.entry(format!("{} {path}", write.verb)).or_default() += 1;
        }
        // the record and the run beside it are two objects
        let books = |write: &str| usize::from(write.starts_with("POST ") && write.ends_with("/configmaps"));
        count
            .into_iter()
            .filter(|(write, times)| *times > 1 + books(write))
            .collect()
    }

    /// What stood on standard error, without what differs from run to run.
    pub fn told(&self, proxy: &FaultProxy) -> String {
        self.ran.stderr.replace(&proxy.url, "https://SERVER")
    }
}

/// Takes the plan back past the proxy; what is left to do must be nothing.
#[track_caller]
pub fn take_back(server: &ControlPlane, plan: &str) {
    let ran = hostguard_on(server, Identity::Admin, &["destroy", plan, "--yes", "--wait", "1"]);
    assert_eq!(ran.code, 0, "destroy afterwards:\n{}{}", ran.stdout, ran.stderr);
}
