//! Packets: what real Felix and the kernel did with each, and at which hook.
//!
//! Files of the nftables dataplane record "left to the host's own chains" as accepted, so the two are one answer there.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use hostguard::exposure::{
    Backend, Dataplane, Exposure, Facts, Fate, From, InterfaceFacts, Movement, NamedPort, NodeFacts, Origin, Packet,
    Peer, PodFacts, Reach, Row, ServiceFacts, Verdict, World, difference, difference_inside, exposure, exposure_inside,
    fate_of_connection, neighbour_discovery, walk,
};
use hostguard::net::{AddressSet, Cidr, Protocol};
use serde_json::Value;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> {
    value[key].as_array().into_iter().flatten()
}

fn addresses(value: &Value, key: &str) -> Vec<IpAddr> {
    list(value, key)
        .map(|a| a.as_str().expect("text").parse().expect("an address"))
        .collect()
}

fn labels(value: &Value) -> BTreeMap<String, String> {
    serde_json::from_value(value["labels"].clone()).unwrap_or_default()
}

fn number(value: &Value, key: &str) -> u16 {
    value[key].as_u64().and_then(|n| u16::try_from(n).ok()).expect("a port")
}

fn node(value: &Value) -> NodeFacts {
    let interfaces = value["interfaces"].as_object().expect("interfaces");
    let interface = |(name, list): (&String, &Value)| InterfaceFacts {
        name: name.clone(),
        addresses: list
            .as_array()
            .into_iter()
            .flatten()
            .map(|a| a.as_str().expect("text").parse().expect("an address"))
            .map(|a: IpAddr| (a, if a.is_ipv4() { 24 } else { 64 }))
            .collect(),
    };
    NodeFacts {
        name: text(value, "name").into(),
        labels: labels(value).into(),
        interfaces: Some(interfaces.iter().map(interface).collect()),
        ..NodeFacts::default()
    }
}

fn pod(value: &Value) -> PodFacts {
    PodFacts {
        namespace: "default".into(),
        name: text(value, "name").into(),
        node: text(value, "node").into(),
        addresses: addresses(value, "ips"),
        interface: Some(text(value, "interface").into()),
        labels: Arc::new(labels(value).into()),
        account: None,
        profiles: list(value, "profiles")
            .map(|p| p.as_str().expect("text").into())
            .collect(),
        ports: list(value, "ports")
            .map(|p| NamedPort {
                name: text(p, "name").into(),
                protocol: text(p, "protocol").into(),
                port: number(p, "port"),
            })
            .collect(),
    }
}

fn service(value: &Value, pods: &[Arc<PodFacts>]) -> ServiceFacts {
    let backend = |name: &Value| {
        let pod = pods
            .iter()
            .find(|p| p.name == name.as_str().expect("text"))
            .expect("a pod");
        Backend {
            name: pod.name.clone(),
            addresses: pod.addresses.clone(),
            port: number(value, "targetPort"),
        }
    };
    ServiceFacts {
        namespace: "default".into(),
        name: text(value, "name").into(),
        protocol: if text(value, "proto") == "udp" { 17 } else { 6 },
        port: number(value, "port"),
        node_port: value["nodePort"].as_u64().map(|_| number(value, "nodePort")),
        cluster: ["clusterIP", "clusterIPv6"]
            .iter()
            .filter_map(|k| value[*k].as_str()?.parse().ok())
            .collect(),
        external_local: text(value, "externalTrafficPolicy") == "Local",
        internal_local: false,
        backends: Some(list(value, "backends").map(backend).collect()),
    }
}

/// The world of a case, with the resources of these lists.
pub fn facts(case: &Value, lists: &[&str]) -> Facts {
    let pods: Vec<Arc<PodFacts>> = list(case, "pods").map(|value| Arc::new(pod(value))).collect();
    let ranges = ["10.65.0.0/16", "fd00:65::/32"].map(|c| Cidr::parse(c).expect("a network"));
    Facts {
        nodes: list(case, "nodes").map(node).map(Arc::new).collect(),
        services: Some(list(case, "services").map(|s| service(s, &pods)).collect()),
        pods: Some(pods),
        objects: lists.iter().flat_map(|l| list(case, l)).cloned().collect(),
        unread: BTreeMap::new(),
        pod_ranges: Some(AddressSet::from_cidrs(&ranges)),
        dataplane: Some(if text(case, "dataplane") == "nftables" {
            Dataplane::Nftables
        } else {
            Dataplane::Iptables
        }),
        environment: Some(BTreeMap::new()),
        cloud: None,
    }
}

