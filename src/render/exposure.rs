//! Exposure for people: who can reach what, what changes of it, and the walk of one packet.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use super::text::wrap;
use crate::escape::escape;
use crate::exposure::{Answer, Assumption, By, Exposure, Movement, Row, Ruling, Subject, Verdict, Walk};
use crate::net::{AddressSet, Cidr, Family, Protocol};

/// More networks than this are counted.
const NETWORKS: usize = 4;
/// More nodes than this are counted.
const NODES: usize = 4;

/// Names of address sets: inputs, by the networks they stand for.
pub type Names = BTreeMap<Cidr, String>;

/// What opens, closes and stays; empty when nothing does.
pub fn difference(rows: &[Row], names: &Names) -> String {
    let mut out = String::new();
    for row in rows {
        let word = match row.movement {
            Movement::Opens => "OPENS",
            Movement::BecomesUnknown => "UNKNOWN",
            Movement::Closes => "closes",
            Movement::BecomesKnown => "known",
            Movement::Stays => "stays",
        };
        line(
            &mut out,
            &format!("{word:<8}{}", what(&row.subject)),
            &place(&row.nodes),
        );
        detail(
            &mut out,
            &format!("from {}", sources(&row.subject.sources, row.subject.family, names)),
        );
        let (before, after) = (answer(row.before.as_ref()), answer(row.after.as_ref()));
        let text = if before == after {
            after
        } else {
            format!("{before} -> {after}")
        };
        detail(&mut out, &text);
    }
    out
}

/// What answers take for granted, in one sentence.
pub fn assumed(assumptions: &[Assumption]) -> String {
    let words = assumptions.iter().map(|assumption| match assumption {
        Assumption::FirewallInFront => "nothing in front of the nodes blocks it",
        Assumption::NodeFirewall => "the node's own firewall lets through what Calico leaves to it",
        Assumption::Environment => "calico-node's environment overrides nothing",
    });
    format!("assumed: {}", words.collect::<Vec<_>>().join("; "))
}

/// Everything that can be reached, and everything that is blocked.
pub fn exposure(exposure: &Exposure, names: &Names) -> String {
    let mut out = String::new();
    for reach in &exposure.reaches {
        line(
            &mut out,
            &format!("{:<8}{}", verdict(reach.answer.verdict), what(&reach.subject)),
            &place(&reach.nodes),
        );
        detail(
            &mut out,
            &format!("from {}", sources(&reach.subject.sources, reach.subject.family, names)),
        );
        detail(&mut out, &answer(Some(&reach.answer)));
    }
    out
}

fn line(out: &mut String, what: &str, place: &str) {
    for (i, part) in wrap(&format!("{what} on {place}"), 76).iter().enumerate() {
        let _ = writeln!(out, "  {}{part}", if i > 0 { "          " } else { "" });
    }
}

fn detail(out: &mut String, text: &str) {
    for (i, part) in wrap(text, 68).iter().enumerate() {
        let _ = writeln!(out, "          {}{part}", if i > 0 { "  " } else { "" });
    }
}

/// `TCP 30080 (hipstershop/frontend-nodeport)`
pub fn what(subject: &Subject) -> String {
    let ports: Vec<String> = subject
        .ports
        .ranges()
        .iter()
        .map(|(lo, hi)| if lo == hi { lo.to_string() } else { format!("{lo}-{hi}") })
        .collect();
    let ports = match ports.len() {
        0 => String::new(),
        _ if subject.ports.ranges() == [(0, u16::MAX)] || subject.ports.ranges() == [(1, u16::MAX)] => {
            " all ports".into()
        }
        1..=6 => format!(" {}", ports.join(", ")),
        n => format!(" {}, and {} more ranges", ports[..5].join(", "), n - 5),
    };
    let service = subject
        .service
        .as_ref()
        .map(|name| format!(" ({})", escape(name)))
        .unwrap_or_default();
    let family = match (subject.family, subject.protocol) {
        (Family::V6, Protocol::IcmpV6) | (Family::V4, _) => "",
        (Family::V6, _) => " over IPv6",
    };
    format!("{}{ports}{service}{family}", subject.protocol)
}

fn place(nodes: &BTreeMap<String, BTreeSet<IpAddr>>) -> String {
    let names: Vec<String> = nodes.keys().take(NODES).map(|name| escape(name)).collect();
    let more = if nodes.len() > NODES {
        format!(" and {} more", nodes.len() - NODES)
    } else {
        String::new()
    };
    format!("{}{more}", names.join(", "))
}

