//! What is known of the order of steps: waits, interruptions, what was accepted.

use super::Answer;
use crate::exposure::Openness;
use crate::sequence::{Breach, CLAIM, Step, Wrong};

/// The claim of the header.
pub fn claim(answer: &Answer) -> &'static str {
    match answer.sequence {
        Some(_) => CLAIM,
        None if !answer.refused.is_empty() => "no safe order: nothing of this will be done",
        None => "no order: not everything could be read",
    }
}

/// The step in its place, where the order is known.
pub fn step<'a>(answer: &'a Answer, place: usize) -> Option<&'a Step> {
    answer.sequence?.steps().get(place)
}

/// What is to be said of a step because of its place.
pub fn remarks(step: &Step) -> Vec<String> {
    let accepted = step.accepted.iter().map(|packet| format!("accepted: {packet}"));
    let interrupts = step.interrupts.iter().map(breach);
    accepted.chain(interrupts).collect()
}

/// `kubelet: 10.0.1.6>10.0.1.5:10250/tcp blocked (GlobalNetworkPolicy/x ingress[1]) on ip-10-0-1-5`
pub fn breach(breach: &Breach) -> String {
    let what = match &breach.wrong {
        Wrong::Exposed => "exposed".to_string(),
        Wrong::LockedOut(what) | Wrong::Forbidden(what) => what.clone(),
        Wrong::Interrupted => "interrupted".to_string(),
    };
    let packet = breach
        .packet
        .as_ref()
        .map(|packet| format!(" {packet}"))
        .unwrap_or_default();
    let verdict = match breach.openness {
        Openness::Closed => "blocked",
        Openness::Partly => "partly open",
        Openness::Open => "open",
        Openness::Unknown => "not known to be as it was",
    };
    let by = breach
        .by
        .as_ref()
        .map(|hop| super::exposure::decided(&hop.by))
        .filter(|by| !by.is_empty())
        .map(|by| format!(" ({by})"))
        .unwrap_or_default();
    let many = breach.nodes.len();
    let nodes: Vec<&str> = breach.nodes.iter().take(3).map(String::as_str).collect();
    let on = match (nodes.as_slice(), many) {
        ([], _) => String::new(),
        (some, many) if many > some.len() => format!(" on {} and {} more", some.join(", "), many - some.len()),
        (some, _) => format!(" on {}", some.join(", ")),
    };
    format!("{what}:{packet} {verdict}{by}{on}")
}
