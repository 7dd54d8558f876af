//! One step after the other, in the approved order.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::join;
use futures_util::stream::{self, StreamExt};
use jiff::Timestamp;

use super::{
    Back, Event, Journal, Lock, Made, Outcome, Recompute, Refused, Report, Rest, StepReport, Still, Stood, Wait, back,
    lock, wait_until_settled,
};
use crate::changes::Change;
use crate::history;
use crate::provider::{Provider, Refusal, Why};
use crate::resource::{Key, Kind};
use crate::sequence::{Approved, Step};
use crate::state::Scope;

/// More steps than this are not in flight at once.
const IN_FLIGHT: usize = 8;
/// How often a step is tried when its object keeps moving.
const TRIES: usize = 5;

/// What a run needs beside the sequence.
pub struct Run<'a> {
    pub provider: &'a dyn Provider,
    pub scope: &'a Scope,
    pub lock: &'a Lock,
    /// The inventory's namespace, where it had to be made before the lock could be taken.
    pub made: Option<StepReport>,
    pub recompute: &'a Recompute<'a>,
    pub rest: &'a Rest<'a>,
    pub still: &'a Still<'a>,
    /// How to take back what was done, where that is to be when a step fails.
    pub back: Option<&'a Back<'a>>,
    pub wait: Wait,
    /// Set by the first Ctrl-C: the steps in flight are finished, the rest is skipped.
    pub stop: &'a AtomicBool,
    pub now: fn() -> Timestamp,
}

/// Writes the record, makes the steps, waits for controllers, and brings the record up to date; all under the lock.
///
/// Once a step failed, only those of the others go on that are still known to be safe without it. Once something moved
/// that the steps or their proof rest on, none do.
pub async fn run(
    approved: &Approved,
    mut journal: Journal,
    run: Run<'_>,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Report, Refused> {
    let mut report = Report {
        steps: run.made.clone().into_iter().collect(),
        ..Report::default()
    };
    let under = (run.provider, run.lock);
    if let Err(refusal) = journal.intend(under).await {
        return Err(if run.lock.is_lost() {
            Refused::Lost
        } else {
            Refused::Record(refusal)
        });
    }
    let places = approved.steps().iter().enumerate();
    let places: BTreeMap<&Key, usize> = places.map(|(place, step)| (&step.change.key, place)).collect();
    let there = run.made.as_ref().map(|(key, _, _)| key);
    let left = approved.steps().iter().filter(|step| Some(&step.change.key) != there);
    let mut steps: VecDeque<Step> = left.cloned().collect();
    let mut made: Vec<Made> = Vec::new();
    let mut first = true;
    while let Some(next) = steps.pop_front() {
        if let Some(why) = ended(&run, &report) {
            skip(&next.change, why, &mut report, events);
            continue;
        }
        if next.wait {
            report.unsettled = settle(&run, true, events).await;
        }
        if !std::mem::replace(&mut first, false) {
            let left: Vec<&Step> = std::iter::once(&next).chain(&steps).collect();
            look_again(&made, &left, &mut journal, &run, &mut report, events).await;
            if let Some(why) = ended(&run, &report) {
                skip(&next.change, why, &mut report, events);
                continue;
            }
        }
        let mut batch = vec![next.change];
        while let Some(also) = steps.pop_front_if(|step| step.together) {
            batch.push(also.change);
        }
        let before = report.steps.len();
        if report.unsettled.is_empty() {
            made.extend(make(&batch, &run, &mut report, events).await);
        } else {
            for change in &batch {
                let why = "Calico had not caught up with what was there before it";
                skip(change, why, &mut report, events);
            }
        }
        let ends = &report.steps[before..];
        for (key, _, outcome) in ends {
            journal.note(places[key], outcome);
        }
        let all_done = ends.iter().all(|(_, _, outcome)| *outcome == Outcome::Done);
        if !all_done && ended(&run, &report).is_none() {
            go_on_without(&mut steps, &run, &mut report, events).await;
        }
    }
    for (key, _, outcome) in &report.steps {
        if let Some(place) = places.get(key) {
            journal.note(*place, outcome);
        }
    }
    if report.failed() > 0
        && ended(&run, &report).is_none()
        && let Some(how) = run.back
    {
        back::take_back(how, &made, &run, &mut report, events).await;
        for (key, _, _) in report
            .taken_back
            .iter()
            .filter(|(_, _, outcome)| *outcome == Outcome::Done)
        {
            if let Some(place) = places.get(key) {
                journal.mark(*place, 'r');
            }
        }
    }
    let waited_for = [Kind::Node, Kind::KubeControllersConfiguration];
    let arming = made.iter().any(|made| waited_for.contains(&made.change.key.kind));
    if (arming || !report.unsettled.is_empty()) && ended(&run, &report).is_none() {
        report.unsettled = settle(&run, false, events).await;
    }
    if report.failed() + report.skipped() == 0 && ended(&run, &report).is_none() {
        last_look(&made, &run, &mut report, events).await;
    }
    report.interrupted = stopped(&run);
    if !report.lost {
        let not_done = keys(&report.steps, |outcome| *outcome != Outcome::Done);
        let taken_back = keys(&report.taken_back, |outcome| *outcome == Outcome::Done);
        let end = (came_to(&report), lock::seconds((run.now)()));
        let settled = journal.settle(under, &not_done, &taken_back, end).await;
        report.lost = run.lock.is_lost();
        report.record_behind = settled.err().filter(|_| !report.lost);
    }
    Ok(report)
}

