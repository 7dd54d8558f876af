//! Laws 6, 7 and 8 for the firewall of the cloud: on random groups, rules, lists of subnets and policies, `walk`,
//! `exposure` and `difference` say of every packet what a plain evaluator says, which looks at one packet at a time.
//!
//! The evaluator knows AWS only; what a node makes of a packet that comes to it is asked of the same world without a
//! cloud, whose own evaluator is the one of this test's parent.

use hostguard::changes::{Change, ChangeSet, Op};
use hostguard::exposure::{Answer, Flow, Flows, Origin, Packet, Part, Senders, Subject};
use hostguard::net::{AddressSet, PortSet, Protocol};
use hostguard::resource::{Key, Kind};
use hostguard::sequence::{Sequence, Terms};
use hostguard::state::{Reason, State, Unreadable};

use super::guards::{NODES, of_kind, state};
use super::laws::Dice;
use super::*;

const WORLDS: usize = 150;
const QUESTIONS: usize = 60;
const GROUPS: [&str; 3] = ["sg-a", "sg-b", "sg-c"];
const SUBNETS: [&str; 2] = ["subnet-1", "subnet-2"];
const NETS: [&str; 8] = [
    "0.0.0.0/0",
    "10.0.1.10/32",
    "10.0.1.0/24",
    "10.9.0.0/16",
    "10.9.0.4/32",
    "198.51.100.0/24",
    "198.51.100.7/32",
    "203.0.113.0/25",
];
const CLIENTS: [&str; 8] = [
    "10.0.1.200",
    "10.9.0.4",
    "10.9.0.5",
    "192.168.3.3",
    "198.51.100.7",
    "198.51.100.200",
    "203.0.113.9",
    "203.0.113.200",
];
const RANGES: [(u16, u16); 6] = [
    (0, 65535),
    (22, 22),
    (80, 443),
    (30000, 32767),
    (30080, 30080),
    (1024, 65535),
];
const PORTS: [u16; 7] = [22, 80, 443, 1023, 30080, 32767, 65535];
/// One of each part that `RANGES` cut.
const CLIENT_PORTS: [u16; 10] = [1, 22, 23, 100, 444, 1024, 30000, 30080, 30081, 32768];

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Through {
    Yes,
    Perhaps,
    No,
}

// -- random clouds

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": "aws/v1", "kind": kind, "metadata": {"name": name, "uid": name}, "spec": spec})
}

fn rule(dice: &mut Dice, number: usize) -> Value {
    let (protocol, range) = match dice.roll(5) {
        0 => ("-1", None),
        1 => ("icmp", None),
        2 => ("udp", Some(RANGES[dice.roll(RANGES.len())])),
        _ => ("tcp", Some(RANGES[dice.roll(RANGES.len())])),
    };
    let (from, to) = range.map_or((-1, -1), |(from, to)| (i64::from(from), i64::from(to)));
    let mut spec = json!({"groupId": dice.one(&GROUPS), "isEgress": dice.chance(25), "ipProtocol": protocol,
        "fromPort": from, "toPort": to, "tags": {}});
    match dice.roll(8) {
        0 => spec["referencedGroupId"] = json!(dice.one(&GROUPS)),
        1 => spec["prefixListId"] = json!(dice.one(&["pl-1", "pl-2"])),
        2..4 => spec["cidrIpv4"] = json!(NETS[0]),
        _ => spec["cidrIpv4"] = json!(dice.one(&NETS)),
    }
    object("SecurityGroupRule", &format!("rule-{number}"), spec)
}

fn entry(dice: &mut Dice, number: usize, egress: bool) -> Value {
    let mut entry = json!({"ruleNumber": number, "egress": egress, "protocol": dice.one(&["-1", "6", "17"]),
        "ruleAction": dice.one(&["allow", "allow", "deny"]), "cidrBlock": dice.one(&NETS)});
    if entry["protocol"] != "-1" && dice.chance(70) {
        let (from, to) = RANGES[dice.roll(RANGES.len())];
        entry["portRange"] = json!({"from": from, "to": to});
    }
    entry
}

