//! What is folded: steps, fields, the packets behind the table, the graph, notes. Each gets a share of the room.

use std::fmt::Write;

use super::ROWS;
use super::inert::{TEXT, code, fenced};
use crate::exposure::Movement;
use crate::render::rows::{self, Line};
use crate::render::text::{group_lines, input_lines};
use crate::render::{Answer, gates, graph, numbered, steps};

/// A graph of more resources says nothing at a glance.
const NODES: usize = 30;

/// Parts that are cut where the room ends.
struct Fold<'a> {
    title: String,
    /// The language of the block; none: a list.
    fence: Option<&'static str>,
    /// What has no room, of so many parts.
    left: fn(usize) -> String,
    count: usize,
    /// Worked out one by one, because most of a large change set has no room.
    parts: Box<dyn Iterator<Item = Vec<String>> + 'a>,
}

impl Fold<'_> {
    /// The fold in at most so many bytes; what is not in it is named.
    fn within(self, room: usize, left_out: &mut Vec<String>) -> String {
        let Fold {
            title,
            fence,
            left,
            count,
            parts,
        } = self;
        let (begin, end) = match fence {
            Some(language) => (format!("```{language}\n"), "```\n"),
            None => (String::new(), ""),
        };
        let mut out = format!("<details><summary>{title}</summary>\n\n{begin}");
        let end = format!("{end}\n</details>\n\n");
        let mut whole = 0;
        'parts: for part in parts {
            for line in part {
                let line = if fence.is_some() {
                    fenced(&line)
                } else {
                    format!("- {}", code(&line))
                };
                if out.len() + line.len() + 1 + end.len() > room {
                    break 'parts;
                }
                let _ = writeln!(out, "{line}");
            }
            whole += 1;
        }
        if whole < count {
            left_out.push(left(count - whole));
        }
        // Half a text can be read, half a graph cannot be drawn.
        let nothing = whole == 0 && (out.ends_with(&begin) || fence == Some("mermaid"));
        match count == 0 || nothing {
            true => String::new(),
            false => out + &end,
        }
    }
}

/// All folds, and what had no room, in at most so many bytes with what is there already.
pub(super) fn folds(out: &mut String, answer: &Answer, rows: &[Line], most: usize) {
    let room = most.saturating_sub(out.len() + 400);
    let mut left_out = Vec::new();
    let steps = listed(answer).within(room * 2 / 5, &mut left_out);
    let packets = packets(answer, rows).within(room / 5, &mut left_out);
    let notes = notes(answer).within(room / 8, &mut left_out);
    let drawn = drawn(answer, &mut left_out).within(room / 6, &mut left_out);
    let rest = room - steps.len() - packets.len() - notes.len() - drawn.len();
    let fields = fields(answer).within(rest, &mut left_out);
    for part in [steps, fields, packets, drawn, notes] {
        out.push_str(&part);
    }
    if !left_out.is_empty() {
        let all = answer.words.is_some_and(|words| words.saved);
        let all = if all { "`hostguard show`" } else { "`-o text`" };
        let _ = writeln!(out, "No room here for {}; {all} has the rest.\n", left_out.join(", "));
    }
}

/// Each step with what asked for it, in their order.
fn listed<'a>(answer: &'a Answer) -> Fold<'a> {
    let count = answer.set.steps.len();
    Fold {
        title: format!("{}, in order", numbered(count, "step")),
        fence: Some("text"),
        left: |many| format!("{} in that list", numbered(many, "step")),
        count,
        parts: Box::new((0..count).map(|nth| steps::step(answer, nth, false))),
    }
}

fn fields<'a>(answer: &'a Answer) -> Fold<'a> {
    Fold {
        title: "Field by field".to_string(),
        fence: Some("diff"),
        left: |many| format!("the fields of {}", numbered(many, "step")),
        count: answer.set.steps.len(),
        parts: Box::new(answer.set.steps.iter().map(steps::difference)),
    }
}

