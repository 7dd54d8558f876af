//! One LIST for each kind in scope, in parallel and in pages.
//!
//! A kind that cannot be read is unreadable, with the reason; only a server of which nothing can be said is an error.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::call::{Call, Caller};
use super::failure::Failure;
use super::{Cluster, collection, discover, escaped};
use crate::error::Error;
use crate::history::RUN_LABEL;
use crate::inventory::INVENTORY_LABEL;
use crate::provider::Provider;
use crate::resource::{CALICO_GROUP, Kind};
use crate::state::{ClusterFacts, Listing, Reason, Scope, Serving, State, Unreadable};

/// What kubectl asks for at a time.
const PAGE: usize = 500;

/// What one of the parallel parts of a read brings.
enum Part {
    List(Kind, Result<Listing, Failure>),
    FelixFields,
}

/// Reads the scope. Kinds of Kubernetes itself need not wait for discovery.
pub(super) async fn read(cluster: &Cluster, scope: &Scope) -> Result<State, Error> {
    let within = cluster.caller.limits.read;
    let deadline = Instant::now() + within;
    let (calico, other): (Vec<Kind>, Vec<Kind>) = scope
        .kinds
        .iter()
        .copied()
        .filter(|kind| cluster.owns(*kind))
        .partition(|kind| kind.api().group == CALICO_GROUP);
    let mut parts = JoinSet::new();
    let ask = |parts: &mut JoinSet<Part>, kind: Kind| {
        let (caller, namespace) = (cluster.caller.clone(), scope.inventory_namespace.clone());
        parts.spawn(async move { Part::List(kind, list(&caller, kind, &namespace).await) });
    };
    for kind in other {
        ask(&mut parts, kind);
    }
    let served = cluster.served.get_or_try_init(|| discover::served(&cluster.caller));
    let served = timeout_at(deadline, served)
        .await
        .unwrap_or(Err(Failure::TimedOut { after: within }));
    let served = served.map_err(|failure| discover::unusable(cluster, &failure))?;
    let mut state = State::new(ClusterFacts {
        snapshot: None,
        name: cluster.name.clone(),
        serving: served.serving,
        felix_fields: None,
    });
    for kind in calico {
        match served.lacks(kind) {
            Some(why) => state.unreadable(kind, why),
            None => ask(&mut parts, kind),
        }
        if kind == Kind::FelixConfiguration && served.lacks(kind).is_none() {
            let (caller, fields) = (cluster.caller.clone(), cluster.felix_fields.clone());
            parts.spawn(async move {
                // A failure is not kept: the next read asks again.
                let _ = fields
                    .get_or_try_init(|| async { discover::spec_fields(&caller, kind).await.ok_or(()) })
                    .await;
                Part::FelixFields
            });
        }
    }
    collect(&mut parts, deadline, &mut state).await;
    for kind in scope.kinds.iter().filter(|kind| cluster.owns(**kind)) {
        if !state.coverage().contains_key(kind) {
            state.unreadable(*kind, unreadable(&Failure::TimedOut { after: within }));
        }
    }
    state.facts.felix_fields = cluster.felix_fields.get().cloned();
    Ok(state)
}

/// Takes the parts as they come, until the deadline.
async fn collect(parts: &mut JoinSet<Part>, deadline: Instant, state: &mut State) {
    while let Ok(Some(part)) = timeout_at(deadline, parts.join_next()).await {
        match part.expect("a list does not panic and nobody aborts it") {
            Part::FelixFields => {}
            Part::List(kind, Err(failure)) => {
                let mut why = unreadable(&failure);
                let aggregated = kind.api().group == CALICO_GROUP && state.facts.serving == Serving::Aggregated;
                if aggregated && failure.code() == Some(503) {
                    why.detail = format!(
                        "Calico's API server does not answer: {} (see kubectl get apiservice v3.projectcalico.org)",
                        why.detail
                    );
                }
                state.unreadable(kind, why);
            }
            Part::List(kind, Ok(listing)) => {
                if let Err(detail) = state.take(listing) {
                    state.unreadable(
                        kind,
                        Unreadable {
                            reason: Reason::Failed,
                            detail,
                        },
                    );
                }
            }
        }
    }
}

fn unreadable(failure: &Failure) -> Unreadable {
    let reason = match (failure, failure.code()) {
        (Failure::TimedOut { .. }, _) | (_, Some(504)) => Reason::TimedOut,
        (_, Some(403)) => Reason::Forbidden,
        (_, Some(404)) => Reason::NotServed,
        _ => Reason::Failed,
    };
    Unreadable {
        reason,
        detail: failure.to_string(),
    }
}

/// All objects of a kind. Pages are of one moment; when that is too long ago (410), the list starts once more.
async fn list(caller: &Caller, kind: Kind, inventory_namespace: &str) -> Result<Listing, Failure> {
    match pages(caller, kind, inventory_namespace).await {
        Err(failure) if failure.code() == Some(410) => pages(caller, kind, inventory_namespace).await,
        result => result,
    }
}

#[derive(Deserialize)]
struct Page {
    #[serde(default)]
    metadata: PageMetadata,
    items: Option<Vec<Map<String, Value>>>,
}

#[derive(Default, Deserialize)]
struct PageMetadata {
    #[serde(default, rename = "continue")]
    rest: String,
}

async fn pages(caller: &Caller, kind: Kind, inventory_namespace: &str) -> Result<Listing, Failure> {
    let api = kind.api();
    let ours = || collection(&api, inventory_namespace);
    let first = match kind {
        Kind::ConfigMap => format!("{}?limit={PAGE}&labelSelector={}", ours(), escaped(INVENTORY_LABEL)),
        Kind::Run => format!("{}?limit={PAGE}&labelSelector={}", ours(), escaped(RUN_LABEL)),
        Kind::Lease => format!("{}?limit={PAGE}", ours()),
        _ => format!("{}?limit={PAGE}", collection(&api, "")),
    };
    let mut listing = Listing::new(kind);
    let mut path = first.clone();
    let mut seen = BTreeSet::new();
    loop {
        let page: Page = caller.send(&Call::get(path)).await?.json()?;
        let Some(items) = page.items else { return Ok(listing) };
        items.into_iter().for_each(|item| listing.add(in_api_shape(kind, item)));
        let rest = page.metadata.rest;
        if rest.is_empty() {
            return Ok(listing);
        }
        path = format!("{first}&continue={}", escaped(&rest));
        if !seen.insert(rest) {
            return Err(Failure::Broken(
                "the server gives the same page again and again".to_string(),
            ));
        }
    }
}

/// Lists leave out what all items have in common.
fn in_api_shape(kind: Kind, mut item: Map<String, Value>) -> Value {
    let api = kind.api();
    item.insert("apiVersion".to_string(), Value::String(api.api_version()));
    item.insert("kind".to_string(), Value::String(api.kind.to_string()));
    Value::Object(item)
}
