//! What the change of a plan does, as a part of a comment on a pull request; see `markdown.rs` for how texts are made
//! inert.

use std::fmt::Write;

use super::diff::{Counts, Diff};
use super::exposure::{TOO_MANY, assumed, moved_sides, movement_words, place, what};
use super::markdown::{MOST, ROWS, code, list, merged, more, refusal};
use super::sources::{Shares, who};
use crate::exposure::{Movement, Row};

/// The comment; ends with a newline.
pub fn markdown(diff: &Diff) -> String {
    let rows = || diff.exposure.iter().chain(diff.inside.unwrap_or_default());
    let moves = |wanted: Movement| rows().filter(|row| row.movement == wanted).count();
    let Counts { new, changed, gone } = diff.counts();
    let refused = diff.refused();
    let mut out = format!(
        "**hostguard diff** {}: {}{} opened, {} closed, {} become unknown by this change of the plan; objects: {new} new, \
         {changed} changed, {gone} gone\n\n",
        code(if diff.head.wanted {
            diff.head.plan
        } else {
            diff.base.plan
        }),
        if diff.newly_refused() {
            "**head is refused**; "
        } else {
            ""
        },
        moves(Movement::Opens),
        moves(Movement::Closes),
        moves(Movement::BecomesUnknown),
    );
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
    list(&mut out, "To know", &diff.notes());
    table(&mut out, diff, rows().collect());
    let lines: Vec<String> = refused.new.iter().flat_map(|error| refusal(error)).collect();
    list(&mut out, "Refused: head is not applied as it is", &lines);
    let lines: Vec<String> = refused
        .gone
        .iter()
        .map(|e| format!("{}: {}", e.code, e.message))
        .collect();
    list(&mut out, "Refused of base, and not of head", &lines);
    let promises = diff.promises();
    list(&mut out, "Promised by head only", &promises.new);
    list(&mut out, "Promised by base only", &promises.gone);
    let gates = diff.gate_lines();
    list(&mut out, "Gates, found of head only", &gates.new);
    list(&mut out, "Gates, found of base only", &gates.gone);
    let unreadable = diff.unreadable();
    let unreadable: Vec<String> = unreadable.iter().map(|(key, why)| format!("{key}: {why}")).collect();
    list(&mut out, "Could not be read", &unreadable);
    steps(&mut out, diff);
    out
}

fn table(out: &mut String, diff: &Diff, mut rows: Vec<&Row>) {
    // Within a movement what is said of the outside comes first; the sort is stable.
    rows.sort_by_key(|row| row.movement);
    if rows.iter().all(|row| row.movement == Movement::Stays) {
        out.push_str("Nothing opens or closes.\n\n");
    } else {
        out.push_str("| | what | nodes | from | after base | after head |\n|---|---|---|---|---|---|\n");
        let shares = Shares::of(diff.exposure.iter().map(|row| (&row.subject, &*row.nodes)));
        let rows = merged(rows.into_iter().map(|row| {
            let who = who(&row.subject, row.clients.as_ref(), &row.nodes, (diff.names, &shares));
            let key = (row.movement, what(&row.subject), place(&row.nodes), moved_sides(row));
            (key, who)
        }));
        for ((movement, what, place, (before, after)), who) in rows.iter().take(ROWS) {
            let cells = [what, place, who, before, after].map(|cell| code(cell));
            let _ = writeln!(out, "| {} | {} |", movement_words(*movement), cells.join(" | "));
        }
        more(out, rows.len(), ROWS, "rows");
    }
    if diff.inside.is_none() {
        let _ = writeln!(out, "{TOO_MANY}\n");
    }
    if !diff.assumptions.is_empty() {
        let _ = writeln!(out, "{}\n", assumed(diff.assumptions));
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
        let line = line.replace('`', "'");
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
