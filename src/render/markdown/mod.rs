//! Answers as a comment on a pull request: Markdown as GitHub and GitLab read it, at most 60,000 bytes.
//!
//! The first line is a marker that nobody sees, the second the answer; then what opens and closes, and whatever speaks
//! against it. That much is never folded and is bounded; what is folded below it gets the room that is left, and what
//! has none is counted. Text from outside is inert (`inert.rs`).

mod diff;
mod folds;
mod inert;
mod states;

use std::fmt::Write;

use super::exposure::assumed;
use super::json_exposure::Looked;
use super::rows::{self, Found, Line};
use super::sources::Names;
use super::{Answer, exposure, gates, numbered, order, text};
use crate::error::Error;
use crate::exposure::{Assumption, Movement, Reach};
use crate::source::Source;
use inert::{code, marker};

pub use diff::diff;
pub use states::{diagnostics_markdown, error_markdown};

/// GitHub takes 65,536 characters.
const MOST: usize = 60_000;
/// Of a table.
const ROWS: usize = 20;
/// Of each list that is not folded. With the table they come to less than four fifths of the whole.
const LINES: usize = 12;

/// A plan, and what became of it where it was applied.
pub fn plan(answer: &Answer) -> String {
    let rows = rows::moves(answer);
    let mut out = marker(answer.plan);
    let _ = writeln!(out, "{}\n", headline(answer, &rows));
    if let Some(report) = answer.report {
        states::done(&mut out, answer, report);
        out.push_str("<details><summary>What opens and closes</summary>\n\n");
        table(&mut out, answer, &rows);
        out.push_str("</details>\n\n");
    } else {
        table(&mut out, answer, &rows);
        against(&mut out, answer);
    }
    let foot = states::foot(answer);
    folds::folds(&mut out, answer, &rows, MOST.saturating_sub(foot.len()));
    out.push_str(&foot);
    out
}

/// The answer in one line: what opens and closes, how many steps of which kind, gates, id, and how old it is.
fn headline(answer: &Answer, rows: &[Line]) -> String {
    let mut parts = vec![format!("**{}**", code(answer.plan))];
    parts.extend(states::back(answer));
    parts.extend(states::state(answer));
    let count = |movement| rows::count(rows, movement);
    let (opens, closes) = (count(Movement::Opens), count(Movement::Closes));
    let unknown = match count(Movement::BecomesUnknown) {
        0 => String::new(),
        many => format!(", {many} not known any more"),
    };
    let words = match answer.report {
        Some(_) if answer.ended.is_empty() => ["opened", "closed"],
        Some(_) => ["was to open", "close"],
        None if states::refused(answer) => ["would open", "close"],
        None => ["opens", "closes"],
    };
    if !answer.set.steps.is_empty() {
        parts.push(format!("**{} {opens}, {} {closes}{unknown}**", words[0], words[1]));
    }
    let counts = answer.set.counts();
    let kinds = [
        (counts.create, "create"),
        (counts.update, "change"),
        (counts.delete, "delete"),
    ];
    let kinds = kinds.iter().filter(|(many, _)| *many > 0);
    let kinds: Vec<String> = kinds.map(|(many, kind)| format!("{many} {kind}")).collect();
    if !kinds.is_empty() {
        parts.push(format!(
            "{}: {}",
            numbered(answer.set.steps.len(), "step"),
            kinds.join(", ")
        ));
    }
    // what destroy leaves was there before: no gate is asked
    parts.extend((answer.verb != "destroy").then(|| gates::counts(answer)));
    if !answer.set.steps.is_empty() {
        parts.push(format!("change set {}", code(short_id(&answer.id))));
    }
    parts.push(freshness(answer));
    parts.join(" · ")
}

/// Enough of an id for people.
fn short_id(id: &str) -> &str {
    let digits = id.trim_start_matches("sha256:");
    digits.get(..12).unwrap_or(digits)
}

/// How and when what is there was read.
fn freshness(answer: &Answer) -> String {
    let cluster = code(&answer.facts.name);
    match (&answer.facts.snapshot, answer.read) {
        (Some(file), _) => format!("{cluster} as in snapshot {}", code(&file.to_string())),
        (None, Some(when)) => format!("{cluster} {when}"),
        (None, None) => format!("{cluster} as read for this"),
    }
}