fn cloud(dice: &mut Dice) -> Vec<Value> {
    let mut objects: Vec<Value> = Vec::new();
    for number in 0..4 + dice.roll(16) {
        objects.push(rule(dice, number));
    }
    for (at, (_, v4, _)) in NODES.iter().enumerate() {
        let own = json!([{"privateIpAddress": v4}, {"privateIpAddress": format!("10.0.1.{}", 100 + at)}]);
        let spec = json!({"instanceId": format!("i-{at}"), "deviceIndex": 0, "subnetId": dice.one(&SUBNETS),
            "groups": dice.some(&GROUPS, 2), "privateIpAddresses": own, "ipv6Addresses": []});
        objects.push(object("NetworkInterface", &format!("eni-{at}"), spec));
    }
    for (subnet, acl) in SUBNETS.iter().zip(["acl-1", "acl-2"]) {
        let mut entries: Vec<Value> = Vec::new();
        for egress in [false, true] {
            if dice.chance(60) {
                entries.extend((0..dice.roll(3)).map(|number| entry(dice, 10 + number, egress)));
            }
            let mut last = json!({"ruleNumber": 100, "egress": egress, "protocol": "-1",
                "ruleAction": if dice.chance(90) { "allow" } else { "deny" }, "cidrBlock": "0.0.0.0/0"});
            if egress && dice.chance(30) {
                // replies to the ports that clients usually have, and to no others
                last["protocol"] = json!("6");
                last["portRange"] = json!({"from": 1024, "to": 65535});
            }
            entries.push(last);
        }
        objects.push(object(
            "NetworkAcl",
            acl,
            json!({"subnetIds": [subnet], "entries": entries}),
        ));
    }
    let list = json!({"addressFamily": "IPv4", "entries": ["198.51.100.0/25", "10.9.0.5/32"]});
    objects.push(object("PrefixList", "pl-1", list));
    for group in GROUPS {
        let mut one = object("SecurityGroup", group, json!({"groupName": group, "tags": {}}));
        if dice.chance(50) {
            one["status"] = json!({"interfaces": "listed"});
        }
        objects.push(one);
    }
    objects
}

/// A policy before DNAT on all nodes, or none.
fn policies(dice: &mut Dice) -> Vec<Value> {
    if dice.chance(50) {
        return Vec::new();
    }
    let endpoint = |name: &str, v4: &str| {
        let spec = json!({"node": name, "interfaceName": "*", "expectedIPs": [v4],
            "profiles": ["projectcalico-default-allow"]});
        of_kind("HostEndpoint", &format!("{name}-auto-hep"), json!({"node": name}), spec)
    };
    let mut objects: Vec<Value> = NODES.iter().map(|(name, v4, _)| endpoint(name, v4)).collect();
    let ports = json!([dice.one(&["30080", "22:443", "1:65535"])]);
    let deny = json!({"action": "Deny", "protocol": "TCP", "source": {"notNets": [dice.one(&NETS[1..])]},
        "destination": {"ports": ports}});
    let spec = json!({"selector": "all()", "preDNAT": true, "applyOnForward": true, "types": ["Ingress"],
        "ingress": [deny]});
    objects.push(of_kind("GlobalNetworkPolicy", "p", json!({}), spec));
    objects
}

fn world_of(policies: &[Value], cloud: &[Value]) -> State {
    let mut state = state(policies);
    let nodes = state.list(Kind::Node).expect("nodes");
    let nodes: Vec<Value> = nodes
        .enumerate()
        .map(|(at, (_, node))| {
            let mut node = node.into_owned();
            node["spec"]["providerID"] = json!(format!("aws:///zone/i-{at}"));
            node
        })
        .collect();
    state.listed(Kind::Node, nodes).expect("nodes");
    for kind in Kind::ALL.into_iter().filter(|kind| kind.cloud()) {
        let own = cloud.iter().filter(|object| object["kind"] == kind.name());
        state.listed(kind, own.cloned().collect()).expect("objects of the kind");
    }
    state
}

// -- the plain evaluator

struct Aws<'a>(&'a [Value]);

