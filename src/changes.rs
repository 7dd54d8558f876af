//! What differs, as data: steps with exactly the before and after that their operation has.
//!
//! A [`Change`] is bound to the object it was computed from. Its meaning is `State::after`, nowhere else.

use std::sync::Arc;

use serde::Serialize;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::resource::{FieldPath, Key, Origin};

/// One step.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    pub key: Key,
    pub op: Op,
    /// Field by field, in path order; for `Create` and `Delete` every field.
    pub fields: Vec<FieldChange>,
    pub origin: Origin,
    /// Steps of the same change set that must be done before, with the reason.
    pub needs: Vec<Need>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    /// The object as it is sent.
    Create { object: Value },
    /// A JSON merge patch against the object seen; the version of `before` is its precondition.
    Update { before: Arc<Value>, patch: Value },
    /// Deletion of exactly this object: its uid and version are the precondition.
    Delete { before: Arc<Value> },
}

/// One field of a step. `None` is absent.
#[derive(Clone, Debug, PartialEq)]
pub struct FieldChange {
    pub path: FieldPath,
    pub before: Option<Value>,
    pub after: Option<Value>,
    /// The manager that wrote the value before, when it is not this plan.
    pub taken_from: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Need {
    pub key: Key,
    pub reason: String,
}

/// What `diff` returns: steps in an order in which each need comes first, and what is to be known beside them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ChangeSet {
    pub steps: Vec<Change>,
    /// Targets that could not be read: shown, and never applied.
    pub unreadable: Vec<(Key, String)>,
    /// What is not done, and why; in reading order.
    pub notes: Vec<Note>,
    /// What is wrong with objects that are there already; not of this plan's making.
    pub findings: Vec<Finding>,
}

/// A live object that is not enforced as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    pub key: Key,
    /// Of a rule of `calico::RULES`.
    pub code: &'static str,
    /// Inside the object: `spec.ingress[0].source.nets[1]`.
    pub path: String,
    pub message: String,
    pub consequence: Option<String>,
}

/// Something a reviewer must know that is not a step.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Note {
    pub about: String,
    pub text: String,
    /// Where `explain` has more to say of it.
    pub code: Option<&'static str>,
}

impl ChangeSet {
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.unreadable.is_empty()
    }

    /// How many steps create, update and delete.
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for step in &self.steps {
            match step.op {
                Op::Create { .. } => counts.create += 1,
                Op::Update { .. } => counts.update += 1,
                Op::Delete { .. } => counts.delete += 1,
            }
        }
        counts
    }

    /// The id of the change set: SHA-256 over what would be done and to which object, in order. Object versions
    /// are left out: a heartbeat is no change of what was approved.
    pub fn digest(&self) -> String {
        digest(&self.steps)
    }
}

/// What makes a step the same when it is computed again. Fields in the order of their names, as all JSON that is hashed.
#[derive(PartialEq, Serialize)]
struct Identity<'a> {
    fields: Vec<FieldIdentity<'a>>,
    key: String,
    uid: Option<&'a Value>,
    verb: &'static str,
}

#[derive(PartialEq, Serialize)]
struct FieldIdentity<'a> {
    after: Option<&'a Value>,
    before: Option<&'a Value>,
    path: String,
}

impl FieldIdentity<'_> {
    fn of(field: &FieldChange) -> FieldIdentity<'_> {
        FieldIdentity {
            after: field.after.as_ref(),
            before: field.before.as_ref(),
            path: field.path.pointer(),
        }
    }
}

/// The id of these steps in this order; see [`ChangeSet::digest`].
pub fn digest<'a>(steps: impl IntoIterator<Item = &'a Change>) -> String {
    let steps: Vec<Identity> = steps.into_iter().map(Change::identity).collect();
    hex_digest(&steps)
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub create: usize,
    pub update: usize,
    pub delete: usize,
}

impl Op {
    /// The verb of the API.
    pub fn verb(&self) -> &'static str {
        match self {
            Op::Create { .. } => "create",
            Op::Update { .. } => "update",
            Op::Delete { .. } => "delete",
        }
    }
}

impl Change {
    /// A change that no field of a plan asks for, on behalf of `section`.
    pub fn bare(key: Key, op: Op, section: &str) -> Change {
        Change {
            key,
            op,
            fields: Vec::new(),
            origin: Origin {
                section: section.into(),
                span: None,
            },
            needs: Vec::new(),
        }
    }

