//! One step after the other, in the approved order.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};

use super::{Event, Journal, Outcome, Recompute, Refused, Report, Wait, wait_until_settled};
use crate::changes::Change;
use crate::provider::{Provider, Refusal, Why};
use crate::resource::{Key, Kind};
use crate::sequence::Approved;
use crate::state::Scope;

/// How often a step is tried when its object keeps moving.
const TRIES: usize = 5;

/// What a run needs beside the sequence.
pub struct Run<'a> {
    pub provider: &'a dyn Provider,
    pub scope: &'a Scope,
    pub recompute: &'a Recompute<'a>,
    pub wait: Wait,
    /// Set by the first Ctrl-C: the step in flight is finished, the rest is skipped.
    pub stop: &'a AtomicBool,
}

/// Checks permissions, writes the record, makes the steps, waits for controllers, and brings the record up to date.
pub async fn run(
    approved: &Approved,
    mut journal: Journal,
    run: Run<'_>,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Report, Refused> {
    let record = journal.first_change();
    let all: Vec<&Change> = approved.steps().iter().chain(&record).collect();
    let denied = run.provider.may(&all).await.map_err(Refused::Failed)?;
    if !denied.is_empty() {
        return Err(Refused::Denied(denied));
    }
    let mut report = Report::default();
    let mut steps = approved.steps().iter().peekable();
    // the inventory's namespace has to be there before the record is
    if let Some(first) = steps.next_if(|step| step.key.kind == Kind::Namespace) {
        step(first, &run, &mut report, events).await;
    }
    if report.failed() == 0 {
        journal.intend(run.provider).await.map_err(Refused::Record)?;
    }
    for change in steps {
        if report.failed() > 0 && report.done() == 0 && report.steps[0].0.kind == Kind::Namespace {
            skip(change, "the record's namespace could not be made", &mut report, events);
            continue;
        }
        step(change, &run, &mut report, events).await;
        if change.key.kind == Kind::KubeControllersConfiguration && last_is_done(&report) && !stopped(&run) {
            report.unsettled = settle(&run, events).await?;
        }
    }
    report.interrupted = stopped(&run);
    let labelled = report
        .steps
        .iter()
        .any(|(key, _, outcome)| key.kind == Kind::Node && *outcome == Outcome::Done);
    if (labelled || !report.unsettled.is_empty()) && !report.interrupted {
        report.unsettled = settle(&run, events).await?;
    }
    let not_done: BTreeSet<Key> = report
        .steps
        .iter()
        .filter(|(_, _, outcome)| *outcome != Outcome::Done)
        .map(|(key, _, _)| key.clone())
        .collect();
    report.record_behind = journal.settle(run.provider, &not_done).await.err();
    Ok(report)
}

async fn settle(run: &Run<'_>, events: &mut (dyn FnMut(Event) + Send)) -> Result<Vec<String>, Refused> {
    match wait_until_settled(run.provider, run.scope, run.wait, events).await {
        Ok(left) => Ok(left),
        // the steps were made; that the cluster cannot be read any more is what was seen last
        Err(error) => Ok(vec![error.message]),
    }
}

fn stopped(run: &Run) -> bool {
    run.stop.load(Ordering::SeqCst)
}

fn last_is_done(report: &Report) -> bool {
    report
        .steps
        .last()
        .is_some_and(|(_, _, outcome)| *outcome == Outcome::Done)
}

fn skip(change: &Change, why: &str, report: &mut Report, events: &mut (dyn FnMut(Event) + Send)) {
    let outcome = Outcome::Skipped(why.to_string());
    events(Event::Finished(change, &outcome));
    report.steps.push((change.key.clone(), change.op.verb(), outcome));
}

async fn step(change: &Change, run: &Run<'_>, report: &mut Report, events: &mut (dyn FnMut(Event) + Send)) {
    tokio::task::yield_now().await; // a provider that never waits must not keep signals waiting
    if stopped(run) {
        return skip(change, "interrupted", report, events);
    }
    let unmet = change.needs.iter().find(|need| {
        report
            .steps
            .iter()
            .any(|(key, _, outcome)| *key == need.key && *outcome != Outcome::Done)
    });
    if let Some(need) = unmet {
        return skip(change, &format!("it needs {}", need.key), report, events);
    }
    let outcome = match perform(change, run, events).await {
        Ok(()) => Outcome::Done,
        Err(refusal) => Outcome::Failed(refusal),
    };
    events(Event::Finished(change, &outcome));
    report.steps.push((change.key.clone(), change.op.verb(), outcome));
}

/// Writes one change. When the object moved or the answer was lost, reads again: nothing left to do is done; a change
/// that is still the same is tried again after a refusal; another one is stale. What may have been written is never
/// sent a second time.
async fn perform(change: &Change, run: &Run<'_>, events: &mut (dyn FnMut(Event) + Send)) -> Result<(), Refusal> {
    let mut current = change.clone();
    for attempt in 1.. {
        let refusal = match run.provider.perform(&current).await {
            Ok(_) => return Ok(()),
            Err(refusal) => refusal,
        };
        let refused = matches!(refusal.why, Why::Changed | Why::Gone);
        let doubtful = matches!(refusal.why, Why::AnswerLost | Why::Swallowed);
        if !(refused || doubtful) || attempt == TRIES {
            return Err(refusal);
        }
        let now = match run.provider.read(run.scope).await {
            Ok(state) => (run.recompute)(&state, &change.key),
            Err(error) => Err(error.message),
        };
        match now {
            Ok(None) => return Ok(()),
            Ok(Some(_)) if doubtful => {
                let message = format!(
                    "{}; read afterwards, it was not made, and it was not sent again",
                    refusal.message
                );
                return Err(Refusal { message, ..refusal });
            }
            Ok(Some(same)) if same.same_as(change) => current = same,
            Ok(Some(_)) => {
                let message = format!(
                    "stale: the object changed, and the step would be another one now ({})",
                    refusal.message
                );
                return Err(Refusal {
                    why: Why::Changed,
                    message,
                });
            }
            Err(why) => {
                let message = format!("{}; whether it was made is not known: {why}", refusal.message);
                return Err(Refusal { message, ..refusal });
            }
        }
        events(Event::Again(&change.key));
    }
    unreachable!("the loop returns on its last try")
}
