//! A file of one sort where another is wanted: a snapshot or a saved change set for a plan, a plan for a snapshot.
//!
//! Each is said as one error that names what the file is and where it belongs. What is none of the three is for its
//! reader to refuse. Reads names only; whether a file is whole is for whoever uses it.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;

use crate::error::{Code, Error, codes};
use crate::plan::{Document, Draft};

/// What a file is meant as.
enum Sort {
    Plan,
    Snapshot,
    /// With the file of its plan, and its plan's name, as far as they can be read.
    ChangeSet {
        file: Option<String>,
        plan: Option<String>,
    },
}

impl Sort {
    fn of(name: &str, bytes: &[u8]) -> Option<Sort> {
        #[derive(Deserialize)]
        struct Head {
            hostguard_snapshot: Option<IgnoredAny>,
            hostguard_change_set: Option<IgnoredAny>,
            plan: Option<Value>,
        }
        let is_map = bytes.trim_ascii_start().starts_with(b"{");
        let head = is_map.then(|| serde_json::from_slice::<Head>(bytes).ok()).flatten();
        let (snapshot, set, plan) = match head {
            Some(head) => (
                head.hostguard_snapshot.is_some(),
                head.hostguard_change_set.is_some(),
                head.plan,
            ),
            // cut short, or edited
            None => (holds(bytes, "hostguard_snapshot"), is_change_set(bytes), None),
        };
        if set {
            let text = |field: &str| Some(plan.as_ref()?.get(field)?.as_str()?.to_string());
            return Some(Sort::ChangeSet {
                file: text("file"),
                plan: text("name"),
            });
        }
        if snapshot {
            return Some(Sort::Snapshot);
        }
        let document = Document::read(name, bytes);
        let named = document.drafts().iter().any(|draft| Draft::name(draft).is_some());
        named.then_some(Sort::Plan)
    }

    fn as_str(&self) -> &'static str {
        match self {
            Sort::Plan => "a plan",
            Sort::Snapshot => "a snapshot",
            Sort::ChangeSet { .. } => "a saved change set",
        }
    }

    /// Where it belongs.
    fn used(&self, file: &str) -> String {
        match self {
            Sort::Plan => format!("`hostguard plan {file}` shows what it changes"),
            Sort::Snapshot => format!("give it to play the cluster: `--live {file}`"),
            Sort::ChangeSet { .. } => {
                format!("`hostguard show {file}` shows it, `hostguard apply {file}` makes its steps")
            }
        }
    }
}

/// A mapping in JSON with this key somewhere; it need not be whole.
fn holds(bytes: &[u8], key: &str) -> bool {
    let key = format!("\"{key}\"");
    let is_map = bytes.trim_ascii_start().starts_with(b"{");
    is_map && bytes.windows(key.len()).any(|part| part == key.as_bytes())
}

/// Meant as a saved change set, whole or not.
pub(super) fn is_change_set(bytes: &[u8]) -> bool {
    holds(bytes, "hostguard_change_set")
}

fn wrong(code: Code, file: &str, sort: &Sort, wanted: &str, more: &str) -> Error {
    let shown = if file == "-" { "standard input" } else { file };
    let file = if file == "-" { "FILE" } else { file };
    let error = Error::failed(code, format!("{shown} is {}, not {wanted}", sort.as_str()));
    error.fix(format!("{}{more}", sort.used(file)))
}

/// Why a file is no plan, where it is something else of hostguard's.
pub(super) fn for_plan(file: &str, bytes: &[u8]) -> Option<Error> {
    // most files are plans, and need not be read twice
    if !holds(bytes, "hostguard_snapshot") && !is_change_set(bytes) {
        return None;
    }
    let sort = Sort::of(file, bytes)?;
    let more = match &sort {
        Sort::Plan => return None,
        Sort::Snapshot => ", beside a plan".to_string(),
        Sort::ChangeSet { file, plan } => {
            let file = file.as_ref().map(|file| format!("; it was made from {file}"));
            let name = plan.as_ref().map(|plan| format!(", plan {plan}"));
            file.into_iter().chain(name).collect()
        }
    };
    Some(wrong(codes::NOT_A_PLAN, file, &sort, "a plan", &more))
}

/// Why a file is no snapshot, where it is something else of hostguard's.
pub(super) fn for_snapshot(file: &str) -> Option<Error> {
    let sort = Sort::of(file, &std::fs::read(file).ok()?)?;
    let more = "; --live takes `cluster`, or what `hostguard snapshot --out FILE` wrote";
    let other = !matches!(sort, Sort::Snapshot);
    other.then(|| wrong(codes::SNAPSHOT_BROKEN, file, &sort, "a snapshot", more))
}

/// Why a file is no saved change set, where it is something else of hostguard's.
pub(super) fn for_change_set(file: &str, bytes: &[u8]) -> Option<Error> {
    let sort = Sort::of(file, bytes)?;
    let more = match sort {
        Sort::Plan => format!(", `hostguard plan {file} --out FILE` saves that"),
        Sort::Snapshot => String::new(),
        Sort::ChangeSet { .. } => return None,
    };
    Some(wrong(codes::SAVED_BROKEN, file, &sort, "a saved change set", &more))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_what_it_says_of_itself() {
        let sort = |text: &str| Sort::of("f", text.as_bytes()).map(|sort| sort.as_str());
        let plan = "apiVersion: hostguard.dev/v1alpha1\nkind: HostProtection\nmetadata: {name: p}\n";
        for (text, expected) in [
            (plan, Some("a plan")),
            (
                r#"{"kind": "HostProtection", "metadata": {"name": "p"}}"#,
                Some("a plan"),
            ),
            (r#"{"hostguard_snapshot": 1, "objects": {}}"#, Some("a snapshot")),
            (r#"{"hostguard_snapshot": 9}"#, Some("a snapshot")),
            ("{\n  \"hostguard_snapshot\": 1,\n  \"obj", Some("a snapshot")),
            (
                r#"{"hostguard_change_set": 1, "observed": {"hostguard_snapshot": 1}}"#,
                Some("a saved change set"),
            ),
            (
                r#"{"answer": {}, "hostguard_change_set": 1, "#,
                Some("a saved change set"),
            ),
            (r#"{"kind": "List", "metadata": {"name": "p"}}"#, None),
            ("{}", None),
            ("", None),
            ("hello", None),
        ] {
            assert_eq!(sort(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_read_from_standard_input_has_no_name_to_give_again() {
        let error = for_plan("-", br#"{"hostguard_snapshot": 1}"#).expect("no plan");
        assert_eq!(error.message, "standard input is a snapshot, not a plan");
        let fix = "give it to play the cluster: `--live FILE`, beside a plan";
        assert_eq!(error.fix.as_deref(), Some(fix));
    }
}
