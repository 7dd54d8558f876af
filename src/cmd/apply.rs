//! `hostguard apply`: shows, asks, re-reads, writes in order, waits, verifies.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::plan::{Shown, show, show_warnings};
use super::{Console, Failure, rights, worst};
use crate::apply::{self as engine, Journal, Outcome, Refused, Report, Run, Wait};
use crate::changes::{Change, ChangeSet};
use crate::cli::{Apply, Doing, Format};
use crate::error::{Error, Kind, codes};
use crate::render;
use crate::resource::{Key, Kind as ObjectKind};
use crate::sequence::{Approved, Sequence, Terms};
use crate::state::State;

/// Deletions that need no number.
const FREE_DELETIONS: usize = 5;

pub(super) async fn run(args: &Apply, console: &mut dyn Console) -> Result<u8, Failure> {
    let shown = show(&args.plan, "apply", console).await?;
    let deletions = shown.prepared.difference.set.counts().delete;
    if deletions > FREE_DELETIONS && args.allow_delete != Some(deletions) {
        let error = Error::failed(codes::DELETES_MANY, format!("{deletions} objects would be deleted"));
        return Err(Failure::from(
            error.fix(format!("if that is meant, say --allow-delete {deletions}")),
        ));
    }
    carry_out(shown, "apply", &args.doing, args.plan.output.format, console).await
}

/// Everything after the answer was shown; destroy comes this way too.
pub(super) async fn carry_out(
    mut shown: Shown,
    verb: &'static str,
    doing: &Doing,
    format: Format,
    console: &mut dyn Console,
) -> Result<u8, Failure> {
    let nothing = shown.prepared.difference.set.steps.is_empty() && !shown.prepared.difference.record.changes();
    if let Some(kind) = worst(shown.blocked.iter().copied()) {
        finish_json(&shown, verb, None, format, console);
        return Err(Failure::Said(kind));
    }
    if nothing {
        finish_json(&shown, verb, None, format, console);
        return Ok(0);
    }
    if let Some(why) = console.broken() {
        let error = Error::failed(
            codes::FILE_UNWRITABLE,
            "the answer could not be shown, so nothing was written",
        );
        return Err(Failure::from(error.cause(why)));
    }
    datastore_ready(&shown.state)?;
    let digest = shown.prepared.difference.set.digest();
    if !doing.yes {
        ask(verb, &shown.prepared.difference.set, console)?;
        let state = shown.provider.read(&shown.scope).await?;
        let mut prepared = shown.intent.prepare(&state, &shown.options)?;
        prepared.look(&shown.intent, &state, &shown.accepted);
        if prepared.difference.set.digest() != digest || !prepared.difference.conflicts.is_empty() {
            return Err(Failure::from(stale(
                &shown.prepared.difference.set,
                &prepared.difference.set,
            )));
        }
        if prepared.reach() != shown.prepared.reach() {
            let error = stale(&shown.prepared.difference.set, &prepared.difference.set);
            return Err(Failure::from(
                error.cause("the steps are the same, and who can reach what is not"),
            ));
        }
        if prepared.refused != shown.prepared.refused {
            let error = stale(&shown.prepared.difference.set, &prepared.difference.set);
            return Err(Failure::from(
                error.cause("the steps are the same, and another part of the plan is wrong now"),
            ));
        }
        shown.prepared = prepared;
        shown.state = state;
    }
    let sequence = shown
        .prepared
        .sequence
        .clone()
        .expect("what has no order ended the run above");
    let approved = sequence.approve(&digest).expect("the digest was compared above");
    let report = make(&shown, &approved, doing, console).await?;
    show_warnings(shown.provider.as_ref(), &mut shown.warned, console);
    finish(&shown, verb, &report, format, console).await
}

/// Calico loses what is written during a migration of its datastore.
fn datastore_ready(state: &State) -> Result<(), Failure> {
    let key = Key::cluster(ObjectKind::ClusterInformation, "default");
    let ready = state
        .present(&key)
        .and_then(|object| object.pointer("/spec/datastoreReady")?.as_bool());
    if ready == Some(false) {
        let error = Error::failed(
            codes::NOT_READY,
            format!("{key}: datastoreReady is false, Calico's datastore is locked"),
        );
        return Err(Failure::from(
            error.fix("wait until the migration is over, then try again"),
        ));
    }
    Ok(())
}

