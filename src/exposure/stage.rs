//! One stage of one endpoint, asked about a set of sources at once (`felix/rules/endpoints.go`).
//!
//! The answer is a list of pieces of the set, each with a ruling and what decided. Pieces overlap only where something
//! was not read: then each possibility is a piece.

use std::net::IpAddr;

use super::felix::Failsafe;
use super::index::RuleIndex;
use super::rules::{Action, Conditions, Rule, Satisfied};
use super::verdict::{Direction, Ruling};
use super::world::{Lists, TierRun, World};
use crate::net::{AddressSet, Family};

/// What a rule can look at. Sources are a set, everything else is one value.
#[derive(Clone, Debug)]
pub(super) struct Header {
    pub family: Family,
    pub protocol: u8,
    pub icmp: Option<u8>,
    pub sources: AddressSet,
    pub source_port: Option<u16>,
    pub destination: IpAddr,
    pub port: Option<u16>,
}

impl Header {
    /// Of a reply; `None` unless there is one source.
    pub fn reversed(&self) -> Option<Header> {
        Some(Header {
            sources: AddressSet::from_addresses([self.destination]),
            source_port: self.port,
            destination: self.sources.only_address()?,
            port: self.source_port,
            ..self.clone()
        })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Untracked,
    PreDnat,
    Normal,
    Forward,
}

/// What decided, by place in the world; `By` with names is made of it for those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    Rule(usize, Direction, usize),
    Profile(usize, Direction, usize),
    Failsafe(u16),
    EndOfTier(usize),
    NoProfile,
    MissingProfile(usize),
    NoForwardPolicy,
    NoRule,
    NoEndpoint,
    Tunnel,
    PodTunnel,
    EndpointToHost,
    OwnPod,
    Earlier,
    NoBackend(usize),
    Service(usize, usize),
    NotTranslated,
    /// Of the cloud, by place: a rule; a rule whose peer it may be; no rule of the groups of that kind of interface.
    CloudRule(usize, Direction),
    CloudPeer(usize),
    NoCloudRule(usize),
    /// An ACL and its entry; none: the end of the list.
    Acl(usize, Option<usize>),
    NoInterface,
    Unread(&'static str),
    NotEstablished(&'static str),
}

/// Whose policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Endpoint(usize),
    Pod(usize),
}

#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub sources: AddressSet,
    pub ruling: Ruling,
    pub why: Why,
}

/// The set that is still undecided, and the pieces so far.
struct Undecided<'h> {
    header: &'h Header,
    rest: AddressSet,
    pieces: Vec<Piece>,
}

impl Undecided<'_> {
    fn decide(&mut self, sources: AddressSet, ruling: Ruling, why: Why) {
        if !sources.is_empty() {
            self.pieces.push(Piece { sources, ruling, why });
        }
    }

    fn decide_rest(&mut self, ruling: Ruling, why: Why) {
        let rest = std::mem::replace(&mut self.rest, AddressSet::empty());
        self.decide(rest, ruling, why);
    }
}

