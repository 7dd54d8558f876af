//! The resources of a plan as a picture: what becomes of each, what comes after what, and why.
//!
//! A [`Drawing`] may hold any graph, one that closes a cycle too; nothing here needs an order. Steps that differ in
//! their object only are one node. Text from outside stands in quoted labels, escaped for each form.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{Answer, order};
use crate::changes::{Change, Need, Op};
use crate::escape::escape;
use crate::resource::{Key, Kind};

/// More objects of one node than this are counted.
const NAMES: usize = 3;
/// Characters of a label's line.
const WIDTH: usize = 44;

/// A graph to be drawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drawing {
    pub title: String,
    pub nodes: Vec<Node>,
    pub edges: Vec<Edge>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// `+ GlobalNetworkPolicy`
    pub head: String,
    pub name: String,
    pub act: Act,
}

#[cfg(test)]
impl Drawing {
    /// Made of labels, and of edges with a reason.
    pub fn of(labels: &[&str], edges: &[(usize, usize, &str)]) -> Drawing {
        let node = |(at, label): (usize, &&str)| Node {
            head: "+ Tier".to_string(),
            name: label.to_string(),
            act: Act::ALL[at % 4],
        };
        let edge = |(from, to, why): &(usize, usize, &str)| Edge {
            from: *from,
            to: *to,
            why: why.to_string(),
            order: false,
        };
        Drawing {
            title: "p".to_string(),
            nodes: labels.iter().enumerate().map(node).collect(),
            edges: edges.iter().map(edge).collect(),
        }
    }
}

/// What becomes of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Act {
    Create,
    Update,
    Delete,
    Stays,
}

/// `to` comes after `from`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub why: String,
    /// It only is in this order; nothing of `from` is needed.
    pub order: bool,
}

impl Act {
    pub const ALL: [Act; 4] = [Act::Create, Act::Update, Act::Delete, Act::Stays];

    fn of(op: &Op) -> Act {
        match op {
            Op::Create { .. } => Act::Create,
            Op::Update { .. } => Act::Update,
            Op::Delete { .. } => Act::Delete,
        }
    }

    pub fn sign(self) -> char {
        match self {
            Act::Create => '+',
            Act::Update => '~',
            Act::Delete => '-',
            Act::Stays => '=',
        }
    }

    pub fn word(self) -> &'static str {
        match self {
            Act::Create => "create",
            Act::Update => "update",
            Act::Delete => "delete",
            Act::Stays => "stays",
        }
    }

    /// Ground and rim, both readable under dark text.
    fn colours(self) -> (&'static str, &'static str) {
        match self {
            Act::Create => ("#dafbe1", "#1a7f37"),
            Act::Update => ("#fff8c5", "#9a6700"),
            Act::Delete => ("#ffebe9", "#cf222e"),
            Act::Stays => ("#f6f8fa", "#6e7781"),
        }
    }
}

/// Objects that are one node.
struct Group {
    act: Act,
    kind: Kind,
    section: String,
    needs: Vec<Need>,
    keys: Vec<Key>,
}

impl Group {
    fn node(&self) -> Node {
        let many = self.keys.len();
        let names = self.keys.iter().take(NAMES).map(name_of).collect::<Vec<_>>().join(", ");
        let (sign, kind) = (self.act.sign(), self.kind);
        Node {
            head: match many {
                1 => format!("{sign} {kind}"),
                many => format!("{sign} {many} {kind}"),
            },
            name: match many.saturating_sub(NAMES) {
                0 => cut(&names, WIDTH),
                more => format!("{} and {more} more", cut(&names, WIDTH)),
            },
            act: self.act,
        }
    }
}

fn name_of(key: &Key) -> String {
    match key.namespace.as_str() {
        "" => key.name.clone(),
        namespace => format!("{namespace}/{}", key.name),
    }
}

fn cut(text: &str, most: usize) -> String {
    let text = escape(text);
    match text.chars().count() {
        len if len <= most => text,
        _ => format!("{}...", text.chars().take(most).collect::<String>()),
    }
}