pub fn packet(case: &Value, probe: &Value) -> Packet {
    let from = text(probe, "from");
    let is = |key: &str| list(case, key).any(|x| text(x, "name") == from);
    let source: IpAddr = text(probe, "src").parse().expect("an address");
    let (protocol, icmp_type) = match (text(probe, "proto"), source.is_ipv4()) {
        ("tcp", _) => (Protocol::Tcp, None),
        ("udp", _) => (Protocol::Udp, None),
        (_, true) => (Protocol::Icmp, Some(8)),
        (_, false) => (Protocol::IcmpV6, Some(128)),
    };
    Packet {
        from: match () {
            _ if is("nodes") => Origin::Node(from.into()),
            _ if is("pods") => Origin::Pod {
                namespace: "default".into(),
                name: from.into(),
            },
            _ => Origin::Outside,
        },
        source,
        destination: text(probe, "dst").parse().expect("an address"),
        protocol,
        port: probe["port"].as_u64().map(|_| number(probe, "port")),
        source_port: probe["port"].as_u64().map(|_| {
            if probe["sport"].is_u64() {
                number(probe, "sport")
            } else {
                40000
            }
        }),
        icmp_type,
        backend: probe["backend"].as_str().map(str::to_string),
    }
}

pub const RESOURCES: [&str; 3] = ["resources", "unvalidated_resources", "later_resources"];

/// Ours and theirs, in the words of the corpus.
fn answers(case: &Value, probe: &Value, world: &World) -> (String, String) {
    let nftables = text(case, "dataplane") == "nftables";
    let at = |node: &str, hook: &str| format!("{node}:{hook}");
    let walk = walk(world, &packet(case, probe));
    let decided = walk
        .decided
        .as_ref()
        .map_or_else(String::new, |hop| at(&hop.node, hop.hook.as_str()));
    let ours = match walk.verdict {
        Verdict::Open => "accept".to_string(),
        Verdict::HostDecides if nftables => "accept".to_string(),
        Verdict::HostDecides => format!("host {decided}"),
        Verdict::Blocked => format!("drop {decided}"),
        other => format!("{other:?} {decided}"),
    };
    let theirs = match text(probe, "verdict") {
        "drop" => format!("drop {}", text(probe, "drop_at")),
        "host" if nftables => "accept".to_string(),
        "host" => format!("host {}", text(probe, "host_decides_at")),
        other => other.to_string(),
    };
    (ours, theirs)
}