impl Aws<'_> {
    fn all(&self, kind: &str) -> impl Iterator<Item = &Value> {
        self.0.iter().filter(move |object| object["kind"] == kind)
    }

    fn interface(&self, address: IpAddr) -> Option<&Value> {
        self.all("NetworkInterface").find(|interface| {
            items(&interface["spec"], "privateIpAddresses").any(|pair| ip(str_of(pair, "privateIpAddress")) == address)
        })
    }

    fn private(address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => v4.is_private(),
            IpAddr::V6(_) => false,
        }
    }

    fn peer(&self, spec: &Value, other: IpAddr) -> Through {
        let within = |text: &str| net(text).is_some_and(|net| net.contains(other));
        let sure = |yes: bool| if yes { Through::Yes } else { Through::No };
        if let Some(text) = spec["cidrIpv4"].as_str() {
            return sure(within(text));
        }
        if let Some(id) = spec["prefixListId"].as_str() {
            let Some(list) = self.all("PrefixList").find(|list| list["metadata"]["name"] == id) else {
                return Through::Perhaps;
            };
            return sure(items(&list["spec"], "entries").any(|entry| within(entry.as_str().expect("text"))));
        }
        let id = str_of(spec, "referencedGroupId");
        if let Some(interface) = self.interface(other)
            && items(&interface["spec"], "groups").any(|group| group == id)
        {
            return Through::Yes;
        }
        let group = self
            .all("SecurityGroup")
            .find(|group| group["metadata"]["name"] == id)
            .expect("the group");
        match group["status"]["interfaces"] == "listed" {
            false if Self::private(other) => Through::Perhaps,
            _ => Through::No,
        }
    }

    fn groups(&self, interface: &Value, egress: bool, other: IpAddr, protocol: &str, port: Option<u16>) -> Through {
        let mut best = Through::No;
        for rule in self.all("SecurityGroupRule").map(|rule| &rule["spec"]) {
            let mine = items(&interface["spec"], "groups").any(|group| group == &rule["groupId"]);
            let protocols = rule["ipProtocol"] == "-1" || rule["ipProtocol"] == protocol;
            let range = (
                rule["fromPort"].as_i64().expect("a port"),
                rule["toPort"].as_i64().expect("a port"),
            );
            let ports =
                range.0 == -1 || port.is_some_and(|port| range.0 <= i64::from(port) && i64::from(port) <= range.1);
            if mine && rule["isEgress"] == egress && protocols && ports {
                best = best.min(self.peer(rule, other));
            }
        }
        best
    }

    fn list(&self, acl: &Value, egress: bool, other: IpAddr, protocol: &str, port: Option<u16>) -> bool {
        let mut entries: Vec<&Value> = items(&acl["spec"], "entries")
            .filter(|entry| entry["egress"] == egress)
            .collect();
        entries.sort_by_key(|entry| entry["ruleNumber"].as_u64());
        for entry in entries {
            let number = match protocol {
                "tcp" => "6",
                "udp" => "17",
                _ => "1",
            };
            let protocols = entry["protocol"] == "-1" || entry["protocol"] == number;
            let ports = match (&entry["portRange"], port) {
                (Value::Null, _) => true,
                (range, Some(port)) => {
                    let bound = |key: &str| range[key].as_u64().expect("a port");
                    (bound("from")..=bound("to")).contains(&u64::from(port))
                }
                (_, None) => false,
            };
            if protocols && ports && net(str_of(entry, "cidrBlock")).is_some_and(|net| net.contains(other)) {
                return entry["ruleAction"] == "allow";
            }
        }
        false
    }

    /// At one interface, in one direction; the client's port is where replies go.
    fn at(&self, interface: &Value, egress: bool, other: IpAddr, protocol: &str, ports: (Option<u16>, u16)) -> Through {
        let groups = self.groups(interface, egress, other, protocol, ports.0);
        let subnet = &interface["spec"]["subnetId"];
        if self
            .interface(other)
            .is_some_and(|other| other["spec"]["subnetId"] == *subnet)
        {
            return groups;
        }
        let mut acls = self.all("NetworkAcl");
        let acl = acls
            .find(|acl| items(&acl["spec"], "subnetIds").any(|own| own == subnet))
            .expect("an ACL");
        let back = ports.0.map(|_| ports.1);
        let both = self.list(acl, egress, other, protocol, ports.0) && self.list(acl, !egress, other, protocol, back);
        let list = match both {
            true => Through::Yes,
            false if Self::private(other) && self.interface(other).is_none() => Through::Perhaps,
            false => Through::No,
        };
        groups.max(list)
    }

    fn packet(&self, packet: &Packet, client: u16) -> Through {
        let protocol = packet.protocol.to_string().to_lowercase();
        let ports = (packet.port, client);
        let target = self.interface(packet.destination).expect("a node's interface");
        let mut through = self.at(target, false, packet.source, &protocol, ports);
        if let Origin::Node(_) = packet.from {
            let own = self.interface(packet.source).expect("a node's interface");
            through = through.max(self.at(own, true, packet.destination, &protocol, ports));
        }
        through
    }
}