/// The steps in their order, what the plan names and leaves as it is, and why one comes after another.
pub fn drawing(answer: &Answer) -> Drawing {
    let mut groups: Vec<Group> = Vec::new();
    for (place, step) in answer.set.steps.iter().enumerate() {
        let waits = order::step(answer, place).is_some_and(|placed| placed.wait);
        let group = of_step(step, answer);
        push(&mut groups, group, !waits);
    }
    let steps = groups.len();
    for resource in answer.unchanged() {
        let group = Group {
            act: Act::Stays,
            kind: resource.key.kind,
            section: resource.origin.section.clone(),
            needs: answer.graph.needs(&resource.key),
            keys: vec![resource.key.clone()],
        };
        let joins = groups.len() > steps;
        push(&mut groups, group, joins);
    }
    Drawing {
        title: answer.plan.to_string(),
        nodes: groups.iter().map(Group::node).collect(),
        edges: edges(&groups, steps, answer),
    }
}

fn of_step(step: &Change, answer: &Answer) -> Group {
    let mut needs = answer.graph.needs(&step.key);
    needs.extend(step.needs.iter().cloned());
    needs.sort();
    needs.dedup();
    Group {
        act: Act::of(&step.op),
        kind: step.key.kind,
        section: step.origin.section.clone(),
        needs,
        keys: vec![step.key.clone()],
    }
}

/// Into the last group, where it differs in its object only.
fn push(groups: &mut Vec<Group>, mut next: Group, joins: bool) {
    match groups.last_mut() {
        Some(last)
            if joins
                && (last.act, last.kind, &last.section, &last.needs)
                    == (next.act, next.kind, &next.section, &next.needs) =>
        {
            last.keys.append(&mut next.keys);
        }
        _ => groups.push(next),
    }
}

/// What is needed, with its reason; between steps that do not need each other, their order.
fn edges(groups: &[Group], steps: usize, answer: &Answer) -> Vec<Edge> {
    let of_key: BTreeMap<&Key, usize> = groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| group.keys.iter().map(move |key| (key, at)))
        .collect();
    let mut reasons: BTreeMap<(usize, usize), BTreeSet<&str>> = BTreeMap::new();
    for (to, group) in groups.iter().enumerate() {
        for need in &group.needs {
            if let Some(&from) = of_key.get(&need.key) {
                reasons.entry((from, to)).or_default().insert(&need.reason);
            }
        }
    }
    let mut edges: Vec<Edge> = reasons
        .iter()
        .map(|(&(from, to), why)| Edge {
            from,
            to,
            why: cut(&why.iter().copied().collect::<Vec<_>>().join("; "), WIDTH),
            order: false,
        })
        .collect();
    if answer.sequence.is_some() {
        let mut first = 0;
        for to in 1..steps {
            first += groups[to - 1].keys.len();
            let placed = order::step(answer, first);
            let why = match placed.map(|placed| (placed.wait, placed.together)) {
                Some((true, _)) => "once Calico has caught up",
                Some((_, true)) => "at the same time",
                _ => "then",
            };
            if !reasons.contains_key(&(to - 1, to)) {
                edges.push(Edge {
                    from: to - 1,
                    to,
                    why: why.to_string(),
                    order: true,
                });
            }
        }
    }
    edges.sort();
    edges
}

/// For Markdown that draws it, and for mermaid's own tools; ends with a newline.
pub fn mermaid(drawing: &Drawing) -> String {
    let mut out = String::from("flowchart TB\n");
    for (at, node) in drawing.nodes.iter().enumerate() {
        let (head, name) = (mermaid_text(&node.head), mermaid_text(&node.name));
        let _ = writeln!(out, "  n{at}[\"{head}<br/>{name}\"]:::{}", node.act.word());
    }
    for edge in &drawing.edges {
        let arrow = if edge.order { "-.->" } else { "-->" };
        let _ = writeln!(
            out,
            "  n{} {arrow}|\"{}\"| n{}",
            edge.from,
            mermaid_text(&edge.why),
            edge.to
        );
    }
    for act in Act::ALL {
        if drawing.nodes.iter().any(|node| node.act == act) {
            let (ground, rim) = act.colours();
            let _ = writeln!(
                out,
                "  classDef {} fill:{ground},stroke:{rim},color:#1f2328",
                act.word()
            );
        }
    }
    out
}

