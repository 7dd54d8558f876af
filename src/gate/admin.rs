//! Ports of those who administrate a node: open to the internet in the end, or to nobody any more.

use std::collections::BTreeSet;

use super::{Finding, Looked, internet, some};
use crate::error::codes;
use crate::exposure::{Flow, Flows, From, Movement, Part, Senders, Verdict};
use crate::net::{AddressSet, Family, PortSet, Protocol};
use crate::resource::Kind;

/// What listens there, and whether everybody being shut out is worth a word.
const PORTS: &[(u16, &str, bool)] = &[
    (22, "SSH", true),
    (2379, "etcd", false),
    (2380, "etcd", false),
    (10250, "the kubelet", true),
    (10255, "the kubelet", false),
];

pub fn look(looked: &Looked<'_>) -> Vec<Finding> {
    let Ok(nodes) = looked.end.keys(Kind::Node) else {
        return Vec::new();
    };
    let nodes: BTreeSet<String> = nodes.map(|key| key.name.clone()).collect();
    let closing = |port| closing(looked, port);
    if !looked.firewall && PORTS.iter().all(|(port, ..)| closing(*port).is_empty()) {
        return Vec::new();
    }
    let flows = Flows::new(looked.after);
    let mut findings = Vec::new();
    for (port, what, _) in PORTS.iter().filter(|_| looked.firewall) {
        let parts = ask(&flows, *port, &nodes, crate::plan::internet());
        let open: Vec<&Part> = parts.iter().filter(|part| is_exposed(part)).collect();
        let on: BTreeSet<String> = open.iter().flat_map(|part| part.nodes.keys().cloned()).collect();
        if let Some(first) = open.first() {
            let subject = format!("tcp/{port}");
            let message = format!("{subject} ({what}) is open to the internet on {}", some(&on));
            let finding = Finding::new(codes::ADMIN_OPEN, subject, message).cause(shown(first));
            findings.push(finding.fix("close it in the security group, for everybody but those who administrate"));
        }
    }
    for (port, what, _) in PORTS.iter().filter(|(_, _, lives)| *lives) {
        let cut = cut_off(&flows, *port, closing(*port));
        if !cut.is_empty() {
            let subject = format!("tcp/{port}");
            let message = format!(
                "{subject} ({what}) is reached by nobody outside any more on {}",
                some(&cut)
            );
            let finding = Finding::new(codes::ADMIN_CUT, subject, message);
            findings.push(finding.fix("see that there is another way in, or name who needs it under `neverClose`"));
        }
    }
    findings
}

fn ask(flows: &Flows<'_>, port: u16, nodes: &BTreeSet<String>, sources: AddressSet) -> Vec<Part> {
    flows.of(&Flow {
        from: Senders::Outside(sources),
        nodes: nodes.clone(),
        protocol: Protocol::Tcp,
        ports: PortSet::from_ranges([(port, port)]),
    })
}

fn is_exposed(part: &Part) -> bool {
    let family = Family::of(part.witness.destination);
    matches!(part.verdict, Verdict::Open | Verdict::HostDecides | Verdict::Partly)
        && internet::is_most(&part.sources, family)
}

/// Nodes at which something closes on the port.
fn closing(looked: &Looked<'_>, port: u16) -> BTreeSet<String> {
    let closes = looked.rows.iter().filter(|row| {
        let subject = &row.subject;
        row.movement == Movement::Closes
            && row.after.is_some()
            && subject.from == From::Outside
            && subject.protocol == Protocol::Tcp
            && subject.ports.contains(port)
    });
    closes.flat_map(|row| row.nodes.keys().cloned()).collect()
}

/// Those of them at which nothing may be open in the end.
fn cut_off(flows: &Flows<'_>, port: u16, closing: BTreeSet<String>) -> BTreeSet<String> {
    if closing.is_empty() {
        return closing;
    }
    let parts = ask(flows, port, &closing, AddressSet::all());
    let open = parts.iter().filter(|part| part.verdict != Verdict::Blocked);
    let open: BTreeSet<&String> = open.flat_map(|part| part.nodes.keys()).collect();
    closing.iter().filter(|node| !open.contains(node)).cloned().collect()
}

/// `TCP 198.51.100.1 -> 10.0.1.5:22 is open`
fn shown(part: &Part) -> String {
    let packet = &part.witness;
    let port = packet.port.map(|port| format!(":{port}")).unwrap_or_default();
    format!(
        "{} {} -> {}{port} is open",
        packet.protocol, packet.source, packet.destination
    )
}
