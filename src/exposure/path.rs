//! The walk of a set of packets through nodes: hooks, translation, routing.
//!
//! The packets differ in their source only. At each hook the set splits by ruling and every part walks on by itself, so
//! one packet and "everyone" take the same code. Hooks as in `felix/dataplane/linux/int_dataplane.go`, chains as in
//! `felix/rules/static.go`.

use super::facts::Dataplane;
use super::felix::ToHost;
use super::memory::{Arrival, Asked, Memory, Whose};
use super::stage::{Header, Piece, Stage, Who, Why};
use super::verdict::{Direction, Hook, Ruling, Verdict};
use super::world::{Place, Port, World};
use crate::net::{AddressSet, Family};

/// One ruling on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Step {
    pub node: usize,
    pub hook: Hook,
    pub asked: Option<Who>,
    pub ruling: Ruling,
    pub why: Why,
}

/// Packets on their way.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub header: Header,
    /// The mark that makes later hooks of the node skip policy.
    pub accepted: bool,
    pub untracked: bool,
    pub translated: bool,
    pub masqueraded: bool,
    /// The source is another than it began with.
    pub replaced: bool,
    /// Which of several possible sources it was given, where that is not known.
    pub supposed: Vec<usize>,
    /// Sources are not pods' addresses, whatever they look like.
    pub outside: bool,
    /// Service and endpoint, by place.
    pub backend: Option<(usize, usize)>,
    pub steps: Vec<Step>,
    /// The first step at which Calico left the verdict to the host.
    pub host: Option<usize>,
    /// The first step of which it is not known whether it lets them through.
    pub doubt: Option<usize>,
    /// Kept by a walker that is blind to policy.
    pub legs: Vec<Leg>,
}

/// A connection's way through one node: where its requests come to the node's raw table, and where its replies do.
#[derive(Clone, Debug)]
pub(super) struct Leg {
    pub node: usize,
    pub request: Passage,
    pub reply: Option<Passage>,
    /// The node translates addresses.
    pub translated: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Passage {
    pub direction: Direction,
    pub port: Port,
    pub header: Header,
}

/// Packets at the end of their way.
#[derive(Clone, Debug)]
pub(super) struct End {
    /// As they were when the walk began.
    pub sources: AddressSet,
    pub verdict: Verdict,
    pub steps: Vec<Step>,
    pub host: Option<usize>,
    pub doubt: Option<usize>,
    pub backend: Option<(usize, usize)>,
    pub supposed: Vec<usize>,
    pub legs: Vec<Leg>,
}

/// Where on a node the packets are.
#[derive(Clone, Copy)]
pub(super) struct At {
    pub node: usize,
    pub port: Port,
    /// The host endpoint, other than `*`, of that interface.
    pub named: Option<usize>,
}

pub(super) struct Walker<'w> {
    pub world: &'w World,
    pub dataplane: Dataplane,
    /// The endpoint of a Service that kube-proxy is to pick.
    pub backend: Option<&'w str>,
    /// Follows the way only, as if there were no policy.
    pub blind: bool,
    pub memory: Option<&'w Memory>,
    pub ends: Vec<End>,
}

/// A flow, and the sources it had when it began: masquerading makes the two differ.
#[derive(Clone, Debug)]
pub(super) struct Walking {
    pub flow: Flow,
    pub began: AddressSet,
}

/// Packets that are blocked are blocked, whatever is not known of their way.
fn doubted(verdict: Verdict, doubt: Option<usize>) -> Verdict {
    match verdict {
        Verdict::Blocked => verdict,
        _ if doubt.is_some() => Verdict::Unknown,
        _ => verdict,
    }
}

impl Walking {
    pub fn new(header: Header) -> Walking {
        Walking {
            began: header.sources.clone(),
            flow: Flow {
                header,
                accepted: false,
                untracked: false,
                translated: false,
                masqueraded: false,
                replaced: false,
                supposed: Vec::new(),
                outside: false,
                backend: None,
                steps: Vec::new(),
                host: None,
                doubt: None,
                legs: Vec::new(),
            },
        }
    }

