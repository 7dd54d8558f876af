//! A second, plain evaluator of packets, and the laws that `exposure` must keep with it on random worlds.
//!
//! Works on worlds in the form of `tests/corpora/packets*.jsonl.gz`, one packet at a time, with no set and no cache, and
//! shares no code with `exposure/`. It is itself held to the recorded packets. `HOSTGUARD_ORACLE_PACKETS` asks for more
//! than the usual number.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use hostguard::calico::{self, Felix};
use hostguard::exposure::{Facts, Movement, Verdict, World, difference, exposure, walk};
use hostguard::net::Cidr;
use hostguard::selector::Selector;
use serde_json::{Value, json};

use crate::corpora::packets::{RESOURCES, facts, packet};

#[path = "oracle/cloud.rs"]
mod cloud;
#[path = "oracle/guards.rs"]
mod guards;
#[path = "oracle/laws.rs"]
mod laws;
#[path = "oracle/order.rs"]
mod order;

type Labels = BTreeMap<String, String>;

#[derive(Clone, Debug)]
struct Pkt {
    src: IpAddr,
    dst: IpAddr,
    proto: u8,
    kind: Option<u64>,
    sport: Option<u16>,
    dport: Option<u16>,
    masq: bool,
}

impl Pkt {
    fn v6(&self) -> bool {
        self.dst.is_ipv6()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Said {
    Accept,
    Here,
    Drop,
    None,
}

/// A verdict in the corpus' words.
type End = (String, String);

struct Policy {
    kind: String,
    name: String,
    spec: Value,
}

impl Policy {
    fn namespaced(&self) -> bool {
        self.kind.ends_with("NetworkPolicy") && !self.kind.contains("Global")
    }

    fn staged(&self) -> bool {
        self.kind.starts_with("Staged")
    }
}

struct Oracle<'a> {
    case: &'a Value,
    nft: bool,
    tiers: BTreeMap<String, (f64, bool)>,
    policies: Vec<Policy>,
    heps: Vec<(String, Value, Labels)>,
    sets: Vec<(Vec<String>, Labels)>,
    profiles: BTreeMap<String, Value>,
    pods: Vec<(Value, Labels)>,
    felix: BTreeMap<String, Value>,
    pools: Vec<Value>,
    host: Option<String>,
    /// The endpoint that kube-proxy is to pick.
    backend: Option<String>,
}

fn items<'v>(value: &'v Value, key: &str) -> impl Iterator<Item = &'v Value> {
    value[key].as_array().into_iter().flatten()
}

fn str_of<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap_or_default()
}

