//! Makes an approved sequence so, one step at a time, and says what became of each.
//!
//! The only module that calls `perform`. Knows nothing of plans: when an object moved, it asks the caller what the
//! step would be now, and goes on only if it is the same one.

mod back;
mod begin;
mod journal;
pub mod lock;
mod run;
mod wait;

use std::sync::Arc;
use std::time::Duration;

use crate::changes::Change;
use crate::provider::{Denied, Refusal};
use crate::resource::Key;
use crate::sequence::Step;
use crate::state::State;

pub use begin::{Begun, begin};
pub use journal::Journal;
pub use lock::{Held, Holder, Lock, NotTaken, Place};
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

/// One step: its key, its verb, and what became of it.
pub type StepReport = (Key, &'static str, Outcome);

/// A change as it was made, against the object that was there then, and the object as it was stored; `None`: gone, or not
/// known.
#[derive(Clone, Debug)]
pub struct Made {
    pub change: Change,
    pub stored: Option<serde_json::Value>,
}

/// What became of the sequence: one entry a step, in order.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub steps: Vec<StepReport>,
    /// Steps that were taken back after one failed, in order.
    pub taken_back: Vec<StepReport>,
    /// Why not all of what was done was taken back, where it should have been.
    pub not_taken_back: Option<String>,
    /// What somebody else changed meanwhile of what the steps or their proof rest on: it stopped the run, or was seen
    /// after the last step.
    pub moved: Vec<String>,
    /// What was there after the last step, where all were made.
    pub seen: Option<Arc<State>>,
    /// The lock was lost on the way: nothing was written after that, the record included.
    pub lost: bool,
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
    /// The inventory's namespace could not be made.
    Namespace(Refusal),
    /// Somebody else applies this plan just now.
    Locked(Box<Held>),
    /// The lock could not be asked for.
    Lock(Refusal),
    /// The lock was lost before the first write.
    Lost,
    Interrupted,
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
    TakenBack(&'a Change, &'a Outcome),
    /// Somebody else has the lock, and it is waited for.
    Locked(&'a Held),
    /// What others changed meanwhile, without any effect on the steps and who can reach what.
    Moved(&'a [String]),
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

    /// Whether everything that was done was taken back.
    pub fn took_all_back(&self) -> bool {
        let back = self
            .taken_back
            .iter()
            .filter(|(_, _, outcome)| *outcome == Outcome::Done);
        self.not_taken_back.is_none() && !self.taken_back.is_empty() && back.count() == self.taken_back.len()
    }

    fn count(&self, which: impl Fn(&Outcome) -> bool) -> usize {
        self.steps.iter().filter(|(_, _, outcome)| which(outcome)).count()
    }
}

/// What a step would be, computed again from what is there now; `None` when there is nothing left to do for that key.
pub type Recompute<'a> = dyn Fn(&State, &Key) -> Result<Option<Change>, String> + Send + Sync + 'a;

/// Whether what is left still stands, given what is there now and the changes that were made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stood {
    Same,
    /// Something moved that has no effect on the steps, their proof and their end.
    Beside(Vec<String>),
    Moved(Vec<String>),
    /// Something could not be read that could be when it was approved.
    Unread(Vec<String>),
}

/// Judges that, after steps were made.
pub type Still<'a> = dyn Fn(&State, &[Made], &[&Step]) -> Stood + Send + Sync + 'a;

/// The steps that take these changes back from what is there now, in a proven order; or why there are none.
pub type Back<'a> = dyn Fn(&State, &[Made]) -> Result<Vec<Step>, String> + Send + Sync + 'a;

/// Which of these steps can still be made once another was not, in their order, and why each other one cannot.
pub type Rest<'a> = dyn Fn(&State, &[Change]) -> (Vec<Step>, Vec<(Key, String)>) + Send + Sync + 'a;
