//! The steps in the order in which they will be made, and the same after a yes.
//!
//! For now the order is the graph's: by existence. Nothing here claims more, and the header of every answer says so.

use crate::changes::{Change, ChangeSet};

/// What the header of every answer says about the order.
pub const CLAIM: &str = "order by existence; safety not proven yet";

/// Steps whose needs come first. Made only from a change set without unreadable targets.
#[derive(Clone, Debug)]
pub struct Sequence {
    steps: Vec<Change>,
    digest: String,
}

/// A sequence to which somebody said yes.
#[derive(Clone, Debug)]
pub struct Approved(Sequence);

impl Sequence {
    /// `None` when a target could not be read: such a change set is shown, and never sequenced.
    pub fn of(set: &ChangeSet) -> Option<Sequence> {
        set.unreadable.is_empty().then(|| Sequence {
            steps: set.steps.clone(),
            digest: set.digest(),
        })
    }

    /// Binds a yes to what was shown. `None` when this is another sequence than the one with that digest.
    pub fn approve(self, shown: &str) -> Option<Approved> {
        (self.digest == shown).then_some(Approved(self))
    }
}

impl Approved {
    pub fn steps(&self) -> &[Change] {
        &self.0.steps
    }
}
