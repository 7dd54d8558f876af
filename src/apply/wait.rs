//! Waiting for Calico's controllers: until what is there is what `State::settled` says.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use super::Event;
use crate::error::Error;
use crate::provider::Provider;
use crate::resource::{Key, Kind};
use crate::state::{Scope, State};

/// How long, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Wait {
    pub deadline: Duration,
    pub interval: Duration,
    /// How long Felix gets, once controllers are done, before a step that relies on what they and it did.
    pub dataplane: Duration,
}

/// What controllers have still to do in this state; empty once it is settled.
pub fn unsettled(state: &State) -> Vec<String> {
    let settled = state.settled();
    // What cannot be read may or may not have been done.
    let mut left: Vec<String> = state
        .coverage()
        .iter()
        .filter(|(kind, _)| !kind.cloud())
        .filter_map(|(kind, why)| Some(format!("{kind} could not be read: {}", why.as_ref()?)))
        .collect();
    let config = Key::cluster(Kind::KubeControllersConfiguration, "default");
    let auto_create = |state: &State, part: &str| -> Option<String> {
        let object = state.present(&config)?;
        let value = object.pointer(&format!("/{part}/controllers/node/hostEndpoint/autoCreate"));
        Some(value.and_then(Value::as_str).unwrap_or("Disabled").to_string())
    };
    let reported = state
        .present(&config)
        .is_some_and(|object| object.pointer("/status/runningConfig").is_some());
    let (seen, expected) = (
        auto_create(state, "status/runningConfig"),
        auto_create(&settled, "status/runningConfig"),
    );
    if !reported && auto_create(state, "spec").as_deref() == Some("Enabled") {
        left.push(format!(
            "{config}: kube-controllers has not reported status.runningConfig; is it running?"
        ));
    } else if seen != expected {
        let words = (seen.unwrap_or_default(), expected.unwrap_or_default());
        left.push(format!(
            "{config}: status.runningConfig has autoCreate {}, not yet {}",
            words.0, words.1
        ));
    }
    let keys = |state: &State| -> BTreeSet<Key> {
        state
            .keys(Kind::HostEndpoint)
            .map_or_else(|_| BTreeSet::new(), |all| all.cloned().collect())
    };
    let (there, wanted) = (keys(state), keys(&settled));
    for key in wanted.difference(&there) {
        left.push(format!("{key} does not exist yet"));
    }
    for key in there.difference(&wanted) {
        left.push(format!("{key} is not removed yet"));
    }
    for key in wanted.intersection(&there) {
        let parts = |state: &State| {
            let object = state.present(key).unwrap_or_default();
            (object.pointer("/metadata/labels").cloned(), object.get("spec").cloned())
        };
        if parts(state) != parts(&settled) {
            left.push(format!("{key} does not have its node's labels and addresses yet"));
        }
    }
    left
}

/// Reads until the state is settled. What was seen last when the deadline came, or the word to stop; empty is success.
pub async fn wait_until_settled(
    provider: &dyn Provider,
    scope: &Scope,
    wait: Wait,
    stop: &AtomicBool,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Vec<String>, Error> {
    let kinds = [
        Kind::KubeControllersConfiguration,
        Kind::HostEndpoint,
        Kind::Node,
        Kind::Namespace,
    ];
    let scope = Scope {
        kinds: kinds.into_iter().collect(),
        inventory_namespace: scope.inventory_namespace.clone(),
        cloud: None,
    };
    let end = Instant::now() + wait.deadline;
    let mut told = Vec::new();
    loop {
        let left = unsettled(&provider.read(&scope).await?);
        if left.is_empty() {
            if !told.is_empty() {
                events(Event::Settled);
            }
            return Ok(left);
        }
        if Instant::now() + wait.interval > end || stop.load(Ordering::SeqCst) {
            return Ok(left);
        }
        if told != left {
            events(Event::Waiting(&left));
            told = left;
        }
        sleep(wait.interval).await;
    }
}
