//! The answer for people: 80 columns, readable without colour.

use std::fmt::Write;

use super::steps::{mark, steps};
use super::{Answer, exposure, gates, order};
use crate::apply::{Event, Outcome, Report};
use crate::changes::Finding;
use crate::error::{Style, show_error};
use crate::escape::escape;
use crate::expect::{Answered, Kept};
use crate::exposure::{Assumption, Movement};
use crate::plan::{InputValue, Provenance};
use crate::state::Serving;

/// The whole answer; ends with a newline.
pub fn text(answer: &Answer) -> String {
    let mut out = String::new();
    header(&mut out, answer);
    inputs(&mut out, answer);
    exposure_changes(&mut out, answer);
    expectations(&mut out, answer);
    let kept: Vec<String> = answer.kept.iter().map(|line| kept(line, answer)).collect();
    section(&mut out, order::kept(answer), &kept);
    out.push_str(&steps(answer));
    let unreadable: Vec<String> = answer
        .set
        .unreadable
        .iter()
        .map(|(key, why)| format!("{}: {}", escape(&key.to_string()), escape(why)))
        .collect();
    section(&mut out, "Could not be read", &unreadable);
    let notes: Vec<String> = gates::other_notes(answer)
        .map(|n| {
            let code = n.code.map(|code| format!(" [{code}]")).unwrap_or_default();
            format!("{}{code}: {}", escape(&n.about), escape(&n.text))
        })
        .collect();
    section(&mut out, "Notes", &notes);
    section(&mut out, "Gates", &gates::lines(answer));
    let findings: Vec<String> = answer.set.findings.iter().map(finding).collect();
    section(&mut out, "Not enforced as written, found in the cluster", &findings);
    for conflict in answer.conflicts.iter().chain(answer.refused) {
        let _ = writeln!(
            out,
            "{}",
            show_error(answer.source, conflict, Style::default()).trim_end()
        );
        out.push('\n');
    }
    summary(&mut out, answer);
    out
}

fn finding(finding: &Finding) -> String {
    let consequence = finding
        .consequence
        .as_ref()
        .map(|text| format!("; {}", escape(text)))
        .unwrap_or_default();
    let (key, path) = (escape(&finding.key.to_string()), escape(&finding.path));
    format!(
        "{key} [{}] {path}: {}{consequence}",
        finding.code,
        escape(&finding.message)
    )
}

fn header(out: &mut String, answer: &Answer) {
    let facts = answer.facts;
    let _ = writeln!(
        out,
        "{} {} on cluster {}",
        answer.verb,
        answer.plan,
        escape(&facts.name)
    );
    if let Some(file) = &facts.snapshot {
        let _ = writeln!(out, "  played by a snapshot: {}", escape(&file.to_string()));
    }
    let serving = match facts.serving {
        Serving::Aggregated => "Calico v3 by its API server",
        Serving::Native => "Calico v3 as CRDs",
        Serving::V1Only => "Calico v1 only",
        Serving::NotInstalled => "no Calico",
    };
    let edition = match &facts.felix_fields {
        Some(fields) if fields.contains("flowLogsEnableHostEndpoint") => ", Enterprise or Cloud edition",
        Some(_) => ", open source edition",
        None => ", edition unknown",
    };
    let platform = answer
        .platform
        .map(|platform| format!("platform {}; ", platform.facts().name))
        .unwrap_or_default();
    let uid = answer
        .cluster_uid
        .as_ref()
        .map_or("uid not readable".to_string(), |uid| format!("uid {}", escape(uid)));
    let _ = writeln!(out, "  {platform}{serving}{edition}\n  {uid}");
    for line in answer.release.iter().flat_map(|release| wrap(&escape(release), 76)) {
        let _ = writeln!(out, "  {line}");
    }
    for (i, line) in wrap(order::claim(answer), 76).iter().enumerate() {
        let _ = writeln!(out, "  {}{line}", if i > 0 { "  " } else { "" });
    }
    let not_read = answer.assumptions.contains(&Assumption::FirewallInFront);
    if not_read && let Some(in_front) = answer.platform.and_then(|platform| platform.facts().in_front) {
        let _ = writeln!(out, "  in front of the nodes, not read: {in_front}");
    }
    out.push('\n');
}

