//! Parts of a plan that become Calico objects, held against Calico's own rules, each violation at its place in the plan.
//!
//! Knows where values were written, not which are right: that is `calico::validate`.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::calico::{Level, Path, Step, Violation, validate};
use crate::error::{Code, Diagnostic};
use crate::plan::language::InputType;
use crate::plan::node::{Entry, Kind, Node, Style};
use crate::plan::scalar::json_number;
use crate::selector::Selector;
use crate::source::{Source, Span};

/// An object as it will be sent, and where its parts were written.
pub(super) struct Object<'a> {
    pub kind: &'static str,
    pub name: &'a str,
    /// The place of whatever has no place of its own.
    pub name_span: Span,
    pub labels: Option<&'a Node>,
    /// `spec` as written; fields that the plan derives are in `derived`.
    pub spec: Node,
    pub derived: Vec<(&'static str, Value)>,
}

/// Rules about something that is not there. Said of a part from which a bad value was left out, they may be wrong.
const ABSENCE: [&str; 4] = ["HG0403", "HG0423", "HG0434", "HG0438"];
const UNKNOWN_KEY: &str = "HG0401";

impl Object<'_> {
    /// What is wrong with it. Keys that were misspelled are also read as what was meant, so that what they hold is
    /// checked in the same run.
    pub fn check(&self, source: &Source) -> Vec<Diagnostic> {
        let mut pruned = Pruned::default();
        let mut spec = pruned.prune(&self.spec).unwrap_or(Node {
            kind: Kind::Map(Vec::new()),
            ..self.spec.clone()
        });
        let mut problems = Vec::new();
        // Each round repairs what the one before found; three are enough for a key inside a key inside a key.
        for _ in 0..3 {
            let violations = validate(&self.json(&spec));
            let renamed = rename(&mut spec.clone(), &violations);
            for violation in &violations {
                if let Some(problem) = self.diagnostic(violation, &spec, &pruned, source) {
                    problems.push(problem);
                }
            }
            match renamed {
                Some(again) => spec = again,
                None => break,
            }
        }
        problems
    }

    fn json(&self, spec: &Node) -> Value {
        let mut metadata = json!({ "name": self.name });
        if let Some(labels) = self.labels {
            metadata["labels"] = to_json(labels);
        }
        let mut spec = to_json(spec);
        for (key, value) in &self.derived {
            spec[*key] = value.clone();
        }
        json!({ "apiVersion": "projectcalico.org/v3", "kind": self.kind, "metadata": metadata, "spec": spec })
    }

    fn diagnostic(&self, violation: &Violation, spec: &Node, pruned: &Pruned, source: &Source) -> Option<Diagnostic> {
        let (span, node) = self.place(&violation.path, spec, violation.rule.id == UNKNOWN_KEY);
        let left_out = |node: &Node| {
            pruned
                .holes
                .iter()
                .any(|hole| hole.start <= node.span.start && node.span.end <= hole.end)
        };
        if ABSENCE.contains(&violation.rule.id) && node.is_some_and(left_out) {
            return None;
        }
        let (span, text) = match node.and_then(|node| inside_selector(violation, node, source)) {
            Some((span, text)) => (span, text),
            None => (span, violation.rule.title.to_string()),
        };
        let mut problem = Diagnostic::error(Code(violation.rule.id), span, violation.message.clone(), text);
        if violation.level == Level::Warning {
            problem = problem.warning();
        }
        problem.consequence = violation.consequence.clone();
        problem.fix = violation.fix.clone();
        problem.gates = Some(violation.rule.gates.words());
        Some(problem)
    }

    /// The place of a path, and the node there.
    fn place<'n>(&'n self, path: &Path, spec: &'n Node, key_only: bool) -> (Span, Option<&'n Node>) {
        let (root, steps) = match path.0.as_slice() {
            [Step::Key(key), steps @ ..] if key == "spec" => (spec, steps),
            [Step::Key(key), Step::Key(labels), steps @ ..] if key == "metadata" && labels == "labels" => {
                match self.labels {
                    Some(labels) => (labels, steps),
                    None => return (self.name_span, None),
                }
            }
            _ => return (self.name_span, None),
        };
        let mut node = root;
        let mut key = self.name_span;
        for step in steps {
            let next = match step {
                Step::Key(name) => node.entry(name).map(|entry| (&entry.value, entry.key.span)),
                Step::Index(index) => node.items().get(*index).map(|item| (item, item.span)),
            };
            let Some((below, span)) = next else { break };
            (node, key) = (below, span);
        }
        let collection = matches!(node.kind, Kind::Map(_) | Kind::Seq(_));
        (if key_only || collection { key } else { node.span }, Some(node))
    }
}

