//! Exposure for people: who can reach what, and what changes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::IpAddr;

use super::rows::Found;
use super::sources::{Names, Shares, who};
use super::text::wrap;
use crate::escape::escape;
use crate::exposure::{Answer, Assumption, By, Exposure, Movement, Reach, Row, Subject, Verdict};
use crate::net::{Family, Protocol};

/// More nodes than this are counted.
const NODES: usize = 4;

/// More rows about clients of the cluster than this are counted.
const INSIDE: usize = 10;

/// More lines than this are counted.
const LINES: usize = 20;

/// Rows in words, before they are laid out: those that say the same of several clients are one.
type Worded = BTreeMap<(Movement, String, String), Vec<String>>;

/// What opens, closes and stays; empty when nothing does.
pub fn difference(rows: &[Row], names: &Names) -> String {
    let shares = Shares::of(rows.iter().map(|row| (&row.subject, &*row.nodes)));
    let mut out = String::new();
    for row in rows {
        let who = who(&row.subject, row.clients.as_ref(), &row.nodes, (names, &shares));
        let head = format!("{:<8}{}", movement(row.movement), what(&row.subject));
        entry(&mut out, &format!("{head} on {}", place(&row.nodes)), &who, &moved(row));
    }
    out
}

/// What opens and what closes, a line each; what has no room is counted.
pub fn lines(rows: &[Row], names: &Names) -> Vec<String> {
    let shares = Shares::of(rows.iter().map(|row| (&row.subject, &*row.nodes)));
    let moving = || rows.iter().filter(|row| row.movement != Movement::Stays);
    let line = |row: &Row| {
        let who = who(&row.subject, row.clients.as_ref(), &row.nodes, (names, &shares));
        format!(
            "{} {} on {} from {who}",
            movement(row.movement),
            what(&row.subject),
            place(&row.nodes)
        )
    };
    let mut lines: Vec<String> = moving().take(LINES).map(line).collect();
    let more = moving().count().saturating_sub(LINES);
    if more > 0 {
        lines.push(format!("and {more} more"));
    }
    lines
}

/// The same for clients of the cluster: what moves, those that say the same put together, and what has no room counted.
pub fn difference_inside(rows: &[Row], names: &Names) -> String {
    let (mut worded, shares) = (Worded::new(), Shares::default());
    for row in rows {
        let who = who(&row.subject, row.clients.as_ref(), &row.nodes, (names, &shares));
        let head = format!("{:<8}{}", movement(row.movement), what(&row.subject));
        let key = (row.movement, format!("{head} on {}", place(&row.nodes)), moved(row));
        worded.entry(key).or_default().push(who);
    }
    laid_out(worded)
}

fn laid_out(worded: Worded) -> String {
    let mut out = String::new();
    let more = worded.len().saturating_sub(INSIDE);
    for ((_, head, text), who) in worded.into_iter().take(INSIDE) {
        entry(&mut out, &head, &who.join("; "), &text);
    }
    if more > 0 {
        let rows = if more == 1 { "row" } else { "rows" };
        let _ = writeln!(
            out,
            "  and {more} more {rows} about clients in the cluster (all in -o json)"
        );
    }
    out
}

fn entry(out: &mut String, head: &str, who: &str, text: &str) {
    for (i, part) in wrap(head, 76).iter().enumerate() {
        let _ = writeln!(out, "  {}{part}", if i > 0 { "          " } else { "" });
    }
    detail(out, &format!("from {who}"));
    detail(out, text);
}

/// The movement in a word; what opens stands out.
fn movement(movement: Movement) -> &'static str {
    match movement {
        Movement::Opens => "OPENS",
        Movement::BecomesUnknown => "UNKNOWN",
        Movement::Closes => "closes",
        Movement::BecomesKnown => "known",
        Movement::Stays => "stays",
    }
}

/// `open (no host endpoint) -> blocked (GlobalNetworkPolicy/a ingress[0])`
fn moved(row: &Row) -> String {
    let (before, after) = (answer(row.before.as_ref()), answer(row.after.as_ref()));
    if before == after {
        after
    } else {
        format!("{before} -> {after}")
    }
}