    /// The part of it that has these sources now.
    pub fn part(&self, sources: AddressSet) -> Walking {
        let mut part = self.clone();
        // Once replaced all have one source, and the part is the whole.
        if !self.flow.replaced {
            part.began = sources.clone();
        }
        part.flow.header.sources = sources;
        part
    }

    pub fn note(&mut self, node: usize, hook: Hook, asked: Option<Who>, ruling: Ruling, why: Why) {
        self.flow.steps.push(Step {
            node,
            hook,
            asked,
            ruling,
            why,
        });
    }

    pub(super) fn enter(&mut self, node: usize, direction: Direction, port: Port, blind: bool) {
        if blind {
            let header = self.flow.header.clone();
            self.flow.legs.push(Leg {
                node,
                request: Passage {
                    direction,
                    port,
                    header,
                },
                reply: None,
                translated: false,
            });
        }
    }

    /// The requests leave the node, or end there: replies take the same way back.
    pub(super) fn turn(&mut self, direction: Direction, port: Port) {
        let reply = self.flow.header.reversed();
        if let Some(leg) = self.flow.legs.last_mut() {
            let began = &leg.request.header;
            leg.translated = began.destination != self.flow.header.destination
                || began.port != self.flow.header.port
                || began.sources != self.flow.header.sources;
            leg.reply = reply.map(|header| Passage {
                direction,
                port,
                header,
            });
        }
    }

    /// Whether the last step lets them through is not known.
    pub(super) fn doubt(&mut self) {
        let last = self.flow.steps.len().saturating_sub(1);
        self.flow.doubt.get_or_insert(last);
    }

    /// Calico leaves the last step to the host.
    pub(super) fn host_decides(&mut self) {
        let last = self.flow.steps.len().saturating_sub(1);
        self.flow.host.get_or_insert(last);
    }
}

pub(super) const EBPF_TRANSLATED: &str = "what the eBPF dataplane does with translated packets";
const EBPF_FORWARDED: &str = "what the eBPF dataplane does with forwarded packets";
const EBPF_UNTRACKED: &str = "what the eBPF dataplane does with untracked policy";

impl<'w> Walker<'w> {
    pub fn new(world: &'w World, dataplane: Dataplane) -> Self {
        Walker {
            world,
            dataplane,
            backend: None,
            blind: false,
            memory: None,
            ends: Vec::new(),
        }
    }

    pub(super) fn end(&mut self, walking: Walking, verdict: Verdict) {
        self.ends.push(End {
            sources: walking.began,
            verdict: doubted(verdict, walking.flow.doubt),
            steps: walking.flow.steps,
            host: walking.flow.host,
            doubt: walking.flow.doubt,
            backend: walking.flow.backend,
            supposed: walking.flow.supposed,
            legs: walking.flow.legs,
        });
    }

    pub fn stop(&mut self, mut walking: Walking, at: (usize, Hook), ruling: Ruling, why: Why) {
        walking.note(at.0, at.1, None, ruling, why);
        let verdict = if ruling == Ruling::Drop {
            Verdict::Blocked
        } else {
            Verdict::Unknown
        };
        self.end(walking, verdict);
    }

    /// Splits the packets by what was ruled; those dropped or unknown end here.
    fn split(
        &mut self,
        walking: &Walking,
        at: (usize, Hook),
        asked: Option<Who>,
        pieces: Vec<Piece>,
    ) -> Vec<(Walking, Ruling)> {
        let mut going = Vec::new();
        for piece in pieces {
            let mut part = walking.part(piece.sources);
            part.note(at.0, at.1, asked, piece.ruling, piece.why);
            match piece.ruling {
                Ruling::Drop => self.end(part, Verdict::Blocked),
                Ruling::Unknown => self.end(part, Verdict::Unknown),
                ruling => going.push((part, ruling)),
            }
        }
        going
    }

