//! Whatever happens to a run, the next ones end where an undisturbed one would have, and nothing is lost.
//!
//! Random small clusters, random plans, and for each pair many schedules of crashes, lost answers, refusals, stale reads
//! and strangers (`support/simulated.rs`). `HOSTGUARD_SIMULATION_SCHEDULES` asks for more than the usual number.

use std::collections::BTreeSet;
use std::sync::Arc;

use hostguard::provider::Why;
use hostguard::provider::snapshot::Snapshot;
use hostguard::state::State;
use proptest::prelude::*;
use serde_json::json;

use crate::support::edits::Edit;
use crate::support::pairs::{Came, Pair, Schedules, adds_up, nothing_lost, same, unmarked};
use crate::support::pipeline::runtime;
use crate::support::semantics;
use crate::support::simulated::{self, Asked, Controllers, Fault, Landing, Script, Simulated};
use crate::support::worlds::{state, write};

/// Each of the two laws gets half of the schedules of the ordinary run.
const SCHEDULES: Schedules = Schedules {
    variable: "HOSTGUARD_SIMULATION_SCHEDULES",
    usual: 5_000,
    each: 100,
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

/// Strangers who change, remove and plant what the plan is about: no before-value is lost, no object is left that no
/// record names, no doubtful write is sent again, and every step has an end.
#[test]
fn strangers_make_nothing_lost() {
    SCHEDULES.hold(
        |_| schedule(harmful().boxed()).boxed(),
        |pair, schedule| disturbed(pair, schedule).map(|_| ()),
    );
}

#[test]
fn a_disturbed_run_ends_where_an_undisturbed_one_does() {
    SCHEDULES.hold(
        |_| (any::<bool>(), schedule(harmless().boxed())).boxed(),
        |pair, (on, schedule)| {
            if *on {
                ends_as_undisturbed(pair, schedule)
            } else {
                can_be_destroyed(pair, schedule)
            }
        },
    );
}
