//! What kube-proxy and tunnels do to packets: translation to a Service's endpoints, packets between nodes.
//!
//! kube-proxy's iptables and nftables modes are alike here. Sees no policy.

use std::net::IpAddr;

use super::facts::ServiceFacts;
use super::path::{Walker, Walking};
use super::stage::{Header, Piece, Why};
use super::verdict::{Hook, Ruling};
use super::world::{Place, World};
use crate::net::{AddressSet, Family};

/// How a packet addresses a Service.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Cluster,
    NodePort,
}

impl World {
    pub(super) fn is_cluster_address(&self, address: IpAddr) -> bool {
        self.services.iter().flatten().any(|s| s.cluster.contains(&address))
    }

    fn service(&self, node: usize, header: &Header) -> Option<(usize, By)> {
        let mut all = self.services.iter().flatten().enumerate();
        let local = self.place(header.destination, node) == Place::Node(node);
        all.find_map(|(index, service)| {
            if service.protocol != header.protocol {
                return None;
            }
            if header.port == Some(service.port) && service.cluster.contains(&header.destination) {
                return Some((index, By::Cluster));
            }
            let node_port = service.node_port.is_some() && header.port == service.node_port && local;
            node_port.then_some((index, By::NodePort))
        })
    }

    /// Whether the endpoint is on that node.
    fn is_on(&self, addresses: &[IpAddr], node: usize) -> bool {
        addresses.iter().any(|address| match self.places.get(address) {
            Some(Place::Pod(pod)) => self.pods[*pod].node == node,
            Some(Place::Node(there)) => *there == node,
            _ => false,
        })
    }

    /// Endpoints that kube-proxy on the node may pick, by place, and whether packets are masqueraded.
    fn backends(&self, service: &ServiceFacts, by: By, node: usize, internal: bool, local: bool) -> (Vec<usize>, bool) {
        let all = service.backends.iter().flatten().enumerate();
        let here = |(index, b): (usize, &super::facts::Backend)| self.is_on(&b.addresses, node).then_some(index);
        let (own_only, masquerade) = match by {
            By::NodePort if service.external_local => (!internal, local),
            By::NodePort => (false, true),
            By::Cluster => (service.internal_local, false),
        };
        let chosen = if own_only {
            all.filter_map(here).collect()
        } else {
            all.map(|(index, _)| index).collect()
        };
        (chosen, masquerade)
    }
}

