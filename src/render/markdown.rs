//! The answer as a comment on a pull request: Markdown as GitHub and GitLab read it, at most 60,000 bytes.
//!
//! Text from outside stands in code spans and code blocks only, without backticks, bars, line breaks or control
//! characters: in there nothing is markup, mentions nobody, and cannot end. What has no room is counted.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::exposure::{answer, assumed, moved_sides, movement_words, place, verdict, what};
use super::json_exposure::Looked;
use super::sources::{Names, Shares, who};
use super::{Answer, exposure, gates, order, text};
use crate::error::{Diagnostic, Error};
use crate::escape::escape;
use crate::exposure::{Assumption, Movement, Reach, Row, Verdict};

/// GitHub takes 65,536 characters.
pub(super) const MOST: usize = 60_000;
pub(super) const ROWS: usize = 20;
/// Of each list below the table.
const ITEMS: usize = 10;
/// Bytes of one text from outside; the texts before the steps come to less than two thirds of the whole.
const TEXT: usize = 240;

/// Text from outside, inert.
pub(super) fn code(text: &str) -> String {
    let mut inert = String::new();
    for c in escape(text).chars() {
        let next = match c {
            '`' => "'".to_string(),
            '|' => "\\u{7c}".to_string(),
            c => c.to_string(),
        };
        if inert.len() + next.len() > TEXT {
            inert.push_str("...");
            break;
        }
        inert.push_str(&next);
    }
    match inert.trim() {
        "" => "`-`".to_string(),
        inert => format!("`{inert}`"),
    }
}

/// A plan: what opens and closes, what stands in its way, and its steps.
pub fn plan(answer: &Answer) -> String {
    let moves = |wanted: Movement| {
        let rows = answer.exposure.iter().chain(answer.inside.unwrap_or_default());
        rows.filter(|row| row.movement == wanted).count()
    };
    let counts = answer.set.counts();
    let refused = !(answer.conflicts.is_empty() && answer.refused.is_empty());
    let mut out = format!(
        "**hostguard {}** {}: {}{} opened, {} closed, {} become unknown; {} steps ({} to create, {} to change, {} to \
         delete)\n\n",
        answer.verb,
        code(answer.plan),
        if refused { "**refused**; " } else { "" },
        moves(Movement::Opens),
        moves(Movement::Closes),
        moves(Movement::BecomesUnknown),
        answer.set.steps.len(),
        counts.create,
        counts.update,
        counts.delete,
    );
    let _ = writeln!(out, "Cluster {}; {}\n", code(&answer.facts.name), order::claim(answer));
    rows(&mut out, answer);
    let conflicts: Vec<&str> = answer.conflicts.iter().map(|error| error.message.as_str()).collect();
    list(&mut out, "Conflicts: this cannot be applied", &conflicts);
    let refused: Vec<String> = answer.refused.iter().flat_map(refusal).collect();
    list(&mut out, "Refused: nothing of this will be done", &refused);
    let expectations: Vec<String> = answer
        .expectations
        .iter()
        .map(|e| text::expectation(e, answer))
        .collect();
    list(&mut out, "Expectations, once everything is done", &expectations);
    let kept: Vec<String> = answer.kept.iter().map(|line| text::kept(line, answer)).collect();
    list(&mut out, order::kept(answer), &kept);
    let pairs = |pairs: Vec<(String, &str)>| -> Vec<String> {
        pairs
            .into_iter()
            .map(|(about, text)| format!("{about}: {text}"))
            .collect()
    };
    let unreadable = answer.set.unreadable.iter();
    let unreadable = unreadable.map(|(key, why)| (key.to_string(), why.as_str()));
    list(&mut out, "Could not be read", &pairs(unreadable.collect()));
    list(&mut out, "Gates", &gates::lines(answer));
    let notes = gates::other_notes(answer).map(|n| (n.about.clone(), n.text.as_str()));
    list(&mut out, "Notes", &pairs(notes.collect()));
    let findings = answer.set.findings.iter();
    let findings = findings.map(|f| (format!("{} [{}] {}", f.key, f.code, f.path), f.message.as_str()));
    list(
        &mut out,
        "Not enforced as written, found in the cluster",
        &pairs(findings.collect()),
    );
    steps(&mut out, answer);
    out
}

