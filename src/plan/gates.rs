//! Gates and waivers of a plan: read, and refused where they name what has no level.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::error::{Code, Diagnostic, codes};
use crate::expression::Expression;
use crate::plan::check::Builder;
use crate::plan::language::nearest;
use crate::plan::node::{Entry, Node};
use crate::plan::scalar;
use crate::plan::*;
use crate::source::{Span, Spanned};

/// How serious a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Not said at all.
    Off,
    Note,
    Warning,
    /// Keeps the plan from being applied.
    Error,
}

impl Level {
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Note => "note",
            Level::Warning => "warning",
            Level::Error => "error",
        }
    }

    fn parse(word: &str) -> Option<Level> {
        [Level::Off, Level::Note, Level::Warning, Level::Error]
            .into_iter()
            .find(|level| level.as_str() == word)
    }
}

/// Codes that have a level, with the one they have when the plan says nothing.
pub const GATES: &[(Code, Level)] = &[
    (codes::NO_EFFECT, Level::Error),
    (codes::SELECTS_NOTHING, Level::Error),
    (codes::NEVER_REACHED, Level::Error),
    (codes::LABEL_BY_HAND, Level::Warning),
    (codes::NODE_PORT_ELSEWHERE, Level::Warning),
    (codes::OTHER_FAMILY, Level::Warning),
    (codes::CLOUD_OPEN_ANYWAY, Level::Warning),
    (codes::WORLD_OPEN, Level::Error),
    (codes::ADMIN_OPEN, Level::Warning),
    (codes::ADMIN_CUT, Level::Warning),
    (codes::NO_FAILSAFE, Level::Warning),
    (codes::UNTRACKED_HALF, Level::Error),
    (codes::ORDER_TIE, Level::Warning),
    (codes::RULE, Level::Error),
    (codes::RULE_UNANSWERED, Level::Error),
    (codes::WAIVER_UNUSED, Level::Warning),
];

/// Refused whatever a plan says.
const FIXED: &[Code] = &[codes::UNSAFE_ORDER, codes::LOCKED_OUT, codes::WAIVER_EXPIRED];

/// What a plan says of findings about it.
#[derive(Clone, Debug, Default)]
pub struct Gates {
    pub(crate) levels: BTreeMap<Code, Spanned<Level>>,
    pub(crate) rules: BTreeMap<String, Rule>,
}

/// A rule of the plan's own.
#[derive(Clone)]
pub struct Rule {
    pub expression: Expression,
    pub message: String,
    pub level: Level,
    pub span: Span,
}

impl std::fmt::Debug for Rule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Rule")
            .field("message", &self.message)
            .field("level", &self.level)
            .finish_non_exhaustive()
    }
}

/// A finding that is let through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiver {
    pub code: Code,
    /// As the finding prints it.
    pub subject: String,
    pub reason: String,
    pub owner: String,
    /// The last day.
    pub expires: Date,
    pub span: Span,
}

impl Gates {
    /// The level of a code; `None` for one that has none.
    pub fn level(&self, code: Code) -> Option<Level> {
        let usual = GATES.iter().find(|(gate, _)| *gate == code).map(|(_, level)| *level)?;
        Some(self.levels.get(&code).map_or(usual, |level| level.value))
    }

    /// Codes whose level the plan has lowered: what and to what.
    pub fn lowered(&self) -> impl Iterator<Item = (Code, Level)> {
        let usual = |code| GATES.iter().find(|(gate, _)| *gate == code).map(|(_, level)| *level);
        let levels = self.levels.iter();
        levels.filter_map(move |(code, level)| (level.value < usual(*code)?).then_some((*code, level.value)))
    }
}

impl<'a> Builder<'a> {
    pub(super) fn gates(&mut self) -> Gates {
        let Some(gates) = self.spec.get("gates") else {
            return Gates::default();
        };
        let mut levels = BTreeMap::new();
        for entry in gates.get("levels").map_or(&[][..], Node::entries) {
            let level = entry.value.text().and_then(Level::parse);
            if let (Some(code), Some(value)) = (self.gate(&entry.key.value, entry.key.span), level) {
                let span = entry.value.span;
                levels.insert(code, Spanned { value, span });
            }
        }
        let rules = gates.get("rules").map_or(&[][..], Node::entries).iter();
        let rules = rules.filter_map(|entry| Some((entry.key.value.clone(), self.rule(entry)?)));
        Gates {
            rules: rules.collect(),
            levels,
        }
    }

