//! Two ends that lead on from one state, compared: what the change of a plan does, apart from what differs anyway.
//!
//! Ends are compared object by object, in the fields that either of them writes. What both make the same of is drift of
//! the live state, which neither plan is about.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::canonical;
use crate::changes::{Change, ChangeSet, FieldChange, Op};
use crate::graph::Graph;
use crate::resource::{FieldPath, Key, Kind, Origin, fields_of};
use crate::state::State;

/// Where a plan leads to.
pub struct End<'a> {
    pub set: &'a ChangeSet,
    /// What the plan wants, for its places.
    pub graph: &'a Graph,
    /// The state once all of its steps are written.
    pub state: &'a State,
}

/// What differs between two ends.
#[derive(Clone, Debug, PartialEq)]
pub struct Between {
    /// In the order of the second one's steps; then what only the first one does.
    pub altered: Vec<Altered>,
    /// Steps that lead to the same on both sides.
    pub drift: usize,
}

/// An object of which the second end makes something else.
#[derive(Clone, Debug, PartialEq)]
pub struct Altered {
    /// From what the first end makes of it to what the second one does; its origin is the second plan's where that
    /// names the object.
    pub change: Change,
    pub named_by_head: bool,
    /// What each does to the live object; `None`: nothing.
    pub base: Option<&'static str>,
    pub head: Option<&'static str>,
}

/// Compares where two plans lead to.
pub fn between(base: &End, head: &End) -> Between {
    let steps = |end: &End| -> BTreeMap<Key, Change> {
        let steps = end.set.steps.iter();
        steps.map(|step| (step.key.clone(), step.clone())).collect()
    };
    let (of_base, of_head) = (steps(base), steps(head));
    // the namespace of the record stays when a plan goes (`record.rs`)
    let goes = |step: &&Change| step.key.kind != Kind::Namespace && !of_head.contains_key(&step.key);
    let only_base = base.set.steps.iter().filter(goes);
    let mut between = Between {
        altered: Vec::new(),
        drift: 0,
    };
    for Change { key, .. } in head.set.steps.iter().chain(only_base) {
        let (was, is) = (of_base.get(key), of_head.get(key));
        match altered(
            key,
            (was, base.state.present(key).as_deref()),
            (is, head.state.present(key).as_deref()),
        ) {
            Some((op, fields)) => between.altered.push(Altered {
                change: Change {
                    key: key.clone(),
                    op,
                    fields,
                    origin: origin(key, base, head).unwrap_or_else(|| either(was, is).origin.clone()),
                    needs: Vec::new(),
                },
                named_by_head: head.graph.get(key).is_some_and(|wanted| wanted.origin.span.is_some()),
                base: was.map(|step| step.op.verb()),
                head: is.map(|step| step.op.verb()),
            }),
            None => between.drift += 1,
        }
    }
    between
}

/// A step and what becomes of its object.
type Made<'a> = (Option<&'a Change>, Option<&'a Value>);

fn altered(key: &Key, (was_step, was): Made, (is_step, is): Made) -> Option<(Op, Vec<FieldChange>)> {
    match (was, is) {
        (None, None) => None,
        (None, Some(object)) => {
            let written = is_step.filter(|step| matches!(step.op, Op::Create { .. }));
            let fields = written.map_or_else(|| whole(object, false), |step| step.fields.clone());
            Some((Op::Create { object: object.clone() }, fields))
        }
        (Some(object), None) => Some((
            Op::Delete {
                before: object.clone().into(),
            },
            whole(object, true),
        )),
        (Some(was), Some(is)) => {
            let steps = [was_step, is_step].into_iter().flatten();
            let paths: BTreeSet<&FieldPath> = steps.flat_map(|step| &step.fields).map(|field| &field.path).collect();
            let same = |path: &FieldPath| {
                let form = |object: &Value| canonical(key.kind, path, path.get(object));
                form(was) == form(is)
            };
            let fields: Vec<FieldChange> = paths
                .into_iter()
                .filter(|path| !same(path))
                .map(|path| FieldChange {
                    path: path.clone(),
                    before: path.get(was).cloned(),
                    after: path.get(is).cloned(),
                    taken_from: None,
                })
                .collect();
            if fields.is_empty() {
                return None;
            }
            let change = Change::update(
                key.clone(),
                was.clone(),
                fields,
                either(was_step, is_step).origin.clone(),
            );
            Some((change.op, change.fields))
        }
    }
}

/// Every field of the spec of an object that comes or goes as a whole.
fn whole(object: &Value, goes: bool) -> Vec<FieldChange> {
    let fields = fields_of(object).into_iter().filter(|(path, _)| path.0[0] == "spec");
    let field = |(path, value): (FieldPath, Value)| FieldChange {
        path,
        before: goes.then(|| value.clone()),
        after: (!goes).then_some(value),
        taken_from: None,
    };
    fields.map(field).collect()
}

fn either<'a>(was: Option<&'a Change>, is: Option<&'a Change>) -> &'a Change {
    is.or(was).expect("a step of one of the two")
}

/// Where a plan asks for the object: the head's place, else the base's.
fn origin(key: &Key, base: &End, head: &End) -> Option<Origin> {
    let of = |end: &End| {
        Some(&end.graph.get(key)?.origin)
            .filter(|origin| origin.span.is_some())
            .cloned()
    };
    of(head).or_else(|| of(base))
}