fn inputs(out: &mut String, answer: &Answer) {
    section(out, "Inputs", &input_lines(answer));
    section(out, "Node groups", &group_lines(answer));
}

/// Each input with its value and where it comes from.
pub(super) fn input_lines(answer: &Answer) -> Vec<String> {
    answer
        .inputs
        .iter()
        .map(|(name, input)| {
            let from = match &input.provenance {
                Provenance::Set => "--set".to_string(),
                Provenance::File(file) => file.clone(),
                Provenance::Environment(variable) => variable.clone(),
                Provenance::Lookup(from) => format!("looked up, {from}"),
                Provenance::Default => "default".to_string(),
            };
            let value = match &input.value {
                InputValue::Known(value) => value.clone(),
                InputValue::Lookup(_) => answer.lookups.get(name).cloned().unwrap_or_else(|| "not known".into()),
            };
            format!("{name} = {}  ({})", escape(&value), escape(&from))
        })
        .collect()
}

/// Each group with its nodes.
pub(super) fn group_lines(answer: &Answer) -> Vec<String> {
    answer
        .groups
        .iter()
        .map(|(name, nodes)| {
            let shown: Vec<String> = nodes.iter().take(5).map(|node| escape(node)).collect();
            let more = if nodes.len() > 5 {
                format!(", and {} more", nodes.len() - 5)
            } else {
                String::new()
            };
            format!("{name}: {}{more}", shown.join(", "))
        })
        .collect()
}

/// What the steps do to who can reach what.
fn exposure_changes(out: &mut String, answer: &Answer) {
    if answer.set.steps.is_empty() {
        return;
    }
    let moves = answer.exposure.iter().any(|row| row.movement != Movement::Stays);
    let inside = answer
        .inside
        .map(|rows| exposure::difference_inside(rows, answer.names));
    let inside = inside.unwrap_or_else(|| format!("  {}\n", exposure::TOO_MANY));
    if moves || !inside.is_empty() {
        let _ = writeln!(out, "Exposure, before -> after");
        let rows = exposure::difference(answer.exposure, answer.names);
        let nothing = "  nothing opens or closes for sources outside the cluster\n";
        out.push_str(if moves { &rows } else { nothing });
        out.push_str(&inside);
        for (i, line) in wrap(&exposure::assumed(answer.assumptions), 74).iter().enumerate() {
            let _ = writeln!(out, "  {}{line}", if i > 0 { "  " } else { "" });
        }
        out.push('\n');
    } else {
        let _ = writeln!(
            out,
            "Exposure\n  nothing opens or closes, for sources outside the cluster or clients in it\n"
        );
    }
}

/// Each expectation in a line, with its answer.
fn expectations(out: &mut String, answer: &Answer) {
    let lines: Vec<String> = answer
        .expectations
        .iter()
        .map(|line| expectation(line, answer))
        .collect();
    section(out, "Expectations, once everything is done", &lines);
}

pub(super) fn expectation(outcome: &Answered, answer: &Answer) -> String {
    format!("{}  {}", holds(outcome.fails.is_some()), expected(outcome, answer))
}

/// Whether what was promised is so.
pub(super) fn holds(fails: bool) -> &'static str {
    if fails { "FAILS" } else { "holds" }
}

/// What is expected.
pub(super) fn expected(outcome: &Answered, answer: &Answer) -> String {
    let is = if outcome.open { "open" } else { "blocked" };
    let (to, at) = (escape(&outcome.to), escape(&outcome.at));
    format!("{} -> {to}, {at}: {is}", named(&outcome.from, answer))
}

pub(super) fn kept(line: &Kept, answer: &Answer) -> String {
    format!("{}  {}", holds(line.fails.is_some()), never(line, answer))
}

/// What is never to be.
pub(super) fn never(line: &Kept, answer: &Answer) -> String {
    let never = if line.never_open { "opens" } else { "closes" };
    let (to, at) = (escape(&line.to), escape(&line.at));
    format!("{} -> {to}, {at}: never {never}", named(&line.from, answer))
}

/// Sources with what stands for them.
fn named(from: &str, answer: &Answer) -> String {
    let from: Vec<String> = from.split(", ").map(|part| answer.names.named(part)).collect();
    from.join(", ")
}

