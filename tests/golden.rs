//! Cases as folders: `examples/*` and `tests/golden/*/*`.
//!
//! A case holds `args` (one command a line), `expected` (what each prints and how it ends) and the files the commands
//! name. `live.json` is the shared cluster of `examples/cluster.json`, changed by the case's `live.patch` (a JSON merge
//! patch) if there is one; with an `eks.patch` it is that of `examples/eks.json`, where the cloud was read too. `BLESS=1` rewrites `expected`; the diff of the folder is the review.
//! A line `@ FILE POINTER` shows a part of a JSON file as it is then; `# …` is a comment; `NAME=VALUE` words before the
//! command are its environment.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::support::command::{Ran, finish, hostguard};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn cases() -> Vec<PathBuf> {
    let folders = |at: PathBuf| -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&at).unwrap_or_else(|e| panic!("{}: {e}", at.display()));
        entries
            .map(|entry| entry.expect("a folder can be read").path())
            .filter(|path| path.is_dir())
            .collect()
    };
    let mut cases = folders(root().join("examples"));
    cases.retain(|case| !case.ends_with("ci")); // scripts and workflows: see tests/automation.rs
    cases.extend(folders(root().join("tests/golden")).into_iter().flat_map(folders));
    cases.sort();
    cases
}

#[test]
fn every_case_prints_what_is_expected() {
    let bless = std::env::var_os("BLESS").is_some();
    let mut wrong = Vec::new();
    let cases = cases();
    assert!(!cases.is_empty());
    for case in &cases {
        let got = run_case(case);
        let file = case.join("expected");
        let expected = std::fs::read_to_string(&file).unwrap_or_default();
        if bless {
            std::fs::write(&file, got).expect("the case's folder can be written");
        } else if got != expected {
            let diff = similar::TextDiff::from_lines(&expected, &got);
            wrong.push(format!(
                "{}\n{}",
                case.display(),
                diff.unified_diff().header("expected", "got")
            ));
        }
    }
    assert!(
        wrong.is_empty(),
        "{} of {} cases differ\n{}",
        wrong.len(),
        cases.len(),
        wrong.join("\n")
    );
}

/// Every code that can be printed stands in some case's expected output.
#[test]
fn every_code_has_a_case() {
    let mut seen = BTreeSet::new();
    for case in cases() {
        let text = std::fs::read_to_string(case.join("expected")).expect("every case has `expected`");
        for (at, _) in text.match_indices("[HG") {
            seen.insert(text[at + 1..].chars().take(6).collect::<String>());
        }
    }
    let missing: Vec<&str> = hostguard::error::codes::ALL
        .iter()
        .map(|row| row.code.as_str())
        .filter(|code| !seen.contains(*code) && !ELSEWHERE.iter().any(|(elsewhere, _)| elsewhere == code))
        .collect();
    assert!(missing.is_empty(), "no golden case shows {missing:?}");
    for (code, file) in ELSEWHERE {
        assert!(
            !seen.contains(*code),
            "{code} has a golden case now: take it off the list"
        );
        let text = std::fs::read_to_string(root().join(file)).unwrap_or_else(|e| panic!("{file}: {e}"));
        assert!(
            text.contains(code) || text.contains(name_of(code)),
            "{file} does not show {code}"
        );
    }
}

/// The constant that stands for a code in the tests of its module.
fn name_of(code: &str) -> &'static str {
    match code {
        "HG0523" => "CYCLE",
        "HG0604" => "UNANSWERED",
        "HG0605" => "UNAUTHORIZED",
        "HG0606" => "NOT_API_SERVER",
        "HG0607" => "DISCOVERY",
        "HG0608" => "ACCESS_REVIEW",
        other => panic!("{other} is shown by its digits"),
    }
}

/// Codes that need a server, a terminal or a signal, or that no plan can cause: the file whose test shows them.
const ELSEWHERE: &[(&str, &str)] = &[
    ("HG0523", "src/compile/mod.rs"),
    ("HG0524", "tests/limits.rs"),
    ("HG0604", "src/provider/cluster/tests/connecting.rs"),
    ("HG0605", "src/provider/cluster/tests/connecting.rs"),
    ("HG0606", "src/provider/cluster/tests/connecting.rs"),
    ("HG0607", "src/provider/cluster/tests/connecting.rs"),
    ("HG0608", "src/provider/cluster/tests/writing.rs"),
    ("HG0701", "tests/live/moving.rs"),
    ("HG0706", "tests/live/looking.rs"),
    ("HG0708", "tests/live/refused.rs"),
    ("HG0710", "tests/trust.rs"),
    ("HG0711", "tests/live/refused.rs"),
    ("HG0712", "tests/live/moving.rs"),
    ("HG0713", "tests/trust.rs"),
    ("HG0714", "tests/live/killed.rs"),
    ("HG0715", "tests/trust.rs"),
    ("HG0716", "tests/live/killed.rs"),
    ("HG0718", "tests/trust.rs"),
    ("HG0719", "tests/trust.rs"),
    ("HG0720", "tests/trust.rs"),
    ("HG0721", "tests/trust.rs"),
    ("HG0723", "tests/trust.rs"),
    ("HG0724", "tests/trust.rs"),
    ("HG0725", "tests/trust.rs"),
];

