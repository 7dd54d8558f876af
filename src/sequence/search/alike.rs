//! Labels on nodes that are alike: which of the nodes have one already makes no difference, only how many.
//!
//! A node's labels decide about packets from, to and through that node alone: which policies hold there, and whether its
//! addresses are members of sets. So where nodes can be told apart neither without the label nor with it, nor in the ends,
//! two worlds with as many labelled ones are the same but for names. With two labelled and two others there is every kind
//! of pair, and more of them bring no new one: what was judged of such a world holds for all of them.

use std::collections::BTreeMap;

use super::{Frame, Next, Search};
use crate::changes::Change;
use crate::resource::Kind;

/// Fewer nodes than this are looked at one by one.
const FEW: usize = 6;

/// For each group how many of it are done and left, as far as that makes a difference.
type Pattern = Vec<(usize, usize)>;

#[derive(Debug, Default)]
pub(super) struct Alike {
    /// The steps that were done when the groups were formed, without labels.
    formed: Option<Vec<usize>>,
    /// The steps that are done beside the groups.
    beside: Vec<usize>,
    /// By step.
    group: BTreeMap<usize, usize>,
    members: Vec<Vec<usize>>,
    /// Steps that make nothing worse: from which pattern, with what pending, of which group; and whether they wait.
    known: BTreeMap<(Pattern, (bool, bool), usize), bool>,
}

impl Alike {
    fn beside(&self, done: &[usize]) -> Vec<usize> {
        let others = done.iter().filter(|at| !self.group.contains_key(at));
        others.copied().collect()
    }

    fn pattern(&self, done: &[usize]) -> Pattern {
        let count = |members: &Vec<usize>| {
            let made = members.iter().filter(|at| done.binary_search(at).is_ok()).count();
            (made, members.len() - made)
        };
        self.members.iter().map(count).collect()
    }
}

/// Without what makes no difference any more: a third that is done, and a third that is left after the next.
fn capped(pattern: &Pattern) -> Pattern {
    pattern
        .iter()
        .map(|(done, left)| ((*done).min(2), (*left).min(3)))
        .collect()
}

/// A label on a node, and nothing else.
fn is_label(step: &Change) -> bool {
    let labels =
        |path: &[String]| matches!(path, [metadata, labels, _] if metadata == "metadata" && labels == "labels");
    step.key.kind == Kind::Node && step.needs.is_empty() && step.fields.iter().all(|field| labels(&field.path.0))
}

impl Search<'_> {
    /// As many of the steps that would go next as are known to make nothing worse, because others like them did not.
    pub(super) fn alike(&mut self, frame: &Frame, candidates: &[usize]) -> Option<Next> {
        if !self.accepted.is_empty() || self.judge.watches() {
            return None;
        }
        let first = candidates.first()?;
        if !is_label(&self.steps[*first]) {
            return None;
        }
        let others = frame.done.iter().copied().filter(|at| !is_label(&self.steps[*at]));
        let others: Vec<usize> = others.collect();
        if self.alike.formed.as_ref() != Some(&others) {
            self.alike = self.grouped(frame, candidates);
            self.alike.formed = Some(others);
        }
        let beside = self.alike.beside(&frame.done);
        if self.alike.beside != beside {
            // Other nodes have other labels now, and may be met otherwise.
            self.alike.known.clear();
            self.alike.beside = beside;
        }
        let mut pattern = self.alike.pattern(&frame.done);
        let pending = (frame.prefix.pending.opens, frame.prefix.pending.closes);
        let (mut run, mut waits) = (Vec::new(), Vec::new());
        for at in candidates {
            let Some(&group) = self.alike.group.get(at) else { break };
            let Some(&wait) = self.alike.known.get(&(capped(&pattern), pending, group)) else {
                break;
            };
            pattern[group].0 += 1;
            pattern[group].1 -= 1;
            run.push(*at);
            waits.push(wait);
        }
        if run.len() < 2 {
            return None;
        }
        let next = self.taken_alike(frame, run, &waits);
        if next.is_none() {
            self.alike.known.clear();
        }
        next
    }

    /// The prefix with the steps of the run; what holds for all of them is looked at once more at its end.
    fn taken_alike(&mut self, frame: &Frame, run: Vec<usize>, waits: &[bool]) -> Option<Next> {
        self.looked += 1;
        let changes: Vec<&Change> = run.iter().map(|at| &self.steps[*at]).collect();
        let (prefix, effect) = match waits.iter().rposition(|wait| *wait) {
            None => frame.prefix.with(&changes),
            Some(last) => {
                let waited = frame.prefix.with(&changes[..last]).0.waited();
                let (mut prefix, effect) = waited.with(&changes[last..]);
                prefix.pending = effect.clone();
                (prefix, effect)
            }
        };
        self.several(frame, (run, waits), prefix, &effect)
    }

    /// Remembers that a step may go next here, for those like it.
    pub(super) fn remember(&mut self, frame: &Frame, next: &Next) {
        let ([at], [step]) = (next.at.as_slice(), next.steps.as_slice()) else {
            return;
        };
        let Some(&group) = self.alike.group.get(at) else { return };
        let plain = step.accepted.is_empty() && step.interrupts.is_empty();
        if plain && self.alike.beside(&frame.done) == self.alike.beside {
            let pending = (frame.prefix.pending.opens, frame.prefix.pending.closes);
            let pattern = capped(&self.alike.pattern(&frame.done));
            self.alike.known.insert((pattern, pending, group), step.wait);
        }
    }

    /// Groups of the labels that are left: the same label on nodes that nothing tells apart, as they are here, in the ends,
    /// and once all of them have it.
    fn grouped(&self, frame: &Frame, candidates: &[usize]) -> Alike {
        let labels: Vec<usize> = candidates
            .iter()
            .copied()
            .filter(|at| is_label(&self.steps[*at]) && !self.frees[*at])
            .collect();
        if labels.len() < FEW {
            return Alike::default();
        }
        let changes: Vec<&Change> = labels.iter().map(|at| &self.steps[*at]).collect();
        let (all, _) = frame.prefix.with(&changes);
        let (here, there) = (&frame.prefix, &all);
        let worlds = [&here.written, &here.settled, &there.written, &there.settled].map(|seen| &seen.world);
        let sorts = self.judge.sorts_of_nodes(&worlds);
        let mut groups: BTreeMap<(String, &[Vec<usize>]), Vec<usize>> = BTreeMap::new();
        for at in labels {
            let Change { key, fields, .. } = &self.steps[at];
            if let Some(sort) = sorts.get(&key.name) {
                groups.entry((format!("{fields:?}"), sort)).or_default().push(at);
            }
        }
        let members: Vec<Vec<usize>> = groups.into_values().filter(|group| group.len() >= FEW).collect();
        let numbered = members.iter().enumerate();
        Alike {
            group: numbered
                .flat_map(|(group, all)| all.iter().map(move |at| (*at, group)))
                .collect(),
            members,
            ..Alike::default()
        }
    }
}
