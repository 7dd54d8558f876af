//! The stages in a line, without the command around them: what the laws are about.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hostguard::apply::{self, Holder, Journal, Made, Place, Refused, Report, Run, Wait};
use hostguard::changes::{Change, ChangeSet};
use hostguard::compile;
use hostguard::diff::{self, Difference, Options};
use hostguard::error::Error;
use hostguard::plan::Plan;
use hostguard::provider::Provider;
use hostguard::resource::Key;
use hostguard::sequence::{Acceptance, Sequence, Step, Terms};
use hostguard::standing::{self, Approval};
use hostguard::state::State;
use jiff::Timestamp;

pub fn options() -> Options {
    Options {
        inventory_namespace: "hostguard".into(),
        ..Options::default()
    }
}

pub fn difference(plan: &Plan, state: &State) -> Result<Difference, Vec<Error>> {
    Ok(diff::diff(&compile::compile(plan, state)?, state, &options()))
}

pub fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime")
}

fn terms(accepted: &[Acceptance]) -> Terms<'_> {
    Terms {
        accepted,
        promised: None,
    }
}

/// The order, with whatever has to be accepted for there to be one: these laws are not about what a plan does to packets.
pub fn accepting(state: &State, set: &ChangeSet) -> (Sequence, Vec<Acceptance>) {
    let mut accepted: Vec<Acceptance> = Vec::new();
    for _ in 0..100 {
        let stuck = match Sequence::find(state, set, &terms(&accepted)).expect("all is readable") {
            Ok(sequence) => return (sequence, accepted),
            Err(stuck) => stuck,
        };
        let known = accepted.len();
        for blocked in stuck.blocked {
            let packets = blocked.breaches.iter().map(|breach| Acceptance {
                step: blocked.step.to_string(),
                packet: breach.packet_text(),
            });
            accepted.extend(packets);
        }
        accepted.sort();
        accepted.dedup();
        assert!(accepted.len() > known, "what is refused can be accepted: {accepted:?}");
    }
    panic!("no order although everything was accepted: {accepted:?}");
}

fn holder() -> Holder {
    Holder {
        identity: "test".into(),
        who: "test".into(),
        host: "here".into(),
        verb: "apply",
        changes: "none".into(),
        now: Timestamp::now,
    }
}

/// Applies as the command does: read, compare, approve, run; with something that happens between the reading and the
/// first write.
pub fn apply_after(
    runtime: &tokio::runtime::Runtime,
    plan: &Plan,
    provider: &dyn Provider,
    between: impl FnOnce(),
) -> Result<Report, String> {
    let scope = compile::scope(plan, "hostguard");
    let state = runtime.block_on(provider.read(&scope)).map_err(|e| e.message)?;
    let now = difference(plan, &state).map_err(|errors| format!("{errors:?}"))?;
    if !now.conflicts.is_empty() {
        return Err(format!("{:?}", now.conflicts));
    }
    if now.set.steps.is_empty() && !now.record.changes() {
        return Ok(Report::default());
    }
    let (sequence, accepted) = accepting(&state, &now.set);
    let digest = sequence.digest().to_string();
    let approved = sequence.approve(&digest).expect("just made");
    let terms = terms(&accepted);
    // the namespace of the record is there before the lock is
    let namespaces = now.set.steps.iter().filter(|step| step.key.name == "hostguard");
    let begun_from = state.after_all(namespaces);
    let approval = Approval {
        state: &begun_from,
        set: &now.set,
        terms: &terms,
    };
    let wanted = |state: &State| match difference(plan, state) {
        Ok(now) => Ok(now.set),
        Err(errors) => Err(format!("{errors:?}")),
    };
    let rest = |seen: &State, left: &[Change]| Sequence::rest(&state, &now.set, &terms, seen, left);
    let recompute = |state: &State, key: &Key| -> Result<Option<Change>, String> {
        Ok(wanted(state)?.steps.into_iter().find(|step| step.key == *key))
    };
    let still = |now: &State, made: &[Made], left: &[&Step]| standing::still(approval, &wanted, now, made, left);
    let record = now.record.clone();
    let settled = record.clone();
    let journal = Journal::new(
        record.key.clone(),
        record.found.clone(),
        record.intended.clone(),
        record.must_be_written_first(),
        move |not_done, taken_back| settled.after_without(not_done, taken_back),
    );
    let stop = AtomicBool::new(false);
    let wait = Wait {
        deadline: Duration::ZERO,
        interval: Duration::from_millis(1),
        dataplane: Duration::ZERO,
    };
    between();
    let place = Place {
        namespace: "hostguard",
        plan: plan.name(),
        patience: Duration::ZERO,
        stop: &stop,
    };
    let work = async {
        let begun = apply::begin(provider, &approved, &journal, &place, &holder(), &mut |_| {}).await?;
        let run = Run {
            provider,
            scope: &scope,
            lock: &begun.lock,
            made: begun.made,
            recompute: &recompute,
            rest: &rest,
            still: &still,
            back: None,
            wait,
            stop: &stop,
            now: Timestamp::now,
        };
        let gone = journal.ends_empty();
        let report = begun
            .lock
            .during(provider, apply::run(&approved, journal, run, &mut |_| {}))
            .await;
        begun.lock.release(provider, gone).await;
        report
    };
    match runtime.block_on(work) {
        Ok(report) => Ok(report),
        Err(Refused::Record(refusal)) => Err(refusal.message),
        Err(Refused::Denied(_)) => Err("denied".into()),
        Err(Refused::Failed(error)) => Err(error.message),
        Err(other) => Err(format!("{other:?}")),
    }
}
