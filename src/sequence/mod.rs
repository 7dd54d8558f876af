//! The steps in an order of which no prefix is worse than the ends, and the same after a yes.
//!
//! The order is found by asking the simulator, so it is its own proof: after every step, as written and once
//! controllers have caught up, nothing is more open than before or after, and no connection that must stay is cut off.

mod batch;
mod footprint;
mod judge;
mod lockout;
mod prefix;
mod search;
mod unlooked;
mod unseen;

use std::rc::Rc;

use crate::changes::{self, Change, ChangeSet};
use crate::expect::{Resolved, Watch};
use crate::exposure::{Known, Reading, World};
use crate::resource::{Key, Kind};
use crate::state::State;

/// The same of an order in which something worse was accepted.
pub const CLAIM_BUT: &str = "order proven, but for what was accepted: no other step opens more than before or after, or cuts off what must stay";

/// What the header of every answer with a proven order says of it.
pub const CLAIM: &str = "order proven: no step opens more than before or after, or cuts off what must stay";

pub use judge::{Breach, Wrong};
pub use search::{Blocked, Stuck};
pub use unlooked::not_looked_at;

use batch::{Batch, Company};
use footprint::Around;
use judge::Judge;
use prefix::Prefix;
use search::Search;

/// One step in its place.
#[derive(Clone, Debug)]
pub struct Step {
    pub change: Change,
    /// Controllers and the dataplane must have caught up with everything before it.
    pub wait: bool,
    /// It may be made together with the step before it: no flow meets both.
    pub together: bool,
    /// What somebody accepted that it makes worse.
    pub accepted: Vec<Breach>,
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

/// What is there and what will be, with their worlds: these share what was read of the objects that are in both.
pub struct Ends<'s> {
    state: &'s State,
    end: &'s State,
    reading: Rc<Reading>,
    before: Rc<Known>,
    after: Rc<Known>,
}

impl<'s> Ends<'s> {
    pub fn new(state: &'s State, end: &'s State) -> Ends<'s> {
        let reading = Rc::new(Reading::default());
        let known = |state| Rc::new(Known::new(World::of_state_with(state, &reading)));
        let before = known(state);
        let after = if state == end { before.clone() } else { known(end) };
        Ends {
            state,
            end,
            reading,
            before,
            after,
        }
    }

    pub fn before(&self) -> &World {
        self.before.world()
    }

    pub fn after(&self) -> &World {
        self.after.world()
    }
}

/// What an order has to keep to beside what every cluster needs.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terms<'a> {
    /// What may be worse although it is refused otherwise.
    pub accepted: &'a [Acceptance],
    /// `neverOpen` and `neverClose` of the plan.
    pub promised: Option<&'a Resolved>,
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
    pub fn find(state: &State, set: &ChangeSet, terms: &Terms<'_>) -> Option<Result<Sequence, Stuck>> {
        Sequence::between(&Ends::new(state, &state.after_all(&set.steps).settled()), set, terms)
    }

    /// The same where what the steps and then controllers make of the state is known already.
    pub fn between(ends: &Ends<'_>, set: &ChangeSet, terms: &Terms<'_>) -> Option<Result<Sequence, Stuck>> {
        if !set.unreadable.is_empty() {
            return None;
        }
        if set.steps.is_empty() && !terms.promised.is_some_and(Resolved::forbids) {
            return Some(Ok(Sequence::of(Vec::new()))); // there is nothing to be asked
        }
        let state = ends.state;
        let start = Prefix::start(ends);
        let judge = judge(ends, terms, &start);
        let around = Around::new([state, start.settled_state(), ends.end]);
        let steps = Search::new(&judge, &set.steps, terms.accepted)
            .in_leaps(&around)
            .run(&start);
        Some(steps.map(|mut steps| {
            together(&mut steps, &around, Company::of(state, &ends.reading));
            Sequence::of(steps)
        }))
    }

    fn of(steps: Vec<Step>) -> Sequence {
        Sequence {
            digest: changes::digest(steps.iter().map(|step| &step.change)),
            steps,
        }
    }

    /// Which of the steps left can still be made from what is there now, once another was not: in an order in which
    /// each is no worse than the ends that were approved, and none opens anything. The others, each with the reason.
    pub fn rest(
        before: &State,
        set: &ChangeSet,
        terms: &Terms<'_>,
        now: &State,
        left: &[Change],
    ) -> (Vec<Step>, Vec<(Key, String)>) {
        let end = before.after_all(&set.steps).settled();
        let ends = Ends::new(before, &end);
        let judge = judge(&ends, terms, &Prefix::start(&ends));
        Search::new(&judge, left, terms.accepted).rest(&Prefix::start(&Ends::new(now, &end)))
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

/// More steps than this are not made without a look at what is there.
const TOGETHER: usize = 64;

/// Marks steps that may be made together with those before them.
fn together(steps: &mut [Step], around: &Around<'_>, mut company: Company) {
    let mut batch = Batch::new(company.clone());
    for step in steps {
        let touch = around.touch(&step.change);
        let alone = step.wait || !step.accepted.is_empty() || !step.interrupts.is_empty();
        // The namespace of the record comes before the record is written.
        let first = step.change.key.kind == Kind::Namespace;
        let may = batch.len() > 0 && batch.len() < TOGETHER && !alone && !first;
        step.together = may && batch.take(&step.change, &touch);
        if !step.together {
            batch = Batch::alone(company.clone(), &step.change, &touch);
        }
        company.made(&step.change);
    }
}

/// Before, after, and what must stay.
fn judge<'a>(ends: &Ends<'_>, terms: &Terms<'a>, start: &Prefix) -> Judge<'a> {
    let mut before = vec![start.written.world.clone()];
    if !start.is_settled() {
        before.push(start.settled.world.clone());
    }
    let mut needed = lockout::needed(ends.state);
    for flow in terms.promised.iter().flat_map(|promised| promised.kept()) {
        needed.known(flow);
    }
    let watch = terms.promised.map(|promised| Watch::new(promised, before[0].world()));
    Judge::new(before, ends.after.clone(), needed, watch)
}

impl Approved {
    pub fn steps(&self) -> &[Step] {
        &self.0.steps
    }
}
