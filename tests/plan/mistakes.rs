//! One case per mistake: a plan, and exactly what is said about it. `BLESS=1` rewrites what is said.
//!
//! A case is a file: the plan, a line of `=`, the answer. Comments of the plan such as `# --set a=b`, `# --inputs FILE`
//! (the rest of the line is the file) and `# HOSTGUARD_INPUT_A=b` give values.

use std::collections::BTreeMap;

use hostguard::error::{Style, codes, show_diagnostics};
use hostguard::plan::{Document, Given, Lookups, read_inputs};

use super::{files, folder, read};

const RULE: &str = "================================================================================\n";

#[test]
fn what_is_said_about_each_mistake() {
    let mut wrong = Vec::new();
    for path in files("tests/plan/mistakes", ".txt") {
        let text = read(&path);
        let (plan, expected) = text.split_once(RULE).unwrap_or((&text, ""));
        let said = said(plan);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        assert!(
            said.contains(&format!("[{}]", &name[..6])),
            "{name}: its code is not said:\n{said}"
        );
        for line in said.lines().filter(|line| line.chars().count() > 80) {
            wrong.push(format!("{name}: wider than 80 columns: {line}"));
        }
        if said != expected {
            if std::env::var_os("BLESS").is_some() {
                std::fs::write(&path, format!("{plan}{RULE}{said}")).unwrap_or_else(|error| panic!("{name}: {error}"));
            } else {
                wrong.push(format!("{name}: expected\n{expected}\nsaid\n{said}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_code_of_the_language_has_a_case() {
    let cases: Vec<String> = files("tests/plan/mistakes", ".txt")
        .iter()
        .map(|path| path.file_name().unwrap_or_default().to_string_lossy().into_owned())
        .collect();
    let own = codes::ALL
        .iter()
        .map(|row| row.code.as_str())
        .filter(|code| *code < "HG0400" || *code >= "HG0900");
    let missing: Vec<&str> = own
        .filter(|code| !cases.iter().any(|case| case.starts_with(code)))
        .collect();
    assert!(
        missing.is_empty(),
        "no case in {}: {missing:?}",
        folder("tests/plan/mistakes").display()
    );
}

fn said(plan: &str) -> String {
    let mut given = Given::default();
    for line in plan.lines().filter_map(|line| line.strip_prefix("# ")) {
        let pair = |text: &str| {
            text.split_once('=')
                .map(|(name, value)| (name.to_string(), value.to_string()))
        };
        if let Some((name, value)) = line.strip_prefix("--set ").and_then(pair) {
            given.set.insert(name, value);
        } else if let Some(file) = line.strip_prefix("--inputs ") {
            match read_inputs("inputs.yaml", file.as_bytes()) {
                Ok(values) => given.files.push(("inputs.yaml".to_string(), values)),
                Err((source, problems)) => return show_diagnostics(&source, &problems, Style::default()),
            }
        } else if line.starts_with("HOSTGUARD_INPUT_") {
            given.env.extend(pair(line).into_iter().collect::<BTreeMap<_, _>>());
        }
    }
    let document = Document::read("plan.yaml", plan.as_bytes());
    let problems = match document.the_plan(&given, &Lookups::Pending) {
        Ok(plan) => plan.warnings().to_vec(),
        Err(problems) => problems,
    };
    show_diagnostics(document.source(), &problems, Style::default())
}
