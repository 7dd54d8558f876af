//! Random worlds, and what must hold on them.

use std::sync::Arc;

use hostguard::exposure::{Flow, Flows, Part, Senders};
use hostguard::net::{AddressSet, PortSet, Protocol};

use super::*;

#[path = "idle.rs"]
mod idle;

/// A small generator of numbers: the same worlds in every run.
pub(super) struct Dice(pub u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % sides
    }

    pub(super) fn chance(&mut self, percent: usize) -> bool {
        self.roll(100) < percent
    }

    pub(super) fn one<'t>(&mut self, of: &[&'t str]) -> &'t str {
        of[self.roll(of.len())]
    }

    pub(super) fn some(&mut self, of: &[&str], most: usize) -> Vec<String> {
        let count = 1 + self.roll(most);
        let picked: BTreeSet<String> = (0..count).map(|_| self.one(of).to_string()).collect();
        picked.into_iter().collect()
    }
}

pub(super) const NETS_V4: [&str; 9] = [
    "10.9.0.4/32",
    "10.8.0.0/16",
    "10.0.1.10/32",
    "10.0.1.11/32",
    "10.65.0.0/16",
    "10.65.0.2/32",
    "198.51.100.0/24",
    "10.96.0.10/32",
    "0.0.0.0/0",
];
pub(super) const NETS_V6: [&str; 6] = [
    "fd00:9::4/128",
    "fd00:8::/32",
    "fd00:1::10/128",
    "fd00:65::/32",
    "fd00:7::/64",
    "::/0",
];
const SELECTORS: [&str; 12] = [
    "all()",
    "role == 'front'",
    "role == 'back'",
    "host-end-point == 'test'",
    "app == 'web'",
    "has(app)",
    "!has(app)",
    "set == 'trusted'",
    "has(set)",
    "pcns.projectcalico.org/name == 'default'",
    "has(projectcalico.org/namespace)",
    "zone in {'a', 'b'}",
];
const PORTS: [&str; 13] = [
    "22",
    "80",
    "443",
    "8080",
    "9100",
    "10250",
    "30080",
    "30081",
    "30082",
    "30000:32767",
    "8000:9999",
    "http",
    "4789",
];

fn port_value(text: &str) -> Value {
    text.parse::<u16>().map_or_else(|_| Value::from(text), Value::from)
}

fn side(dice: &mut Dice, ports: bool, namespaced: bool) -> Value {
    let mut entity = json!({});
    let nets = |dice: &mut Dice| match dice.roll(5) {
        0 | 1 => dice.some(&NETS_V4, 2),
        2 => dice.some(&NETS_V6, 2),
        _ => {
            let mut both = dice.some(&NETS_V4, 1);
            both.extend(dice.some(&NETS_V6, 1));
            both
        }
    };
    if dice.chance(30) {
        entity["nets"] = json!(nets(dice));
    }
    if dice.chance(20) {
        entity["notNets"] = json!(nets(dice));
    }
    if dice.chance(25) {
        entity["selector"] = json!(dice.one(&SELECTORS));
    }
    if dice.chance(12) {
        entity["notSelector"] = json!(dice.one(&SELECTORS));
    }
    if dice.chance(if namespaced { 10 } else { 3 }) {
        entity["namespaceSelector"] = json!(dice.one(&["all()", "global()", "projectcalico.org/name == 'default'"]));
    }
    for key in ["ports", "notPorts"] {
        if ports && dice.chance(if key == "ports" { 55 } else { 10 }) {
            let list: Vec<Value> = dice.some(&PORTS, 3).iter().map(|p| port_value(p)).collect();
            entity[key] = json!(list);
        }
    }
    entity
}

