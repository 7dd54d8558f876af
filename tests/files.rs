//! Snapshot files as other processes and file systems see them.

use std::path::Path;

use crate::golden::folder_with_cluster;
use crate::support::command::{finish, hostguard};

fn plan(folder: &Path, name: &str, tier: &str) {
    let text = format!(
        "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: {{ name: {name} }}\nspec:\n  cluster: {{ platform: generic }}\n  tiers: {{ {tier}: {{ order: 500 }} }}\n"
    );
    std::fs::write(folder.join(format!("{name}.yaml")), text).expect("a temporary folder can be written");
}

fn objects(file: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(file).expect("the snapshot is there");
    serde_json::from_str::<serde_json::Value>(&text).expect("JSON")["objects"].take()
}

/// Each write reads the file again under a lock: nobody's change is lost.
#[test]
fn two_applies_at_once_lose_nothing() {
    let folder = folder_with_cluster();
    let names = ["one", "two", "three", "four"];
    for name in names {
        plan(folder.path(), name, &format!("tier-{name}"));
    }
    let start = |name: &str| {
        let args = ["apply", &format!("{name}.yaml"), "--live", "cluster.json", "--yes"].map(str::to_string);
        let mut command = hostguard(folder.path());
        command
            .args(args)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command.spawn().expect("it starts")
    };
    let running: Vec<_> = names.iter().map(|name| start(name)).collect();
    for child in running {
        let ran = finish(child.wait_with_output().expect("it ends"));
        assert!(
            ran.code == 0 || ran.stderr.contains("stale"),
            "{}{}",
            ran.stdout,
            ran.stderr
        );
    }
    for name in names {
        // one that lost the race for the namespace says so, and goes on when asked again
        let again = finish(start(name).wait_with_output().expect("it ends"));
        assert_eq!(again.code, 0, "{}{}", again.stdout, again.stderr);
    }
    let objects = objects(&folder.path().join("cluster.json"));
    for name in names {
        assert!(objects.get(format!("Tier/tier-{name}")).is_some(), "{name}");
        assert!(
            objects.get(format!("ConfigMap/hostguard/hostguard-{name}")).is_some(),
            "{name}"
        );
    }
}

#[test]
fn a_link_stays_a_link() {
    let folder = folder_with_cluster();
    plan(folder.path(), "one", "security");
    std::os::unix::fs::symlink("cluster.json", folder.path().join("link.json")).expect("a link can be made");
    let ran = finish(
        hostguard(folder.path())
            .args(["apply", "one.yaml", "--live", "link.json", "--yes"])
            .output()
            .expect("it starts"),
    );
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    assert!(folder.path().join("link.json").is_symlink());
    assert!(
        objects(&folder.path().join("cluster.json"))
            .get("Tier/security")
            .is_some()
    );
}

#[test]
fn what_is_no_file_is_not_taken_for_a_cluster() {
    let folder = folder_with_cluster();
    plan(folder.path(), "one", "security");
    let ran = finish(
        hostguard(folder.path())
            .args(["plan", "one.yaml", "--live", "plans"])
            .output()
            .expect("it starts"),
    );
    assert_eq!(ran.code, 1);
    assert!(
        ran.stderr.contains("HG0801") && ran.stderr.contains("not a regular file"),
        "{}",
        ran.stderr
    );
}

/// An answer that could not be written is no success, and nothing is applied unseen.
#[test]
fn a_full_disk_is_no_success() {
    let folder = folder_with_cluster();
    plan(folder.path(), "one", "security");
    let full = || {
        std::fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("a device that is always full")
    };
    let shown = hostguard(folder.path())
        .args(["plan", "one.yaml", "--live", "cluster.json"])
        .stdout(full())
        .output();
    assert_eq!(finish(shown.expect("it starts")).code, 1);
    let before = objects(&folder.path().join("cluster.json"));
    let applied = hostguard(folder.path())
        .args(["apply", "one.yaml", "--live", "cluster.json", "--yes"])
        .stdout(full())
        .output();
    let applied = finish(applied.expect("it starts"));
    assert_eq!(applied.code, 1, "{}", applied.stderr);
    assert_eq!(objects(&folder.path().join("cluster.json")), before);
}
