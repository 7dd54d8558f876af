//! AWS's objects in the shape in which states hold them, read into plain types; and the names of rules.
//!
//! Knows nothing of requests: whoever reads the cloud writes this shape, and everybody else reads it here.

use std::net::IpAddr;

use serde_json::{Value, json};

use crate::net::{Cidr, Family};
use crate::resource::{Key, Kind};

/// Rules of one direction and family that a security group holds, unless the account's quota is another.
/// Source: Amazon VPC user guide, "Amazon VPC quotas", Security groups.
pub const RULES_PER_GROUP: usize = 60;

/// On rules that hostguard made: the plan's name.
pub const PLAN_TAG: &str = "hostguard.dev/plan";

/// A network interface of an instance, or of a service of AWS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub id: String,
    pub instance: Option<String>,
    /// It is the instance's first.
    pub primary: bool,
    pub subnet: String,
    pub groups: Vec<String>,
    /// Private addresses of IPv4, each with the public one that is translated to it.
    pub v4: Vec<(IpAddr, Option<IpAddr>)>,
    pub v6: Vec<IpAddr>,
}

impl Interface {
    pub fn read(object: &Value) -> Interface {
        let spec = &object["spec"];
        let address = |value: &Value| value.as_str()?.parse::<IpAddr>().ok();
        let v4 = list(&spec["privateIpAddresses"]).filter_map(|pair| {
            let own = address(&pair["privateIpAddress"])?;
            Some((own, address(&pair["publicIp"])))
        });
        Interface {
            id: text(&object["metadata"]["name"]),
            instance: spec["instanceId"].as_str().map(str::to_string),
            primary: spec["deviceIndex"] == json!(0),
            subnet: text(&spec["subnetId"]),
            groups: list(&spec["groups"])
                .filter_map(Value::as_str)
                .map(str::to_string)
                .collect(),
            v4: v4.collect(),
            v6: list(&spec["ipv6Addresses"]).filter_map(address).collect(),
        }
    }

    /// Its own addresses of both families.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.v4.iter().map(|(own, _)| *own).chain(self.v6.iter().copied())
    }
}

/// Who is at the other end of a rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Peer {
    Net(Cidr),
    /// The networks of a prefix list, by its id.
    PrefixList(String),
    /// The private addresses of the interfaces in a security group, by its id.
    Group(String),
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Peer::Net(net) => net.fmt(f),
            Peer::PrefixList(id) | Peer::Group(id) => f.write_str(id),
        }
    }
}

/// A rule of a security group, which lets through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pub group: String,
    pub egress: bool,
    /// As AWS writes it: `tcp`, `udp`, `icmp`, `icmpv6`, a number, or `-1` for all.
    pub protocol: String,
    /// Of ICMP, type and code. `None`: all.
    pub ports: Option<(u16, u16)>,
    pub peer: Peer,
    /// `sgr-…`, when it is there.
    pub id: Option<String>,
}

impl Rule {
    /// `None` for an object that does not have this shape.
    pub fn read(object: &Value) -> Option<Rule> {
        let spec = &object["spec"];
        let net = |field: &str| Cidr::parse_lenient(spec[field].as_str()?).ok().map(Peer::Net);
        let id = |field: &str| spec[field].as_str().map(str::to_string);
        let peer = net("cidrIpv4")
            .or_else(|| net("cidrIpv6"))
            .or_else(|| id("prefixListId").map(Peer::PrefixList))
            .or_else(|| id("referencedGroupId").map(Peer::Group))?;
        let protocol = spec["ipProtocol"].as_str()?.to_string();
        let port = |field: &str| spec[field].as_i64().unwrap_or(-1);
        let ports = match (port("fromPort"), port("toPort")) {
            (-1, _) => None,
            // a type of ICMP with all its codes
            (from, -1) => Some((u16::try_from(from).ok()?, u16::MAX)),
            (from, to) => Some((u16::try_from(from).ok()?, u16::try_from(to).ok()?)),
        };
        Some(Rule {
            group: spec["groupId"].as_str()?.to_string(),
            egress: spec["isEgress"].as_bool()?,
            // of all protocols but these, a rule means all ports, whatever it says
            ports: ports.filter(|_| matches!(protocol.as_str(), "tcp" | "udp" | "icmp" | "icmpv6" | "6" | "17")),
            protocol,
            peer,
            id: object
                .pointer("/status/ruleId")
                .or_else(|| object.pointer("/metadata/uid"))
                .and_then(Value::as_str)
                .map(str::to_string),
        })
    }

    /// `None` for a word that is no protocol.
    pub fn protocols(&self) -> Option<Protocols> {
        Protocols::read(&self.protocol)
    }

    /// What makes it this rule, which is also its name: no two rules of a group have the same.
    pub fn key(&self) -> Key {
        let direction = if self.egress { "egress" } else { "ingress" };
        let protocol = match self.protocol.as_str() {
            "-1" => "all",
            other => other,
        };
        let typed = matches!(protocol, "icmp" | "icmpv6");
        let ports = match self.ports {
            None => "all".to_string(),
            Some((kind, u16::MAX)) if typed => kind.to_string(),
            Some((from, to)) if from == to && !typed => from.to_string(),
            Some((from, to)) => format!("{from}-{to}"),
        };
        let name = format!("{}/{direction}/{protocol}/{ports}/{}", self.group, self.peer);
        Key::cluster(Kind::SecurityGroupRule, name)
    }

