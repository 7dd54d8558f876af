//! Whether what was shown still stands before the first write, and what is left of it once some steps were made.
//!
//! Pure: what is there now comes in, and a word on it goes out. What moved and changes neither the steps, nor their safe
//! order, nor where they lead, is only mentioned.

use std::collections::BTreeMap;

use crate::apply::{Made, Stood};
use crate::changes::{Change, ChangeSet, Op};
use crate::exposure::{self, Clients, Movement, Row, Subject, Verdict, World};
use crate::net::AddressSet;
use crate::resource::{Key, Kind};
use crate::sequence::{Sequence, Step, Terms};
use crate::state::{Moved, State};

/// So many are told one by one; more of a kind as a number.
const TOLD: usize = 3;

/// What was approved.
#[derive(Clone, Copy)]
pub struct Approval<'a> {
    /// The state it was computed from.
    pub state: &'a State,
    pub set: &'a ChangeSet,
    pub terms: &'a Terms<'a>,
}

/// What was shown, as far as it was approved.
pub struct Picture<'a> {
    /// In their order.
    pub steps: Vec<&'a Change>,
    pub reach: Vec<Reached<'a>>,
}

/// A row of exposure as far as it was approved: nodes and verdicts, not what explains them.
pub type Reached<'a> = (
    Movement,
    Subject,
    Option<bool>,
    Vec<&'a String>,
    Option<Verdict>,
    Option<Verdict>,
);

/// The verdicts that were shown, without what only explains them: a pod that moves to another node is no change of
/// what was approved.
pub fn reach<'a>(rows: impl IntoIterator<Item = &'a Row>) -> Vec<Reached<'a>> {
    let verdict = |side: &Option<exposure::Answer>| side.as_ref().map(|answer| answer.verdict);
    let reached = |row: &'a Row| {
        let mut subject = row.subject.clone();
        if row.clients.is_some() {
            // Pods come and go; who they are is no part of it.
            subject.sources = AddressSet::empty();
        }
        (
            row.movement,
            subject,
            row.clients.as_ref().map(Clients::all),
            row.nodes.keys().collect(),
            verdict(&row.before),
            verdict(&row.after),
        )
    };
    rows.into_iter().map(reached).collect()
}

/// What of a picture is another one now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shifted {
    Steps,
    Reach,
}

impl Picture<'_> {
    /// Before the first write: the same steps in the same order, whatever versions they were computed from, and the same
    /// verdicts.
    pub fn shifted(&self, now: &Picture) -> Option<Shifted> {
        let mut steps = self.steps.iter().zip(&now.steps);
        if self.steps.len() != now.steps.len() || !steps.all(|(a, b)| a.same_as(b)) {
            return Some(Shifted::Steps);
        }
        (self.reach != now.reach).then_some(Shifted::Reach)
    }
}

/// What the plan wants of a state: its steps, or why it does not fit.
pub type Wanted<'a> = dyn Fn(&State) -> Result<ChangeSet, String> + 'a;

/// Whether the steps that are left still stand, in their order, on what is there after `made`.
pub fn still(approval: Approval, wanted: &Wanted, now: &State, made: &[Made], left: &[&Step]) -> Stood {
    let moved = moved_by_others(approval.state, now, made);
    if moved.is_empty() {
        return Stood::Same;
    }
    let what = lines(&moved);
    let unread = |moved: &Moved| matches!(moved, Moved::Read(kind) if now.list(*kind).is_err());
    if moved.iter().any(unread) {
        return Stood::Unread(what);
    }
    match stands(approval, wanted, now, made, left) {
        Ok(()) => Stood::Beside(what),
        Err(why) => Stood::Moved(std::iter::once(why).chain(what).collect()),
    }
}

/// What moved, for people: one by one where it is little, as numbers where it is much.
pub fn lines(moved: &[Moved]) -> Vec<String> {
    let mut by_kind: BTreeMap<Kind, Vec<String>> = BTreeMap::new();
    for one in moved {
        by_kind.entry(one.about().0).or_default().push(one.to_string());
    }
    let of_kind = |(kind, lines): (Kind, Vec<String>)| {
        if lines.len() > TOLD {
            vec![format!("{} objects of kind {kind} moved", lines.len())]
        } else {
            lines
        }
    };
    by_kind.into_iter().flat_map(of_kind).collect()
}

/// What was neither as it was nor as controllers make of that when we wrote it, or is neither as our steps left it nor
/// as controllers make of that.
fn moved_by_others(before: &State, now: &State, made: &[Made]) -> Vec<Moved> {
    let mut met = before.clone();
    let mut written = before.after_all(made.iter().map(|made| &made.change));
    for Made { change, stored } in made {
        if let Op::Update { before, .. } | Op::Delete { before } = &change.op {
            met.put(&change.key, Some((**before).clone()));
        }
        // what the server added is no movement
        if let Some(object) = stored {
            written.put(&change.key, Some(object.clone()));
        }
    }
    let mut moved = moved_from(before, &met);
    for late in moved_from(&written, now) {
        if !moved.iter().any(|early| early.about() == late.about()) {
            moved.push(late);
        }
    }
    moved
}

