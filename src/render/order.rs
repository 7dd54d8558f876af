//! What is known of the order of steps: waits, interruptions, what was accepted.

use super::Answer;
use crate::exposure::Openness;
use crate::net::Protocol;
use crate::sequence::{Breach, CLAIM, CLAIM_BUT, Step, Wrong};

/// The claim of the header.
pub fn claim(answer: &Answer) -> &'static str {
    match answer.sequence {
        Some(_) if !answer.refused.is_empty() || !answer.conflicts.is_empty() => {
            "refused: nothing of this will be done"
        }
        Some(sequence) if sequence.steps().iter().any(|step| !step.accepted.is_empty()) => CLAIM_BUT,
        Some(_) => CLAIM,
        None if !answer.refused.is_empty() => "refused: nothing of this will be done",
        None => "no order: not everything could be read",
    }
}

/// Of when it is said that flows do not open or close.
pub fn kept(answer: &Answer) -> &'static str {
    match answer.sequence {
        Some(sequence) if sequence.steps().iter().any(|step| !step.accepted.is_empty()) => {
            "Never opens, never closes, but for what was accepted"
        }
        Some(_) => "Never opens, never closes, after every step",
        None => "Never opens, never closes, once everything is done",
    }
}

/// The step in its place, where the order is known.
pub fn step<'a>(answer: &'a Answer, place: usize) -> Option<&'a Step> {
    answer.sequence?.steps().get(place)
}

/// What is to be said of a step because of its place.
pub fn remarks(step: &Step) -> Vec<String> {
    // Each by itself, because each was named.
    let accepted = step.accepted.iter().map(|one| format!("accepted: {}", breach(one)));
    accepted.chain(breaches(&step.interrupts)).collect()
}

/// What is wrong, by what it is, what decides and at which port: clients and nodes that differ in nothing else are one.
/// `the API server's calls to the kubelet: 198.51.100.1>10.0.1.5:10250/tcp blocked (GlobalNetworkPolicy/x ingress[1]) on n1`
pub fn breaches(all: &[Breach]) -> Vec<String> {
    let mut groups: Vec<(Breach, Worded)> = Vec::new();
    for breach in all {
        let worded = Worded::of(breach);
        match groups.iter_mut().find(|(_, other)| *other == worded) {
            Some((group, _)) => group.nodes.extend(breach.nodes.iter().cloned()),
            None => groups.push((breach.clone(), worded)),
        }
    }
    groups.iter().map(|(group, _)| self::breach(group)).collect()
}

/// What is said of a breach beside its client and its nodes.
#[derive(PartialEq)]
struct Worded {
    wrong: Wrong,
    to: Option<(Protocol, Option<u16>)>,
    verdict: &'static str,
    by: String,
}

impl Worded {
    fn of(breach: &Breach) -> Worded {
        let by = breach.by.as_ref().map(|hop| super::exposure::decided(&hop.by));
        Worded {
            wrong: breach.wrong.clone(),
            to: breach.packet.as_ref().map(|packet| (packet.protocol, packet.port)),
            verdict: match (breach.openness, breach.packet.is_some()) {
                (Openness::Closed, true) => "blocked",
                (Openness::Closed, false) => "lost",
                (Openness::Partly, _) => "partly open",
                (Openness::Open, _) => "open",
                (Openness::Unknown, _) => "not known to be as it was",
            },
            by: by
                .filter(|by| !by.is_empty())
                .map(|by| format!(" ({by})"))
                .unwrap_or_default(),
        }
    }
}

fn breach(breach: &Breach) -> String {
    let Worded { verdict, by, .. } = Worded::of(breach);
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
    let many = breach.nodes.len();
    let nodes: Vec<&str> = breach.nodes.iter().take(3).map(String::as_str).collect();
    let on = match (nodes.as_slice(), many) {
        ([], _) => String::new(),
        (some, many) if many > some.len() => format!(" on {} and {} more", some.join(", "), many - some.len()),
        (some, _) => format!(" on {}", some.join(", ")),
    };
    format!("{what}:{packet} {verdict}{by}{on}")
}
