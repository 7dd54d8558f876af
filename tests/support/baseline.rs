//! A clean server again: what was there when it started stays, everything else goes.
//!
//! Some fifty times cheaper than a new server. Objects of the baseline that a test changed are not put
//! back; a test that changes those (a CRD, an APIService, a built-in role) starts a server of its own.

use serde_json::{Value, json};
use std::collections::BTreeSet;

use super::kinds::{KINDS, Kind};
use super::rest::{Answer, Rest};

#[derive(Debug)]
pub struct Baseline {
    paths: BTreeSet<String>,
}

impl Baseline {
    pub fn of(rest: &Rest) -> Baseline {
        Baseline {
            paths: everything(rest).into_iter().map(|(path, _)| path).collect(),
        }
    }

    pub fn contains(&self, path: &str) -> bool {
        self.paths.contains(path)
    }

    /// Deletes what is not of the baseline, and says which paths those were.
    pub fn restore(&self, rest: &Rest) -> Vec<String> {
        let mut gone = vec![];
        for (path, object) in everything(rest) {
            if !self.paths.contains(&path) {
                remove(rest, &path, &object);
                gone.push(path);
            }
        }
        gone
    }
}

/// Every object of every kind a test may create, with its path; namespaces last.
pub fn everything(rest: &Rest) -> Vec<(String, Value)> {
    let mut found = vec![];
    for kind in KINDS {
        for object in list(rest, kind) {
            found.push((kind.path(&object), object));
        }
    }
    found
}

fn list(rest: &Rest, kind: &Kind) -> Vec<Value> {
    let answer = rest.get(&kind.collection());
    if answer.status == 404 {
        return vec![]; // a server without these CRDs
    }
    match answer.ok()["items"].take() {
        Value::Array(items) => items,
        _ => vec![],
    }
}

fn remove(rest: &Rest, path: &str, object: &Value) {
    if !object["metadata"]["finalizers"].is_null() {
        gone_or(rest.merge(path, &json!({ "metadata": { "finalizers": null } })));
    }
    // Without a kubelet nobody confirms the end of a pod; without a collector nobody deletes what it owned.
    let answer = rest.delete(&format!("{path}?gracePeriodSeconds=0&propagationPolicy=Background"));
    if built_in_tier(path) {
        return; // Calico's admission policy keeps those; their order and action cannot have changed
    }
    gone_or(answer);
    if path.starts_with("/api/v1/namespaces/") && path.matches('/').count() == 4 {
        // Nor is there a namespace controller: what was in it is already gone, so let it go.
        let metadata = json!({ "name": object["metadata"]["name"] });
        let empty =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata, "spec": { "finalizers": [] } });
        gone_or(rest.put(&format!("{path}/finalize"), &empty));
    }
}

fn built_in_tier(path: &str) -> bool {
    ["default", "kube-admin", "kube-baseline"]
        .iter()
        .any(|t| path.ends_with(&format!("/tiers/{t}")))
}

#[track_caller]
fn gone_or(answer: Answer) {
    if answer.status != 404 {
        answer.ok();
    }
}
