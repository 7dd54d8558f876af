//! Whatever happens to a run, the next ones end where an undisturbed one would have, and nothing is lost.
//!
//! Random small clusters, random plans, and for each pair many schedules of crashes, lost answers, refusals, stale reads
//! and strangers (`support/simulated.rs`). `HOSTGUARD_SIMULATION_SCHEDULES` asks for more than the usual number.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hostguard::apply::{Report, Wait};
use hostguard::changes::{Change, ChangeSet, Op};
use hostguard::diff::Difference;
use hostguard::inventory::{Inventory, PLAN_LABEL};
use hostguard::plan::Plan;
use hostguard::provider::Why;
use hostguard::provider::snapshot::Snapshot;
use hostguard::resource::Kind;
use hostguard::sequence::{Acceptance, Sequence};
use hostguard::state::State;
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::support::pipeline::{Setting, accepting, apply_on, compare, runtime};
use crate::support::plans::parse;
use crate::support::random;
use crate::support::semantics;
use crate::support::simulated::{
    self, Asked, By, Controllers, Edit, Fault, Landing, Moment, Script, Simulated, TOUCHED,
};
use crate::support::worlds::{all_done, content, state, write};

/// Schedules for each cluster and plan: what is known of the pair is known for all of them.
const EACH: usize = 100;
/// In the ordinary run.
const SCHEDULES: usize = 10_000;
/// A run that was not disturbed, and others after it that have nothing to do.
const ENOUGH: usize = 4;

const WAIT: Wait = Wait {
    deadline: Duration::from_secs(30),
    interval: Duration::from_millis(250),
    dataplane: Duration::ZERO,
};

/// What happens: how controllers behave, and the runs that are disturbed, one after the other.
#[derive(Clone, Debug)]
struct Schedule {
    controllers: Controllers,
    runs: Vec<Script>,
}

fn landing() -> impl Strategy<Value = Landing> {
    prop_oneof![
        Just(Landing::Never),
        Just(Landing::Now),
        (1usize..30).prop_map(Landing::After)
    ]
}

/// What leaves the cluster as it is, but for versions and marks.
fn harmless() -> impl Strategy<Value = Fault> {
    prop_oneof![
        3 => (any::<bool>(), landing()).prop_map(|(after, flying)| Fault::Crash { after, flying }),
        3 => landing().prop_map(Fault::Lost),
        2 => Just(Fault::Conflict),
        1 => Just(Fault::Throttled),
        1 => Just(Fault::Failed),
        1 => Just(Fault::Swallowed),
        2 => (1usize..6).prop_map(Fault::Stale),
        2 => (0usize..64).prop_map(|at| Fault::Edit(Edit::Touch { at })),
    ]
}

fn harmful() -> impl Strategy<Value = Fault> {
    let edit = prop_oneof![
        (0usize..64).prop_map(|at| Edit::Meddle { at }),
        (0usize..64).prop_map(|at| Edit::Remove { at }),
        (0usize..64).prop_map(|at| Edit::Plant { at }),
    ];
    prop_oneof![1 => harmless(), 1 => edit.prop_map(Fault::Edit)]
}

fn schedule(fault: BoxedStrategy<Fault>) -> impl Strategy<Value = Schedule> {
    let controllers = prop_oneof![
        3 => Just(Controllers::AtOnce),
        1 => (0usize..4).prop_map(Controllers::Slow),
    ];
    let faults = proptest::collection::btree_map(0usize..24, fault, 1..4);
    let delays = prop_oneof![
        1 => Just(Vec::new()),
        1 => proptest::collection::vec((0u64..20, 0u64..20), 1..5),
    ];
    let script = (faults, delays)
        .prop_map(|(faults, delays)| Script { faults, delays })
        .boxed();
    let runs = prop_oneof![
        3 => proptest::collection::vec(script.clone(), 1),
        1 => proptest::collection::vec(script, 2..=3),
    ];
    (controllers, runs).prop_map(|(controllers, runs)| Schedule { controllers, runs })
}

pub fn pair() -> impl Strategy<Value = (Vec<Value>, Value)> {
    (random::cluster_of(2), random::plan("one"))
}

fn cases() -> impl Strategy<Value = ((Vec<Value>, Value), Vec<Schedule>)> {
    (pair(), proptest::collection::vec(schedule(harmless().boxed()), EACH))
}

fn cases_with_strangers() -> impl Strategy<Value = ((Vec<Value>, Value), Vec<Schedule>)> {
    (pair(), proptest::collection::vec(schedule(harmful().boxed()), EACH))
}

