//! From a yes to a report: the lock, a last look, the run.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use tokio::signal::unix::{SignalKind, signal};

use super::plan::Shown;
use super::prepare::Prepared;
use super::{Console, Failure, actor, rights, stale};
use crate::apply::{self as engine, Event, Held, Journal, Lock, Made, Place, Refused, Report, Run, StepReport, Wait};
use crate::changes::{Change, ChangeSet, FieldChange};
use crate::cli::{Doing, OnFailure};
use crate::diff;
use crate::error::{Error, Kind, codes};
use crate::history::{By, FORMAT, Intent, KEPT, Past, Progress, Step as PastStep};
use crate::inventory::PLAN_LABEL;
use crate::render;
use crate::resource::{Key, Kind as ObjectKind};
use crate::sequence::{Sequence, Step, Terms};
use crate::standing::{self, Approval};
use crate::state::{Moved, Scope, State};

/// Takes the lock, looks whether everything still is as shown, and makes the steps.
pub(super) async fn out(
    shown: &mut Shown,
    verb: &'static str,
    doing: &Doing,
    console: &mut dyn Console,
) -> Result<Report, Failure> {
    let stop = Arc::new(AtomicBool::new(false));
    // the handlers are there before the first write is made
    let handled = |kind| {
        signal(kind).map_err(|e| {
            let error = Error::failed(codes::INTERRUPTED, "signals cannot be handled").cause(e.to_string());
            error.fix("run it where a process may handle signals: a run that cannot be stopped is not begun")
        })
    };
    let signals = [handled(SignalKind::interrupt())?, handled(SignalKind::terminate())?];
    let listeners = signals.map(|signals| tokio::spawn(listen(signals, stop.clone())));
    let ended = under_lock(shown, verb, doing, &stop, console).await;
    listeners.iter().for_each(tokio::task::JoinHandle::abort);
    ended
}

/// The first signal finishes what is in flight, the second ends at once.
async fn listen(mut signals: tokio::signal::unix::Signal, stop: Arc<AtomicBool>) {
    while signals.recv().await.is_some() {
        if stop.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(Kind::Interrupted.exit_code()));
        }
    }
}

async fn under_lock(
    shown: &mut Shown,
    verb: &'static str,
    doing: &Doing,
    stop: &AtomicBool,
    console: &mut dyn Console,
) -> Result<Report, Failure> {
    let by = actor::by();
    let digest = shown.prepared.difference.set.digest();
    let plan = shown.prepared.plan.name().to_string();
    let namespace = shown.options.inventory_namespace.clone();
    let place = Place {
        namespace: &namespace,
        plan: &plan,
        patience: Duration::from_secs(doing.lock_timeout),
        stop,
    };
    let holder = actor::holder(&by, verb, &digest);
    let sequence = found(shown);
    let approved = sequence.approve(&digest).ok_or_else(order_moved)?;
    if !doing.yes {
        still_as_shown(shown).await?;
    }
    let run = Named {
        verb,
        by: &by,
        id: &digest,
    };
    let sketch = journal(shown, run, (0, None), Vec::new());
    let begun = {
        let mut tell = |event: Event| story(&event, console);
        engine::begin(shown.provider.as_ref(), &approved, &sketch, &place, &holder, &mut tell)
            .await
            .map_err(refused)?
    };
    let (lock, made) = (begun.lock, begun.made);
    let gone = sketch.ends_empty();
    let provider = shown.provider.clone();
    let work = async {
        let (old, approved_as) = look_again(shown, made.as_ref().map(|(key, _, _)| key), console).await?;
        shown.prepared.difference.record.under(lock.fence());
        let mut tell = |event: Event| story(&event, console);
        let report = make(shown, run, &lock, (made, old), doing, stop, &mut tell).await;
        // answers are about what was approved
        shown.prepared = approved_as;
        report
    };
    let ended = lock.during(provider.as_ref(), work).await;
    let whole = ended
        .as_ref()
        .is_ok_and(|report| report.failed() + report.skipped() == 0);
    lock.release(provider.as_ref(), gone && whole).await;
    ended
}

/// Makes the steps of what was just read.
async fn make(
    shown: &Shown,
    run: Named<'_>,
    lock: &Lock,
    (made, old): (Option<StepReport>, Vec<(Key, serde_json::Value)>),
    doing: &Doing,
    stop: &AtomicBool,
    tell: &mut (dyn FnMut(Event) + Send),
) -> Result<Report, Failure> {
    let sequence = found(shown);
    let digest = sequence.digest().to_string();
    let approved = sequence.approve(&digest).ok_or_else(order_moved)?;
    let namespace = made.as_ref().map(|(key, _, _)| key);
    let journal = journal(shown, run, (lock.fence(), namespace), old);
    let terms = terms(shown);
    let wanted = |state: &State| wanted(shown, state);
    let recompute = |state: &State, key: &Key| recompute(shown, state, key);
    let rest =
        |now: &State, left: &[Change]| Sequence::rest(&shown.state, &shown.prepared.difference.set, &terms, now, left);
    let still =
        |now: &State, made: &[Made], left: &[&Step]| standing::still(approval(shown, &terms), &wanted, now, made, left);
    let back = |now: &State, made: &[Made]| standing::take_back(&terms, now, made);
    let run = Run {
        provider: shown.provider.as_ref(),
        scope: &shown.scope,
        lock,
        made,
        recompute: &recompute,
        rest: &rest,
        still: &still,
        back: (doing.on_failure == OnFailure::Revert).then_some(&back),
        wait: Wait {
            deadline: Duration::from_secs(doing.wait),
            interval: Duration::from_millis(250),
            // no kernel follows a file
            dataplane: Duration::from_secs(if shown.state.facts.snapshot.is_some() {
                0
            } else {
                doing.settle
            }),
        },
        stop,
        now: Timestamp::now,
    };
    engine::run(&approved, journal, run, tell).await.map_err(refused)
}

