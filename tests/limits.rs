//! How large a plan may be, and what is said beyond that.

use std::fmt::Write;
use std::path::Path;

use crate::support::command::{finish, hostguard};

/// A record is one ConfigMap. A plan that claims more than one can hold is refused before anything is written.
#[test]
fn a_plan_whose_record_does_not_fit_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let mut plan = String::from(
        "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: { name: large }\nspec:\n  cluster: { platform: generic }\n  networkSets:\n",
    );
    for i in 0..40_000 {
        let _ = writeln!(
            plan,
            "    set-{i}: {{ labels: {{ role: partner }}, nets: [ 10.{}.{}.0/24 ] }}",
            i / 256,
            i % 256
        );
    }
    std::fs::write(folder.path().join("plan.yaml"), plan).expect("a temporary folder can be written");
    let cluster = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/cluster.json");
    let cluster = cluster.to_str().expect("a plain path");
    let ran = finish(
        hostguard(folder.path())
            .args(["plan", "plan.yaml", "--live", cluster])
            .output()
            .expect("it starts"),
    );
    assert_eq!(ran.code, 1, "{}", ran.stderr);
    assert!(ran.stderr.contains("HG0524"), "{}", ran.stderr);
    assert!(ran.stderr.contains("split the plan"), "{}", ran.stderr);
}
