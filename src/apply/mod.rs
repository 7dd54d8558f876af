//! Makes an approved sequence so, one step at a time, and says what became of each.
//!
//! The only module that calls `perform`. Knows nothing of plans: when an object moved, it asks the caller what the
//! step would be now, and goes on only if it is the same one.

mod journal;
mod run;
mod wait;

use std::time::Duration;

use crate::changes::Change;
use crate::provider::{Denied, Refusal};
use crate::resource::Key;
use crate::sequence::Step;
use crate::state::State;

pub use journal::Journal;
pub use run::{Run, run};
pub use wait::{Wait, wait_until_settled};

/// What a step came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    Failed(Refusal),
    /// Not tried, and why.
    Skipped(String),
}

/// What became of the sequence: one entry a step, in order.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub steps: Vec<(Key, &'static str, Outcome)>,
    /// Something that controllers had not done when the deadline came; what was seen last.
    pub unsettled: Vec<String>,
    /// The record could not be brought up to date after the steps; the one written before them holds.
    pub record_behind: Option<Refusal>,
    pub interrupted: bool,
}

/// Why nothing was written at all.
#[derive(Clone, Debug)]
pub enum Refused {
    /// Rights that are missing, all of them.
    Denied(Vec<Denied>),
    /// The record could not be written, so no change was.
    Record(Refusal),
    Failed(crate::error::Error),
}

/// What moves, for the story on standard error.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    Finished(&'a Change, &'a Outcome),
    Waiting(&'a [String]),
    Settled,
    /// Felix gets this time to bring the kernel up to date.
    Dataplane(Duration),
    /// The object moved between reading and writing; the step is still the same and is tried again.
    Again(&'a Key),
}

impl Report {
    pub fn done(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Done))
    }

    pub fn failed(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Failed(_)))
    }

    pub fn skipped(&self) -> usize {
        self.count(|outcome| matches!(outcome, Outcome::Skipped(_)))
    }

    fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.steps.iter().filter(|(_, _, outcome)| which(outcome)).count()
    }
}

/// What a step would be, computed again from what is there now; `None` when there is nothing left to do for that key.
pub type Recompute<'a> = dyn Fn(&State, &Key) -> Result<Option<Change>, String> + Send + Sync + 'a;

/// Which of these steps can still be made once another was not, in their order, and why each other one cannot.
pub type Rest<'a> = dyn Fn(&State, &[Change]) -> (Vec<Step>, Vec<(Key, String)>) + Send + Sync + 'a;