/// Mermaid reads labels as Markdown and as HTML: whatever is neither a letter nor a harmless sign is a code.
fn mermaid_text(text: &str) -> String {
    let mut safe = String::new();
    for c in escape(text).chars() {
        if c.is_alphanumeric() || " -_./:,()=+~".contains(c) {
            safe.push(c);
        } else {
            let _ = write!(safe, "#{};", u32::from(c));
        }
    }
    safe
}

/// For graphviz; ends with a newline.
pub fn dot(drawing: &Drawing) -> String {
    let mut out = format!(
        "digraph {} {{\n  node [shape=box, style=\"rounded,filled\", fontname=\"monospace\"];\n  edge [fontname=\"monospace\", fontsize=10];\n",
        dot_text(&[&drawing.title])
    );
    for (at, node) in drawing.nodes.iter().enumerate() {
        let (ground, rim) = node.act.colours();
        let label = dot_text(&[&node.head, &node.name]);
        let _ = writeln!(out, "  n{at} [label={label}, fillcolor=\"{ground}\", color=\"{rim}\"];");
    }
    for edge in &drawing.edges {
        let style = if edge.order { ", style=dashed" } else { "" };
        let _ = writeln!(
            out,
            "  n{} -> n{} [label={}{style}];",
            edge.from,
            edge.to,
            dot_text(&[&edge.why])
        );
    }
    out.push_str("}\n");
    out
}

/// Lines of a quoted string. A backslash is doubled, because labels have escapes of their own, and so are entities.
fn dot_text(lines: &[&str]) -> String {
    let line = |text: &&str| {
        escape(text)
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('&', "&amp;")
    };
    format!("\"{}\"", lines.iter().map(line).collect::<Vec<_>>().join("\\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cycle_is_drawn() {
        let cycle = Drawing::of(&["a", "b"], &[(0, 1, "b uses a"), (1, 0, "a uses b"), (1, 1, "itself")]);
        let drawn = mermaid(&cycle);
        for edge in [
            "n0 -->|\"b uses a\"| n1",
            "n1 -->|\"a uses b\"| n0",
            "n1 -->|\"itself\"| n1",
        ] {
            assert!(drawn.contains(edge), "{drawn}");
        }
        assert!(
            dot(&cycle).contains("n1 -> n0 [label=\"a uses b\"];"),
            "{}",
            dot(&cycle)
        );
    }

    #[test]
    fn no_label_ends_its_quotes() {
        let hostile = Drawing::of(
            &["\"]; click n0 href `x` <b>#quot;\\N&amp;"],
            &[(0, 0, "\"| n0 --> x\\")],
        );
        let drawn = mermaid(&hostile);
        let lines: Vec<&str> = drawn.lines().collect();
        assert_eq!(
            lines[1..3],
            [
                "  n0[\"+ Tier<br/>#34;#93;#59; click n0 href #96;x#96; #60;b#62;#35;quot#59;#92;N#38;amp#59;\"]:::create",
                "  n0 -->|\"#34;#124; n0 --#62; x#92;\"| n0",
            ],
        );
        assert!(
            dot(&hostile).contains(r#"\"]; click n0 href `x` <b>#quot;\\N&amp;amp;""#),
            "{}",
            dot(&hostile)
        );
        assert!(
            dot(&hostile).contains(r#"[label="\"| n0 --> x\\"]"#),
            "{}",
            dot(&hostile)
        );
    }
}
