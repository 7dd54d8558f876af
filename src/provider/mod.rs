//! The world behind one trait: reads a scope, performs one change.
//!
//! A provider never compares, orders, prints, waits or decides. It answers in the API's own shape and maps its own
//! failures to unreadable (read) or to a typed [`Refusal`] (perform). Knows nothing of plans and graphs.

pub mod aws;
pub mod cluster;
pub mod http;
mod proxy;
pub mod snapshot;
pub mod with_cloud;

use async_trait::async_trait;
use serde_json::Value;

use crate::changes::Change;
use crate::error::Error;
use crate::resource::Kind;
use crate::state::{Scope, State};

#[async_trait]
pub trait Provider: Send + Sync {
    /// Whether this provider reads and writes objects of that kind.
    fn owns(&self, kind: Kind) -> bool;

    /// Everything in scope: each kind listed, or unreadable and why. An error only when nothing at all can be said
    /// (no server, no credentials, a file that is no snapshot).
    async fn read(&self, scope: &Scope) -> Result<State, Error>;

    /// Which of these changes the identity may not make; nothing is written. An empty answer is a yes.
    async fn may(&self, changes: &[&Change]) -> Result<Vec<Denied>, Error>;

    /// Writes one change: create only if absent, update and delete only the version in `before`. Answers with the
    /// object as read back (`None`: it is gone).
    async fn perform(&self, change: &Change) -> Result<Option<Value>, Refusal>;

    /// Locks the world for one plan, where it is this machine's own; `holder` is what others are told.
    fn lock(&self, _plan: &str, _holder: &str) -> OwnLock {
        OwnLock::None
    }

    /// What the server warned of so far, each text once, sorted.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where it asks, as far as that is not where everybody asks; known once something was asked.
    fn places(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A lock that a world has of its own.
pub enum OwnLock {
    /// It has none: others may be elsewhere, so a Lease is taken.
    None,
    /// Held until it is dropped, or the process ends.
    Taken(Box<dyn Send + Sync>),
    /// Somebody else has it; what they said of themselves.
    Held(String),
    Failed(String),
}

/// A right that is missing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denied {
    pub verb: String,
    pub kind: Kind,
    /// Empty for cluster-scoped kinds.
    pub namespace: String,
    /// Empty when the verb has no name yet (`create`).
    pub name: String,
    pub reason: String,
}

/// Why a change was not written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub why: Why,
    /// The server's own words.
    pub message: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// The object is not there any more.
    Gone,
    /// The object is there already, or is another version or another object than the one seen.
    Changed,
    /// The identity may not.
    Denied,
    /// The object is not valid to the server.
    Invalid,
    /// The server asks to come back later, longer than we would wait.
    Throttled,
    /// The write was sent and its answer did not come: it may have been made. Read and compare, never repeat.
    AnswerLost,
    /// The server answered with success, and holds something else.
    Swallowed,
    Other,
}

/// The verb of the API for a change, as RBAC spells it.
pub fn rbac_verb(change: &Change) -> &'static str {
    match change.op {
        crate::changes::Op::Create { .. } => "create",
        crate::changes::Op::Update { .. } => "patch",
        crate::changes::Op::Delete { .. } => "delete",
    }
}

/// Refuses a set of providers unless every kind has exactly one owner. The cloud may be out of reach: its kinds can be
/// without one, and are not read then.
pub fn one_owner_each(providers: &[&dyn Provider]) -> Result<(), String> {
    for kind in Kind::ALL {
        let owners = providers.iter().filter(|provider| provider.owns(kind)).count();
        let unowned_cloud = owners == 0 && kind.cloud();
        if owners != 1 && !unowned_cloud {
            return Err(format!("{kind} has {owners} owners among the providers"));
        }
    }
    Ok(())
}