    fn rule(&mut self, entry: &'a Entry) -> Option<Rule> {
        let written = entry.value.get("expression")?;
        let text = written.text()?;
        let level = entry.value.get("level").and_then(Node::text);
        let expression = match Expression::parse(text) {
            Ok(expression) => expression,
            Err(mistake) => {
                // Quotes and folded lines move places; then the whole value is marked.
                let as_written = self.source.text().get(written.span.start..written.span.end) == Some(text);
                let offset = mistake.offset.filter(|_| as_written);
                let span = offset.map_or(written.span, |offset| {
                    let at = (written.span.start + offset).min(written.span.end);
                    Span::new(
                        at,
                        written.span.end.min(at + next_char(&text[at - written.span.start..])),
                    )
                });
                let message = format!("rule `{}` is no expression: {}", entry.key.value, mistake.message);
                let problem = Diagnostic::error(codes::EXPRESSION, span, message, "here");
                let fix = "write what must hold, such as `answer.summary.delete <= 2`";
                self.problems.push(problem.fix(fix));
                return None;
            }
        };
        Some(Rule {
            expression,
            message: entry.value.get("message")?.text()?.to_string(),
            level: level.map_or(Some(Level::Error), Level::parse)?,
            span: entry.key.span,
        })
    }

    pub(super) fn waivers(&mut self) -> Vec<Waiver> {
        let items = self.spec.get("waivers").map_or(&[][..], Node::items);
        let mut waivers: Vec<Waiver> = Vec::new();
        for item in items {
            let Some(waiver) = self.waiver(item) else { continue };
            let same = |other: &&Waiver| (other.code, &other.subject) == (waiver.code, &waiver.subject);
            if let Some(first) = waivers.iter().find(same) {
                let message = format!("{} of `{}` is waived twice", waiver.code, waiver.subject);
                let problem = Diagnostic::error(codes::SAME_NAME, waiver.span, message, "again here");
                self.problems
                    .push(problem.and(first.span, "first here").fix("remove one of the two"));
            }
            waivers.push(waiver);
        }
        waivers
    }

    fn waiver(&mut self, node: &'a Node) -> Option<Waiver> {
        let code = node.get("code")?;
        let text = |key: &str| Some(node.get(key)?.text()?.to_string());
        Some(Waiver {
            code: self.gate(code.text()?, code.span)?,
            subject: text("subject")?,
            reason: text("reason")?,
            owner: text("owner")?,
            expires: scalar::day(node.get("expires")?.text()?)?,
            span: code.span,
        })
    }

    /// The code, if it is one of a gate.
    fn gate(&mut self, written: &str, span: Span) -> Option<Code> {
        if let Some((code, _)) = GATES.iter().find(|(code, _)| code.as_str() == written) {
            return Some(*code);
        }
        // What has not the form of a code was reported.
        language::Form::Code.accepts(written).then_some(())?;
        if FIXED.iter().any(|code| code.as_str() == written) {
            let message = format!("{written} has no level: what it finds is always refused");
            let problem = Diagnostic::error(codes::FIXED_LEVEL, span, message, "cannot be lowered");
            let fix = "take it out; what is really meant is accepted packet by packet, with --accept";
            self.problems.push(problem.fix(fix));
            return None;
        }
        let near = nearest(written, GATES.iter().map(|(code, _)| code.as_str()));
        let label = near.map_or("not a gate".to_string(), |near| format!("did you mean `{near}`?"));
        let message = format!("{written} is not the code of a gate");
        let problem = Diagnostic::error(codes::NOT_A_GATE, span, message, label);
        self.problems
            .push(problem.fix("name a code that an answer prints beside a finding, such as HG1001"));
        None
    }
}

fn next_char(text: &str) -> usize {
    text.chars().next().map_or(0, char::len_utf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_in_order_and_every_gate_is_explained() {
        assert!(Level::Off < Level::Note && Level::Warning < Level::Error);
        for (code, _) in GATES {
            assert!(codes::explain(code.as_str()).is_some(), "{code}");
            assert!(!FIXED.contains(code), "{code}");
        }
    }

    #[test]
    fn what_is_lowered_is_known() {
        let level = |value| Spanned {
            value,
            span: Span::default(),
        };
        let mut gates = Gates::default();
        gates.levels.insert(codes::WORLD_OPEN, level(Level::Note));
        gates.levels.insert(codes::ORDER_TIE, level(Level::Error));
        assert_eq!(gates.level(codes::WORLD_OPEN), Some(Level::Note));
        assert_eq!(gates.level(codes::NO_EFFECT), Some(Level::Error));
        assert_eq!(gates.level(codes::EXPECTATION), None);
        let lowered: Vec<_> = gates.lowered().collect();
        assert_eq!(lowered, [(codes::WORLD_OPEN, Level::Note)]);
    }
}
