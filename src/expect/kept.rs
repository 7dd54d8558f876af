//! Flows that may never open or never close, asked of a world beside the one before: of every prefix of an order, and of
//! the end.

use super::resolve::{Line, Resolved};
use super::{Forbidden, Move, counterexample, is_open};
use crate::exposure::{Flow, Flows, Part, Senders, Verdict, World};

/// The world before and another one.
pub struct Sides<'w> {
    before: Flows<'w>,
    now: Flows<'w>,
}

impl<'w> Sides<'w> {
    pub fn new(before: &'w World, now: &'w World) -> Self {
        Sides {
            before: Flows::new(before),
            now: Flows::new(now),
        }
    }
}

/// What may not happen on the way: a `neverOpen` flow that was blocked before and is not now, a `neverClose` flow that
/// was open before and is not now. Not known counts as not.
pub fn forbidden(resolved: &Resolved, before: &World, world: &World) -> Vec<Forbidden> {
    if resolved.never_open.is_empty() && resolved.never_close.is_empty() {
        return Vec::new();
    }
    let sides = Sides::new(before, world);
    let opened = resolved.never_open.iter().filter_map(|line| {
        let moved = |old: Verdict, new: Verdict| old == Verdict::Blocked && new != Verdict::Blocked;
        sides.find(line, Move::Opens, moved)
    });
    let closed = resolved.never_close.iter().filter_map(|line| {
        let moved = |old: Verdict, new: Verdict| is_open(old) && !is_open(new);
        sides.find(line, Move::Closes, moved)
    });
    opened.chain(closed).collect()
}

/// The same of the end, where a `neverOpen` flow may not be open even if it was before.
pub fn at_end(resolved: &Resolved, before: &World, end: &World) -> Vec<Forbidden> {
    let mut found = forbidden(resolved, before, end);
    if resolved.never_open.is_empty() {
        return found;
    }
    let now = Flows::new(end);
    for line in &resolved.never_open {
        if found
            .iter()
            .any(|other| other.what == Move::Opens && other.span == line.words.span)
        {
            continue;
        }
        let mut parts = line.flows.iter().flatten().flat_map(|flow| now.of(flow));
        if let Some(part) = parts.find(|part| part.verdict != Verdict::Blocked) {
            found.push(line.forbidden(Move::StaysOpen, &part));
        }
    }
    found
}

impl Sides<'_> {
    /// The first part of the flow whose verdict moves so.
    fn find(&self, line: &Line, what: Move, moved: impl Fn(Verdict, Verdict) -> bool) -> Option<Forbidden> {
        for flow in line.flows.iter().flatten() {
            let (old, new) = (self.before.of(flow), self.now.of(flow));
            for part in &new {
                let meeting = old
                    .iter()
                    .find(|old| moved(old.verdict, part.verdict) && meet(flow, old, part));
                if let Some(old) = meeting {
                    return Some(line.forbidden(what, &common(flow, old, part)));
                }
            }
        }
        None
    }
}

impl Line {
    fn forbidden(&self, what: Move, part: &Part) -> Forbidden {
        Forbidden {
            what,
            from: self.words.from.clone(),
            to: self.words.to.clone(),
            at: self.words.at.clone(),
            span: self.words.span,
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
        && let Some(source) = a.sources.first_common(&b.sources)
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