    pub(super) fn endpoint(
        &mut self,
        walking: &Walking,
        at: (usize, Hook),
        endpoint: Option<usize>,
        stage: Stage,
        direction: Direction,
    ) -> Vec<(Walking, Ruling)> {
        if self.blind {
            return vec![(walking.clone(), Ruling::Nothing)];
        }
        let header = &walking.flow.header;
        let ask = || self.world.ask_endpoint(at.0, endpoint, stage, direction, header);
        let pieces = match (self.memory, endpoint) {
            (Some(memory), Some(endpoint)) => {
                let applied = self.world.endpoints[endpoint].applied;
                memory.answer(self.asked(at.0, applied, Some(stage), direction), header, ask)
            }
            _ => ask(),
        };
        self.split(walking, at, endpoint.map(Who::Endpoint), pieces)
    }

    /// The named host endpoint of an interface. In eBPF mode one on an interface that does not match
    /// `bpfDataIfacePattern` is ignored (`felix/dataplane/linux/bpf_ep_mgr.go`): either may hold.
    pub(super) fn governing(&self, node: usize, port: Port) -> Vec<Option<usize>> {
        let mut governing = self.world.governing(node, port);
        if self.dataplane == Dataplane::Ebpf && !governing.contains(&None) {
            governing.push(None);
        }
        governing
    }

    fn asked(&self, node: usize, applied: usize, stage: Option<Stage>, direction: Direction) -> Asked {
        Asked {
            applied,
            felix: std::rc::Rc::as_ptr(&self.world.nodes[node].felix).addr(),
            stage,
            direction,
        }
    }

    pub(super) fn pod(
        &mut self,
        walking: &Walking,
        at: (usize, Hook),
        pod: usize,
        direction: Direction,
    ) -> Vec<(Walking, Ruling)> {
        if self.blind {
            return vec![(walking.clone(), Ruling::Accept)];
        }
        let header = &walking.flow.header;
        let ask = || self.world.ask_pod(pod, direction, header);
        let pieces = match self.memory {
            Some(memory) => {
                let pod = &self.world.pods[pod];
                memory.answer(self.asked(pod.node, pod.applied, None, direction), header, ask)
            }
            None => ask(),
        };
        self.split(walking, at, Some(Who::Pod(pod)), pieces)
    }

    pub(super) fn star(&self, node: usize) -> Option<usize> {
        self.world.nodes[node].star
    }

    pub(super) fn accept_returns(&self, node: usize) -> bool {
        self.world.nodes[node].felix.accept_returns(self.dataplane)
    }

    /// Packets arrive on an interface of a node.
    pub fn arrive(&mut self, node: usize, port: Port, mut walking: Walking) {
        walking.flow.accepted = false;
        walking.flow.untracked = false;
        walking.enter(node, Direction::Ingress, port, self.blind);
        if let Some((memory, arrival)) = self.remembered(node, port, &walking) {
            return self.as_before(memory, arrival, walking);
        }
        for named in self.governing(node, port) {
            self.raw_prerouting(At { node, port, named }, walking.clone());
        }
    }

    /// What is remembered of packets that one node sends to another: those of one source, however it got there.
    fn remembered(&self, node: usize, port: Port, walking: &Walking) -> Option<(&'w Memory, Arrival)> {
        let (flow, memory) = (&walking.flow, self.memory?);
        let header = &flow.header;
        let source = header.sources.only_address()?;
        if flow.steps.is_empty() || flow.outside || self.blind || self.backend.is_some() {
            return None;
        }
        let whose = match self.world.place(source, node) {
            Place::Node(own) if own == node => Whose::ItsOwn,
            Place::Node(_) => Whose::AnotherNode,
            Place::Pod(_) => Whose::Pod,
            Place::Outside => Whose::Nobody,
        };
        let arrival = Arrival {
            dataplane: self.dataplane,
            node,
            port,
            protocol: header.protocol,
            icmp: header.icmp,
            ports: (header.source_port, header.port),
            destination: header.destination,
            source: (memory.memberships.of(source)?, whose),
            translated: flow.translated,
            masqueraded: flow.masqueraded,
            replaced: flow.replaced,
            supposed: flow.supposed.clone(),
            backend: flow.backend,
        };
        Some((memory, arrival))
    }

