//! Runs the binary against a server of the live tier.

use std::fs::File;
use std::path::Path;
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::command::{Ran, finish, hostguard};
use super::control_plane::{ControlPlane, Identity};

/// hostguard in the project's folder, with that identity's kubeconfig.
pub fn command_on(server: &ControlPlane, who: Identity, args: &[&str]) -> Command {
    let mut command = hostguard(Path::new(env!("CARGO_MANIFEST_DIR")));
    command
        .args(with_no_dataplane(args))
        .env("KUBECONFIG", server.kubeconfig(who))
        .env("HOME", "/nonexistent");
    command
}

/// No kernel follows these servers, so none is waited for.
pub fn with_no_dataplane<'a>(args: &[&'a str]) -> Vec<&'a str> {
    let mut args = args.to_vec();
    let writes = args.iter().any(|arg| *arg == "apply" || *arg == "destroy");
    if writes && !args.contains(&"--settle") {
        args.extend(["--settle", "0"]);
    }
    args
}

pub fn hostguard_on(server: &ControlPlane, who: Identity, args: &[&str]) -> Ran {
    finish(
        command_on(server, who, args)
            .output()
            .expect("the binary under test starts"),
    )
}

/// A plan in a file of its own, deleted with it.
pub struct PlanFile {
    _folder: tempfile::TempDir,
    path: String,
    spec: String,
}

/// The plan `shop` with this `spec`.
pub fn plan_file(spec: &str) -> PlanFile {
    write("shop", spec)
}

fn write(name: &str, spec: &str) -> PlanFile {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("plan.yaml");
    let spec_lines: Vec<String> = spec.lines().map(|line| format!("  {line}\n")).collect();
    let head = "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\n";
    let text = format!(
        "{head}metadata: {{ name: {name} }}\nspec:\n  cluster: {{ platform: generic }}\n{}",
        spec_lines.concat()
    );
    std::fs::write(&path, text).expect("a temporary folder can be written");
    let path = path.to_str().expect("a plain path").to_string();
    PlanFile {
        _folder: folder,
        path,
        spec: spec.to_string(),
    }
}

impl PlanFile {
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The same under another name.
    pub fn named(self, name: &str) -> PlanFile {
        write(name, &self.spec)
    }
}

/// A pseudo terminal: our end, and the end that a child takes as its standard input.
pub fn terminal() -> (File, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a pseudo terminal");
    grantpt(&ours).expect("a pseudo terminal");
    unlockpt(&ours).expect("a pseudo terminal");
    let name = ptsname(&ours, Vec::new()).expect("a pseudo terminal has a name");
    let theirs = File::options()
        .read(true)
        .write(true)
        .open(name.to_str().expect("a plain path"))
        .expect("the other end");
    (File::from(ours), theirs)
}
