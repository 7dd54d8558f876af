//! From the ends of a walk to one answer, in words.
//!
//! Several ends of one packet mean either that kube-proxy may pick among endpoints (different ends: partly), or that
//! something was not read (different ends: unknown).

use std::collections::{BTreeMap, BTreeSet};

use super::path::{End, Step, Walker, Walking};
use super::stage::{Header, Who, Why};
use super::verdict::{By, Direction, Hop, Origin, Packet, RuleRef, Ruling, Verdict, Walk, Way};
use super::world::{Place, World};
use crate::net::{AddressSet, Family};

/// Follows one packet.
pub fn walk(world: &World, packet: &Packet) -> Walk {
    let ends = ends(world, packet);
    let all: Vec<Way> = ends.iter().map(|(_, end)| world.way(end)).collect();
    let mut seen: BTreeSet<&Way> = BTreeSet::new();
    let ways: Vec<Way> = all.iter().filter(|way| seen.insert(way)).cloned().collect();
    let (verdict, decided) = outcome(world, &ends);
    Walk { verdict, decided, ways }
}

/// What a packet finds, and what decided it: its walk without the ways, of which a Service can have thousands.
pub fn fate(world: &World, packet: &Packet) -> (Verdict, Option<Hop>) {
    outcome(world, &ends(world, packet))
}

fn outcome(world: &World, ends: &[(usize, End)]) -> (Verdict, Option<Hop>) {
    let verdict = summary(ends.iter().map(|(choice, end)| (*choice, end)));
    let found = ends.iter().find(|(_, end)| end.verdict == verdict).or(ends.first());
    let decided = found.and_then(|(_, end)| end.steps.get(deciding(end)?));
    (verdict, decided.map(|step| world.hop(step)))
}

fn ends(world: &World, packet: &Packet) -> Vec<(usize, End)> {
    let client_ports = match (packet.port, packet.source_port) {
        (Some(_), None) => world.client_ports().into_iter().map(Some).collect(),
        (_, given) => vec![given],
    };
    let mut ends: Vec<(usize, End)> = Vec::new();
    for (choice, source_port) in client_ports.into_iter().enumerate() {
        for dataplane in world.dataplanes.iter().copied() {
            let mut walker = Walker::new(world, dataplane);
            walker.backend = packet.backend.as_deref();
            walker.start(packet, source_port);
            ends.extend(walker.ends.into_iter().map(|end| (choice, end)));
        }
    }
    ends
}

impl Walker<'_> {
    /// Sets a packet off from where it starts.
    pub(super) fn start(&mut self, packet: &Packet, source_port: Option<u16>) {
        let header = Header {
            family: Family::of(packet.destination),
            protocol: packet.protocol.number(),
            icmp: packet.icmp_type,
            sources: AddressSet::from_addresses([packet.source]),
            source_port: packet.port.and(source_port),
            destination: packet.destination,
            port: packet.port,
        };
        self.set_off(&packet.from, Walking::new(header));
    }

    pub(super) fn set_off(&mut self, from: &Origin, mut walking: Walking) {
        let world = self.world;
        match from {
            Origin::Node(name) => match world.node(name) {
                Some(node) => self.send(node, walking),
                None => self.lost(walking),
            },
            Origin::Pod { namespace, name } => match world.pod(namespace, name) {
                Some(pod) => self.arrive(world.pods[pod].node, super::world::Port::Workload(pod), walking),
                None => self.lost(walking),
            },
            Origin::Outside => {
                let external = |node: &super::world::Node| node.external.contains(&walking.flow.header.destination);
                let public = world.cloud.as_ref().map(|cloud| &cloud.translated);
                if let Some(own) = public.and_then(|public| public.get(&walking.flow.header.destination)) {
                    walking.flow.header.destination = *own;
                } else if let Some(node) = world.nodes.iter().position(external) {
                    // Something in front of the node translates the address it is known by to its own.
                    let port = world.outward(node);
                    if let Some(own) = world.own_address(node, port, walking.flow.header.family) {
                        walking.flow.header.destination = own;
                    }
                }
                let destination = walking.flow.header.destination;
                match world.places.get(&destination) {
                    Some(Place::Node(node)) => self.arrive_by_wire(*node, world.arrival(*node, destination), walking),
                    Some(Place::Pod(pod)) => {
                        let node = world.pods[*pod].node;
                        self.arrive_by_wire(node, world.outward(node), walking);
                    }
                    _ if world.may_be_pod(destination) || world.unread("Node").is_some() => self.lost(walking),
                    _ => self.nowhere(walking),
                }
            }
        }
    }
}

