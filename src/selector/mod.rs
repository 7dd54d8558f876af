//! Calico's selector language: parse, evaluate, print in canonical form.
//!
//! Agrees with `libcalico-go/lib/selector` to the byte, checked against its answers in `tests/corpora`. Does not know
//! what is selected, nor how Calico rewrites namespace selectors.

mod lex;
mod parse;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha224};

use crate::source::Span;

/// A parsed selector. Two are equal when their canonical text is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Selector {
    /// Children before parents, the root last; never empty. Flat, so that no depth of nesting can exhaust a stack.
    nodes: Vec<Node>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Node {
    Test(Test),
    Not(usize),
    All(Vec<usize>),
    Any(Vec<usize>),
}

/// One condition. Values are bytes because Calico's are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Test {
    All,
    Global,
    Has(String),
    Compare(String, Relation, Vec<u8>),
    In(String, BTreeSet<Vec<u8>>),
    NotIn(String, BTreeSet<Vec<u8>>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Relation {
    Equal,
    NotEqual,
    Contains,
    StartsWith,
    EndsWith,
}

/// The first mistake in a selector. The span counts bytes of the selector's text and lies on character boundaries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    pub span: Span,
    pub message: String,
    pub fix: Option<String>,
}

impl SelectorError {
    fn at(start: usize, end: usize, message: impl Into<String>) -> Self {
        SelectorError {
            span: Span::new(start, end),
            message: message.into(),
            fix: None,
        }
    }

    fn fix(mut self, fix: impl Into<String>) -> Self {
        self.fix = Some(fix.into());
        self
    }
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for SelectorError {}

/// Where labels are looked up.
pub trait Labels {
    fn label(&self, name: &str) -> Option<&str>;
}

impl Labels for BTreeMap<String, String> {
    fn label(&self, name: &str) -> Option<&str> {
        self.get(name).map(String::as_str)
    }
}

impl Selector {
    /// An empty or blank text is `all()`.
    pub fn parse(text: &str) -> Result<Self, SelectorError> {
        Self::parse_bytes(text.as_bytes()).map_err(|mut error| {
            error.span.start = text.floor_char_boundary(error.span.start);
            error.span.end = text.ceil_char_boundary(error.span.end);
            error
        })
    }

    /// Calico reads bytes: inside quotes they need not be UTF-8.
    pub fn parse_bytes(text: &[u8]) -> Result<Self, SelectorError> {
        parse::parse(text).map(|nodes| Selector { nodes })
    }

    /// What a missing or empty `selector` means.
    pub fn all() -> Self {
        Selector {
            nodes: vec![Node::Test(Test::All)],
        }
    }

    pub fn matches(&self, labels: &impl Labels) -> bool {
        let mut values: Vec<bool> = Vec::with_capacity(self.nodes.len());
        for node in &self.nodes {
            let value = match node {
                Node::Test(test) => test.matches(labels),
                Node::Not(child) => !values[*child],
                Node::All(children) => children.iter().all(|c| values[*c]),
                Node::Any(children) => children.iter().any(|c| values[*c]),
            };
            values.push(value);
        }
        values.last().copied().unwrap_or(true)
    }

    /// Names of the labels the answer depends on.
    pub fn label_names(&self) -> BTreeSet<&str> {
        let names = self.nodes.iter().filter_map(|node| match node {
            Node::Test(Test::Has(l) | Test::Compare(l, ..) | Test::In(l, _) | Test::NotIn(l, _)) => Some(l.as_str()),
            _ => None,
        });
        names.collect()
    }

    /// The same conditions on labels whose names start with `prefix`, as Calico rewrites namespace selectors
    /// (`libcalico-go/lib/selector/parser/ast.go` PrefixVisitor).
    pub fn with_label_prefix(&self, prefix: &str) -> Self {
        let mut out = self.clone();
        for node in &mut out.nodes {
            if let Node::Test(
                Test::Has(label) | Test::Compare(label, ..) | Test::In(label, _) | Test::NotIn(label, _),
            ) = node
            {
                label.insert_str(0, prefix);
            }
        }
        out
    }

    /// The one text all equal selectors print as; bytes that are not UTF-8 become U+FFFD.
    pub fn canonical(&self) -> String {
        let bytes = self.canonical_bytes();
        let mut out = String::with_capacity(bytes.len());
        for chunk in bytes.utf8_chunks() {
            out.push_str(chunk.valid());
            // One per byte, as Go prints them.
            out.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
        }
        out
    }