/// What opens first; at most so many rows, and the rest as a count.
fn table(out: &mut String, answer: &Answer, rows: &[Line]) {
    let moves = rows.iter().any(|row| row.movement != Some(Movement::Stays));
    if answer.set.steps.is_empty() || !moves {
        out.push_str("Nothing opens or closes.\n\n");
    } else {
        table_of(out, "before → after", rows);
    }
    if !answer.set.steps.is_empty() && !states::refused(answer) {
        let _ = writeln!(out, "{}.\n", sentence(order::claim(answer)));
    }
    if answer.inside.is_none() {
        let _ = writeln!(out, "{}.\n", sentence(exposure::TOO_MANY));
    }
    if !answer.assumptions.is_empty() && !answer.set.steps.is_empty() {
        let _ = writeln!(out, "{}.\n", sentence(&assumed(answer.assumptions)));
    }
}

fn table_of(out: &mut String, ends: &str, rows: &[Line]) {
    let _ = writeln!(out, "| | from | to | {ends} |\n|---|---|---|---|");
    for row in rows.iter().take(ROWS) {
        let movement = row.movement.map(moving).unwrap_or_default();
        let (who, what, nodes) = (code(&row.who()), code(&row.what), code(&row.nodes));
        let _ = writeln!(out, "| {movement} | {who} | {what} on {nodes} | {} |", sides(row));
    }
    more(out, rows.len(), ROWS, "rows");
}

fn sentence(text: &str) -> String {
    let mut letters = text.chars();
    let first: String = letters.next().into_iter().flat_map(char::to_uppercase).collect();
    first + letters.as_str()
}

/// Shape and word; what opens stands out.
fn moving(movement: Movement) -> &'static str {
    match movement {
        Movement::Opens => "🔓\u{a0}**opens**",
        Movement::BecomesUnknown => "❓\u{a0}**not known any more**",
        Movement::Closes => "🔒\u{a0}closes",
        Movement::BecomesKnown => "known now",
        Movement::Stays => "stays",
    }
}

/// Verdicts in a line, and what decides in the next: policies have long names, and two columns of them have no room.
fn sides(row: &Line) -> String {
    let by = |found: &Found| match found.by.as_str() {
        "" => "nothing".to_string(),
        by => code(by),
    };
    match &row.before {
        Some(before) if before.by == row.after.by && before.verdict == row.after.verdict => found(before),
        Some(before) if before.by.is_empty() && row.after.by.is_empty() => {
            format!("{} → {}", before.verdict, row.after.verdict)
        }
        Some(before) => {
            let verdicts = match (before.verdict, row.after.verdict) {
                (was, is) if was == is => is.to_string(),
                (was, is) => format!("{was} → {is}"),
            };
            format!("{verdicts}<br>{} → {}", by(before), by(&row.after))
        }
        None => found(&row.after),
    }
}

fn found(found: &Found) -> String {
    match found.by.as_str() {
        "" => found.verdict.to_string(),
        by => format!("{}: {}", found.verdict, code(by)),
    }
}

/// A line of a list: our words, and text from outside.
type Said = (String, String);

fn plain(text: String) -> Vec<Said> {
    vec![(String::new(), text)]
}

fn promise(fails: bool, text: String) -> Vec<Said> {
    let mark = if fails { "❌ **fails**" } else { "✅ holds" };
    vec![(mark.to_string(), text)]
}

