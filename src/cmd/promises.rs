//! What the plan promises about connections, asked of the world that it leaves, and said as errors.

use super::prepare::Prepared;
use crate::changes::Note;
use crate::error::{Error, Kind, codes};
use crate::expect::{
    self, Answered, Broken, Counterexample, Fails, Fault, Forbidden, Kept, Move, Nobody, Resolved, Unkept, Watch,
};
use crate::exposure::{Verdict, World};
use crate::plan::Platform;
use crate::render::exposure::{decided, verdict};
use crate::state::State;

/// The answers.
#[derive(Default)]
pub(super) struct Promised {
    pub outcomes: Vec<Answered>,
    /// `neverOpen` and `neverClose`.
    pub kept: Vec<Kept>,
    /// What keeps the plan from being applied.
    pub unmet: Vec<Error>,
    pub notes: Vec<Note>,
}

/// The world before; the state that the plan leaves, settled; its world.
pub(super) type Worlds<'w> = (&'w World, &'w State, &'w World);

pub(super) fn judge(prepared: &Prepared, resolved: &Resolved, (before, end, world): Worlds<'_>) -> Promised {
    if resolved.is_empty() {
        return Promised::default();
    }
    let file = &prepared.file;
    let outcomes = expect::expectations(resolved, world);
    let mut unmet: Vec<Error> = expect::guards(resolved, end, world)
        .iter()
        .map(|found| broken(found, file))
        .collect();
    let kept = Watch::new(resolved, before).at_end(world);
    unmet.extend(kept.iter().filter_map(|line| match &line.fails {
        Some(Unkept::Nobody(nobody)) => Some(about_nobody(nobody, line.span)),
        Some(Unkept::Moves(_)) | None => None,
    }));
    unmet.extend(outcomes.iter().filter_map(|outcome| failed(outcome, file)));
    unmet.extend(kept.iter().filter_map(|line| moved(line, file)));
    Promised {
        notes: notes(prepared, resolved, end),
        outcomes,
        kept,
        unmet,
    }
}

pub(super) fn resolved(prepared: &Prepared, end: &State) -> Resolved {
    let compiled = &prepared.compiled;
    Resolved::new(&prepared.plan, &compiled.groups, &compiled.node_ports, end)
}

impl Prepared {
    /// Promises that do not hold in a state that was read after everything was done. What controllers that nobody waits
    /// for have still to do (endpoints of a Service just made) is taken as done.
    pub fn lost(&self, before: &State, state: &State) -> Vec<Error> {
        let state = &state.settled();
        let resolved = resolved(self, state);
        if resolved.is_empty() {
            return Vec::new();
        }
        let (file, world) = (&self.file, World::of_state(state));
        let outcomes = expect::expectations(&resolved, &world);
        let mut lost: Vec<Error> = expect::guards(&resolved, state, &world)
            .iter()
            .map(|found| broken(found, file))
            .collect();
        lost.extend(outcomes.iter().filter_map(|outcome| failed(outcome, file)));
        let kept = Watch::new(&resolved, &World::of_state(before)).at_end(&world);
        lost.extend(kept.iter().filter_map(|line| moved(line, file)));
        lost
    }
}

/// `TCP 198.51.100.7 -> 10.0.1.5:30080 on ip-10-0-1-5 is open (failsafe port 22, …)`
fn packet(found: &Counterexample) -> String {
    let by = found.decision.as_ref().map(|decision| decided(&decision.by));
    let by = by
        .filter(|by| !by.is_empty())
        .map(|by| format!(" ({by})"))
        .unwrap_or_default();
    format!(
        "{} {} -> {} on {} is {}{by}",
        found.packet.protocol,
        found.packet.source,
        target(found),
        found.node,
        verdict(found.verdict)
    )
}

fn target(found: &Counterexample) -> String {
    let port = found.packet.port.map(|port| format!(":{port}")).unwrap_or_default();
    if found.packet.destination.is_ipv6() {
        format!("[{}]{port}", found.packet.destination)
    } else {
        format!("{}{port}", found.packet.destination)
    }
}

/// The command that walks the packet.
fn walk(found: &Counterexample, file: &str) -> String {
    let protocol = found.packet.protocol.to_string().to_ascii_lowercase();
    format!(
        "hostguard why {} {}/{protocol} {file}",
        found.packet.source,
        target(found)
    )
}

fn failed(outcome: &Answered, file: &str) -> Option<Error> {
    let fails = outcome.fails.as_ref()?;
    let is = if outcome.open { "open" } else { "blocked" };
    let about = format!("{} -> {}, {}", outcome.from, outcome.to, outcome.at);
    let error = |text: String| Error::new(Kind::Finding, codes::EXPECTATION, text).at(outcome.span);
    Some(match fails {
        Fails::Packet(found) => {
            let message = format!("{about} is expected {is}, and one packet is not");
            let mut error = error(message).cause(packet(found));
            if found.verdict == Verdict::Unknown {
                error = error.consequence("what is not known counts against an expectation");
            }
            error.fix(format!(
                "see every hop with `{}` and the options of this run",
                walk(found, file)
            ))
        }
        Fails::NoAddress => error(format!(
            "{about} is expected {is}, and no address of the nodes is known in a family of the source"
        ))
        .consequence("nothing would be shown by it")
        .fix("correct `from`, or leave the expectation out"),
        Fails::Nobody(nobody) => about_nobody(nobody, outcome.span),
    })
}

