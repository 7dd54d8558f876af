//! What a comment says of its own state: planned, nothing to do, refused, stale, applied, failed; and what to do next.

use std::fmt::Write;

use super::inert::{code, fenced, marker};
use super::{Said, error_lines, list, plain, short_id};
use crate::apply::{Outcome, Report};
use crate::error::{Diagnostic, Error, Kind, Severity};
use crate::render::Answer;
use crate::render::{numbered, words};
use crate::source::Source;

pub(super) fn refused(answer: &Answer) -> bool {
    !(answer.conflicts.is_empty() && answer.refused.is_empty())
}

/// Whether something is taken back, and not applied.
fn takes_back(answer: &Answer) -> bool {
    matches!(answer.verb, "destroy" | "revert")
}

/// What is taken back, while nothing is done yet.
pub(super) fn back(answer: &Answer) -> Option<String> {
    let what = if answer.verb == "destroy" {
        "the plan"
    } else {
        "one run"
    };
    let to_do = answer.report.is_none() && !answer.set.steps.is_empty();
    (takes_back(answer) && to_do).then(|| format!("takes {what} back"))
}

/// The state in a few words; a plan that can be applied has none.
pub(super) fn state(answer: &Answer) -> Option<String> {
    if let Some(report) = answer.report {
        return Some(ended(answer, report));
    }
    if refused(answer) {
        let errors = answer.conflicts.iter().chain(answer.refused);
        return Some(format!(
            "**refused** ({})",
            codes(errors.map(|error| error.code.as_str()))
        ));
    }
    if !answer.set.unreadable.is_empty() {
        return Some("**not everything could be read**".to_string());
    }
    match (answer.set.steps.is_empty(), &answer.record) {
        (true, None) if answer.verb == "destroy" => {
            Some("nothing to take back: there is no record of this plan here".to_string())
        }
        (true, None) => Some("nothing to do: what is there is what is wanted".to_string()),
        (true, Some(_)) => Some("no object changes, only the record does".to_string()),
        (false, _) => None,
    }
}

/// Each once, in their order; a few.
fn codes<'a>(all: impl Iterator<Item = &'a str>) -> String {
    let mut codes: Vec<&str> = Vec::new();
    for code in all {
        if !codes.contains(&code) {
            codes.push(code);
        }
    }
    match codes.len() {
        0..=4 => codes.join(", "),
        more => format!("{} and {} more", codes[..3].join(", "), more - 3),
    }
}

fn ended(answer: &Answer, report: &Report) -> String {
    let of = format!("{} of {}", report.done(), numbered(report.steps.len(), "step"));
    let worst = answer
        .ended
        .iter()
        .map(|error| error.kind)
        .min_by_key(|kind| kind.rank());
    let codes = codes(answer.ended.iter().map(|error| error.code.as_str()));
    let applied = if takes_back(answer) { "taken back" } else { "applied" };
    match worst {
        None if report.steps.is_empty() => format!("**{applied}**: the record is up to date"),
        None => format!("**{applied}**: {of} done, read back, as planned"),
        Some(Kind::Unverified) => format!("**{applied}, and not as planned** ({codes}): {of} done"),
        Some(Kind::Partial | Kind::Interrupted) if report.done() > 0 => {
            let not = format!("{} failed, {} skipped", report.failed(), report.skipped());
            format!("**{applied} in part** ({codes}): {of} done, {not}")
        }
        Some(kind) => format!("**{}** ({codes}): {of} done", word(kind)),
    }
}

fn word(kind: Kind) -> &'static str {
    match kind {
        Kind::Stale => "stale",
        Kind::Locked => "not applied, somebody else does just now",
        Kind::Interrupted => "interrupted",
        Kind::Conflict | Kind::Finding | Kind::Unsafe => "refused",
        Kind::Failed | Kind::Partial | Kind::Unverified | Kind::Usage => "failed",
    }
}

/// How the steps ended.
pub(super) fn done(out: &mut String, answer: &Answer, report: &Report) {
    let errors: Vec<Vec<Said>> = answer
        .ended
        .iter()
        .map(|error| error_lines(error, answer.source))
        .collect();
    list(out, "What went wrong", &errors);
    let not_done = report.steps.iter().filter_map(|(key, verb, outcome)| {
        let why = match outcome {
            Outcome::Done => return None,
            Outcome::Failed(refusal) => format!("failed: {}", refusal.message),
            Outcome::Skipped(why) => format!("skipped: {why}"),
        };
        Some(plain(format!("{verb} {key}: {why}")))
    });
    list(out, "Not done", &not_done.collect::<Vec<_>>());
}