/// Everything that speaks against it, or that a reviewer has to know before a yes.
fn against(out: &mut String, answer: &Answer) {
    let said = |error: &Error| error_lines(error, answer.source);
    let conflicts: Vec<Vec<Said>> = answer.conflicts.iter().map(said).collect();
    list(out, "Conflicts: this cannot be applied", &conflicts);
    let refused: Vec<Vec<Said>> = answer.refused.iter().map(said).collect();
    list(out, "Refused: nothing of this will be done", &refused);
    let steps = answer.sequence.iter().flat_map(|sequence| sequence.steps());
    let on_the_way = steps.flat_map(|step| {
        let key = &step.change.key;
        order::remarks(step)
            .into_iter()
            .map(move |remark| plain(format!("{key}: {remark}")))
    });
    list(out, "On the way", &on_the_way.collect::<Vec<_>>());
    let unreadable = answer.set.unreadable.iter();
    let unreadable = unreadable.map(|(key, why)| plain(format!("{key}: {why}")));
    list(out, "Could not be read", &unreadable.collect::<Vec<_>>());
    let expectations = answer.expectations.iter();
    let expectations = expectations.map(|line| promise(line.fails.is_some(), text::expected(line, answer)));
    list(
        out,
        "Expectations, once everything is done",
        &expectations.collect::<Vec<_>>(),
    );
    let kept = answer.kept.iter();
    let kept = kept.map(|line| promise(line.fails.is_some(), text::never(line, answer)));
    list(out, order::kept(answer), &kept.collect::<Vec<_>>());
    let gates = gates::parts(answer).into_iter().map(|part| vec![part]);
    list(out, "Gates", &gates.collect::<Vec<_>>());
}

/// What is wrong and where the plan asks for it; below it why, what that means and what to do.
fn error_lines(error: &Error, source: Option<&Source>) -> Vec<Said> {
    let line = |head: &str, text: &String| (head.to_string(), text.clone());
    let place = source.zip(error.span).map(|(source, span)| source.locate(span));
    let place = place.map(|place| format!("{place}: ")).unwrap_or_default();
    let mut lines = vec![(format!("**{}**", error.code), format!("{place}{}", error.message))];
    lines.extend(error.causes.iter().map(|cause| line("caused by", cause)));
    lines.extend(error.consequence.iter().map(|text| line("so", text)));
    lines.extend(error.fix.iter().map(|fix| line("fix:", fix)));
    lines
}

/// The rest of a list, counted; ends the block.
fn more(out: &mut String, all: usize, shown: usize, of: &str) {
    if all > shown {
        let _ = writeln!(out, "\n{} more {of} have no room here; `-o json` has all.", all - shown);
    }
    out.push('\n');
}

/// Items of a line or several, as many as there is room for.
fn list(out: &mut String, heading: &str, items: &[Vec<Said>]) {
    if items.is_empty() {
        return;
    }
    let _ = writeln!(out, "**{heading}**\n");
    let (mut room, mut shown) = (LINES, 0);
    for item in items {
        if room == 0 {
            break;
        }
        for (nth, (head, text)) in item.iter().take(room).enumerate() {
            let text = if text.is_empty() { String::new() } else { code(text) };
            let indent = if nth > 0 { "  " } else { "" };
            let _ = writeln!(out, "{indent}- {}", format!("{head} {text}").trim());
        }
        room = room.saturating_sub(item.len());
        shown += 1;
    }
    more(out, items.len(), shown, "of these");
}

/// Who can reach what.
pub fn exposed(
    looked: &Looked,
    (outside, inside): (&[Reach], Option<&[Reach]>),
    names: &Names,
    assumptions: &[Assumption],
) -> String {
    let rows = rows::reaches(outside, inside, names);
    let count = |wanted: &str| rows::count_found(&rows, wanted);
    let after = looked.plan.map_or("as it is".to_string(), |plan| {
        format!("as plan {} leaves it", code(plan))
    });
    let mut out = marker(&format!("exposure/{}", looked.cluster));
    let _ = writeln!(
        out,
        "**Exposure** of cluster {} {after}: {} open, {} partly, {} unknown, {} blocked\n",
        code(looked.cluster),
        count("open"),
        count("partly"),
        count("unknown"),
        count("blocked"),
    );
    out.push_str("| from | to | answer |\n|---|---|---|\n");
    for row in rows.iter().take(ROWS) {
        let (who, what, nodes) = (code(&row.who()), code(&row.what), code(&row.nodes));
        let _ = writeln!(out, "| {who} | {what} on {nodes} | {} |", found(&row.after));
    }
    more(&mut out, rows.len(), ROWS, "rows");
    if inside.is_none() {
        let _ = writeln!(out, "{}.\n", sentence(exposure::TOO_MANY));
    }
    let _ = writeln!(out, "{}.", sentence(&assumed(assumptions)));
    out
}