fn story(event: &Event, console: &mut dyn Console) {
    if let Some(line) = render::event(event) {
        console.story(&line);
    }
}

fn found(shown: &Shown) -> Sequence {
    let sequence = shown.prepared.sequence.clone();
    sequence.expect("what has no order is not approved")
}

fn order_moved() -> Failure {
    let error = Error::new(
        Kind::Stale,
        codes::STALE,
        "the order of the steps is not the one that was shown",
    );
    Failure::from(error.fix("run it again to see and approve what would be done now"))
}

fn terms(shown: &Shown) -> Terms<'_> {
    Terms {
        accepted: &shown.accepted,
        promised: Some(&shown.prepared.resolved),
    }
}

/// The record's namespace is made before the lock can be taken. Where it has to be, and somebody took time to answer, a
/// look comes first: what is stale then leaves nothing written at all.
async fn still_as_shown(shown: &Shown) -> Result<(), Failure> {
    let namespace = Key::cluster(ObjectKind::Namespace, shown.options.inventory_namespace.clone());
    if !shown
        .prepared
        .difference
        .set
        .steps
        .iter()
        .any(|step| step.key == namespace)
    {
        return Ok(());
    }
    let (_, prepared) = now(shown, &shown.scope).await?;
    stale::compare(&shown.prepared, &prepared, None)
}

/// What is there now, and what the same plan makes of it.
async fn now(shown: &Shown, scope: &Scope) -> Result<(State, Prepared), Failure> {
    let mut state = shown.provider.read(scope).await?;
    state.looked_up = shown.state.looked_up.clone();
    let mut prepared = shown.intent.prepare(&state, &shown.options)?;
    prepared.look(&shown.intent, &state, &shown.accepted);
    Ok((state, prepared))
}

/// A line on what moved without effect, where anything did.
pub(super) fn mention(moved: &[Moved], console: &mut dyn Console) {
    if !moved.is_empty() {
        story(&Event::Moved(&standing::lines(moved)), console);
    }
}

/// Reads everything in one batch, compares it with what was shown, and puts it in its place. With the runs that are kept
/// already, and what was shown.
async fn look_again(
    shown: &mut Shown,
    made: Option<&Key>,
    console: &mut dyn Console,
) -> Result<(Vec<(Key, serde_json::Value)>, Prepared), Failure> {
    let mut scope = shown.scope.clone();
    scope.kinds.insert(ObjectKind::Run);
    let (state, prepared) = now(shown, &scope).await?;
    if let Err(why) = stale::compare(&shown.prepared, &prepared, made)
        && !stale::caught_up(shown, &prepared, made)?
    {
        return Err(why);
    }
    let moved: Vec<_> = shown
        .state
        .moved(&state)
        .into_iter()
        .filter(|moved| moved.about().1 != made)
        .collect();
    mention(&moved, console);
    let runs = runs_of(&state, shown.prepared.plan.name());
    shown.state = state;
    Ok((runs, std::mem::replace(&mut shown.prepared, prepared)))
}

/// The runs that are kept of a plan, oldest first.
pub(super) fn runs_of(state: &State, plan: &str) -> Vec<(Key, serde_json::Value)> {
    let label = |run: &serde_json::Value| run.pointer("/metadata/labels").map(|all| all[PLAN_LABEL].clone());
    let runs = state.list(ObjectKind::Run).into_iter().flatten();
    let own = runs.filter(|(_, run)| label(run).is_some_and(|label| label == plan));
    let mut runs: Vec<(Key, serde_json::Value)> = own.map(|(key, run)| (key.clone(), run.into_owned())).collect();
    runs.sort_by_key(|(key, _)| number(key));
    runs
}

/// The number at the end of a run's name.
fn number(key: &Key) -> u64 {
    key.name
        .rsplit('-')
        .next()
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}

/// What a run is called in history.
#[derive(Clone, Copy)]
struct Named<'a> {
    verb: &'a str,
    by: &'a By,
    /// Of the change set as it was approved.
    id: &'a str,
}

