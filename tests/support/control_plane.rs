//! A real kube-apiserver and etcd for one test or a few: started, spoken to, ended by pid, its directory deleted.
//!
//! The binary comes from `tests/control-plane` through `HOSTGUARD_CPSERVER`. It ends by itself when its standard
//! input does, so it cannot outlive this process; `HOSTGUARD_KEEP=1` leaves its directory and prints where.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use super::audit::Audit;
use super::kubectl::Kubectl;
use super::rest::Rest;

const READY_WITHIN: Duration = Duration::from_secs(120);

/// Which custom resources the server has. `V3` and `Enterprise` are the project's own statement of them, or
/// Calico's own when `HOSTGUARD_LIVE_CRDS=calico`, taken from the folder in `CALICO_CRDS`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crds {
    None,
    V3,
    Enterprise,
    /// The storage group alone, as where Calico's API server is not installed.
    V1Only,
}

/// Who asks. The reader has no right until a test grants one; nobody has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    Admin,
    AdminToken,
    Reader,
    ReaderToken,
    NobodyToken,
}

pub struct ControlPlane {
    child: Child,
    _stdin: ChildStdin,
    dir: Option<tempfile::TempDir>,
    home: PathBuf,
    kubectl: PathBuf,
    rest: Rest,
}

/// The server's binary, if the environment names one.
pub fn binary() -> Option<PathBuf> {
    std::env::var_os("HOSTGUARD_CPSERVER").map(PathBuf::from)
}

impl Identity {
    fn file(self) -> &'static str {
        match self {
            Identity::Admin => "admin.kubeconfig",
            Identity::AdminToken => "admin-token.kubeconfig",
            Identity::Reader => "reader.kubeconfig",
            Identity::ReaderToken => "reader-token.kubeconfig",
            Identity::NobodyToken => "nobody-token.kubeconfig",
        }
    }

    /// The name that roles are bound to and the audit log shows.
    pub fn user(self) -> &'static str {
        match self {
            Identity::Admin | Identity::AdminToken => "admin",
            Identity::Reader | Identity::ReaderToken => "reader",
            Identity::NobodyToken => "nobody",
        }
    }
}

impl Crds {
    fn folders(self) -> Vec<PathBuf> {
        let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane");
        let (v3, admission, v1) = match std::env::var("HOSTGUARD_LIVE_CRDS").as_deref() {
            Err(_) | Ok("own") => (ours.join("crds"), ours.join("admission"), ours.join("v1-only")),
            Ok("calico") => {
                let theirs = std::env::var_os("CALICO_CRDS").expect("HOSTGUARD_LIVE_CRDS=calico needs CALICO_CRDS");
                let theirs = Path::new(&theirs);
                (theirs.join("v3"), theirs.join("admission"), theirs.join("v1"))
            }
            Ok(other) => panic!("HOSTGUARD_LIVE_CRDS is own or calico, not {other}"),
        };
        match self {
            Crds::None => vec![],
            Crds::V3 => vec![v3, admission],
            Crds::V1Only => vec![v1],
            Crds::Enterprise => vec![v3, ours.join("enterprise"), admission],
        }
    }
}

impl ControlPlane {
    /// Starts a server and waits until it serves. `args` are further kube-apiserver flags.
    pub fn start(crds: Crds, args: &[&str]) -> ControlPlane {
        let binary = binary().expect("HOSTGUARD_CPSERVER names no server: run `make test`, which builds one");
        let keep = std::env::var_os("HOSTGUARD_KEEP").is_some();
        let dir = tempfile::Builder::new()
            .prefix("hostguard-live-")
            .tempdir()
            .expect("a directory for the server");
        let home = dir.path().to_path_buf();
        if keep {
            writeln!(std::io::stderr(), "HOSTGUARD_KEEP: {}", home.display()).expect("stderr");
        }
        let log = File::create(home.join("server.log")).expect("the server's log");
        let policy = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control-plane/audit.yaml");
        let policy = format!("--audit-policy-file={}", policy.display());
        let audit = format!("--audit-log-path={}", audit_log(&home).display());
        let folders: Vec<String> = crds.folders().iter().map(|f| f.display().to_string()).collect();
        let mut command = Command::new(&binary);
        command.arg("-dir").arg(&home).arg("-load").arg(folders.join(","));
        for arg in [&[policy.as_str(), audit.as_str()], args].concat() {
            command.arg("-arg").arg(arg);
        }
        if !keep {
            command.arg("-rm");
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("HOSTGUARD_CPSERVER={}: {e}; `make test` builds it", binary.display()));
        let stdin = child.stdin.take().expect("a pipe");
        if let Err(why) = wait_until_ready(&mut child) {
            let _ = child.kill();
            let _ = child.wait();
            panic!(
                "the control plane is not ready: {why}\n{}",
                tail(&home.join("server.log"), 30)
            );
        }
        let rest = Rest::new(&home.join(Identity::Admin.file()));
        let kubectl = std::env::var_os("HOSTGUARD_KUBECTL").map(PathBuf::from);
        let kubectl = kubectl.unwrap_or_else(|| binary.with_file_name("kubectl"));
        let dir = if keep {
            let _ = dir.keep();
            None
        } else {
            Some(dir)
        };
        ControlPlane {
            child,
            _stdin: stdin,
            dir,
            home,
            kubectl,
            rest,
        }
    }

    pub fn kubeconfig(&self, who: Identity) -> PathBuf {
        self.home.join(who.file())
    }

    /// The admin's requests.
    pub fn rest(&self) -> &Rest {
        &self.rest
    }

    pub fn rest_as(&self, who: Identity) -> Rest {
        Rest::new(&self.kubeconfig(who))
    }

    pub fn kubectl(&self, who: Identity) -> Kubectl {
        Kubectl {
            binary: self.kubectl.clone(),
            kubeconfig: self.kubeconfig(who),
            home: self.home.join("kubectl"),
        }
    }

    pub fn audit(&self) -> Audit<'_> {
        Audit {
            log: audit_log(&self.home),
            rest: &self.rest,
        }
    }

    /// The end of the server's own log.
    pub fn log(&self, lines: usize) -> String {
        tail(&self.home.join("server.log"), lines)
    }
}

impl Drop for ControlPlane {
    /// Killing is safe: the server is one process, and nothing of it is read again.
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(dir) = self.dir.take() {
            let _ = dir.close();
        }
    }
}

fn audit_log(home: &Path) -> PathBuf {
    home.join("audit.log")
}

fn wait_until_ready(child: &mut Child) -> Result<(), String> {
    let stdout = child.stdout.take().expect("a pipe");
    let (say, hear) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines().map_while(Result::ok) {
            let _ = say.send(line); // nobody listens once the server is ready; the pipe must stay drained
        }
    });
    match hear.recv_timeout(READY_WITHIN) {
        Ok(line) if line.starts_with("READY ") => Ok(()),
        Ok(line) => Err(format!("it said {line:?}")),
        Err(mpsc::RecvTimeoutError::Disconnected) => Err("it ended".to_string()),
        Err(mpsc::RecvTimeoutError::Timeout) => Err(format!("it said nothing for {} s", READY_WITHIN.as_secs())),
    }
}

fn tail(file: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
