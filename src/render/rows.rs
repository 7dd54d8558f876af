//! Rows of exposure in words, those that differ in whom they are about put together: what tables are made of.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::rc::Rc;

use super::Answer;
use super::exposure::{decided, place, verdict, what};
use super::sources::{Names, Shares, who};
use crate::exposure::{self, Clients, Movement, Nodes, Origin, Packet, Reach, Row, Subject, Verdict};

/// A line of a table.
pub struct Line<'a> {
    /// Of a difference.
    pub movement: Option<Movement>,
    pub what: String,
    pub nodes: String,
    who: Vec<Whom<'a>>,
    words: Rc<Words<'a>>,
    /// Of a difference.
    pub before: Option<Found>,
    pub after: Found,
    /// A packet that fares so.
    pub witness: Packet,
}

/// Whom a row is about.
type Whom<'a> = (&'a Subject, Option<&'a Clients>, &'a Nodes);

/// What clients are called by.
type Words<'a> = (&'a Names, Shares<'a>);

impl Line<'_> {
    /// Put into words when it is asked for: of a thousand lines a comment has room for twenty.
    pub fn who(&self) -> String {
        let (names, shares) = &*self.words;
        let words = |(subject, clients, nodes): &Whom<'_>| who(subject, *clients, *nodes, (names, shares));
        self.who.iter().map(words).collect::<Vec<_>>().join("; ")
    }
}

/// What a packet finds, and what decides.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    pub verdict: &'static str,
    /// Empty where nothing does.
    pub by: String,
}

impl Found {
    pub(super) fn of(answer: Option<&exposure::Answer>) -> Found {
        let Some(answer) = answer else {
            return Found {
                verdict: "no such node",
                by: String::new(),
            };
        };
        let decision = answer.decision.as_ref();
        Found {
            verdict: verdict(answer.verdict),
            by: decision.map(|decision| decided(&decision.by)).unwrap_or_default(),
        }
    }

    pub fn text(&self) -> String {
        match self.by.as_str() {
            "" => self.verdict.to_string(),
            by => format!("{} ({by})", self.verdict),
        }
    }
}

/// What changes: what opens first, and within a movement what is said of the outside.
pub fn moves<'a>(answer: &Answer<'a>) -> Vec<Line<'a>> {
    moved(answer.exposure, answer.inside, answer.names)
}

/// The same of two worlds.
pub fn moved<'a>(outside: &'a [Row], inside: Option<&'a [Row]>, names: &'a Names) -> Vec<Line<'a>> {
    let mut rows: Vec<&Row> = outside.iter().collect();
    rows.extend(inside.unwrap_or_default());
    rows.sort_by_key(|row| row.movement);
    let words = Rc::new((names, Shares::of(outside.iter().map(|row| (&row.subject, &*row.nodes)))));
    merged(rows.into_iter().map(|row| Line {
        movement: Some(row.movement),
        what: what(&row.subject),
        nodes: place(&row.nodes),
        who: vec![(&row.subject, row.clients.as_ref(), &*row.nodes)],
        words: words.clone(),
        before: Some(Found::of(row.before.as_ref())),
        after: Found::of(row.after.as_ref()),
        witness: row.witness.clone(),
    }))
}

/// What can be reached, then what cannot, and within a verdict what is said of the outside first.
pub fn reaches<'a>(outside: &'a [Reach], inside: Option<&'a [Reach]>, names: &'a Names) -> Vec<Line<'a>> {
    let mut rows: Vec<&Reach> = outside.iter().collect();
    rows.extend(inside.unwrap_or_default());
    rows.sort_by_key(|row| match row.answer.verdict {
        Verdict::Open | Verdict::HostDecides => 0,
        Verdict::Partly => 1,
        Verdict::Unknown => 2,
        Verdict::Blocked => 3,
    });
    let words = Rc::new((names, Shares::of(outside.iter().map(|row| (&row.subject, &*row.nodes)))));
    merged(rows.into_iter().map(|row| Line {
        movement: None,
        what: what(&row.subject),
        nodes: place(&row.nodes),
        who: vec![(&row.subject, row.clients.as_ref(), &*row.nodes)],
        words: words.clone(),
        before: None,
        after: Found::of(Some(&row.answer)),
        witness: row.witness.clone(),
    }))
}

/// Lines that differ in whom they are about only are one; each is where its first part was.
fn merged<'a>(lines: impl Iterator<Item = Line<'a>>) -> Vec<Line<'a>> {
    let (mut merged, mut places): (Vec<Line<'a>>, BTreeMap<_, usize>) = (Vec::new(), BTreeMap::new());
    for line in lines {
        let about = (
            line.movement,
            line.what.clone(),
            line.nodes.clone(),
            line.before.clone(),
            line.after.clone(),
        );
        match places.get(&about) {
            Some(&at) => {
                merged[at].who.extend(line.who);
            }
            None => {
                places.insert(about, merged.len());
                merged.push(line);
            }
        }
    }
    merged
}

/// How many lines move so.
pub fn count(lines: &[Line], movement: Movement) -> usize {
    lines.iter().filter(|line| line.movement == Some(movement)).count()
}

/// How many lines find this.
pub fn count_found(lines: &[Line], verdict: &str) -> usize {
    lines.iter().filter(|line| line.after.verdict == verdict).count()
}

/// The two ends as `why` takes them; `None` for what has no port.
pub fn ends(packet: &Packet) -> Option<[String; 2]> {
    let port = packet.port?;
    let from = match &packet.from {
        Origin::Outside => packet.source.to_string(),
        Origin::Node(name) => format!("node/{name}"),
        Origin::Pod { namespace, name } => format!("pod/{namespace}/{name}"),
    };
    let to = match packet.destination {
        IpAddr::V4(to) => to.to_string(),
        IpAddr::V6(to) => format!("[{to}]"),
    };
    let protocol = packet.protocol.to_string().to_lowercase();
    matches!(protocol.as_str(), "tcp" | "udp").then(|| [from, format!("{to}:{port}/{protocol}")])
}
