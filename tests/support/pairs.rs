//! Random clusters with a plan each, what an undisturbed run makes of them, and the laws that hold whatever happened.
//!
//! Everything comes from one seed, which a failure names with the number of its pair: `HOSTGUARD_SEED` asks for
//! another one, `HOSTGUARD_PAIR` for that pair alone. What happens to a pair is shrunk, the pair is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hostguard::apply::{Report, Wait};
use hostguard::changes::{Change, ChangeSet, Op};
use hostguard::diff::Difference;
use hostguard::exposure::{self, Movement, Row, World};
use hostguard::inventory::{Inventory, PLAN_LABEL};
use hostguard::plan::Plan;
use hostguard::resource::{FieldPath, Kind};
use hostguard::state::State;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};
use serde_json::Value;

use super::edits::TOUCHED;
use super::pipeline::{Look, Setting, apply_on, compare, look};
use super::plans::parse;
use super::random;
use super::simulated::{self, By, Controllers, Moment, Script, Simulated};
use super::worlds::{all_done, content, state};

/// A run that was not disturbed, and others after it that have nothing to do.
const ENOUGH: usize = 4;

const WAIT: Wait = Wait {
    deadline: Duration::from_secs(30),
    interval: Duration::from_millis(250),
    dataplane: Duration::ZERO,
};

/// A number from the environment, or the usual one.
pub fn asked(variable: &str, usual: usize) -> usize {
    match std::env::var(variable) {
        Ok(text) => text.parse().unwrap_or_else(|e| panic!("{variable}={text}: {e}")),
        Err(_) => usual,
    }
}

/// What happens to pairs: `each` times to every one, until there were so many.
pub struct Schedules {
    /// Asks for more than the usual number.
    pub variable: &'static str,
    pub usual: usize,
    pub each: usize,
}

impl Schedules {
    /// Holds a law against whatever the strategy makes. The first one that breaks it is shrunk and shown.
    pub fn hold<T: Debug>(
        &self,
        happens: impl Fn(&Pair) -> proptest::strategy::BoxedStrategy<T>,
        law: impl Fn(&Pair, &T) -> Result<(), String>,
    ) {
        let seed = asked("HOSTGUARD_SEED", 1) as u64;
        let pairs = asked(self.variable, self.usual).div_ceil(self.each);
        let all = match std::env::var("HOSTGUARD_PAIR") {
            Ok(one) => one.parse().map(|one| one..one + 1).expect("HOSTGUARD_PAIR is a number"),
            Err(_) => 0..pairs,
        };
        for number in all {
            let mut runner = TestRunner::new(Config {
                cases: u32::try_from(self.each).expect("not that many"),
                failure_persistence: None,
                max_shrink_iters: 2_000,
                rng_seed: RngSeed::Fixed(seed.wrapping_mul(1_000_003) + number as u64),
                ..Config::default()
            });
            let (objects, plan) = (random::cluster_of(2), random::plan("one"))
                .new_tree(&mut runner)
                .expect("a cluster and a plan")
                .current();
            let pair = Pair::new(&objects, &plan);
            let ended = runner.run(&happens(&pair), |what| {
                law(&pair, &what).map_err(proptest::test_runner::TestCaseError::fail)
            });
            match ended {
                Ok(()) => {}
                Err(TestError::Fail(why, what)) => panic!(
                    "{why}\nwith {what:#?}\nHOSTGUARD_SEED={seed} HOSTGUARD_PAIR={number}: {}\n{plan}",
                    serde_json::json!(objects)
                ),
                Err(TestError::Abort(why)) => panic!("{why}"),
            }
        }
    }
}

/// What was found out of a state before: comparing and looking are pure.
#[derive(Default)]
struct Known {
    differences: Mutex<BTreeMap<u64, Result<Arc<Difference>, String>>>,
    looks: Mutex<BTreeMap<u64, Arc<Look>>>,
    ends: Mutex<BTreeMap<u64, Result<(), String>>>,
}