fn ask(verb: &str, set: &ChangeSet, console: &mut dyn Console) -> Result<(), Failure> {
    if !console.can_ask() {
        let error = Error::new(
            Kind::Usage,
            codes::NEEDS_YES,
            "standard input is not a terminal, so nobody can be asked",
        );
        return Err(Failure::from(error.fix(format!("add --yes to {verb} without asking"))));
    }
    let steps = set.steps.len();
    let question = format!(
        "Do {} on this cluster? Only `yes` is a yes: ",
        if steps == 1 {
            "this 1 step".into()
        } else {
            format!("these {steps} steps")
        }
    );
    if console.ask(&question).trim() == "yes" {
        return Ok(());
    }
    Err(Failure::from(Error::failed(
        codes::DECLINED,
        "the answer was not yes; nothing was written",
    )))
}

/// What is new, other or gone since it was shown.
fn stale(shown: &ChangeSet, now: &ChangeSet) -> Error {
    let mut error = Error::new(
        Kind::Stale,
        codes::STALE,
        "the cluster moved after the changes were shown; nothing was written",
    );
    let find = |set: &ChangeSet, key: &Key| set.steps.iter().find(|step| step.key == *key).cloned();
    for step in &now.steps {
        match find(shown, &step.key) {
            None => error = error.cause(format!("new: {} {}", step.op.verb(), step.key)),
            Some(old) if !old.same_as(step) => {
                error = error.cause(format!("now another change: {} {}", step.op.verb(), step.key))
            }
            Some(_) => {}
        }
    }
    for step in shown.steps.iter().filter(|step| find(now, &step.key).is_none()) {
        error = error.cause(format!("no longer needed: {} {}", step.op.verb(), step.key));
    }
    error.fix("run it again to see and approve what would be done now")
}

async fn make(shown: &Shown, approved: &Approved, doing: &Doing, console: &mut dyn Console) -> Result<Report, Failure> {
    let recompute = |state: &State, key: &Key| -> Result<Option<Change>, String> {
        match shown.intent.prepare(state, &shown.options) {
            Ok(now) => {
                let set = now.difference.set;
                match set.unreadable.iter().find(|(unreadable, _)| unreadable == key) {
                    // not known is not done
                    Some((_, why)) => Err(format!("{key} could not be read: {why}")),
                    None => Ok(set.steps.into_iter().find(|step| step.key == *key)),
                }
            }
            Err(Failure::World(_, errors)) => Err(errors.first().map(|e| e.message.clone()).unwrap_or_default()),
            Err(Failure::Plan(..) | Failure::Answered(_) | Failure::Said(_)) => {
                Err("the plan is not valid for this state".into())
            }
        }
    };
    let rest = |now: &State, left: &[Change]| {
        let terms = Terms {
            accepted: &shown.accepted,
            promised: Some(&shown.prepared.resolved),
        };
        Sequence::rest(&shown.state, &shown.prepared.difference.set, &terms, now, left)
    };
    let record = shown.prepared.difference.record.clone();
    let settled = record.clone();
    let journal = Journal::new(
        record.key.clone(),
        record.found.clone(),
        record.intended.clone(),
        record.must_be_written_first(),
        move |not_done| settled.after_without(not_done),
    );
    let stop = Arc::new(AtomicBool::new(false));
    // the handler is there before the first write is made
    let signals = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt());
    let signals =
        signals.map_err(|e| Error::failed(codes::INTERRUPTED, "signals cannot be handled").cause(e.to_string()))?;
    let listener = tokio::spawn(listen(signals, stop.clone()));
    let run = Run {
        provider: shown.provider.as_ref(),
        scope: &shown.scope,
        recompute: &recompute,
        rest: &rest,
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
        stop: &stop,
    };
    let mut tell = |event: engine::Event| {
        if let Some(line) = render::event(&event) {
            console.story(&line);
        }
    };
    let report = engine::run(approved, journal, run, &mut tell).await;
    listener.abort();
    report.map_err(|refused| Failure::from(refused_error(refused)))
}

/// The first Ctrl-C finishes what is in flight, the second ends at once.
async fn listen(mut signals: tokio::signal::unix::Signal, stop: Arc<AtomicBool>) {
    while signals.recv().await.is_some() {
        if stop.swap(true, Ordering::SeqCst) {
            std::process::exit(i32::from(Kind::Interrupted.exit_code()));
        }
    }
}

