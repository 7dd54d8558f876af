//! The walk through a node that is not the destination: filter FORWARD, masquerading, and on to the next node.
//!
//! `felix/rules/static.go` StaticFilterForwardChains; `felix/rules/nat.go` for masquerading.

use std::net::IpAddr;

use super::path::{At, Walker, Walking};
use super::stage::{Stage, Why};
use super::verdict::{Direction, Hook, Ruling};
use super::world::{Place, Port};
use crate::net::AddressSet;

impl Walker<'_> {
    pub(super) fn filter_forward(&mut self, at: At, walking: Walking) {
        let here = (at.node, Hook::FilterForward);
        if walking.flow.accepted {
            return self.forward_pods(at, walking);
        }
        let endpoint = at.named.or_else(|| self.star(at.node));
        for (mut part, ruling) in self.endpoint(&walking, here, endpoint, Stage::Forward, Direction::Ingress) {
            part.flow.accepted = ruling == Ruling::Accept;
            self.forward_pods(at, part);
        }
    }

    fn forward_pods(&mut self, at: At, walking: Walking) {
        let here = (at.node, Hook::FilterForward);
        let parts = match self.world.workload(at.port) {
            Some(pod) => self.pod(&walking, here, pod, Direction::Egress),
            None => vec![(walking, Ruling::Nothing)],
        };
        for (mut part, ruling) in parts {
            part.flow.accepted |= ruling == Ruling::Accept;
            let out = self.world.departure(at.node, part.flow.header.destination);
            let parts = match self.world.workload(out) {
                Some(pod) => self.pod(&part, here, pod, Direction::Ingress),
                None => vec![(part, Ruling::Nothing)],
            };
            for (mut part, ruling) in parts {
                part.flow.accepted |= ruling == Ruling::Accept;
                self.forward_out(at.node, out, part);
            }
        }
    }

    /// The forward policy of the interface that the packets leave by, asked even when they were accepted before.
    fn forward_out(&mut self, node: usize, out: Port, walking: Walking) {
        let here = (node, Hook::FilterForward);
        for named in self.governing(node, out) {
            let endpoint = named.or_else(|| self.star(node));
            let parts = if endpoint.is_none() && self.world.unread("HostEndpoint").is_none() {
                let ruling = if walking.flow.accepted {
                    Ruling::Accept
                } else {
                    Ruling::Nothing
                };
                vec![(walking.clone(), ruling)]
            } else {
                self.endpoint(&walking, here, endpoint, Stage::Forward, Direction::Egress)
            };
            for (mut part, ruling) in parts {
                if part.flow.steps.is_empty() {
                    part.note(node, here.1, None, Ruling::Nothing, Why::NoEndpoint);
                }
                if ruling != Ruling::Accept || self.accept_returns(node) {
                    part.host_decides();
                }
                self.leave(node, out, part);
            }
        }
    }

    /// Masquerading, and on to the next node if there is one.
    pub(super) fn leave(&mut self, node: usize, out: Port, walking: Walking) {
        for mut part in self.masquerade(node, out, walking) {
            part.turn(Direction::Ingress, out);
            part.flow.masqueraded = false;
            part.flow.translated = false;
            let destination = part.flow.header.destination;
            match self.world.place(destination, node) {
                Place::Pod(pod) if self.world.pods[pod].node != node => {
                    let next = self.world.pods[pod].node;
                    for port in self.arrivals(next, destination) {
                        self.cross(node, next, port, part.clone());
                    }
                }
                Place::Node(next) if next != node => {
                    self.cross(node, next, self.world.arrival(next, destination), part);
                }
                Place::Outside => self.depart(node, part),
                _ => self.end_open(part),
            }
        }
    }

    /// How packets between pods may enter a node.
    fn arrivals(&self, node: usize, pod: IpAddr) -> Vec<Port> {
        let outward = self.world.outward(node);
        if self.world.nodes[node].interfaces.is_some() {
            return vec![outward];
        }
        let unread = self.world.unread("IPPool").is_some();
        let tunnelled = self
            .world
            .pools
            .iter()
            .any(|pool| pool.encapsulated && pool.nets.contains(pod));
        if unread || tunnelled {
            vec![outward, Port::Tunnel]
        } else {
            vec![outward]
        }
    }

    fn is_from_pod(&self, node: usize, walking: &Walking) -> bool {
        let source = walking.flow.header.sources.first();
        source.is_some_and(|source| matches!(self.world.place(source, node), Place::Pod(_)))
    }

    /// Replaces the source where kube-proxy or an IP pool says so (`felix/rules/nat.go`).
    fn masquerade(&mut self, node: usize, out: Port, walking: Walking) -> Vec<Walking> {
        let header = &walking.flow.header;
        let family = header.family;
        let pools = || self.world.pools.iter().filter(|pool| pool.family == family);
        let to_pool = pools().any(|pool| pool.nets.contains(header.destination));
        let nat = if walking.flow.masqueraded {
            header.sources.clone()
        } else if to_pool || walking.flow.outside || self.world.workload(out).is_some() {
            AddressSet::empty()
        } else {
            let outgoing = pools().filter(|pool| pool.nat_outgoing);
            let all = outgoing.fold(AddressSet::empty(), |all, pool| all.union(&pool.nets));
            header.sources.intersect(&all)
        };
        let plain = header.sources.minus(&nat);
        let own = self.world.own_addresses(node, out, family);
        let replaced = |sources: &AddressSet, sure: bool| {
            let mut parts = Vec::new();
            for (number, address) in own.iter().enumerate() {
                let mut part = walking.part(sources.clone());
                if own.len() > 1 || !sure {
                    part.flow.supposed.push(number);
                }
                part.flow.header.sources = AddressSet::from_addresses([*address]);
                part.flow.outside = false;
                part.flow.replaced = true;
                parts.push(part);
            }
            parts
        };
        let mut parts = Vec::new();
        if !nat.is_empty() {
            parts.extend(replaced(&nat, true));
        }
        if !plain.is_empty() {
            // Without the pools it is not known whether pods' packets keep their source.
            if !to_pool && self.world.unread("IPPool").is_some() && self.is_from_pod(node, &walking) {
                parts.extend(replaced(&plain, false));
                let mut part = walking.part(plain);
                part.flow.supposed.push(own.len());
                parts.push(part);
            } else {
                parts.push(walking.part(plain));
            }
        }
        parts
    }
}