/// What a person is to do stands in every error and warning, whatever else is said.
#[test]
fn every_error_ends_in_a_fix() {
    let starts = |line: &str| line.starts_with("error[HG") || line.starts_with("warning[HG");
    let ends = |line: &str| starts(line) || line.starts_with("$ ") || line.starts_with("--- ");
    let mut without = Vec::new();
    let mut seen = 0;
    for case in cases() {
        let text = std::fs::read_to_string(case.join("expected")).expect("every case has `expected`");
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate().filter(|(_, line)| starts(line)) {
            seen += 1;
            let mut rest = lines[at + 1..].iter().take_while(|line| !ends(line));
            if !rest.any(|line| line.starts_with("  fix: ")) {
                without.push(format!("{}:{}: {line}", case.display(), at + 1));
            }
        }
    }
    assert!(seen > 300, "errors look otherwise now: {seen} were found");
    assert!(without.is_empty(), "no fix:\n{}", without.join("\n"));
}

/// The files of a case where its commands can change them.
pub fn folder_of(case: &Path) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for entry in std::fs::read_dir(case).expect("a case is a folder") {
        let path = entry.expect("a folder can be read").path();
        std::fs::copy(&path, folder.path().join(path.file_name().expect("a file"))).expect("a file can be copied");
    }
    copy_plans(folder.path());
    prepare_live(case, folder.path());
    folder
}

fn run_case(case: &Path) -> String {
    let folder = folder_of(case);
    let args = std::fs::read_to_string(case.join("args")).unwrap_or_else(|e| panic!("{}: {e}", case.display()));
    let mut out = String::new();
    for line in args
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
    {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = writeln!(out, "$ {line}");
        match line.strip_prefix("@ ") {
            Some(look) => out.push_str(&part_of(folder.path(), look)),
            None => out.push_str(&run_line(folder.path(), line)),
        }
    }
    out
}

/// `plans/` stands beside every case.
fn copy_plans(folder: &Path) {
    let plans = folder.join("plans");
    std::fs::create_dir(&plans).expect("a folder can be made");
    for entry in std::fs::read_dir(root().join("plans")).expect("plans/ can be read") {
        let path = entry.expect("plans/ can be read").path();
        std::fs::copy(&path, plans.join(path.file_name().expect("a file"))).expect("a file can be copied");
    }
}

/// How a run ended, and words that it said somewhere.
#[track_caller]
pub fn ends(ran: &Ran, code: i32, says: &[&str]) {
    let all = format!("{}{}", ran.stdout, ran.stderr);
    assert_eq!(ran.code, code, "{all}");
    for text in says {
        assert!(all.contains(text), "`{text}` is not in:\n{all}");
    }
}

/// A folder as README.md assumes it: `plans/`, and the shared cluster as `cluster.json`.
pub fn folder_with_cluster() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    copy_plans(folder.path());
    std::fs::copy(root().join("examples/cluster.json"), folder.path().join("cluster.json"))
        .expect("the shared cluster");
    folder
}

/// Commands and what a person sees of them, both streams, without exit codes.
pub fn transcript(folder: &Path, commands: &[&str]) -> String {
    let mut out = String::new();
    for command in commands {
        let _ = writeln!(out, "$ {command}");
        let shown = run_line(folder, command);
        out.extend(
            shown
                .lines()
                .filter(|line| !line.starts_with("--- "))
                .map(|line| format!("{line}\n")),
        );
    }
    out
}

fn prepare_live(case: &Path, folder: &Path) {
    let live = folder.join("live.json");
    if live.exists() {
        return;
    }
    let (base, patch) = match case.join("eks.patch") {
        path if path.exists() => ("examples/eks.json", path),
        _ => ("examples/cluster.json", case.join("live.patch")),
    };
    let text = std::fs::read_to_string(root().join(base)).expect("the shared cluster");
    let mut value: serde_json::Value = serde_json::from_str(&text).expect("the shared cluster is JSON");
    if let Ok(text) = std::fs::read_to_string(&patch) {
        let patch = serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", patch.display()));
        hostguard::changes::merge(&mut value, &patch);
    }
    std::fs::write(
        &live,
        serde_json::to_string_pretty(&value).expect("a value is printable"),
    )
    .expect("can be written");
}

fn run_line(folder: &Path, line: &str) -> String {
    let mut command = hostguard(folder);
    let mut words = split(line).into_iter().peekable();
    while let Some((name, value)) = words
        .peek()
        .and_then(|word| word.split_once('='))
        .filter(|(n, _)| n.chars().all(|c| c.is_ascii_uppercase() || c == '_'))
    {
        command.env(name, value);
        words.next();
    }
    assert_eq!(
        words.next().as_deref(),
        Some("hostguard"),
        "a line is a command of hostguard: {line}"
    );
    let words: Vec<String> = words.collect();
    if let Some(at) = words.iter().position(|word| word == "<") {
        let file = std::fs::File::open(folder.join(&words[at + 1])).expect("the file after `<`");
        command.stdin(file).args(&words[..at]);
    } else {
        command.args(&words);
    }
    let ran = finish(command.output().expect("the binary under test starts"));
    let mut out = ran.stdout;
    if !ran.stderr.is_empty() {
        let _ = write!(out, "--- stderr\n{}", ran.stderr);
    }
    let _ = writeln!(out, "--- exit {}", ran.code);
    out
}

/// Words; single quotes keep spaces.
pub fn split(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().expect("starts with one").push(c),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

fn part_of(folder: &Path, look: &str) -> String {
    let (file, pointer) = look.split_once(' ').expect("`@ FILE POINTER`");
    let text = std::fs::read_to_string(folder.join(file)).expect("the file to look at");
    let value: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    match value.pointer(pointer) {
        Some(part) => format!(
            "{}\n",
            serde_json::to_string_pretty(part).expect("a value is printable")
        ),
        None => "(absent)\n".to_string(),
    }
}
