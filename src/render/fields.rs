//! One field of a step: short values on a line, longer ones as YAML, and what changed in them as a line diff.
//!
//! The only file that names `similar` and the YAML writer.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use crate::changes::FieldChange;
use crate::escape::escape;

/// Longer than this and a value goes below its name.
const SHORT: usize = 48;
/// Columns for a field's first line, beside its indent.
const WIDTH: usize = 72;
/// Longer texts in YAML are folded: what a rule's selector has beside its indent and its name.
const FOLD: usize = 56;
/// Unchanged lines shown around a change.
const CONTEXT: usize = 2;

/// The lines of a field, without indent.
pub fn lines(field: &FieldChange) -> Vec<String> {
    let mut lines = value_lines(field);
    if let (Some(first), Some(manager)) = (lines.first_mut(), &field.taken_from) {
        let taken = format!("(was set by {})", escape(manager));
        if first.chars().count() + taken.len() + 2 <= WIDTH {
            first.push_str(&format!("  {taken}"));
        } else {
            lines.insert(1, format!("  {taken}"));
        }
    }
    lines
}

/// The lines of a value that was there and is not any more.
pub fn removed(field: &FieldChange) -> Vec<String> {
    let gone = FieldChange {
        before: None,
        after: field.before.clone(),
        ..field.clone()
    };
    lines(&gone)
}

/// The lines of a value that becomes another one, as a diff: `- ` before, `+ ` after, two spaces around them.
pub fn changed_lines(field: &FieldChange) -> Vec<String> {
    let name = escape(&field.path.to_string());
    let taken = field
        .taken_from
        .as_ref()
        .map(|manager| format!("  (was set by {})", escape(manager)));
    let taken = taken.unwrap_or_default();
    let (Some(before), Some(after)) = (&field.before, &field.after) else {
        return lines(field);
    };
    match (short(before), short(after)) {
        (Some(before), Some(after)) => vec![format!("- {name}: {before}{taken}"), format!("+ {name}: {after}")],
        _ => {
            let head = format!("  {name}:{taken}");
            std::iter::once(head)
                .chain(changed(&yaml(before), &yaml(after)))
                .collect()
        }
    }
}

fn value_lines(field: &FieldChange) -> Vec<String> {
    let name = escape(&field.path.to_string());
    let below = |head: String, body: Vec<String>| std::iter::once(head).chain(body).collect();
    match (&field.before, &field.after) {
        (None, Some(after)) => match short(after) {
            Some(after) => vec![format!("{name}: {after}")],
            None => below(
                format!("{name}:"),
                yaml(after).lines().map(|line| format!("  {line}")).collect(),
            ),
        },
        (Some(before), None) => match short(before) {
            Some(before) => vec![format!("{name}: {before} -> (absent)")],
            None => below(
                format!("{name}: -> (absent)"),
                yaml(before).lines().map(|line| format!("- {line}")).collect(),
            ),
        },
        (Some(before), Some(after)) => match (short(before), short(after)) {
            (Some(before), Some(after)) => vec![format!("{name}: {before} -> {after}")],
            _ => below(format!("{name}:"), changed(&yaml(before), &yaml(after))),
        },
        (None, None) => Vec::new(),
    }
}

/// A value that fits on the line of its name.
fn short(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => escape(text),
        Value::Array(items) if items.iter().all(|item| !item.is_object() && !item.is_array()) => {
            let items: Option<Vec<String>> = items.iter().map(short).collect();
            format!("[{}]", items?.join(", "))
        }
        Value::Object(_) | Value::Array(_) => return None,
        other => other.to_string(),
    };
    (text.chars().count() <= SHORT || value.is_number()).then_some(text)
}

fn yaml(value: &Value) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: FOLD };
    let text = serde_saphyr::to_string_with_options(value, options).unwrap_or_else(|_| value.to_string());
    text.lines().map(escape).collect::<Vec<_>>().join("\n")
}

fn changed(before: &str, after: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for (i, group) in diff.grouped_ops(CONTEXT).iter().enumerate() {
        if i > 0 {
            lines.push("  ...".to_string());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let mark = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(format!("{mark} {}", change.value().trim_end_matches('\n')));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::FieldPath;
    use serde_json::json;

    fn field(before: Option<Value>, after: Option<Value>) -> Vec<String> {
        lines(&FieldChange {
            path: FieldPath::dotted("spec.x"),
            before,
            after,
            taken_from: None,
        })
    }

    #[test]
    fn short_values_stand_on_one_line() {
        assert_eq!(
            field(Some(json!("Disabled")), Some(json!("Enabled"))),
            ["spec.x: Disabled -> Enabled"]
        );
        assert_eq!(field(None, Some(json!(["a", "b"]))), ["spec.x: [a, b]"]);
        assert_eq!(field(Some(json!(1)), None), ["spec.x: 1 -> (absent)"]);
    }

    #[test]
    fn a_changed_rule_shows_its_changed_line() {
        let rule = |net: &str| json!([{"action": "Deny", "source": {"notNets": [net]}}]);
        let lines = field(Some(rule("10.0.0.1/32")), Some(rule("10.0.0.2/32")));
        let changed: Vec<&String> = lines.iter().filter(|line| line.starts_with(['-', '+'])).collect();
        assert_eq!(changed.len(), 2, "{lines:#?}");
        assert!(
            changed[0].starts_with('-') && changed[0].ends_with("- 10.0.0.1/32"),
            "{lines:#?}"
        );
        assert!(
            changed[1].starts_with('+') && changed[1].ends_with("- 10.0.0.2/32"),
            "{lines:#?}"
        );
    }
}
