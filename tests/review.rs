//! Findings for machines: SARIF fits the schema of OASIS and what GitHub wants beside it, JUnit is what Jenkins' schema
//! says, and the JSON of every golden case fits the published schemas.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::OnceLock;

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::Value;

use crate::golden::{cases, folder_of, split};
use crate::support::command::{Ran, finish, hostguard};

fn schema_of(folder: &Path, kind: &str) -> jsonschema::Validator {
    let ran = finish(hostguard(folder).args(["schema", kind]).output().expect("it starts"));
    let schema: Value = serde_json::from_str(&ran.stdout).expect("a schema is JSON");
    jsonschema::validator_for(&schema).expect("the published schema is a schema")
}

/// The schema of OASIS; see tests/schemas.
pub fn sarif_schema() -> &'static jsonschema::Validator {
    static SCHEMA: OnceLock<jsonschema::Validator> = OnceLock::new();
    SCHEMA.get_or_init(|| {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/schemas/sarif-2.1.0.json");
        let text = std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        let mut schema: Value = serde_json::from_str(&text).expect("a schema is JSON");
        // A misprint, a bracket that nothing opens; it is about the language of texts, which ours does not name.
        for owner in ["run", "toolComponent"] {
            let language = schema.pointer_mut(&format!("/definitions/{owner}/properties/language"));
            let language = language.and_then(Value::as_object_mut);
            language
                .and_then(|of| of.remove("pattern"))
                .expect("the misprint is there");
        }
        jsonschema::validator_for(&schema).expect("a schema")
    })
}

fn errors(validator: &jsonschema::Validator, text: &str) -> Vec<String> {
    match serde_json::from_str::<Value>(text) {
        Ok(value) => {
            let errors = validator.iter_errors(&value);
            errors.map(|e| format!("{}: {e}", e.instance_path())).collect()
        }
        Err(error) => vec![error.to_string()],
    }
}

/// Its commands about plans, before one that writes, without a form.
fn looking(case: &Path) -> Vec<Vec<String>> {
    let args = std::fs::read_to_string(case.join("args")).expect("a case has args");
    let lines = args
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with(['#', '@']));
    let words = lines
        .map(split)
        .take_while(|words| !words.iter().any(|word| word == "apply" || word == "destroy"));
    let words = words
        .filter(|words| words[0] == "hostguard" && !words.iter().any(|word| word == "<" || word.starts_with("-o")));
    let looks = |words: &Vec<String>| ["plan", "check", "exposure", "why", "diff"].contains(&words[1].as_str());
    words.filter(looks).map(|words| words[1..].to_vec()).collect()
}

fn run(folder: &Path, words: &[String], form: &str) -> Ran {
    let mut command = hostguard(folder);
    command.args(words).arg(form);
    finish(command.output().expect("it starts"))
}

