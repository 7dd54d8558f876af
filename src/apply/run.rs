//! One step after the other, in the approved order.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Event, Journal, Outcome, Recompute, Refused, Report, Rest, Wait, wait_until_settled};
use futures_util::future::join_all;

use crate::changes::Change;
use crate::provider::{Provider, Refusal, Why};
use crate::resource::{Key, Kind};
use crate::sequence::{Approved, Step};
use crate::state::Scope;

/// How often a step is tried when its object keeps moving.
const TRIES: usize = 5;

/// What a run needs beside the sequence.
pub struct Run<'a> {
    pub provider: &'a dyn Provider,
    pub scope: &'a Scope,
    pub recompute: &'a Recompute<'a>,
    pub rest: &'a Rest<'a>,
    pub wait: Wait,
    /// Set by the first Ctrl-C: the step in flight is finished, the rest is skipped.
    pub stop: &'a AtomicBool,
}

/// Checks permissions, writes the record, makes the steps, waits for controllers, and brings the record up to date.
///
/// Once a step failed, only those of the others go on that are still known to be safe without it.
pub async fn run(
    approved: &Approved,
    mut journal: Journal,
    run: Run<'_>,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Report, Refused> {
    let record = journal.first_change();
    let all: Vec<&Change> = approved
        .steps()
        .iter()
        .map(|step| &step.change)
        .chain(&record)
        .collect();
    let denied = run.provider.may(&all).await.map_err(Refused::Failed)?;
    if !denied.is_empty() {
        return Err(Refused::Denied(denied));
    }
    let mut report = Report::default();
    let mut steps: VecDeque<Step> = approved.steps().iter().cloned().collect();
    // the inventory's namespace has to be there before the record is
    if let Some(first) = steps.pop_front_if(|step| step.change.key.kind == Kind::Namespace) {
        make(&[first.change], &run, &mut report, events).await;
    }
    if report.failed() == 0 {
        journal.intend(run.provider).await.map_err(Refused::Record)?;
    } else {
        for step in steps.drain(..) {
            skip(
                &step.change,
                "the record's namespace could not be made",
                &mut report,
                events,
            );
        }
    }
    while let Some(next) = steps.pop_front() {
        if stopped(&run) {
            skip(&next.change, "interrupted", &mut report, events);
            continue;
        }
        if next.wait {
            report.unsettled = settle(&run, true, events).await;
        }
        let mut batch = vec![next.change];
        while let Some(also) = steps.pop_front_if(|step| step.together) {
            batch.push(also.change);
        }
        let before = report.steps.len();
        if report.unsettled.is_empty() || stopped(&run) {
            make(&batch, &run, &mut report, events).await;
        } else {
            for change in &batch {
                let why = "Calico had not caught up with what was there before it";
                skip(change, why, &mut report, events);
            }
        }
        let all_done = report.steps[before..]
            .iter()
            .all(|(_, _, outcome)| *outcome == Outcome::Done);
        if !all_done && !stopped(&run) {
            go_on_without(&mut steps, &run, &mut report, events).await;
        }
    }
    let waited_for = [Kind::Node, Kind::KubeControllersConfiguration];
    let done = report.steps.iter().filter(|(_, _, outcome)| *outcome == Outcome::Done);
    let arming = done.clone().any(|(key, _, _)| waited_for.contains(&key.kind));
    if (arming || !report.unsettled.is_empty()) && !stopped(&run) {
        report.unsettled = settle(&run, false, events).await;
    }
    let not_done: BTreeSet<Key> = report
        .steps
        .iter()
        .filter(|(_, _, outcome)| *outcome != Outcome::Done)
        .map(|(key, _, _)| key.clone())
        .collect();
    report.interrupted = stopped(&run);
    report.record_behind = journal.settle(run.provider, &not_done).await.err();
    Ok(report)
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
async fn settle(run: &Run<'_>, dataplane: bool, events: &mut (dyn FnMut(Event) + Send)) -> Vec<String> {
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
async fn make(batch: &[Change], run: &Run<'_>, report: &mut Report, events: &mut (dyn FnMut(Event) + Send)) {
    tokio::task::yield_now().await; // a provider that never waits must not keep signals waiting
    let mut flying: Vec<&Change> = Vec::new();
    for change in batch {
        match unmet(change, report) {
            _ if stopped(run) => skip(change, "interrupted", report, events),
            Some(key) => skip(change, &format!("it needs {key}"), report, events),
            None => flying.push(change),
        }
    }
    let ends = join_all(flying.iter().map(|change| perform(change, run))).await;
    for (change, (again, end)) in flying.into_iter().zip(ends) {
        for _ in 0..again {
            events(Event::Again(&change.key));
        }
        let outcome = match end {
            Ok(()) => Outcome::Done,
            Err(refusal) => Outcome::Failed(refusal),
        };
        events(Event::Finished(change, &outcome));
        report.steps.push((change.key.clone(), change.op.verb(), outcome));
    }
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

/// Writes one change. When the object moved or the answer was lost, reads again: nothing left to do is done; a change
/// that is still the same is tried again after a refusal; another one is stale. What may have been written is never
/// sent a second time. With how often it was tried again.
async fn perform(change: &Change, run: &Run<'_>) -> (usize, Result<(), Refusal>) {
    let mut current = change.clone();
    for attempt in 1.. {
        let again = attempt - 1;
        let refusal = match run.provider.perform(&current).await {
            Ok(_) => return (again, Ok(())),
            Err(refusal) => refusal,
        };
        let refused = matches!(refusal.why, Why::Changed | Why::Gone);
        let doubtful = matches!(refusal.why, Why::AnswerLost | Why::Swallowed);
        if !(refused || doubtful) || attempt == TRIES {
            return (again, Err(refusal));
        }
        let now = match run.provider.read(run.scope).await {
            Ok(state) => (run.recompute)(&state, &change.key),
            Err(error) => Err(error.message),
        };
        match now {
            Ok(None) => return (again, Ok(())),
            Ok(Some(_)) if doubtful => {
                let message = format!(
                    "{}; read afterwards, it was not made, and it was not sent again",
                    refusal.message
                );
                return (again, Err(Refusal { message, ..refusal }));
            }
            Ok(Some(same)) if same.same_as(change) => current = same,
            Ok(Some(_)) => {
                let message = format!(
                    "stale: the object changed, and the step would be another one now ({})",
                    refusal.message
                );
                let why = Why::Changed;
                return (again, Err(Refusal { why, message }));
            }
            Err(why) => {
                let message = format!("{}; whether it was made is not known: {why}", refusal.message);
                return (again, Err(Refusal { message, ..refusal }));
            }
        }
    }
    unreachable!("the loop returns on its last try")
}