/// Why there are no rows about clients of the cluster.
pub const TOO_MANY: &str = "clients in the cluster are not looked at: there are too many sorts of nodes and ports";

/// What answers take for granted, in one sentence.
pub fn assumed(assumptions: &[Assumption]) -> String {
    format!("assumed: {}", assumptions_text(assumptions))
}

/// The same without the word before it.
pub(super) fn assumptions_text(assumptions: &[Assumption]) -> String {
    let words = assumptions.iter().map(|assumption| match assumption {
        Assumption::FirewallInFront => "nothing in front of the nodes blocks it",
        Assumption::NodeFirewall => "the node's own firewall lets through what Calico leaves to it",
        Assumption::Environment => "calico-node's environment overrides nothing",
        Assumption::NodePorts => "NodePorts answer on every address of a node",
        Assumption::Pods => "pods could not be read, so nothing is said of them as clients",
        Assumption::Balancers => "addresses of load balancers and externalIPs are not looked at",
    });
    words.collect::<Vec<_>>().join("; ")
}

/// Everything that can be reached, and everything that is blocked.
pub fn exposure(exposure: &Exposure, names: &Names) -> String {
    let shares = Shares::of(exposure.reaches.iter().map(|reach| (&reach.subject, &*reach.nodes)));
    let mut out = String::new();
    for reach in &exposure.reaches {
        let who = who(&reach.subject, None, &reach.nodes, (names, &shares));
        entry(&mut out, &reached(reach), &who, &answer(Some(&reach.answer)));
    }
    out
}

/// The same for clients of the cluster.
pub fn exposure_inside(reaches: &[Reach], names: &Names) -> String {
    let (mut worded, shares) = (Worded::new(), Shares::default());
    for reach in reaches {
        let who = who(&reach.subject, reach.clients.as_ref(), &reach.nodes, (names, &shares));
        let key = (Movement::Stays, reached(reach), answer(Some(&reach.answer)));
        worded.entry(key).or_default().push(who);
    }
    laid_out(worded)
}

fn reached(reach: &Reach) -> String {
    let (verdict, what) = (verdict(reach.answer.verdict), what(&reach.subject));
    format!("{verdict:<8}{what} on {}", place(&reach.nodes))
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

pub(super) fn place(nodes: &BTreeMap<String, BTreeSet<IpAddr>>) -> String {
    let names: Vec<String> = nodes.keys().take(NODES).map(|name| escape(name)).collect();
    let more = if nodes.len() > NODES {
        format!(" and {} more", nodes.len() - NODES)
    } else {
        String::new()
    };
    format!("{}{more}", names.join(", "))
}

fn answer(answer: Option<&Answer>) -> String {
    Found::of(answer).text()
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

/// The id of a rule that is there.
fn known_as(id: &Option<String>) -> String {
    id.as_ref().map_or_else(String::new, |id| format!(" ({})", escape(id)))
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
        By::CloudRule { group, rule, id } => {
            format!("security group {}: {}{}", escape(group), escape(rule), known_as(id))
        }
        By::CloudPeer { group, rule, id } => {
            let (rule, id) = (escape(rule), known_as(id));
            format!("security group {}: {rule}{id}, if it is one of these", escape(group))
        }
        By::NoCloudRule { groups } if groups.is_empty() => "no security group is on the interface".to_string(),
        By::NoCloudRule { groups } => format!("no rule of {} lets it through", escape(&groups.join(", "))),
        By::Acl { acl, entry } => match entry {
            Some((number, direction)) => format!("network ACL {}: {} entry {number}", escape(acl), direction.as_str()),
            None => format!("network ACL {}: no entry allows it", escape(acl)),
        },
        By::NoInterface => "no network interface of the node was found in the cloud".to_string(),
        By::Unread { what, why } => format!("{} not known: {}", escape(what), escape(why)),
        By::NotEstablished { what } => format!("not established: {what}"),
    }
}