#[test]
fn every_golden_case_fits_the_published_schemas() {
    let any = tempfile::tempdir().expect("a temporary folder");
    let kinds = ["answer", "exposure", "why", "check", "diff"];
    let schemas: BTreeMap<&str, jsonschema::Validator> = kinds
        .into_iter()
        .map(|kind| (kind, schema_of(any.path(), kind)))
        .collect();
    let sarif = sarif_schema();
    let (mut wrong, mut looked) = (Vec::new(), 0);
    for case in cases() {
        let folder = folder_of(&case);
        for words in looking(&case) {
            let kind = if words[0] == "plan" {
                "answer"
            } else {
                words[0].as_str()
            };
            let ran = run(folder.path(), &words, "-ojson");
            // a command line that is not understood has no form yet
            if ran.code == 64 && ran.stdout.is_empty() {
                continue;
            }
            let said = ran.stdout;
            let mut found = errors(&schemas[kind], &said);
            if ["plan", "check"].contains(&words[0].as_str()) {
                let said = run(folder.path(), &words, "-osarif").stdout;
                found.extend(errors(sarif, &said));
                found.extend(wanted_by_github(&said));
                found.extend(junit(&run(folder.path(), &words, "-ojunit").stdout));
            }
            looked += 1;
            wrong.extend(
                found
                    .iter()
                    .map(|error| format!("{} {words:?}: {error}", case.display())),
            );
        }
    }
    assert!(looked > 150, "{looked} commands");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// What code scanning asks of a file beside the schema ("SARIF support for code scanning").
pub fn wanted_by_github(text: &str) -> Vec<String> {
    let Ok(log) = serde_json::from_str::<Value>(text) else {
        return vec!["not JSON".to_string()];
    };
    let mut wrong = Vec::new();
    let run = &log["runs"][0];
    let rules = run["tool"]["driver"]["rules"].as_array().cloned().unwrap_or_default();
    let results = run["results"].as_array().cloned().unwrap_or_default();
    if text.len() > 10_000_000 || results.len() > 5_000 || rules.len() > 25_000 {
        wrong.push("too large".to_string());
    }
    let mut prints = Vec::new();
    for result in &results {
        let at = usize::try_from(result["ruleIndex"].as_u64().unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        if rules.get(at).is_none_or(|rule| rule["id"] != result["ruleId"]) {
            wrong.push(format!("{}: no such rule", result["ruleId"]));
        }
        if result["locations"].as_array().is_none_or(|all| all.len() != 1) {
            wrong.push(format!("{}: not in one place", result["ruleId"]));
        }
        let place = &result["locations"][0]["physicalLocation"];
        let uri = place["artifactLocation"]["uri"].as_str().unwrap_or("relative");
        if uri.contains("..") || uri.contains(' ') || uri.is_empty() {
            wrong.push(format!("{uri} is no path of a repository"));
        }
        prints.push(result["partialFingerprints"]["primaryLocationLineHash"].clone());
    }
    let all = prints.len();
    prints.sort_by_key(Value::to_string);
    prints.dedup();
    if prints.len() != all || prints.contains(&Value::Null) {
        wrong.push("two results have one fingerprint".to_string());
    }
    wrong
}

/// What Jenkins' schema says of a report, as far as ours uses it; `tests/live` asks the schema itself.
pub fn junit(text: &str) -> Vec<String> {
    let mut reader = Reader::from_str(text);
    let (mut wrong, mut open): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
    let (mut claimed, mut tests, mut failures) = (None, 0, 0);
    let within = |name: &str| match name {
        "testsuites" => "",
        "testsuite" => "testsuites",
        "testcase" => "testsuite",
        "failure" | "skipped" | "system-out" => "testcase",
        _ => "nothing",
    };
    loop {
        let (element, empty) = match reader.read_event() {
            Err(error) => return vec![error.to_string()],
            Ok(Event::Eof) => break,
            Ok(Event::Start(element)) => (element, false),
            Ok(Event::Empty(element)) => (element, true),
            Ok(Event::End(_)) => {
                open.pop();
                continue;
            }
            Ok(Event::Decl(_) | Event::Text(_) | Event::GeneralRef(_)) => continue,
            Ok(other) => return vec![format!("{other:?}")],
        };
        let name = element.name().as_ref().to_string();
        if within(&name) != open.last().map_or("", String::as_str) {
            wrong.push(format!("<{name}> within {:?}", open.last()));
        }
        match name.as_str() {
            "testsuites" => claimed = Some((attribute(&element, "tests"), attribute(&element, "failures"))),
            "testcase" => {
                tests += 1;
                if attribute(&element, "name").is_empty() || attribute(&element, "classname").is_empty() {
                    wrong.push("a case without a name".to_string());
                }
            }
            "failure" => failures += 1,
            _ => {}
        }
        if !empty {
            open.push(name);
        }
    }
    if claimed != Some((tests.to_string(), failures.to_string())) {
        wrong.push(format!("{claimed:?} of {tests} and {failures}"));
    }
    let legal = |c: char| matches!(c, '\n' | ' '..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..);
    if let Some(c) = text.chars().find(|c| !legal(*c)) {
        wrong.push(format!("{c:?} is not in XML"));
    }
    wrong
}

fn attribute(element: &BytesStart<'_>, name: &str) -> String {
    let found = element.try_get_attribute(name).ok().flatten();
    found.map(|value| value.value.into_owned()).unwrap_or_default()
}

/// A finding that only moves down in the file is the same finding.
#[test]
fn fingerprints_do_not_depend_on_lines() {
    let case = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/gates/waived");
    let folder = folder_of(&case);
    let prints = |folder: &Path| -> (Vec<String>, Vec<u64>) {
        let words = ["plan", "expired.yaml", "--live", "live.json"].map(str::to_string);
        let log: Value = serde_json::from_str(&run(folder, &words, "-osarif").stdout).expect("JSON");
        let results = log["runs"][0]["results"].as_array().expect("results").clone();
        let print = |result: &Value| result["partialFingerprints"]["primaryLocationLineHash"].to_string();
        let line = |result: &Value| result["locations"][0]["physicalLocation"]["region"]["startLine"].as_u64();
        (
            results.iter().map(print).collect(),
            results.iter().filter_map(line).collect(),
        )
    };
    let before = prints(folder.path());
    let file = folder.path().join("expired.yaml");
    let text = std::fs::read_to_string(&file).expect("the plan");
    std::fs::write(&file, format!("# one\n# two\n# three\n{text}")).expect("can be written");
    let after = prints(folder.path());
    assert_eq!(before.0, after.0);
    assert!(before.0.len() >= 3);
    let moved: Vec<u64> = before.1.iter().map(|line| line + 3).collect();
    assert_eq!(moved, after.1);
}