    /// An update of these fields of `before`.
    pub fn update(key: Key, before: impl Into<Arc<Value>>, fields: Vec<FieldChange>, origin: Origin) -> Change {
        let before = before.into();
        let mut patch = json!({});
        for field in &fields {
            field.path.set(&mut patch, field.after.clone().unwrap_or(Value::Null));
        }
        Change {
            key,
            op: Op::Update { before, patch },
            fields,
            origin,
            needs: Vec::new(),
        }
    }

    fn identity(&self) -> Identity<'_> {
        let uid = match &self.op {
            Op::Create { .. } => None,
            Op::Update { before, .. } | Op::Delete { before } => before.pointer("/metadata/uid"),
        };
        Identity {
            fields: self.fields.iter().map(FieldIdentity::of).collect(),
            key: self.key.to_string(),
            uid,
            verb: self.op.verb(),
        }
    }

    /// The same step, whatever versions the two were computed from.
    pub fn same_as(&self, other: &Change) -> bool {
        self.identity() == other.identity()
    }

    /// The step that takes this one back.
    pub fn inverse(&self) -> Change {
        let back = |f: &FieldChange| FieldChange {
            path: f.path.clone(),
            before: f.after.clone(),
            after: f.before.clone(),
            taken_from: None,
        };
        let fields: Vec<FieldChange> = self.fields.iter().map(back).collect();
        let op = match &self.op {
            Op::Create { object } => Op::Delete {
                before: object.clone().into(),
            },
            Op::Delete { before } => Op::Create {
                object: (**before).clone(),
            },
            Op::Update { before, patch } => {
                let mut after = (**before).clone();
                merge(&mut after, patch);
                return Change::update(self.key.clone(), after, fields, self.origin.clone());
            }
        };
        Change {
            key: self.key.clone(),
            op,
            fields,
            origin: self.origin.clone(),
            needs: Vec::new(),
        }
    }
}

/// RFC 7386: what an API server does with a JSON merge patch.
pub fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let map = target.as_object_mut().expect("made a map above");
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

/// `sha256:` and 32 hexadecimal digits of the value's JSON, whose keys are sorted.
pub fn hex_digest(value: &impl Serialize) -> String {
    let text = serde_json::to_vec(value).expect("a value is printable");
    let first: [u8; 16] = Sha256::digest(text)[..16].try_into().expect("a digest is longer");
    format!("sha256:{:032x}", u128::from_be_bytes(first))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::Kind;

    fn origin() -> Origin {
        Origin {
            section: "test".into(),
            span: None,
        }
    }

    fn field(path: &str, before: Option<Value>, after: Option<Value>) -> FieldChange {
        FieldChange {
            path: FieldPath::dotted(path),
            before,
            after,
            taken_from: None,
        }
    }

    #[test]
    fn merge_patches_as_rfc_7386_says() {
        let mut target = json!({"a": {"b": 1, "c": 2}, "d": [1]});
        merge(&mut target, &json!({"a": {"b": null, "e": {"f": null}}, "d": [2]}));
        assert_eq!(target, json!({"a": {"c": 2, "e": {}}, "d": [2]}));
    }

    #[test]
    fn the_digest_ignores_versions_and_not_uids() {
        let at = |version: &str, uid: &str| {
            let before = json!({"metadata": {"resourceVersion": version, "uid": uid}, "spec": {"order": 1}});
            let fields = vec![field("spec.order", Some(json!(1)), Some(json!(2)))];
            let step = Change::update(Key::cluster(Kind::Tier, "t"), before, fields, origin());
            ChangeSet {
                steps: vec![step],
                ..ChangeSet::default()
            }
            .digest()
        };
        assert_eq!(at("1", "u"), at("2", "u"));
        assert_ne!(at("1", "u"), at("1", "v"));
    }

    #[test]
    fn an_update_is_undone_by_its_inverse() {
        let before = json!({"spec": {"order": 1}});
        let fields = vec![
            field("spec.order", Some(json!(1)), Some(json!(2))),
            field("spec.x", None, Some(json!(3))),
        ];
        let step = Change::update(Key::cluster(Kind::Tier, "t"), before.clone(), fields, origin());
        let (
            Op::Update { patch, .. },
            Op::Update {
                before: after,
                patch: back,
            },
        ) = (&step.op, &step.inverse().op)
        else {
            panic!("an update and its inverse are updates");
        };
        let mut object = before.clone();
        merge(&mut object, patch);
        assert_eq!(object, **after);
        merge(&mut object, back);
        assert_eq!(object, before);
    }
}
