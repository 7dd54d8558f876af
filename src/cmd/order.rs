//! Why there is no safe order, as errors.

use std::collections::BTreeMap;

use crate::changes::ChangeSet;
use crate::error::{Error, Kind, codes};
use crate::render;
use crate::resource::Key;
use crate::sequence::{Acceptance, Blocked, Sequence, Stuck, Wrong};

/// More breaches of one step than this are counted.
const BREACHES: usize = 4;

/// One error a step that would make it worse; what locks out first.
pub(super) fn errors(stuck: &Stuck, set: &ChangeSet) -> Vec<Error> {
    let spans: BTreeMap<&Key, _> = set.steps.iter().map(|step| (&step.key, step.origin.span)).collect();
    let mut errors: Vec<Error> = stuck.blocked.iter().map(|blocked| error(blocked, stuck)).collect();
    for (error, blocked) in errors.iter_mut().zip(&stuck.blocked) {
        error.span = spans.get(&blocked.step).copied().flatten();
    }
    if errors.is_empty() || stuck.gave_up {
        let message = "no safe order was found before the search was given up";
        let error = Error::new(Kind::Unsafe, codes::UNSAFE_ORDER, message);
        errors.push(error.fix("split the plan in two"));
    }
    errors.sort_by_key(|error| error.code);
    errors
}

fn error(blocked: &Blocked, stuck: &Stuck) -> Error {
    let locks_out = blocked.breaches.iter().any(|b| matches!(b.wrong, Wrong::LockedOut(_)));
    let (code, what) = if locks_out {
        (codes::LOCKED_OUT, "would cut off what must stay")
    } else {
        (codes::UNSAFE_ORDER, "would open what is open neither before nor after")
    };
    let message = format!("{}: this step {what}", blocked.step);
    let mut error = Error::new(Kind::Unsafe, code, message);
    for breach in blocked.breaches.iter().take(BREACHES) {
        error = error.cause(render::breach(breach));
    }
    if blocked.breaches.len() > BREACHES {
        error = error.cause(format!("and {} more", blocked.breaches.len() - BREACHES));
    }
    if let Some(other) = &blocked.safe_after {
        error = error.cause(format!("it would be safe after {other}, which is not safe before it"));
    }
    if !stuck.done.is_empty() {
        error.consequence = Some(format!(
            "in every order that was tried, once {} of the steps are made",
            stuck.done.len()
        ));
    }
    let accept: Vec<String> = blocked
        .breaches
        .iter()
        .take(BREACHES)
        .map(|breach| format!("--accept '{}={}'", blocked.step, breach.packet_text()))
        .collect();
    let first = if locks_out {
        "let it through in the policy, or say who needs it under `neverClose`"
    } else {
        "split the plan in two"
    };
    error.fix(format!("{first}; if it is meant, accept it: {}", accept.join(" ")))
}

/// Acceptances that accept nothing.
pub(super) fn unused(sequence: &Sequence, accepted: &[Acceptance]) -> Vec<Error> {
    let used = |a: &&Acceptance| {
        let mut steps = sequence.steps().iter();
        steps.any(|step| step.change.key.to_string() == a.step && step.accepted.contains(&a.packet))
    };
    let unused = accepted.iter().filter(|a| !used(a));
    unused
        .map(|a| {
            let message = format!("--accept {}={}: no such refusal", a.step, a.packet);
            let error = Error::new(Kind::Usage, codes::ACCEPTED_NOTHING, message);
            error.fix("take it away, or name a refusal as it is printed, STEP=PACKET")
        })
        .collect()
}
