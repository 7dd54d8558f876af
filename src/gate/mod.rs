//! What is found about a plan, and how serious it is: rules on what packets find, rules of the plan's own, waivers.
//!
//! A finding has a code, a subject that does not depend on the order of anything, and a level, which the plan sets. One of
//! level error keeps the plan from being applied unless it is waived. What is refused whatever a plan says (lock-out,
//! exposure on the way, promises) is not found here.

mod admin;
mod failsafes;
mod half;
mod internet;
mod own;
mod tie;
mod waivers;

use jiff::civil::Date;

use crate::changes::Change;
use crate::error::{Code, Error, Kind};
use crate::exposure::{Flow, Row, World};
use crate::plan::{Level, Plan};
use crate::source::Span;
use crate::state::State;

pub use own::rules;
pub use waivers::{expired, settle};

/// Something about a plan that somebody may decide to live with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub code: Code,
    pub level: Level,
    /// What it is about: the same text as long as it is about the same thing. Waivers name it.
    pub subject: String,
    /// The subject first, then what is found; lower case, no full stop.
    pub message: String,
    /// What shows it.
    pub causes: Vec<String>,
    /// Where the plan asks for it.
    pub span: Option<Span>,
    pub consequence: Option<String>,
    pub fix: Option<String>,
    /// The plan says that it is meant: a note at most.
    pub expected: bool,
    /// It holds if nothing that was not read stands in its way: a warning, unless the plan sets the level.
    pub assumed: bool,
    /// Why it is let through.
    pub waived: Option<Waived>,
}

/// The waiver that lets a finding through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waived {
    pub reason: String,
    pub owner: String,
    pub expires: Date,
    pub span: Span,
}

impl Finding {
    /// Of the level that the code has when the plan says nothing.
    pub fn new(code: Code, subject: impl Into<String>, message: impl Into<String>) -> Finding {
        Finding {
            code,
            level: Level::Error,
            subject: subject.into(),
            message: message.into(),
            causes: Vec::new(),
            span: None,
            consequence: None,
            fix: None,
            expected: false,
            assumed: false,
            waived: None,
        }
    }

    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
        self
    }

    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    pub fn consequence(mut self, text: impl Into<String>) -> Self {
        self.consequence = Some(text.into());
        self
    }

    pub fn fix(mut self, text: impl Into<String>) -> Self {
        self.fix = Some(text.into());
        self
    }

    /// Whether it keeps the plan from being applied.
    pub fn refuses(&self) -> bool {
        self.level == Level::Error && self.waived.is_none()
    }

    /// The same as an error.
    pub fn error(&self) -> Error {
        let mut error = Error::new(Kind::Finding, self.code, self.message.clone());
        error.causes = self.causes.clone();
        error.span = self.span;
        error.consequence = self.consequence.clone();
        error.fix = self.fix.clone();
        error
    }
}

/// What is known of a plan and what it leads to.
pub struct Looked<'a> {
    pub plan: &'a Plan,
    pub steps: &'a [Change],
    /// What changes for sources outside the cluster.
    pub rows: &'a [Row],
    /// What the steps, and then controllers, make of the state; and the worlds before and then.
    pub end: &'a State,
    pub before: &'a World,
    pub after: &'a World,
    /// Flows that the plan expects to be open.
    pub expected: Vec<&'a Flow>,
    /// Whether a firewall in front of the nodes was read.
    pub firewall: bool,
}

/// What the built-in rules find, in no particular order; levels are set by [`settle`].
pub fn look(looked: &Looked<'_>) -> Vec<Finding> {
    let mut findings = internet::look(looked);
    findings.extend(admin::look(looked));
    findings.extend(failsafes::look(looked));
    findings.extend(half::look(looked));
    findings.extend(tie::look(looked));
    findings
}

/// Names, long lists cut with a count.
fn some<'s>(names: impl IntoIterator<Item = &'s String>) -> String {
    let names: Vec<&str> = names.into_iter().map(String::as_str).collect();
    let shown = names.len().min(3);
    match names.len() - shown {
        0 => names.join(", "),
        more => format!("{} and {more} more", names[..shown].join(", ")),
    }
}
