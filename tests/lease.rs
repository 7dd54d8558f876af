//! One run at a time: contenders that are killed, stopped and slow, on one simulated cluster with simulated time.
//!
//! No write is begun once the lock may be somebody else's; what was sent before arrives late at most, and compare-and-set
//! decides. `HOSTGUARD_LEASE_CONTESTS` asks for more than the usual number.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::future::join_all;
use hostguard::apply::lock::DURATION;
use hostguard::resource::{Key, Kind};
use hostguard::state::State;
use proptest::prelude::*;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use crate::support::pairs::{Came, Pair, Schedules, nothing_lost, same, unmarked};
use crate::support::simulated::{Asked, By, Call, Controllers, Fault, Landing, Script, Simulated};

const CONTESTS: Schedules = Schedules {
    variable: "HOSTGUARD_LEASE_CONTESTS",
    usual: 2_000,
    each: 25,
};

/// One who applies the plan, and once more when that was killed.
#[derive(Clone, Debug)]
struct Contender {
    /// Milliseconds.
    start: u64,
    runs: Vec<Script>,
    /// When it is stopped, and for how long.
    stops: Vec<(u64, u64)>,
}

fn fault() -> impl Strategy<Value = Fault> {
    let landing = || {
        prop_oneof![
            Just(Landing::Never),
            Just(Landing::Now),
            (1usize..40).prop_map(Landing::After)
        ]
    };
    prop_oneof![
        2 => (any::<bool>(), landing()).prop_map(|(after, flying)| Fault::Crash { after, flying }),
        2 => landing().prop_map(Fault::Lost),
        1 => Just(Fault::Throttled),
        1 => Just(Fault::Failed),
        1 => Just(Fault::Conflict),
    ]
}

fn contender() -> impl Strategy<Value = Contender> {
    let slow = prop_oneof![4 => 0u64..400, 1 => 0u64..4_000, 1 => 7_000u64..12_000];
    let delays = proptest::collection::vec((slow.clone(), slow), 1..6);
    let faults = proptest::collection::btree_map(0usize..60, fault(), 0..3);
    let script = (faults, delays).prop_map(|(faults, delays)| Script { faults, delays });
    let stop = (0u64..40_000, prop_oneof![1 => 100u64..7_000, 2 => 7_000u64..30_000]);
    let runs = proptest::collection::vec(script, 1..=2);
    (0u64..15_000, runs, proptest::collection::vec(stop, 0..3)).prop_map(|(start, runs, mut stops)| {
        stops.sort_unstable();
        Contender { start, runs, stops }
    })
}

/// A process that is stopped now and then (SIGSTOP, the lid of a laptop): nothing of it runs meanwhile, what it sent
/// included.
struct Stopped<F> {
    work: Pin<Box<F>>,
    stops: VecDeque<(Instant, Instant)>,
    alarm: Option<Pin<Box<Sleep>>>,
}

fn stopped<F: Future>(work: F, stops: &[(u64, u64)]) -> Stopped<F> {
    let at = |milliseconds: u64| Instant::now() + Duration::from_millis(milliseconds);
    Stopped {
        work: Box::pin(work),
        stops: stops.iter().map(|(from, long)| (at(*from), at(from + long))).collect(),
        alarm: None,
    }
}

impl<F: Future> Future for Stopped<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<F::Output> {
        let now = Instant::now();
        while self.stops.front().is_some_and(|(_, to)| *to <= now) {
            self.stops.pop_front();
            self.alarm = None;
        }
        if let Some((from, to)) = self.stops.front().copied()
            && from <= now
        {
            let alarm = self.alarm.get_or_insert_with(|| Box::pin(sleep_until(to)));
            if alarm.as_mut().poll(context).is_pending() {
                return Poll::Pending;
            }
        }
        self.work.as_mut().poll(context)
    }
}

async fn contend(pair: &Pair, cluster: &Arc<Simulated>, name: &str, contender: &Contender) -> Result<(), String> {
    let work = async {
        sleep(Duration::from_millis(contender.start)).await;
        for (at, script) in contender.runs.iter().enumerate() {
            let name = format!("{name}{at}");
            match pair.apply(cluster, &pair.plan, &name, script).await {
                Came::Killed => sleep(Duration::from_secs(1)).await,
                Came::Ended(_) => return Ok(()),
                Came::Hung => return Err(format!("{name} does not end")),
            }
        }
        Ok(())
    };
    stopped(work, &contender.stops).await
}