/// Sources as a person would say them: everybody, everybody but a few, or networks.
pub fn sources(set: &AddressSet, family: Family, names: &Names) -> String {
    let all = AddressSet::family(family);
    let others = all.minus(set);
    let word = match family {
        Family::V4 => "every IPv4 address",
        Family::V6 => "every IPv6 address",
    };
    let (here, there) = (set.to_cidrs(), others.to_cidrs());
    if there.is_empty() {
        word.to_string()
    } else if there.len() < here.len() {
        format!("{word} but {}", networks(&there, names))
    } else {
        networks(&here, names)
    }
}

/// A network with the name of the input that it came from; any other text as it is.
pub fn named(text: &str, names: &Names) -> String {
    let name = Cidr::parse(text).ok().and_then(|cidr| names.get(&cidr));
    match name {
        Some(name) => format!("{text} ({})", escape(name)),
        None => escape(text).to_string(),
    }
}

fn networks(cidrs: &[Cidr], names: &Names) -> String {
    let shown: Vec<String> = cidrs
        .iter()
        .take(NETWORKS)
        .map(|cidr| match names.get(cidr) {
            Some(name) => format!("{cidr} ({})", escape(name)),
            None => cidr.to_string(),
        })
        .collect();
    let more = if cidrs.len() > NETWORKS {
        format!(" and {} more networks", cidrs.len() - NETWORKS)
    } else {
        String::new()
    };
    format!("{}{more}", shown.join(", "))
}

fn answer(answer: Option<&Answer>) -> String {
    let Some(answer) = answer else {
        return "no such node".to_string();
    };
    let by = answer
        .decision
        .as_ref()
        .map(|decision| decided(&decision.by))
        .unwrap_or_default();
    let word = verdict(answer.verdict);
    if by.is_empty() {
        word.to_string()
    } else {
        format!("{word} ({by})")
    }
}

/// The verdict in a word.
pub fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Open | Verdict::HostDecides => "open",
        Verdict::Blocked => "blocked",
        Verdict::Partly => "partly",
        Verdict::Unknown => "unknown",
    }
}

/// What decided, in words.
pub fn decided(by: &By) -> String {
    match by {
        By::Rule(rule) => escape(&rule.to_string()),
        By::Failsafe { port } => format!("failsafe port {port}, which no policy closes"),
        By::EndOfTier { tier } => format!("no rule of tier {} allows it", escape(tier)),
        By::NoProfile => "no profile allows it".to_string(),
        By::MissingProfile { name } => format!("profile {} does not exist", escape(name)),
        By::NoForwardPolicy => "no policy on forwarded traffic".to_string(),
        By::NoRule => "no rule matches".to_string(),
        By::NoEndpoint => "no host endpoint".to_string(),
        By::Tunnel => "tunnels between nodes".to_string(),
        By::PodTunnel => "pods may not send tunnel packets".to_string(),
        By::EndpointToHost => "defaultEndpointToHostAction".to_string(),
        By::OwnPod => "a node's own pods".to_string(),
        By::Earlier => "accepted before".to_string(),
        By::NoBackend { service } => format!("{} has no endpoint here", escape(service)),
        By::Service { service, backend } => format!("{} sends it to {}", escape(service), escape(backend)),
        By::NotTranslated => "untracked packets are not translated".to_string(),
        By::Unread { what, why } => format!("{} not known: {}", escape(what), escape(why)),
        By::NotEstablished { what } => format!("not established: {what}"),
    }
}

/// The walk of one packet, hop by hop.
pub fn walk(walk: &Walk) -> String {
    let mut out = String::new();
    for (i, way) in walk.ways.iter().enumerate() {
        if walk.ways.len() > 1 {
            let to = way
                .backend
                .as_ref()
                .map(|name| format!(", to {}", escape(name)))
                .unwrap_or_default();
            let _ = writeln!(
                out,
                "way {} of {}{to}: {}",
                i + 1,
                walk.ways.len(),
                verdict(way.verdict)
            );
        }
        for (at, hop) in way.hops.iter().enumerate() {
            let mark = if way.decided == Some(at) { '>' } else { ' ' };
            let ruling = match hop.ruling {
                Ruling::Accept => "accept",
                Ruling::Pass => "pass",
                Ruling::Drop => "DROP",
                Ruling::Nothing => "-",
                Ruling::Unknown => "unknown",
            };
            let endpoint = hop
                .endpoint
                .as_ref()
                .map(|name| format!(" [{}]", escape(name)))
                .unwrap_or_default();
            let text = format!(
                "{mark} {} {:<20} {ruling:<8}{endpoint}",
                escape(&hop.node),
                hop.hook.as_str()
            );
            let _ = writeln!(out, "{}", text.trim_end());
            for part in wrap(&decided(&hop.by), 70) {
                let _ = writeln!(out, "      {part}");
            }
        }
    }
    let _ = writeln!(out, "{}", verdict(walk.verdict));
    out
}
