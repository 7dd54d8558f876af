//! Writes one change with its precondition, and reads it back.
//!
//! Create is a POST, change is a JSON merge patch that carries the version seen, delete carries uid and version.
//! Nothing here is sent twice, except what a server refused unseen (429). An answer of success is believed where it
//! shows what is stored now; otherwise, and from Calico's API server, which can swallow a conflict, it is read back.

use http::Method;
use serde_json::{Value, json};

use super::call::{Answer, Call};
use super::failure::{Failure, Refused};
use super::{Cluster, collection, escaped, path};
use crate::changes::{Change, FieldChange, Op};
use crate::provider::{Refusal, Why};
use crate::resource::{CALICO_GROUP, Key, SET_BY_SERVER};
use crate::state::Serving;

const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Makes the change, and answers with the object as it is afterwards.
pub(super) async fn perform(cluster: &Cluster, change: &Change) -> Result<Option<Value>, Refusal> {
    let call = call(cluster, change)?;
    let answer = cluster.caller.send(&call).await.map_err(|failure| refusal(&failure))?;
    let answered = if may_swallow(cluster, change) {
        None
    } else {
        shown(change, &answer)
    };
    let found = match answered {
        Some(found) => found,
        None => read_back(cluster, &change.key).await?,
    };
    confirm(change, found)
}

/// Calico's API server gives up an update after five conflicts, and answers with success.
fn may_swallow(cluster: &Cluster, change: &Change) -> bool {
    let native = cluster
        .served
        .get()
        .is_some_and(|served| served.serving == Serving::Native);
    change.key.kind.api().group == CALICO_GROUP && !native
}

/// What the answer says is stored now: the object as written, or that it is gone. `None`: it does not say.
fn shown(change: &Change, answer: &Answer) -> Option<Option<Value>> {
    let answer: Value = answer.json().ok()?;
    if answer["kind"] == "Status" {
        return (answer["status"] == "Success").then_some(None);
    }
    // Some deletes are answered with the object as it was last.
    let of_a_write = !matches!(change.op, Op::Delete { .. });
    let stored = answer
        .pointer("/metadata/resourceVersion")
        .is_some_and(Value::is_string);
    (of_a_write && stored).then_some(Some(answer))
}

/// The request that makes the change.
fn call(cluster: &Cluster, change: &Change) -> Result<Call, Refusal> {
    // The server gives up when we do: a write does not come true long after it was given up here.
    let timeout = cluster.caller.limits.call.as_secs().max(1);
    let options = format!(
        "fieldManager={}&fieldValidation=Strict&timeout={timeout}s",
        escaped(&cluster.manager)
    );
    let at = path(&change.key);
    Ok(match &change.op {
        Op::Create { object } => {
            let to = collection(&change.key.kind.api(), &change.key.namespace);
            Call::write(
                Method::POST,
                format!("{to}?{options}"),
                JSON,
                &to_create(&change.key, object),
            )
        }
        Op::Update { before, patch } => {
            let mut patch = patch.clone();
            let version = seen(before, "resourceVersion")?;
            crate::changes::merge(&mut patch, &json!({"metadata": {"resourceVersion": version}}));
            Call::write(Method::PATCH, format!("{at}?{options}"), MERGE_PATCH, &patch)
        }
        Op::Delete { before } => {
            let body = json!({
                "apiVersion": "v1",
                "kind": "DeleteOptions",
                "propagationPolicy": "Background",
                "preconditions": {"uid": seen(before, "uid")?, "resourceVersion": seen(before, "resourceVersion")?},
            });
            Call::write(Method::DELETE, format!("{at}?timeout={timeout}s"), JSON, &body)
        }
    })
}

/// What identifies the object that the change was computed from. Without it the write would hit anything.
fn seen<'a>(before: &'a Value, field: &str) -> Result<&'a str, Refusal> {
    let value = before
        .get("metadata")
        .and_then(|metadata| metadata.get(field))
        .and_then(Value::as_str);
    value.ok_or_else(|| Refusal {
        why: Why::Other,
        message: format!("not sent: the object seen has no {field}"),
    })
}

