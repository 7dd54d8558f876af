//! Many steps in one look: a thousand worlds that differ in one policy each are not built one by one.

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
    pub(super) fn leap(&mut self, frame: &Frame) -> Option<Next> {
        if self.touches.is_empty() {
            return None;
        }
        let most = self.stride.next();
        let leap = if most > 1 { self.apart(frame, most) } else { Vec::new() };
        if leap.len() < 2 {
            if most > 1 {
                self.stride.failed();
            }
            return None;
        }
        self.looked += 1;
        let steps: Vec<&Change> = leap.iter().map(|at| &self.steps[*at]).collect();
        let (prefix, effect) = frame.prefix.with(&steps);
        let (opens, closes) = (
            effect.opens || frame.prefix.pending.opens,
            effect.closes || frame.prefix.pending.closes,
        );
        // One by one, some of them might have to wait for others.
        let turns = !effect.none() && opens && closes;
        let at_once = self.look(leap[0], &prefix, &effect, &frame.accepted);
        match at_once {
            Ok((accepted, interrupts)) if !turns && accepted.is_empty() && interrupts.is_empty() => {
                self.stride.went_well(leap.len());
                let plain = |at: &usize| self.step(*at, false, Vec::new(), Vec::new());
                Some(Next {
                    steps: leap.iter().map(plain).collect(),
                    at: leap,
                    prefix,
                    accepted: Vec::new(),
                })
            }
            Ok(_) | Err(_) => {
                self.stride.failed();
                None
            }
        }
    }

    /// The longest start of what would be taken one by one in which no flow meets two steps.
    fn apart(&self, frame: &Frame, most: usize) -> Vec<usize> {
        let mut batch = Batch::new(Company::of(frame.prefix.state()));
        let (mut done, mut leap) = (frame.done.clone(), Vec::new());
        let mut candidates = self.candidates(&done).into_iter();
        while leap.len() < most
            && let Some(at) = candidates.next()
        {
            let step = &self.steps[at];
            if frame.prefix.keeps_back(step) || !batch.take(step, &self.touches[at]) {
                break;
            }
            leap.push(at);
            done.insert(done.partition_point(|other| *other < at), at);
            if self.frees[at] {
                candidates = self.candidates(&done).into_iter();
            }
        }
        leap
    }
}