/// What the two layers make of it together.
fn judged(aws: &Aws<'_>, alone: &World, packet: &Packet) -> Verdict {
    let node = walk(alone, packet).verdict;
    let one = |client: u16| match (aws.packet(packet, client), node) {
        (Through::No, _) | (_, Verdict::Blocked) => Verdict::Blocked,
        (Through::Perhaps, _) | (_, Verdict::Unknown) => Verdict::Unknown,
        _ => Verdict::Open,
    };
    let clients: BTreeSet<Verdict> = match packet.port {
        Some(_) => CLIENT_PORTS.into_iter().map(one).collect(),
        None => [one(0)].into(),
    };
    match clients.len() {
        1 => *clients.first().expect("one"),
        _ if clients.contains(&Verdict::Unknown) => Verdict::Unknown,
        _ => Verdict::Partly,
    }
}

fn plain(verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::HostDecides => Verdict::Open,
        other => other,
    }
}

fn question(dice: &mut Dice) -> Packet {
    let target = dice.roll(NODES.len());
    let (from, source) = match dice.roll(4) {
        0 => {
            let other = (target + 1 + dice.roll(NODES.len() - 1)) % NODES.len();
            (Origin::Node(NODES[other].0.to_string()), ip(NODES[other].1))
        }
        _ => (Origin::Outside, ip(dice.one(&CLIENTS))),
    };
    let protocol = [
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Tcp,
        Protocol::Udp,
        Protocol::Icmp,
    ][dice.roll(5)];
    Packet {
        from,
        source,
        destination: ip(NODES[target].1),
        protocol,
        port: protocol.has_ports().then(|| PORTS[dice.roll(PORTS.len())]),
        source_port: None,
        icmp_type: (!protocol.has_ports()).then_some(8),
        backend: None,
    }
}

/// The same world of which one kind of the cloud could not be read.
fn hidden(dice: &mut Dice, state: &State) -> World {
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| kind.cloud()).collect();
    let mut state = state.clone();
    let why = Unreadable {
        reason: Reason::Forbidden,
        detail: String::new(),
    };
    state.unreadable(kinds[dice.roll(kinds.len())], why);
    World::of_state(&state)
}

/// What a flow of this packet alone is said to meet.
fn flow(flows: &Flows<'_>, packet: &Packet) -> Verdict {
    let node = NODES
        .iter()
        .find(|(_, v4, _)| ip(v4) == packet.destination)
        .expect("a node");
    let asked = Flow {
        from: match &packet.from {
            Origin::Node(name) => Senders::Node(name.clone()),
            _ => Senders::Outside(AddressSet::from_addresses([packet.source])),
        },
        nodes: [node.0.to_string()].into(),
        protocol: packet.protocol,
        ports: packet
            .port
            .map_or_else(PortSet::empty, |port| PortSet::from_ranges([(port, port)])),
    };
    let v4 = |part: &Part| part.witness.destination == packet.destination;
    let parts: Vec<Part> = flows.of(&asked).into_iter().filter(v4).collect();
    assert_eq!(parts.len(), 1, "{packet} is one part: {parts:?}");
    plain(parts[0].verdict)
}