fn to_create(key: &Key, object: &Value) -> Value {
    let api = key.kind.api();
    let mut object = object.clone();
    object["apiVersion"] = json!(api.api_version());
    object["kind"] = json!(api.kind);
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        for field in SET_BY_SERVER {
            metadata.remove(field);
        }
    }
    object
}

async fn read_back(cluster: &Cluster, key: &Key) -> Result<Option<Value>, Refusal> {
    let answer = match cluster.caller.send(&Call::get(path(key))).await {
        Ok(answer) => answer.json(),
        Err(failure) if failure.code() == Some(404) => return Ok(None),
        Err(failure) => Err(failure),
    };
    answer.map(Some).map_err(|failure| Refusal {
        why: Why::AnswerLost,
        message: format!("the server accepted the write, but reading it back failed: {failure}"),
    })
}

/// Whether what was read back is what was written.
fn confirm(change: &Change, found: Option<Value>) -> Result<Option<Value>, Refusal> {
    let swallowed = |what: String| {
        let message = format!("the server answered with success, but {what}");
        Err(Refusal {
            why: Why::Swallowed,
            message,
        })
    };
    match (&change.op, found) {
        (Op::Delete { .. }, None) => Ok(None),
        (Op::Delete { before }, Some(found)) => {
            // Finalizers keep an object until others are done with it; a new uid is another object.
            let ends = found
                .pointer("/metadata/deletionTimestamp")
                .is_some_and(Value::is_string);
            if ends || found.pointer("/metadata/uid") != before.pointer("/metadata/uid") {
                Ok(Some(found))
            } else {
                swallowed("the object is still there".to_string())
            }
        }
        (Op::Create { .. } | Op::Update { .. }, None) => swallowed("the object is not there".to_string()),
        (Op::Create { .. } | Op::Update { .. }, Some(found)) => {
            let lost: Vec<String> = change
                .fields
                .iter()
                .filter(|field| !took(field, &found))
                .map(|field| field.path.to_string())
                .collect();
            if lost.is_empty() {
                Ok(Some(found))
            } else {
                swallowed(format!("these fields are not as written: {}", lost.join(", ")))
            }
        }
    }
}

fn took(field: &FieldChange, found: &Value) -> bool {
    let found = field.path.get(found);
    match (&field.after, found) {
        (Some(written), found) => holds(written, found),
        (None, None) => true,
        // A default may have come in its place, but not the value that was to go.
        (None, Some(found)) => field.before.as_ref() != Some(found),
    }
}

/// Whether `found` says what was written: lists of plain values in any order, maps with additions, numbers and
/// ports in either spelling, zero values left out.
fn holds(written: &Value, found: Option<&Value>) -> bool {
    let Some(found) = found else {
        return match written {
            Value::Null | Value::Bool(false) => true,
            Value::String(text) => text.is_empty(),
            Value::Array(list) => list.is_empty(),
            Value::Object(map) => map.values().all(|value| holds(value, None)),
            Value::Bool(true) | Value::Number(_) => false,
        };
    };
    match (written, found) {
        (Value::Object(written), Value::Object(found)) => written
            .iter()
            .all(|(key, value)| holds(value, found.get(key).filter(|value| !value.is_null()))),
        (Value::Array(written), Value::Array(found)) if plain(written) && plain(found) => {
            covers(written, found) && covers(found, written)
        }
        (Value::Array(written), Value::Array(found)) => {
            written.len() == found.len() && written.iter().zip(found).all(|(a, b)| holds(a, Some(b)))
        }
        _ => same(written, found),
    }
}

fn plain(list: &[Value]) -> bool {
    list.iter().all(|value| !value.is_object() && !value.is_array())
}