fn about_nobody(nobody: &Nobody, span: crate::source::Span) -> Error {
    if let Nobody::Unread(kind, why) = nobody {
        let message = format!("whom this is about is not known: {nobody}");
        return Error::new(Kind::Finding, codes::UNREADABLE, message)
            .at(span)
            .consequence("what is not known counts against a promise")
            .fix(why.way_out(*kind));
    }
    let message = format!("a promise about nobody: {nobody}");
    Error::new(Kind::Finding, codes::NOBODY, message)
        .at(span)
        .consequence("it would hold whatever happens")
        .fix("correct `from`; nodes are named as node/NAME, pods by their labels")
}

fn broken(broken: &Broken, file: &str) -> Error {
    let about = format!("policies.{}", broken.guard);
    let error = |code, text: &str| Error::new(Kind::Finding, code, format!("{about}: {text}")).at(broken.span);
    match &broken.fault {
        Fault::NoEndpoint(nodes) => {
            let shown: Vec<String> = nodes.iter().take(5).cloned().collect();
            let more = nodes.len().saturating_sub(shown.len());
            let more = if more > 0 {
                format!(" and {more} more")
            } else {
                String::new()
            };
            let text = format!(
                "no host endpoint for {}{more} once everything is done",
                shown.join(", ")
            );
            error(codes::GUARD_NO_ENDPOINT, &text)
                .consequence("no policy reaches a node without one")
                .fix("add `hostEndpoints: { autoCreate: Enabled }`, or write host endpoints for these nodes")
        }
        Fault::LetsIn(found) => {
            let gets = if sure(found) { "gets in" } else { "may get in" };
            let text = format!("somebody it shuts out {gets}");
            explained(error(codes::GUARD_BROKEN, &text), found, file)
        }
        Fault::ShutsOut(found) => {
            let is = if sure(found) { "is cut off" } else { "may be cut off" };
            let text = format!("somebody it lets in {is}");
            explained(error(codes::GUARD_BROKEN, &text), found, file)
        }
        Fault::Elsewhere(found, before) => {
            let without = before.map_or("not there", verdict);
            let text = format!("it changes what it does not name, which is {without} without it");
            explained(error(codes::GUARD_BROKEN, &text), found, file)
        }
        Fault::NoAddress => error(
            codes::GUARD_BROKEN,
            "no address of its nodes is known, so nothing is shown of it",
        )
        .fix("see whether the nodes of the group are still there and have addresses"),
    }
}

/// Whether the verdict holds for every such connection.
fn sure(found: &Counterexample) -> bool {
    !matches!(found.verdict, Verdict::Unknown | Verdict::Partly)
}

fn explained(error: Error, found: &Counterexample, file: &str) -> Error {
    let error = error.cause(packet(found));
    let error = match (found.verdict, found.decision.as_ref().map(|decision| &decision.by)) {
        (Verdict::Unknown, _) => error.consequence("what is not known counts against a guard"),
        (_, Some(crate::exposure::By::Failsafe { port })) => error.consequence(format!(
            "Calico lets port {port} through before any policy, so that no policy locks an administrator out"
        )),
        _ => error,
    };
    error.fix(format!(
        "see every hop with `{}` and the options of this run",
        walk(found, file)
    ))
}

fn moved(line: &Kept, file: &str) -> Option<Error> {
    match line.fails.as_ref()? {
        Unkept::Moves(found) => Some(forbidden(found, file)),
        Unkept::Nobody(_) => None,
    }
}

fn forbidden(forbidden: &Forbidden, file: &str) -> Error {
    let about = format!("{} -> {}, {}", forbidden.from, forbidden.to, forbidden.at);
    let (code, text) = match (forbidden.what, sure(&forbidden.packet)) {
        (Move::Opens, true) => (codes::NEVER_OPEN, "may never open, and would be open"),
        (Move::StaysOpen, true) => (codes::NEVER_OPEN, "may never be open, and is left open"),
        (Move::Opens | Move::StaysOpen, false) => (codes::NEVER_OPEN, "may never be open, and could be"),
        (Move::Closes, true) => (codes::NEVER_CLOSE, "may never close, and would be cut"),
        (Move::Closes, false) => (codes::NEVER_CLOSE, "may never close, and could be cut"),
    };
    Error::new(Kind::Unsafe, code, format!("{about} {text}"))
        .at(forbidden.span)
        .cause(packet(&forbidden.packet))
        .fix(format!(
            "see every hop with `{}` and the options of this run",
            walk(&forbidden.packet, file)
        ))
}

/// Addresses that guards do not cover, said so that it can be judged.
fn notes(prepared: &Prepared, resolved: &Resolved, end: &State) -> Vec<Note> {
    let translated = matches!(
        prepared.plan.cluster.platform,
        Platform::Eks | Platform::Aks | Platform::Gke
    );
    let note = |(guard, addresses): (String, Vec<(String, String, String)>)| {
        let shown: Vec<String> = addresses
            .iter()
            .take(3)
            .map(|(node, ty, address)| format!("{ty} {address} of {node}"))
            .collect();
        let more = addresses.len().saturating_sub(shown.len());
        let more = if more > 0 {
            format!(" and {more} more")
        } else {
            String::new()
        };
        let why = if translated && addresses.iter().all(|(_, ty, _)| ty == "ExternalIP") {
            "the cloud translates such an address to the node's own before the node sees it, which is covered"
        } else {
            "covered only where something in front of the node translates it to the node's own"
        };
        Note {
            about: format!("policies.{guard}"),
            text: format!("not an address of the host endpoint: {}{more}; {why}", shown.join(", ")),
            code: None,
        }
    };
    expect::uncovered(resolved, end).into_iter().map(note).collect()
}