fn covers(subject: &Subject, nodes: &BTreeMap<String, BTreeSet<IpAddr>>, packet: &Packet) -> bool {
    subject.protocol == packet.protocol
        && packet.port.is_none_or(|port| subject.ports.contains(port))
        && subject.sources.contains(packet.source)
        && nodes.values().any(|addresses| addresses.contains(&packet.destination))
}

#[test]
fn walk_and_exposure_agree_with_the_evaluator_of_the_cloud() {
    let mut dice = Dice(0x5eed_0008);
    let mut seen: BTreeMap<Verdict, usize> = BTreeMap::new();
    let mut moved: BTreeMap<Movement, usize> = BTreeMap::new();
    let mut unknown = 0;
    for number in 0..WORLDS {
        let (policies, mut objects) = (policies(&mut dice), cloud(&mut dice));
        let before_state = world_of(&policies, &objects);
        let alone = World::of_state(&before_state.without_cloud());
        let before = World::of_state(&before_state);
        let rows = exposure(&before).reaches;
        let flows = Flows::new(&before);
        let hidden = hidden(&mut dice, &before_state);
        let old = objects.clone();
        if dice.chance(50) {
            objects.retain(|object| object["metadata"]["name"] != "rule-1");
        } else {
            objects.push(rule(&mut dice, 99));
        }
        let after = World::of_state(&world_of(&policies, &objects));
        let changes = difference(&before, &after);
        for _ in 0..QUESTIONS {
            let packet = question(&mut dice);
            let said = judged(&Aws(&old), &alone, &packet);
            *seen.entry(said).or_default() += 1;
            assert_eq!(
                plain(walk(&before, &packet).verdict),
                said,
                "world {number}: {packet}\n{old:#?}"
            );
            assert_eq!(
                flow(&flows, &packet),
                said,
                "world {number}: flow of {packet}\n{old:#?}"
            );
            let less = plain(walk(&hidden, &packet).verdict);
            assert!(
                less == said || less == Verdict::Unknown,
                "world {number}: {packet}: {less:?}, not {said:?}"
            );
            unknown += usize::from(less != said);
            if packet.from != Origin::Outside {
                continue;
            }
            let own: Vec<&Answer> = rows
                .iter()
                .filter(|row| covers(&row.subject, &row.nodes, &packet))
                .map(|row| &row.answer)
                .collect();
            assert_eq!(own.len(), 1, "world {number}: {packet} has one answer");
            assert_eq!(plain(own[0].verdict), said, "world {number}: {packet}\n{old:#?}");
            let now = judged(&Aws(&objects), &alone, &packet);
            let row = changes.iter().find(|row| covers(&row.subject, &row.nodes, &packet));
            let sides = row.map(|row| {
                let side = |answer: &Option<Answer>| plain(answer.as_ref().expect("the node is in both").verdict);
                *moved.entry(row.movement).or_default() += 1;
                (side(&row.before), side(&row.after))
            });
            // rows are of ports on which something moves for somebody
            assert_eq!(
                sides.unwrap_or((said, said)),
                (said, now),
                "world {number}: {packet}\n{objects:#?}"
            );
        }
    }
    for verdict in [Verdict::Open, Verdict::Blocked, Verdict::Unknown, Verdict::Partly] {
        assert!(
            seen.get(&verdict).is_some_and(|count| *count > 20),
            "{verdict:?} was asked about: {seen:?}"
        );
    }
    assert!(unknown > 20, "knowing less made {unknown} answers unknown");
    for movement in [Movement::Opens, Movement::Closes] {
        assert!(
            moved.get(&movement).is_some_and(|count| *count > 5),
            "{movement:?} happened: {moved:?}"
        );
    }
}

// -- law 6 across both layers

/// The part of a state that the evaluator reads.
fn cloud_of(state: &State) -> Vec<Value> {
    let kinds = Kind::ALL.into_iter().filter(|kind| kind.cloud());
    let lists = kinds.flat_map(|kind| state.list(kind).expect("all was listed"));
    lists.map(|(_, object)| object.into_owned()).collect()
}