fn covers(these: &[Value], those: &[Value]) -> bool {
    these.iter().all(|a| those.iter().any(|b| same(a, b)))
}

/// Equal values; `10` and `10.0`, `80` and `"80"` are.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Number(number), Value::String(text)) | (Value::String(text), Value::Number(number)) => {
            number.to_string() == *text
        }
        _ => a == b,
    }
}

/// Why a write was not made, or is not known to have been made, by code and reason.
fn refusal(failure: &Failure) -> Refusal {
    let refusal = |why, message| Refusal { why, message };
    let lost = |what: &Failure| refusal(Why::AnswerLost, what.to_string());
    match failure {
        Failure::Unsent(_) | Failure::Credentials(_) => refusal(Why::Other, format!("not sent: {failure}")),
        Failure::TimedOut { .. } | Failure::Broken(_) | Failure::Untrusted(_) => lost(failure),
        Failure::Foreign { code: 500.., .. } => lost(failure),
        Failure::Foreign { .. } => refusal(Why::Other, failure.to_string()),
        Failure::Refused(refused) => match by_code(refused) {
            Why::AnswerLost => lost(failure),
            why => refusal(why, failure.to_string()),
        },
    }
}

fn by_code(refused: &Refused) -> Why {
    let ending = refused.causes.iter().any(|cause| cause == "NamespaceTerminating");
    match (refused.code, refused.reason.as_deref()) {
        (403, _) if ending => Why::Other,
        (401 | 403, _) => Why::Denied,
        // Without a Status it is the path that is not there: a kind that is not served.
        (404 | 410, Some(_)) => Why::Gone,
        (409 | 412, _) => Why::Changed,
        (400 | 413 | 422, _) => Why::Invalid,
        (429, _) => Why::Throttled,
        // Calico's API server refuses invalid objects like this, before anything is stored.
        (500, Some("")) => Why::Other,
        // A store that timed out, a webhook that died, a proxy that lost its upstream: any of them may come after
        // the write.
        (500.., _) => Why::AnswerLost,
        _ => Why::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_may_spell_what_was_written_in_its_own_way() {
        let same = [
            (json!({"a": 1}), json!({"a": 1.0, "added": true})),
            (
                json!(["10.0.0.0/8", "192.168.0.0/16"]),
                json!(["192.168.0.0/16", "10.0.0.0/8"]),
            ),
            (
                json!([{"ports": ["80", 443], "protocol": "TCP"}]),
                json!([{"ports": [80, 443], "protocol": "TCP", "x": {}}]),
            ),
            (json!({"preDNAT": false, "nets": [], "source": {}}), json!({})),
        ];
        for (written, found) in same {
            assert!(holds(&written, Some(&found)), "{written} as {found}");
        }
        let other = [
            (
                json!([{"action": "Allow"}, {"action": "Deny"}]),
                json!([{"action": "Deny"}, {"action": "Allow"}]),
            ),
            (json!({"order": 0}), json!({})),
            (json!(["a", "b"]), json!(["a"])),
            (json!(["a"]), json!(["a", "b"])),
            (json!([{"a": 1}]), json!([{"a": 1}, {"a": 2}])),
            (json!({"a": true}), json!({"a": null})),
        ];
        for (written, found) in other {
            assert!(!holds(&written, Some(&found)), "{written} is not {found}");
        }
    }

    #[test]
    fn an_unset_field_may_come_back_with_its_default_only() {
        let field = |before| FieldChange {
            path: crate::resource::FieldPath::dotted("spec.x"),
            before: Some(before),
            after: None,
            taken_from: None,
        };
        assert!(took(&field(json!("Enabled")), &json!({"spec": {"x": "Auto"}})));
        assert!(took(&field(json!("Enabled")), &json!({"spec": {}})));
        assert!(!took(&field(json!("Enabled")), &json!({"spec": {"x": "Enabled"}})));
    }
}