impl Walker<'_> {
    /// The packets after nat PREROUTING or nat OUTPUT; those that kube-proxy drops end here.
    pub(super) fn translate(&mut self, node: usize, walking: Walking, local: bool) -> Vec<Walking> {
        let world = self.world;
        let header = &walking.flow.header;
        if walking.flow.translated {
            return vec![walking];
        }
        if world.services.is_none() {
            let here = world.place(header.destination, node) == Place::Node(node);
            let outside = world.place(header.destination, node) == Place::Outside && !header.destination.is_loopback();
            if (here || outside) && super::rules::WITH_PORTS.contains(&header.protocol) {
                self.stop(walking, (node, Hook::Routing), Ruling::Unknown, Why::Unread("Service"));
                return Vec::new();
            }
            return vec![walking];
        }
        let Some((index, by)) = world.service(node, header) else {
            return vec![walking];
        };
        let services = world.services.as_deref().unwrap_or_default();
        let service = &services[index];
        if service.backends.is_none() {
            let why = Why::Unread("EndpointSlice");
            self.stop(walking, (node, Hook::Routing), Ruling::Unknown, why);
            return Vec::new();
        }
        // Traffic from pods and from the node itself counts as internal.
        let pods = match &world.pod_ranges {
            Some(ranges) if !local && !walking.flow.outside => header.sources.intersect(ranges),
            _ => AddressSet::empty(),
        };
        let others = header.sources.minus(&pods);
        let mut out = Vec::new();
        for (sources, from_pods) in [(pods, true), (others, false)] {
            if sources.is_empty() {
                continue;
            }
            let (backends, masquerade) = world.backends(service, by, node, from_pods || local, local);
            let masquerade = masquerade || (by == By::Cluster && !from_pods);
            let part = walking.part(sources);
            self.pick(node, index, &backends, masquerade, part, &mut out);
        }
        out
    }

    fn pick(
        &mut self,
        node: usize,
        service: usize,
        backends: &[usize],
        masquerade: bool,
        walking: Walking,
        out: &mut Vec<Walking>,
    ) {
        let family = walking.flow.header.family;
        let facts = &self.world.services.as_deref().unwrap_or_default()[service];
        let list = facts.backends.as_deref().unwrap_or_default();
        let address = |index: &usize| {
            list[*index]
                .addresses
                .iter()
                .copied()
                .find(|a| Family::of(*a) == family)
        };
        let usable: Vec<usize> = backends.iter().copied().filter(|i| address(i).is_some()).collect();
        if usable.is_empty() {
            return self.stop(walking, (node, Hook::Routing), Ruling::Drop, Why::NoBackend(service));
        }
        let wanted = self.backend.map(|name| {
            let named = usable.iter().copied().find(|i| list[*i].name == name);
            vec![named.unwrap_or(usable[0])]
        });
        for index in wanted.unwrap_or(usable) {
            let mut part = walking.clone();
            part.note(node, Hook::Routing, None, Ruling::Nothing, Why::Service(service, index));
            part.flow.header.destination = address(&index).expect("usable backends have one");
            part.flow.header.port = Some(list[index].port);
            part.flow.translated = true;
            part.flow.masqueraded = masquerade;
            part.flow.backend = Some((service, index));
            out.push(part);
        }
    }

    /// `felix/rules/static.go` filterInputChain: tunnel packets are judged before policy. `None`: not one.
    pub(super) fn tunnel_input(&self, node: usize, header: &Header) -> Option<Vec<Piece>> {
        let felix = &self.world.nodes[node].felix;
        let pools = || self.world.pools.iter().filter(|pool| pool.family == header.family);
        let vxlan = header.protocol == 17
            && header.port == Some(felix.vxlan_port)
            && felix.vxlan.unwrap_or(pools().any(|pool| pool.vxlan));
        let ipip =
            header.protocol == 4 && header.family == Family::V4 && felix.ipip.unwrap_or(pools().any(|pool| pool.ipip));
        let wireguard = match header.family {
            Family::V4 => felix.wireguard_v4,
            Family::V6 => felix.wireguard_v6,
        };
        let everyone = |ruling| {
            let sources = header.sources.clone();
            vec![Piece {
                sources,
                ruling,
                why: Why::Tunnel,
            }]
        };
        if vxlan || ipip {
            let peers = header.sources.intersect(&self.peers(node));
            let strangers = header.sources.minus(&peers);
            let pieces = [(peers, Ruling::Accept), (strangers, Ruling::Drop)];
            let piece = |(sources, ruling)| Piece {
                sources,
                ruling,
                why: Why::Tunnel,
            };
            return Some(pieces.into_iter().filter(|(s, _)| !s.is_empty()).map(piece).collect());
        }
        (header.protocol == 17 && wireguard.is_some() && header.port == wireguard).then(|| everyone(Ruling::Accept))
    }

    /// The same on the way out, in filterOutputChain.
    pub(super) fn tunnel_output(&self, node: usize, header: &Header) -> bool {
        let felix = &self.world.nodes[node].felix;
        let pools = || self.world.pools.iter().filter(|pool| pool.family == header.family);
        let to_peer = self.peers(node).contains(header.destination);
        let vxlan = header.protocol == 17
            && header.port == Some(felix.vxlan_port)
            && felix.vxlan.unwrap_or(pools().any(|pool| pool.vxlan));
        let ipip =
            header.protocol == 4 && header.family == Family::V4 && felix.ipip.unwrap_or(pools().any(|pool| pool.ipip));
        let wireguard = match header.family {
            Family::V4 => felix.wireguard_v4,
            Family::V6 => felix.wireguard_v6,
        };
        ((vxlan || ipip) && to_peer) || (header.protocol == 17 && wireguard.is_some() && header.port == wireguard)
    }

    /// Addresses of the other nodes.
    fn peers(&self, node: usize) -> AddressSet {
        let others = self.world.nodes.iter().enumerate().filter(|(index, _)| *index != node);
        AddressSet::from_addresses(others.flat_map(|(_, other)| other.addresses.iter().copied()))
    }
}