/// So many schedules, unless the variable asks for others.
pub fn config(variable: &str, usual: usize, each: usize) -> ProptestConfig {
    let asked = std::env::var(variable).ok();
    let schedules = asked.and_then(|text| text.parse().ok()).unwrap_or(usual);
    ProptestConfig {
        cases: u32::try_from(schedules.div_ceil(each)).expect("not that many"),
        failure_persistence: None,
        max_shrink_iters: 4_000,
        ..ProptestConfig::default()
    }
}

/// What was found out of a state before: comparing and ordering are pure.
#[derive(Default)]
struct Known {
    differences: Mutex<BTreeMap<u64, Result<Arc<Difference>, String>>>,
    orders: Mutex<BTreeMap<u64, (Sequence, Vec<Acceptance>)>>,
}

/// What stands for a state, with everything in it or without hostguard's books.
fn print_of(state: &State, books: bool, mut hasher: DefaultHasher) -> u64 {
    for (key, object) in state.objects() {
        if !key.kind.bookkeeping() || books && key.kind == Kind::ConfigMap {
            (key.kind.name(), &key.namespace, &key.name, &*object).hash(&mut hasher);
        }
    }
    hasher.finish()
}

impl Known {
    fn difference(&self, plan: &Plan, state: &State) -> Result<Arc<Difference>, String> {
        let mut hasher = DefaultHasher::new();
        std::ptr::from_ref(plan).hash(&mut hasher);
        let print = print_of(state, true, hasher);
        let mut known = self.differences.lock().expect("nobody panics holding it");
        known.entry(print).or_insert_with(|| compare(plan, state)).clone()
    }

    fn order(&self, state: &State, set: &ChangeSet) -> (Sequence, Vec<Acceptance>) {
        let mut hasher = DefaultHasher::new();
        set.digest().hash(&mut hasher);
        let print = print_of(state, false, hasher);
        let mut known = self.orders.lock().expect("nobody panics holding it");
        known.entry(print).or_insert_with(|| accepting(state, set)).clone()
    }
}

/// A cluster and a plan, and what an undisturbed run makes of them.
pub struct Pair {
    pub plan: Plan,
    nothing: Plan,
    pub start: State,
    found: Vec<(String, Value)>,
    known: Known,
    pub end: Vec<(String, Value)>,
    pub runtime: tokio::runtime::Runtime,
}

impl Pair {
    pub fn new(objects: &[Value], plan: &Value) -> Pair {
        let mut pair = Pair {
            plan: parse(plan),
            nothing: Plan::nothing("one"),
            found: Vec::new(),
            start: state(objects).settled(),
            known: Known::default(),
            end: Vec::new(),
            runtime: simulated::paused(),
        };
        let cluster = Simulated::new(&pair.start, Controllers::AtOnce);
        let came = pair.run(&cluster, &pair.plan, "whole", &Script::default());
        assert!(matches!(came, Came::Ended(Ok(report)) if all_done(&report)));
        pair.end = unmarked(&cluster.state());
        pair.found = unmarked(&pair.start);
        pair.finish(&cluster, &pair.nothing, "destroy")
            .expect("it is taken back");
        assert_eq!(same(&pair.found, &unmarked(&cluster.state())), Ok(()));
        pair
    }

    fn run(&self, cluster: &Arc<Simulated>, plan: &Plan, name: &str, script: &Script) -> Came {
        self.runtime.block_on(self.apply(cluster, plan, name, script))
    }

    /// One run, until it ends or is killed.
    pub async fn apply(&self, cluster: &Arc<Simulated>, plan: &Plan, name: &str, script: &Script) -> Came {
        let process = cluster.process(name, script.clone());
        let order = |state: &State, set: &ChangeSet| self.known.order(state, set);
        let compare = |plan: &Plan, state: &State| self.known.difference(plan, state);
        let setting = Setting {
            compare: &compare,
            order: &order,
            wait: WAIT,
            identity: name,
            patience: Duration::from_secs(30),
            revert: false,
            now: simulated::now,
        };
        let apply = apply_on(plan, &process, setting, || {});
        tokio::select! {
            biased;
            () = process.died() => Came::Killed,
            ended = tokio::time::timeout(Duration::from_secs(3600), apply) => match ended {
                Ok(ended) => Came::Ended(ended),
                Err(_) => Came::Hung,
            },
        }
    }

