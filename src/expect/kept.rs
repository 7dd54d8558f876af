//! Flows that may never open or never close: what a world does to them, beside the world before. Asked of the end, and
//! in a form that can be asked of every prefix of an order.

use super::resolve::{Line, Resolved};
use super::{Forbidden, Kept, Move, Unkept, counterexample, is_open};
use crate::exposure::{Flow, Flows, Part, Senders, Verdict, World};

/// The flows as they are before anything is done.
pub struct Watch<'r> {
    lines: Vec<Watched<'r>>,
}

struct Watched<'r> {
    line: &'r Line,
    /// Else it may never close.
    never_open: bool,
    /// Each flow with its parts before.
    before: Vec<(&'r Flow, Vec<Part>)>,
}

impl<'r> Watch<'r> {
    pub fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    pub fn new(resolved: &'r Resolved, before: &World) -> Self {
        let never_open = resolved.never_open.iter().map(|line| (line, true));
        let lines: Vec<(&Line, bool)> = never_open
            .chain(resolved.never_close.iter().map(|line| (line, false)))
            .collect();
        if lines.is_empty() {
            return Watch { lines: Vec::new() };
        }
        let flows = Flows::new(before);
        let watched = |(line, never_open): (&'r Line, bool)| Watched {
            line,
            never_open,
            before: line.flows.iter().flatten().map(|flow| (flow, flows.of(flow))).collect(),
        };
        Watch {
            lines: lines.into_iter().map(watched).collect(),
        }
    }

    /// What may not happen on the way: a `neverOpen` flow that was blocked before and is not now, a `neverClose` flow
    /// that was open before and is not now. Not known counts as not. The first packet of each line.
    pub fn forbidden(&self, world: &World) -> Vec<Forbidden> {
        if self.lines.is_empty() {
            return Vec::new();
        }
        let now = Flows::new(world);
        self.lines
            .iter()
            .filter_map(|watched| watched.ask(&now, false))
            .collect()
    }

    /// Each line with what is to be said of the end, where a `neverOpen` flow may not be open even if it was before.
    pub fn at_end(&self, end: &World) -> Vec<Kept> {
        if self.lines.is_empty() {
            return Vec::new();
        }
        let now = Flows::new(end);
        self.lines.iter().map(|watched| watched.answered(&now)).collect()
    }
}

impl Watched<'_> {
    fn answered(&self, end: &Flows<'_>) -> Kept {
        let words = &self.line.words;
        Kept {
            never_open: self.never_open,
            from: words.from.clone(),
            to: words.to.clone(),
            at: words.at.clone(),
            span: words.span,
            fails: match &self.line.flows {
                Err(nobody) => Some(Unkept::Nobody(nobody.clone())),
                Ok(_) => self.ask(end, true).map(|found| Unkept::Moves(Box::new(found))),
            },
        }
    }

    fn ask(&self, now: &Flows<'_>, end: bool) -> Option<Forbidden> {
        let moved = |old: Verdict, new: Verdict| match self.never_open {
            true => old == Verdict::Blocked && new != Verdict::Blocked,
            false => is_open(old) && !is_open(new),
        };
        let what = if self.never_open { Move::Opens } else { Move::Closes };
        let mut still = None;
        for (flow, before) in &self.before {
            for part in now.of(flow) {
                let meeting = before
                    .iter()
                    .find(|old| moved(old.verdict, part.verdict) && meet(flow, old, &part));
                if let Some(old) = meeting {
                    return Some(self.forbidden(what, &common(flow, old, &part)));
                }
                if end && self.never_open && part.verdict != Verdict::Blocked && still.is_none() {
                    still = Some(self.forbidden(Move::StaysOpen, &part));
                }
            }
        }
        still
    }

    fn forbidden(&self, what: Move, part: &Part) -> Forbidden {
        let words = &self.line.words;
        Forbidden {
            what,
            from: words.from.clone(),
            to: words.to.clone(),
            at: words.at.clone(),
            span: words.span,
            packet: counterexample(part),
        }
    }
}

/// Whether some packet is in both parts.
fn meet(flow: &Flow, a: &Part, b: &Part) -> bool {
    let nodes = a.nodes.iter().any(|(name, addresses)| {
        let others = b.nodes.get(name);
        others.is_some_and(|others| !addresses.is_disjoint(others))
    });
    // Inside the cluster an address is the sender's own and says nothing more.
    let sources = !matches!(flow.from, Senders::Outside(_)) || a.sources.first_common(&b.sources).is_some();
    nodes && sources && !a.ports.intersect(&b.ports).is_empty()
}

/// The later part, with a packet that is in both.
fn common(flow: &Flow, a: &Part, b: &Part) -> Part {
    let mut part = b.clone();
    part.witness.port = a.ports.intersect(&b.ports).ranges().first().map(|(low, _)| *low);
    if matches!(flow.from, Senders::Outside(_))
        && let Some(source) = a.sources.common_example(&b.sources)
    {
        part.witness.source = source;
    }
    for (name, addresses) in &a.nodes {
        let others = b.nodes.get(name);
        let both = others.and_then(|others| addresses.intersection(others).next());
        if let Some(address) = both {
            part.witness.destination = *address;
            break;
        }
    }
    part
}
