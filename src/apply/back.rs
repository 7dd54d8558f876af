//! Takes back what a run did, in an order that is proven like any other.

use super::run::{Run, settle};
use super::{Back, Event, Made, Outcome, Report};

/// Takes back `made`, as far as `how` finds a safe order for it. The first step that is refused ends it: what is left
/// stays as it was done, and the record knows it.
pub(super) async fn take_back(
    how: &Back<'_>,
    made: &[Made],
    run: &Run<'_>,
    report: &mut Report,
    events: &mut (dyn FnMut(Event) + Send),
) {
    let steps = match run.provider.read(run.scope).await {
        Ok(state) => how(&state, made),
        Err(error) => Err(error.message),
    };
    let steps = match steps {
        Ok(steps) => steps,
        Err(why) => {
            report.not_taken_back = Some(why);
            return;
        }
    };
    for step in steps {
        if step.wait {
            let left = settle(run, true, events).await;
            if let Some(first) = left.into_iter().next() {
                report.not_taken_back = Some(first);
                return;
            }
        }
        let change = &step.change;
        if !run.lock.may_write().await {
            report.lost = true;
            return;
        }
        let outcome = match run.provider.perform(change).await {
            Ok(_) => Outcome::Done,
            Err(refusal) => Outcome::Failed(refusal),
        };
        events(Event::TakenBack(change, &outcome));
        let refused = match &outcome {
            Outcome::Failed(refusal) => Some(format!("{}: {}", change.key, refusal.message)),
            Outcome::Done | Outcome::Skipped(_) => None,
        };
        report.taken_back.push((change.key.clone(), change.op.verb(), outcome));
        if refused.is_some() {
            report.not_taken_back = refused;
            return;
        }
    }
}
