//! An apply with its lock, record and run book, on a world without latency: what the engine itself takes. Every step is
//! computed twice in it, as always; order and exposure are known.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use hostguard::changes::{Change, ChangeSet};
use hostguard::error::Error;
use hostguard::provider::{Denied, Provider, Refusal};
use hostguard::resource::Kind;
use hostguard::state::{Scope, State};
use serde_json::Value;

use crate::engine;
use crate::measure::{Row, median, seconds};
use crate::support::pipeline::{Look, apply_looking, look, runtime};

const STEPS: usize = 1_000;

/// What is written is there at once. Checks nothing: that is the tests' part.
struct Memory(Mutex<State>);

#[async_trait]
impl Provider for Memory {
    fn owns(&self, kind: Kind) -> bool {
        !kind.cloud()
    }

    async fn read(&self, _: &Scope) -> Result<State, Error> {
        Ok(self.0.lock().expect("one at a time").clone())
    }

    async fn may(&self, _: &[&Change]) -> Result<Vec<Denied>, Error> {
        Ok(Vec::new())
    }

    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal> {
        let mut state = self.0.lock().expect("one at a time");
        state.write(change);
        Ok(state.present(&change.key).map(Cow::into_owned))
    }
}

pub fn rows() -> Vec<Row> {
    let plan = engine::plan();
    let state = engine::state(STEPS);
    let runtime = runtime();
    // order and exposure have rows of their own
    let known: Mutex<BTreeMap<String, Arc<Look>>> = Mutex::default();
    let look = |state: &State, set: &ChangeSet| {
        let mut known = known.lock().expect("one at a time");
        known.entry(set.digest()).or_insert_with(|| look(state, set)).clone()
    };
    let time = median(3, || {
        let world = Memory(Mutex::new(state.clone()));
        let report = apply_looking(&runtime, &plan, &world, &look).expect("it is applied");
        assert!(report.done() >= STEPS && report.seen.is_some());
    });
    let what = format!("apply of {STEPS} steps with lock, record and run book, no latency");
    vec![Row::ours(what, seconds(time), "0.2 s")]
}
