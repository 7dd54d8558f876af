//! The stages in a line, without the command around them: what the laws are about.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use hostguard::apply::{self, Holder, Journal, Lock, Made, Place, Refused, Report, Run, StepReport, Wait};
use hostguard::changes::{Change, ChangeSet, FieldChange};
use hostguard::compile;
use hostguard::diff::{self, Difference, Options};
use hostguard::error::Error;
use hostguard::exposure::{self, Row, World};
use hostguard::history::{self, Intent, Past, Progress};
use hostguard::plan::Plan;
use hostguard::provider::Provider;
use hostguard::resource::{Key, Kind};
use hostguard::sequence::{Acceptance, Sequence, Step, Terms};
use hostguard::standing::{self, Approval, Picture};
use hostguard::state::State;
use jiff::Timestamp;
use serde_json::Value;

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

/// What is approved of a change set.
pub struct Look {
    pub sequence: Sequence,
    pub accepted: Vec<Acceptance>,
    /// Who can reach what, before and after.
    pub rows: Vec<Row>,
}

impl Look {
    /// Before the first write. `made`: the namespace of the record, where that had to be made for the lock.
    pub fn shifted(&self, now: &Look, made: Option<&Key>) -> bool {
        self.accepted != now.accepted || self.picture(made).shifted(&now.picture(None)).is_some()
    }

    fn picture(&self, made: Option<&Key>) -> Picture<'_> {
        let steps = self.sequence.steps().iter().map(|step| &step.change);
        Picture {
            steps: steps.filter(|step| Some(&step.key) != made).collect(),
            reach: standing::reach(&self.rows),
        }
    }
}

/// The order, and where it leads.
pub fn look(state: &State, set: &ChangeSet) -> Arc<Look> {
    let (sequence, accepted) = accepting(state, set);
    let ends = [state, &state.after_all(&set.steps).settled()].map(World::of_state);
    let mut rows = exposure::difference(&ends[0], &ends[1]);
    rows.extend(exposure::difference_inside(&ends[0], &ends[1]).expect("few sorts of clients"));
    Arc::new(Look {
        sequence,
        accepted,
        rows,
    })
}

/// Looks at a change set: [`look`], or something that remembers what it said.
pub type Looking<'a> = dyn Fn(&State, &ChangeSet) -> Arc<Look> + Send + Sync + 'a;

/// Compares: [`difference`], or something that remembers what it said.
pub type Compare<'a> = dyn Fn(&Plan, &State) -> Result<Arc<Difference>, String> + Send + Sync + 'a;

/// [`difference`], as [`Compare`] has it.
pub fn compare(plan: &Plan, state: &State) -> Result<Arc<Difference>, String> {
    match difference(plan, state) {
        Ok(now) => Ok(Arc::new(now)),
        Err(errors) => Err(format!("{errors:?}")),
    }
}

/// How a run is made.
#[derive(Clone, Copy)]
pub struct Setting<'a> {
    pub compare: &'a Compare<'a>,
    pub look: &'a Looking<'a>,
    pub wait: Wait,
    /// No two runs have the same.
    pub identity: &'a str,
    /// How long somebody else's lock is waited for.
    pub patience: Duration,
    /// Whether what was done is taken back once a step fails.
    pub revert: bool,
    pub now: fn() -> Timestamp,
}

/// Applies as the command does: read, compare, approve, lock, look again, run.
pub fn apply_with(runtime: &tokio::runtime::Runtime, plan: &Plan, provider: &dyn Provider) -> Result<Report, String> {
    apply_looking(runtime, plan, provider, &look)
}

/// The same, looking in that way.
pub fn apply_looking(
    runtime: &tokio::runtime::Runtime,
    plan: &Plan,
    provider: &dyn Provider,
    look: &Looking<'_>,
) -> Result<Report, String> {
    let setting = Setting {
        compare: &compare,
        look,
        wait: Wait {
            deadline: Duration::ZERO,
            interval: Duration::from_millis(1),
            dataplane: Duration::ZERO,
        },
        identity: "test",
        patience: Duration::ZERO,
        revert: false,
        now: Timestamp::now,
    };
    runtime.block_on(apply_on(plan, provider, setting))
}

/// The same on whatever runtime this is.
pub async fn apply_on(plan: &Plan, provider: &dyn Provider, setting: Setting<'_>) -> Result<Report, String> {
    match show_on(plan, provider, setting).await? {
        Some(shown) => carry_out_on(plan, provider, setting, shown).await,
        None => Ok(Report::default()),
    }
}

/// What was shown, and what of it was approved.
type Shown = (Arc<Difference>, Arc<Look>);

/// Reads and compares; `None`: there is nothing to do.
async fn show_on(plan: &Plan, provider: &dyn Provider, setting: Setting<'_>) -> Result<Option<Shown>, String> {
    let scope = compile::scope(plan, "hostguard");
    let state = provider.read(&scope).await.map_err(|e| e.message)?;
    let shown = applicable(setting, plan, &state)?;
    if shown.set.steps.is_empty() && !shown.record.changes() {
        return Ok(None);
    }
    let seen = (setting.look)(&state, &shown.set);
    Ok(Some((shown, seen)))
}

