//! Levels and waivers: which findings are said, which refuse, and which are let through until when.

use std::cmp::Reverse;

use jiff::civil::Date;

use super::{Finding, Waived};
use crate::error::{Code, codes};
use crate::plan::{Level, Plan, Waiver};

/// The findings with their levels and waivers, most serious first; with what is wrong with the waivers.
pub fn settle(plan: &Plan, today: Date, found: Vec<Finding>) -> Vec<Finding> {
    let mut findings: Vec<Finding> = found.into_iter().map(|finding| levelled(plan, finding)).collect();
    let mut used = vec![false; plan.waivers.len()];
    for finding in &mut findings {
        let fits = |waiver: &&Waiver| waiver.code == finding.code && waiver.subject == finding.subject;
        let waivers = plan.waivers.iter().enumerate();
        for (place, waiver) in waivers.filter(|(_, waiver)| fits(waiver)) {
            used[place] = true;
            if counts(waiver, today) {
                finding.waived = Some(Waived {
                    reason: waiver.reason.clone(),
                    owner: waiver.owner.clone(),
                    expires: waiver.expires,
                    span: waiver.span,
                });
            }
        }
    }
    findings.retain(|finding| finding.level != Level::Off);
    let unused = plan.waivers.iter().zip(&used);
    let unused = unused.filter(|(waiver, used)| !**used && counts(waiver, today));
    let unused = unused.map(|(waiver, _)| levelled(plan, self::unused(waiver)));
    findings.extend(unused.filter(|finding| finding.level != Level::Off));
    findings.extend(expired(plan, today));
    findings.sort_by(|a, b| {
        let rank = |finding: &Finding| (finding.waived.is_some(), Reverse(finding.level));
        (rank(a), a.code, &a.subject, &a.message).cmp(&(rank(b), b.code, &b.subject, &b.message))
    });
    findings.dedup();
    findings
}

/// What the plan says of its code, else the usual; a rule of the plan's own has its own level.
fn levelled(plan: &Plan, mut finding: Finding) -> Finding {
    let said = plan.gates.level(finding.code).unwrap_or(Level::Error);
    let set = plan.gates.levels.contains_key(&finding.code);
    if set || !own_level(finding.code) {
        finding.level = said;
    }
    if finding.assumed && !set {
        finding.level = finding.level.min(Level::Warning);
    }
    if finding.expected {
        finding.level = finding.level.min(Level::Note);
    }
    finding
}

fn own_level(code: Code) -> bool {
    [codes::RULE, codes::RULE_UNANSWERED].contains(&code)
}

/// Through the end of its last day.
fn counts(waiver: &Waiver, today: Date) -> bool {
    today <= waiver.expires
}

/// Waivers whose last day has passed. These have no level.
pub fn expired(plan: &Plan, today: Date) -> Vec<Finding> {
    let waivers = plan.waivers.iter().filter(|waiver| !counts(waiver, today));
    let finding = |waiver: &Waiver| {
        let subject = format!("{} {}", waiver.code, waiver.subject);
        let message = format!("the waiver of {subject} expired after {}", waiver.expires);
        Finding::new(codes::WAIVER_EXPIRED, subject, message)
            .at(waiver.span)
            .cause(format!("it was for {}: {}", waiver.owner, waiver.reason))
            .fix("take it out, or let its owner give it a new day")
    };
    waivers.map(finding).collect()
}

fn unused(waiver: &Waiver) -> Finding {
    let subject = format!("{} {}", waiver.code, waiver.subject);
    let message = format!("the waiver of {subject} lets nothing through: nothing of that kind was found");
    Finding::new(codes::WAIVER_UNUSED, subject, message)
        .at(waiver.span)
        .fix("take it out; the subject has to be written as it is printed")
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;
    use crate::source::{Span, Spanned};

    fn waiver(code: Code, subject: &str, expires: Date) -> Waiver {
        Waiver {
            code,
            subject: subject.into(),
            reason: "r".into(),
            owner: "o".into(),
            expires,
            span: Span::new(5, 6),
        }
    }

    fn found() -> Vec<Finding> {
        vec![
            Finding::new(codes::ORDER_TIE, "policies.a, b", "policies.a, b tie"),
            Finding::new(codes::WORLD_OPEN, "tcp/80", "tcp/80 is open"),
        ]
    }

    fn settled(plan: &Plan) -> Vec<(&'static str, Level, bool)> {
        let findings = settle(plan, date(2026, 6, 30), found());
        findings
            .iter()
            .map(|f| (f.code.as_str(), f.level, f.waived.is_some()))
            .collect()
    }

    #[test]
    fn levels_are_the_plans_and_errors_come_first() {
        let mut plan = Plan::nothing("p");
        assert_eq!(
            settled(&plan),
            [("HG1001", Level::Error, false), ("HG1006", Level::Warning, false)]
        );
        for (level, left) in [(Level::Off, 1), (Level::Note, 2)] {
            let span = Span::default();
            let level = Spanned { value: level, span };
            plan.gates.levels.insert(codes::WORLD_OPEN, level);
            assert_eq!(settled(&plan).len(), left);
        }
    }

    #[test]
    fn a_waiver_counts_through_its_last_day() {
        for (expires, waived, codes_left) in [
            (date(2026, 6, 30), true, vec!["HG1006", "HG1001"]),
            (date(2026, 6, 29), false, vec!["HG1001", "HG1020", "HG1006"]),
        ] {
            let mut plan = Plan::nothing("p");
            plan.waivers.push(waiver(codes::WORLD_OPEN, "tcp/80", expires));
            let now = settled(&plan);
            assert_eq!(now.iter().any(|(_, _, waived)| *waived), waived);
            assert_eq!(now.iter().map(|(code, ..)| *code).collect::<Vec<_>>(), codes_left);
        }
    }

    #[test]
    fn a_waiver_is_for_one_code_and_one_subject() {
        for (code, subject) in [(codes::WORLD_OPEN, "tcp/8"), (codes::ADMIN_OPEN, "tcp/80")] {
            let mut plan = Plan::nothing("p");
            plan.waivers.push(waiver(code, subject, date(2027, 1, 1)));
            let now = settled(&plan);
            assert!(now.iter().all(|(_, _, waived)| !waived), "{now:?}");
            assert!(now.contains(&("HG1021", Level::Warning, false)), "{now:?}");
        }
    }

    #[test]
    fn an_expired_waiver_is_an_error_whatever_the_levels_are() {
        let mut plan = Plan::nothing("p");
        plan.waivers.push(waiver(codes::ADMIN_CUT, "tcp/22", date(2020, 1, 1)));
        let errors: Vec<Finding> = settle(&plan, date(2026, 1, 1), Vec::new());
        assert!(errors[0].refuses() && errors[0].code == codes::WAIVER_EXPIRED);
        assert_eq!(expired(&plan, date(2020, 1, 1)), Vec::new());
    }
}