/// The client's port where nobody says which: within the range that Linux picks from.
pub(super) const USUAL_SOURCE_PORT: u16 = 40000;

/// The verdict that several ends of the same packet come to. The number with an end is what the client chose.
pub(super) fn summary<'a>(ends: impl Iterator<Item = (usize, &'a End)>) -> Verdict {
    // What may be otherwise: per endpoint of a Service, all ends must agree to be known.
    let mut choices: BTreeMap<usize, BTreeMap<&[usize], ByBackend>> = BTreeMap::new();
    for (choice, end) in ends {
        let by_backend = choices.entry(choice).or_default().entry(&end.supposed).or_default();
        by_backend
            .entry(end.backend)
            .and_modify(|verdict| *verdict = if_either(*verdict, end.verdict))
            .or_insert(end.verdict);
    }
    let of_choice = |suppositions: BTreeMap<&[usize], ByBackend>| {
        let verdicts = suppositions.into_values().map(of_backends);
        verdicts.reduce(if_either).unwrap_or(Verdict::Unknown)
    };
    let verdicts = choices.into_values().map(of_choice);
    verdicts.reduce(some_of).unwrap_or(Verdict::Unknown)
}

type ByBackend = BTreeMap<Option<(usize, usize)>, Verdict>;

fn of_backends(mut by_backend: ByBackend) -> Verdict {
    // An end before the choice of an endpoint is one of all of them.
    let before = by_backend.remove(&None);
    let chosen = by_backend.into_values().reduce(some_of);
    match (before, chosen) {
        (Some(before), Some(chosen)) => if_either(before, chosen),
        (Some(verdict), None) | (None, Some(verdict)) => verdict,
        (None, None) => Verdict::Unknown,
    }
}

/// One of the two holds, and which is not known.
fn if_either(a: Verdict, b: Verdict) -> Verdict {
    match (a, b) {
        _ if a == b => a,
        (Verdict::Open, Verdict::HostDecides) | (Verdict::HostDecides, Verdict::Open) => Verdict::HostDecides,
        _ => Verdict::Unknown,
    }
}

/// Some connections meet the one, some the other.
pub(super) fn some_of(a: Verdict, b: Verdict) -> Verdict {
    match (a, b) {
        _ if a == b => a,
        (Verdict::Unknown, _) | (_, Verdict::Unknown) => Verdict::Unknown,
        (Verdict::Open, Verdict::HostDecides) | (Verdict::HostDecides, Verdict::Open) => Verdict::HostDecides,
        _ => Verdict::Partly,
    }
}

impl World {
    fn way(&self, end: &End) -> Way {
        Way {
            verdict: end.verdict,
            hops: end.steps.iter().map(|step| self.hop(step)).collect(),
            backend: end.backend.map(|(service, index)| self.backend_name(service, index)),
            decided: deciding(end),
        }
    }

    pub(super) fn hop(&self, step: &Step) -> Hop {
        Hop {
            node: self.nodes[step.node].name.clone(),
            hook: step.hook,
            endpoint: step.asked.map(|who| match who {
                Who::Endpoint(endpoint) => self.endpoints[endpoint].name.clone(),
                Who::Pod(pod) => format!("{}/{}", self.pods[pod].namespace, self.pods[pod].name),
            }),
            ruling: step.ruling,
            by: self.by(step.why),
        }
    }