/// What is wrong, why, and what to do, a line each.
pub(super) fn refusal(error: &Error) -> Vec<String> {
    let first = format!("{}: {}", error.code, error.message);
    let causes = error.causes.iter().map(|cause| format!("caused by: {cause}"));
    let fix = error.fix.iter().map(|fix| format!("fix: {fix}"));
    std::iter::once(first).chain(causes).chain(fix).collect()
}

fn rows(out: &mut String, answer: &Answer) {
    let mut rows: Vec<&Row> = answer.exposure.iter().collect();
    rows.extend(answer.inside.unwrap_or_default());
    // Within a movement what is said of the outside comes first; the sort is stable.
    rows.sort_by_key(|row| row.movement);
    if answer.set.steps.is_empty() || rows.iter().all(|row| row.movement == Movement::Stays) {
        out.push_str("Nothing opens or closes.\n\n");
    } else {
        out.push_str("| | what | nodes | from | before | after |\n|---|---|---|---|---|---|\n");
        let shares = Shares::of(answer.exposure.iter().map(|row| (&row.subject, &*row.nodes)));
        let rows = merged(rows.into_iter().map(|row| {
            let who = who(&row.subject, row.clients.as_ref(), &row.nodes, (answer.names, &shares));
            let key = (row.movement, what(&row.subject), place(&row.nodes), moved_sides(row));
            (key, who)
        }));
        for ((movement, what, place, (before, after)), who) in rows.iter().take(ROWS) {
            let cells = [what, place, who, before, after].map(|cell| code(cell));
            let _ = writeln!(out, "| {} | {} |", movement_words(*movement), cells.join(" | "));
        }
        more(out, rows.len(), ROWS, "rows");
    }
    if answer.inside.is_none() {
        let _ = writeln!(out, "{}\n", exposure::TOO_MANY);
    }
    if !answer.assumptions.is_empty() {
        let _ = writeln!(out, "{}\n", assumed(answer.assumptions));
    }
}

/// Rows that differ in whom they are about only are one; each is where its first part was.
pub(super) fn merged<K: Ord + Clone>(rows: impl Iterator<Item = (K, String)>) -> Vec<(K, String)> {
    let (mut order, mut of): (Vec<K>, BTreeMap<K, Vec<String>>) = (Vec::new(), BTreeMap::new());
    for (key, who) in rows {
        if !of.contains_key(&key) {
            order.push(key.clone());
        }
        of.entry(key).or_default().push(who);
    }
    let row = |key: K| {
        let who = of.remove(&key).unwrap_or_default().join("; ");
        (key, who)
    };
    order.into_iter().map(row).collect()
}

/// The rest of a list, counted; ends the block.
pub(super) fn more(out: &mut String, all: usize, shown: usize, of: &str) {
    if all > shown {
        let _ = writeln!(out, "\n{} more {of} have no room here; `-o json` has all.", all - shown);
    }
    out.push('\n');
}

pub(super) fn list<T: AsRef<str>>(out: &mut String, heading: &str, lines: &[T]) {
    if lines.is_empty() {
        return;
    }
    let _ = writeln!(out, "**{heading}**\n");
    for line in lines.iter().take(ITEMS) {
        let _ = writeln!(out, "- {}", code(line.as_ref()));
    }
    more(out, lines.len(), ITEMS, "of these");
}

