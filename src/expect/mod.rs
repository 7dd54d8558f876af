//! What a plan promises about connections, asked of a world: expectations, guards, and flows that may never open or
//! close.
//!
//! Every promise is for each source, node address, port and family that it names; one packet that fares otherwise, or
//! of which it is not known how it fares, breaks it. Knows nothing of files, colours or exit codes.

mod guard;
mod kept;
mod resolve;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use crate::exposure::{Decision, Flow, Flows, Packet, Part, Senders, Verdict, World};
use crate::source::Span;

pub use guard::{guards, uncovered};
pub use kept::Watch;
pub use resolve::{Nobody, Resolved};

/// A packet that breaks a promise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// The node that it is sent to.
    pub node: String,
    pub packet: Packet,
    pub verdict: Verdict,
    pub decision: Option<Decision>,
}

/// An expectation with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// As the plan words them.
    pub from: String,
    pub to: String,
    pub at: String,
    /// Whether it is expected open; else blocked.
    pub open: bool,
    pub span: Span,
    /// What of it does not hold, if anything.
    pub fails: Option<Fails>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fails {
    Packet(Counterexample),
    /// No address of the nodes is known in a family of the source: nothing is shown by it.
    NoAddress,
    Nobody(Nobody),
}

/// A guard that would not do what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// The policy.
    pub guard: String,
    pub span: Span,
    pub fault: Fault,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// These nodes have no host endpoint.
    NoEndpoint(Vec<String>),
    /// What it shuts out gets in, or may.
    LetsIn(Counterexample),
    /// What it lets in is cut off, or may be.
    ShutsOut(Counterexample),
    /// Somebody whom it does not name fares differently with it. The verdict is that without it.
    Elsewhere(Counterexample, Option<Verdict>),
    NoAddress,
}

/// A flow that may never open or never close, and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forbidden {
    pub what: Move,
    /// As the plan words them.
    pub from: String,
    pub to: String,
    pub at: String,
    pub span: Span,
    pub packet: Counterexample,
}

/// A line of `neverOpen` or `neverClose` with its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Else it may never close.
    pub never_open: bool,
    /// As the plan words them.
    pub from: String,
    pub to: String,
    pub at: String,
    pub span: Span,
    pub fails: Option<Unkept>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unkept {
    Moves(Box<Forbidden>),
    /// It is about nobody: nothing is shown by it.
    Nobody(Nobody),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Move {
    Opens,
    /// Open before and open still.
    StaysOpen,
    Closes,
}

/// Expectations, each with its answer in a world.
pub fn expectations(resolved: &Resolved, world: &World) -> Vec<Answered> {
    let flows = Flows::new(world);
    let outcome = |line: &resolve::Expected| {
        let fails = match &line.flows {
            Err(nobody) => Some(Fails::Nobody(nobody.clone())),
            Ok(list) if all_inside(&flows, list) => Some(Fails::Nobody(Nobody::Inside(line.words.from.clone()))),
            Ok(list) => fails(&flows, list, line.open),
        };
        Answered {
            from: line.words.from.clone(),
            to: line.words.to.clone(),
            at: line.words.at.clone(),
            open: line.open,
            span: line.words.span,
            fails,
        }
    };
    resolved.expected.iter().map(outcome).collect()
}

/// Whether the networks of every flow hold none but addresses of nodes and pods.
fn all_inside(flows: &Flows<'_>, list: &[Flow]) -> bool {
    let inside = |flow: &Flow| match &flow.from {
        Senders::Outside(addresses) => addresses.first_common(flows.outside()).is_none(),
        Senders::Node(_) | Senders::Pods(_) => false,
    };
    !list.is_empty() && list.iter().all(inside)
}

fn fails(flows: &Flows<'_>, list: &[Flow], open: bool) -> Option<Fails> {
    let mut none = true;
    for part in list.iter().flat_map(|flow| flows.of(flow)) {
        none = false;
        let holds = if open {
            is_open(part.verdict)
        } else {
            part.verdict == Verdict::Blocked
        };
        if !holds {
            return Some(Fails::Packet(counterexample(&part)));
        }
    }
    none.then_some(Fails::NoAddress)
}

/// Open, if need be under the assumption about the node's own firewall.
fn is_open(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Open | Verdict::HostDecides)
}

fn counterexample(part: &Part) -> Counterexample {
    Counterexample {
        node: node_of(&part.nodes, part.witness.destination),
        packet: part.witness.clone(),
        verdict: part.verdict,
        decision: part.decision.clone(),
    }
}

/// The node with the address, else the first.
fn node_of(nodes: &BTreeMap<String, BTreeSet<IpAddr>>, address: IpAddr) -> String {
    let holding = nodes.iter().find(|(_, addresses)| addresses.contains(&address));
    let node = holding.or_else(|| nodes.iter().next());
    node.map(|(name, _)| name.clone()).unwrap_or_default()
}