    /// Applies until there is nothing left to do.
    pub fn finish(&self, cluster: &Arc<Simulated>, plan: &Plan, name: &str) -> Result<(), String> {
        let mut last = String::new();
        for at in 0..ENOUGH {
            let came = self.run(cluster, plan, &format!("{name}-{at}"), &Script::default());
            if let Came::Ended(Ok(report)) = &came {
                adds_up(report)?;
                let left = self.known.difference(plan, &cluster.state())?;
                if all_done(report) && left.set.steps.is_empty() && !left.record.changes() {
                    return Ok(());
                }
            }
            last = format!("{came:?}");
        }
        Err(format!(
            "{name}: not done after {ENOUGH} undisturbed runs; the last one: {last}"
        ))
    }
}

#[derive(Debug)]
pub enum Came {
    Killed,
    Hung,
    Ended(Result<Report, String>),
}

/// What is there, without the marks that strangers leave.
pub fn unmarked(state: &State) -> Vec<(String, Value)> {
    let mut content = content(state);
    for (_, object) in &mut content {
        if let Some(metadata) = object["metadata"].as_object_mut() {
            let bare = metadata
                .get_mut("annotations")
                .and_then(Value::as_object_mut)
                .is_some_and(|marks| {
                    marks.remove(TOUCHED);
                    marks.is_empty()
                });
            if bare {
                metadata.remove("annotations");
            }
        }
    }
    content
}

/// The laws for whatever happened so far.
pub fn nothing_lost(moments: &[Moment]) -> Result<(), String> {
    let mut made: BTreeSet<String> = BTreeSet::new();
    let mut undone = false;
    for (at, moment) in moments.iter().enumerate() {
        let By::Process(name) = &moment.by else {
            let spec = |object: &Option<Arc<Value>>| object.as_ref().map(|object| object["spec"].clone());
            let mark = || spec(&moment.before) == spec(&moment.after);
            undone |= moment.by == By::Others && !mark();
            continue;
        };
        let Change { key, op, .. } = &*moment.change;
        let said = || format!("write {at} by {name}: {} {key}", op.verb());
        let parts = |object: &Value| format!("{} {}", object["metadata"]["labels"], object["spec"]);
        let write = format!("{} {key} {:?}", op.verb(), moment.after.as_deref().map(parts));
        if !undone && !key.kind.bookkeeping() && !made.insert(write) {
            return Err(format!("{} had its effect twice", said()));
        }
        let record = record(&moment.state);
        if key.kind.bookkeeping() {
            continue;
        }
        if let Some(key) = orphan(&moment.state, record.as_ref()) {
            return Err(format!("{}: {key} is in no record", said()));
        }
        if let Op::Update { .. } = moment.change.op {
            let known = |path: &hostguard::resource::FieldPath| {
                record
                    .as_ref()
                    .is_some_and(|record| record.recorded(&moment.change.key, path).is_some())
            };
            if let Some(field) = moment.change.fields.iter().find(|field| !known(&field.path)) {
                return Err(format!(
                    "{}: the value of {} before is in no record",
                    said(),
                    field.path
                ));
            }
        }
    }
    Ok(())
}

fn record(state: &State) -> Option<Inventory> {
    let key = Inventory::key("hostguard", "one");
    Inventory::read(state.present(&key)?)?.ok()
}

/// An object with a plan's label that no record names.
fn orphan(state: &State, record: Option<&Inventory>) -> Option<String> {
    let labelled = |object: &Value| {
        let labels = &object["metadata"]["labels"];
        labels.get(PLAN_LABEL).is_some()
    };
    let objects = state
        .objects()
        .filter(|(key, object)| !key.kind.bookkeeping() && labelled(object));
    objects
        .map(|(key, _)| key)
        .find(|key| !record.is_some_and(|record| record.entry(key).is_some_and(|entry| entry.created)))
        .map(ToString::to_string)
}

/// A write of which it is not known whether it was made is never sent again by the same run.
fn sent_once(cluster: &Simulated) -> Result<(), String> {
    let mut doubtful: BTreeSet<(String, String)> = BTreeSet::new();
    for call in cluster.calls() {
        let Asked::Perform(change) = &call.asked else { continue };
        let write = (call.by.clone(), format!("{} {}", change.op.verb(), change.key));
        if doubtful.contains(&write) && !change.key.kind.bookkeeping() {
            return Err(format!(
                "{} was sent again by {} after its answer was lost",
                write.1, write.0
            ));
        }
        if matches!(call.answered, Some(Err(Some(Why::AnswerLost | Why::Swallowed)))) {
            doubtful.insert(write);
        }
    }
    Ok(())
}