fn lease() -> Key {
    Key::namespaced(Kind::Lease, "hostguard", "hostguard-one")
}

fn holder(state: &State) -> Option<String> {
    let object = state.present(&lease())?;
    let holder = object.pointer("/spec/holderIdentity")?.as_str()?;
    (!holder.is_empty()).then(|| holder.to_string())
}

/// Times at which a process sent a write of the Lease that it knows was made.
fn renewals<'a>(calls: &'a [Call], by: &'a str) -> impl Iterator<Item = Instant> + 'a {
    calls.iter().filter_map(move |call| match &call.asked {
        Asked::Perform(change) if change.key == lease() && call.by == by && call.answered == Some(Ok(())) => {
            Some(call.begun)
        }
        _ => None,
    })
}

/// No write is begun after the deadline of the lock it was made under.
fn none_begun_without(calls: &[Call]) -> Result<(), String> {
    for call in calls {
        let Asked::Perform(change) = &call.asked else { continue };
        if matches!(change.key.kind, Kind::Lease | Kind::Namespace) {
            continue; // what the lock needs itself
        }
        let held = renewals(calls, &call.by).any(|sent| sent <= call.begun && call.begun < sent + DURATION);
        if !held {
            return Err(format!(
                "{} began to {} {} without the lock (its call {})",
                call.by,
                change.op.verb(),
                change.key,
                call.number
            ));
        }
    }
    Ok(())
}

/// Nobody takes a lock before its holder's deadline.
fn none_taken_early(cluster: &Simulated, calls: &[Call]) -> Result<(), String> {
    let mut last: Option<String> = None;
    for moment in cluster.moments() {
        if moment.change.key != lease() {
            continue;
        }
        let now = holder(&moment.state);
        if let (Some(before), Some(taker)) = (&last, &now)
            && before != taker
            && let Some(sent) = renewals(calls, before).filter(|sent| *sent <= moment.at).max()
            && moment.at < sent + DURATION
        {
            return Err(format!(
                "{taker} took the lock {:?} before {before}'s deadline",
                sent + DURATION - moment.at
            ));
        }
        last = now;
    }
    Ok(())
}

/// So many steps are in flight at once (`sequence`).
const TOGETHER: usize = 8;

/// A write of who lost the lock can only arrive late, and few do: those that were in flight.
fn few_outlive(cluster: &Simulated) -> Result<(), String> {
    let mut outlived: BTreeMap<String, usize> = BTreeMap::new();
    for moment in cluster.moments() {
        let By::Process(name) = &moment.by else { continue };
        if matches!(moment.change.key.kind, Kind::Lease | Kind::Namespace) {
            continue;
        }
        if holder(&moment.state).as_deref() != Some(name) {
            *outlived.entry(name.clone()).or_default() += 1;
        }
    }
    match outlived.into_iter().find(|(_, late)| *late > TOGETHER) {
        Some((name, late)) => Err(format!("{late} writes of {name} arrived after its lock was lost")),
        None => Ok(()),
    }
}

fn one_at_a_time(pair: &Pair, contenders: &[Contender]) -> Result<(), String> {
    let cluster = Simulated::new(&pair.start, Controllers::AtOnce);
    let names = ["a", "b", "c"];
    let ends = pair.runtime.block_on(async {
        let all = contenders.iter().zip(names);
        join_all(all.map(|(contender, name)| contend(pair, &cluster, name, contender))).await
    });
    ends.into_iter().collect::<Result<(), String>>()?;
    let calls = cluster.calls();
    none_begun_without(&calls)?;
    none_taken_early(&cluster, &calls)?;
    few_outlive(&cluster)?;
    cluster.calm();
    nothing_lost(&cluster.moments())?;
    pair.finish(&cluster, &pair.plan, "apply")?;
    same(&pair.end, &unmarked(&cluster.state()))
}

#[test]
fn no_write_is_begun_without_the_lock() {
    CONTESTS.hold(
        |_| proptest::collection::vec(contender(), 2..=3).boxed(),
        |pair, contenders| one_at_a_time(pair, contenders),
    );
}
