//! What comes before the first step: rights, the inventory's namespace, the lock.

use super::{Event, Holder, Journal, Lock, NotTaken, Outcome, Place, Refused, StepReport};
use crate::changes::Change;
use crate::provider::{Provider, Why};
use crate::resource::Kind;
use crate::sequence::Approved;
use crate::state::{Observed, Scope};

/// The lock, and the namespace that had to be made for it.
pub struct Begun {
    pub lock: Lock,
    pub made: Option<StepReport>,
}

/// Asks for every right that the run will need; makes the inventory's namespace, where that is the first step; takes the
/// lock. Nothing else is written.
pub async fn begin(
    provider: &dyn Provider,
    approved: &Approved,
    journal: &Journal,
    place: &Place<'_>,
    holder: &Holder,
    events: &mut (dyn FnMut(Event) + Send),
) -> Result<Begun, Refused> {
    let (books, lease) = (journal.writes(), place.writes());
    let steps = approved.steps().iter().map(|step| &step.change);
    // a world with a lock of its own has no users either, and answers everything with yes
    let all: Vec<&Change> = steps.chain(&books).chain(&lease).collect();
    let denied = provider.may(&all).await.map_err(Refused::Failed)?;
    if !denied.is_empty() {
        return Err(Refused::Denied(denied));
    }
    let first = approved.steps().first().map(|step| &step.change);
    let namespace = first.filter(|change| change.key.kind == Kind::Namespace && change.key.name == place.namespace);
    let mut made = None;
    if let Some(change) = namespace {
        make_namespace(provider, change).await?;
        events(Event::Finished(change, &Outcome::Done));
        made = Some((change.key.clone(), change.op.verb(), Outcome::Done));
    }
    match Lock::take(provider, place, holder, events).await {
        Ok(lock) => Ok(Begun { lock, made }),
        Err(NotTaken::Held(held)) => Err(Refused::Locked(held)),
        Err(NotTaken::Failed(refusal)) => Err(Refused::Lock(refusal)),
        Err(NotTaken::Interrupted) => Err(Refused::Interrupted),
    }
}

/// Somebody else may have made it meanwhile, which is as good.
async fn make_namespace(provider: &dyn Provider, change: &Change) -> Result<(), Refused> {
    let refusal = match provider.perform(change).await {
        Ok(_) => return Ok(()),
        Err(refusal) => refusal,
    };
    let doubtful = matches!(refusal.why, Why::Changed | Why::AnswerLost | Why::Swallowed);
    let scope = Scope {
        kinds: [Kind::Namespace].into(),
        inventory_namespace: change.key.name.clone(),
        cloud: None,
    };
    if doubtful
        && let Ok(state) = provider.read(&scope).await
        && let Observed::Present(_) = state.get(&change.key)
    {
        return Ok(());
    }
    Err(Refused::Namespace(refusal))
}
