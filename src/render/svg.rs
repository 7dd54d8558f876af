//! A drawing as SVG: self-contained, without scripts, in light and dark, narrow enough for a phone.
//!
//! One resource a row, in the order of the steps; what is needed is a line at the right of the column, with its reason
//! where it ends. So a cycle is drawn like anything else, and a thousand rows take no longer than their text. (The
//! crates that lay graphs out in layers take seconds for a hundred nodes.)

use std::fmt::Write;

use super::graph::{Act, Drawing, Edge};
use crate::escape::markup;

/// Pixels of a character, of a box, between boxes, of a line of text, and between lines at the right.
const CHARACTER: usize = 8;
const BOX: usize = 44;
const GAP: usize = 32;
const LINE: usize = 16;
const LANE: usize = 12;
/// Lines side by side; more share the last place.
const LANES: usize = 10;
/// Reasons in a row; more are counted.
const REASONS: usize = 4;
const EDGE: usize = 8;

/// Below `.hg`, so that nothing else on a page is touched.
pub const STYLE: &str = "\
.hg { font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace }
.hg text { fill: #1f2328 }
.hg .head { font-weight: 600 }
.hg .why { fill: #59636e; font-size: 11px }
.hg .edge { fill: none; stroke: #59636e; stroke-width: 1.5 }
.hg .order { stroke-dasharray: 4 4; stroke: #8c959f }
.hg marker path { fill: #59636e }
.hg .create { fill: #dafbe1; stroke: #1a7f37 }
.hg .update { fill: #fff8c5; stroke: #9a6700 }
.hg .delete { fill: #ffebe9; stroke: #cf222e }
.hg .stays { fill: #f6f8fa; stroke: #6e7781 }
@media (prefers-color-scheme: dark) {
.hg text { fill: #f0f6fc }
.hg .why { fill: #9198a1 }
.hg .edge { stroke: #9198a1 }
.hg .order { stroke: #656c76 }
.hg marker path { fill: #9198a1 }
.hg .create { fill: #12261e; stroke: #3fb950 }
.hg .update { fill: #272115; stroke: #d29922 }
.hg .delete { fill: #25171c; stroke: #f85149 }
.hg .stays { fill: #151b23; stroke: #656c76 }
}
";

/// Behind a picture that stands alone; a page has its own ground.
const GROUND: &str = "\
.hg { background: #fff }
@media (prefers-color-scheme: dark) { .hg { background: #0d1117 } }
";

/// A file of its own; ends with a newline.
pub fn file(drawing: &Drawing) -> String {
    picture(drawing, &format!("<style>\n{STYLE}{GROUND}</style>\n"))
}

/// For a page that has [`STYLE`] already.
pub fn inline(drawing: &Drawing) -> String {
    picture(drawing, "")
}

/// Where a row stands, and what is said beside it.
struct Row {
    top: usize,
    height: usize,
    reasons: Vec<String>,
}

impl Row {
    /// Where lines end, and where they begin.
    fn in_at(&self) -> usize {
        self.top + self.height / 3
    }

    fn out_at(&self) -> usize {
        self.top + self.height * 2 / 3
    }
}

fn picture(drawing: &Drawing, style: &str) -> String {
    let rows = rows(drawing);
    let longest = |text: &str| text.chars().count() * CHARACTER;
    let widths = drawing
        .nodes
        .iter()
        .map(|node| longest(&node.head).max(longest(&node.name)));
    let right = EDGE + 2 * EDGE + widths.max().unwrap_or_default();
    let lanes = lanes(drawing);
    let used = lanes.iter().map(|(_, lane)| lane + 1).max().unwrap_or_default();
    let texts_at = right + (used + 1) * LANE;
    let reasons = rows.iter().flat_map(|row| &row.reasons).map(|text| longest(text));
    let width = reasons.max().map_or(right, |width| texts_at + width) + EDGE;
    let height = rows.last().map_or(0, |row| row.top + row.height) + EDGE;

    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"hg\" role=\"img\" width=\"{width}\" height=\"{height}\" \
         viewBox=\"0 0 {width} {height}\">\n<title>{}</title>\n{style}<defs><marker id=\"hg-arrow\" \
         viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path \
         d=\"M0 0 8 4 0 8z\"/></marker></defs>\n",
        markup(&format!("resources of plan {}", drawing.title))
    );
    for edge in drawing.edges.iter().filter(|edge| below(edge)) {
        order(&mut out, &rows, right, edge);
    }
    for (edge, lane) in lanes {
        let at = right + (lane + 1) * LANE;
        let (from, to) = (rows[edge.from].out_at(), rows[edge.to].in_at());
        let bend = if from < to { 6 } else { -6 };
        let _ = writeln!(
            out,
            "<path class=\"edge\" d=\"M{right} {from}H{}q6 0 6 {bend}V{}q0 {bend} -6 {bend}H{right}\" \
             marker-end=\"url(#hg-arrow)\"/>",
            at - 6,
            to.saturating_add_signed(-bend),
        );
    }
    for (node, row) in drawing.nodes.iter().zip(&rows) {
        let (top, middle) = (row.top, row.top + row.height / 2);
        let wide = right - EDGE;
        let _ = writeln!(
            out,
            "<rect class=\"{}\" x=\"{EDGE}\" y=\"{top}\" width=\"{wide}\" height=\"{}\" rx=\"6\"/>",
            node.act.word(),
            row.height
        );
        text(&mut out, "head", (2 * EDGE, middle - 4), &node.head);
        text(&mut out, "name", (2 * EDGE, middle + 13), &node.name);
        for (nth, reason) in row.reasons.iter().enumerate() {
            text(&mut out, "why", (texts_at, row.in_at() + 4 + nth * LINE), reason);
        }
    }
    out.push_str("</svg>\n");
    out
}

fn text(out: &mut String, class: &str, (x, y): (usize, usize), text: &str) {
    let _ = writeln!(
        out,
        "<text class=\"{class}\" x=\"{x}\" y=\"{y}\">{}</text>",
        markup(text)
    );
}

/// The order of two rows that follow each other needs no line at the right.
fn below(edge: &Edge) -> bool {
    edge.order && edge.to == edge.from + 1
}

fn order(out: &mut String, rows: &[Row], right: usize, edge: &Edge) {
    let from = rows[edge.from].top + rows[edge.from].height;
    let (to, middle) = (rows[edge.to].top, (EDGE + right) / 2);
    let _ = writeln!(
        out,
        "<path class=\"edge order\" d=\"M{middle} {from}V{to}\" marker-end=\"url(#hg-arrow)\"/>"
    );
    text(out, "why", (middle + EDGE, (from + to) / 2 + 3), &edge.why);
}

fn rows(drawing: &Drawing) -> Vec<Row> {
    let mut reasons: Vec<Vec<String>> = vec![Vec::new(); drawing.nodes.len()];
    for edge in drawing.edges.iter().filter(|edge| !below(edge)) {
        reasons[edge.to].push(format!("after {}: {}", drawing.nodes[edge.from].name, edge.why));
    }
    let mut top = EDGE;
    let mut rows = Vec::with_capacity(reasons.len());
    for mut reasons in reasons {
        let more = reasons.len().saturating_sub(REASONS);
        if more > 0 {
            reasons.truncate(REASONS);
            reasons.push(format!("and {more} more"));
        }
        let height = BOX.max(LINE * (reasons.len() + 1));
        rows.push(Row { top, height, reasons });
        top += height + GAP;
    }
    rows
}

/// The other edges, each with its place at the right: shorter ones nearer, so that few cross.
fn lanes(drawing: &Drawing) -> Vec<(&Edge, usize)> {
    let mut edges: Vec<&Edge> = drawing.edges.iter().filter(|edge| !below(edge)).collect();
    edges.sort_by_key(|edge| (edge.from.abs_diff(edge.to), *edge));
    let mut taken: Vec<Vec<(usize, usize)>> = Vec::new();
    let mut placed = Vec::with_capacity(edges.len());
    for edge in edges {
        let (low, high) = (edge.from.min(edge.to), edge.from.max(edge.to));
        let free = taken
            .iter()
            .position(|lane| lane.iter().all(|(lo, hi)| high < *lo || *hi < low));
        let lane = free.unwrap_or(taken.len()).min(LANES - 1);
        if lane == taken.len() {
            taken.push(Vec::new());
        }
        taken[lane].push((low, high));
        placed.push((edge, lane));
    }
    placed
}

/// What the signs and colours mean, of those that are there: the class, and words.
pub fn legend(drawing: &Drawing) -> Vec<(&'static str, String)> {
    let there = |act: &Act| drawing.nodes.iter().any(|node| node.act == *act);
    let line = |act: Act| (act.word(), format!("{} {}", act.sign(), act.word()));
    Act::ALL.into_iter().filter(there).map(line).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use quick_xml::Reader;
    use quick_xml::events::Event;

    use super::*;

    /// Elements by name; panics where it is no XML.
    fn elements(text: &str) -> Vec<String> {
        let (mut reader, mut names) = (Reader::from_str(text), Vec::new());
        loop {
            match reader.read_event().unwrap_or_else(|e| panic!("{e}: {text}")) {
                Event::Start(tag) | Event::Empty(tag) => names.push(tag.name().as_ref().to_string()),
                Event::Eof => return names,
                _ => {}
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]
        /// Cycles and loops too: whatever there is stands in the picture, once, and always the same.
        #[test]
        fn every_graph_is_drawn(nodes in 1_usize..24, ends in proptest::collection::btree_set((0_usize..24, 0_usize..24), 0..40)) {
            let labels: Vec<String> = (0..nodes).map(|n| format!("<node {n}>")).collect();
            let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
            let ends = ends.into_iter().filter(|(a, b)| *a < nodes && *b < nodes);
            let edges: Vec<_> = ends.map(|(a, b)| (a, b, "because & so")).collect();
            let drawing = Drawing::of(&labels, &edges);
            let drawn = file(&drawing);
            prop_assert_eq!(&drawn, &file(&drawing));
            let names = elements(&drawn);
            let count = |wanted: &str| names.iter().filter(|name| *name == wanted).count();
            prop_assert_eq!((count("rect"), count("path")), (nodes, edges.len() + 1));
        }
    }

    #[test]
    fn lines_that_meet_stand_side_by_side() {
        let drawing = Drawing::of(&["a", "b", "c", "d"], &[(0, 3, "x"), (1, 2, "y"), (2, 1, "back")]);
        let lanes: Vec<usize> = lanes(&drawing).iter().map(|(_, lane)| *lane).collect();
        assert_eq!(lanes, [0, 1, 2]);
    }
}
