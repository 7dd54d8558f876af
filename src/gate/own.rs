//! Rules of the plan's own, asked of the answer.

use serde_json::Value;

use super::Finding;
use crate::error::codes;
use crate::expression::{self, Expression};
use crate::plan::{Plan, Rule};

/// What a document is called in expressions.
const ANSWER: &str = "answer";

/// Rules that do not hold of an answer, or of which that is not known.
pub fn rules(plan: &Plan, answer: &Value) -> Vec<Finding> {
    let rules: Vec<(&String, &Rule)> = plan.gates.rules.iter().collect();
    if rules.is_empty() {
        return Vec::new();
    }
    let expressions: Vec<&Expression> = rules.iter().map(|(_, rule)| &rule.expression).collect();
    let answers = expression::ask(ANSWER, answer, &expressions);
    let finding = |((name, rule), answer): ((&String, &Rule), Result<bool, expression::NoAnswer>)| {
        let subject = format!("gates.rules.{name}");
        let mut finding = match answer {
            Ok(true) => return None,
            Ok(false) => Finding::new(
                codes::RULE,
                &subject,
                format!("{subject} does not hold: {}", rule.message),
            )
            .fix("change the plan until it holds, or let it through under `waivers` until a day"),
            Err(why) => {
                let message = format!("{subject} has no answer: {why}");
                let finding = Finding::new(codes::RULE_UNANSWERED, &subject, message);
                finding
                    .consequence("what has no answer does not hold")
                    .fix("see what it is asked about with `-o json`")
            }
        };
        finding.level = rule.level;
        Some(finding.at(rule.span))
    };
    rules.into_iter().zip(answers).filter_map(finding).collect()
}
