//! What went wrong, as data: a [`Diagnostic`] points into a plan, an [`Error`] is about the world.
//!
//! The [`Kind`] alone decides the exit code, in one `match`. Rendering is in `error/show.rs`; the table of codes in `error/codes.rs`.

pub mod codes;
mod show;

pub use codes::Code;
pub use show::{Style, show_diagnostics, show_error};

use crate::source::Span;

/// How serious a diagnostic is: an error refuses the plan, a warning is shown with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Error,
    Warning,
}

/// A marked place with a few words at its caret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    pub span: Span,
    pub text: String,
}

/// One mistake in a plan: the rule it breaks, where, why that matters, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    pub code: Code,
    pub severity: Severity,
    /// States what is wrong with which value; lower case, no full stop.
    pub message: String,
    /// The first label is the place of the mistake; others are places that explain it.
    pub labels: Vec<Label>,
    /// What would happen if it were let through; only where that surprises.
    pub consequence: Option<String>,
    /// What to write instead.
    pub fix: Option<String>,
    /// Which of the places an object passes would refuse it; only for rules of Calico.
    pub gates: Option<String>,
}

impl Diagnostic {
    /// An error at `span`; `label` is what stands at the caret.
    pub fn error(code: Code, span: Span, message: impl Into<String>, label: impl Into<String>) -> Self {
        Diagnostic {
            code,
            severity: Severity::Error,
            message: message.into(),
            labels: vec![Label {
                span,
                text: label.into(),
            }],
            consequence: None,
            fix: None,
            gates: None,
        }
    }

    pub fn warning(mut self) -> Self {
        self.severity = Severity::Warning;
        self
    }

    /// Marks another place.
    pub fn and(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
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

    /// The place of the mistake.
    pub fn span(&self) -> Span {
        self.labels[0].span
    }
}

/// What kind of end a run comes to. The only source of exit codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// 1: a mistake in the plan, a target that could not be read, a refusal by the world, a declined prompt.
    Failed,
    /// 3: another owner holds the field with another value.
    Conflict,
    /// 3: what would be there once all is done is not what is expected, or not what anybody can mean.
    Finding,
    /// 4: the world moved after it was shown.
    Stale,
    /// 5: some steps were done, others were not.
    Partial,
    /// 6: somebody else applies the plan just now.
    Locked,
    /// 7: all steps were done, the result is not what was planned.
    Unverified,
    /// 8: refused because unsafe: lock-out, or exposed on the way.
    Unsafe,
    /// 64: the command line.
    Usage,
    /// 130: interrupted.
    Interrupted,
}

impl Kind {
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Conflict | Kind::Finding => 3,
            Kind::Stale => 4,
            Kind::Partial => 5,
            Kind::Locked => 6,
            Kind::Unverified => 7,
            Kind::Unsafe => 8,
            Kind::Usage => 64,
            Kind::Interrupted => 130,
        }
    }

    /// When several hold, apply answers with the first of 130, 5, 7, 6, 4, 8, 3, 64, 1.
    pub fn rank(self) -> u8 {
        match self {
            Kind::Interrupted => 0,
            Kind::Partial => 1,
            Kind::Unverified => 2,
            Kind::Locked => 3,
            Kind::Stale => 4,
            Kind::Unsafe => 5,
            Kind::Conflict | Kind::Finding => 6,
            Kind::Usage => 7,
            Kind::Failed => 8,
        }
    }
}

/// A conflict with the world, or a failure at the edge. Carries no secret: it is printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    pub kind: Kind,
    pub code: Code,
    /// Object first, then what is wrong; lower case, no full stop.
    pub message: String,
    /// The server's or system's own words, outermost first.
    pub causes: Vec<String>,
    /// Where the plan asks for it.
    pub span: Option<Span>,
    pub consequence: Option<String>,
    pub fix: Option<String>,
}

impl Error {
    pub fn new(kind: Kind, code: Code, message: impl Into<String>) -> Self {
        Error {
            kind,
            code,
            message: message.into(),
            causes: Vec::new(),
            span: None,
            consequence: None,
            fix: None,
        }
    }

    pub fn failed(code: Code, message: impl Into<String>) -> Self {
        Error::new(Kind::Failed, code, message)
    }

    pub fn cause(mut self, cause: impl Into<String>) -> Self {
        self.causes.push(cause.into());
        self
    }

    pub fn at(mut self, span: Span) -> Self {
        self.span = Some(span);
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
}