fn keys(steps: &[StepReport], which: impl Fn(&Outcome) -> bool) -> BTreeSet<Key> {
    let chosen = steps.iter().filter(|(_, _, outcome)| which(outcome));
    chosen.map(|(key, _, _)| key.clone()).collect()
}

fn came_to(report: &Report) -> history::Outcome {
    let whole = report.failed() + report.skipped() == 0;
    match report.done() {
        _ if report.interrupted && !whole => history::Outcome::Interrupted,
        _ if whole => history::Outcome::Done,
        _ if report.took_all_back() => history::Outcome::Reverted,
        0 => history::Outcome::Failed,
        _ => history::Outcome::Partial,
    }
}

/// Why no further step is begun.
fn ended(run: &Run, report: &Report) -> Option<&'static str> {
    if report.lost {
        return Some("the lock was lost");
    }
    if !report.moved.is_empty() {
        return Some("what it rests on was changed by somebody else");
    }
    stopped(run).then_some("interrupted")
}

/// Writes how far the run came, and looks whether what is left still stands on what is there.
async fn look_again(
    made: &[Made],
    left: &[&Step],
    journal: &mut Journal,
    run: &Run<'_>,
    report: &mut Report,
    events: &mut (dyn FnMut(Event) + Send),
) {
    if !run.lock.may_write().await {
        report.lost = true;
        return;
    }
    let (_, seen) = join(journal.tell((run.provider, run.lock)), run.provider.read(run.scope)).await;
    let stood = match seen {
        Ok(state) => (run.still)(&state, made, left),
        Err(error) => Stood::Unread(vec![format!("what is there could not be read: {}", error.message)]),
    };
    match stood {
        Stood::Same => {}
        Stood::Beside(what) => events(Event::Moved(&what)),
        Stood::Moved(what) | Stood::Unread(what) => report.moved = what,
    }
}

/// Looks whether the steps led where they were to lead. That it cannot be read is no movement: whoever asks next says so.
async fn last_look(made: &[Made], run: &Run<'_>, report: &mut Report, events: &mut (dyn FnMut(Event) + Send)) {
    let Ok(state) = run.provider.read(run.scope).await else {
        return;
    };
    match (run.still)(&state, made, &[]) {
        Stood::Same => {}
        Stood::Beside(what) => events(Event::Moved(&what)),
        Stood::Moved(what) => report.moved = what,
        Stood::Unread(_) => return,
    }
    report.seen = Some(Arc::new(state));
}

/// Keeps of the steps that are left those that are safe without the one that was not made, judged on what is there now.
async fn go_on_without(
    steps: &mut VecDeque<Step>,
    run: &Run<'_>,
    report: &mut Report,
    events: &mut (dyn FnMut(Event) + Send),
) {
    let mut left: Vec<Change> = Vec::new();
    for Step { change, .. } in steps.drain(..) {
        match unmet(&change, report) {
            Some(key) => skip(&change, &format!("it needs {key}"), report, events),
            None => left.push(change),
        }
    }
    if left.is_empty() {
        return;
    }
    let (kept, skipped) = match run.provider.read(run.scope).await {
        Ok(state) => (run.rest)(&state, &left),
        Err(error) => {
            let why = format!(
                "an earlier step failed, and the state could not be read: {}",
                error.message
            );
            (
                Vec::new(),
                left.iter().map(|change| (change.key.clone(), why.clone())).collect(),
            )
        }
    };
    for (key, why) in skipped {
        if let Some(change) = left.iter().find(|change| change.key == key) {
            skip(change, &why, report, events);
        }
    }
    steps.extend(kept);
}

/// What controllers have still to do when the deadline came. Before a step that relies on what was done, the dataplane
/// gets its time, too.
pub(super) async fn settle(run: &Run<'_>, dataplane: bool, events: &mut (dyn FnMut(Event) + Send)) -> Vec<String> {
    let left = match wait_until_settled(run.provider, run.scope, run.wait, run.stop, events).await {
        Ok(left) => left,
        // the steps were made; that the cluster cannot be read any more is what was seen last
        Err(error) => vec![error.message],
    };
    if dataplane && left.is_empty() && !run.wait.dataplane.is_zero() {
        events(Event::Dataplane(run.wait.dataplane));
        tokio::time::sleep(run.wait.dataplane).await;
    }
    left
}

