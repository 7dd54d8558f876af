//! The cases in `tests/golden/plan`, one mistake each: `golden.rs` holds them to the letter, here is what all must keep.

use hostguard::error::codes;

use super::{folder, read};

/// Cases by name, with what is said.
fn cases() -> Vec<(String, String)> {
    let folder = folder("tests/golden/plan");
    let entries = std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut cases: Vec<(String, String)> = entries
        .map(|entry| entry.expect("a readable entry").path())
        .map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            (name, read(&path.join("expected")))
        })
        .collect();
    cases.sort();
    cases
}

#[test]
fn each_case_says_its_code_within_80_columns() {
    for (name, said) in cases() {
        assert!(
            said.contains(&format!("[{}]", &name[..6])),
            "{name}: its code is not said\n{said}"
        );
        let answer = said.lines().filter(|line| !line.starts_with('$'));
        let wide: Vec<&str> = answer.filter(|line| line.chars().count() > 80).collect();
        assert!(wide.is_empty(), "{name}: {wide:?}");
    }
}

#[test]
fn every_code_of_the_language_has_a_case_of_its_own() {
    let cases = cases();
    let own = codes::ALL.iter().map(|row| row.code.as_str());
    let own = own.filter(|code| *code < "HG0400" || ("HG0900".."HG1000").contains(code));
    let missing: Vec<&str> = own
        .filter(|code| !cases.iter().any(|(name, _)| name.starts_with(code)))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}
