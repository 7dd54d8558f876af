//! How long it takes to be there.

use std::path::Path;

use crate::measure::{Row, median, seconds};
use crate::support::command::hostguard;

pub fn rows() -> Vec<Row> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let run = |args: &[&str]| {
        median(51, || {
            let ended = hostguard(root).args(args).output().expect("it starts");
            assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
        })
    };
    let row = |what: &str, time, goal| Row::ours(what, seconds(time), goal);
    let check = ["check", "plans/eks-nodeport.yaml", "--set", "trusted=203.0.113.7/32"];
    let offline = [&["plan"], &check[1..], &["--live", "examples/cluster.json"]].concat();
    vec![
        row("start (`--version`)", run(&["--version"]), "10 ms"),
        row("`check` of a plan", run(&check), ""),
        row("`plan` on a snapshot file", run(&offline), ""),
    ]
}