    pub(super) fn by(&self, why: Why) -> By {
        match why {
            Why::Rule(policy, direction, index) => By::Rule(RuleRef {
                policy: self.policies[policy].name.clone(),
                direction,
                index,
            }),
            Why::Profile(profile, direction, index) => By::Rule(RuleRef {
                policy: self.profiles[profile].name.clone(),
                direction,
                index,
            }),
            Why::MissingProfile(profile) => By::MissingProfile {
                name: self.profiles[profile].name.name.clone(),
            },
            Why::Failsafe(port) => By::Failsafe { port },
            Why::EndOfTier(tier) => By::EndOfTier {
                tier: self.tiers[tier].name.clone(),
            },
            Why::NoProfile => By::NoProfile,
            Why::NoForwardPolicy => By::NoForwardPolicy,
            Why::NoRule => By::NoRule,
            Why::NoEndpoint => By::NoEndpoint,
            Why::Tunnel => By::Tunnel,
            Why::PodTunnel => By::PodTunnel,
            Why::EndpointToHost => By::EndpointToHost,
            Why::OwnPod => By::OwnPod,
            Why::Earlier => By::Earlier,
            Why::NoBackend(service) => By::NoBackend {
                service: self.service_name(service),
            },
            Why::Service(service, index) => By::Service {
                service: self.service_name(service),
                backend: self.backend_name(service, index),
            },
            Why::NotTranslated => By::NotTranslated,
            Why::CloudRule(..) | Why::CloudPeer(_) | Why::NoCloudRule(_) | Why::Acl(..) => self.by_cloud(why),
            Why::NoInterface => By::NoInterface,
            Why::Unread(what) => By::Unread {
                what: what.to_string(),
                why: self.unread(what).unwrap_or("not read").to_string(),
            },
            Why::NotEstablished(what) => By::NotEstablished { what },
        }
    }

    fn by_cloud(&self, why: Why) -> By {
        let cloud = self
            .cloud
            .as_ref()
            .expect("only a world with a cloud is decided by one");
        let rule = |index: usize| {
            let ruled = &cloud.rules[index];
            let name = ruled.rule.key().name;
            let mut words = name.splitn(5, '/').skip(2);
            let (protocol, ports) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            let what = match (protocol, ports) {
                ("all", _) => "everything".to_string(),
                (protocol, "all") => protocol.to_string(),
                (protocol, ports) => format!("{protocol}/{ports}"),
            };
            let way = if ruled.rule.egress { "to" } else { "from" };
            let text = format!("{what} {way} {}", ruled.rule.peer);
            (ruled.rule.group.clone(), text, ruled.id.clone())
        };
        match why {
            Why::CloudRule(index, _) => {
                let (group, rule, id) = rule(index);
                By::CloudRule { group, rule, id }
            }
            Why::CloudPeer(index) => {
                let (group, rule, id) = rule(index);
                By::CloudPeer { group, rule, id }
            }
            Why::NoCloudRule(wire) => By::NoCloudRule {
                groups: cloud.wires[wire].groups.clone(),
            },
            Why::Acl(acl, entry) => {
                let acl = &cloud.acls[acl];
                let direction = |entry| match acl.is_egress(entry) {
                    true => Direction::Egress,
                    false => Direction::Ingress,
                };
                By::Acl {
                    acl: acl.id.clone(),
                    entry: entry.map(|entry| (acl.number(entry), direction(entry))),
                }
            }
            _ => By::NoInterface,
        }
    }

    fn service_name(&self, service: usize) -> String {
        let service = &self.services.as_deref().unwrap_or_default()[service];
        format!("{}/{}", service.namespace, service.name)
    }

    fn backend_name(&self, service: usize, index: usize) -> String {
        let service = &self.services.as_deref().unwrap_or_default()[service];
        let backends = service.backends.as_deref().unwrap_or_default();
        backends[index].name.clone()
    }
}

/// The rule of the cloud that let it in to a node, the first one on the way.
fn let_in(end: &End) -> Option<usize> {
    let lets_in = |step: &Step| matches!(step.why, Why::CloudRule(_, Direction::Ingress));
    end.steps.iter().position(lets_in)
}

/// The step that a reader should be told of: the last one where the packet stopped; where it arrived, the host's if it
/// decides, else the first that a rule or a failsafe port let through, else the cloud's rule, else the last. Where no
/// host endpoint is, the cloud's rule comes before the host.
pub(super) fn deciding(end: &End) -> Option<usize> {
    let last = end.steps.len().checked_sub(1)?;
    match end.verdict {
        Verdict::HostDecides => {
            let host = end.host.unwrap_or(last);
            let asked = end.steps.get(host).is_none_or(|step| step.why != Why::NoEndpoint);
            Some(if asked { host } else { let_in(end).unwrap_or(host) })
        }
        Verdict::Open | Verdict::Partly => {
            let written = |step: &Step| {
                matches!(step.ruling, Ruling::Accept | Ruling::Pass)
                    && matches!(step.why, Why::Rule(..) | Why::Failsafe(_))
            };
            Some(
                end.steps
                    .iter()
                    .position(written)
                    .or_else(|| let_in(end))
                    .unwrap_or(last),
            )
        }
        Verdict::Unknown => Some(end.doubt.unwrap_or(last)),
        Verdict::Blocked => Some(last),
    }
}