    /// Ends the walk as one that arrived alike: its steps come behind those made so far.
    fn as_before(&mut self, memory: &'w Memory, arrival: Arrival, walking: Walking) {
        let (node, port) = (arrival.node, arrival.port);
        let ends = memory.ends(arrival, || {
            let mut again = Walker::new(self.world, self.dataplane);
            again.memory = Some(memory);
            let mut fresh = walking.clone();
            fresh.flow.steps.clear();
            fresh.flow.host = None;
            fresh.flow.doubt = None;
            for named in again.governing(node, port) {
                again.raw_prerouting(At { node, port, named }, fresh.clone());
            }
            again.ends
        });
        let made = walking.flow.steps.len();
        for end in ends.iter() {
            let host = walking.flow.host.or(end.host.map(|at| at + made));
            let doubt = walking.flow.doubt.or(end.doubt.map(|at| at + made));
            let verdict = match end.verdict {
                Verdict::Open if host.is_some() => Verdict::HostDecides,
                verdict => verdict,
            };
            self.ends.push(End {
                sources: walking.began.clone(),
                verdict: doubted(verdict, doubt),
                doubt,
                steps: [walking.flow.steps.as_slice(), &end.steps].concat(),
                host,
                ..end.clone()
            });
        }
    }

    fn raw_prerouting(&mut self, at: At, walking: Walking) {
        let here = (at.node, Hook::RawPrerouting);
        let unread = self.world.unread("GlobalNetworkPolicy").is_some();
        let untracked = at
            .named
            .filter(|e| unread || !self.world.stages(*e).untracked.is_empty());
        if untracked.is_none() {
            return self.mangle_prerouting(at, walking);
        }
        if self.dataplane == Dataplane::Ebpf {
            return self.stop(walking, here, Ruling::Unknown, Why::NotEstablished(EBPF_UNTRACKED));
        }
        for (mut part, ruling) in self.endpoint(&walking, here, untracked, Stage::Untracked, Direction::Ingress) {
            part.flow.accepted = ruling == Ruling::Accept;
            part.flow.untracked = part.flow.accepted;
            self.mangle_prerouting(at, part);
        }
    }

    fn mangle_prerouting(&mut self, at: At, walking: Walking) {
        if walking.flow.accepted {
            return self.nat_prerouting(at, walking);
        }
        let unread = self.world.unread("GlobalNetworkPolicy").is_some();
        let has = |e: &usize| unread || !self.world.stages(*e).pre_dnat.is_empty();
        // An endpoint without pre-DNAT policy does not shield its interface from `*`.
        let endpoint = at.named.filter(has).or_else(|| self.star(at.node).filter(has));
        let here = (at.node, Hook::ManglePrerouting);
        if endpoint.is_none() && self.world.unread("HostEndpoint").is_none() {
            return self.nat_prerouting(at, walking);
        }
        for (mut part, ruling) in self.endpoint(&walking, here, endpoint, Stage::PreDnat, Direction::Ingress) {
            part.flow.accepted = ruling == Ruling::Accept;
            self.nat_prerouting(at, part);
        }
    }

    fn nat_prerouting(&mut self, at: At, walking: Walking) {
        if walking.flow.untracked {
            return self.route(at, walking);
        }
        for part in self.translate(at.node, walking, at.port == Port::Loopback) {
            self.route(at, part);
        }
    }

    fn route(&mut self, at: At, walking: Walking) {
        if self.dataplane == Dataplane::Ebpf && walking.flow.translated {
            let why = Why::NotEstablished(EBPF_TRANSLATED);
            return self.stop(walking, (at.node, Hook::Routing), Ruling::Unknown, why);
        }
        match self.world.place(walking.flow.header.destination, at.node) {
            Place::Node(node) if node == at.node => self.filter_input(at, walking),
            _ if self.world.may_be_pod(walking.flow.header.destination) => {
                self.stop(walking, (at.node, Hook::Routing), Ruling::Unknown, Why::Unread("Pod"));
            }
            _ if self.dataplane == Dataplane::Ebpf => {
                let why = Why::NotEstablished(EBPF_FORWARDED);
                self.stop(walking, (at.node, Hook::FilterForward), Ruling::Unknown, why);
            }
            _ => self.filter_forward(at, walking),
        }
    }