fn rule(dice: &mut Dice, namespaced: bool) -> Value {
    let mut rule = json!({"action": dice.one(&["Allow", "Allow", "Deny", "Deny", "Pass", "Log"])});
    let protocol = dice.one(&["TCP", "TCP", "TCP", "UDP", "ICMP", "ICMPv6", "", ""]);
    let ports = matches!(protocol, "TCP" | "UDP");
    match protocol {
        "" if dice.chance(20) => rule["notProtocol"] = json!(dice.one(&["TCP", "UDP", "ICMP"])),
        "" => {}
        protocol => rule["protocol"] = json!(protocol),
    }
    if protocol.starts_with("ICMP") && dice.chance(60) {
        let key = if dice.chance(70) { "icmp" } else { "notICMP" };
        let kinds = [8, 128, 0, 135];
        rule[key] = json!({"type": kinds[dice.roll(4)]});
    } else if dice.chance(8) {
        rule["ipVersion"] = json!([4, 6][dice.roll(2)]);
    }
    let source_ports = ports && dice.chance(8);
    rule["source"] = side(dice, source_ports, namespaced);
    rule["destination"] = side(dice, ports, namespaced);
    rule
}

pub(super) fn policy(dice: &mut Dice, number: usize) -> Value {
    let kind = match dice.roll(12) {
        0 | 1 => "NetworkPolicy",
        2 => "StagedGlobalNetworkPolicy",
        _ => "GlobalNetworkPolicy",
    };
    let namespaced = kind == "NetworkPolicy";
    let mut spec = json!({"selector": dice.one(&SELECTORS)});
    if dice.chance(40) {
        spec["tier"] = json!(dice.one(&["security", "late", "default", "absent", "kube-admin"]));
    }
    if dice.chance(75) {
        spec["order"] = json!([1.0, 100.0, 100.0, 200.5][dice.roll(4)]);
    }
    let mut types = vec!["Ingress", "Egress"];
    match dice.roll(4) {
        0 => types.truncate(1),
        1 => drop(types.remove(0)),
        _ => {}
    }
    if !namespaced {
        match dice.roll(10) {
            0..=2 => {
                spec["preDNAT"] = json!(true);
                spec["applyOnForward"] = json!(true);
                types = vec!["Ingress"];
            }
            3 => {
                spec["doNotTrack"] = json!(true);
                spec["applyOnForward"] = json!(true);
            }
            4..=6 => spec["applyOnForward"] = json!(true),
            _ => {}
        }
        if dice.chance(4) {
            spec["namespaceSelector"] = json!(dice.one(&["all()", "projectcalico.org/name == 'default'"]));
        }
    }
    for (name, key) in [("Ingress", "ingress"), ("Egress", "egress")] {
        if types.contains(&name) {
            let count = dice.roll(4);
            spec[key] = (0..count).map(|_| rule(dice, namespaced)).collect();
        }
    }
    spec["types"] = json!(types);
    let name = format!("{}{number}", dice.one(&["a", "a-b", "a.b", "p"]));
    json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name, "namespace": "default"}, "spec": spec})
}

fn host_endpoints(dice: &mut Dice, node: &str, role: &str, out: &mut Vec<Value>) {
    let address = if node == "n1" { "10.0.1.10" } else { "10.0.1.11" };
    let second = if node == "n1" { "fd00:1::10" } else { "fd00:1::11" };
    for (suffix, interface, likely) in [
        ("auto", "*", 60),
        ("eth", "eth0", 30),
        ("ip", "", 15),
        ("one", "eth1", 10),
    ] {
        if !dice.chance(likely) {
            continue;
        }
        let mut labels = json!({"role": role, "zone": dice.one(&["a", "b", "c"])});
        if dice.chance(50) {
            labels["host-end-point"] = json!("test");
        }
        let profiles = match dice.roll(10) {
            0..=5 => json!(["projectcalico-default-allow"]),
            6 | 7 => json!([]),
            8 => json!(["absent"]),
            _ => json!(["custom", "projectcalico-default-allow"]),
        };
        let mut spec = json!({"node": node, "interfaceName": interface, "profiles": profiles});
        let expected = [vec![address, second], vec![address], vec![second]][dice.roll(3)].clone();
        if interface.is_empty() || dice.chance(80) {
            spec["expectedIPs"] = json!(expected);
        }
        if dice.chance(20) {
            spec["ports"] = json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
        }
        let name = format!("{}{node}-{suffix}", dice.one(&["", "z"]));
        let metadata = json!({"name": name, "labels": labels});
        out.push(
            json!({"apiVersion": "projectcalico.org/v3", "kind": "HostEndpoint", "metadata": metadata, "spec": spec}),
        );
    }
}