fn refused_error(refused: Refused) -> Error {
    match refused {
        Refused::Denied(denied) => {
            let mut error = Error::failed(
                codes::NOT_ALLOWED,
                format!("{}; nothing was written", rights::missing(denied.len())),
            );
            for right in &denied {
                error = error.cause(rights::name(right));
            }
            error.fix(format!("add to the role of this identity: {}", rights::rules(&denied)))
        }
        Refused::Record(refusal) => Error::failed(
            codes::RECORD_FAILED,
            "the record could not be written, so no change was made",
        )
        .cause(refusal.message)
        .fix("see why the ConfigMap in the inventory namespace cannot be written, then try again"),
        Refused::Failed(error) => error,
    }
}

async fn finish(
    shown: &Shown,
    verb: &'static str,
    report: &Report,
    format: Format,
    console: &mut dyn Console,
) -> Result<u8, Failure> {
    match format {
        Format::Text | Format::Markdown | Format::Sarif | Format::Junit => console.answer(&render::report(report)),
        Format::Json => finish_json(shown, verb, Some(report), format, console),
    }
    let mut errors = outcome_errors(verb, report);
    if errors.is_empty() {
        errors.extend(verify(shown).await?);
    }
    if errors.is_empty() {
        Ok(0)
    } else {
        Err(Failure::Answered(errors))
    }
}

fn finish_json(shown: &Shown, verb: &'static str, report: Option<&Report>, format: Format, console: &mut dyn Console) {
    if format == Format::Json {
        let mut answer = shown.prepared.answer(verb, &shown.intent, &shown.state);
        answer.report = report;
        console.answer(&render::json(&answer));
    }
}

fn outcome_errors(verb: &str, report: &Report) -> Vec<Error> {
    let mut errors = Vec::new();
    if report.interrupted {
        let message = format!("interrupted after {} of {} steps", report.done(), report.steps.len());
        errors.push(
            Error::new(Kind::Interrupted, codes::INTERRUPTED, message).fix(format!("{verb} again to go on from here")),
        );
    }
    if report.failed() > 0 {
        let kind = if report.done() > 0 { Kind::Partial } else { Kind::Failed };
        let mut error = Error::new(
            kind,
            codes::STEP_FAILED,
            format!("{} of {} steps failed", report.failed(), report.steps.len()),
        );
        for (key, _, outcome) in &report.steps {
            if let Outcome::Failed(refusal) = outcome {
                error = error.cause(format!("{key}: {}", refusal.message));
            }
        }
        errors.push(error.fix(format!("mend the cause and {verb} again: it goes on from here")));
    }
    if !report.unsettled.is_empty() {
        let mut error = Error::new(
            Kind::Unverified,
            codes::UNVERIFIED,
            "Calico's controllers had not caught up when the deadline came",
        );
        for left in report.unsettled.iter().take(5) {
            error = error.cause(left.clone());
        }
        errors.push(error.fix("see whether kube-controllers runs (it waits for DaemonSet calico-node on first start), or wait longer with --wait"));
    }
    if let Some(refusal) = &report.record_behind {
        let error = Error::new(
            Kind::Partial,
            codes::RECORD_BEHIND,
            "the steps were made, the record is one form behind",
        );
        errors.push(
            error
                .cause(refusal.message.clone())
                .fix(format!("{verb} again to bring it up to date")),
        );
    }
    errors
}

/// Reads once more: nothing may be left to do.
async fn verify(shown: &Shown) -> Result<Vec<Error>, Failure> {
    let unverified = |what: &str| Error::new(Kind::Unverified, codes::UNVERIFIED, what);
    let state = match shown.provider.read(&shown.scope).await {
        Ok(state) => state,
        Err(error) => {
            let mut unread = unverified("every step was made, and the state could not be read afterwards");
            unread = unread.cause(error.message);
            unread.causes.extend(error.causes);
            return Ok(vec![unread.fix("run `hostguard plan` when it can be read again")]);
        }
    };
    let now = shown.intent.prepare(&state, &shown.options)?;
    let lost = now.lost(&shown.state, &state);
    let (left, unread) = (&now.difference.set.steps, now.unreadable(&state));
    if left.is_empty() && now.difference.conflicts.is_empty() && unread.is_empty() && lost.is_empty() {
        return Ok(Vec::new());
    }
    let mut error = unverified("every step was made, and the state read afterwards still differs");
    for step in left {
        error = error.cause(format!("still to {} {}", step.op.verb(), step.key));
    }
    for other in now.difference.conflicts.iter().chain(&unread).chain(&lost) {
        error = error.cause(other.message.clone());
    }
    Ok(vec![error.fix(
        "somebody changed it meanwhile: run `hostguard plan` to see what",
    )])
}
