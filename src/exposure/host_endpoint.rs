//! Host endpoints as the model has them.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;

use super::build::{name_of, texts};
use super::members::PortName;
use super::rules::protocol_number;
use crate::net::Cidr;
use crate::state::{Labels, labels_of};

/// A host endpoint that Felix reads.
#[derive(Debug)]
pub(super) struct HostEndpointFacts {
    pub name: String,
    pub node: String,
    /// `*` for all of the node's; empty where addresses tell.
    pub interface: String,
    pub expected: BTreeSet<IpAddr>,
    /// Its own.
    pub labels: Arc<Labels>,
    pub profiles: Vec<String>,
    pub ports: Vec<PortName>,
}

impl HostEndpointFacts {
    /// From a `HostEndpoint` as Felix reads it.
    pub fn read(object: &Value) -> HostEndpointFacts {
        let spec = &object["spec"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let port = |port: &Value| {
            Some(PortName {
                name: port["name"].as_str()?.to_string(),
                protocol: protocol_number(port.get("protocol")?)?,
                port: u16::try_from(port["port"].as_u64()?).ok()?,
            })
        };
        HostEndpointFacts {
            name: name_of(object).to_string(),
            node: text(&spec["node"]),
            interface: text(&spec["interfaceName"]),
            expected: texts(&spec["expectedIPs"])
                .filter_map(|t| Some(Cidr::parse_lenient(t).ok()?.network()))
                .collect(),
            labels: Arc::new(labels_of(object)),
            profiles: texts(&spec["profiles"]).map(str::to_string).collect(),
            ports: spec["ports"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(port)
                .collect(),
        }
    }
}
