//! A file of plans: its text, its documents, and the problems of all of them in one list.

use crate::error::{Diagnostic, codes};
use crate::plan::decode::Draft;
use crate::plan::language::{KIND, nearest};
use crate::plan::yaml::{self, Node};
use crate::source::{Source, Span};

/// A file as it was read; what it holds may be wrong.
pub struct Document {
    source: Source,
    drafts: Vec<Draft>,
    /// Of the text, and of documents that are no plans.
    problems: Vec<Diagnostic>,
    broken: bool,
}

impl Document {
    /// Reads bytes as one or more plans. Never fails: what is wrong is told by `check`.
    pub fn read(name: &str, bytes: &[u8]) -> Document {
        let text = yaml::read(name, bytes);
        let mut problems = text.problems;
        let mut drafts = Vec::new();
        for document in &text.documents {
            match other_kind(document) {
                Some(problem) => problems.push(problem),
                None => drafts.push(Draft::decode(document)),
            }
        }
        if drafts.is_empty() && problems.is_empty() {
            let message = format!("no document of kind {KIND} in this file");
            let problem = Diagnostic::error(codes::DOCUMENTS, Span::new(0, 0), message, "nothing to plan");
            problems.push(problem.fix("`hostguard init` writes a plan to begin with"));
        }
        Document {
            source: text.source,
            drafts,
            problems,
            broken: text.broken,
        }
    }

    pub fn source(&self) -> &Source {
        &self.source
    }

    /// What is wrong with text and structure, before any input has a value.
    pub fn problems(&self) -> Vec<Diagnostic> {
        let drafts = self.drafts.iter().flat_map(|draft| &draft.problems);
        self.problems.iter().chain(drafts).cloned().collect()
    }

    /// The documents that are meant as plans, in the order of the file.
    pub fn drafts(&self) -> &[Draft] {
        &self.drafts
    }
}

/// Why a document is not even meant as a plan.
fn other_kind(document: &Node) -> Option<Diagnostic> {
    let kind = document.get("kind").filter(|kind| !kind.is_null())?;
    let text = kind.text()?;
    if nearest(text, [KIND]).is_some()
        || document
            .get("apiVersion")
            .and_then(Node::text)
            .is_some_and(|v| v.contains("hostguard"))
    {
        return None;
    }
    let message = format!("document of kind `{text}` is not a plan");
    let problem = Diagnostic::error(codes::NOT_A_PLAN, kind.span, message, format!("expected `{KIND}`"));
    Some(problem.fix("move it to a file of its own"))
}