#[test]
fn every_packet_fares_as_with_calico() {
    let (mut probes, mut verdicts, mut wrong) = (0, 0, Vec::new());
    for (id, case) in super::cases("packets") {
        if case["felix_fails"].is_string() {
            continue;
        }
        let world = World::of_facts(&facts(&case, &RESOURCES));
        for probe in list(&case, "probes").filter(|p| p["verdict"].is_string()) {
            let (ours, theirs) = answers(&case, probe, &world);
            probes += 1;
            verdicts += usize::from(ours.split(' ').next() == theirs.split(' ').next());
            if ours != theirs {
                wrong.push(format!(
                    "{id} {}: ours {ours}, Calico's {theirs}: {probe}",
                    text(&case, "name")
                ));
            }
        }
    }
    println!(
        "packets: {probes}, of which {verdicts} agree in verdict and {} in hook too",
        probes - wrong.len()
    );
    assert!(probes >= 61_000, "the corpus is cut short");
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

/// `router->n1`, `n1->pod a`: who asks whom.
fn discovery(world: &World, case: &Value, key: &str) -> bool {
    let (asks, asked) = key.split_once("->").expect("an arrow");
    let is_node = |name: &str| list(case, "nodes").any(|n| text(n, "name") == name);
    let (node, peer) = if is_node(asks) { (asks, asked) } else { (asked, asks) };
    let peer = match peer.strip_prefix("pod ") {
        Some(pod) => Peer::Pod {
            namespace: "default".into(),
            name: pod.into(),
        },
        None => Peer::Router("fd00:1::1".parse().expect("an address")),
    };
    let (verdict, _) = neighbour_discovery(world, node, &peer, node == asks).expect("node and pod are there");
    verdict == Verdict::Open
}

#[test]
fn neighbour_discovery_works_where_it_does_with_calico() {
    let (mut checks, mut wrong) = (0, Vec::new());
    for (id, case) in super::cases("packets") {
        let Some(recorded) = case["ipv6_neighbour_discovery"].as_object() else {
            continue;
        };
        if case["felix_fails"].is_string() {
            continue;
        }
        let world = World::of_facts(&facts(&case, &RESOURCES));
        for (key, works) in recorded {
            checks += 1;
            let ours = discovery(&world, &case, key);
            if Some(ours) != works.as_bool() {
                wrong.push(format!(
                    "{id} {} {key}: ours {ours}, Calico's {works}",
                    text(&case, "name")
                ));
            }
        }
    }
    println!("neighbour discovery: {} of {checks} agree", checks - wrong.len());
    assert!(checks >= 3_000, "the corpus is cut short");
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn open_connections_end_where_they_do_with_calico() {
    let (mut connections, mut wrong) = (0, Vec::new());
    for (id, case) in super::cases("packets") {
        let world = World::of_facts(&facts(&case, &RESOURCES));
        for probe in list(&case, "probes").filter(|p| p["open_connection"].is_string()) {
            connections += 1;
            let ours = match fate_of_connection(&world, &packet(&case, probe)) {
                Fate::Survives => "survives",
                Fate::Cut => "cut",
                Fate::Unknown => "unknown",
            };
            if ours != text(probe, "open_connection") {
                wrong.push(format!("{id} {}: ours {ours}: {probe}", text(&case, "name")));
            }
        }
    }
    println!("open connections: {} of {connections} agree", connections - wrong.len());
    assert!(connections >= 459, "the corpus is cut short");
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

/// Nodes and pods as clients take their time: one world in this many is asked about them.
const SOME: usize = 36;

fn is_from(from: From, packet: &Packet, case: &Value) -> bool {
    let home = |name: &str| {
        list(case, "pods")
            .find(|p| text(p, "name") == name)
            .map(|p| text(p, "node"))
    };
    let target = list(case, "nodes").map(node).find(|n| {
        let mut all = n.interfaces.iter().flatten().flat_map(|i| &i.addresses);
        all.any(|(a, _)| *a == packet.destination)
    });
    let target = target.map(|n| n.name).unwrap_or_default();
    from == match &packet.from {
        Origin::Outside => From::Outside,
        Origin::Node(name) if *name == target => From::ThisNode,
        Origin::Node(_) => From::OtherNodes,
        Origin::Pod { name, .. } if home(name) == Some(&target) => From::PodsOfThisNode,
        Origin::Pod { .. } => From::PodsOfOtherNodes,
    }
}

/// What the exposure says of the packet's source.
fn exposed(exposure: &Exposure, packet: &Packet, case: &Value) -> Option<Verdict> {
    let about = |reach: &&Reach| {
        let subject = &reach.subject;
        is_from(subject.from, packet, case)
            && subject.protocol == packet.protocol
            && packet.port.is_none_or(|port| subject.ports.contains(port))
            && subject.sources.contains(packet.source)
            && reach
                .nodes
                .values()
                .any(|addresses| addresses.contains(&packet.destination))
    };
    let mut found = exposure.reaches.iter().filter(about);
    let first = found.next()?.answer.verdict;
    assert!(found.next().is_none(), "two answers for {packet:?}");
    Some(first)
}

#[test]
fn exposure_says_of_every_source_what_its_walk_says() {
    let (mut compared, mut wrong) = (0, Vec::new());
    for (number, (id, case)) in super::cases("packets").into_iter().enumerate() {
        let world = World::of_facts(&facts(&case, &RESOURCES));
        let mut exposure = exposure(&world);
        let inside = number % SOME == 0;
        if inside {
            exposure
                .reaches
                .extend(exposure_inside(&world).expect("few sorts of pairs"));
        }
        for reach in &exposure.reaches {
            compared += 1;
            let walked = walk(&world, &reach.witness).verdict;
            if walked != reach.answer.verdict {
                wrong.push(format!("{id}: walks {walked:?}: {reach:?}"));
            }
        }
        for probe in list(&case, "probes") {
            let packet = Packet {
                backend: None,
                source_port: None,
                ..packet(&case, probe)
            };
            let node = |n: &Value| {
                let interfaces = n["interfaces"].as_object().into_iter().flatten();
                interfaces
                    .flat_map(|(_, a)| a.as_array().into_iter().flatten())
                    .any(|a| *a == probe["dst"])
            };
            if !list(&case, "nodes").any(node) || (packet.from != Origin::Outside && !inside) {
                continue;
            }
            compared += 1;
            let (ours, walked) = (exposed(&exposure, &packet, &case), walk(&world, &packet).verdict);
            if ours != Some(walked) {
                wrong.push(format!("{id}: {ours:?}, walks {walked:?}: {packet:?}"));
            }
        }
    }
    println!(
        "exposure: {} of {compared} agree with their walk",
        compared - wrong.len()
    );
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

/// Each world against the next one: rows hold in both, and no packet moves without a row.
#[test]
fn a_difference_holds_in_both_worlds_and_misses_no_packet() {
    let cases: Vec<(String, Value)> = super::cases("packets");
    let (mut rows, mut packets, mut wrong) = (0, 0, Vec::new());
    for (number, pair) in cases.windows(2).enumerate().step_by(3) {
        let [(id, first), (_, second)] = pair else { continue };
        let worlds = [first, second].map(|case| World::of_facts(&facts(case, &RESOURCES)));
        let mut found = difference(&worlds[0], &worlds[1]);
        let inside = number % SOME == 0;
        if inside {
            found.extend(difference_inside(&worlds[0], &worlds[1]).expect("few sorts of pairs"));
        }
        for row in &found {
            rows += 1;
            for (world, answer) in worlds.iter().zip([&row.before, &row.after]) {
                let walked = walk(world, &row.witness).verdict;
                if answer.as_ref().map(|a| a.verdict) != Some(walked) {
                    wrong.push(format!("{id}: walks {walked:?}: {row:?}"));
                }
            }
        }
        for probe in list(second, "probes") {
            let packet = Packet {
                backend: None,
                source_port: None,
                ..packet(second, probe)
            };
            let hits = |row: &&Row| {
                is_from(row.subject.from, &packet, second)
                    && row.subject.protocol == packet.protocol
                    && packet.port.is_none_or(|port| row.subject.ports.contains(port))
                    && row.subject.sources.contains(packet.source)
                    && row.nodes.values().any(|a| a.contains(&packet.destination))
            };
            let to_node = list(second, "nodes").flat_map(|n| node(n).interfaces.expect("known"));
            let to_node = to_node.flat_map(|i| i.addresses).any(|(a, _)| a == packet.destination);
            if !to_node || (packet.from != Origin::Outside && !inside) {
                continue;
            }
            packets += 1;
            let walked = worlds.each_ref().map(|world| walk(world, &packet).verdict);
            let movement = Movement::of(Some(walked[0]), Some(walked[1]));
            let rows: Vec<&Row> = found.iter().filter(hits).collect();
            let right = match rows.as_slice() {
                [] => movement == Movement::Stays,
                [row] => row.movement == movement,
                _ => false,
            };
            if !right {
                wrong.push(format!("{id}: {walked:?}, rows {rows:?}: {packet:?}"));
            }
        }
    }
    println!("difference: {rows} rows and {packets} packets, {} wrong", wrong.len());
    assert!(
        rows > 4_000 && wrong.is_empty(),
        "{} disagreements:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
