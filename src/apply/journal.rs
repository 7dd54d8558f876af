//! The record on its way into the cluster: written before the changes it protects, compare-and-set like any write.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::changes::{Change, Op};
use crate::inventory::Inventory;
use crate::provider::{Provider, Refusal, Why};
use crate::resource::{Key, Origin};
use crate::state::{Observed, Scope};

/// The record once these keys turned out not to be done.
type Settle = dyn Fn(&BTreeSet<Key>) -> Inventory + Send + Sync;

/// Where the record is, as it was last seen, and its forms before and after.
pub struct Journal {
    key: Key,
    held: Option<Value>,
    intended: Inventory,
    write_first: bool,
    settle: Box<Settle>,
}

impl Journal {
    /// `settle` gives the record once these keys turned out not to be done.
    pub fn new(
        key: Key,
        held: Option<Value>,
        intended: Inventory,
        write_first: bool,
        settle: impl Fn(&BTreeSet<Key>) -> Inventory + Send + Sync + 'static,
    ) -> Journal {
        Journal {
            key,
            held,
            intended,
            write_first,
            settle: Box::new(settle),
        }
    }

    /// What will be written, for the check of permissions.
    pub fn first_change(&self) -> Option<Change> {
        if self.write_first {
            Some(self.change(&self.intended))
        } else {
            self.change_to(&(self.settle)(&BTreeSet::new()))
        }
    }

    /// Writes every before-value and every intent.
    pub(super) async fn intend(&mut self, provider: &dyn Provider) -> Result<(), Refusal> {
        if self.write_first {
            let change = self.change(&self.intended);
            self.held = self.write(provider, &change, Some(&self.intended)).await?;
        }
        Ok(())
    }

    /// Brings the record to what holds now; an empty one goes.
    pub(super) async fn settle(&mut self, provider: &dyn Provider, not_done: &BTreeSet<Key>) -> Result<(), Refusal> {
        let inventory = (self.settle)(not_done);
        if let Some(change) = self.change_to(&inventory) {
            let wanted = (!inventory.entries.is_empty()).then_some(&inventory);
            self.held = self.write(provider, &change, wanted).await?;
        }
        Ok(())
    }

    /// Writes the record once. When the answer is lost or not to be believed, what is there decides.
    async fn write(
        &self,
        provider: &dyn Provider,
        change: &Change,
        wanted: Option<&Inventory>,
    ) -> Result<Option<Value>, Refusal> {
        let holds = |found: Option<&Value>| match (wanted, found) {
            (None, found) => found.is_none(),
            (Some(wanted), Some(found)) => Inventory::read(found).is_some_and(|held| held.as_ref() == Ok(wanted)),
            (Some(_), None) => false,
        };
        let refusal = match provider.perform(change).await {
            // a record that is going is as good as gone
            Ok(found) if wanted.is_none() || holds(found.as_ref()) => return Ok(found),
            Ok(_) => Refusal {
                why: Why::Swallowed,
                message: "the server answered with success, but the record is not as written".into(),
            },
            Err(refusal) if matches!(refusal.why, Why::AnswerLost | Why::Swallowed) => refusal,
            Err(refusal) => return Err(refusal),
        };
        let scope = Scope {
            kinds: [self.key.kind].into(),
            inventory_namespace: self.key.namespace.clone(),
            cloud: None,
        };
        let Ok(state) = provider.read(&scope).await else {
            let message = format!("{}; whether it was written is not known", refusal.message);
            return Err(Refusal { message, ..refusal });
        };
        match state.get(&self.key) {
            Observed::Present(found) if holds(Some(found)) => Ok(Some(found.clone())),
            Observed::Absent if holds(None) => Ok(None),
            _ => Err(refusal),
        }
    }

    fn change_to(&self, inventory: &Inventory) -> Option<Change> {
        if inventory.entries.is_empty() {
            let before = self.held.clone()?;
            return Some(self.step(Op::Delete { before: before.into() }));
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
            None => self.step(Op::Create { object }),
            Some(before) => {
                let patch = json!({"metadata": {"labels": object["metadata"]["labels"]}, "data": object["data"]});
                self.step(Op::Update {
                    before: before.clone().into(),
                    patch,
                })
            }
        }
    }

    fn step(&self, op: Op) -> Change {
        let origin = Origin {
            section: "inventory".into(),
            span: None,
        };
        Change {
            key: self.key.clone(),
            op,
            fields: Vec::new(),
            origin,
            needs: Vec::new(),
        }
    }
}