/// What moved of a state and of what controllers make of it: an object that is as one of them is where it should be.
fn moved_from(before: &State, now: &State) -> Vec<Moved> {
    let moved = before.moved(now);
    if moved.is_empty() {
        return moved;
    }
    let from_settled = before.settled().moved(now);
    let both = |moved: &Moved| from_settled.iter().any(|other| other.about() == moved.about());
    moved.into_iter().filter(both).collect()
}

fn stands(approval: Approval, wanted: &Wanted, now: &State, made: &[Made], left: &[&Step]) -> Result<(), String> {
    same_steps(approval, &wanted(now)?, made, left)?;
    let rest = || left.iter().map(|step| &step.change);
    let all = made.iter().map(|made| &made.change).chain(rest());
    let approved = (approval.state.clone(), approval.state.after_all(all));
    let undone: Vec<Change> = made.iter().rev().map(|made| made.change.inverse()).collect();
    let today = (now.after_all(&undone), now.after_all(rest()));
    if reach(&rows(approved)) != reach(&rows(today)) {
        return Err("what it does to who can reach what would be another thing now".to_string());
    }
    same_order(approval, now, left)
}

/// What the steps do to who can reach what, with everything that controllers make of them.
fn rows((before, after): (State, State)) -> Vec<Row> {
    let [before, after] = [before, after].map(|state| World::of_state(&state.settled()));
    let mut rows = exposure::difference(&before, &after);
    rows.extend(exposure::difference_inside(&before, &after).unwrap_or_default());
    rows
}

/// Whether the plan wants of what is there exactly what is left.
fn same_steps(approval: Approval, now: &ChangeSet, made: &[Made], left: &[&Step]) -> Result<(), String> {
    if let Some((key, why)) = now.unreadable.first() {
        return Err(format!("{key} could not be read: {why}"));
    }
    let mut wanted: BTreeMap<&Key, &Change> = left.iter().map(|step| (&step.change.key, &step.change)).collect();
    for step in &now.steps {
        let approved = approval.set.steps.iter().any(|approved| approved.key == step.key);
        let done = made.iter().any(|made| made.change.key == step.key);
        match wanted.remove(&step.key) {
            Some(change) if change.same_as(step) => {}
            Some(_) => return Err(format!("{} would be changed in another way now", step.key)),
            // left out because it failed, or rests on one that did
            None if approved && !done => {}
            None => return Err(format!("{} is not as it was left", step.key)),
        }
    }
    match wanted.keys().next() {
        Some(key) => Err(format!("{key} is as wanted already, by somebody else")),
        None => Ok(()),
    }
}

fn same_order(approval: Approval, now: &State, left: &[&Step]) -> Result<(), String> {
    if left.is_empty() {
        return Ok(());
    }
    let set = ChangeSet {
        steps: left.iter().map(|step| step.change.clone()).collect(),
        ..ChangeSet::default()
    };
    let order = match Sequence::find(now, &set, approval.terms) {
        Some(Ok(sequence)) => sequence,
        Some(Err(_)) | None => return Err("there is no safe order for what is left any more".to_string()),
    };
    let keys = order.steps().iter().map(|step| &step.change.key);
    if keys.eq(left.iter().map(|step| &step.change.key)) {
        Ok(())
    } else {
        Err("the safe order of what is left is another one now".to_string())
    }
}

/// The steps that undo what was made, in a proven order. What somebody changed since is in the way.
pub fn take_back(terms: &Terms, now: &State, made: &[Made]) -> Result<Vec<Step>, String> {
    let steps = made
        .iter()
        .rev()
        .map(|made| undone(now, made))
        .collect::<Result<_, _>>()?;
    let set = ChangeSet {
        steps,
        ..ChangeSet::default()
    };
    match Sequence::find(now, &set, terms) {
        Some(Ok(sequence)) => Ok(sequence.steps().to_vec()),
        Some(Err(_)) | None => Err("there is no safe order to take it back in".to_string()),
    }
}

fn undone(now: &State, made: &Made) -> Result<Change, String> {
    let key = &made.change.key;
    let mut back = made.change.inverse();
    match (&mut back.op, now.present(key)) {
        (Op::Create { .. }, None) => {}
        (Op::Create { .. }, Some(_)) => return Err(format!("{key} is there again")),
        (Op::Update { .. } | Op::Delete { .. }, None) => return Err(format!("{key} is gone")),
        (Op::Update { before, .. } | Op::Delete { before }, Some(live)) => {
            let as_left = |stored: &serde_json::Value| {
                let mut fields = made.change.fields.iter();
                fields.all(|field| field.path.get(&live) == field.path.get(stored))
            };
            if !made.stored.as_ref().is_none_or(as_left) {
                return Err(format!("{key} was changed since by somebody else"));
            }
            *before = live.into_owned().into();
        }
    }
    Ok(back)
}