/// Every step has one end, and it is one of three.
fn adds_up(report: &Report) -> Result<(), String> {
    let ends = report.done() + report.failed() + report.skipped();
    if ends == report.steps.len() {
        Ok(())
    } else {
        Err(format!("{ends} ends of {report:?}"))
    }
}

/// All laws that hold whatever anybody did.
fn disturbed(pair: &Pair, schedule: &Schedule) -> Result<Arc<Simulated>, String> {
    let cluster = Simulated::new(&pair.start, schedule.controllers);
    for (at, script) in schedule.runs.iter().enumerate() {
        match pair.run(&cluster, &pair.plan, &format!("run-{at}"), script) {
            Came::Ended(Ok(report)) => adds_up(&report)?,
            Came::Ended(Err(_)) | Came::Killed => {}
            Came::Hung => return Err(format!("run {at} does not end")),
        }
    }
    sent_once(&cluster)?;
    cluster.calm();
    nothing_lost(&cluster.moments())?;
    Ok(cluster)
}

/// The same end as undisturbed. The record is a part of it, so that what destroy makes of it is the same, too.
fn ends_as_undisturbed(pair: &Pair, schedule: &Schedule) -> Result<(), String> {
    let cluster = disturbed(pair, schedule)?;
    pair.finish(&cluster, &pair.plan, "apply")?;
    same(&pair.end, &unmarked(&cluster.state()))?;
    nothing_lost(&cluster.moments())
}

/// However far it came, destroy brings back what was found.
fn can_be_destroyed(pair: &Pair, schedule: &Schedule) -> Result<(), String> {
    let cluster = disturbed(pair, schedule)?;
    pair.finish(&cluster, &pair.nothing, "destroy")?;
    same(&pair.found, &unmarked(&cluster.state()))
}

pub fn same(expected: &[(String, Value)], got: &[(String, Value)]) -> Result<(), String> {
    if expected == got {
        return Ok(());
    }
    Err(format!("another end:\n{}", difference(expected, got)))
}

fn difference(one: &[(String, Value)], other: &[(String, Value)]) -> String {
    let text = |content: &[(String, Value)]| -> String {
        let lines = content.iter();
        lines.map(|(key, object)| format!("{key} {object:#}\n")).collect()
    };
    similar::TextDiff::from_lines(text(one), text(other))
        .unified_diff()
        .context_radius(4)
        .to_string()
}

/// A cluster and a file for [`semantics`].
fn empty() -> State {
    let namespace = |name: &str| json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "uid": name, "resourceVersion": "1"}});
    state(&[namespace("kube-system"), namespace("shop")])
}

#[test]
fn the_simulated_cluster_does_with_a_write_what_a_server_does() {
    let mut wrong = Vec::new();
    for case in semantics::cases() {
        let process = Simulated::new(&empty(), Controllers::AtOnce).process("one", Script::default());
        wrong.extend(
            simulated::paused()
                .block_on(semantics::play(&case, &process, false))
                .err(),
        );
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_file_does_with_a_write_what_a_server_does() {
    let mut wrong = Vec::new();
    for case in semantics::cases() {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let path = folder.path().join("live.json");
        write(&empty(), &path);
        let file = Snapshot::open(&path).expect("it was just written");
        wrong.extend(runtime().block_on(semantics::play(&case, &file, true)).err());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

proptest! {
    #![proptest_config(config("HOSTGUARD_SIMULATION_SCHEDULES", SCHEDULES, EACH))]

    /// Strangers who change, remove and plant what the plan is about: no before-value is lost, no object is left that no
    /// record names, no doubtful write is sent again, and every step has an end.
    #[test]
    fn strangers_make_nothing_lost(((objects, plan), schedules) in cases_with_strangers()) {
        let pair = Pair::new(&objects, &plan);
        for schedule in &schedules {
            if let Err(why) = disturbed(&pair, schedule) {
                prop_assert!(false, "{why}\n{schedule:#?}");
            }
        }
    }

    #[test]
    fn a_disturbed_run_ends_where_an_undisturbed_one_does(((objects, plan), schedules) in cases()) {
        let pair = Pair::new(&objects, &plan);
        for (at, schedule) in schedules.iter().enumerate() {
            let law = if at % 2 == 0 { ends_as_undisturbed } else { can_be_destroyed };
            if let Err(why) = law(&pair, schedule) {
                prop_assert!(false, "{why}\n{schedule:#?}");
            }
        }
    }
}