pub(super) fn settings(dice: &mut Dice) -> Value {
    let mut spec = json!({"defaultEndpointToHostAction": dice.one(&["Drop", "Accept", "Return"])});
    if dice.chance(30) {
        spec["failsafeInboundHostPorts"] = json!([{"protocol": "TCP", "port": 22, "net": "10.8.0.0/16"},
            {"protocol": "TCP", "port": 30080}, {"protocol": "UDP", "port": 68}]);
    } else if dice.chance(10) {
        spec["failsafeInboundHostPorts"] = json!([]);
    }
    if dice.chance(20) {
        spec["failsafeOutboundHostPorts"] = json!([{"protocol": "TCP", "port": 443, "net": "198.51.100.0/24"}]);
    }
    for key in ["iptablesFilterAllowAction", "nftablesFilterAllowAction"] {
        if dice.chance(10) {
            spec[key] = json!("Return");
        }
    }
    if dice.chance(10) {
        spec["vxlanEnabled"] = json!(true);
    }
    json!({"apiVersion": "projectcalico.org/v3", "kind": "FelixConfiguration", "metadata": {"name": "default"}, "spec": spec})
}

fn pod(dice: &mut Dice, name: &str, node: &str, ips: [&str; 2]) -> Value {
    let mut pod = json!({"name": name, "node": node, "ips": ips, "interface": format!("cali{name}"),
        "labels": {"app": dice.one(&["web", "db"]), "pod": name}, "profiles": ["kns.default"]});
    if dice.chance(20) {
        pod["ports"] = json!([{"name": "http", "port": 8080, "protocol": "TCP"}]);
    }
    if dice.chance(6) {
        pod["profiles"] = json!([]);
    }
    pod
}

fn service(name: &str, proto: &str, number: u16, port: u16, target: u16, policy: &str, backends: &[&str]) -> Value {
    json!({"name": name, "proto": proto, "nodePort": 30000 + number, "clusterIP": format!("10.96.0.{number}"),
        "clusterIPv6": format!("fd00:96::{number}"), "port": port, "targetPort": target,
        "externalTrafficPolicy": policy, "backends": backends})
}

/// A world in the form of the recorded ones.
fn world(dice: &mut Dice) -> Value {
    let kind = |kind: &str, name: &str, labels: Value, spec: Value| json!({"apiVersion": "projectcalico.org/v3", "kind": kind, "metadata": {"name": name, "labels": labels}, "spec": spec});
    let allow = json!([{"action": "Allow"}]);
    let mut objects = vec![kind(
        "Profile",
        "kns.default",
        json!({}),
        json!({"ingress": allow, "egress": allow, "labelsToApply": {"pcns.projectcalico.org/name": "default"}}),
    )];
    let custom = json!({"ingress": [rule(dice, false)], "egress": allow});
    objects.push(kind("Profile", "custom", json!({}), custom));
    for (name, order) in [("security", 100.0), ("late", 2e6)] {
        if dice.chance(60) {
            let spec = json!({"order": order, "defaultAction": dice.one(&["Deny", "Deny", "Pass"])});
            objects.push(kind("Tier", name, json!({}), spec));
        }
    }
    host_endpoints(dice, "n1", "front", &mut objects);
    host_endpoints(dice, "n2", "back", &mut objects);
    for name in ["s1", "s2"] {
        let mut nets = dice.some(&NETS_V4[..8], 2);
        nets.extend(dice.some(&NETS_V6[..5], 1));
        let labels = json!({"set": dice.one(&["trusted", "other"])});
        objects.push(kind("GlobalNetworkSet", name, labels, json!({"nets": nets})));
    }
    if dice.chance(60) {
        objects.push(settings(dice));
    }
    if dice.chance(25) {
        let spec = json!({"cidr": "10.65.0.0/16", "natOutgoing": dice.chance(60), "ipipMode": "Never",
            "vxlanMode": if dice.chance(25) { "Always" } else { "Never" }});
        objects.push(kind("IPPool", "p4", json!({}), spec));
    }
    let policies = dice.roll(7);
    objects.extend((0..policies).map(|number| policy(dice, number)));
    let node = |name: &str, role: &str, interfaces: Value| json!({"name": name, "labels": {"role": role, "kubernetes.io/hostname": name}, "interfaces": interfaces});
    let first = json!({"eth0": ["10.0.1.10", "fd00:1::10"], "eth1": ["10.0.2.10", "fd00:2::10"]});
    json!({
        "dataplane": dice.one(&["iptables", "nftables"]),
        "nodes": [node("n1", "front", first), node("n2", "back", json!({"eth0": ["10.0.1.11", "fd00:1::11"]}))],
        "pods": [
            pod(dice, "a", "n1", ["10.65.0.2", "fd00:65::2"]),
            pod(dice, "a2", "n1", ["10.65.0.3", "fd00:65::3"]),
            pod(dice, "b", "n2", ["10.65.1.2", "fd00:65:1::2"]),
        ],
        "services": [
            service("frontend", "tcp", 80, 80, 8080, "Cluster", &["a", "b"]),
            service("local", "tcp", 81, 80, 8080, "Local", &["a", "b"]),
            service("back", "tcp", 82, 80, 8080, "Local", &["b"]),
            service("dns", "udp", 53, 53, 5353, "Cluster", &["a", "b"]),
        ],
        "resources": objects,
    })
}

