//! Policies of one tier with the same order, of which it matters who is asked first.
//!
//! Each is put first in turn: a packet that fares otherwise then, fares by names now. Only pairs with rules that can
//! meet and do not do the same are tried, because each try compares two worlds.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Finding, Looked};
use crate::changes::{Change, FieldChange};
use crate::error::codes;
use crate::exposure::{Movement, Row, World, difference, port_range};
use crate::net::{AddressSet, Cidr, PortSet};
use crate::resource::{FieldPath, Key, Kind, Origin};
use crate::selector::Selector;
use crate::state::labels_of;

/// Tries of one plan.
const TRIES: usize = 8;
/// Policies without an order come after all with one.
const LAST: f64 = f64::MAX;

/// A policy that is asked.
struct Tied<'a> {
    key: &'a Key,
    object: Cow<'a, Value>,
    own: bool,
    actions: BTreeSet<String>,
    /// Host endpoints and pods that it is asked at, once somebody wants to know.
    selects: OnceCell<BTreeSet<String>>,
}

pub fn look(looked: &Looked<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let (mut tries, mut left_out) = (0, None);
    for (first, second) in pairs(looked, &places(looked)) {
        if tries == TRIES {
            left_out.get_or_insert((first.key, second.key));
            continue;
        }
        tries += 1;
        if let Some(row) = swapped(looked, second) {
            findings.push(finding(looked, (first.key, second.key), &row));
        }
    }
    // What was not tried may matter.
    if let Some((first, second)) = left_out {
        let subject = format!("{} and others", names(first, second));
        let message =
            format!("{subject} have the same order, and whether it matters was not looked at: there are too many");
        findings.push(Finding::new(codes::ORDER_TIE, subject, message).fix("give each its own order"));
    }
    findings
}

fn names(first: &Key, second: &Key) -> String {
    format!("policies.{}, {}", first.name, second.name)
}

/// A tier, an order, and whether policies are asked without tracking and before DNAT.
type Place = (String, u64, (bool, bool));

/// Policies by the place that they share, in the order in which they are asked.
fn places<'a>(looked: &'a Looked<'_>) -> BTreeMap<Place, Vec<Tied<'a>>> {
    let mut places: BTreeMap<Place, Vec<Tied<'a>>> = BTreeMap::new();
    for (key, object) in looked.end.list(Kind::GlobalNetworkPolicy).into_iter().flatten() {
        let place = (tier(&object).to_string(), order(&object).to_bits(), stage(&object));
        let own = looked.plan.policies.contains_key(&key.name) || looked.plan.guards.contains_key(&key.name);
        let rules = DIRECTIONS.iter().flat_map(|direction| rules(&object, direction));
        let actions = rules
            .filter_map(|rule| Some(rule["action"].as_str()?.to_string()))
            .collect();
        let tied = Tied {
            key,
            object,
            own,
            actions,
            selects: OnceCell::new(),
        };
        places.entry(place).or_default().push(tied);
    }
    places
}

/// Pairs of which one is the plan's, that can meet a packet together and not do the same.
fn pairs<'p, 'a>(looked: &Looked<'_>, places: &'p BTreeMap<Place, Vec<Tied<'a>>>) -> Vec<(&'p Tied<'a>, &'p Tied<'a>)> {
    let selects = |tied: &'p Tied<'a>| tied.selects.get_or_init(|| selected(looked, &tied.object));
    let mut found = Vec::new();
    for tied in places.values() {
        for (i, first) in tied.iter().enumerate() {
            for second in &tied[i + 1..] {
                let differ = first.actions.union(&second.actions).count() > 1;
                let meet = (first.own || second.own) && differ && rules_meet(&first.object, &second.object);
                if meet && !selects(first).is_disjoint(selects(second)) {
                    found.push((first, second));
                    if found.len() > TRIES {
                        return found;
                    }
                }
            }
        }
    }
    found
}

fn tier(policy: &Value) -> &str {
    let tier = policy["spec"]["tier"].as_str();
    tier.filter(|tier| !tier.is_empty()).unwrap_or("default")
}

fn order(policy: &Value) -> f64 {
    policy["spec"]["order"].as_f64().unwrap_or(LAST)
}

fn stage(policy: &Value) -> (bool, bool) {
    let flag = |key: &str| policy["spec"][key] == Value::Bool(true);
    (flag("doNotTrack"), flag("preDNAT"))
}

