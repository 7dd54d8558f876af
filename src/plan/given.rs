//! Values given from outside: by option, by file, by environment; and those that no plan asked for.
//!
//! Reads no file and no environment: bytes and variables are passed in.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::error::{Diagnostic, codes};
use crate::plan::language::nearest;
use crate::plan::node::Kind;
use crate::plan::yaml;
use crate::source::{Source, Span};

/// Values from outside the plan; the first that has a name wins, files in reverse.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// `--set NAME=VALUE`
    pub set: BTreeMap<String, String>,
    /// `--inputs FILE`, as [`read_inputs`] gives them.
    pub files: Vec<(String, BTreeMap<String, GivenValue>)>,
    /// Environment variables that begin with `HOSTGUARD_INPUT_`, by their full name.
    pub env: BTreeMap<String, String>,
    /// For a check without a cluster: an input without a value gets one that stands in for it, and a warning.
    #[serde(skip)]
    pub stand_ins: bool,
}

impl Given {
    /// The values whose names pass; the environment is asked by name only.
    pub fn only(&self, wanted: impl Fn(&str) -> bool) -> Given {
        let mut given = self.clone();
        given.set.retain(|name, _| wanted(name));
        for (_, values) in &mut given.files {
            values.retain(|name, _| wanted(name));
        }
        given
    }
}

/// A value from a file of inputs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GivenValue {
    /// Several only for a list.
    pub values: Vec<String>,
    /// `inputs.yaml:3:10`
    pub place: String,
}

/// Reads a file given by `--inputs`: one mapping from names to a value or a list of values.
pub fn read_inputs(name: &str, bytes: &[u8]) -> Result<BTreeMap<String, GivenValue>, (Source, Vec<Diagnostic>)> {
    let text = yaml::read(name, bytes);
    let mut problems = text.problems;
    let mut values = BTreeMap::new();
    let mut refuse = |span: Span, message: &str, label: &str, fix: &str| {
        problems.push(Diagnostic::error(codes::INPUTS_FILE, span, message, label).fix(fix));
    };
    for (i, document) in text.documents.iter().enumerate() {
        if i > 0 || !matches!(document.kind, Kind::Map(_)) {
            refuse(
                document.span,
                "an inputs file is one mapping from names to values",
                "not expected here",
                "write a line `NAME: VALUE` for each input, and nothing else",
            );
        }
        for entry in document.entries() {
            let (value, span) = (&entry.value, entry.value.span);
            let items = if let Kind::Seq(items) = &value.kind {
                items.as_slice()
            } else {
                std::slice::from_ref(value)
            };
            let texts: Vec<String> = items
                .iter()
                .filter_map(|item| item.text().map(str::to_string))
                .collect();
            if value.is_null() || texts.len() != items.len() {
                refuse(
                    if span.is_empty() { entry.key.span } else { span },
                    "the value of an input is a text or a list of texts",
                    "expected a value",
                    "write one text or number, or a list of networks for an input of type cidrs",
                );
            }
            let place = text.source.locate(span);
            values.insert(entry.key.value.clone(), GivenValue { values: texts, place });
        }
    }
    if problems.is_empty() {
        Ok(values)
    } else {
        Err((text.source, problems))
    }
}

/// The name of the environment variable of an input.
pub fn variable(name: &str) -> String {
    format!("HOSTGUARD_INPUT_{}", name.to_ascii_uppercase().replace('-', "_"))
}

/// Values given for names that no plan declares.
pub(super) fn unknown_given(given: &Given, declared: &BTreeSet<&str>, place: Span) -> Vec<Diagnostic> {
    let set = given.set.keys().map(|name| (name, format!("--set {name}=…")));
    let files = given
        .files
        .iter()
        .flat_map(|(_, values)| values.iter().map(|(name, v)| (name, v.place.clone())));
    set.chain(files)
        .filter(|(name, _)| !declared.contains(name.as_str()))
        .map(|(name, origin)| {
            let message = format!("{origin}: the plan has no input `{name}`");
            let problem = Diagnostic::error(codes::INPUT_UNKNOWN, place, message, "inputs are declared here");
            match nearest(name, declared.iter().copied()) {
                Some(meant) => problem.fix(format!("did you mean `{meant}`?")),
                None => problem.fix(format!("declare `{name}` under `inputs`, or do not give it")),
            }
        })
        .collect()
}