/// The place of a selector's mistake inside the scalar, where the scalar was written as it reads.
fn inside_selector(violation: &Violation, node: &Node, source: &Source) -> Option<(Span, String)> {
    let text = node.text()?;
    if violation.rule.id != "HG0429" {
        return None;
    }
    let error = Selector::parse(text).err()?;
    let written = source.text().get(node.span.start..node.span.end)?;
    let shift = match written.strip_prefix(['"', '\'']) {
        Some(rest) if rest.strip_suffix(['"', '\'']) == Some(text) => 1,
        None if written == text => 0,
        _ => return None,
    };
    let start = node.span.start + shift + error.span.start;
    Some((Span::new(start, start + error.span.len()), error.message))
}

/// What was left out because it is bad.
#[derive(Default)]
struct Pruned {
    /// Mappings from which something is missing.
    holes: BTreeSet<Span>,
}

impl Pruned {
    fn prune(&mut self, node: &Node) -> Option<Node> {
        let kind = match &node.kind {
            Kind::Bad => return None,
            Kind::Scalar { .. } => return Some(node.clone()),
            Kind::Seq(items) => {
                let kept: Vec<Node> = items.iter().filter_map(|item| self.prune(item)).collect();
                if kept.is_empty() && !items.is_empty() {
                    return None;
                }
                Kind::Seq(kept)
            }
            Kind::Map(entries) => {
                let mut kept = Vec::new();
                for entry in entries {
                    match self.prune(&entry.value) {
                        Some(value) => kept.push(Entry { value, ..entry.clone() }),
                        None => drop(self.holes.insert(node.span)),
                    }
                }
                Kind::Map(kept)
            }
        };
        Some(Node {
            span: node.span,
            kind,
            via_alias: node.via_alias,
        })
    }
}

/// The tree with misspelled keys as they were meant; `None` when there is none whose meaning is known.
fn rename(spec: &mut Node, violations: &[Violation]) -> Option<Node> {
    let mut any = false;
    for violation in violations.iter().filter(|violation| violation.rule.id == UNKNOWN_KEY) {
        let meant = violation
            .fix
            .as_deref()
            .and_then(|fix| fix.strip_prefix("write `")?.strip_suffix('`'));
        let (Some(meant), [Step::Key(root), steps @ .., Step::Key(key)]) = (meant, violation.path.0.as_slice()) else {
            continue;
        };
        if root == "spec"
            && let Some(Kind::Map(entries)) = descend(spec, steps).map(|node| &mut node.kind)
            && !entries.iter().any(|entry| entry.key.value == meant)
            && let Some(entry) = entries.iter_mut().find(|entry| entry.key.value == *key)
        {
            entry.key.value = meant.to_string();
            any = true;
        }
    }
    any.then(|| spec.clone())
}

fn descend<'n>(node: &'n mut Node, steps: &[Step]) -> Option<&'n mut Node> {
    steps.iter().try_fold(node, |node, step| match (step, &mut node.kind) {
        (Step::Key(key), Kind::Map(entries)) => entries
            .iter_mut()
            .find(|entry| entry.key.value == *key)
            .map(|entry| &mut entry.value),
        (Step::Index(index), Kind::Seq(items)) => items.get_mut(*index),
        _ => None,
    })
}

/// A tree without bad parts as JSON.
pub(super) fn to_json(node: &Node) -> Value {
    match &node.kind {
        Kind::Bad => Value::Null,
        Kind::Seq(items) => Value::Array(items.iter().map(to_json).collect()),
        Kind::Map(entries) => {
            let pairs = entries
                .iter()
                .map(|entry| (entry.key.value.clone(), to_json(&entry.value)));
            Value::Object(pairs.collect::<Map<String, Value>>())
        }
        Kind::Scalar {
            text,
            style: Style::Plain | Style::Filled(InputType::Port),
        } => match text.as_str() {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => json_number(text).map_or_else(|| Value::String(text.clone()), Value::Number),
        },
        Kind::Scalar { text, .. } => Value::String(text.clone()),
    }
}