    /// Calico's identifier of the set a selector stands for (`libcalico-go/lib/hash/id.go`).
    pub fn uid(&self) -> String {
        let mut hash = Sha224::new();
        hash.update(b"s:");
        hash.update(self.canonical_bytes());
        format!("s:{}", URL_SAFE_NO_PAD.encode(hash.finalize()))
    }

    fn canonical_bytes(&self) -> Vec<u8> {
        enum Todo {
            Node(usize),
            Text(&'static str),
        }
        let mut out = Vec::new();
        let mut todo = vec![Todo::Node(self.nodes.len() - 1)];
        while let Some(next) = todo.pop() {
            let index = match next {
                Todo::Text(text) => {
                    out.extend_from_slice(text.as_bytes());
                    continue;
                }
                Todo::Node(index) => index,
            };
            let (children, between) = match &self.nodes[index] {
                Node::Test(test) => {
                    test.print(&mut out);
                    continue;
                }
                Node::Not(child) => {
                    out.push(b'!');
                    todo.push(Todo::Node(*child));
                    continue;
                }
                Node::All(children) => (children, " && "),
                Node::Any(children) => (children, " || "),
            };
            out.push(b'(');
            todo.push(Todo::Text(")"));
            for (i, child) in children.iter().enumerate().rev() {
                todo.push(Todo::Node(*child));
                if i > 0 {
                    todo.push(Todo::Text(between));
                }
            }
        }
        out
    }
}

/// Canonical text of a selector; a text that is none is returned as it is but for blanks around it
/// (`libcalico-go/lib/selector/selector.go` Normalise).
pub fn normalise(text: &str) -> String {
    let trimmed = text.trim();
    Selector::parse(trimmed).map_or_else(|_| trimmed.to_string(), |selector| selector.canonical())
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.canonical())
    }
}

impl Test {
    fn matches(&self, labels: &impl Labels) -> bool {
        match self {
            Test::All | Test::Global => true,
            Test::Has(label) => labels.label(label).is_some(),
            Test::In(label, values) => labels.label(label).is_some_and(|v| values.contains(v.as_bytes())),
            Test::NotIn(label, values) => !labels.label(label).is_some_and(|v| values.contains(v.as_bytes())),
            Test::Compare(label, relation, value) => {
                // Only `!=` and `not in` hold for a label that is absent.
                labels
                    .label(label)
                    .map_or(*relation == Relation::NotEqual, |have| relation.holds(have, value))
            }
        }
    }

    fn print(&self, out: &mut Vec<u8>) {
        match self {
            Test::All => out.extend_from_slice(b"all()"),
            Test::Global => out.extend_from_slice(b"global()"),
            Test::Has(label) => out.extend_from_slice(format!("has({label})").as_bytes()),
            Test::Compare(label, relation, value) => {
                out.extend_from_slice(format!("{label} {} ", relation.word()).as_bytes());
                quote(value, out);
            }
            Test::In(label, values) => print_set(label, "in", values, out),
            Test::NotIn(label, values) => print_set(label, "not in", values, out),
        }
    }
}

fn print_set(label: &str, word: &str, values: &BTreeSet<Vec<u8>>, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{label} {word} {{").as_bytes());
    for (i, value) in values.iter().enumerate() {
        if i > 0 {
            out.extend_from_slice(b", ");
        }
        quote(value, out);
    }
    out.push(b'}');
}

/// A value holds at most one kind of quote, because it was written between the other.
fn quote(value: &[u8], out: &mut Vec<u8>) {
    let mark = if value.contains(&b'"') { b'\'' } else { b'"' };
    out.push(mark);
    out.extend_from_slice(value);
    out.push(mark);
}

impl Relation {
    fn word(self) -> &'static str {
        match self {
            Relation::Equal => "==",
            Relation::NotEqual => "!=",
            Relation::Contains => "contains",
            Relation::StartsWith => "starts with",
            Relation::EndsWith => "ends with",
        }
    }

    fn holds(self, have: &str, value: &[u8]) -> bool {
        let have = have.as_bytes();
        match self {
            Relation::Equal => have == value,
            Relation::NotEqual => have != value,
            Relation::Contains => value.is_empty() || have.windows(value.len()).any(|w| w == value),
            Relation::StartsWith => have.starts_with(value),
            Relation::EndsWith => have.ends_with(value),
        }
    }
}

#[cfg(test)]
mod tests;
