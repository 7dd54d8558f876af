//! Steps in lines: in their order, each with what asked for it, and field by field.

use std::fmt::Write;

use super::text::wrap;
use super::{Answer, fields, order};
use crate::changes::{Change, Op};
use crate::escape::escape;

/// `+`, `~` or `-`.
pub(super) fn mark(op: &Op) -> char {
    match op {
        Op::Create { .. } => '+',
        Op::Update { .. } => '~',
        Op::Delete { .. } => '-',
    }
}

/// Every step; empty where there are none.
pub(super) fn steps(answer: &Answer) -> String {
    let mut out = String::new();
    if answer.set.steps.is_empty() {
        return out;
    }
    let _ = writeln!(out, "Steps, in order (+ create, ~ change, - delete)");
    for line in (0..answer.set.steps.len()).flat_map(|place| step(answer, place, true)) {
        let _ = writeln!(out, "{line}");
    }
    out.push('\n');
    out
}

/// The step in that place, and, where they are wanted, its fields.
pub(super) fn step(answer: &Answer, place: usize, with_fields: bool) -> Vec<String> {
    let step = &answer.set.steps[place];
    let placed = order::step(answer, place);
    let mut lines = Vec::new();
    if placed.is_some_and(|placed| placed.wait) {
        lines.push("      (wait until Calico has caught up)".to_string());
    }
    let key = escape(&step.key.to_string());
    lines.push(format!("{:>3} {} {key}", place + 1, mark(&step.op)));
    if with_fields && !matches!(step.op, Op::Delete { .. }) {
        let fields = step.fields.iter().flat_map(fields::lines);
        lines.extend(fields.map(|line| format!("        {line}")));
    }
    let mut beside = |mark: char, text: &str| {
        let wrapped = wrap(text, 68);
        lines.extend(wrapped.iter().map(|line| format!("        {mark} {}", escape(line))));
    };
    for need in &step.needs {
        if answer.set.steps.iter().any(|other| other.key == need.key) {
            beside('#', &format!("after {}: {}", need.key, need.reason));
        }
    }
    let asked = asked_by(step, answer);
    lines.push(format!("        # {}", escape(&asked)));
    for remark in placed.into_iter().flat_map(order::remarks) {
        let wrapped = wrap(&remark, 68);
        lines.extend(wrapped.iter().map(|line| format!("        ! {}", escape(line))));
    }
    lines
}

fn asked_by(step: &Change, answer: &Answer) -> String {
    match (step.origin.span, answer.source) {
        (Some(span), Some(source)) => format!("{} at {}", step.origin.section, source.locate(span)),
        _ if step.origin.section == "inventory" => match step.op {
            Op::Create { .. } => "for the record of what hostguard changes".to_string(),
            Op::Update { .. } if answer.verb == "destroy" => "what was found before goes back".to_string(),
            Op::Delete { .. } if answer.verb == "destroy" => "the plan created it".to_string(),
            Op::Update { .. } => "the plan no longer claims it: what was found before goes back".to_string(),
            Op::Delete { .. } => "the plan created it and no longer names it".to_string(),
        },
        _ => step.origin.section.clone(),
    }
}

/// The fields of a step as lines of a diff: `+` is there afterwards, `-` was there before.
pub(super) fn difference(step: &Change) -> Vec<String> {
    let mut lines = vec![format!("@@ {} {} @@", step.op.verb(), escape(&step.key.to_string()))];
    for field in &step.fields {
        let marked = |mark: char| {
            fields::lines(field)
                .into_iter()
                .map(move |line| format!("{mark} {line}"))
        };
        match (&field.before, &field.after) {
            (None, _) => lines.extend(marked('+')),
            (Some(_), None) => lines.extend(fields::removed(field).into_iter().map(|line| format!("- {line}"))),
            (Some(_), Some(_)) => lines.extend(fields::changed_lines(field)),
        }
    }
    lines
}
