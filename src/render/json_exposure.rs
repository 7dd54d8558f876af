//! Rows of exposure and walks for machines.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::Serialize;
use serde_json::json;

use super::exposure::{assumptions_text, decided, verdict};
use super::json::pretty;
use super::sources::{Names, Shares, who};
use super::walk::{Ending, Places, ruling};
use crate::exposure::{Answer, Assumption, Clients, From, Hop, Movement, Origin, Packet, Reach, Row, Subject, Walk};
use crate::net::{Cidr, Family};

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

#[derive(Serialize)]
struct ExposureJson<'a> {
    assumed: String,
    cluster: &'a str,
    exposure: Vec<RowJson<'a>>,
    inside: bool,
    plan: Option<&'a str>,
    schema: &'static str,
}

/// Everything that can be reached and everything that is blocked; ends with a newline.
pub fn exposure_json<'a>(
    looked: &Looked,
    (outside, inside): (&'a [Reach], Option<&'a [Reach]>),
    names: &Names,
    assumptions: &[Assumption],
) -> String {
    let row = |reach: &'a Reach| RowJson {
        answer: Some(answer(&reach.answer)),
        ..about(
            (&reach.subject, reach.clients.as_ref()),
            &reach.nodes,
            &reach.witness,
            names,
        )
    };
    pretty(&ExposureJson {
        assumed: assumptions_text(assumptions),
        cluster: looked.cluster,
        exposure: outside.iter().chain(inside.unwrap_or_default()).map(row).collect(),
        inside: inside.is_some(),
        plan: looked.plan,
        schema: EXPOSURE_VERSION,
    })
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

/// A row of an exposure or of a difference; fields in the order of their names.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RowJson<'a> {
    /// Of a difference; `null` where the node is not there.
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<Option<AnswerJson>>,
    /// Of an exposure.
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<AnswerJson>,
    /// Of a difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<Option<AnswerJson>>,
    clients: Option<ClientsJson<'a>>,
    family: &'static str,
    from: &'static str,
    /// Of a difference.
    #[serde(skip_serializing_if = "Option::is_none")]
    movement: Option<&'static str>,
    nodes: Vec<&'a String>,
    ports: Vec<(u16, u16)>,
    protocol: String,
    service: Option<&'a str>,
    sources: Vec<Cidr>,
    sources_text: String,
    witness: WitnessJson,
}

#[derive(Serialize)]
struct AnswerJson {
    by: Option<String>,
    verdict: &'static str,
}

#[derive(Serialize)]
struct ClientsJson<'a> {
    count: usize,
    first: &'a str,
    of: usize,
}

#[derive(Serialize)]
struct WitnessJson {
    destination: IpAddr,
    port: Option<u16>,
    source: IpAddr,
}

/// What changes for whom.
pub(super) fn row<'a>(row: &'a Row, names: &Names) -> RowJson<'a> {
    let movement = match row.movement {
        Movement::Opens => "opens",
        Movement::BecomesUnknown => "becomes-unknown",
        Movement::Closes => "closes",
        Movement::BecomesKnown => "becomes-known",
        Movement::Stays => "stays",
    };
    RowJson {
        movement: Some(movement),
        before: Some(row.before.as_ref().map(answer)),
        after: Some(row.after.as_ref().map(answer)),
        ..about((&row.subject, row.clients.as_ref()), &row.nodes, &row.witness, names)
    }
}

fn answer(answer: &Answer) -> AnswerJson {
    AnswerJson {
        by: answer.decision.as_ref().map(|decision| decided(&decision.by)),
        verdict: verdict(answer.verdict),
    }
}

fn about<'a, T>(
    (subject, clients): (&'a Subject, Option<&'a Clients>),
    nodes: &'a BTreeMap<String, T>,
    witness: &Packet,
    names: &Names,
) -> RowJson<'a> {
    RowJson {
        after: None,
        answer: None,
        before: None,
        clients: clients.map(|clients| ClientsJson {
            count: clients.count,
            first: &clients.first,
            of: clients.of,
        }),
        family: match subject.family {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        },
        from: match subject.from {
            From::Outside => "outside",
            From::ThisNode => "this-node",
            From::OtherNodes => "other-nodes",
            From::PodsOfThisNode => "pods-of-this-node",
            From::PodsOfOtherNodes => "pods-of-other-nodes",
        },
        movement: None,
        nodes: nodes.keys().collect(),
        ports: subject.ports.ranges().to_vec(),
        protocol: subject.protocol.to_string(),
        service: subject.service.as_deref(),
        sources: subject.sources.to_cidrs(),
        sources_text: who(subject, clients, nodes, (names, &Shares::default())),
        witness: WitnessJson {
            destination: witness.destination,
            port: witness.port,
            source: witness.source,
        },
    }
}