fn step(op: Op, object: &Value) -> Change {
    let name = str_of(&object["metadata"], "name");
    let kind = Kind::parse(str_of(object, "kind")).expect("a kind");
    Change {
        key: Key::cluster(kind, name),
        op,
        fields: Vec::new(),
        origin: hostguard::resource::Origin {
            section: "random".into(),
            span: None,
        },
        needs: Vec::new(),
    }
}

fn created(object: &Value) -> Change {
    step(Op::Create { object: object.clone() }, object)
}

fn deleted(object: &Value) -> Change {
    let before = object.clone().into();
    step(Op::Delete { before }, object)
}

/// Packets that pass on the way and in neither end.
fn worse(live: &State, steps: &[Change], questions: &[Packet]) -> Vec<String> {
    let mut states = vec![live.clone()];
    for step in steps {
        states.push(states.last().expect("the first").after(step));
    }
    let judge = |state: &State| -> Vec<Verdict> {
        let (objects, alone) = (cloud_of(state), World::of_state(&state.without_cloud()));
        questions
            .iter()
            .map(|packet| judged(&Aws(&objects), &alone, packet))
            .collect()
    };
    let verdicts: Vec<Vec<Verdict>> = states.iter().map(judge).collect();
    let (first, last) = (&verdicts[0], &verdicts[verdicts.len() - 1]);
    let mut wrong = Vec::new();
    for (at, way) in verdicts.iter().enumerate() {
        for (number, packet) in questions.iter().enumerate() {
            let blocked = first[number] == Verdict::Blocked && last[number] == Verdict::Blocked;
            if blocked && way[number] != Verdict::Blocked {
                wrong.push(format!("after {at} steps {packet} is {:?}", way[number]));
            }
        }
    }
    wrong
}

#[test]
fn the_order_is_proven_across_both_layers() {
    let mut dice = Dice(0x0dde_0006);
    let (mut found, mut turned_wrong) = (0, 0);
    for round in 0..70 {
        let guarded = loop {
            let guarded = policies(&mut dice);
            if !guarded.is_empty() {
                break guarded;
            }
        };
        let (policy, endpoints) = guarded.split_last().expect("the policy is the last");
        let objects = cloud(&mut dice);
        let rules: Vec<&Value> = objects
            .iter()
            .filter(|object| object["kind"] == "SecurityGroupRule")
            .collect();
        let arms = dice.chance(50);
        let live = world_of(if arms { endpoints } else { &guarded }, &objects);
        let mut steps: Vec<Change> = (0..1 + dice.roll(3))
            .map(|number| created(&rule(&mut dice, 90 + number)))
            .collect();
        steps.extend(rules.iter().take(dice.roll(3)).map(|rule| deleted(rule)));
        steps.push(if arms { created(policy) } else { deleted(policy) });
        steps.sort_by(|a, b| a.key.cmp(&b.key));
        let questions: Vec<Packet> = (0..QUESTIONS).map(|_| question(&mut dice)).collect();
        let turned: Vec<Change> = steps.iter().rev().cloned().collect();
        turned_wrong += usize::from(!worse(&live, &turned, &questions).is_empty());
        turned_wrong += usize::from(!worse(&live, &steps, &questions).is_empty());
        let set = ChangeSet {
            steps,
            ..ChangeSet::default()
        };
        let Ok(sequence) = Sequence::find(&live, &set, &Terms::default()).expect("all is readable") else {
            continue;
        };
        found += 1;
        let order: Vec<Change> = sequence.steps().iter().map(|step| step.change.clone()).collect();
        let wrong = worse(&live, &order, &questions);
        let keys: Vec<String> = order
            .iter()
            .map(|step| format!("{} {}", step.op.verb(), step.key))
            .collect();
        assert!(wrong.is_empty(), "round {round}: {keys:#?}\n{wrong:#?}");
    }
    assert!(
        found > 20 && turned_wrong > 5,
        "{found} orders, {turned_wrong} others that are worse"
    );
}