impl World {
    /// Asks a host endpoint's policy of one stage.
    pub(super) fn ask_endpoint(
        &self,
        node: usize,
        endpoint: Option<usize>,
        stage: Stage,
        direction: Direction,
        header: &Header,
    ) -> Vec<Piece> {
        let mut asked = Undecided {
            header,
            rest: header.sources.clone(),
            pieces: Vec::new(),
        };
        let unread = |kinds: &[&'static str]| kinds.iter().copied().find(|kind| self.unread(kind).is_some());
        if let Some(why) = unread(&["HostEndpoint"]) {
            asked.decide_rest(Ruling::Unknown, Why::Unread(why));
            return asked.pieces;
        }
        let Some(endpoint) = endpoint else {
            asked.decide_rest(Ruling::Nothing, Why::NoEndpoint);
            return asked.pieces;
        };
        if let Some(why) = unread(&["GlobalNetworkPolicy", "FelixConfiguration"]) {
            asked.decide_rest(Ruling::Unknown, Why::Unread(why));
            return asked.pieces;
        }
        if stage != Stage::Forward {
            self.failsafes(node, direction, stage == Stage::Untracked, &mut asked);
        }
        let stages = self.stages(endpoint);
        let lists = match stage {
            Stage::Untracked => &stages.untracked,
            Stage::PreDnat => &stages.pre_dnat,
            Stage::Normal => &stages.normal,
            Stage::Forward => &stages.forward,
        };
        self.tiers(lists, direction, &mut asked);
        match stage {
            Stage::Forward if lists.is_empty() => asked.decide_rest(Ruling::Accept, Why::NoForwardPolicy),
            Stage::Normal => {
                let profiles = &self.applied[self.endpoints[endpoint].applied].profiles;
                self.profiles(profiles, direction, &mut asked);
            }
            _ => asked.decide_rest(Ruling::Nothing, Why::NoRule),
        }
        asked.pieces
    }

    /// Asks a pod's policy; it always accepts or drops.
    pub(super) fn ask_pod(&self, pod: usize, direction: Direction, header: &Header) -> Vec<Piece> {
        let mut asked = Undecided {
            header,
            rest: header.sources.clone(),
            pieces: Vec::new(),
        };
        let felix = &self.nodes[self.pods[pod].node].felix;
        if let Some(why) = self.pod_policy_unread() {
            asked.decide_rest(Ruling::Unknown, Why::Unread(why));
            return asked.pieces;
        }
        let tunnel = (header.protocol == 17 && header.port == Some(felix.vxlan_port) && !felix.pods_may_vxlan)
            || (header.protocol == 4 && !felix.pods_may_ipip);
        if direction == Direction::Egress && tunnel {
            asked.decide_rest(Ruling::Drop, Why::PodTunnel);
        }
        let applied = &self.applied[self.pods[pod].applied];
        self.tiers(&self.stages[applied.stages].normal, direction, &mut asked);
        self.profiles(&applied.profiles, direction, &mut asked);
        asked.pieces
    }

    /// A kind that was not read and that pods' policy depends on.
    pub(super) fn pod_policy_unread(&self) -> Option<&'static str> {
        let kinds = [
            "GlobalNetworkPolicy",
            "NetworkPolicy",
            "KubernetesNetworkPolicy",
            "Profile",
            "Namespace",
        ];
        kinds.into_iter().find(|kind| self.unread(kind).is_some())
    }

    /// `felix/rules/static.go` failsafeInChain and failsafeOutChain: the destination's address inbound, and the
    /// source's outbound, are never looked at.
    fn failsafes(&self, node: usize, direction: Direction, raw: bool, asked: &mut Undecided<'_>) {
        let felix = &self.nodes[node].felix;
        let header = asked.header;
        let (own, other) = match direction {
            Direction::Ingress => (&felix.inbound, &felix.outbound),
            Direction::Egress => (&felix.outbound, &felix.inbound),
        };
        let replies = other.iter().filter(|_| raw).map(|f| (f, header.source_port));
        for (failsafe, port) in own.iter().map(|f| (f, header.port)).chain(replies) {
            let Failsafe {
                protocol,
                port: at,
                net,
            } = failsafe;
            if *protocol != header.protocol || port != Some(*at) {
                continue;
            }
            let hit = match (net, direction) {
                (None, _) => asked.rest.clone(),
                (Some(net), Direction::Ingress) => asked.rest.intersect(net),
                (Some(net), Direction::Egress) if net.contains(header.destination) => asked.rest.clone(),
                (Some(_), Direction::Egress) => AddressSet::empty(),
            };
            asked.rest = asked.rest.minus(&hit);
            asked.decide(hit, Ruling::Pass, Why::Failsafe(*at));
        }
    }

    fn tiers(&self, lists: &Lists, direction: Direction, asked: &mut Undecided<'_>) {
        // Where a tier stands among the others is part of what was not read.
        if lists.of(direction).iter().any(|run| !self.tiers[run.tier].known) {
            return asked.decide_rest(Ruling::Unknown, Why::Unread("Tier"));
        }
        for run in lists.of(direction) {
            if asked.rest.is_empty() {
                return;
            }
            let passed = self.tier(run, direction, asked);
            if run.denies {
                asked.decide_rest(Ruling::Drop, Why::EndOfTier(run.tier));
            }
            asked.rest = asked.rest.union(&passed);
        }
    }

