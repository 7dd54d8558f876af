//! What a plan does that surprises: labels that new nodes lack, ports that stay open elsewhere. Warnings, as notes.

use std::collections::{BTreeMap, BTreeSet};

use crate::changes::Note;
use crate::error::codes;
use crate::exposure::{Movement, Row, Verdict};
use crate::net::{Family, PortSet, Protocol};
use crate::plan::{NodeGroup, Plan, Policy};
use crate::resource::Kind;
use crate::state::State;

/// Everything of that kind about a plan, its groups, the state that it leaves, and what its steps open and close.
pub(super) fn look(plan: &Plan, groups: &BTreeMap<String, Vec<String>>, after: &State, rows: &[Row]) -> Vec<Note> {
    let mut notes = labels_by_hand(plan, groups, after);
    notes.extend(node_ports_elsewhere(rows));
    notes.extend(other_family(rows));
    notes
}

/// Groups whose labels policies select by, and that leave nodes out.
fn labels_by_hand(plan: &Plan, groups: &BTreeMap<String, Vec<String>>, after: &State) -> Vec<Note> {
    let Ok(nodes) = after.keys(Kind::Node) else {
        return Vec::new();
    };
    let nodes: BTreeSet<&str> = nodes.map(|key| key.name.as_str()).collect();
    let selectors: Vec<_> = plan.policies.values().filter_map(Policy::selector).collect();
    let used: BTreeSet<&str> = selectors.iter().flat_map(|selector| selector.label_names()).collect();
    let note = |(name, group): (&String, &NodeGroup)| {
        let label = group.labels.keys().find(|key| used.contains(key.as_str()))?;
        let held: BTreeSet<&str> = groups.get(name)?.iter().map(String::as_str).collect();
        let left: Vec<&str> = nodes.difference(&held).copied().collect();
        let (first, others) = (left.first()?, left.len() - 1);
        let others = if others > 0 {
            format!(" and {others} more")
        } else {
            String::new()
        };
        Some(Note {
            about: format!("nodes.{name}"),
            text: format!(
                "{first}{others} lack label {label}, as will every node that joins or replaces one: policies that \
                 select by it do not hold there; let the node pool or a host endpoint template set it, or take `all`"
            ),
            code: Some(codes::LABEL_BY_HAND.as_str()),
        })
    };
    plan.nodes.iter().filter_map(note).collect()
}

/// Open for somebody after the steps.
fn is_open(row: &Row) -> bool {
    let verdict = row.after.as_ref().map(|answer| answer.verdict);
    matches!(verdict, Some(Verdict::Open | Verdict::HostDecides | Verdict::Partly))
}

fn closes(row: &&Row) -> bool {
    row.movement == Movement::Closes && row.after.is_some()
}

/// Ports of a node in one family.
type PortsOf<'a, K> = BTreeMap<(K, &'a str), PortSet>;

fn ports_of<'a, K: Ord + Copy>(
    rows: impl Iterator<Item = &'a Row>,
    key: impl Fn(&'a Row) -> Option<K>,
) -> PortsOf<'a, K> {
    let mut found: PortsOf<'a, K> = BTreeMap::new();
    for row in rows {
        let Some(key) = key(row) else { continue };
        for node in row.nodes.keys() {
            let entry = found.entry((key, node)).or_insert_with(PortSet::empty);
            *entry = entry.union(&row.subject.ports);
        }
    }
    found
}

/// NodePorts that close on some nodes and stay open on others where nobody is refused.
fn node_ports_elsewhere(rows: &[Row]) -> Vec<Note> {
    let service = |row: &'_ Row| row.subject.service.is_some();
    let key: fn(&Row) -> Option<(&str, Protocol, Family)> = |row| {
        Some((
            row.subject.service.as_deref()?,
            row.subject.protocol,
            row.subject.family,
        ))
    };
    let closed = ports_of(rows.iter().filter(closes).filter(|row| service(row)), key);
    let open = ports_of(rows.iter().filter(|row| is_open(row) && service(row)), key);
    let mut by_service: BTreeMap<(&str, Protocol), (PortSet, BTreeSet<&str>)> = BTreeMap::new();
    for ((of, node), ports) in &open {
        let guarded = closed.iter().filter(|((other, _), _)| other == of);
        let elsewhere = guarded.fold(PortSet::empty(), |all, (_, ports)| all.union(ports));
        let here = closed.get(&(*of, *node)).cloned().unwrap_or_else(PortSet::empty);
        let ports = ports.intersect(&elsewhere).minus(&here);
        if !ports.is_empty() {
            let entry = by_service
                .entry((of.0, of.1))
                .or_insert_with(|| (PortSet::empty(), BTreeSet::new()));
            entry.0 = entry.0.union(&ports);
            entry.1.insert(node);
        }
    }
    let note = |((service, protocol), (ports, nodes)): ((&str, Protocol), (PortSet, BTreeSet<&str>))| Note {
        about: format!("Service {service}"),
        text: format!(
            "{protocol} {ports} stays open on {}: a NodePort answers on every node, and who is refused at a guarded \
             node can ask there",
            some(&nodes)
        ),
        code: Some(codes::NODE_PORT_ELSEWHERE.as_str()),
    };
    by_service.into_iter().map(note).collect()
}

/// Ports that close in one family, and in the other stay open on the same node for everybody.
fn other_family(rows: &[Row]) -> Vec<Note> {
    let key: fn(&Row) -> Option<(Protocol, Family)> = |row| Some((row.subject.protocol, row.subject.family));
    let closed = ports_of(rows.iter().filter(closes), key);
    let open = ports_of(rows.iter().filter(|row| is_open(row)), key);
    let mut found: BTreeMap<(Family, Protocol, PortSet), BTreeSet<&str>> = BTreeMap::new();
    for (((protocol, family), node), ports) in &closed {
        let other = match family {
            Family::V4 => Family::V6,
            Family::V6 => Family::V4,
        };
        let at = ((*protocol, other), *node);
        let none = PortSet::empty();
        let (open, shut) = (open.get(&at).unwrap_or(&none), closed.get(&at).unwrap_or(&none));
        let ports = ports.intersect(open).minus(shut);
        if !ports.is_empty() {
            found.entry((other, *protocol, ports)).or_default().insert(node);
        }
    }
    let note = |((family, protocol, ports), nodes): ((Family, Protocol, PortSet), BTreeSet<&str>)| {
        let (open, closed) = match family {
            Family::V4 => ("IPv4", "IPv6"),
            Family::V6 => ("IPv6", "IPv4"),
        };
        Note {
            about: format!("{protocol} {ports}"),
            text: format!("closes for {closed} and stays open for {open} on {}", some(&nodes)),
            code: Some(codes::OTHER_FAMILY.as_str()),
        }
    };
    found.into_iter().map(note).collect()
}

/// Names, long lists cut with a count.
fn some(names: &BTreeSet<&str>) -> String {
    let shown: Vec<&str> = names.iter().take(5).copied().collect();
    match names.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
