//! The steps in an order of which no prefix is worse than the ends, and the same after a yes.
//!
//! The order is found by asking the simulator, so it is its own proof: after every step, as written and once
//! controllers have caught up, nothing is more open than before or after, and no connection that must stay is cut off.

mod judge;
mod lockout;
mod prefix;
mod search;
mod unseen;

use std::rc::Rc;

use crate::changes::{Change, ChangeSet};
use crate::exposure::{Known, World};
use crate::resource::Key;
use crate::state::State;

/// What the header of every answer with a proven order says of it.
pub const CLAIM: &str = "order proven: no step opens more than before or after, or cuts off what must stay";

pub use judge::{Breach, Wrong};
pub use search::{Blocked, Stuck};

use judge::Judge;
use prefix::Prefix;
use search::Search;

/// One step in its place.
#[derive(Clone, Debug)]
pub struct Step {
    pub change: Change,
    /// Controllers and the dataplane must have caught up with everything before it.
    pub wait: bool,
    /// Packets, as text, for which somebody accepted that it makes things worse.
    pub accepted: Vec<String>,
    /// Connections that are open before and after everything, and not after this step.
    pub interrupts: Vec<Breach>,
}

/// A named packet at a named step that may fare worse.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Acceptance {
    /// The key of the step's object, as text.
    pub step: String,
    /// As the refusal prints it.
    pub packet: String,
}

/// Steps in their proven order. Made only from a change set without unreadable targets.
#[derive(Clone, Debug)]
pub struct Sequence {
    steps: Vec<Step>,
    digest: String,
}

/// A sequence to which somebody said yes.
#[derive(Clone, Debug)]
pub struct Approved(Sequence);

impl Sequence {
    /// Finds the order. `None` when a target could not be read: such a change set is shown, and never sequenced.
    pub fn find(state: &State, set: &ChangeSet, accepted: &[Acceptance]) -> Option<Result<Sequence, Stuck>> {
        if !set.unreadable.is_empty() {
            return None;
        }
        let start = Prefix::start(state);
        let judge = judge(state, set, &start);
        let steps = Search::new(&judge, &set.steps, accepted).run(&start);
        Some(steps.map(Sequence::of))
    }

    fn of(steps: Vec<Step>) -> Sequence {
        let set = ChangeSet {
            steps: steps.iter().map(|step| step.change.clone()).collect(),
            ..ChangeSet::default()
        };
        Sequence {
            digest: set.digest(),
            steps,
        }
    }

    /// Which of the steps left can still be made from what is there now, once another was not: in an order in which
    /// each is no worse than the ends that were approved, and none opens anything. The others, each with the reason.
    pub fn rest(
        before: &State,
        set: &ChangeSet,
        accepted: &[Acceptance],
        now: &State,
        left: &[Change],
    ) -> (Vec<Step>, Vec<(Key, String)>) {
        let judge = judge(before, set, &Prefix::start(before));
        Search::new(&judge, left, accepted).rest(&Prefix::start(now))
    }

    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Of the steps in their order: what a yes is bound to.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Binds a yes to what was shown. `None` when this is another sequence than the one with that digest.
    pub fn approve(self, shown: &str) -> Option<Approved> {
        (self.digest == shown).then_some(Approved(self))
    }
}

/// Before, after, and what must stay.
fn judge(state: &State, set: &ChangeSet, start: &Prefix) -> Judge {
    let mut after = state.clone();
    for step in &set.steps {
        after.write(step);
    }
    let mut before = vec![start.written.world.clone()];
    if !start.is_settled() {
        before.push(start.settled.world.clone());
    }
    Judge::new(
        before,
        Rc::new(Known::new(World::of_state(&after.settled()))),
        lockout::needed(state),
    )
}

impl Approved {
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }
}