fn probe(dice: &mut Dice) -> Value {
    let senders = [
        ("v", "10.9.0.4", "fd00:9::4"),
        ("c", "10.8.0.5", "fd00:8::5"),
        ("x", "198.51.100.7", "fd00:7::7"),
        ("n1", "10.0.1.10", "fd00:1::10"),
        ("n2", "10.0.1.11", "fd00:1::11"),
        ("a", "10.65.0.2", "fd00:65::2"),
        ("b", "10.65.1.2", "fd00:65:1::2"),
    ];
    let places = [
        ("10.0.1.10", "fd00:1::10"),
        ("10.0.1.10", "fd00:1::10"),
        ("10.0.1.11", "fd00:1::11"),
        ("10.0.2.10", "fd00:2::10"),
        ("10.65.0.2", "fd00:65::2"),
        ("10.65.0.3", "fd00:65::3"),
        ("10.65.1.2", "fd00:65:1::2"),
        ("198.51.100.7", "fd00:7::7"),
        ("10.96.0.80", "fd00:96::80"),
        ("127.0.0.1", "::1"),
    ];
    let (from, v4, v6) = senders[dice.roll(senders.len())];
    let inside = !matches!(from, "v" | "c" | "x");
    let (to4, to6) = places[dice.roll(if inside { places.len() } else { 7 })];
    let loopback = to4 == "127.0.0.1";
    let four = dice.chance(60);
    let (from, src, dst) = match (loopback, four) {
        (true, true) => ("n1", to4, to4),
        (true, false) => ("n1", to6, to6),
        (false, true) => (from, v4, to4),
        (false, false) => (from, v6, to6),
    };
    let proto = dice.one(&["tcp", "tcp", "tcp", "udp", "icmp"]);
    let mut probe = json!({"from": from, "src": src, "dst": dst, "proto": proto});
    if proto != "icmp" {
        let ports = [
            22, 80, 443, 8080, 9100, 10250, 30080, 30080, 30081, 30082, 30053, 31000, 53, 4789, 179, 5000,
        ];
        probe["port"] = json!(ports[dice.roll(ports.len())]);
        probe["sport"] = json!([40000, 40000, 40000, 53, 6443, 8080][dice.roll(6)]);
    }
    if dice.chance(70) {
        probe["backend"] = json!(dice.one(&["a", "b"]));
    } else {
        probe["backend"] = json!("a");
    }
    probe
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Open => "accept",
        Verdict::HostDecides => "host",
        Verdict::Blocked => "drop",
        Verdict::Partly => "partly",
        Verdict::Unknown => "unknown",
    }
}

/// Ours in the oracle's words.
fn ours(world: &World, packet: &hostguard::exposure::Packet) -> End {
    let walk = walk(world, packet);
    let at = walk
        .decided
        .filter(|_| matches!(walk.verdict, Verdict::Blocked | Verdict::HostDecides));
    let at = at
        .map(|hop| format!("{}:{}", hop.node, hop.hook.as_str()))
        .unwrap_or_default();
    (word(walk.verdict).into(), at)
}

