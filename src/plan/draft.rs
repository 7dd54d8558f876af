//! The plan as typed. `check.rs` makes a [`Plan`](super::Plan) of it, or says everything that is wrong with it.

use crate::error::Diagnostic;
use crate::plan::decode::decode;
use crate::plan::node::Node;
use crate::source::{Span, Spanned};

/// The plan as typed, its structure right wherever it is not marked bad.
#[derive(Clone, Debug)]
pub struct Draft {
    pub(super) root: Node,
    pub(super) problems: Vec<Diagnostic>,
}

impl Draft {
    /// The name, where it is one.
    pub fn name(&self) -> Option<&str> {
        self.root.get("metadata")?.get("name")?.text()
    }

    /// The uid that guards against the wrong cluster, where one is written.
    pub fn cluster_uid(&self) -> Option<Spanned<String>> {
        let uid = self.root.get("spec")?.get("cluster")?.get("uid")?;
        Some(Spanned {
            value: uid.text()?.to_string(),
            span: uid.span,
        })
    }

    pub(super) fn decode(document: &Node) -> Draft {
        let (root, problems) = decode(document, false);
        Draft { root, problems }
    }

    /// The place of its first key.
    pub(super) fn span(&self) -> Span {
        let start = Span::new(self.root.span.start, self.root.span.start);
        self.root.entries().first().map_or(start, |entry| entry.key.span)
    }
}
