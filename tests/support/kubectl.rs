//! The real kubectl, built from the same Kubernetes as the server: a reader and writer that shares no code with hostguard.

use serde_json::Value;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Command, Stdio};

pub struct Kubectl {
    pub(super) binary: PathBuf,
    pub(super) kubeconfig: PathBuf,
    /// Its home: the cache of discovery lives and dies with the server.
    pub(super) home: PathBuf,
}

#[derive(Debug)]
pub struct Output {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Kubectl {
    /// It in an empty environment, with no cluster chosen.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        command.env_clear().env("HOME", &self.home).stdin(Stdio::null());
        command
    }

    /// Runs it with these arguments and this standard input, in an empty environment.
    pub fn run(&self, args: &[&str], stdin: &str) -> Output {
        let mut child = self
            .command()
            .args(args)
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|e| panic!("{}: {e}", self.binary.display()));
        let mut input = child.stdin.take().expect("a pipe");
        input.write_all(stdin.as_bytes()).expect("kubectl reads its input");
        drop(input);
        let output = child.wait_with_output().expect("kubectl ends");
        Output {
            code: output.status.code().unwrap_or(-1),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// `kubectl ARGS -o json`, parsed.
    #[track_caller]
    pub fn json(&self, args: &[&str]) -> Value {
        let output = self.run(&[args, &["-o", "json"]].concat(), "");
        assert_eq!(output.code, 0, "kubectl {args:?}: {}", output.stderr);
        serde_json::from_str(&output.stdout).expect("kubectl prints JSON")
    }

    /// `kubectl apply` of these objects.
    #[track_caller]
    pub fn apply(&self, objects: &[Value]) {
        let list = serde_json::json!({ "apiVersion": "v1", "kind": "List", "items": objects });
        let output = self.run(&["apply", "-f", "-"], &list.to_string());
        assert_eq!(output.code, 0, "kubectl apply: {}", output.stderr);
    }
}
