//! The gate of the live tier and the server its tests share.
//!
//! A test starts with `let Some(server) = live!() else { return };`. Without a server asked for, it says that it did
//! not run and passes; with `HOSTGUARD_LIVE=1`, a missing server fails it. One test at a time uses the shared server,
//! which is clean when its turn comes; whoever holds it last stops it.

use std::io::Write;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use super::baseline::{Baseline, everything};
use super::control_plane::{ControlPlane, Crds, binary};

/// The shared server, or one of its own for `live!(Crds::…)`, named after the test that asks.
macro_rules! live {
    () => {
        $crate::support::live::shared(live!(@name))
    };
    (@name) => {{
        fn here() {}
        std::any::type_name_of_val(&here)
    }};
    ($crds:expr) => {
        $crate::support::live::own(live!(@name), $crds)
    };
}
pub(crate) use live;

struct Shared {
    server: ControlPlane,
    baseline: Baseline,
}

/// A test's turn with a server.
pub struct Turn {
    test: String,
    shared: Arc<Shared>,
    _alone: MutexGuard<'static, ()>,
}

static SHARED: Mutex<Weak<Shared>> = Mutex::new(Weak::new());
static ALONE: Mutex<()> = Mutex::new(());

pub fn shared(here: &str) -> Option<Turn> {
    let test = asked_for(here)?;
    let shared = {
        let mut slot = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        slot.upgrade().unwrap_or_else(|| {
            let shared = start(Crds::V3);
            *slot = Arc::downgrade(&shared);
            shared
        })
    };
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    shared.baseline.restore(shared.server.rest());
    Some(Turn {
        test,
        shared,
        _alone: alone,
    })
}

pub fn own(here: &str, crds: Crds) -> Option<Turn> {
    let test = asked_for(here)?;
    let alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    Some(Turn {
        test,
        shared: start(crds),
        _alone: alone,
    })
}

fn start(crds: Crds) -> Arc<Shared> {
    static BROKEN: AtomicBool = AtomicBool::new(false);
    assert!(
        !BROKEN.swap(true, Ordering::Relaxed),
        "the server did not start for an earlier test: see there"
    );
    let server = ControlPlane::start(crds, &[]);
    let baseline = Baseline::of(server.rest());
    BROKEN.store(false, Ordering::Relaxed);
    Arc::new(Shared { server, baseline })
}

pub fn asked_for(here: &str) -> Option<String> {
    let test = here.trim_start_matches("live::").trim_end_matches("::here").to_string();
    let demanded = std::env::var_os("HOSTGUARD_LIVE").is_some_and(|v| v != "0");
    if binary().is_none() && !demanded {
        not_run(&test, "needs a server: make test");
        return None;
    }
    Some(test) // without a binary, starting it says what to do
}

/// Says past the test harness's capture that a test did not run.
pub fn not_run(test: &str, why: &str) {
    let line = format!("not run: {test} ({why})\n");
    let _ = std::io::stderr().write_all(line.as_bytes()); // in one piece: tests end at the same time
}

impl Turn {
    pub fn server(&self) -> &ControlPlane {
        &self.shared.server
    }

    /// Cleans the server in the middle of a test and says what was there.
    pub fn reset(&self) -> Vec<String> {
        self.shared.baseline.restore(self.shared.server.rest())
    }
}

impl Deref for Turn {
    type Target = ControlPlane;

    fn deref(&self) -> &ControlPlane {
        self.server()
    }
}

impl Drop for Turn {
    /// A failing test explains itself: what is on the server, without what was there before.
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("state of the server when {} failed:", self.test);
        for (path, mut object) in everything(self.rest()) {
            if self.shared.baseline.contains(&path) {
                continue;
            }
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("managedFields");
            }
            eprintln!("  {path} {object}");
        }
        eprintln!("its log ends:\n{}", self.log(10));
    }
}

/// Asks until there is an answer; gives up after `within`, saying what did not happen and what was seen last.
#[track_caller]
pub fn eventually<T>(what: &str, within: Duration, mut ask: impl FnMut() -> Result<T, String>) -> T {
    let start = Instant::now();
    loop {
        match ask() {
            Ok(answer) => return answer,
            Err(seen) if start.elapsed() > within => panic!("not within {within:?}: {what}; last seen: {seen}"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}