/// The last lines: what stays as it is, the next command, and what this was made of.
pub(super) fn foot(answer: &Answer) -> String {
    let (mut out, id) = (String::new(), &answer.id);
    let steps = &answer.set.steps;
    if !steps.is_empty() {
        let same = answer.unchanged().count();
        if same > 0 {
            let _ = writeln!(out, "Unchanged: {}.\n", numbered(same, "object"));
        }
    }
    match answer.report {
        Some(report) if report.done() > 0 => {
            let back = ["hostguard", "revert", short_id(id), "--name", answer.plan];
            let failed = !answer.ended.is_empty();
            command(
                &mut out,
                "Go on from here",
                failed.then(|| answer.words?.apply(None)).flatten(),
            );
            command(&mut out, "Take it back", words::command(&back));
        }
        Some(_) => command(&mut out, "Try again", answer.words.and_then(|words| words.apply(None))),
        None if refused(answer) || steps.is_empty() || !answer.set.unreadable.is_empty() => {}
        None => {
            let apply = answer.words.and_then(|words| words.apply(Some(id)));
            let what = match takes_back(answer) {
                true => "Take it back: what is there then is shown, and asked about",
                false => "Apply exactly this, or stop with exit 4 if anything moved",
            };
            command(&mut out, what, apply);
        }
    }
    let set = if steps.is_empty() {
        String::new()
    } else {
        format!(" · change set `{id}`")
    };
    let _ = writeln!(out, "hostguard {}{set}", env!("CARGO_PKG_VERSION"));
    out
}

fn command(out: &mut String, what: &str, command: Option<String>) {
    if let Some(command) = command {
        let _ = writeln!(out, "{what}:\n\n```sh\n{}\n```\n", fenced(&command));
    }
}

/// Errors that leave no answer about this plan, with the plan that they point into.
pub fn error_markdown(plan: &str, errors: &[Error], source: Option<&Source>) -> String {
    let worst = errors.iter().map(|error| error.kind).min_by_key(|kind| kind.rank());
    let state = match worst {
        Some(Kind::Stale) => "stale: no step was made, plan again",
        kind => kind.map_or("failed", word),
    };
    let lines: Vec<Vec<Said>> = errors.iter().map(|error| error_lines(error, source)).collect();
    failed(plan, state, errors.iter().map(|error| error.code.as_str()), &lines)
}

/// Mistakes in this plan.
pub fn diagnostics_markdown(plan: &str, diagnostics: &[Diagnostic], place: &dyn Fn(&Diagnostic) -> String) -> String {
    let mut wrong: Vec<&Diagnostic> = diagnostics.iter().filter(|d| d.severity == Severity::Error).collect();
    wrong.sort_by_key(|problem| (problem.span(), problem.code));
    let lines = wrong.iter().map(|problem| {
        let text = format!("{}: {}", place(problem), problem.message);
        let mut lines = vec![(format!("**{}**", problem.code), text)];
        lines.extend(problem.consequence.iter().map(|text| ("so".to_string(), text.clone())));
        lines.extend(problem.fix.iter().map(|fix| ("fix:".to_string(), fix.clone())));
        lines
    });
    let lines: Vec<Vec<Said>> = lines.collect();
    failed(
        plan,
        "failed",
        wrong.iter().map(|problem| problem.code.as_str()),
        &lines,
    )
}

