//! Whether what is there now still is what was shown.

use super::Failure;
use super::plan::Shown;
use super::prepare::Prepared;
use crate::changes::{Change, ChangeSet};
use crate::error::{Error, Kind, codes};
use crate::resource::Key;
use crate::standing::Shifted;

/// What is new, other or gone since it was shown. `made`: the namespace of the record was made meanwhile, by us.
pub(super) fn compare(shown: &Prepared, now: &Prepared, made: Option<&Key>) -> Result<(), Failure> {
    let (before, after) = (shown.picture(made), now.picture(None));
    let why = match before.shifted(&after) {
        Some(Shifted::Steps) => None,
        _ if !now.difference.conflicts.is_empty() => None,
        Some(Shifted::Reach) => Some("the steps are the same, and who can reach what is not"),
        None if now.refused != shown.refused => {
            Some("the steps are the same, and another part of the plan is wrong now")
        }
        None => return Ok(()),
    };
    let mut error = stale(&before.steps, &now.difference.set, made.is_some());
    for conflict in &now.difference.conflicts {
        error = error.cause(conflict.message.clone());
    }
    if let Some(why) = why {
        error = error.cause(why);
    }
    Err(Failure::from(error))
}

/// Whether all that moved is what controllers had still to do when it was shown: the same steps lead to the same end.
pub(super) fn caught_up(shown: &Shown, now: &Prepared, made: Option<&Key>) -> Result<bool, Failure> {
    let settled = shown.state.settled();
    let before = shown.prepared.picture(made);
    if before.shifted(&now.picture(None)) == Some(Shifted::Steps) || shown.state.moved(&settled).is_empty() {
        return Ok(false);
    }
    let mut expected = shown.intent.prepare(&settled, &shown.options)?;
    expected.look(&shown.intent, &settled, &shown.accepted);
    Ok(compare(&expected, now, made).is_ok())
}

fn stale(shown: &[&Change], now: &ChangeSet, made: bool) -> Error {
    let written = if made {
        "nothing was written but the namespace of the record"
    } else {
        "nothing was written"
    };
    let mut error = Error::new(
        Kind::Stale,
        codes::STALE,
        format!("the cluster moved after the changes were shown; {written}"),
    );
    let find = |key: &Key| shown.iter().find(|step| step.key == *key);
    let mut same = true;
    for step in &now.steps {
        match find(&step.key) {
            None => error = error.cause(format!("new: {} {}", step.op.verb(), step.key)),
            Some(old) if !old.same_as(step) => {
                error = error.cause(format!("now another change: {} {}", step.op.verb(), step.key))
            }
            Some(_) => continue,
        }
        same = false;
    }
    let left = |key: &Key| now.steps.iter().any(|step| step.key == *key);
    for step in shown.iter().filter(|step| !left(&step.key)) {
        error = error.cause(format!("no longer needed: {} {}", step.op.verb(), step.key));
        same = false;
    }
    let keys = shown.iter().map(|step| &step.key);
    if same && !keys.eq(now.steps.iter().map(|step| &step.key)) {
        error = error.cause("the steps are the same, and their safe order is another one now");
    }
    if now.steps.is_empty() && now.unreadable.is_empty() {
        return error.fix("nothing is left to do: `hostguard plan` shows what is there");
    }
    error.fix("run it again to see and approve what would be done now")
}
