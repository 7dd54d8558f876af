//! One field of a step: short values on a line, longer ones as YAML, and what changed in them as a line diff.
//!
//! The only file that names `similar` and the YAML writer.

use serde_json::Value;
use similar::{ChangeTag, TextDiff};

use super::escape::escape;
use crate::changes::FieldChange;

/// Longer than this and a value goes below its name.
const SHORT: usize = 48;
/// Unchanged lines shown around a change.
const CONTEXT: usize = 2;

/// The lines of a field, without indent.
pub fn lines(field: &FieldChange) -> Vec<String> {
    let name = escape(&field.path.to_string());
    let taken = field
        .taken_from
        .as_ref()
        .map(|m| format!("  (was set by {})", escape(m)))
        .unwrap_or_default();
    match (&field.before, &field.after) {
        (None, Some(after)) => one(&name, "", after, &taken),
        (Some(before), None) => match short(before) {
            Some(before) => vec![format!("{name}: {before} -> (absent){taken}")],
            None => {
                let mut lines = vec![format!("{name}: -> (absent){taken}")];
                lines.extend(yaml(before).lines().map(|line| format!("- {line}")));
                lines
            }
        },
        (Some(before), Some(after)) => match (short(before), short(after)) {
            (Some(before), Some(after)) => vec![format!("{name}: {before} -> {after}{taken}")],
            _ => {
                let mut lines = vec![format!("{name}:{taken}")];
                lines.extend(changed(&yaml(before), &yaml(after)));
                lines
            }
        },
        (None, None) => Vec::new(),
    }
}

fn one(name: &str, mark: &str, value: &Value, taken: &str) -> Vec<String> {
    match short(value) {
        Some(value) => vec![format!("{name}: {value}{taken}")],
        None => {
            let mut lines = vec![format!("{name}:{taken}")];
            lines.extend(yaml(value).lines().map(|line| format!("{mark}  {line}")));
            lines
        }
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
    let text = serde_saphyr::to_string(value).unwrap_or_else(|_| value.to_string());
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
        assert!(lines.contains(&"-       - 10.0.0.1/32".to_string()), "{lines:#?}");
        assert!(lines.contains(&"+       - 10.0.0.2/32".to_string()), "{lines:#?}");
    }
}