/// The books of this run: the record, and beside it, where there are steps, the account of the run.
fn journal(
    shown: &Shown,
    run: Named,
    (fence, namespace_made): (u64, Option<&Key>),
    mut runs: Vec<(Key, serde_json::Value)>,
) -> Journal {
    let record = &shown.prepared.difference.record;
    let settled = record.clone();
    let journal = Journal::new(
        record.key.clone(),
        record.found.clone(),
        record.intended.clone(),
        record.must_be_written_first(),
        move |not_done, taken_back| settled.after_without(not_done, taken_back),
    );
    let set = &shown.prepared.difference.set;
    if set.steps.is_empty() {
        return journal;
    }
    let last = runs.last().map_or(0, |(key, _)| number(key));
    let more = (runs.len() + 1).saturating_sub(KEPT);
    let steps = set.steps.iter().map(|step| {
        let wrote = |field: &FieldChange| diff::digest(step.key.kind, &field.path, field.after.as_ref());
        PastStep::of(step, record.entry_found(&step.key), &wrote)
    });
    let intent = Intent {
        format: FORMAT,
        plan: shown.prepared.plan.name().to_string(),
        number: last + 1,
        verb: run.verb.to_string(),
        id: run.id.to_string(),
        by: run.by.clone(),
        started: format!("{:.0}", Timestamp::now()),
        fence: fence.max(record.intended.fence),
        reverts: shown.intent.reverts(),
        exposure: render::exposure::lines(&shown.prepared.exposure, &shown.prepared.names),
        namespace_made: namespace_made.map(Key::to_string),
        steps: steps.collect(),
        without_values: false,
    };
    let progress = Progress::new(intent.steps.len());
    runs.truncate(more);
    journal.of_run(Past { intent, progress }, runs)
}

fn approval<'a>(shown: &'a Shown, terms: &'a Terms<'a>) -> Approval<'a> {
    Approval {
        state: &shown.state,
        set: &shown.prepared.difference.set,
        terms,
    }
}

/// The steps that the plan wants of what is there now.
fn wanted(shown: &Shown, state: &State) -> Result<ChangeSet, String> {
    match shown.intent.prepare(state, &shown.options) {
        Ok(now) => match now.difference.conflicts.into_iter().next() {
            Some(conflict) => Err(conflict.message),
            None => Ok(now.difference.set),
        },
        Err(Failure::World(_, errors)) => Err(errors.first().map(|e| e.message.clone()).unwrap_or_default()),
        Err(Failure::Plan(..) | Failure::Answered(_) | Failure::Said(_)) => {
            Err("the plan is not valid for this state".into())
        }
    }
}

/// What a step would be, computed again from what is there now.
fn recompute(shown: &Shown, state: &State, key: &Key) -> Result<Option<Change>, String> {
    let set = wanted(shown, state)?;
    match set.unreadable.iter().find(|(unreadable, _)| unreadable == key) {
        // not known is not done
        Some((_, why)) => Err(format!("{key} could not be read: {why}")),
        None => Ok(set.steps.into_iter().find(|step| step.key == *key)),
    }
}

fn refused(refused: Refused) -> Failure {
    Failure::from(match refused {
        Refused::Denied(denied) => {
            // several objects may want the same right
            let names: BTreeSet<String> = denied.iter().map(rights::name).collect();
            let message = format!("{}; nothing was written", rights::missing(names.len()));
            let mut error = Error::failed(codes::NOT_ALLOWED, message);
            error.causes.extend(names);
            error.fix(format!("add to the role of this identity: {}", rights::rules(&denied)))
        }
        Refused::Record(refusal) => Error::failed(
            codes::RECORD_FAILED,
            "the record could not be written, so no change was made",
        )
        .cause(refusal.message)
        .fix("see why the ConfigMaps in the inventory namespace cannot be written, then try again"),
        Refused::Namespace(refusal) => Error::failed(
            codes::RECORD_FAILED,
            "the record's namespace could not be made, so no change was made",
        )
        .cause(refusal.message)
        .fix("see why it cannot be made, then try again"),
        Refused::Locked(held) => locked(&held),
        Refused::Lock(refusal) => Error::failed(
            codes::LOCK_FAILED,
            "the lock could not be asked for; no change was made",
        )
        .cause(refusal.message)
        .fix("see why the Lease in the inventory namespace cannot be read or written, then try again"),
        Refused::Lost => Error::new(
            Kind::Locked,
            codes::LOCK_LOST,
            "the lock was lost before the first step",
        )
        .fix("try again"),
        Refused::Interrupted => {
            Error::new(Kind::Interrupted, codes::INTERRUPTED, "interrupted; no change was made").fix("run it again")
        }
        Refused::Failed(error) => error,
    })
}

fn locked(held: &Held) -> Error {
    let ends = match held.seconds_left {
        Some(seconds) => format!("it ends in {seconds} s unless it is renewed"),
        None => "it ends with its process".to_string(),
    };
    Error::new(
        Kind::Locked,
        codes::LOCKED,
        "somebody else applies this plan just now; nothing was written",
    )
    .cause(format!(
        "{} on {} since {}, {}",
        held.who, held.host, held.since, held.verb
    ))
    .cause(format!("change set {}", held.changes))
    .cause(ends)
    .fix("wait for it to end, or let this one wait with --lock-timeout SECONDS")
}
