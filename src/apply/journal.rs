//! The books on their way into the world: the record, written before the changes it protects, and the run's own
//! account of what it set out to do and how far it came. Compare-and-set like any write.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::{Lock, Outcome};
use crate::changes::{Change, Op};
use crate::history::{self, Past};
use crate::inventory::Inventory;
use crate::provider::{Provider, Refusal, Why};
use crate::resource::Key;
use crate::state::{Observed, Scope};

/// Where is written, and under which lock: none of the writes of a book begins once that is lost.
type Under<'a> = (&'a dyn Provider, &'a Lock);

fn lost() -> Refusal {
    Refusal {
        why: Why::Other,
        message: "not sent: the lock was lost".into(),
    }
}

/// The record once these keys turned out not to be done, and these others were taken back.
type Settle = dyn Fn(&BTreeSet<Key>, &BTreeSet<Key>) -> Inventory + Send + Sync;

/// Where the record is, as it was last seen, and its forms before and after; and the run beside it.
pub struct Journal {
    key: Key,
    held: Option<Value>,
    intended: Inventory,
    write_first: bool,
    settle: Box<Settle>,
    run: Option<RunBook>,
}

/// The account of this run.
struct RunBook {
    key: Key,
    past: Past,
    held: Option<Value>,
    /// Runs that are more than are kept.
    old: Vec<(Key, Value)>,
}

impl Journal {
    /// `settle` gives the record once these keys turned out not to be done, and those were taken back.
    pub fn new(
        key: Key,
        held: Option<Value>,
        intended: Inventory,
        write_first: bool,
        settle: impl Fn(&BTreeSet<Key>, &BTreeSet<Key>) -> Inventory + Send + Sync + 'static,
    ) -> Journal {
        Journal {
            key,
            held,
            intended,
            write_first,
            settle: Box::new(settle),
            run: None,
        }
    }

    /// With an account of the run; `old` go once this one is begun.
    pub fn of_run(mut self, past: Past, old: Vec<(Key, Value)>) -> Journal {
        self.run = Some(RunBook {
            key: Past::key(&self.key.namespace, &past.intent.plan, past.intent.number),
            past,
            held: None,
            old,
        });
        self
    }

    /// Whether nothing is left of the plan once everything is done.
    pub fn ends_empty(&self) -> bool {
        (self.settle)(&BTreeSet::new(), &BTreeSet::new()).entries.is_empty()
    }

    /// What will be written, for the check of permissions.
    pub fn writes(&self) -> Vec<Change> {
        let record = if self.write_first {
            Some(self.change(&self.intended))
        } else {
            self.change_to(&(self.settle)(&BTreeSet::new(), &BTreeSet::new()))
        };
        let mut writes: Vec<Change> = record.into_iter().collect();
        if let Some(run) = &self.run {
            writes.push(run.create());
            writes.push(run.progress(Value::Null));
            writes.extend(run.old.iter().map(|(key, before)| {
                step(
                    key,
                    Op::Delete {
                        before: before.clone().into(),
                    },
                )
            }));
        }
        writes
    }

    /// Writes what is intended: the run, then every before-value.
    pub(super) async fn intend(&mut self, (provider, lock): Under<'_>) -> Result<(), Refusal> {
        if let Some(run) = &mut self.run {
            let change = run.create();
            let wanted = run.past.clone();
            let holds = move |found: Option<&Value>| match found.and_then(Past::read) {
                Some(Ok(found)) => found.intent == wanted.intent || found.intent.without_values,
                _ => false,
            };
            run.held = write((provider, lock), &change, &holds).await?;
            for (key, before) in std::mem::take(&mut run.old) {
                // One that stays is looked at again by the next run.
                if !lock.may_write().await {
                    return Err(lost());
                }
                let _ = provider
                    .perform(&step(&key, Op::Delete { before: before.into() }))
                    .await;
            }
        }
        if self.write_first {
            let change = self.change(&self.intended);
            self.held = write((provider, lock), &change, &holds(Some(&self.intended))).await?;
        }
        Ok(())
    }

    /// Notes what became of a step, by its place.
    pub(super) fn note(&mut self, place: usize, outcome: &Outcome) {
        let Some(run) = &mut self.run else { return };
        let letter = match outcome {
            Outcome::Done => 'd',
            Outcome::Failed(_) => 'f',
            Outcome::Skipped(_) => 's',
        };
        run.past.progress.mark(place, letter);
        if let Outcome::Failed(refusal) = outcome {
            run.past.progress.tell(place, &refusal.message);
        }
    }

    /// Notes that steps are begun, or taken back.
    pub(super) fn mark(&mut self, place: usize, letter: char) {
        if let Some(run) = &mut self.run {
            run.past.progress.mark(place, letter);
        }
    }

    /// Writes how far it came. That this fails loses no before-value: the run goes on, and the next write tells all.
    pub(super) async fn tell(&mut self, under: Under<'_>) {
        if let Some(run) = &mut self.run {
            let _ = run.write_progress(under).await;
        }
    }