/// A heading and indented, wrapped lines; nothing when there are none.
pub(super) fn section(out: &mut String, heading: &str, lines: &[String]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "{heading}");
    for line in lines {
        for (i, part) in wrap(line, 76).into_iter().enumerate() {
            let _ = writeln!(out, "  {}{part}", if i > 0 { "  " } else { "" });
        }
    }
    out.push('\n');
}

/// Breaks at spaces; a word longer than the width stays whole.
pub fn wrap(line: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in line.split(' ') {
        let last = lines.last_mut().expect("starts with one");
        if !last.is_empty() && last.chars().count() + 1 + word.chars().count() > width {
            lines.push(word.to_string());
        } else {
            if !last.is_empty() {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines
}

fn summary(out: &mut String, answer: &Answer) {
    let counts = answer.set.counts();
    if answer.set.steps.is_empty() {
        let and = match (answer.set.unreadable.is_empty(), answer.conflicts.is_empty()) {
            (true, true) if answer.verb == "destroy" && answer.record.is_none() => {
                "Nothing to take back: there is no record of this plan here."
            }
            (true, true) if answer.record.is_some() => "No object changes; only the record of this plan does.",
            (true, true) => "Nothing to do: what is there is what is wanted.",
            (false, _) => "Nothing to do as far as could be read.",
            (true, false) => "Nothing else to do beside the conflicts.",
        };
        let _ = writeln!(out, "{and}");
    } else {
        let _ = writeln!(
            out,
            "{} to create, {} to change, {} to delete.",
            counts.create, counts.update, counts.delete
        );
        let _ = writeln!(out, "Change set {}", answer.id);
    }
    if let Some(record) = &answer.record {
        let _ = writeln!(out, "Record {record}");
    }
}

/// A line of the story, without a newline; `None` for what needs no line.
pub fn event(event: &Event) -> Option<String> {
    match event {
        Event::Finished(change, outcome) => Some(format!(
            "{} {}: {}",
            mark(&change.op),
            escape(&change.key.to_string()),
            outcome_text(outcome)
        )),
        Event::Waiting(left) => {
            let more = if left.len() > 1 {
                format!(" (and {} more)", left.len() - 1)
            } else {
                String::new()
            };
            Some(format!("  waiting for Calico: {}{more}", escape(&left[0])))
        }
        Event::Dataplane(time) => Some(format!("  {} s for Felix to catch up", time.as_secs())),
        Event::Settled => Some("  Calico has caught up".to_string()),
        Event::TakenBack(change, outcome) => Some(format!(
            "{} {}: {}",
            mark(&change.op),
            escape(&change.key.to_string()),
            match outcome {
                Outcome::Done => "taken back".to_string(),
                other => outcome_text(other),
            }
        )),
        Event::Locked(held) => Some(format!(
            "  waiting for the lock: {} on {} since {}",
            escape(&held.who),
            escape(&held.host),
            escape(&held.since)
        )),
        Event::Moved(what) => {
            let line = format!("moved meanwhile, without effect: {}", escape(&what.join("; ")));
            Some(format!("  {}", wrap(&line, 76).join("\n    ")))
        }
        Event::Again(key) => Some(format!(
            "  {}: moved meanwhile, the step is the same; again",
            escape(&key.to_string())
        )),
    }
}

fn outcome_text(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done => "done".to_string(),
        Outcome::Failed(refusal) => format!("failed: {}", escape(&refusal.message)),
        Outcome::Skipped(why) => format!("skipped: {}", escape(why)),
    }
}

/// What became of the steps; ends with a newline.
pub fn report(report: &Report) -> String {
    let mut out = String::new();
    for (key, _, outcome) in &report.steps {
        if *outcome != Outcome::Done {
            let _ = writeln!(out, "{}: {}", escape(&key.to_string()), outcome_text(outcome));
        }
    }
    if report.steps.is_empty() {
        return "The record is up to date.\n".to_string();
    }
    let _ = writeln!(
        out,
        "{} done, {} failed, {} skipped of {} steps.",
        report.done(),
        report.failed(),
        report.skipped(),
        report.steps.len()
    );
    let waiting: Vec<String> = report.unsettled.iter().map(|left| escape(left)).collect();
    section(&mut out, "Not settled when the deadline came", &waiting);
    out
}
