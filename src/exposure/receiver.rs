//! Whom a packet is for: what its destination belongs to, as far as that was read. Asks no policy.

use super::verdict::{Origin, Packet};
use super::world::World;

/// Who has the address that a packet is sent to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Receiver {
    /// A node or a pod, at an address that packets from there reach.
    Cluster,
    /// A node, which this address stands for outside the cluster.
    Public { node: String },
    /// A Service; `serves`: at the packet's port.
    Service { name: String, serves: bool },
    /// It may be of a kind that was not read.
    Unread(&'static str),
    /// Nobody that a whole reading knows of.
    Nobody,
}

impl World {
    /// Who has the packet's destination.
    pub fn receiver(&self, packet: &Packet) -> Receiver {
        let to = packet.destination;
        let from_outside = packet.from == Origin::Outside;
        if self.places.contains_key(&to) || (to.is_loopback() && !from_outside) {
            return Receiver::Cluster;
        }
        let translated = || self.cloud.as_ref()?.translated.get(&to);
        if from_outside && translated().is_some() {
            return Receiver::Cluster;
        }
        if let Some(node) = self.nodes.iter().find(|node| node.external.contains(&to)) {
            return match from_outside {
                true => Receiver::Cluster,
                false => Receiver::Public {
                    node: node.name.clone(),
                },
            };
        }
        let mut services = self.services.iter().flatten().filter(|s| s.cluster.contains(&to));
        if let Some(first) = services.clone().next() {
            let at = (packet.protocol.number(), packet.port);
            return Receiver::Service {
                name: format!("{}/{}", first.namespace, first.name),
                serves: services.any(|service| at == (service.protocol, Some(service.port))),
            };
        }
        for kind in ["Node", "Service"] {
            if self.unread(kind).is_some() {
                return Receiver::Unread(kind);
            }
        }
        match self.may_be_pod(to) {
            true => Receiver::Unread("Pod"),
            false => Receiver::Nobody,
        }
    }
}
