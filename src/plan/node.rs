//! A marked tree: values as they were written, each with its place.
//!
//! Data only; `yaml.rs` makes it, `decode.rs` reads it.

use crate::plan::language::InputType;
use crate::source::{Span, Spanned};

/// A value as it was written.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Node {
    pub span: Span,
    pub kind: Kind,
    /// The alias that put it here; `span` is then the place of the anchor's value.
    pub via_alias: Option<Span>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Scalar {
        text: String,
        style: Style,
    },
    Seq(Vec<Node>),
    Map(Vec<Entry>),
    /// A mistake here was reported; nothing more is said about it.
    Bad,
}

/// How a scalar came to its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    Plain,
    /// In quotes, or a block scalar: a string whatever it looks like.
    Quoted,
    /// Filled in from an input of this type.
    Filled(InputType),
    /// Of a key: a mistake in it was reported.
    Refused,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    pub key: Spanned<String>,
    pub key_style: Style,
    pub value: Node,
}

impl Node {
    pub fn bad(span: Span) -> Node {
        Node {
            span,
            kind: Kind::Bad,
            via_alias: None,
        }
    }

    pub fn is_bad(&self) -> bool {
        self.kind == Kind::Bad
    }

    /// The text of a scalar.
    pub fn text(&self) -> Option<&str> {
        match &self.kind {
            Kind::Scalar { text, .. } => Some(text),
            _ => None,
        }
    }

    pub fn items(&self) -> &[Node] {
        match &self.kind {
            Kind::Seq(items) => items,
            _ => &[],
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.kind {
            Kind::Map(entries) => entries,
            _ => &[],
        }
    }

    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key.value == key)
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.value)
    }

    /// Nothing, `~` or a spelling of `null`.
    pub fn is_null(&self) -> bool {
        matches!(&self.kind, Kind::Scalar { text, style: Style::Plain }
            if matches!(text.as_str(), "" | "~" | "null" | "Null" | "NULL"))
    }

    /// Nodes in the tree, and its height.
    pub fn size(&self) -> (usize, usize) {
        let children: Vec<&Node> = match &self.kind {
            Kind::Seq(items) => items.iter().collect(),
            Kind::Map(entries) => entries.iter().map(|entry| &entry.value).collect(),
            _ => Vec::new(),
        };
        children.iter().fold((1, 1), |(nodes, height), child| {
            let (n, h) = child.size();
            (nodes + n, height.max(h + 1))
        })
    }
}