/// Everything after a yes.
async fn carry_out_on(
    plan: &Plan,
    provider: &dyn Provider,
    setting: Setting<'_>,
    (shown, seen): Shown,
) -> Result<Report, String> {
    let digest = seen.sequence.digest().to_string();
    let approved = seen.sequence.clone().approve(&digest).expect("just made");
    let stop = AtomicBool::new(false);
    let place = Place {
        namespace: "hostguard",
        plan: plan.name(),
        patience: setting.patience,
        stop: &stop,
    };
    let holder = Holder {
        identity: setting.identity.into(),
        who: "test".into(),
        host: "here".into(),
        verb: "apply",
        changes: digest,
        now: setting.now,
    };
    let sketch = journal(&shown, plan, 0, &[]);
    let gone = sketch.ends_empty();
    let begun = apply::begin(provider, &approved, &sketch, &place, &holder, &mut |_| {}).await;
    let begun = begun.map_err(refused)?;
    let lock = &begun.lock;
    let run = under_lock(plan, provider, setting, (&shown, &seen), (lock, begun.made), &stop);
    let report = lock.during(provider, run).await;
    let whole = report
        .as_ref()
        .is_ok_and(|report| report.failed() + report.skipped() == 0);
    begun.lock.release(provider, gone && whole).await;
    report
}

fn applicable(setting: Setting<'_>, plan: &Plan, state: &State) -> Result<Arc<Difference>, String> {
    let now = (setting.compare)(plan, state)?;
    if let Some(conflict) = now.conflicts.first() {
        return Err(conflict.message.clone());
    }
    match now.set.unreadable.first() {
        Some((key, why)) => Err(format!("{key}: {why}")),
        None => Ok(now),
    }
}

/// A last look, and the run.
async fn under_lock(
    plan: &Plan,
    provider: &dyn Provider,
    setting: Setting<'_>,
    (shown, seen): (&Difference, &Look),
    (lock, made): (&Lock, Option<StepReport>),
    stop: &AtomicBool,
) -> Result<Report, String> {
    let scope = compile::scope(plan, "hostguard");
    let mut with_runs = scope.clone();
    with_runs.kinds.insert(Kind::Run);
    let state = provider.read(&with_runs).await.map_err(|e| e.message)?;
    let mut now = (*applicable(setting, plan, &state)?).clone();
    let looked = (setting.look)(&state, &now.set);
    let there = made.as_ref().map(|(key, _, _)| key);
    if seen.shifted(&looked, there) || now.record.changes() != shown.record.changes() && there.is_none() {
        return Err("stale".into());
    }
    now.record.under(lock.fence());
    let digest = looked.sequence.digest().to_string();
    let approved = looked.sequence.clone().approve(&digest).expect("just made");
    let runs: Vec<(Key, Value)> = state
        .list(Kind::Run)
        .map_err(|why| why.to_string())?
        .map(|(key, run)| (key.clone(), run.into_owned()))
        .collect();
    let journal = journal(&now, plan, lock.fence(), &runs);
    let terms = terms(&looked.accepted);
    let approval = Approval {
        state: &state,
        set: &now.set,
        terms: &terms,
    };
    let wanted = |state: &State| applicable(setting, plan, state).map(|now| now.set.clone());
    let rest = |seen: &State, left: &[Change]| Sequence::rest(&state, &now.set, &terms, seen, left);
    let recompute = |state: &State, key: &Key| -> Result<Option<Change>, String> {
        let now = applicable(setting, plan, state)?;
        Ok(now.set.steps.iter().find(|step| step.key == *key).cloned())
    };
    let still = |now: &State, made: &[Made], left: &[&Step]| standing::still(approval, &wanted, now, made, left);
    let back = |now: &State, made: &[Made]| standing::take_back(&terms, now, made);
    let run = Run {
        provider,
        scope: &scope,
        lock,
        made,
        recompute: &recompute,
        rest: &rest,
        still: &still,
        back: setting.revert.then_some(&back),
        wait: setting.wait,
        stop,
        now: setting.now,
    };
    let ended = apply::run(&approved, journal, run, &mut |_| {}).await;
    ended.map_err(refused)
}

/// The record, and beside it the account of the run.
fn journal(now: &Difference, plan: &Plan, fence: u64, runs: &[(Key, Value)]) -> Journal {
    let record = now.record.clone();
    let settled = record.clone();
    let journal = Journal::new(
        record.key.clone(),
        record.found.clone(),
        record.intended.clone(),
        record.must_be_written_first(),
        move |not_done, taken_back| settled.after_without(not_done, taken_back),
    );
    if now.set.steps.is_empty() {
        return journal;
    }
    let number = |key: &Key| key.name.rsplit('-').next().and_then(|text| text.parse::<u64>().ok());
    let last = runs.iter().filter_map(|(key, _)| number(key)).max();
    let steps = now.set.steps.iter();
    let intent = Intent {
        format: history::FORMAT,
        plan: plan.name().to_string(),
        number: last.unwrap_or(0) + 1,
        verb: "apply".into(),
        id: now.set.digest(),
        fence,
        steps: steps
            .map(|step| {
                let wrote = |field: &FieldChange| diff::digest(step.key.kind, &field.path, field.after.as_ref());
                history::Step::of(step, record.entry_found(&step.key), &wrote)
            })
            .collect(),
        ..Intent::default()
    };
    let progress = Progress::new(intent.steps.len());
    let mut old = runs.to_vec();
    old.sort_by_key(|(key, _)| number(key));
    old.truncate((runs.len() + 1).saturating_sub(history::KEPT));
    journal.of_run(Past { intent, progress }, old)
}

fn refused(refused: Refused) -> String {
    match refused {
        Refused::Record(refusal) => refusal.message,
        Refused::Denied(_) => "denied".into(),
        Refused::Failed(error) => error.message,
        other => format!("{other:?}"),
    }
}
