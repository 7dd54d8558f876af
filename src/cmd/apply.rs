//! `hostguard apply`: shows, asks, re-reads, writes in order, waits, verifies.

use std::sync::Arc;

use super::plan::{Shown, show, show_warnings};
use super::{Console, Failure, carry, saved, worst};
use crate::apply::{Outcome, Report};
use crate::changes::ChangeSet;
use crate::cli::{Apply, Doing, Format};
use crate::error::{Error, Kind, codes};
use crate::render;
use crate::resource::{Key, Kind as ObjectKind};
use crate::state::State;

/// Deletions that need no number.
const FREE_DELETIONS: usize = 5;

pub(super) async fn run(args: &Apply, console: &mut dyn Console) -> Result<u8, Failure> {
    let shown = match saved::open(&args.proposal)? {
        Some(saved) => saved::shown(saved, args, console).await?,
        None => show(&args.proposal, ("apply", None), console).await?,
    };
    if let Some(id) = &args.expect_id {
        is_approved(&shown, id)?;
    }
    check_deletions(&shown, args.allow_delete)?;
    carry_out(shown, "apply", &args.doing, args.proposal.output.format, console).await
}

/// Refuses another change set than the one with this id.
fn is_approved(shown: &Shown, id: &str) -> Result<(), Failure> {
    let now = shown.prepared.difference.set.digest();
    if now == id {
        return Ok(());
    }
    let error = Error::new(
        Kind::Stale,
        codes::STALE,
        "this is not the change set that was approved; nothing was written",
    );
    let error = error.cause(format!("approved: {id}")).cause(format!("now: {now}"));
    Err(Failure::from(error.fix(
        "see what would be done now with `hostguard plan`, and approve that",
    )))
}

/// Many deletions need their number said.
pub(super) fn check_deletions(shown: &Shown, allowed: Option<usize>) -> Result<(), Failure> {
    let deletions = shown.prepared.difference.set.counts().delete;
    if deletions <= FREE_DELETIONS || allowed == Some(deletions) {
        return Ok(());
    }
    let error = Error::failed(codes::DELETES_MANY, format!("{deletions} objects would be deleted"));
    Err(Failure::from(
        error.fix(format!("if that is meant, say --allow-delete {deletions}")),
    ))
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
        finish_document(&shown, verb, (None, &[]), format, console);
        return Err(Failure::Said(kind));
    }
    if nothing {
        finish_document(&shown, verb, (None, &[]), format, console);
        return Ok(0);
    }
    if let Some(why) = console.broken() {
        let error = Error::failed(
            codes::FILE_UNWRITABLE,
            "the answer could not be shown, so nothing was written",
        );
        return Err(Failure::from(
            error
                .cause(why)
                .fix("send the answer where it can be written, and run it again"),
        ));
    }
    datastore_ready(&shown.state)?;
    if !doing.yes {
        ask(verb, &shown.prepared.difference.set, console)?;
    }
    let report = carry::out(&mut shown, verb, doing, console).await?;
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
    let error = Error::failed(codes::DECLINED, "the answer was not yes; nothing was written");
    Err(Failure::from(
        error.fix("run it again and answer `yes`, if it is what is wanted"),
    ))
}

async fn finish(
    shown: &Shown,
    verb: &'static str,
    report: &Report,
    format: Format,
    console: &mut dyn Console,
) -> Result<u8, Failure> {
    // a document says how it ended, which is not known yet
    if !matches!(format, Format::Json | Format::Markdown) {
        console.answer(&render::report(report));
    }
    let mut errors = outcome_errors(verb, report);
    if errors.is_empty() || report.seen.is_some() {
        match verify(shown, report).await {
            Ok(more) => errors.extend(more),
            Err(Failure::World(_, why)) => errors.push(does_not_fit(&why)),
            Err(failure) => return Err(failure),
        }
    }
    finish_document(shown, verb, (Some(report), &errors), format, console);
    if errors.is_empty() {
        Ok(0)
    } else {
        Err(Failure::Answered(errors))
    }
}

/// The one document of a run, where the form has one: what was planned, and what became of it.
pub(super) fn finish_document(
    shown: &Shown,
    verb: &'static str,
    (report, ended): (Option<&Report>, &[Error]),
    format: Format,
    console: &mut dyn Console,
) {
    let mut answer = shown.prepared.answer(verb, &shown.intent, &shown.state);
    (answer.report, answer.ended) = (report, ended);
    match format {
        Format::Json => console.answer(&render::json(&answer)),
        Format::Markdown => console.answer(&render::markdown::plan(&answer)),
        Format::Text | Format::Sarif | Format::Junit | Format::Html => {}
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
    if report.lost {
        let kind = if report.done() > 0 { Kind::Partial } else { Kind::Locked };
        let message = format!(
            "the lock was lost after {} of {} steps",
            report.done(),
            report.steps.len()
        );
        let error = Error::new(kind, codes::LOCK_LOST, message);
        errors.push(
            error
                .cause("it could not be renewed in time, or somebody took it over")
                .fix(format!(
                    "see who applies this plan now (`hostguard history`), then {verb} again"
                )),
        );
    }
    if !report.moved.is_empty() {
        errors.push(moved(verb, report));
    }
    if report.failed() > 0 {
        let kind = match report.done() {
            0 => Kind::Failed,
            _ if report.took_all_back() => Kind::Failed,
            _ => Kind::Partial,
        };
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
        error.causes.extend(taken_back(report));
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

/// Somebody else was at it, too.
fn moved(verb: &str, report: &Report) -> Error {
    let steps = report.steps.len();
    let (kind, message) = match report.done() {
        done if done == steps => (
            Kind::Unverified,
            "every step was made, and somebody changed meanwhile where they lead".to_string(),
        ),
        0 => (
            Kind::Stale,
            format!("somebody changed what the rest stands on after 0 of {steps} steps"),
        ),
        done => (
            Kind::Partial,
            format!("somebody changed what the rest stands on after {done} of {steps} steps"),
        ),
    };
    let mut error = Error::new(kind, codes::MOVED, message);
    error.causes.extend(report.moved.iter().cloned());
    error.fix(match kind {
        Kind::Unverified => "run `hostguard plan` to see who can reach what now".to_string(),
        _ => format!("{verb} again to see and approve what would be done now"),
    })
}

/// The steps were made, and the plan does not fit any more what is there after them.
fn does_not_fit(why: &[Error]) -> Error {
    let mut error = Error::new(
        Kind::Unverified,
        codes::UNVERIFIED,
        "every step was made, and the plan does not fit what is there now",
    );
    error.causes.extend(why.iter().map(|why| why.message.clone()));
    error.fix("run `hostguard plan` to see why")
}

/// What became of taking back what was done.
fn taken_back(report: &Report) -> Vec<String> {
    let done = report
        .taken_back
        .iter()
        .filter(|(_, _, outcome)| *outcome == Outcome::Done);
    let mut lines = Vec::new();
    if !report.taken_back.is_empty() {
        lines.push(format!(
            "{} of {} steps that were done were taken back",
            done.count(),
            report.done()
        ));
    }
    if let Some(why) = &report.not_taken_back {
        lines.push(format!("what was done stays: {why}"));
    }
    lines
}

/// In what was there after the last step, nothing may be left to do.
async fn verify(shown: &Shown, report: &Report) -> Result<Vec<Error>, Failure> {
    let unverified = |what: &str| Error::new(Kind::Unverified, codes::UNVERIFIED, what);
    let state = match report.seen.clone() {
        Some(state) => Ok(state),
        None => shown.provider.read(&shown.scope).await.map(Arc::new),
    };
    let state = match state {
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
