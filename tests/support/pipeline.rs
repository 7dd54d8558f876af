//! The stages in a line, without the command around them: what the laws are about.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hostguard::apply::{self, Journal, Refused, Report, Run, Wait};
use hostguard::changes::{Change, ChangeSet};
use hostguard::compile;
use hostguard::diff::{self, Difference, Options};
use hostguard::error::Error;
use hostguard::plan::Plan;
use hostguard::provider::Provider;
use hostguard::resource::Key;
use hostguard::sequence::{Acceptance, Sequence, Terms};
use hostguard::state::State;

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

/// Finds the order of a change set: [`accepting`], or something that remembers what it said.
pub type Order<'a> = dyn Fn(&State, &ChangeSet) -> (Sequence, Vec<Acceptance>) + 'a;

/// Applies as the command does: read, compare, approve, run; with something that happens between the reading and the
/// first write.
pub fn apply_after(
    runtime: &tokio::runtime::Runtime,
    plan: &Plan,
    provider: &dyn Provider,
    between: impl FnOnce(),
) -> Result<Report, String> {
    let wait = Wait {
        deadline: Duration::ZERO,
        interval: Duration::from_millis(1),
        dataplane: Duration::ZERO,
    };
    runtime.block_on(apply_on(plan, provider, &accepting, wait, between))
}

/// The same on whatever runtime this is.
pub async fn apply_on(
    plan: &Plan,
    provider: &dyn Provider,
    order: &Order<'_>,
    wait: Wait,
    between: impl FnOnce(),
) -> Result<Report, String> {
    let scope = compile::scope(plan, "hostguard");
    let state = provider.read(&scope).await.map_err(|e| e.message)?;
    let now = difference(plan, &state).map_err(|errors| format!("{errors:?}"))?;
    if !now.conflicts.is_empty() {
        return Err(format!("{:?}", now.conflicts));
    }
    if let Some((key, why)) = now.set.unreadable.first() {
        return Err(format!("{key}: {why}"));
    }
    if now.set.steps.is_empty() && !now.record.changes() {
        return Ok(Report::default());
    }
    let (sequence, accepted) = order(&state, &now.set);
    let digest = sequence.digest().to_string();
    let approved = sequence.approve(&digest).expect("just made");
    let rest = |seen: &State, left: &[Change]| Sequence::rest(&state, &now.set, &terms(&accepted), seen, left);
    let recompute = |state: &State, key: &Key| -> Result<Option<Change>, String> {
        let now = difference(plan, state).map_err(|errors| format!("{errors:?}"))?;
        Ok(now.set.steps.into_iter().find(|step| step.key == *key))
    };
    let record = now.record.clone();
    let settled = record.clone();
    let journal = Journal::new(
        record.key.clone(),
        record.found.clone(),
        record.intended.clone(),
        record.must_be_written_first(),
        move |not_done| settled.after_without(not_done),
    );
    let stop = AtomicBool::new(false);
    between();
    let run = Run {
        provider,
        scope: &scope,
        recompute: &recompute,
        rest: &rest,
        wait,
        stop: &stop,
    };
    match apply::run(&approved, journal, run, &mut |_| {}).await {
        Ok(report) => Ok(report),
        Err(Refused::Record(refusal)) => Err(refusal.message),
        Err(Refused::Denied(_)) => Err("denied".into()),
        Err(Refused::Failed(error)) => Err(error.message),
    }
}