    /// Brings the record to what holds now; an empty one goes. Then closes the run.
    pub(super) async fn settle(
        &mut self,
        under: Under<'_>,
        not_done: &BTreeSet<Key>,
        taken_back: &BTreeSet<Key>,
        end: (history::Outcome, String),
    ) -> Result<(), Refusal> {
        let inventory = (self.settle)(not_done, taken_back);
        let mut settled = Ok(());
        if let Some(change) = self.change_to(&inventory) {
            let wanted = (!inventory.entries.is_empty()).then_some(&inventory);
            match write(under, &change, &holds(wanted)).await {
                Ok(held) => self.held = held,
                Err(refusal) => settled = Err(refusal),
            }
        }
        if let Some(run) = &mut self.run {
            (run.past.progress.result, run.past.progress.ended) = (end.0, Some(end.1));
            let closed = run.write_progress(under).await;
            settled = settled.and(closed);
        }
        settled
    }

    fn change_to(&self, inventory: &Inventory) -> Option<Change> {
        if inventory.entries.is_empty() {
            let before = self.held.clone()?;
            return Some(step(&self.key, Op::Delete { before: before.into() }));
        }
        let same = self
            .held
            .as_ref()
            .and_then(Inventory::read)
            .is_some_and(|held| held.as_ref() == Ok(inventory));
        (!same).then(|| self.change(inventory))
    }

    fn change(&self, inventory: &Inventory) -> Change {
        let object = inventory.object(&self.key.namespace);
        match &self.held {
            None => step(&self.key, Op::Create { object }),
            Some(before) => {
                let labels = json!({"labels": object["metadata"]["labels"]});
                // null takes out the form that it no longer has
                let patch = json!({"metadata": labels, "data": object["data"], "binaryData": object["binaryData"]});
                let before = before.clone().into();
                step(&self.key, Op::Update { before, patch })
            }
        }
    }
}

impl RunBook {
    fn create(&self) -> Change {
        let object = self.past.object(&self.key.namespace);
        step(&self.key, Op::Create { object })
    }

    fn progress(&self, data: Value) -> Change {
        let before = self.held.clone().unwrap_or_default().into();
        let patch = json!({"data": data});
        step(&self.key, Op::Update { before, patch })
    }

    async fn write_progress(&mut self, under: Under<'_>) -> Result<(), Refusal> {
        let wanted = self.past.progress.clone();
        let change = self.progress(wanted.data());
        let holds = |found: Option<&Value>| {
            let found = found.and_then(Past::read);
            found.is_some_and(|found| found.is_ok_and(|past| past.progress == wanted))
        };
        match write(under, &change, &holds).await {
            Ok(held) => {
                self.held = held;
                Ok(())
            }
            Err(refusal) => {
                // An answer that was lost leaves another version than the one seen.
                if let Ok(Seen::There(now)) = look(under.0, &self.key).await {
                    self.held = Some(now);
                }
                Err(refusal)
            }
        }
    }
}

fn holds(wanted: Option<&Inventory>) -> impl Fn(Option<&Value>) -> bool {
    move |found| match (wanted, found) {
        (None, found) => found.is_none(),
        (Some(wanted), Some(found)) => Inventory::read(found).is_some_and(|held| held.as_ref() == Ok(wanted)),
        (Some(_), None) => false,
    }
}

/// An object as it is read to see what a write came to.
enum Seen {
    There(Value),
    Gone,
}

async fn look(provider: &dyn Provider, key: &Key) -> Result<Seen, ()> {
    let scope = Scope {
        kinds: [key.kind].into(),
        inventory_namespace: key.namespace.clone(),
        cloud: None,
    };
    match provider.read(&scope).await.map_err(drop)?.get(key) {
        Observed::Present(found) => Ok(Seen::There(found.into_owned())),
        Observed::Absent => Ok(Seen::Gone),
        Observed::Unreadable(_) => Err(()),
    }
}

/// Writes once. When the answer is lost or not to be believed, what is there decides.
async fn write(
    (provider, lock): Under<'_>,
    change: &Change,
    holds: &(dyn Fn(Option<&Value>) -> bool + Sync),
) -> Result<Option<Value>, Refusal> {
    if !lock.may_write().await {
        return Err(lost());
    }
    let goes = matches!(change.op, Op::Delete { .. });
    let refusal = match provider.perform(change).await {
        // what is going is as good as gone
        Ok(found) if goes || holds(found.as_ref()) => return Ok(found),
        Ok(_) => Refusal {
            why: Why::Swallowed,
            message: "the server answered with success, but the record is not as written".into(),
        },
        Err(refusal) if matches!(refusal.why, Why::AnswerLost | Why::Swallowed) => refusal,
        Err(refusal) => return Err(refusal),
    };
    match look(provider, &change.key).await {
        Ok(Seen::There(found)) if holds(Some(&found)) => Ok(Some(found)),
        Ok(Seen::Gone) if holds(None) => Ok(None),
        Ok(_) => Err(refusal),
        Err(()) => {
            let message = format!("{}; whether it was written is not known", refusal.message);
            Err(Refusal { message, ..refusal })
        }
    }
}

fn step(key: &Key, op: Op) -> Change {
    Change::bare(key.clone(), op, "inventory")
}
