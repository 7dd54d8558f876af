//! The walk of packets that a node's own processes send: raw OUTPUT, filter OUTPUT, mangle POSTROUTING.
//!
//! `felix/rules/static.go` filterOutputChain and StaticManglePostroutingChain.

use super::facts::Dataplane;
use super::path::{At, Walker, Walking};
use super::stage::{Stage, Why};
use super::verdict::{Direction, Hook, Ruling};
use super::world::{Place, Port};

impl Walker<'_> {
    /// A local process sends.
    pub fn send(&mut self, node: usize, mut walking: Walking) {
        let out = self.world.departure(node, walking.flow.header.destination);
        walking.enter(node, Direction::Egress, out, self.blind);
        for named in self.world.governing(node, out) {
            self.raw_output(At { node, port: out, named }, walking.clone());
        }
    }

    fn raw_output(&mut self, at: At, walking: Walking) {
        let here = (at.node, Hook::RawOutput);
        let untracked = at.named.filter(|e| !self.world.stages(*e).untracked.is_empty());
        let parts = match untracked {
            Some(endpoint) => self.endpoint(&walking, here, Some(endpoint), Stage::Untracked, Direction::Egress),
            None => vec![(walking, Ruling::Nothing)],
        };
        for (mut part, ruling) in parts {
            part.flow.accepted = ruling == Ruling::Accept;
            part.flow.untracked = part.flow.accepted;
            if part.flow.untracked {
                self.filter_output(at, part);
            } else {
                for part in self.translate(at.node, part, true) {
                    self.filter_output(at, part);
                }
            }
        }
    }

    /// A translated packet still has the interface that its first destination was routed to.
    fn filter_output(&mut self, at: At, mut walking: Walking) {
        let here = (at.node, Hook::FilterOutput);
        let verdict = match () {
            _ if walking.flow.accepted => Some((Ruling::Accept, Why::Earlier)),
            _ if self.world.workload(at.port).is_some() => Some((Ruling::Nothing, Why::OwnPod)),
            _ if self.tunnel_output(at.node, &walking.flow.header) => Some((Ruling::Accept, Why::Tunnel)),
            // nftables: `ct status != dnat` compares the whole mask, so translated packets are judged here too
            // (`felix/nftables/match_builder.go`).
            _ if walking.flow.translated && self.dataplane != Dataplane::Nftables => {
                Some((Ruling::Nothing, Why::NoRule))
            }
            _ => None,
        };
        if let Some((ruling, why)) = verdict {
            walking.note(at.node, here.1, None, ruling, why);
            if ruling == Ruling::Nothing || self.accept_returns(at.node) {
                walking.host_decides();
            }
            return self.mangle_postrouting(at, walking);
        }
        let endpoint = at.named.or_else(|| self.star(at.node));
        for (mut part, ruling) in self.endpoint(&walking, here, endpoint, Stage::Normal, Direction::Egress) {
            part.flow.accepted = ruling == Ruling::Accept;
            if ruling == Ruling::Nothing || (ruling == Ruling::Accept && self.accept_returns(at.node)) {
                part.host_decides();
            }
            self.mangle_postrouting(at, part);
        }
    }

    /// Normal egress policy for translated packets of local processes; host endpoints have no say over pods' interfaces
    /// here (`felix/rules/dispatch.go`).
    fn mangle_postrouting(&mut self, at: At, walking: Walking) {
        let here = (at.node, Hook::ManglePostrouting);
        let out = self.world.departure(at.node, walking.flow.header.destination);
        let asked = walking.flow.translated && !walking.flow.accepted && self.world.workload(out).is_none();
        if !asked {
            return self.sent(at.node, out, walking);
        }
        let governed = if out == at.port {
            vec![at.named]
        } else {
            self.world.governing(at.node, out)
        };
        for named in governed {
            let endpoint = named.or_else(|| self.star(at.node));
            if endpoint.is_none() && self.world.unread("HostEndpoint").is_none() {
                self.sent(at.node, out, walking.clone());
                continue;
            }
            for (part, _) in self.endpoint(&walking, here, endpoint, Stage::Normal, Direction::Egress) {
                self.sent(at.node, out, part);
            }
        }
    }

    fn sent(&mut self, node: usize, out: Port, walking: Walking) {
        let destination = walking.flow.header.destination;
        if self.world.place(destination, node) == Place::Node(node) {
            // The packet comes back in by the loopback interface, already translated.
            let mut back = walking;
            back.turn(Direction::Ingress, Port::Loopback);
            back.flow.accepted = false;
            return self.arrive(node, Port::Loopback, back);
        }
        if walking.flow.untracked && self.world.is_cluster_address(destination) {
            return self.stop(walking, (node, Hook::Sent), Ruling::Drop, Why::NotTranslated);
        }
        self.leave(node, out, walking);
    }
}