fn failed<'a>(plan: &str, state: &str, all: impl Iterator<Item = &'a str>, lines: &[Vec<Said>]) -> String {
    let mut out = marker(plan);
    let problems = numbered(lines.len(), "problem");
    let _ = writeln!(out, "**{}** · **{state}** ({}): {problems}\n", code(plan), codes(all));
    list(&mut out, "What is wrong", lines);
    out
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::changes::ChangeSet;
    use crate::error::codes;
    use crate::graph::Graph;
    use crate::provider::{Refusal, Why};
    use crate::render::Names;
    use crate::resource::{Key, Kind as ObjectKind};
    use crate::state::{ClusterFacts, Serving};

    fn report(outcomes: Vec<Outcome>) -> Report {
        let steps = outcomes.into_iter().enumerate();
        let steps = steps.map(|(nth, outcome)| (Key::cluster(ObjectKind::Tier, format!("t{nth}")), "create", outcome));
        Report {
            steps: steps.collect(),
            ..Report::default()
        }
    }

    /// The comment about a run.
    fn comment(verb: &'static str, report: &Report, ended: &[Error]) -> String {
        let facts = ClusterFacts {
            name: "c".into(),
            serving: Serving::Native,
            snapshot: None,
            felix_fields: None,
        };
        let graph = Graph::build(Vec::new(), Vec::new()).expect("no cycle");
        let answer = Answer {
            verb,
            plan: "p",
            source: None,
            platform: None,
            facts: &facts,
            cluster_uid: None,
            release: None,
            inputs: &BTreeMap::new(),
            lookups: &BTreeMap::new(),
            groups: &BTreeMap::new(),
            set: &ChangeSet::default(),
            id: ChangeSet::default().digest(),
            exposure: &[],
            inside: Some(&[]),
            names: &Names::default(),
            assumptions: &[],
            conflicts: &[],
            refused: &[],
            findings: &[],
            warnings: &[],
            rules: Vec::new(),
            guards: Vec::new(),
            lowered: Vec::new(),
            expectations: &[],
            kept: &[],
            sequence: None,
            record: None,
            report: Some(report),
            ended,
            graph: &graph,
            read: None,
            words: None,
        };
        super::super::plan(&answer)
    }

    fn failed(why: &str) -> Outcome {
        Outcome::Failed(Refusal {
            why: Why::Other,
            message: why.to_string(),
        })
    }

    #[test]
    fn a_comment_says_how_it_ended() {
        let error = |kind, code| vec![Error::new(kind, code, "it went wrong")];
        let skipped = || Outcome::Skipped("needs t1".to_string());
        let cases = [
            (
                vec![Outcome::Done],
                Vec::new(),
                "**applied**: 1 of 1 step done, read back, as planned",
            ),
            (Vec::new(), Vec::new(), "**applied**: the record is up to date"),
            (
                vec![Outcome::Done, failed("no | `x`"), skipped()],
                error(Kind::Partial, codes::STEP_FAILED),
                "**applied in part** (HG0708): 1 of 3 steps done, 1 failed, 1 skipped",
            ),
            (
                vec![failed("no")],
                error(Kind::Failed, codes::STEP_FAILED),
                "**failed** (HG0708): 0 of 1 step done",
            ),
            (
                vec![Outcome::Done],
                error(Kind::Unverified, codes::UNVERIFIED),
                "**applied, and not as planned** (HG0709): 1 of 1 step done",
            ),
            (vec![skipped()], error(Kind::Stale, codes::MOVED), "**stale**"),
        ];
        for (outcomes, ended, says) in cases {
            let comment = comment("apply", &report(outcomes), &ended);
            let lines: Vec<&str> = comment.lines().collect();
            assert_eq!(lines[0], "<!-- hostguard:p -->");
            assert!(
                lines[1].starts_with("**`p`** · ") && lines[1].contains(says),
                "{says}\n{comment}"
            );
        }
    }

    #[test]
    fn what_was_taken_back_is_not_called_applied() {
        let error = |kind, code| vec![Error::new(kind, code, "it went wrong")];
        let cases = [
            (vec![Outcome::Done], Vec::new(), "**taken back**: 1 of 1 step done"),
            (
                vec![Outcome::Done, failed("no")],
                error(Kind::Partial, codes::STEP_FAILED),
                "**taken back in part** (HG0708): 1 of 2 steps done, 1 failed, 0 skipped",
            ),
            (
                vec![Outcome::Done],
                error(Kind::Unverified, codes::UNVERIFIED),
                "**taken back, and not as planned** (HG0709)",
            ),
        ];
        for (outcomes, ended, says) in cases {
            let report = report(outcomes);
            for verb in ["destroy", "revert"] {
                let comment = comment(verb, &report, &ended);
                assert!(comment.contains(says) && !comment.contains("applied"), "{comment}");
            }
        }
    }

    #[test]
    fn what_was_not_done_is_listed_with_its_reason() {
        let outcomes = vec![
            Outcome::Done,
            failed("no | `x`"),
            Outcome::Skipped("needs t1".to_string()),
        ];
        let comment = comment("apply", &report(outcomes), &[]);
        let list =
            "**Not done**\n\n- `create Tier/t1: failed: no \\u{7c} 'x'`\n- `create Tier/t2: skipped: needs t1`\n";
        assert!(comment.contains(list) && !comment.contains("t0"), "{comment}");
    }
}
