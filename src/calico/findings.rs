//! What the passes over an object collect: which rule, where, and at which stage it was met.

use std::collections::BTreeSet;

use serde_json::Value;

use super::path::{At, Path};
use super::rules::{Id, Rule};

/// Where on its way an object is stopped. One stage per pass; a merged finding may have several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    /// Strict field validation.
    Strict,
    /// Decoding into Calico's Go types.
    Decode,
    /// Calico's validator and the CRD rules it runs itself.
    Validate,
    /// The rest of Calico's create path.
    Create,
    /// Kubernetes' rules for the object behind the aggregated server.
    Stored,
    /// The kube-apiserver with v3 CRDs.
    Native,
    /// Felix' decoder.
    Unreadable,
    /// Felix' input filter.
    Dropped,
    /// Felix cannot run with it.
    Crash,
    /// hostguard's own rules.
    House,
    /// Worth saying, not worth refusing.
    Advice,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    Error,
    Warning,
}

/// One broken rule at one place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    pub rule: &'static Rule,
    pub level: Level,
    /// Of the offending value, or of the parent when something is missing.
    pub path: Path,
    /// Lower case, names the value.
    pub message: String,
    /// What Felix would do with it, where that surprises.
    pub consequence: Option<String>,
    pub fix: Option<String>,
}

pub(super) struct Finding {
    pub id: Id,
    pub stages: BTreeSet<Stage>,
    pub path: Path,
    pub message: String,
    pub consequence: Option<String>,
    pub fix: Option<String>,
}

impl Finding {
    pub fn fix(&mut self, fix: impl Into<String>) -> &mut Self {
        self.fix = Some(fix.into());
        self
    }

    pub fn because(&mut self, consequence: impl Into<String>) -> &mut Self {
        self.consequence = Some(consequence.into());
        self
    }
}

/// The findings of all passes so far.
#[derive(Default)]
pub(super) struct Findings {
    pub list: Vec<Finding>,
}

impl Findings {
    pub fn add(&mut self, stage: Stage, id: Id, at: &At<'_>, message: impl Into<String>) -> &mut Finding {
        let index = self.list.len();
        self.list.push(Finding {
            id,
            stages: BTreeSet::from([stage]),
            path: at.path(),
            message: message.into(),
            consequence: None,
            fix: None,
        });
        &mut self.list[index]
    }

    pub fn any(&self, stages: &[Stage]) -> bool {
        self.list.iter().any(|f| stages.iter().any(|s| f.stages.contains(s)))
    }

    /// One violation per rule and place, in the order of places.
    pub fn into_violations(self, object: &Value) -> Vec<Violation> {
        let mut list = self.list;
        // What cannot be read counts as not given in the later passes; their complaints at that place are no news.
        let unread = |f: &Finding| f.stages.contains(&Stage::Decode) || f.stages.contains(&Stage::Unreadable);
        let unreadable: BTreeSet<Path> = list.iter().filter(|f| unread(f)).map(|f| f.path.clone()).collect();
        list.retain(|f| unread(f) || f.id == Id::WrongType || !unreadable.contains(&f.path));
        // Passes over what Calico's types make of the object also complain of what is not there.
        let missing: BTreeSet<Path> = list
            .iter()
            .filter(|f| f.id == Id::Missing)
            .map(|f| f.path.clone())
            .collect();
        list.retain(|f| f.path.find(object).is_some() || !missing.contains(&f.path.parent()));
        for finding in &mut list {
            while finding.path.find(object).is_none() {
                finding.path = finding.path.parent();
            }
        }
        list.sort_by(|a, b| (&a.path, a.id).cmp(&(&b.path, b.id)));
        let mut out: Vec<(Id, Violation)> = Vec::new();
        for finding in list {
            let advice = finding.stages.iter().all(|s| *s == Stage::Advice);
            let level = if advice { Level::Warning } else { Level::Error };
            match out.last_mut() {
                Some((id, last)) if *id == finding.id && last.path == finding.path => {
                    let same = last.message == finding.message;
                    if !same && finding.id == Id::Missing {
                        out.push((finding.id, violation(finding, level)));
                        continue;
                    }
                    last.level = last.level.min(level);
                    last.fix = last.fix.take().or(finding.fix);
                    last.consequence = last.consequence.take().or(finding.consequence);
                }
                _ => out.push((finding.id, violation(finding, level))),
            }
        }
        out.into_iter().map(|(_, v)| v).collect()
    }
}

fn violation(finding: Finding, level: Level) -> Violation {
    Violation {
        rule: finding.id.rule(),
        level,
        path: finding.path,
        message: finding.message,
        consequence: finding.consequence,
        fix: finding.fix,
    }
}

/// A value as a message shows it, cut to a readable length.
pub(super) fn shown(value: &Value) -> String {
    let text = match value {
        Value::String(text) => format!("`{}`", printable(text)),
        Value::Array(_) => return "a list".to_string(),
        Value::Object(_) => return "an object".to_string(),
        other => format!("`{other}`"),
    };
    match text.char_indices().nth(80) {
        Some((end, _)) => format!("{}…`", &text[..end]),
        None => text,
    }
}

/// The same with the quotes that tell text from a number.
pub(super) fn shown_typed(value: &Value) -> String {
    match value {
        Value::String(text) => shown(&Value::from(format!("\"{text}\""))),
        other => shown(other),
    }
}

/// Line breaks and other control characters as escapes.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_control() {
            true => out.extend(c.escape_default()),
            false => out.push(c),
        }
    }
    out
}
