//! A file of plans: its text, its documents, and the problems of all of them in one list.

use std::collections::BTreeSet;

use crate::error::{Diagnostic, Severity, codes};
use crate::plan::Plan;
use crate::plan::check::tidy;
use crate::plan::draft::Draft;
use crate::plan::given::{Given, unknown_given};
use crate::plan::inputs::Lookups;
use crate::plan::language::{KIND, nearest};
use crate::plan::node::Node;
use crate::plan::yaml;
use crate::source::{Source, Span};

/// A file as it was read; what it holds may be wrong.
pub struct Document {
    source: Source,
    drafts: Vec<Draft>,
    /// Of the text, and of documents that are no plans.
    problems: Vec<Diagnostic>,
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
            problems.push(
                problem.fix("begin with `kind: HostProtection`; `hostguard explain spec` lists what a plan can say"),
            );
        }
        Document {
            source: text.source,
            drafts,
            problems,
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

    /// The plans of all documents, or everything that is wrong with any of them.
    pub fn check(&self, given: &Given, lookups: &Lookups) -> Result<Vec<Plan>, Vec<Diagnostic>> {
        let mut problems = self.problems.clone();
        // A value may be meant for any of the plans.
        let declared = self.input_names();
        if let Some(first) = self.drafts.first() {
            problems.extend(unknown_given(given, &declared, first.inputs_span()));
        }
        let mut plans = Vec::new();
        for draft in &self.drafts {
            let mut own = draft.problems.clone();
            if let Some(plan) = draft.build(&self.source, given, lookups, &mut own) {
                let warnings = own
                    .iter()
                    .filter(|problem| problem.severity == Severity::Warning)
                    .cloned()
                    .collect();
                plans.push(Plan {
                    warnings: tidy(warnings),
                    ..plan
                });
            }
            problems.extend(own);
        }
        let failed = problems.iter().any(|problem| problem.severity == Severity::Error);
        if failed { Err(tidy(problems)) } else { Ok(plans) }
    }

    /// The plan of a file that must hold exactly one.
    pub fn the_plan(&self, given: &Given, lookups: &Lookups) -> Result<Plan, Vec<Diagnostic>> {
        let result = self.check(given, lookups);
        let several = self.drafts.get(1).map(|second| {
            let names: Vec<&str> = self.drafts.iter().map(|draft| draft.name().unwrap_or("?")).collect();
            let message = format!("{} plans in one file: {}", names.len(), names.join(", "));
            let problem = Diagnostic::error(codes::DOCUMENTS, second.span(), message, "the second begins here");
            problem.fix("give each plan a file of its own")
        });
        match (result, several) {
            (Ok(mut plans), None) => plans.pop().ok_or_else(Vec::new),
            (Ok(_), Some(several)) => Err(vec![several]),
            (Err(problems), several) => Err(tidy(problems.into_iter().chain(several).collect())),
        }
    }

    /// The inputs that any of its plans declares.
    pub fn input_names(&self) -> BTreeSet<&str> {
        self.drafts.iter().flat_map(Draft::input_names).collect()
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
