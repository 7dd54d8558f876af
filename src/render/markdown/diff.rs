//! What the change of a plan does, as a comment.

use std::fmt::Write;

use super::super::diff::{Counts, Diff};
use super::super::exposure::{TOO_MANY, assumed};
use super::super::rows::{self, Line};
use super::inert::{code, fenced, marker};
use super::{MOST, Said, error_lines, list, plain, sentence, table_of};
use crate::exposure::Movement;

/// The comment; ends with a newline.
pub fn diff(diff: &Diff) -> String {
    let rows = rows::moved(diff.exposure, diff.inside, diff.names);
    let moves = |wanted: Movement| rows::count(&rows, wanted);
    let Counts { new, changed, gone } = diff.counts();
    let refused = diff.refused();
    let plan = if diff.head.wanted {
        diff.head.plan
    } else {
        diff.base.plan
    };
    let mut parts = vec![format!("**This change of** {}", code(plan))];
    parts.extend(diff.newly_refused().then(|| "❌ **head is refused**".to_string()));
    let unknown = match moves(Movement::BecomesUnknown) {
        0 => String::new(),
        many => format!(", {many} not known any more"),
    };
    let (opens, closes) = (moves(Movement::Opens), moves(Movement::Closes));
    parts.push(format!("**opens {opens}, closes {closes}{unknown}**"));
    parts.push(format!("objects: {new} new, {changed} changed, {gone} gone"));
    let mut out = marker(&format!("diff/{plan}"));
    let _ = writeln!(out, "{}\n", parts.join(" · "));
    let drift = diff.drift();
    match (diff.differs(), drift.as_str()) {
        (false, "") => out.push_str("The change of the plan does nothing.\n\n"),
        (false, drift) => {
            let _ = writeln!(out, "The change of the plan does nothing. {drift}\n");
        }
        (true, "") => {}
        (true, drift) => {
            let _ = writeln!(out, "{drift}\n");
        }
    }
    if let Some(line) = diff.refused_as_before() {
        let _ = writeln!(out, "{line}\n");
    }
    list(&mut out, "To know", &items(diff.notes()));
    table(&mut out, diff, &rows);
    let lines: Vec<Vec<Said>> = refused
        .new
        .iter()
        .map(|error| error_lines(error, diff.head.source))
        .collect();
    list(&mut out, "Refused: head is not applied as it is", &lines);
    let gone = refused
        .gone
        .iter()
        .map(|error| format!("{}: {}", error.code, error.message));
    list(&mut out, "Refused of base, and not of head", &items(gone));
    let promises = diff.promises();
    list(&mut out, "Promised by head only", &items(promises.new));
    list(&mut out, "Promised by base only", &items(promises.gone));
    let gates = diff.gate_lines();
    list(&mut out, "Gates, found of head only", &items(gates.new));
    list(&mut out, "Gates, found of base only", &items(gates.gone));
    let unreadable = diff.unreadable();
    let unreadable = unreadable.iter().map(|(key, why)| format!("{key}: {why}"));
    list(&mut out, "Could not be read", &items(unreadable));
    steps(&mut out, diff);
    out
}

fn items<T: Into<String>>(lines: impl IntoIterator<Item = T>) -> Vec<Vec<Said>> {
    lines.into_iter().map(|line| plain(line.into())).collect()
}

fn table(out: &mut String, diff: &Diff, rows: &[Line]) {
    if rows.iter().all(|row| row.movement == Some(Movement::Stays)) {
        out.push_str("Nothing opens or closes.\n\n");
    } else {
        table_of(out, "after base → after head", rows);
    }
    if diff.inside.is_none() {
        let _ = writeln!(out, "{}.\n", sentence(TOO_MANY));
    }
    if !diff.assumptions.is_empty() {
        let _ = writeln!(out, "{}.\n", sentence(&assumed(diff.assumptions)));
    }
}

/// What is there otherwise, folded; as many lines as there is room for.
fn steps(out: &mut String, diff: &Diff) {
    let shown = diff.steps_text();
    let lines: Vec<&str> = shown.lines().collect();
    if lines.is_empty() {
        return;
    }
    let Counts { new, changed, gone } = diff.counts();
    let _ = write!(
        out,
        "<details><summary>What is there, after base and after head: {new} new, {changed} changed, {gone} \
         gone</summary>\n\n```text\n"
    );
    // Room for the end of the block and the count.
    let room = MOST.saturating_sub(out.len() + 200);
    let (mut used, mut kept) = (0, 0);
    for line in &lines {
        let line = fenced(line);
        used += line.len() + 1;
        if used > room {
            break;
        }
        let _ = writeln!(out, "{line}");
        kept += 1;
    }
    out.push_str("```\n\n");
    if kept < lines.len() {
        let _ = writeln!(
            out,
            "{} more lines have no room here; `-o text` has all.\n",
            lines.len() - kept
        );
    }
    out.push_str("</details>\n");
}
