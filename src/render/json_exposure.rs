//! Rows of exposure and walks for machines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde_json::{Value, json};

use super::exposure::{assumptions_text, decided, verdict};
use super::json::pretty;
use super::sources::{Names, Shares, who};
use super::walk::{Ending, Places, ruling};
use crate::exposure::{Answer, Assumption, Clients, From, Hop, Movement, Origin, Packet, Reach, Row, Subject, Walk};
use crate::net::Family;

/// The published schema of [`exposure_json`]'s answer.
pub const EXPOSURE_SCHEMA: &str = include_str!("exposure.schema.json");
/// The published schema of [`walk_json`]'s answer.
pub const WHY_SCHEMA: &str = include_str!("why.schema.json");
pub const EXPOSURE_VERSION: &str = "hostguard.dev/exposure/v1";
pub const WHY_VERSION: &str = "hostguard.dev/why/v1";

/// Which state was looked at.
pub struct Looked<'a> {
    pub cluster: &'a str,
    /// The plan that leads there; without one, it is as it is.
    pub plan: Option<&'a str>,
}

/// Everything that can be reached and everything that is blocked; ends with a newline.
pub fn exposure_json(
    looked: &Looked,
    (outside, inside): (&[Reach], Option<&[Reach]>),
    names: &Names,
    assumptions: &[Assumption],
) -> String {
    let row = |reach: &Reach| {
        let mut row = about(
            (&reach.subject, reach.clients.as_ref()),
            &reach.nodes,
            &reach.witness,
            names,
        );
        row["answer"] = answer(&reach.answer);
        row
    };
    pretty(&json!({
        "schema": EXPOSURE_VERSION,
        "cluster": looked.cluster,
        "plan": looked.plan,
        "assumed": assumptions_text(assumptions),
        "exposure": outside.iter().chain(inside.unwrap_or_default()).map(row).collect::<Vec<_>>(),
        "inside": inside.is_some(),
    }))
}

/// The walk of one packet; ends with a newline.
pub fn walk_json(looked: &Looked, packet: &Packet, (walk, ending): (&Walk, &Ending), places: &Places<'_>) -> String {
    let from = match &packet.from {
        Origin::Outside => "outside".to_string(),
        Origin::Node(name) => format!("node/{name}"),
        Origin::Pod { namespace, name } => format!("pod/{namespace}/{name}"),
    };
    let hop = |hop: &Hop| {
        json!({
            "node": hop.node, "hook": hop.hook.as_str(), "endpoint": hop.endpoint, "ruling": ruling(hop.ruling),
            "by": decided(&hop.by), "place": places(&hop.by),
        })
    };
    let ways = walk.ways.iter().map(|way| {
        json!({
            "verdict": ending.of_way(way.verdict), "backend": way.backend, "decided": way.decided,
            "hops": way.hops.iter().map(hop).collect::<Vec<_>>(),
        })
    });
    pretty(&json!({
        "schema": WHY_VERSION,
        "cluster": looked.cluster,
        "plan": looked.plan,
        "packet": {
            "from": from,
            "source": packet.source.to_string(),
            "destination": packet.destination.to_string(),
            "protocol": packet.protocol.to_string(),
            "port": packet.port,
        },
        "verdict": ending.verdict(),
        "because": ending.because(),
        "ways": ways.collect::<Vec<_>>(),
    }))
}

/// What changes for whom.
pub(super) fn row(row: &Row, names: &Names) -> Value {
    let movement = match row.movement {
        Movement::Opens => "opens",
        Movement::BecomesUnknown => "becomes-unknown",
        Movement::Closes => "closes",
        Movement::BecomesKnown => "becomes-known",
        Movement::Stays => "stays",
    };
    let mut value = about((&row.subject, row.clients.as_ref()), &row.nodes, &row.witness, names);
    value["movement"] = json!(movement);
    value["before"] = json!(row.before.as_ref().map(answer));
    value["after"] = json!(row.after.as_ref().map(answer));
    value
}

fn answer(answer: &Answer) -> Value {
    let by = answer.decision.as_ref().map(|decision| decided(&decision.by));
    json!({"verdict": verdict(answer.verdict), "by": by})
}

fn about<T>(
    (subject, clients): (&Subject, Option<&Clients>),
    nodes: &BTreeMap<String, T>,
    witness: &Packet,
    names: &Names,
) -> Value {
    let text = |address: IpAddr| address.to_string();
    json!({
        "from": match subject.from {
            From::Outside => "outside",
            From::ThisNode => "this-node",
            From::OtherNodes => "other-nodes",
            From::PodsOfThisNode => "pods-of-this-node",
            From::PodsOfOtherNodes => "pods-of-other-nodes",
        },
        "protocol": subject.protocol.to_string(),
        "ports": subject.ports.ranges().iter().map(|(lo, hi)| json!([lo, hi])).collect::<Vec<_>>(),
        "service": subject.service,
        "family": match subject.family { Family::V4 => "IPv4", Family::V6 => "IPv6" },
        "sources": subject.sources.to_cidrs().iter().map(ToString::to_string).collect::<Vec<_>>(),
        "sourcesText": who(subject, clients, nodes, (names, &Shares::default())),
        "clients": clients.map(|clients| json!({"count": clients.count, "of": clients.of, "first": clients.first})),
        "nodes": nodes.keys().collect::<Vec<_>>(),
        "witness": {
            "source": text(witness.source), "destination": text(witness.destination), "port": witness.port,
        },
    })
}
