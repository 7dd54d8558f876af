//! What kube-proxy and tunnels do to packets: translation to a Service's endpoints, packets between nodes.
//!
//! kube-proxy's iptables and nftables modes are alike here. Sees no policy.

use std::net::IpAddr;
use std::rc::Rc;

use super::facts::{Backend, ServiceFacts};
use super::memory::Picking;
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

/// Whom tunnel packets may come from and go to.
enum Tunnel {
    Peers,
    Anyone,
    Unknown,
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

    /// Whether kube-proxy may pick only endpoints that are on its own node, and whether packets are masqueraded.
    /// `None`: where some endpoint is was not read, and it matters.
    fn translation(&self, service: &ServiceFacts, by: By, internal: bool, local: bool) -> Option<(bool, bool)> {
        let (own_only, masquerade) = match by {
            By::NodePort if service.external_local => (!internal, local),
            By::NodePort => (false, true),
            By::Cluster => (service.internal_local, false),
        };
        let unknown = |b: &Backend| b.addresses.iter().any(|a| self.may_be_pod(*a));
        let unknown = || service.backends.iter().flatten().any(unknown);
        let known = !own_only || self.unread("Pod").is_none() || !unknown();
        known.then_some((own_only, masquerade))
    }

    /// Endpoints of that family that kube-proxy on the node may pick, by place.
    fn backends(&self, service: usize, family: Family, node: usize, own_only: bool) -> Vec<usize> {
        let list = self.services.as_deref().unwrap_or_default()[service].backends.iter();
        let usable = |backend: &Backend| {
            let here = !own_only || self.is_on(&backend.addresses, node);
            here && address(backend, family).is_some()
        };
        let usable = list.flatten().enumerate().filter(|(_, backend)| usable(backend));
        usable.map(|(index, _)| index).collect()
    }
}

fn address(backend: &Backend, family: Family) -> Option<IpAddr> {
    backend.addresses.iter().copied().find(|a| Family::of(*a) == family)
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
            let part = walking.part(sources);
            let Some((own_only, masquerade)) = world.translation(service, by, from_pods || local, local) else {
                self.stop(part, (node, Hook::Routing), Ruling::Unknown, Why::Unread("Pod"));
                continue;
            };
            let masquerade = masquerade || (by == By::Cluster && !from_pods);
            self.pick(node, index, own_only, masquerade, part, &mut out);
        }
        out
    }

    fn pick(
        &mut self,
        node: usize,
        service: usize,
        own_only: bool,
        masquerade: bool,
        walking: Walking,
        out: &mut Vec<Walking>,
    ) {
        let family = walking.flow.header.family;
        let facts = &self.world.services.as_deref().unwrap_or_default()[service];
        let list = facts.backends.as_deref().unwrap_or_default();
        let usable = || self.world.backends(service, family, node, own_only);
        let picked: Rc<[usize]> = match (self.backend, self.memory) {
            (Some(name), _) => {
                let usable = usable();
                let named = usable.iter().copied().find(|i| list[*i].name == name);
                named.or(usable.first().copied()).into_iter().collect()
            }
            (None, Some(memory)) => {
                let picking = Picking {
                    service,
                    family,
                    node,
                    own_only,
                    sender: self.sender(node, &walking),
                };
                memory.picked(picking, usable)
            }
            (None, None) => usable().into(),
        };
        if picked.is_empty() {
            return self.stop(walking, (node, Hook::Routing), Ruling::Drop, Why::NoBackend(service));
        }
        for index in picked.iter().copied() {
            let mut part = walking.clone();
            part.note(node, Hook::Routing, None, Ruling::Nothing, Why::Service(service, index));
            part.flow.header.destination = address(&list[index], family).expect("usable backends have one");
            part.flow.header.port = Some(list[index].port);
            part.flow.translated = true;
            part.flow.masqueraded = masquerade;
            part.flow.backend = Some((service, index));
            if self.world.may_be_pod(part.flow.header.destination) {
                self.stop(part, (node, Hook::Routing), Ruling::Unknown, Why::Unread("Pod"));
            } else {
                out.push(part);
            }
        }
    }

    /// The node of the one that sends, where that is one of the cluster.
    fn sender(&self, node: usize, walking: &Walking) -> Option<usize> {
        let flow = &walking.flow;
        let source = flow.header.sources.only_address().filter(|_| !flow.outside)?;
        match self.world.place(source, node) {
            Place::Node(home) => Some(home),
            Place::Pod(pod) => Some(self.world.pods[pod].node),
            Place::Outside => None,
        }
    }

    /// `felix/rules/static.go` filterInputChain: tunnel packets are judged before policy. `None`: not one.
    pub(super) fn tunnel_input(&self, node: usize, header: &Header) -> Option<Vec<Piece>> {
        let piece = |(sources, ruling)| Piece {
            sources,
            ruling,
            why: Why::Tunnel,
        };
        let pieces = match self.tunnel(node, header)? {
            Tunnel::Peers => {
                let peers = header.sources.intersect(&self.peers(node));
                let strangers = header.sources.minus(&peers);
                vec![(peers, Ruling::Accept), (strangers, Ruling::Drop)]
            }
            Tunnel::Anyone => vec![(header.sources.clone(), Ruling::Accept)],
            Tunnel::Unknown => {
                return Some(vec![Piece {
                    sources: header.sources.clone(),
                    ruling: Ruling::Unknown,
                    why: Why::Unread("IPPool"),
                }]);
            }
        };
        Some(
            pieces
                .into_iter()
                .filter(|(sources, _)| !sources.is_empty())
                .map(piece)
                .collect(),
        )
    }

    /// The same on the way out, in filterOutputChain: what it comes to, where it is one.
    pub(super) fn tunnel_output(&self, node: usize, header: &Header) -> Option<(Ruling, Why)> {
        match self.tunnel(node, header)? {
            Tunnel::Unknown => Some((Ruling::Unknown, Why::Unread("IPPool"))),
            Tunnel::Peers if !self.peers(node).contains(header.destination) => None,
            Tunnel::Peers | Tunnel::Anyone => Some((Ruling::Accept, Why::Tunnel)),
        }
    }

    fn tunnel(&self, node: usize, header: &Header) -> Option<Tunnel> {
        let world = self.world;
        let felix = &world.nodes[node].felix;
        let pools = || world.pools.iter().filter(|pool| pool.family == header.family);
        let (vxlan, ipip) = match header.protocol {
            17 => (Some((felix.vxlan, pools().any(|pool| pool.vxlan))), None),
            4 if header.family == Family::V4 => (None, Some((felix.ipip, pools().any(|pool| pool.ipip)))),
            _ => return None,
        };
        let unread = world.unread("FelixConfiguration").is_some();
        if let Some((set, pools)) = vxlan
            .filter(|_| unread || header.port == Some(felix.vxlan_port))
            .or(ipip)
        {
            if unread || (set.is_none() && !pools && world.unread("IPPool").is_some()) {
                return Some(Tunnel::Unknown);
            }
            if set.unwrap_or(pools) {
                return Some(Tunnel::Peers);
            }
        }
        let wireguard = match header.family {
            Family::V4 => felix.wireguard_v4,
            Family::V6 => felix.wireguard_v6,
        };
        (header.protocol == 17 && wireguard.is_some() && header.port == wireguard).then_some(Tunnel::Anyone)
    }

    /// Addresses of the other nodes.
    fn peers(&self, node: usize) -> AddressSet {
        let others = self.world.nodes.iter().enumerate().filter(|(index, _)| *index != node);
        AddressSet::from_addresses(others.flat_map(|(_, other)| other.addresses.iter().copied()))
    }
}