fn net(text: &str) -> Option<Cidr> {
    Cidr::parse_lenient(text).ok()
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn labels_of(value: &Value) -> Labels {
    serde_json::from_value(value.clone()).unwrap_or_default()
}

fn number(protocol: &Value) -> u8 {
    let name = protocol.as_str().unwrap_or_default().to_lowercase();
    match name.as_str() {
        "tcp" => 6,
        "udp" => 17,
        "icmp" => 1,
        "icmpv6" => 58,
        "sctp" => 132,
        "udplite" => 136,
        _ => protocol.as_u64().or(name.parse().ok()).expect("a protocol") as u8,
    }
}

fn holds(selector: &str, labels: &Labels) -> bool {
    Selector::parse(selector).expect("Felix drops others").matches(labels)
}

fn spaced(text: &str, prefix: &str, all: &str, global: &str) -> String {
    let canonical = Selector::parse(text)
        .expect("checked")
        .with_label_prefix(prefix)
        .canonical();
    canonical.replace("all()", all).replace("global()", global)
}

impl<'a> Oracle<'a> {
    fn new(case: &'a Value) -> Self {
        let mut oracle = Oracle {
            case,
            nft: case["dataplane"] == "nftables",
            tiers: [
                ("default".to_string(), (1e6, true)),
                ("kube-admin".to_string(), (1e3, false)),
                ("kube-baseline".to_string(), (1e7, false)),
            ]
            .into(),
            policies: Vec::new(),
            heps: Vec::new(),
            sets: Vec::new(),
            profiles: [(
                "projectcalico-default-allow".to_string(),
                json!({"ingress": [{"action": "Allow"}], "egress": [{"action": "Allow"}]}),
            )]
            .into(),
            pods: Vec::new(),
            felix: BTreeMap::new(),
            pools: Vec::new(),
            host: None,
            backend: None,
        };
        let mut configurations: Vec<(String, Value)> = Vec::new();
        for object in RESOURCES.iter().flat_map(|list| items(case, list)) {
            let kind = str_of(object, "kind");
            let (felix, object) = calico::as_felix_reads(kind, object);
            if matches!(felix, Felix::TreatedAsMissing | Felix::Undecodable) {
                continue;
            }
            oracle.take(kind, &object, &mut configurations);
        }
        oracle.heps.sort_by(|a, b| a.0.cmp(&b.0));
        for pod in items(case, "pods") {
            let mut labels = Labels::new();
            for profile in items(pod, "profiles") {
                let given = &oracle.profiles.get(profile.as_str().expect("a name"));
                labels.extend(given.map(|p| labels_of(&p["labelsToApply"])).unwrap_or_default());
            }
            labels.insert("projectcalico.org/namespace".into(), "default".into());
            labels.insert("projectcalico.org/orchestrator".into(), "k8s".into());
            labels.extend(labels_of(&pod["labels"]));
            oracle.pods.push((pod.clone(), labels));
        }
        for node in items(case, "nodes") {
            let mut merged = json!({});
            let own = format!("node.{}", str_of(node, "name"));
            let selected = configurations.iter().find(|(name, spec)| {
                let selector = str_of(spec, "nodeSelector");
                name != "default"
                    && !name.starts_with("node.")
                    && !selector.is_empty()
                    && holds(selector, &labels_of(&node["labels"]))
            });
            let named = |wanted: &str| configurations.iter().find(|(name, _)| name == wanted);
            for (_, spec) in [named("default"), selected, named(&own)].into_iter().flatten() {
                for (key, value) in spec.as_object().expect("a spec") {
                    merged[key] = value.clone();
                }
            }
            oracle.felix.insert(str_of(node, "name").into(), merged);
        }
        oracle
    }

    fn take(&mut self, kind: &str, object: &Value, configurations: &mut Vec<(String, Value)>) {
        let name = str_of(&object["metadata"], "name").to_string();
        let spec = object["spec"].clone();
        let labels = labels_of(&object["metadata"]["labels"]);
        let nets = || {
            items(&spec, "nets")
                .filter_map(|n| n.as_str().map(str::to_string))
                .collect()
        };
        match kind {
            "Tier" => {
                let order = spec["order"].as_f64().unwrap_or(1e6);
                self.tiers.insert(name, (order, spec["defaultAction"] != "Pass"));
            }
            "HostEndpoint" => self.heps.push((name, spec, labels)),
            "GlobalNetworkSet" => self.sets.push((nets(), labels)),
            "NetworkSet" => {
                let mut labels = labels;
                labels.insert("projectcalico.org/namespace".into(), "default".into());
                self.sets.push((nets(), labels));
            }
            "Profile" => drop(self.profiles.insert(name, spec)),
            "IPPool" => self.pools.push(spec),
            "FelixConfiguration" => configurations.push((name, spec)),
            _ if kind.ends_with("NetworkPolicy") => self.policies.push(Policy {
                kind: kind.into(),
                name,
                spec,
            }),
            _ => {}
        }
    }

    // -- who is who

    fn setting<'s>(&'s self, node: &str, key: &str) -> &'s Value {
        &self.felix[node][key]
    }

    fn is(&self, node: &str, key: &str, word: &str) -> bool {
        str_of(&self.felix[node], key).eq_ignore_ascii_case(word)
    }

    fn returns(&self, node: &str) -> bool {
        let key = if self.nft {
            "nftablesFilterAllowAction"
        } else {
            "iptablesFilterAllowAction"
        };
        self.is(node, key, "return")
    }

    fn workload(&self, node: &str, interface: &str) -> Option<usize> {
        let prefixes = self
            .setting(node, "interfacePrefix")
            .as_str()
            .unwrap_or("cali")
            .to_string();
        let matches = prefixes.split(',').any(|prefix| interface.starts_with(prefix));
        let pod = self.pods.iter().position(|(pod, _)| pod["interface"] == interface);
        pod.filter(|_| matches)
    }

    fn interfaces(&self, node: &str) -> Vec<(String, Vec<IpAddr>)> {
        let facts = items(self.case, "nodes").find(|n| n["name"] == node).expect("a node");
        let listed = facts["interfaces"].as_object().expect("interfaces").iter();
        let addresses = |list: &Value| {
            list.as_array()
                .expect("a list")
                .iter()
                .map(|a| ip(a.as_str().expect("text")))
                .collect()
        };
        listed.map(|(name, list)| (name.clone(), addresses(list))).collect()
    }

    /// The named endpoint of an interface and the `*` one.
    fn governing(&self, node: &str, interface: &str) -> (Option<usize>, Option<usize>) {
        let mut addresses: Vec<IpAddr> = Vec::new();
        for (name, list) in self.interfaces(node) {
            if name == interface {
                addresses = list;
            }
        }
        if interface == "lo" {
            addresses = vec![ip("127.0.0.1"), ip("::1")];
        }
        let own = |h: &usize| self.heps[*h].1["node"] == node;
        let here: Vec<usize> = (0..self.heps.len()).filter(own).collect();
        let star = here.iter().copied().find(|h| self.heps[*h].1["interfaceName"] == "*");
        let named = here.iter().copied().find(|h| {
            let spec = &self.heps[*h].1;
            match str_of(spec, "interfaceName") {
                "*" => false,
                "" => items(spec, "expectedIPs").any(|e| {
                    let expected = net(e.as_str().expect("text")).map(|n| n.network());
                    expected.is_some_and(|e| addresses.contains(&e))
                }),
                name => name == interface,
            }
        });
        (named.filter(|_| self.workload(node, interface).is_none()), star)
    }

    fn place(&self, address: IpAddr, at: &str) -> (&'static str, String, String) {
        if address.is_loopback() {
            return ("node", at.into(), "lo".into());
        }
        for node in items(self.case, "nodes") {
            for (interface, list) in self.interfaces(str_of(node, "name")) {
                if list.contains(&address) {
                    return ("node", str_of(node, "name").into(), interface);
                }
            }
        }
        for (pod, _) in &self.pods {
            if items(pod, "ips").any(|a| ip(a.as_str().expect("text")) == address) {
                return ("pod", str_of(pod, "node").into(), str_of(pod, "interface").into());
            }
        }
        ("out", String::new(), String::new())
    }

    fn out(&self, node: &str, to: IpAddr) -> String {
        let (kind, at, interface) = self.place(to, node);
        match kind {
            "pod" if at == node => interface,
            "node" if at == node => "lo".into(),
            _ => {
                let direct = self.interfaces(node).into_iter().find(|(_, list)| {
                    list.iter()
                        .any(|a| Cidr::new(*a, if a.is_ipv4() { 24 } else { 64 }).is_some_and(|n| n.contains(to)))
                });
                direct.map_or("eth0".into(), |(name, _)| name)
            }
        }
    }

    // -- policy

    fn selects(&self, policy: &Policy, labels: &Labels, pod: bool) -> bool {
        let spec = &policy.spec;
        if policy.namespaced() && !pod {
            return false;
        }
        let namespaces = str_of(spec, "namespaceSelector");
        if namespaces.contains("global(") {
            return false;
        }
        let has = "has(projectcalico.org/namespace)";
        let accounts = str_of(spec, "serviceAccountSelector");
        let account = "has(projectcalico.org/serviceaccount)";
        (namespaces.is_empty() || holds(&spaced(namespaces, "pcns.", has, "global()"), labels))
            && (accounts.is_empty() || holds(&spaced(accounts, "pcsa.", account, "global()"), labels))
            && holds(str_of(spec, "selector"), labels)
    }

    /// Tiers in order, each with its policies of a stage in order.
    fn stage(&self, stage: &str, labels: &Labels, pod: bool) -> Vec<(String, bool, Vec<&Policy>)> {
        let mut tiers: Vec<(f64, String, bool)> = Vec::new();
        let names: BTreeSet<String> = self
            .policies
            .iter()
            .map(|p| {
                p.spec["tier"]
                    .as_str()
                    .filter(|t| !t.is_empty())
                    .unwrap_or("default")
                    .to_string()
            })
            .collect();
        for name in names {
            let (order, denies) = self.tiers.get(&name).copied().unwrap_or((f64::INFINITY, true));
            tiers.push((order, name, denies));
        }
        tiers.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut out = Vec::new();
        for (_, name, denies) in tiers {
            let flag = |p: &Policy, key: &str| p.spec[key] == true;
            let mut mine: Vec<&Policy> = self.policies.iter().collect();
            mine.retain(|p| {
                let tier = p.spec["tier"].as_str().filter(|t| !t.is_empty()).unwrap_or("default");
                let of = match stage {
                    "untracked" => flag(p, "doNotTrack"),
                    "prednat" => !flag(p, "doNotTrack") && flag(p, "preDNAT"),
                    "forward" => !flag(p, "doNotTrack") && !flag(p, "preDNAT") && flag(p, "applyOnForward"),
                    _ => !flag(p, "doNotTrack") && !flag(p, "preDNAT"),
                };
                let directed = self.polices(p, "Ingress") || (stage != "prednat" && self.polices(p, "Egress"));
                tier == name && of && directed && self.selects(p, labels, pod)
            });
            mine.sort_by(|a, b| {
                let order = |p: &Policy| p.spec["order"].as_f64().unwrap_or(f64::INFINITY);
                let tie = |p: &Policy| {
                    let namespace = if p.namespaced() { "default" } else { "" };
                    format!("{}/{namespace}/{}", p.name, p.kind)
                };
                order(a).total_cmp(&order(b)).then_with(|| tie(a).cmp(&tie(b)))
            });
            if !mine.is_empty() {
                out.push((name, denies && matches!(stage, "normal" | "forward"), mine));
            }
        }
        out
    }

    fn polices(&self, policy: &Policy, direction: &str) -> bool {
        let types: Vec<&Value> = items(&policy.spec, "types").collect();
        types.is_empty() || types.iter().any(|t| *t == direction)
    }

    fn tiers_say(&self, tiers: &[(String, bool, Vec<&Policy>)], inbound: bool, p: &Pkt) -> Option<Said> {
        let (direction, rules) = if inbound {
            ("Ingress", "ingress")
        } else {
            ("Egress", "egress")
        };
        for (_, denies, policies) in tiers {
            let mine: Vec<&&Policy> = policies.iter().filter(|p| self.polices(p, direction)).collect();
            let mut passed = mine.iter().all(|p| p.staged());
            for policy in mine.iter().filter(|p| !p.staged()) {
                match self.rules_say(&policy.spec[rules], p, policy.namespaced()) {
                    Some("allow") => return Some(Said::Accept),
                    Some("deny") => return Some(Said::Drop),
                    Some(_) => {
                        passed = true;
                        break;
                    }
                    None => {}
                }
            }
            if !passed && *denies {
                return Some(Said::Drop);
            }
        }
        None
    }

    fn rules_say(&self, rules: &Value, p: &Pkt, namespaced: bool) -> Option<&'static str> {
        for rule in rules.as_array().into_iter().flatten() {
            let action = str_of(rule, "action").to_lowercase();
            if action != "log" && self.matches(rule, p, namespaced) {
                return Some(match action.as_str() {
                    "allow" => "allow",
                    "deny" => "deny",
                    _ => "pass",
                });
            }
        }
        None
    }

    fn profiles_say(&self, profiles: &Value, inbound: bool, p: &Pkt) -> Said {
        for name in profiles.as_array().into_iter().flatten() {
            let Some(profile) = self.profiles.get(name.as_str().expect("a name")) else {
                return Said::Drop;
            };
            match self.rules_say(&profile[if inbound { "ingress" } else { "egress" }], p, false) {
                Some("allow") => return Said::Accept,
                Some("deny") => return Said::Drop,
                _ => {}
            }
        }
        Said::Drop
    }

    fn failsafe(&self, node: &str, p: &Pkt, inbound: bool, raw: bool) -> bool {
        const IN: [(u8, u16); 9] = [
            (6, 22),
            (17, 68),
            (6, 179),
            (6, 2379),
            (6, 2380),
            (6, 5473),
            (6, 6443),
            (6, 6666),
            (6, 6667),
        ];
        const OUT: [(u8, u16); 9] = [
            (17, 53),
            (17, 67),
            (6, 179),
            (6, 2379),
            (6, 2380),
            (6, 5473),
            (6, 6443),
            (6, 6666),
            (6, 6667),
        ];
        let list = |key: &str, default: &[(u8, u16)]| -> Vec<(u8, u16, Option<Cidr>)> {
            match self.setting(node, key).as_array() {
                None => default.iter().map(|(a, b)| (*a, *b, None)).collect(),
                Some(list) => list
                    .iter()
                    .map(|e| {
                        (
                            number(&e["protocol"]),
                            e["port"].as_u64().expect("a port") as u16,
                            e["net"].as_str().and_then(net),
                        )
                    })
                    .collect(),
            }
        };
        let (i, o) = (
            list("failsafeInboundHostPorts", &IN),
            list("failsafeOutboundHostPorts", &OUT),
        );
        let hit = |list: &[(u8, u16, Option<Cidr>)], port: Option<u16>, address: IpAddr| {
            list.iter().any(|(proto, at, net)| {
                *proto == p.proto && port == Some(*at) && net.is_none_or(|net| net.contains(address))
            })
        };
        if inbound {
            hit(&i, p.dport, p.src) || (raw && hit(&o, p.sport, p.src))
        } else {
            hit(&o, p.dport, p.dst) || (raw && hit(&i, p.sport, p.dst))
        }
    }

    fn endpoint_says(&self, node: &str, stage: &str, inbound: bool, hep: Option<usize>, p: &Pkt) -> Said {
        let Some(hep) = hep else { return Said::None };
        let (_, spec, labels) = &self.heps[hep];
        if stage != "forward" && self.failsafe(node, p, inbound, stage == "untracked") {
            return Said::Here;
        }
        let mut labels = labels.clone();
        for profile in items(spec, "profiles") {
            let given = self.profiles.get(profile.as_str().expect("a name"));
            for (key, value) in given.map(|p| labels_of(&p["labelsToApply"])).unwrap_or_default() {
                labels.entry(key).or_insert(value);
            }
        }
        let tiers = self.stage(stage, &labels, false);
        if let Some(said) = self.tiers_say(&tiers, inbound, p) {
            return said;
        }
        match stage {
            "forward" if tiers.is_empty() => Said::Accept,
            "normal" => self.profiles_say(&spec["profiles"], inbound, p),
            _ => Said::None,
        }
    }

    fn has(&self, hep: Option<usize>, stage: &str) -> bool {
        hep.is_some_and(|hep| {
            self.stage(stage, &self.heps[hep].2, false)
                .iter()
                .any(|(_, _, policies)| {
                    policies
                        .iter()
                        .any(|p| stage != "prednat" || self.polices(p, "Ingress"))
                })
        })
    }

    fn pod_says(&self, pod: usize, inbound: bool, p: &Pkt) -> Said {
        let (facts, labels) = &self.pods[pod];
        let vxlan = self
            .setting(str_of(facts, "node"), "vxlanPort")
            .as_u64()
            .unwrap_or(4789);
        if !inbound && ((p.proto == 17 && p.dport.map(u64::from) == Some(vxlan)) || p.proto == 4) {
            return Said::Drop;
        }
        let tiers = self.stage("normal", labels, true);
        self.tiers_say(&tiers, inbound, p)
            .unwrap_or_else(|| self.profiles_say(&facts["profiles"], inbound, p))
    }

    // -- rules

    fn terms(entity: &Value, namespaced: bool) -> Option<Vec<(bool, String)>> {
        let text = |key: &str| str_of(entity, key).to_string();
        let mut terms = Vec::new();
        let accounts = &entity["serviceAccounts"];
        if !text("namespaceSelector").is_empty() {
            let has = "has(projectcalico.org/namespace)";
            terms.push((
                false,
                spaced(&text("namespaceSelector"), "pcns.", has, &format!("!{has}")),
            ));
        } else if namespaced
            && (!text("selector").is_empty() || !text("notSelector").is_empty() || accounts.is_object())
        {
            terms.push((false, "projectcalico.org/namespace == 'default'".into()));
        }
        let names: Vec<&str> = items(accounts, "names").filter_map(Value::as_str).collect();
        if !names.is_empty() {
            terms.push((
                false,
                format!("projectcalico.org/serviceaccount in {{ '{}' }}", names.join("', '")),
            ));
        }
        if !str_of(accounts, "selector").is_empty() {
            terms.push((
                false,
                spaced(str_of(accounts, "selector"), "pcsa.", "all()", "global()"),
            ));
        }
        if !text("selector").is_empty() {
            terms.push((false, text("selector")));
        }
        if terms.is_empty() {
            return None;
        }
        if !text("notSelector").is_empty() {
            terms.push((true, text("notSelector")));
        }
        Some(terms)
    }

    fn members(&self) -> impl Iterator<Item = (Vec<String>, &Labels, &Value)> {
        let ips = |value: &Value, key: &str| {
            items(value, key)
                .filter_map(|v| v.as_str().map(str::to_string))
                .collect()
        };
        let pods = self
            .pods
            .iter()
            .map(move |(pod, labels)| (ips(pod, "ips"), labels, pod));
        let heps = self
            .heps
            .iter()
            .map(move |(_, spec, labels)| (ips(spec, "expectedIPs"), labels, spec));
        let sets = self
            .sets
            .iter()
            .map(|(nets, labels)| (nets.clone(), labels, &Value::Null));
        pods.chain(heps).chain(sets)
    }

    fn in_set(&self, terms: &[(bool, String)], address: IpAddr) -> bool {
        self.members().any(|(nets, labels, _)| {
            terms.iter().all(|(not, term)| holds(term, labels) != *not)
                && nets.iter().filter_map(|n| net(n)).any(|n| n.contains(address))
        })
    }

    fn named(&self, terms: &[(bool, String)], name: &str, address: IpAddr, proto: u8, port: Option<u16>) -> bool {
        self.members().any(|(nets, labels, facts)| {
            items(facts, "ports").any(|q| {
                q["name"] == name && number(&q["protocol"]) == proto && q["port"].as_u64() == port.map(u64::from)
            }) && terms.iter().all(|(not, term)| holds(term, labels) != *not)
                && nets.iter().filter_map(|n| net(n)).any(|n| n.contains(address))
        })
    }

    fn matches(&self, rule: &Value, p: &Pkt, namespaced: bool) -> bool {
        let version = rule["ipVersion"].as_u64().unwrap_or(0);
        if version != 0 && (version == 6) != p.v6() {
            return false;
        }
        let nets =
            |entity: &Value, key: &str| -> Vec<Cidr> { items(entity, key).filter_map(|n| net(n.as_str()?)).collect() };
        let family = |n: &Cidr| n.network().is_ipv6() == p.v6();
        for entity in [&rule["source"], &rule["destination"]] {
            for key in ["nets", "notNets"] {
                let all = nets(entity, key);
                if !all.is_empty() && !all.iter().any(family) {
                    return false;
                }
                if key == "notNets" && all.iter().any(|n| n.prefix() == 0 && family(n)) {
                    return false;
                }
            }
        }
        if rule.get("protocol").is_some_and(|q| number(q) != p.proto) {
            return false;
        }
        if rule.get("notProtocol").is_some_and(|q| number(q) == p.proto) {
            return false;
        }
        let icmp = matches!(p.proto, 1 | 58);
        for (key, wanted) in [("icmp", true), ("notICMP", false)] {
            let condition = &rule[key];
            if let Some(kind) = condition["type"].as_u64() {
                let hit = p.kind == Some(kind) && condition["code"].as_u64().unwrap_or(0) == 0;
                if !icmp || hit != wanted {
                    return false;
                }
            }
        }
        [
            (&rule["source"], p.src, p.sport),
            (&rule["destination"], p.dst, p.dport),
        ]
        .into_iter()
        .all(|(entity, address, port)| self.side(entity, address, port, p, namespaced))
    }

    fn side(&self, entity: &Value, address: IpAddr, port: Option<u16>, p: &Pkt, namespaced: bool) -> bool {
        for (key, negated) in [("nets", false), ("notNets", true)] {
            let all: Vec<Cidr> = items(entity, key).filter_map(|n| net(n.as_str()?)).collect();
            let own: Vec<&Cidr> = all.iter().filter(|n| n.network().is_ipv6() == p.v6()).collect();
            if !own.is_empty() && own.iter().any(|n| n.contains(address)) == negated {
                return false;
            }
        }
        let terms = Self::terms(entity, namespaced);
        match &terms {
            Some(terms) if !self.in_set(terms, address) => return false,
            None if !str_of(entity, "notSelector").is_empty()
                && self.in_set(&[(false, str_of(entity, "notSelector").to_string())], address) =>
            {
                return false;
            }
            _ => {}
        }
        for (key, negated) in [("ports", false), ("notPorts", true)] {
            let Some(ports) = entity[key].as_array().filter(|list| !list.is_empty()) else {
                continue;
            };
            let hit = ports.iter().any(|written| {
                let text = written.as_str().map_or_else(|| written.to_string(), str::to_string);
                let (low, high) = text.split_once(':').unwrap_or((&text, &text));
                match (low.parse::<u16>(), high.parse::<u16>()) {
                    (Ok(low), Ok(high)) => {
                        matches!(p.proto, 6 | 17 | 132) && port.is_some_and(|port| low <= port && port <= high)
                    }
                    _ => self.named(terms.as_deref().unwrap_or(&[]), &text, address, p.proto, port),
                }
            });
            if hit == negated {
                return false;
            }
        }
        true
    }

    // -- the walk

    fn none(&mut self, at: String) {
        self.host.get_or_insert(at);
    }

    fn drop_at(node: &str, hook: &str) -> End {
        ("drop".into(), format!("{node}:{hook}"))
    }

    fn service(&self, p: &Pkt, node: &str) -> Option<(&'a Value, bool)> {
        let proto = if p.proto == 17 { "udp" } else { "tcp" };
        items(self.case, "services")
            .filter(|s| s["proto"] == proto && matches!(p.proto, 6 | 17))
            .find_map(|s| {
                let port = |key: &str| s[key].as_u64().is_some() && s[key].as_u64() == p.dport.map(u64::from);
                let cluster = ["clusterIP", "clusterIPv6"]
                    .iter()
                    .any(|k| s[*k].as_str().is_some_and(|a| ip(a) == p.dst));
                if port("port") && cluster {
                    return Some((s, false));
                }
                let (kind, at, _) = self.place(p.dst, node);
                (port("nodePort") && kind == "node" && at == node).then_some((s, true))
            })
    }

    /// `Err`: kube-proxy has nowhere to send it.
    fn dnat(&self, p: &Pkt, node: &str, local: bool) -> Result<(Pkt, bool), ()> {
        let Some((service, node_port)) = self.service(p, node) else {
            return Ok((p.clone(), false));
        };
        let from_pod = ["10.65.0.0/16", "fd00:65::/32"]
            .iter()
            .any(|r| net(r).expect("a net").contains(p.src));
        let etp_local = service["externalTrafficPolicy"] == "Local";
        let mut backends: Vec<&str> = items(service, "backends").filter_map(Value::as_str).collect();
        let pod = |name: &str| self.pods.iter().find(|(pod, _)| pod["name"] == name).expect("a pod");
        if node_port && etp_local && !(local || from_pod) {
            backends.retain(|name| pod(name).0["node"] == node);
        }
        let masq = if !node_port {
            !from_pod || local
        } else {
            !etp_local || local
        };
        let chosen = self
            .backend
            .as_deref()
            .filter(|b| backends.contains(b))
            .or(backends.first().copied())
            .ok_or(())?;
        let address = items(&pod(chosen).0, "ips")
            .map(|a| ip(a.as_str().expect("text")))
            .find(|a| a.is_ipv6() == p.v6());
        let dport = service["targetPort"].as_u64().map(|n| n as u16);
        let dst = address.ok_or(())?;
        Ok((
            Pkt {
                dst,
                dport,
                masq,
                ..p.clone()
            },
            true,
        ))
    }

    fn arrive(&mut self, node: &str, interface: &str, p: Pkt) -> End {
        let (named, star) = self.governing(node, interface);
        let (mut accepted, mut untracked) = (false, false);
        if self.has(named, "untracked") {
            match self.endpoint_says(node, "untracked", true, named, &p) {
                Said::Drop => return Self::drop_at(node, "raw-prerouting"),
                Said::Accept => (accepted, untracked) = (true, true),
                _ => {}
            }
        }
        if !accepted {
            let hep = [named, star].into_iter().find(|h| self.has(*h, "prednat")).flatten();
            match self.endpoint_says(node, "prednat", true, hep, &p) {
                Said::Drop => return Self::drop_at(node, "mangle-prerouting"),
                said if hep.is_some() => accepted = said == Said::Accept,
                _ => {}
            }
        }
        let p = if untracked {
            p
        } else {
            match self.dnat(&p, node, interface == "lo") {
                Ok((p, _)) => p,
                Err(()) => return Self::drop_at(node, "routing-or-kube-proxy"),
            }
        };
        let (kind, at, _) = self.place(p.dst, node);
        if kind == "node" && at == node {
            self.input(node, interface, &p, accepted)
        } else {
            self.forward(node, interface, p, accepted)
        }
    }

    fn vxlan(&self, node: &str, p: &Pkt) -> bool {
        let enabled = self.setting(node, "vxlanEnabled").as_bool().unwrap_or_else(|| {
            self.pools.iter().any(|pool| {
                let mode = pool["vxlanMode"].as_str().unwrap_or("Never");
                net(str_of(pool, "cidr")).is_some_and(|n| n.network().is_ipv6() == p.v6()) && mode != "Never"
            })
        });
        let port = self.setting(node, "vxlanPort").as_u64().unwrap_or(4789);
        enabled && p.proto == 17 && p.dport.map(u64::from) == Some(port)
    }

    fn peer(&self, node: &str, address: IpAddr) -> bool {
        let (kind, at, _) = self.place(address, node);
        kind == "node" && at != node
    }

    fn input(&mut self, node: &str, interface: &str, p: &Pkt, accepted: bool) -> End {
        let hook = format!("{node}:filter-input");
        let accept: End = ("accept".into(), String::new());
        if self.vxlan(node, p) {
            if !self.peer(node, p.src) {
                return Self::drop_at(node, "filter-input");
            }
            if self.returns(node) {
                self.none(hook);
            }
            return accept;
        }
        if let Some(pod) = self.workload(node, interface) {
            if self.pod_says(pod, false, p) != Said::Accept {
                return Self::drop_at(node, "filter-input");
            }
            let action = self
                .setting(node, "defaultEndpointToHostAction")
                .as_str()
                .unwrap_or("Drop")
                .to_lowercase();
            if action == "drop" {
                return Self::drop_at(node, "filter-input");
            }
            if action == "return" || self.returns(node) {
                self.none(hook);
            }
            return accept;
        }
        if accepted {
            if self.returns(node) {
                self.none(hook);
            }
            return accept;
        }
        let (named, star) = self.governing(node, interface);
        match self.endpoint_says(node, "normal", true, named.or(star), p) {
            Said::Drop => return Self::drop_at(node, "filter-input"),
            Said::None => self.none(hook),
            Said::Accept if self.returns(node) => self.none(hook),
            _ => {}
        }
        accept
    }

    fn forward(&mut self, node: &str, interface: &str, p: Pkt, mut accepted: bool) -> End {
        let (named, star) = self.governing(node, interface);
        if !accepted {
            match self.endpoint_says(node, "forward", true, named.or(star), &p) {
                Said::Drop => return Self::drop_at(node, "filter-forward"),
                said => accepted = said == Said::Accept,
            }
        }
        let out = self.out(node, p.dst);
        for (interface, inbound) in [(interface, false), (out.as_str(), true)] {
            if let Some(pod) = self.workload(node, interface) {
                if self.pod_says(pod, inbound, &p) != Said::Accept {
                    return Self::drop_at(node, "filter-forward");
                }
                accepted = true;
            }
        }
        let (named, star) = self.governing(node, &out);
        if let Some(hep) = named.or(star) {
            match self.endpoint_says(node, "forward", false, Some(hep), &p) {
                Said::Drop => return Self::drop_at(node, "filter-forward"),
                said => accepted = said == Said::Accept,
            }
        }
        if !accepted || self.returns(node) {
            self.none(format!("{node}:filter-forward"));
        }
        self.leave(node, &out, p)
    }

    fn leave(&mut self, node: &str, out: &str, mut p: Pkt) -> End {
        let within = |address: IpAddr, nat: bool| {
            self.pools.iter().any(|pool| {
                (!nat || pool["natOutgoing"] == true) && net(str_of(pool, "cidr")).is_some_and(|n| n.contains(address))
            })
        };
        if within(p.src, true) && !within(p.dst, false) && self.workload(node, out).is_none() {
            p.masq = true;
        }
        if p.masq {
            let interfaces = self.interfaces(node);
            let of = |name: &str| {
                let list = interfaces.iter().find(|(n, _)| n == name)?;
                list.1.iter().copied().find(|a| a.is_ipv6() == p.v6())
            };
            p.src = of(out).or(of("eth0")).expect("an address of the family");
            p.masq = false;
        }
        let (kind, at, interface) = self.place(p.dst, node);
        match kind {
            "pod" if at != node => self.arrive(&at, "eth0", p),
            "node" if at != node => self.arrive(&at, &interface, p),
            _ => ("accept".into(), String::new()),
        }
    }

    fn send(&mut self, node: &str, p: Pkt) -> End {
        let first = self.out(node, p.dst);
        let (named, star) = self.governing(node, &first);
        let hook = format!("{node}:filter-output");
        let (mut accepted, mut untracked) = (false, false);
        if self.has(named, "untracked") {
            match self.endpoint_says(node, "untracked", false, named, &p) {
                Said::Drop => return Self::drop_at(node, "raw-output"),
                Said::Accept => (accepted, untracked) = (true, true),
                _ => {}
            }
        }
        let (p, translated) = if untracked {
            (p, false)
        } else {
            match self.dnat(&p, node, true) {
                Ok(done) => done,
                Err(()) => return Self::drop_at(node, "routing-or-kube-proxy"),
            }
        };
        if accepted || (self.workload(node, &first).is_none() && self.vxlan(node, &p) && self.peer(node, p.dst)) {
            if self.returns(node) {
                self.none(hook);
            }
        } else if self.workload(node, &first).is_some() || (translated && !self.nft) {
            self.none(hook);
        } else {
            match self.endpoint_says(node, "normal", false, named.or(star), &p) {
                Said::Drop => return Self::drop_at(node, "filter-output"),
                Said::Accept => {
                    accepted = true;
                    if self.returns(node) {
                        self.none(hook);
                    }
                }
                Said::None => self.none(hook),
                Said::Here => {}
            }
        }
        let out = self.out(node, p.dst);
        if translated && !accepted && self.workload(node, &out).is_none() {
            let (named, star) = self.governing(node, &out);
            if self.endpoint_says(node, "normal", false, named.or(star), &p) == Said::Drop {
                return Self::drop_at(node, "mangle-postrouting");
            }
        }
        let (kind, at, _) = self.place(p.dst, node);
        if kind == "node" && at == node {
            return self.arrive(node, "lo", p);
        }
        let cluster = items(self.case, "services").any(|s| {
            ["clusterIP", "clusterIPv6"]
                .iter()
                .any(|k| s[*k].as_str().is_some_and(|a| ip(a) == p.dst))
        });
        if untracked && cluster {
            return Self::drop_at(node, "sent-but-lost");
        }
        self.leave(node, &out, p)
    }

    fn probe(&mut self, probe: &Value) -> End {
        self.host = None;
        let dst = ip(str_of(probe, "dst"));
        let port = probe["port"].as_u64().map(|n| n as u16);
        let (proto, kind) = match (str_of(probe, "proto"), dst.is_ipv6()) {
            ("tcp", _) => (6, None),
            ("udp", _) => (17, None),
            (_, false) => (1, Some(8)),
            (_, true) => (58, Some(128)),
        };
        let p = Pkt {
            src: ip(str_of(probe, "src")),
            dst,
            proto,
            kind,
            sport: port.map(|_| probe["sport"].as_u64().map_or(40000, |n| n as u16)),
            dport: port,
            masq: false,
        };
        let from = str_of(probe, "from");
        self.backend = probe["backend"].as_str().map(str::to_string);
        let pod = self
            .pods
            .iter()
            .find(|(pod, _)| pod["name"] == from)
            .map(|(pod, _)| pod.clone());
        let end = if items(self.case, "nodes").any(|n| n["name"] == from) {
            self.send(from, p)
        } else if let Some(pod) = pod {
            self.arrive(str_of(&pod, "node"), str_of(&pod, "interface"), p)
        } else {
            match self.place(p.dst, "") {
                ("node", node, interface) => self.arrive(&node, &interface, p),
                ("pod", node, _) => self.arrive(&node, "eth0", p),
                _ => ("accept".into(), String::new()),
            }
        };
        match &self.host {
            Some(at) if end.0 == "accept" => ("host".into(), at.clone()),
            _ => end,
        }
    }
}