    /// The part of `spec` that makes it this rule.
    pub fn spec(&self) -> Value {
        let (from, to) = match self.ports {
            None => (-1, -1),
            Some((kind, u16::MAX)) if self.protocol.starts_with("icmp") => (i64::from(kind), -1),
            Some((from, to)) => (i64::from(from), i64::from(to)),
        };
        let peer = match &self.peer {
            Peer::Net(net) if net.family() == Family::V4 => "cidrIpv4",
            Peer::Net(_) => "cidrIpv6",
            Peer::PrefixList(_) => "prefixListId",
            Peer::Group(_) => "referencedGroupId",
        };
        json!({
            "groupId": self.group, "isEgress": self.egress, "ipProtocol": self.protocol,
            "fromPort": from, "toPort": to, peer: self.peer.to_string(),
        })
    }
}

/// What a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Protocols {
    Every,
    /// IANA's number.
    One(u8),
}

impl Protocols {
    /// As AWS writes it: a word, a number, or `-1` for all; `None` for anything else.
    pub fn read(word: &str) -> Option<Protocols> {
        let number = match word {
            "-1" | "all" => return Some(Protocols::Every),
            "icmp" => 1,
            "tcp" => 6,
            "udp" => 17,
            "icmpv6" => 58,
            number => number.parse().ok()?,
        };
        Some(Protocols::One(number))
    }

    pub fn holds(self, protocol: u8) -> bool {
        match self {
            Protocols::Every => true,
            Protocols::One(own) => own == protocol,
        }
    }
}

/// A network ACL: entries by number, the first that matches decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acl {
    pub id: String,
    pub subnets: Vec<String>,
    /// In the order in which they are asked.
    pub entries: Vec<AclEntry>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AclEntry {
    pub number: u32,
    pub egress: bool,
    pub protocol: Protocols,
    pub allows: bool,
    pub net: Cidr,
    /// `None`: all.
    pub ports: Option<(u16, u16)>,
    /// Type and code of ICMP, -1 for all.
    pub icmp: Option<(i64, i64)>,
}

impl Acl {
    /// `None` for an object that does not have this shape: one entry less is another list.
    pub fn read(object: &Value) -> Option<Acl> {
        let spec = &object["spec"];
        let mut entries: Vec<AclEntry> = list(&spec["entries"]).map(entry).collect::<Option<_>>()?;
        entries.sort_by_key(|entry| (entry.egress, entry.number));
        Some(Acl {
            id: text(&object["metadata"]["name"]),
            subnets: list(&spec["subnetIds"])
                .filter_map(Value::as_str)
                .map(str::to_string)
                .collect(),
            entries,
        })
    }
}

fn entry(value: &Value) -> Option<AclEntry> {
    let net = value["cidrBlock"].as_str().or(value["ipv6CidrBlock"].as_str())?;
    let port = |field: &str| u16::try_from(value["portRange"][field].as_i64()?).ok();
    let ports = match &value["portRange"] {
        Value::Null => None,
        _ => Some((port("from")?, port("to")?)),
    };
    let icmp = &value["icmpTypeCode"];
    Some(AclEntry {
        number: u32::try_from(value["ruleNumber"].as_u64()?).ok()?,
        egress: value["egress"].as_bool()?,
        protocol: Protocols::read(value["protocol"].as_str()?)?,
        allows: match value["ruleAction"].as_str()? {
            "allow" => true,
            "deny" => false,
            _ => return None,
        },
        net: Cidr::parse_lenient(net).ok()?,
        ports,
        icmp: icmp
            .is_object()
            .then(|| Some((icmp["type"].as_i64()?, icmp["code"].as_i64()?)))
            .flatten(),
    })
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_reads_back_what_it_writes() {
        for (peer, ports, protocol, name) in [
            (
                "203.0.113.7/32",
                Some((30080, 30080)),
                "tcp",
                "sg-1/ingress/tcp/30080/203.0.113.7/32",
            ),
            (
                "2001:db8::/32",
                Some((1, 9)),
                "udp",
                "sg-1/ingress/udp/1-9/2001:db8::/32",
            ),
            ("10.0.0.0/8", None, "-1", "sg-1/ingress/all/all/10.0.0.0/8"),
            (
                "10.0.0.0/8",
                Some((8, u16::MAX)),
                "icmp",
                "sg-1/ingress/icmp/8/10.0.0.0/8",
            ),
            ("10.0.0.0/8", Some((8, 8)), "icmp", "sg-1/ingress/icmp/8-8/10.0.0.0/8"),
        ] {
            let rule = Rule {
                group: "sg-1".into(),
                egress: false,
                protocol: protocol.into(),
                ports,
                peer: Peer::Net(Cidr::parse(peer).expect("a network")),
                id: None,
            };
            assert_eq!(rule.key().name, name);
            assert_eq!(Rule::read(&json!({"spec": rule.spec()})), Some(rule));
        }
    }

    #[test]
    fn a_rule_of_a_protocol_without_ports_means_all_of_it() {
        let spec = json!({"groupId": "sg-1", "isEgress": false, "ipProtocol": "132", "fromPort": 5, "toPort": 5,
            "cidrIpv4": "0.0.0.0/0"});
        assert_eq!(Rule::read(&json!({"spec": spec})).expect("a rule").ports, None);
    }

    #[test]
    fn an_acl_with_an_entry_that_is_not_understood_is_not_read() {
        let acl = |action: &str| {
            json!({"metadata": {"name": "acl-1"}, "spec": {"subnetIds": ["s"], "entries": [
                {"ruleNumber": 100, "egress": false, "protocol": "-1", "ruleAction": action, "cidrBlock": "0.0.0.0/0"}]}})
        };
        assert!(Acl::read(&acl("allow")).is_some());
        assert_eq!(Acl::read(&acl("perhaps")), None);
    }
}
