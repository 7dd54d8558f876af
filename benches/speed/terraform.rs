//! A thousand steps by hostguard and by terraform: labels of nodes in a file, and resources of terraform's built-in
//! provider, which do nothing. Neither asks a server; each keeps a state in a file.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use hostguard::provider::snapshot::encode;
use serde_json::json;

use crate::engine;
use crate::measure::{self, Row, watched};
use crate::support::command::hostguard;

const STEPS: usize = 1_000;

pub fn rows() -> Vec<Row> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = |name: &str, bytes: &[u8]| measure::file(folder.path(), name, bytes);
    let live = file("live.json", &encode(&engine::state(STEPS), "2026-01-01T00:00:00Z"));
    let plan = file("plan.yaml", engine::body().to_string().as_bytes());
    let ours = |verb: &[&str], code| {
        let mut command = hostguard(Path::new(env!("CARGO_MANIFEST_DIR")));
        command.args(verb).args([&plan, "--live", &live]);
        watched(command).ended(&[code]).took
    };
    let first = ours(&["plan", "--detailed-exitcode"], 2);
    let resources = json!({"resource": {"terraform_data": {"step": {"count": STEPS, "input": "${count.index}"}}}});
    file("main.tf.json", resources.to_string().as_bytes());
    let Some(theirs) = Terraform::at(folder.path()) else {
        eprintln!("terraform: not installed");
        return vec![Row {
            other: Some("not installed".to_string()),
            ..Row::ours(
                format!("plan of {STEPS} steps on a file"),
                crate::measure::seconds(first),
                "",
            )
        }];
    };
    let their_first = theirs.run(&["plan", "-detailed-exitcode"], 2);
    let of = format!("of {STEPS} steps on a file; terraform's of {STEPS} `terraform_data`");
    let applied = (ours(&["apply", "--yes"], 0), theirs.run(&["apply", "-auto-approve"], 0));
    vec![
        Row::beside(format!("plan {of}"), first, their_first, ""),
        Row::beside(format!("apply {of}"), applied.0, applied.1, ""),
    ]
}

struct Terraform<'f>(&'f Path);

impl<'f> Terraform<'f> {
    /// `None`: it is not installed.
    fn at(folder: &'f Path) -> Option<Terraform<'f>> {
        let terraform = Terraform(folder);
        let mut version = terraform.command(&["version"]);
        version.output().ok().filter(|output| output.status.success())?;
        terraform.run(&["init"], 0);
        Some(terraform)
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(self.0);
        // it would ask its maker for news
        command.envs([
            ("CHECKPOINT_DISABLE", "1"),
            ("TF_IN_AUTOMATION", "1"),
            ("TF_INPUT", "0"),
        ]);
        command
    }

    fn run(&self, args: &[&str], code: i32) -> Duration {
        watched(self.command(args)).ended(&[code]).took
    }
}
