//! Somebody else edits the cluster between what was shown and the last write. What changes a step, the safe order or who
//! can reach what never goes unnoticed; what changes nothing stops nobody.
//!
//! `HOSTGUARD_ADVERSARY_EDITS` asks for more than the usual number.

use std::cell::Cell;
use std::sync::Arc;

use hostguard::changes::Change;
use hostguard::resource::Key;
use proptest::prelude::*;

use crate::support::edits::Edit;
use crate::support::pairs::{Came, Pair, Schedules};
use crate::support::pipeline::Look;
use crate::support::simulated::{Asked, By, Controllers, Fault, Script, Simulated};
use crate::support::worlds::all_done;

const BEFORE_THE_FIRST_WRITE: Schedules = Schedules {
    variable: "HOSTGUARD_ADVERSARY_EDITS",
    usual: 90_000,
    each: 2_000,
};

const WHILE_IT_RUNS: Schedules = Schedules {
    variable: "HOSTGUARD_ADVERSARY_EDITS",
    usual: 10_000,
    each: 500,
};

/// Of a thousand harmless edits, so many may stop a run.
const TOLERATED: usize = 1;

fn edit() -> impl Strategy<Value = Edit> {
    (0usize..5, 0usize..64).prop_map(|(which, at)| match which {
        0 => Edit::Idle { at },
        1 => Edit::Meddle { at },
        2 => Edit::Remove { at },
        3 => Edit::Plant { at },
        _ => Edit::Beside { at },
    })
}

/// What became of edits.
#[derive(Default)]
struct Counted {
    harmless: Cell<usize>,
    refused: Cell<usize>,
    noticed: Cell<usize>,
}

fn one_more(count: &Cell<usize>) {
    count.set(count.get() + 1);
}

impl Counted {
    fn harmless(&self, refused: bool) {
        one_more(&self.harmless);
        if refused {
            one_more(&self.refused);
        }
    }

    #[track_caller]
    fn check(&self) {
        let (harmless, refused, noticed) = (self.harmless.get(), self.refused.get(), self.noticed.get());
        println!("{harmless} harmless edits, {refused} of them refused; {noticed} others noticed");
        assert!(
            harmless > 1_000 && noticed > 1_000,
            "both sorts were tried: {harmless}, {noticed}"
        );
        assert!(
            refused * 1_000 <= harmless * TOLERATED,
            "{refused} of {harmless} harmless edits were refused"
        );
    }
}

fn same(a: &[Change], b: &[Change]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.same_as(b))
}

/// What others did in a run.
fn others(cluster: &Simulated) -> Vec<Arc<Change>> {
    let moments = cluster.moments().into_iter();
    moments
        .filter(|moment| moment.by == By::Others)
        .map(|moment| moment.change)
        .collect()
}

/// One edit before the first write, seen by the look under the lock.
fn before_the_first_write(pair: &Pair, edit: Edit, counted: &Counted) -> Result<(), String> {
    let cluster = Simulated::new(&pair.start, Controllers::AtOnce);
    cluster.edit(edit);
    let now = cluster.state();
    let shown = pair.difference(&pair.start)?;
    let approved = pair.look(&pair.start, &shown.set);
    let wanted = pair.difference(&now).ok().filter(|wanted| wanted.conflicts.is_empty());
    let look = wanted.as_ref().map(|wanted| pair.look(&now, &wanted.set));
    let stopped = look.as_ref().is_none_or(|look| approved.shifted(look, None));
    if matches!(edit, Edit::Idle { .. }) {
        counted.harmless(stopped);
        return Ok(());
    }
    if stopped {
        one_more(&counted.noticed);
        return Ok(());
    }
    let (wanted, look) = wanted.zip(look).expect("it was not stopped");
    if !same(&shown.set.steps, &wanted.set.steps) {
        return Err("other steps are wanted now, and nobody noticed".into());
    }
    let order = |look: &Look| -> Vec<Key> {
        let steps = look.sequence.steps().iter();
        steps.map(|step| step.change.key.clone()).collect()
    };
    if order(&approved) != order(&look) {
        return Err("another order is safe now, and nobody noticed".into());
    }
    let others = others(&cluster);
    let end = now.after_all(&wanted.set.steps).settled();
    let judged = pair.does_as_approved(others.iter().map(|change| &**change), &end);
    judged.map_err(|moves| format!("the steps do something else to packets now, and nobody noticed:\n{moves}"))
}

/// One edit at some call of a run that has begun.
fn while_it_runs(pair: &Pair, (call, edit): (usize, Edit), counted: &Counted) -> Result<(), String> {
    let cluster = Simulated::new(&pair.start, Controllers::AtOnce);
    let script = Script {
        faults: [(call, Fault::Edit(edit))].into(),
        ..Script::default()
    };
    let Came::Ended(ended) = pair.run(&cluster, &pair.plan, "one", &script) else {
        return Err("it did not end".into());
    };
    let went_through = matches!(&ended, Ok(report) if all_done(report) && report.moved.is_empty());
    let calls = cluster.calls();
    let last = calls.iter().rev().find(|call| matches!(call.asked, Asked::Read));
    if last.is_none_or(|last| last.number < call) {
        return Ok(()); // nobody looks after that
    }
    if matches!(edit, Edit::Idle { .. }) {
        counted.harmless(!went_through);
        return Ok(());
    }
    if !went_through {
        one_more(&counted.noticed);
        return Ok(());
    }
    let shown = pair.difference(&pair.start)?;
    let end = cluster.state().settled();
    let left = pair.difference(&end)?;
    if !left.set.steps.is_empty() {
        return Err(format!("steps are left, and nobody noticed: {:?}", left.set.steps));
    }
    let others = others(&cluster);
    let others = || others.iter().map(|change| &**change);
    let wanted = pair.difference(&pair.start.after_all(others()).settled());
    if !wanted.is_ok_and(|wanted| same(&wanted.set.steps, &shown.set.steps)) {
        return Ok(()); // who writes the same fields is met by compare-and-set, and by looking for what is left
    }
    let judged = pair.does_as_approved(others(), &end);
    judged.map_err(|moves| format!("the steps did something else to packets, and nobody noticed:\n{moves}"))
}

#[test]
fn no_edit_before_the_first_write_goes_unnoticed() {
    let counted = Counted::default();
    BEFORE_THE_FIRST_WRITE.hold(
        |_| edit().boxed(),
        |pair, edit| before_the_first_write(pair, *edit, &counted),
    );
    counted.check();
}

#[test]
fn no_edit_while_it_runs_goes_unnoticed() {
    let counted = Counted::default();
    WHILE_IT_RUNS.hold(
        |_| (1usize..24, edit()).boxed(),
        |pair, what| while_it_runs(pair, *what, &counted),
    );
    counted.check();
}