    pub(super) fn filter_input(&mut self, at: At, mut walking: Walking) {
        let here = (at.node, Hook::FilterInput);
        walking.turn(Direction::Egress, at.port);
        if self.blind {
            return self.end_open(walking);
        }
        if let Some(ruling) = self.tunnel_input(at.node, &walking.flow.header) {
            for piece in ruling {
                let mut part = walking.part(piece.sources);
                match piece.ruling {
                    Ruling::Nothing => self.input_policy(at, part),
                    Ruling::Accept => {
                        part.note(at.node, here.1, None, Ruling::Accept, piece.why);
                        self.end_accepted(at.node, part);
                    }
                    ruling => self.stop(part, here, ruling, piece.why),
                }
            }
            return;
        }
        self.input_policy(at, walking);
    }

    fn input_policy(&mut self, at: At, mut walking: Walking) {
        let here = (at.node, Hook::FilterInput);
        if let Some(pod) = self.world.workload(at.port) {
            return self.pod_to_host(at, pod, walking);
        }
        if walking.flow.accepted {
            walking.note(at.node, here.1, None, Ruling::Accept, Why::Earlier);
            return self.end_accepted(at.node, walking);
        }
        let endpoint = at.named.or_else(|| self.star(at.node));
        for (mut part, ruling) in self.endpoint(&walking, here, endpoint, Stage::Normal, Direction::Ingress) {
            match ruling {
                Ruling::Accept => self.end_accepted(at.node, part),
                Ruling::Nothing => {
                    part.host_decides();
                    self.end_open(part);
                }
                _ => self.end_open(part),
            }
        }
    }

    pub(super) fn end_accepted(&mut self, node: usize, mut walking: Walking) {
        if self.accept_returns(node) {
            walking.host_decides();
        }
        self.end_open(walking);
    }

    /// Packets from or to something that is not known.
    pub(super) fn lost(&mut self, walking: Walking) {
        self.end(walking, Verdict::Unknown);
    }

    /// Packets to nowhere that this world knows.
    pub(super) fn nowhere(&mut self, walking: Walking) {
        self.end_open(walking);
    }

    pub(super) fn end_open(&mut self, walking: Walking) {
        let verdict = if walking.flow.host.is_some() {
            Verdict::HostDecides
        } else {
            Verdict::Open
        };
        self.end(walking, verdict);
    }

    /// Host endpoints have no say in what a pod sends to its own host.
    fn pod_to_host(&mut self, at: At, pod: usize, walking: Walking) {
        let here = (at.node, Hook::FilterInput);
        let neighbour =
            walking.flow.header.protocol == 58 && matches!(walking.flow.header.icmp, Some(130..=133 | 135 | 136));
        if neighbour && walking.flow.header.family == Family::V6 {
            let mut walking = walking;
            walking.note(at.node, here.1, None, Ruling::Accept, Why::EndpointToHost);
            return self.end_accepted(at.node, walking);
        }
        for (mut part, _) in self.pod(&walking, here, pod, Direction::Egress) {
            let action = self.world.nodes[at.node].felix.endpoint_to_host;
            let ruling = match action {
                Some(ToHost::Drop) => Ruling::Drop,
                Some(ToHost::Accept) => Ruling::Accept,
                Some(ToHost::Return) => Ruling::Nothing,
                None => Ruling::Unknown,
            };
            match ruling {
                Ruling::Drop => self.stop(part, here, ruling, Why::EndpointToHost),
                Ruling::Unknown => self.stop(part, here, ruling, Why::Unread("environment of calico-node")),
                _ => {
                    part.note(at.node, here.1, None, ruling, Why::EndpointToHost);
                    if ruling == Ruling::Nothing {
                        part.host_decides();
                        self.end_open(part);
                    } else {
                        self.end_accepted(at.node, part);
                    }
                }
            }
        }
    }
}
