//! Every JUnit report that a golden case shows is valid by the schema of Jenkins' xUnit plugin, as xmlschema reads it.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::aws::venv;
use crate::support::live::not_run;

const CHECK: &str = "
import pathlib, sys, xmlschema
schema = xmlschema.XMLSchema(sys.argv[1])
for file in sys.argv[2:]:
    for error in schema.iter_errors(file):
        print(file, error)
";

fn shown() -> Vec<String> {
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folders = |at: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&at).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
        entries
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| path.is_dir())
            .collect()
    };
    let mut reports = Vec::new();
    for case in folders(golden).into_iter().flat_map(folders) {
        let text = std::fs::read_to_string(case.join("expected")).expect("every case has `expected`");
        for (at, _) in text.match_indices("<?xml") {
            let end = text[at..].find("</testsuites>").expect("a report ends");
            reports.push(text[at..at + end + "</testsuites>".len()].to_string());
        }
    }
    reports
}

#[test]
fn every_report_is_valid_by_the_published_schema() {
    let Some(venv) = venv() else {
        return not_run(
            "reports::every_report_is_valid_by_the_published_schema",
            "needs Python's xmlschema: make test",
        );
    };
    let folder = tempfile::tempdir().expect("a temporary folder");
    let schema = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/junit-10.xsd");
    let reports = shown();
    assert!(reports.len() >= 4, "{}", reports.len());
    let mut command = Command::new(venv.join("bin/python"));
    command.args(["-c", CHECK]).arg(schema);
    for (i, report) in reports.iter().enumerate() {
        let file = folder.path().join(format!("{i}.xml"));
        std::fs::write(&file, report).expect("can be written");
        command.arg(file);
    }
    // one that is none is seen
    let forged = folder.path().join("forged.xml");
    std::fs::write(
        &forged,
        "<testsuites><testsuite name=\"a\"><case/></testsuite></testsuites>",
    )
    .expect("can be written");
    let checked = command.output().expect("Python starts");
    assert!(checked.status.success() && checked.stdout.is_empty(), "{checked:?}");
    let checked = command.arg(forged).output().expect("Python starts");
    assert!(!checked.stdout.is_empty(), "a forged report is not seen");
}
