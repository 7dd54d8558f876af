//! What Felix is told on one node: failsafe ports, dataplane, what happens to pods' packets to their host.
//!
//! Precedence: built-in < `default` < the oldest configuration whose nodeSelector matches < `node.<name>` <
//! environment (`felix/config/config_params.go`, `felix/calc/config_batcher.go`).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::facts::{Dataplane, NodeFacts};
use super::rules::protocol_number;
use crate::net::{AddressSet, Cidr};
use crate::selector::Selector;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Failsafe {
    pub protocol: u8,
    pub port: u16,
    /// The client inbound, the server outbound.
    pub net: Option<AddressSet>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ToHost {
    Drop,
    Accept,
    Return,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Felix {
    pub inbound: Vec<Failsafe>,
    pub outbound: Vec<Failsafe>,
    /// `None`: not known.
    pub endpoint_to_host: Option<ToHost>,
    /// Each that it may be.
    pub dataplanes: Vec<Dataplane>,
    iptables_returns: bool,
    nftables_returns: bool,
    pub workload_prefixes: Vec<String>,
    pub vxlan_port: u16,
    pub vxlan: Option<bool>,
    pub ipip: Option<bool>,
    pub pods_may_vxlan: bool,
    pub pods_may_ipip: bool,
    pub wireguard_v4: Option<u16>,
    pub wireguard_v6: Option<u16>,
}

impl Felix {
    /// Whether what Calico accepts is left to the rest of the host's chain.
    pub fn accept_returns(&self, dataplane: Dataplane) -> bool {
        match dataplane {
            Dataplane::Iptables => self.iptables_returns,
            Dataplane::Nftables => self.nftables_returns,
            Dataplane::Ebpf => false,
        }
    }

    pub fn is_workload(&self, interface: &str) -> bool {
        self.workload_prefixes
            .iter()
            .any(|prefix| interface.starts_with(prefix.as_str()))
    }
}

/// Built-in failsafe ports (`felix/config/config_params.go`).
const INBOUND: [(u8, u16); 9] = [
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
const OUTBOUND: [(u8, u16); 9] = [
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

/// The configurations there are, in order of creation.
pub(super) struct Configurations<'a> {
    list: Vec<(&'a str, &'a str, &'a Value)>,
    environment: Option<&'a BTreeMap<String, String>>,
    dataplane: Option<Dataplane>,
    read: bool,
}

impl<'a> Configurations<'a> {
    pub fn new(
        objects: &[&'a Value],
        environment: Option<&'a BTreeMap<String, String>>,
        dataplane: Option<Dataplane>,
        read: bool,
    ) -> Self {
        let text = |object: &'a Value, path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let mut list: Vec<_> = objects
            .iter()
            .map(|o| {
                (
                    text(o, "/metadata/creationTimestamp"),
                    text(o, "/metadata/name"),
                    &o["spec"],
                )
            })
            .collect();
        list.sort_by_key(|(created, name, _)| (*created, *name));
        Configurations {
            list,
            environment,
            dataplane,
            read,
        }
    }

    pub fn of(&self, node: &NodeFacts) -> Felix {
        let named = |name: &str| self.list.iter().find(|(_, n, _)| *n == name).map(|(_, _, spec)| *spec);
        let own = format!("node.{}", node.name);
        let selected = self.list.iter().find(|(_, name, spec)| {
            let text = spec["nodeSelector"].as_str().filter(|text| !text.is_empty());
            *name != "default"
                && !name.starts_with("node.")
                && text
                    .and_then(|text| Selector::parse(text).ok())
                    .is_some_and(|s| s.matches(&node.labels))
        });
        let mut merged = Map::new();
        for spec in [named("default"), selected.map(|(_, _, spec)| *spec), named(&own)]
            .into_iter()
            .flatten()
        {
            for (key, value) in spec.as_object().into_iter().flatten().filter(|(_, v)| !v.is_null()) {
                merged.insert(key.clone(), value.clone());
            }
        }
        self.settings(&Value::Object(merged))
    }

    /// A value as text, the environment first: `FELIX_` and the field's name in capitals.
    fn text(&self, spec: &Value, key: &str) -> Option<String> {
        let variable = format!("FELIX_{}", key.to_uppercase());
        let given = self
            .environment
            .into_iter()
            .flatten()
            .find(|(name, _)| name.to_uppercase() == variable);
        given.map(|(_, value)| value.clone()).or_else(|| match spec.get(key)? {
            Value::String(text) => Some(text.clone()),
            Value::Null => None,
            other => Some(other.to_string()),
        })
    }

    fn settings(&self, spec: &Value) -> Felix {
        let text = |key: &str| self.text(spec, key);
        let flag = |key: &str| text(key).map(|t| matches!(t.to_lowercase().as_str(), "true" | "1" | "yes" | "y" | "t"));
        let number = |key: &str| text(key).and_then(|t| t.parse::<u16>().ok());
        let is = |key: &str, word: &str| text(key).is_some_and(|t| t.eq_ignore_ascii_case(word));
        let to_host = match text("defaultEndpointToHostAction").map(|t| t.to_lowercase()).as_deref() {
            Some("accept") => Some(ToHost::Accept),
            Some("return") => Some(ToHost::Return),
            Some(_) => Some(ToHost::Drop),
            // The manifests and the operator set it by environment.
            None => (self.environment.is_some() && self.read).then_some(ToHost::Drop),
        };
        let dataplanes = match self.dataplane {
            Some(dataplane) => vec![dataplane],
            None if !self.read => vec![Dataplane::Iptables, Dataplane::Nftables, Dataplane::Ebpf],
            None if flag("bpfEnabled") == Some(true) => vec![Dataplane::Ebpf],
            None if is("nftablesMode", "Enabled") => vec![Dataplane::Nftables],
            None if is("nftablesMode", "Disabled") => vec![Dataplane::Iptables],
            None => vec![Dataplane::Iptables, Dataplane::Nftables],
        };
        let prefixes = text("interfacePrefix").unwrap_or_else(|| "cali".to_string());
        let wireguard =
            |enabled: &str, port: &str, default| (flag(enabled) == Some(true)).then(|| number(port).unwrap_or(default));
        Felix {
            inbound: self.failsafes(spec, "failsafeInboundHostPorts", &INBOUND),
            outbound: self.failsafes(spec, "failsafeOutboundHostPorts", &OUTBOUND),
            endpoint_to_host: to_host,
            dataplanes,
            iptables_returns: is("iptablesFilterAllowAction", "Return"),
            nftables_returns: is("nftablesFilterAllowAction", "Return"),
            workload_prefixes: prefixes.split(',').map(str::to_string).collect(),
            vxlan_port: number("vxlanPort").unwrap_or(4789),
            vxlan: flag("vxlanEnabled"),
            ipip: flag("ipipEnabled"),
            pods_may_vxlan: flag("allowVXLANPacketsFromWorkloads") == Some(true),
            pods_may_ipip: flag("allowIPIPPacketsFromWorkloads") == Some(true),
            wireguard_v4: wireguard("wireguardEnabled", "wireguardListeningPort", 51820),
            wireguard_v6: wireguard("wireguardEnabledV6", "wireguardListeningPortV6", 51821),
        }
    }

    fn failsafes(&self, spec: &Value, key: &str, default: &[(u8, u16)]) -> Vec<Failsafe> {
        let variable = format!("FELIX_{}", key.to_uppercase());
        let given = self
            .environment
            .into_iter()
            .flatten()
            .find(|(name, _)| name.to_uppercase() == variable);
        if let Some((_, text)) = given {
            return failsafes_of_text(text);
        }
        let Some(list) = spec[key].as_array() else {
            let built_in = |(protocol, port): &(u8, u16)| Failsafe {
                protocol: *protocol,
                port: *port,
                net: None,
            };
            return default.iter().map(built_in).collect();
        };
        let one = |entry: &Value| {
            let net = entry["net"].as_str().filter(|net| !net.is_empty());
            Some(Failsafe {
                protocol: entry.get("protocol").and_then(protocol_number).unwrap_or(6),
                port: u16::try_from(entry["port"].as_u64()?).ok()?,
                net: match net {
                    Some(text) => Some(AddressSet::from_cidrs([&Cidr::parse_lenient(text).ok()?])),
                    None => None,
                },
            })
        };
        list.iter().filter_map(one).collect()
    }
}

/// `tcp:22,udp:10.0.0.0/8:68` or `none`, as the parameter is written (`felix/config/param_types.go`).
fn failsafes_of_text(text: &str) -> Vec<Failsafe> {
    let one = |entry: &str| {
        let entry = entry.trim();
        let (protocol, rest) = entry.split_once(':').unwrap_or(("tcp", entry));
        let (net, port) = match rest.rsplit_once(':') {
            Some((net, port)) => (Some(net.trim_matches(['[', ']'])), port),
            None => (None, rest),
        };
        let net = match net {
            Some(net) => Some(AddressSet::from_cidrs([&Cidr::parse_lenient(net).ok()?])),
            None => None,
        };
        Some(Failsafe {
            protocol: protocol_number(&Value::from(protocol))?,
            port: port.parse().ok()?,
            net,
        })
    };
    text.split(',').filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn node(name: &str) -> NodeFacts {
        NodeFacts {
            name: name.into(),
            labels: [("zone", "a")].into_iter().collect(),
            ..NodeFacts::default()
        }
    }

    #[test]
    fn the_environment_overrides_the_node_which_overrides_the_selected_and_the_default() {
        let objects = [
            json!({"metadata": {"name": "default"}, "spec": {"vxlanPort": 1, "interfacePrefix": "eni"}}),
            json!({"metadata": {"name": "b", "creationTimestamp": "2026-01-02T00:00:00Z"},
                   "spec": {"nodeSelector": "zone == 'a'", "vxlanPort": 3}}),
            json!({"metadata": {"name": "c", "creationTimestamp": "2026-01-01T00:00:00Z"},
                   "spec": {"nodeSelector": "zone == 'a'", "vxlanPort": 2}}),
            json!({"metadata": {"name": "node.n1"}, "spec": {"vxlanPort": 4}}),
        ];
        let objects: Vec<&Value> = objects.iter().collect();
        let plain = Configurations::new(&objects, None, None, true);
        assert_eq!(plain.of(&node("n1")).vxlan_port, 4);
        assert_eq!(plain.of(&node("n2")).vxlan_port, 2, "the oldest that matches");
        assert_eq!(plain.of(&node("n2")).workload_prefixes, ["eni"]);
        assert_eq!(plain.of(&node("n2")).endpoint_to_host, None);
        let environment = [
            ("FELIX_VXLANPORT", "5"),
            ("FELIX_FAILSAFEINBOUNDHOSTPORTS", "tcp:10.0.0.0/8:22, udp:68"),
        ];
        let environment = environment.map(|(k, v)| (k.to_string(), v.to_string())).into();
        let set = Configurations::new(&objects, Some(&environment), None, true).of(&node("n1"));
        assert_eq!((set.vxlan_port, set.inbound.len()), (5, 2));
        assert!(set.inbound[0].net.is_some());
        assert_eq!(set.endpoint_to_host, Some(ToHost::Drop));
    }

    #[test]
    fn an_empty_list_is_no_failsafes_and_none_given_is_the_built_in_list() {
        let empty = json!({"metadata": {"name": "default"}, "spec": {"failsafeInboundHostPorts": []}});
        let felix = Configurations::new(&[&empty], None, None, true).of(&node("n1"));
        assert!(felix.inbound.is_empty());
        assert_eq!(felix.outbound.len(), 9);
    }
}