/// Every part of a flow fares as its packet does, and no packet of the flow is in two parts or in none.
fn flows_agree(world: &World, wrong: &mut Vec<String>) -> usize {
    let flows = Flows::new(world);
    let ports = [22, 9100, 30080, 30081].map(|port| (port, port));
    let pods = ["a", "b"].map(|name| ("default".to_string(), name.to_string()));
    let senders = [
        Senders::Outside(AddressSet::all()),
        Senders::Node("n2".into()),
        Senders::Pods(pods.into()),
    ];
    let mut parts = 0;
    for from in senders {
        let flow = Flow {
            from,
            nodes: ["n1".to_string(), "n2".to_string()].into(),
            protocol: Protocol::Tcp,
            ports: PortSet::from_ranges(ports),
        };
        let found = flows.of(&flow);
        parts += found.len();
        for part in &found {
            let walked = walk(world, &part.witness).verdict;
            if walked != part.verdict {
                wrong.push(format!("walks {walked:?}: {part:?}"));
            }
        }
        if !matches!(flow.from, Senders::Outside(_)) {
            continue;
        }
        for (source, destination) in [
            ("10.9.0.4", "10.0.1.10"),
            ("198.51.100.7", "10.0.1.11"),
            ("fd00:9::4", "fd00:1::10"),
        ] {
            for (port, _) in ports {
                let holds = |part: &&Part| {
                    part.sources.contains(ip(source))
                        && part.ports.contains(port)
                        && part
                            .nodes
                            .values()
                            .any(|addresses| addresses.contains(&ip(destination)))
                };
                let mut packet = found[0].witness.clone();
                (packet.source, packet.destination, packet.port) = (ip(source), ip(destination), Some(port));
                let verdicts: Vec<Verdict> = found.iter().filter(holds).map(|part| part.verdict).collect();
                let walked = walk(world, &packet).verdict;
                if verdicts != [walked] {
                    wrong.push(format!(
                        "{source} -> {destination}:{port} walks {walked:?}, is in {verdicts:?}"
                    ));
                }
            }
        }
    }
    parts
}

fn wanted() -> usize {
    let given = std::env::var("HOSTGUARD_ORACLE_PACKETS").ok();
    given.map_or(100_000, |n| n.parse().expect("HOSTGUARD_ORACLE_PACKETS is a number"))
}