/// The steps as the text answer has them, folded; as many lines as there is room for.
fn steps(out: &mut String, answer: &Answer) {
    let foot = format!("Change set `{}`\n", answer.set.digest());
    let shown = text::steps_text(answer);
    let lines: Vec<&str> = shown.lines().collect();
    if lines.is_empty() {
        out.push_str(&foot);
        return;
    }
    let _ = write!(
        out,
        "<details><summary>{} steps</summary>\n\n```text\n",
        answer.set.steps.len()
    );
    // Room for the end of the block, the count and the foot.
    let room = MOST.saturating_sub(out.len() + foot.len() + 200);
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
    let _ = write!(out, "</details>\n\n{foot}");
}

/// Who can reach what.
pub fn exposed(
    looked: &Looked,
    (outside, inside): (&[Reach], Option<&[Reach]>),
    names: &Names,
    assumptions: &[Assumption],
) -> String {
    let mut rows: Vec<&Reach> = outside.iter().collect();
    rows.extend(inside.unwrap_or_default());
    let count = |wanted: &str| rows.iter().filter(|row| verdict(row.answer.verdict) == wanted).count();
    let after = looked.plan.map_or("as it is".to_string(), |plan| {
        format!("as plan {} leaves it", code(plan))
    });
    let mut out = format!(
        "**hostguard exposure** of cluster {} {after}: {} rows open, {} partly, {} unknown, {} blocked\n\n",
        code(looked.cluster),
        count("open"),
        count("partly"),
        count("unknown"),
        count("blocked"),
    );
    // Within a verdict what is said of the outside comes first; the sort is stable.
    rows.sort_by_key(|row| match row.answer.verdict {
        Verdict::Open | Verdict::HostDecides => 0,
        Verdict::Partly => 1,
        Verdict::Unknown => 2,
        Verdict::Blocked => 3,
    });
    out.push_str("| what | nodes | from | answer |\n|---|---|---|---|\n");
    let shares = Shares::of(outside.iter().map(|row| (&row.subject, &*row.nodes)));
    let rows = merged(rows.into_iter().map(|row| {
        let who = who(&row.subject, row.clients.as_ref(), &row.nodes, (names, &shares));
        let key = (what(&row.subject), place(&row.nodes), answer(Some(&row.answer)));
        (key, who)
    }));
    for ((what, place, answer), who) in rows.iter().take(ROWS) {
        let cells = [what, place, who, answer].map(|cell| code(cell));
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
    more(&mut out, rows.len(), ROWS, "rows");
    if inside.is_none() {
        let _ = writeln!(out, "{}\n", exposure::TOO_MANY);
    }
    let _ = writeln!(out, "{}", assumed(assumptions));
    out
}

/// Errors that leave no answer.
pub fn error_markdown(errors: &[Error]) -> String {
    let lines = errors.iter().map(|error| format!("{} {}", error.code, error.message));
    failed(&lines.collect::<Vec<_>>())
}

/// Mistakes in a plan.
pub fn diagnostics_markdown(diagnostics: &[Diagnostic]) -> String {
    let lines = diagnostics
        .iter()
        .map(|problem| format!("{} {}", problem.code, problem.message));
    failed(&lines.collect::<Vec<_>>())
}

fn failed(lines: &[String]) -> String {
    let problems = if lines.len() == 1 { "problem" } else { "problems" };
    let mut out = format!("**hostguard failed**: {} {problems}\n\n", lines.len());
    list(&mut out, "Nothing was done", lines);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_text_ends_its_code_span_or_its_cell() {
        for hostile in [
            "a` | <b>x</b> @admin",
            "``` \n| OPENS | all |\n</details>",
            "![x](https://example.com/x.png)",
            "\u{202e}evil\u{1b}[2J",
            "",
            "   ",
        ] {
            let inert = code(hostile);
            let inner = inert.strip_prefix('`').and_then(|rest| rest.strip_suffix('`')).unwrap();
            assert!(
                !inner.is_empty() && !inner.contains(['`', '|', '\n', '\u{1b}', '\u{202e}']),
                "{inert}"
            );
        }
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let cut = code(&"ü".repeat(1000));
        assert!(cut.len() < TEXT + 10 && cut.ends_with("ü...`"), "{cut}");
    }
}
