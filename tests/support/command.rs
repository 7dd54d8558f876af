//! Runs the binary in a folder of its own, with nothing of this machine's environment.

use std::path::Path;
use std::process::{Command, Output, Stdio};

/// A run of hostguard: what it printed, and how it ended.
#[must_use]
pub struct Ran {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

/// The binary with an empty environment; `HOME` is the folder.
pub fn hostguard(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_hostguard"));
    command
        .current_dir(folder)
        .env_clear()
        .env("HOME", folder)
        .stdin(Stdio::null());
    command
}

pub fn finish(output: Output) -> Ran {
    Ran {
        stdout: String::from_utf8(output.stdout).expect("output is UTF-8"),
        stderr: String::from_utf8(output.stderr).expect("output is UTF-8"),
        code: output.status.code().expect("the binary ends by itself"),
    }
}