#[test]
fn the_oracle_says_what_calico_did() {
    let (mut probes, mut wrong) = (0, Vec::new());
    for (id, case) in crate::corpora::cases("packets").into_iter().step_by(7) {
        if case["felix_fails"].is_string() {
            continue;
        }
        let mut oracle = Oracle::new(&case);
        for probe in items(&case, "probes").filter(|p| p["verdict"].is_string()) {
            probes += 1;
            let (mut verdict, at) = oracle.probe(probe);
            if case["dataplane"] == "nftables" && verdict == "host" {
                verdict = "accept".into();
            }
            let right = verdict == probe["verdict"] && (verdict != "drop" || at == probe["drop_at"]);
            if !right {
                wrong.push(format!("{id}: {verdict} {at}: {probe}"));
            }
        }
    }
    println!("oracle: {} of {probes} recorded packets", probes - wrong.len());
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

/// Law 7.
#[test]
fn walks_and_exposure_agree_with_the_oracle() {
    const EACH: usize = 100;
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    let (mut packets, mut rows, mut wrong) = (0, 0, Vec::new());
    let mut before: Option<World> = None;
    while packets < wanted() && wrong.len() < 20 {
        let case = world(&mut dice);
        let ours_world = World::of_facts(&facts(&case, &RESOURCES));
        let mut oracle = Oracle::new(&case);
        for _ in 0..EACH {
            let probe = probe(&mut dice);
            packets += 1;
            let (theirs, ours) = (oracle.probe(&probe), ours(&ours_world, &packet(&case, &probe)));
            if theirs != ours {
                wrong.push(format!(
                    "oracle {theirs:?}, ours {ours:?}: {probe}\n{}",
                    case["resources"]
                ));
            }
        }
        if packets % (EACH * 8) == 0 {
            for reach in exposure(&ours_world).reaches {
                rows += 1;
                let walked = walk(&ours_world, &reach.witness).verdict;
                if walked != reach.answer.verdict {
                    wrong.push(format!("walks {walked:?}: {reach:?}\n{}", case["resources"]));
                }
            }
            rows += flows_agree(&ours_world, &mut wrong);
            if let Some(before) = &before {
                for row in difference(before, &ours_world) {
                    rows += 1;
                    let walked = [before, &ours_world].map(|w| Some(walk(w, &row.witness).verdict));
                    if Movement::of(walked[0], walked[1]) != row.movement {
                        wrong.push(format!("walks {walked:?}: {row:?}\n{}", case["resources"]));
                    }
                }
            }
            before = Some(ours_world);
        }
    }
    println!("oracle: {packets} random packets, {rows} rows, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{} disagreements:\n{}", wrong.len(), wrong.join("\n"));
}

/// Ways of knowing less.
fn forget(facts: &mut Facts, what: usize) -> &'static str {
    let kinds = [
        "HostEndpoint",
        "GlobalNetworkPolicy",
        "Tier",
        "GlobalNetworkSet",
        "NetworkPolicy",
        "FelixConfiguration",
        "Profile",
        "IPPool",
    ];
    if let Some(kind) = kinds.get(what) {
        facts.unread.insert((*kind).to_string(), "forbidden".into());
        facts.objects.retain(|object| object["kind"] != **kind);
        return kind;
    }
    match what - kinds.len() {
        0 => {
            facts.pods = None;
            "pods"
        }
        1 => {
            facts.services = None;
            "services"
        }
        2 => {
            for service in facts.services.iter_mut().flatten() {
                service.backends = None;
            }
            "endpoints of Services"
        }
        3 => {
            for node in &mut facts.nodes {
                let node = Arc::make_mut(node);
                let listed = node.interfaces.take().into_iter().flatten();
                node.addresses
                    .extend(listed.flat_map(|i| i.addresses.into_iter().map(|(a, _)| a)));
            }
            "interfaces"
        }
        4 => {
            facts.dataplane = None;
            "the dataplane"
        }
        _ => {
            facts.environment = None;
            "the environment"
        }
    }
}

const FORGETTABLE: usize = 14;

/// Law 8.
#[test]
fn knowing_less_makes_answers_unknown_and_nothing_else() {
    let mut dice = Dice(0x2545_F491_4F6C_DD1D);
    let (mut compared, mut unknown, mut wrong) = (0, 0, Vec::new());
    while compared < wanted() / 2 && wrong.len() < 20 {
        let case = world(&mut dice);
        let mut known = facts(&case, &RESOURCES);
        let packets: Vec<_> = (0..30).map(|_| packet(&case, &probe(&mut dice))).collect();
        let settled = |facts: &Facts| {
            let world = World::of_facts(facts);
            let verdict = |packet| match walk(&world, packet).verdict {
                Verdict::HostDecides => Verdict::Open,
                verdict => verdict,
            };
            packets.iter().map(verdict).collect::<Vec<_>>()
        };
        let mut verdicts = settled(&known);
        let mut forgotten = Vec::new();
        for _ in 0..4 {
            forgotten.push(forget(&mut known, dice.roll(FORGETTABLE)));
            let less = settled(&known);
            for (i, (more, less)) in verdicts.iter().zip(&less).enumerate() {
                compared += 1;
                unknown += usize::from(*less == Verdict::Unknown);
                if less != more && *less != Verdict::Unknown {
                    wrong.push(format!(
                        "{more:?} became {less:?} without {forgotten:?}: {:?}\n{}",
                        packets[i], case["resources"]
                    ));
                }
            }
            verdicts = less;
        }
    }
    println!(
        "forgetting: {compared} compared, {unknown} unknown, {} wrong",
        wrong.len()
    );
    assert!(wrong.is_empty(), "{} broken:\n{}", wrong.len(), wrong.join("\n"));
}