    /// Runs the policies of a tier; returns what they pass to the next one.
    fn tier(&self, run: &TierRun, direction: Direction, asked: &mut Undecided<'_>) -> AddressSet {
        let mut passed = AddressSet::empty();
        let index = run
            .index
            .get_or_init(|| RuleIndex::new(&run.policies, &self.policies, direction));
        for (policy, place) in index.candidates(asked.header.port) {
            if asked.rest.is_empty() {
                return passed;
            }
            let rule = &self.policies[policy].rules(direction).unwrap_or_default()[place];
            let Some(hit) = match_rule(rule, asked) else { continue };
            let why = Why::Rule(policy, direction, place);
            match rule.action {
                Action::Allow => asked.decide(hit, Ruling::Accept, why),
                Action::Deny => asked.decide(hit, Ruling::Drop, why),
                Action::Pass => passed = passed.union(&hit),
                Action::Log => {}
            }
        }
        passed
    }

    fn profiles(&self, profiles: &[usize], direction: Direction, asked: &mut Undecided<'_>) {
        for number in profiles {
            if asked.rest.is_empty() {
                return;
            }
            let Some(rules) = &self.profiles[*number].rules else {
                if let Some(why) = ["Profile", "Namespace"]
                    .into_iter()
                    .find(|kind| self.unread(kind).is_some())
                {
                    return asked.decide_rest(Ruling::Unknown, Why::Unread(why));
                }
                // A stand-in that denies (`felix/calc/active_rules_calculator.go`).
                asked.decide_rest(Ruling::Drop, Why::MissingProfile(*number));
                return;
            };
            let rules = match direction {
                Direction::Ingress => &rules.ingress,
                Direction::Egress => &rules.egress,
            };
            // A pass ends the profile: there is no tier to go on to.
            let mut passed = AddressSet::empty();
            for (index, rule) in rules.iter().enumerate() {
                let Some(hit) = match_rule(rule, asked) else { continue };
                let why = Why::Profile(*number, direction, index);
                match rule.action {
                    Action::Allow => asked.decide(hit, Ruling::Accept, why),
                    Action::Deny => asked.decide(hit, Ruling::Drop, why),
                    Action::Pass => passed = passed.union(&hit),
                    Action::Log => {}
                }
            }
            asked.rest = asked.rest.union(&passed);
        }
        asked.decide_rest(Ruling::Drop, Why::NoProfile);
    }
}

/// The sources that the rule matches; what it matches for sure leaves the rest, what it may match stays in it too.
fn match_rule(rule: &Rule, asked: &mut Undecided<'_>) -> Option<AddressSet> {
    if rule.action == Action::Log {
        return None;
    }
    let conditions = rule.of(asked.header.family)?;
    let (sure, possible) = matched(conditions, asked.header, &asked.rest)?;
    asked.rest = asked.rest.minus(&sure);
    Some(possible)
}

/// Which of the sources match for sure, and which may; `None` when none can.
fn matched(conditions: &Conditions, header: &Header, rest: &AddressSet) -> Option<(AddressSet, AddressSet)> {
    if !conditions.admits(header.protocol, header.icmp) {
        return None;
    }
    let mut sure = !conditions.uncertain();
    match conditions.destination.satisfied(header.protocol, header.port) {
        Satisfied::Any => {}
        Satisfied::Never => return None,
        Satisfied::Within(area) if !area.possible.contains(header.destination) => return None,
        Satisfied::Within(area) => sure &= area.sure.contains(header.destination),
        Satisfied::Computed(area) if !area.possible.contains(header.destination) => return None,
        Satisfied::Computed(area) => sure &= area.sure.contains(header.destination),
    }
    let computed;
    let area = match conditions.source.satisfied(header.protocol, header.source_port) {
        Satisfied::Any => None,
        Satisfied::Never => return None,
        Satisfied::Within(area) => Some(area),
        Satisfied::Computed(area) => {
            computed = area;
            Some(&computed)
        }
    };
    let possible = area.map_or_else(|| rest.clone(), |area| rest.intersect(&area.possible));
    if possible.is_empty() {
        return None;
    }
    let sure = match (sure, area) {
        (false, _) => AddressSet::empty(),
        (true, None) => possible.clone(),
        (true, Some(area)) => possible.intersect(&area.sure),
    };
    Some((sure, possible))
}