/// What stands for a state, with everything in it or without hostguard's books.
fn print_of(state: &State, books: bool, mut hasher: DefaultHasher) -> u64 {
    for (key, object) in state.objects() {
        if !key.kind.bookkeeping() || books && key.kind == Kind::ConfigMap {
            (key.kind.name(), &key.namespace, &key.name, &*object.open()).hash(&mut hasher);
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

    fn look(&self, state: &State, set: &ChangeSet) -> Arc<Look> {
        let mut hasher = DefaultHasher::new();
        set.digest().hash(&mut hasher);
        let print = print_of(state, false, hasher);
        let mut known = self.looks.lock().expect("nobody panics holding it");
        known.entry(print).or_insert_with(|| look(state, set)).clone()
    }
}

/// A cluster and a plan, and what an undisturbed run makes of them.
pub struct Pair {
    pub plan: Plan,
    pub nothing: Plan,
    pub start: State,
    /// What is there before, and after destroy.
    pub found: Vec<(String, Value)>,
    known: Known,
    /// What an undisturbed run ends in.
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

    pub fn run(&self, cluster: &Arc<Simulated>, plan: &Plan, name: &str, script: &Script) -> Came {
        self.runtime.block_on(self.apply(cluster, plan, name, script))
    }

    /// One run, until it ends or is killed.
    pub async fn apply(&self, cluster: &Arc<Simulated>, plan: &Plan, name: &str, script: &Script) -> Came {
        let process = cluster.process(name, script.clone());
        let look = |state: &State, set: &ChangeSet| self.known.look(state, set);
        let compare = |plan: &Plan, state: &State| self.known.difference(plan, state);
        let setting = Setting {
            compare: &compare,
            look: &look,
            wait: WAIT,
            identity: name,
            patience: Duration::from_secs(30),
            revert: false,
            now: simulated::now,
        };
        let apply = apply_on(plan, &process, setting);
        tokio::select! {
            biased;
            () = process.died() => Came::Killed,
            ended = tokio::time::timeout(Duration::from_secs(3600), apply) => match ended {
                Ok(ended) => Came::Ended(ended),
                Err(_) => Came::Hung,
            },
        }
    }

    /// What the plan makes of a state.
    pub fn difference(&self, state: &State) -> Result<Arc<Difference>, String> {
        self.known.difference(&self.plan, state)
    }

    /// What is approved of that.
    pub fn look(&self, state: &State, set: &ChangeSet) -> Arc<Look> {
        self.known.look(state, set)
    }

    /// Whether somebody else's changes, made at the start, would leave what the plan does to packets as it was approved,
    /// given where it came to.
    pub fn does_as_approved<'a>(
        &self,
        others: impl IntoIterator<Item = &'a Change>,
        end: &State,
    ) -> Result<(), String> {
        let start = self.start.after_all(others).settled();
        let print = print_of(&start, false, DefaultHasher::new());
        let mut hasher = DefaultHasher::new();
        print.hash(&mut hasher);
        let print = print_of(end, false, hasher);
        let mut known = self.known.ends.lock().expect("nobody panics holding it");
        let judged = known.entry(print).or_insert_with(|| {
            let set = &self.difference(&self.start).expect("it is applied").set;
            let approved = self.start.after_all(&set.steps).settled();
            let [was, is] = [moves(&self.start, &approved), moves(&start, end)];
            let missed = was
                .iter()
                .filter(|row| !is.contains(row))
                .map(|row| format!("- {row}\n"));
            let new = is
                .iter()
                .filter(|row| !was.contains(row))
                .map(|row| format!("+ {row}\n"));
            let text: String = missed.chain(new).collect();
            if text.is_empty() { Ok(()) } else { Err(text) }
        });
        judged.clone()
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

/// Which packets are answered in another way, and how.
fn moves(one: &State, other: &State) -> Vec<String> {
    let (one, other) = (World::of_state(one), World::of_state(other));
    let outside = exposure::difference(&one, &other);
    let inside = exposure::difference_inside(&one, &other).expect("few sorts of clients");
    let rows = outside
        .iter()
        .chain(&inside)
        .filter(|row| row.movement != Movement::Stays);
    let text = |row: &Row| {
        let [before, after] = [&row.before, &row.after].map(|side| side.as_ref().map(|answer| answer.verdict));
        let nodes: Vec<&String> = row.nodes.keys().collect();
        format!("{:?} {nodes:?} {before:?} {after:?}", row.subject)
    };
    let mut moves: Vec<String> = rows.map(text).collect();
    moves.sort();
    moves
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

/// Every step has one end, and it is one of three.
pub fn adds_up(report: &Report) -> Result<(), String> {
    let ends = report.done() + report.failed() + report.skipped();
    if ends == report.steps.len() {
        Ok(())
    } else {
        Err(format!("{ends} ends of {report:?}"))
    }
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
            let known = |path: &FieldPath| {
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
    Inventory::read(&*state.present(&key)?)?.ok()
}

/// An object with a plan's label that no record names.
fn orphan(state: &State, record: Option<&Inventory>) -> Option<String> {
    let labelled = |object: &Value| {
        let labels = &object["metadata"]["labels"];
        labels.get(PLAN_LABEL).is_some()
    };
    let objects = state
        .objects()
        .filter(|(key, object)| !key.kind.bookkeeping() && labelled(&object.open()));
    objects
        .map(|(key, _)| key)
        .find(|key| !record.is_some_and(|record| record.entry(key).is_some_and(|entry| entry.created)))
        .map(ToString::to_string)
}
