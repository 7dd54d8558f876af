//! Many steps in one look: a thousand worlds that differ in one policy each are not built one by one.

use std::collections::VecDeque;

use super::{Frame, Next, Search};
use crate::changes::Change;
use crate::sequence::batch::{Batch, Company};

/// Steps of one leap.
const LEAP: usize = 1_024;

/// How many steps are looked at in one.
#[derive(Debug, Default)]
pub(super) struct Stride {
    /// Of the last leap, if it went well.
    last: usize,
    /// Leaps in vain so far, and steps to be looked at one by one before the next leap.
    in_vain: u32,
    patience: usize,
}

impl Stride {
    /// Few at first: where the first of them is worse, the others were looked at in vain.
    fn next(&mut self) -> usize {
        if self.patience > 0 {
            self.patience -= 1;
            return 1;
        }
        (self.last * 4).clamp(4, LEAP)
    }

    fn went_well(&mut self, steps: usize) {
        (self.last, self.in_vain) = (steps, 0);
    }

    fn failed(&mut self) {
        self.in_vain = (self.in_vain + 1).min(8);
        (self.last, self.patience) = (0, 1 << self.in_vain);
    }
}

impl Search<'_> {
    /// The steps that would go next one after another, as far as no flow meets two of them. Whatever part of them is made,
    /// each flow fares as before them or as after, so where both are no worse than the ends, so is all in between.
    pub(super) fn leap(&mut self, frame: &Frame, candidates: &[usize]) -> Option<Next> {
        let most = self.stride.next();
        if most < 2 {
            return None;
        }
        let leap = self.apart(frame, candidates, most);
        let many = leap.len();
        let next = (many > 1).then(|| self.taken_apart(frame, leap)).flatten();
        match &next {
            Some(_) => self.stride.went_well(many),
            None => self.stride.failed(),
        }
        next
    }

    fn taken_apart(&mut self, frame: &Frame, leap: Vec<usize>) -> Option<Next> {
        self.looked += 1;
        let steps: Vec<&Change> = leap.iter().map(|at| &self.steps[*at]).collect();
        let (prefix, effect) = frame.prefix.with(&steps);
        let opens = effect.opens || frame.prefix.pending.opens;
        let closes = effect.closes || frame.prefix.pending.closes;
        if !effect.none() && opens && closes {
            return None; // one by one, some of them might have to wait for others
        }
        let waits = vec![false; leap.len()];
        self.several(frame, (leap, &waits), prefix, &effect)
    }

    /// The longest start of what would be taken one by one in which no flow meets two steps.
    fn apart(&self, frame: &Frame, candidates: &[usize], most: usize) -> Vec<usize> {
        let mut batch = Batch::new(Company::of(frame.prefix.state(), frame.prefix.reading()));
        let (mut done, mut leap) = (frame.done.clone(), Vec::new());
        let mut next: VecDeque<usize> = candidates.iter().copied().collect();
        while leap.len() < most
            && let Some(at) = next.pop_front()
        {
            let step = &self.steps[at];
            if frame.prefix.keeps_back(step) || !batch.take(step, &self.touches[at]) {
                break;
            }
            leap.push(at);
            done.insert(done.partition_point(|other| *other < at), at);
            if self.frees[at] {
                next = self.candidates(&done).into();
            }
        }
        leap
    }
}