fn stopped(run: &Run) -> bool {
    run.stop.load(Ordering::SeqCst)
}

fn skip(change: &Change, why: &str, report: &mut Report, events: &mut (dyn FnMut(Event) + Send)) {
    let outcome = Outcome::Skipped(why.to_string());
    events(Event::Finished(change, &outcome));
    report.steps.push((change.key.clone(), change.op.verb(), outcome));
}

/// Makes steps that no flow meets two of, all at once.
async fn make(
    batch: &[Change],
    run: &Run<'_>,
    report: &mut Report,
    events: &mut (dyn FnMut(Event) + Send),
) -> Vec<Made> {
    tokio::task::yield_now().await; // a provider that never waits must not keep signals waiting
    let mut flying: Vec<&Change> = Vec::new();
    for change in batch {
        match unmet(change, report) {
            _ if stopped(run) => skip(change, "interrupted", report, events),
            Some(key) => skip(change, &format!("it needs {key}"), report, events),
            None => flying.push(change),
        }
    }
    let writes = flying.iter().map(|change| async move {
        match stopped(run) {
            true => (0, Err(Unmade::Stopped)),
            false => perform(change, run).await,
        }
    });
    let ends: Vec<_> = stream::iter(writes).buffered(IN_FLIGHT).collect().await;
    let mut made = Vec::new();
    for (change, (again, end)) in flying.into_iter().zip(ends) {
        for _ in 0..again {
            events(Event::Again(&change.key));
        }
        let outcome = match end {
            Ok(done) => {
                made.push(done);
                Outcome::Done
            }
            Err(Unmade::Refused(refusal)) => Outcome::Failed(refusal),
            Err(Unmade::Stopped) => Outcome::Skipped("interrupted".to_string()),
            Err(Unmade::LockLost) => {
                report.lost = true;
                Outcome::Skipped("the lock was lost".to_string())
            }
        };
        events(Event::Finished(change, &outcome));
        report.steps.push((change.key.clone(), change.op.verb(), outcome));
    }
    made
}

/// The first need of a step that was not met.
fn unmet(change: &Change, report: &Report) -> Option<Key> {
    let missed = |key: &Key| {
        report
            .steps
            .iter()
            .any(|(other, _, outcome)| other == key && *outcome != Outcome::Done)
    };
    change
        .needs
        .iter()
        .map(|need| &need.key)
        .find(|key| missed(key))
        .cloned()
}

/// Why a change was not made.
enum Unmade {
    /// It was not begun.
    Stopped,
    Refused(Refusal),
    LockLost,
}

/// Writes one change. When the object moved or the answer was lost, reads again: nothing left to do is done; a change
/// that is still the same is tried again after a refusal; another one is stale. What may have been written is never
/// sent a second time. With how often it was tried again.
async fn perform(change: &Change, run: &Run<'_>) -> (usize, Result<Made, Unmade>) {
    let mut current = change.clone();
    for attempt in 1.. {
        let again = attempt - 1;
        if !run.lock.may_write().await {
            return (again, Err(Unmade::LockLost));
        }
        let refusal = match run.provider.perform(&current).await {
            Ok(stored) => {
                let change = current;
                return (again, Ok(Made { change, stored }));
            }
            Err(refusal) => refusal,
        };
        let refused = matches!(refusal.why, Why::Changed | Why::Gone);
        let doubtful = matches!(refusal.why, Why::AnswerLost | Why::Swallowed);
        if !(refused || doubtful) || attempt == TRIES {
            return (again, Err(Unmade::Refused(refusal)));
        }
        let now = match run.provider.read(run.scope).await {
            Ok(state) => (run.recompute)(&state, &change.key),
            Err(error) => Err(error.message),
        };
        match now {
            Ok(None) => {
                let (change, stored) = (change.clone(), None);
                return (again, Ok(Made { change, stored }));
            }
            Ok(Some(_)) if doubtful => {
                let message = format!(
                    "{}; read afterwards, it was not made, and it was not sent again",
                    refusal.message
                );
                return (again, Err(Unmade::Refused(Refusal { message, ..refusal })));
            }
            Ok(Some(same)) if same.same_as(change) => current = same,
            Ok(Some(_)) => {
                let message = format!(
                    "stale: the object changed, and the step would be another one now ({})",
                    refusal.message
                );
                let why = Why::Changed;
                return (again, Err(Unmade::Refused(Refusal { why, message })));
            }
            Err(why) => {
                let message = format!("{}; whether it was made is not known: {why}", refusal.message);
                return (again, Err(Unmade::Refused(Refusal { message, ..refusal })));
            }
        }
    }
    unreachable!("the loop returns on its last try")
}
