//! Why there is no safe order, as errors.

use std::collections::{BTreeMap, BTreeSet};

use crate::changes::ChangeSet;
use crate::error::{Error, Kind, codes};
use crate::exposure::From;
use crate::render;
use crate::resource::{self, Key};
use crate::sequence::{Acceptance, Blocked, Breach, Sequence, Stuck, Wrong};

/// More breaches of one step than this are counted.
const BREACHES: usize = 4;
/// More options than this are counted.
const ACCEPTED: usize = 6;

/// One error a step that would make it worse; what locks out first.
pub(super) fn errors(stuck: &Stuck, set: &ChangeSet) -> Vec<Error> {
    if stuck.broken_promise {
        return Vec::new(); // said where promises are
    }
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
    let forbidden = blocked.breaches.iter().any(|b| matches!(b.wrong, Wrong::Forbidden(_)));
    let what = if locks_out {
        "would cut off what must stay"
    } else if forbidden {
        "would break what the plan promises"
    } else {
        "would open what is open neither before nor after"
    };
    // What another order would mend is a matter of order, whatever is wrong in this one.
    let (code, message) = match &blocked.safe_after {
        Some(other) => (
            codes::UNSAFE_ORDER,
            format!("{}: before {other}, this step {what}", blocked.step),
        ),
        None if locks_out => (codes::LOCKED_OUT, format!("{}: this step {what}", blocked.step)),
        None => (codes::UNSAFE_ORDER, format!("{}: this step {what}", blocked.step)),
    };
    let mut error = Error::new(Kind::Unsafe, code, message);
    let breaches = render::breaches(&blocked.breaches);
    for breach in breaches.iter().take(BREACHES) {
        error = error.cause(breach);
    }
    if breaches.len() > BREACHES {
        error = error.cause(format!("and {} more", breaches.len() - BREACHES));
    }
    error.consequence = consequence(blocked, stuck);
    error.fix(format!(
        "{}; if it is meant, accept it: {}",
        fix(blocked),
        accept(blocked)
    ))
}

/// Where the search came to its end.
fn consequence(blocked: &Blocked, stuck: &Stuck) -> Option<String> {
    let steps = match stuck.done.len() {
        0 => {
            return blocked
                .safe_after
                .as_ref()
                .map(|other| format!("{other} is not safe before this step either"));
        }
        1 => "the first step".to_string(),
        many => format!("the first {many} steps"),
    };
    Some(match &blocked.safe_after {
        Some(other) => format!("after {steps}, this one is safe only after {other}, which is not safe now either"),
        None => format!("no order goes further than {steps}"),
    })
}

fn fix(blocked: &Blocked) -> &'static str {
    let is_policy = |key: &Key| key.kind == resource::Kind::GlobalNetworkPolicy;
    let lost = blocked.breaches.iter().any(|breach| breach.packet.is_none());
    let outside = |breach: &Breach| breach.part().is_some_and(|part| part.subject.from == From::Outside);
    match (&blocked.safe_after, blocked.step.kind) {
        (Some(other), _) if is_policy(other) && is_policy(&blocked.step) => {
            "write the rules of both in one policy, which is one step, or split the plan in two"
        }
        (Some(_), _) => "split the plan in two",
        (None, resource::Kind::FelixConfiguration) if lost => "keep the port in the list",
        (None, _) if !blocked.breaches.iter().any(|b| matches!(b.wrong, Wrong::LockedOut(_))) => {
            "split the plan in two"
        }
        (None, _) if blocked.breaches.iter().any(outside) => {
            "let it through in the policy, or say who needs it under `neverClose`"
        }
        (None, _) => "let it through in the policy",
    }
}

/// Columns beside the indentation.
const WIDTH: usize = 73;

/// The options that accept it. An option and its value are one word, which no line break parts; where such a word has no
/// room in a line, what they have in common is said once.
fn accept(blocked: &Blocked) -> String {
    let packets: BTreeSet<String> = blocked.breaches.iter().map(Breach::packet_text).collect();
    let packets_shown: Vec<&str> = packets.iter().take(ACCEPTED).map(String::as_str).collect();
    let option = |packet: &&str| format!("--accept='{}={packet}'", blocked.step);
    let shown: Vec<String> = packets_shown.iter().map(option).collect();
    let fit = shown.iter().all(|option| option.chars().count() <= WIDTH);
    let more = match packets.len().saturating_sub(ACCEPTED) {
        0 => String::new(),
        more => format!(" and {more} more, which are shown once these are accepted"),
    };
    match fit {
        true => shown.join(" ") + &more,
        false => format!(
            "{} with each PACKET of {}{more}",
            option(&"PACKET"),
            packets_shown.join(" ")
        ),
    }
}

/// Acceptances that accept nothing.
pub(super) fn unused(sequence: &Sequence, accepted: &[Acceptance]) -> Vec<Error> {
    let used = |a: &&Acceptance| {
        let mut steps = sequence.steps().iter();
        steps.any(|step| {
            step.change.key.to_string() == a.step && step.accepted.iter().any(|breach| breach.packet_text() == a.packet)
        })
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