/// Host endpoints, and pods, by name.
fn selected(looked: &Looked<'_>, policy: &Value) -> BTreeSet<String> {
    let text = policy["spec"]["selector"].as_str().unwrap_or_default();
    let Ok(selector) = Selector::parse(text) else {
        return BTreeSet::new();
    };
    let endpoints = looked.end.list(Kind::HostEndpoint).into_iter().flatten();
    let endpoints = endpoints.filter(|(_, object)| selector.matches(&labels_of(object)));
    let mut found: BTreeSet<String> = endpoints.map(|(key, _)| key.to_string()).collect();
    let pods = looked.end.pods().into_iter().flat_map(|pods| pods.iter());
    let pods = pods.filter(|(_, pod)| selector.matches(&*pod.labels));
    found.extend(pods.map(|(key, _)| key.to_string()));
    found
}

/// Whether some rule of the one and some of the other can match one packet and do not do the same.
fn rules_meet(first: &Value, second: &Value) -> bool {
    DIRECTIONS.iter().any(|direction| {
        rules(first, direction).any(|a| rules(second, direction).any(|b| a["action"] != b["action"] && can_meet(a, b)))
    })
}

const DIRECTIONS: [&str; 2] = ["ingress", "egress"];

/// Those that decide.
fn rules<'a>(policy: &'a Value, direction: &str) -> impl Iterator<Item = &'a Value> {
    let rules = policy["spec"][direction].as_array().into_iter().flatten();
    rules.filter(|rule| rule["action"] != "Log")
}

fn can_meet(a: &Value, b: &Value) -> bool {
    let protocols = match (&a["protocol"], &b["protocol"]) {
        (Value::Null, _) | (_, Value::Null) => true,
        (a, b) => a == b,
    };
    protocols
        && ["source", "destination"]
            .iter()
            .all(|side| ports_meet(&a[*side], &b[*side]) && nets_meet(&a[*side], &b[*side]))
}

fn ports_meet(a: &Value, b: &Value) -> bool {
    let ports = |side: &Value| {
        let list = side["ports"].as_array()?;
        // a name can be any number
        let ranges: Option<Vec<(u16, u16)>> = list.iter().map(port_range).collect();
        ranges.map(PortSet::from_ranges)
    };
    match (ports(a), ports(b)) {
        (Some(a), Some(b)) => !a.intersect(&b).is_empty(),
        _ => true,
    }
}

fn nets_meet(a: &Value, b: &Value) -> bool {
    let nets = |side: &Value| {
        let list = side["nets"].as_array()?;
        let nets = list.iter().map(|net| Cidr::parse_lenient(net.as_str()?).ok());
        nets.collect::<Option<Vec<Cidr>>>()
            .map(|nets| AddressSet::from_cidrs(&nets))
    };
    match (nets(a), nets(b)) {
        (Some(a), Some(b)) => a.first_common(&b).is_some(),
        _ => true,
    }
}

/// A row that moves once the second of the two is asked before the first.
fn swapped(looked: &Looked<'_>, second: &Tied<'_>) -> Option<Row> {
    let before = order(&second.object).next_down();
    let path = FieldPath::dotted("spec.order");
    let field = FieldChange {
        before: path.get(&second.object).cloned(),
        path,
        after: Some(json!(before)),
        taken_from: None,
    };
    let origin = Origin {
        section: "tie".into(),
        span: None,
    };
    let change = Change::update(
        second.key.clone(),
        second.object.clone().into_owned(),
        vec![field],
        origin,
    );
    let other = World::of_state(&looked.end.after(&change));
    let rows = difference(looked.after, &other);
    rows.into_iter().find(|row| row.movement != Movement::Stays)
}

fn finding(looked: &Looked<'_>, (first, second): (&Key, &Key), row: &Row) -> Finding {
    let subject = names(first, second);
    let message = format!("{subject} have the same order in their tier, and it matters which is asked first");
    let mut finding = Finding::new(codes::ORDER_TIE, subject, message);
    let span = |key: &Key| {
        let policy = looked.plan.policies.get(&key.name).map(|policy| policy.span);
        policy.or_else(|| looked.plan.guards.get(&key.name).map(|guard| guard.span))
    };
    finding.span = span(second).or_else(|| span(first));
    let packet = &row.witness;
    let port = packet.port.map(|port| format!(":{port}")).unwrap_or_default();
    finding
        .cause(format!(
            "{} {} -> {}{port} fares otherwise the other way round",
            packet.protocol, packet.source, packet.destination
        ))
        .consequence("Calico asks them by their names: a new name changes who can connect")
        .fix("give them different orders")
}