/// Behind each row that moves a packet, what decides about it, and how to see it hop by hop.
fn packets<'a>(answer: &'a Answer, rows: &'a [Line]) -> Fold<'a> {
    let moving = || {
        let moving = rows.iter().filter(|row| row.movement != Some(Movement::Stays));
        moving.take(ROWS)
    };
    let part = |(nth, row): (usize, &Line)| {
        let mut about = format!("{} on {}, from {}", row.what, row.nodes, row.who());
        about.truncate(about.floor_char_boundary(TEXT));
        let apart = (nth > 0).then(String::new);
        let mut lines: Vec<String> = apart.into_iter().chain([about]).collect();
        lines.push(format!("  packet  {}", row.witness));
        lines.extend(row.before.iter().map(|before| format!("  before  {}", before.text())));
        lines.push(format!("  after   {}", row.after.text()));
        let look = rows::ends(&row.witness).and_then(|ends| answer.words?.why(&ends));
        lines.extend(look.map(|command| format!("  look    {command}")));
        lines
    };
    Fold {
        title: "Why, packet by packet".to_string(),
        fence: Some("text"),
        left: |many| numbered(many, "packet"),
        count: moving().count(),
        parts: Box::new(moving().enumerate().map(part)),
    }
}

/// The graph while it is small.
fn drawn<'a>(answer: &'a Answer, left_out: &mut Vec<String>) -> Fold<'a> {
    let drawing = graph::drawing(answer);
    let nodes = drawing.nodes.len();
    if nodes > NODES {
        left_out.push(format!("the graph of {nodes} resources (`hostguard graph`)"));
    }
    let fits = (2..=NODES).contains(&nodes) && !drawing.edges.is_empty();
    let lines: Vec<String> = match fits {
        true => graph::mermaid(&drawing).lines().map(str::to_string).collect(),
        false => Vec::new(),
    };
    Fold {
        title: "Graph".to_string(),
        fence: Some("mermaid"),
        left: |_| "the graph (`hostguard graph`)".to_string(),
        count: usize::from(fits),
        parts: Box::new(std::iter::once(lines)),
    }
}

/// What is given and picked, what is not done, and what was wrong in the cluster before.
fn notes<'a>(answer: &'a Answer) -> Fold<'a> {
    let mut lines = input_lines(answer);
    lines.extend(group_lines(answer).into_iter().map(|group| format!("nodes {group}")));
    lines.extend(gates::other_notes(answer).map(|note| format!("{}: {}", note.about, note.text)));
    let found = answer.set.findings.iter();
    lines.extend(found.map(|f| format!("in the cluster: {} [{}] {}: {}", f.key, f.code, f.path, f.message)));
    Fold {
        title: "Inputs, node groups, notes".to_string(),
        fence: None,
        left: |many| numbered(many, "note"),
        count: lines.len(),
        parts: Box::new(lines.into_iter().map(|line| vec![line])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(fence: Option<&'static str>, parts: Vec<Vec<String>>) -> Fold<'static> {
        Fold {
            title: "Parts".to_string(),
            fence,
            left: |many| numbered(many, "part"),
            count: parts.len(),
            parts: Box::new(parts.into_iter()),
        }
    }

    #[test]
    fn a_fold_ends_where_the_room_does_and_what_is_left_is_counted() {
        let parts = || {
            (0..9)
                .map(|nth| vec![format!("part {nth}"), "```".to_string()])
                .collect()
        };
        for room in 0..400 {
            let mut left = Vec::new();
            let out = fold(Some("text"), parts()).within(room, &mut left);
            let shown = out.matches("part ").count();
            assert!(out.len() <= room, "{room}: {out}");
            assert_eq!(
                out.matches("```").count(),
                if out.is_empty() { 0 } else { 2 },
                "{room}: {out}"
            );
            assert_eq!(
                left.is_empty(),
                shown == 9 && out.matches("\'\'\'").count() == 9,
                "{room}: {left:?} {out}"
            );
        }
    }

    #[test]
    fn a_graph_is_drawn_whole_or_not() {
        let graph = || vec![vec!["flowchart TB".to_string(), "  n0[\"a\"]".to_string()]];
        let mut left = Vec::new();
        assert_eq!(fold(Some("mermaid"), graph()).within(85, &mut left), "");
        assert_eq!(left, ["1 part"]);
        assert!(fold(Some("mermaid"), graph()).within(200, &mut left).contains("n0"));
    }
}
