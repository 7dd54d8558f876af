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

    /// The uid that guards against the wrong cluster, where one is written; or what is wrong with it.
    pub fn cluster_uid(&self) -> Result<Option<Spanned<String>>, Vec<Diagnostic>> {
        let cluster = self.root.get("spec").and_then(|spec| spec.get("cluster"));
        let Some(uid) = cluster.and_then(|cluster| cluster.get("uid")) else {
            return Ok(None);
        };
        let about = |problem: &&Diagnostic| problem.labels.first().is_some_and(|label| label.span == uid.span);
        let wrong: Vec<Diagnostic> = self.problems.iter().filter(about).cloned().collect();
        match uid.text() {
            Some(text) if wrong.is_empty() => Ok(Some(Spanned {
                value: text.to_string(),
                span: uid.span,
            })),
            _ if wrong.is_empty() => Err(self.problems.clone()),
            _ => Err(wrong),
        }
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
