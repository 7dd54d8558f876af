//! Asks the server which changes the identity may not make (SelfSubjectAccessReview). Writes nothing.
//!
//! Asked first for all names of a kind, so that the usual ClusterRole takes one request a verb; only where that is
//! denied, name by name.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde_json::json;
use tokio::task::JoinSet;

use super::call::{Call, Caller};
use super::failure::Failure;
use super::{Cluster, discover};
use crate::changes::Change;
use crate::error::{Error, codes};
use crate::provider::{Denied, rbac_verb};
use crate::resource::Kind;

/// A right, as RBAC names it; no name means all of them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Right {
    kind: Kind,
    verb: &'static str,
    namespace: String,
    name: Option<String>,
}

/// Why it is denied; `None`: it is allowed.
type Verdict = Option<String>;

/// The rights that are missing, in the order of kinds.
pub(super) async fn may(cluster: &Cluster, changes: &[&Change]) -> Result<Vec<Denied>, Error> {
    let needed: BTreeSet<Right> = changes.iter().flat_map(|change| needs(change)).collect();
    let broad = needed
        .iter()
        .map(|right| Right {
            name: None,
            ..right.clone()
        })
        .collect();
    let denied: BTreeSet<(Right, String)> = ask_all(cluster, broad).await?;
    let denied_for_all = |right: &&Right| {
        denied.iter().any(|(broad, _)| {
            *broad
                == Right {
                    name: None,
                    ..(*right).clone()
                }
        })
    };
    let narrow: BTreeSet<Right> = needed
        .iter()
        .filter(denied_for_all)
        .filter(|right| right.name.is_some())
        .cloned()
        .collect();
    let unnamed = denied.iter().filter(|(right, _)| needed.contains(right)).cloned();
    let mut missing: BTreeSet<(Right, String)> = unnamed.collect();
    missing.extend(ask_all(cluster, narrow).await?);
    Ok(missing
        .into_iter()
        .map(|(right, reason)| right.denied(reason))
        .collect())
}

/// The verb of the change, and `get`, because what was written is read back.
fn needs(change: &Change) -> [Right; 2] {
    let right = |verb, name| Right {
        kind: change.key.kind,
        verb,
        namespace: change.key.namespace.clone(),
        name,
    };
    let verb = rbac_verb(change);
    // The name of an object to be created is in the body, where authorization does not look.
    let name = (verb != "create").then(|| change.key.name.clone());
    [right(verb, name), right("get", Some(change.key.name.clone()))]
}

impl Right {
    fn denied(self, reason: String) -> Denied {
        Denied {
            verb: self.verb.to_string(),
            kind: self.kind,
            namespace: self.namespace,
            name: self.name.unwrap_or_default(),
            reason,
        }
    }
}

/// Those of the rights that are denied, with the reason.
async fn ask_all(cluster: &Cluster, rights: BTreeSet<Right>) -> Result<BTreeSet<(Right, String)>, Error> {
    let mut asked = JoinSet::new();
    for right in rights {
        let caller = cluster.caller.clone();
        asked.spawn(async move {
            let verdict = ask(&caller, &right).await;
            (right, verdict)
        });
    }
    let mut denied = BTreeSet::new();
    while let Some(answer) = asked.join_next().await {
        let (right, verdict) = answer.expect("a review does not panic and nobody aborts it");
        match verdict {
            Ok(None) => {}
            Ok(Some(reason)) => {
                denied.insert((right, reason));
            }
            Err(failure) => return Err(unusable(cluster, &failure)),
        }
    }
    Ok(denied)
}

async fn ask(caller: &Caller, right: &Right) -> Result<Verdict, Failure> {
    #[derive(Deserialize)]
    struct Review {
        status: Status,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Status {
        #[serde(default)]
        allowed: bool,
        #[serde(default)]
        reason: String,
        #[serde(default)]
        evaluation_error: String,
    }
    let api = right.kind.api();
    let mut attributes =
        json!({"verb": right.verb, "group": api.group, "version": api.version, "resource": api.plural});
    if !right.namespace.is_empty() {
        attributes["namespace"] = json!(right.namespace);
    }
    if let Some(name) = &right.name {
        attributes["name"] = json!(name);
    }
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1",
        "kind": "SelfSubjectAccessReview",
        "spec": {"resourceAttributes": attributes},
    });
    let call = Call::question("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", &review);
    let Review { status } = caller.send(&call).await?.json()?;
    let said = [status.reason, status.evaluation_error];
    let said: Vec<String> = said.into_iter().filter(|text| !text.is_empty()).collect();
    Ok((!status.allowed).then(|| said.join("; ")))
}

/// A server that does not answer the question: as in a read, but a refusal is one of the question.
fn unusable(cluster: &Cluster, failure: &Failure) -> Error {
    match failure {
        Failure::Refused(refused) if refused.code != 401 => Error::failed(
            codes::ACCESS_REVIEW,
            format!("{} does not say what may be written", cluster.server),
        )
        .cause(failure.to_string())
        .fix("try again; where it is refused, give this identity the ClusterRole system:basic-user"),
        _ => discover::unusable(cluster, failure),
    }
}
