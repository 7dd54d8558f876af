//! Whether a policy, or one of its rules, does anything: told from what every endpoint asks, not from samples of packets.
//!
//! A policy does nothing when each list of policies that holds it gives every packet the same without it. What cannot be
//! told that way counts as an effect, so "does nothing" is sure and its opposite is not. Policies are looked at in turn,
//! the last to be asked first, and one that does nothing is taken to be gone for the next: all of those named can be
//! deleted together.

use std::collections::{BTreeMap, BTreeSet};

use super::chain::{Chain, Effort, Last, Outcome, Shadow};
use super::facts::Dataplane;
use super::rules::{Action, Conditions};
use super::verdict::{Direction, PolicyName, RuleRef};
use super::world::{Lists, Node, PolicyStage, World};
use crate::net::Family;

/// Why a policy or a rule does nothing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Idle {
    /// Its selector matches no host endpoint and no pod.
    SelectsNothing,
    /// It matches pods alone, and pods are not asked about policy of that stage.
    SelectsPodsOnly,
    /// It only allows, before DNAT, where what nobody decides goes on anyway.
    AllowsOnly,
    /// Every packet fares the same without it.
    ChangesNothing,
    /// None of its rules is ever reached.
    NeverReached(Blocker),
    /// That rule is never reached; others of the policy are.
    RuleNeverReached(RuleRef, Blocker),
}

/// What decides before a rule is reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Blocker {
    Rule(RuleRef),
    EndOfTier(String),
}

/// What was found of some policies.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Idleness {
    pub idle: Vec<(PolicyName, Idle)>,
    /// Policies that were not looked at: with so many rules it would take too long.
    pub not_asked: Vec<PolicyName>,
}

/// Comparisons of two rules that may be made, some seconds' worth.
const COMPARISONS: u64 = 20_000_000;

/// What may be unread without changing what policies do.
const WITHOUT_POLICY: [&str; 3] = ["IPPool", "EndpointSlice", "Service"];

/// Those of these policies that do nothing. Nothing is said of a world of which too little is known.
pub fn idle(world: &World, policies: &BTreeSet<PolicyName>) -> Idleness {
    let unread = world.unread.keys().any(|kind| !WITHOUT_POLICY.contains(&kind.as_str()));
    if unread || world.nodes.is_empty() || world.dataplanes.contains(&Dataplane::Ebpf) {
        return Idleness::default();
    }
    let judge = Judge {
        world,
        effort: Effort::new(COMPARISONS),
        asked_at: Place::of_policies(world),
    };
    let mut found = Idleness::default();
    let mut without = BTreeSet::new();
    let asked = |place: &usize| policies.contains(&world.policies[*place].name);
    let places: Vec<usize> = (0..world.policies.len()).rev().filter(asked).collect();
    for place in &places {
        let name = &world.policies[*place].name;
        if let Some(why) = judge.policy(*place, &without) {
            without.insert(*place);
            found.idle.push((name.clone(), why));
        } else if judge.effort.is_spent() {
            found.not_asked.push(name.clone());
        }
    }
    for place in places.iter().filter(|place| !without.contains(place)) {
        let rules = judge.rules(*place, &without);
        found
            .idle
            .extend(rules.into_iter().map(|why| (world.policies[*place].name.clone(), why)));
    }
    found.idle.sort();
    found.not_asked.sort();
    found
}

/// A list of policies, at every kind of endpoint that asks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    applied: usize,
    stage: PolicyStage,
    direction: Direction,
}

impl Place {
    /// The lists that are asked, each once.
    fn all(world: &World) -> BTreeSet<Place> {
        let stages = [
            PolicyStage::Untracked,
            PolicyStage::PreDnat,
            PolicyStage::Normal,
            PolicyStage::Forward,
        ];
        let of_endpoints = world
            .endpoints
            .iter()
            .flat_map(|e| stages.map(|stage| (e.applied, stage)));
        let of_pods = world.pods.iter().map(|pod| (pod.applied, PolicyStage::Normal));
        let both = of_endpoints.chain(of_pods).flat_map(|(applied, stage)| {
            [Direction::Ingress, Direction::Egress].map(|direction| Place {
                applied,
                stage,
                direction,
            })
        });
        both.collect()
    }

    fn lists<'w>(&self, world: &'w World) -> &'w Lists {
        let stages = &world.stages[world.applied[self.applied].stages];
        match self.stage {
            PolicyStage::Untracked => &stages.untracked,
            PolicyStage::PreDnat => &stages.pre_dnat,
            PolicyStage::Normal => &stages.normal,
            PolicyStage::Forward => &stages.forward,
        }
    }

    fn of_policies(world: &World) -> BTreeMap<usize, Vec<Place>> {
        let mut found: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
        for place in Place::all(world) {
            let runs = place.lists(world).of(place.direction).iter();
            for policy in runs.flat_map(|run| &run.policies) {
                found.entry(*policy).or_default().push(place);
            }
        }
        found
    }
}

struct Judge<'w> {
    world: &'w World,
    effort: Effort,
    /// The lists that hold a policy.
    asked_at: BTreeMap<usize, Vec<Place>>,
}

impl<'w> Judge<'w> {
    fn chain<'c>(&'c self, place: &Place, without: &'c BTreeSet<usize>) -> Chain<'c> {
        let lists = place.lists(self.world);
        let last = match place.stage {
            PolicyStage::Untracked | PolicyStage::PreDnat => Last::Is(Outcome::Nothing),
            PolicyStage::Normal => Last::Profiles(&self.world.applied[place.applied].profiles),
            PolicyStage::Forward if all_gone(lists, without) => Last::Is(Outcome::Accept),
            PolicyStage::Forward => Last::Is(Outcome::Nothing),
        };
        Chain {
            world: self.world,
            runs: lists.of(place.direction),
            direction: place.direction,
            last,
            without,
            effort: &self.effort,
        }
    }

    fn holding<'c>(&'c self, policy: usize, without: &'c BTreeSet<usize>) -> Vec<(Place, Chain<'c>)> {
        let places = self.asked_at.get(&policy).into_iter().flatten();
        places.map(|place| (*place, self.chain(place, without))).collect()
    }

    /// Why the policy does nothing; `None` where it does something or that cannot be told.
    fn policy(&self, policy: usize, without: &BTreeSet<usize>) -> Option<Idle> {
        let holding = self.holding(policy, without);
        if holding.is_empty() {
            return Some(self.unasked(policy));
        }
        let same = holding.iter().all(|(place, chain)| {
            self.same_shape(place, policy, without) && self.same_in(place, chain, policy, without)
        });
        same.then(|| self.why(policy, &holding))
    }

    /// A policy that no endpoint asks.
    fn unasked(&self, policy: usize) -> Idle {
        let selects_pods = self.world.pods.iter().any(|pod| {
            let stages = &self.world.stages[self.world.applied[pod.applied].stages];
            let lists = [&stages.untracked, &stages.pre_dnat];
            let mut runs = lists
                .into_iter()
                .flat_map(|list| list.ingress.iter().chain(&list.egress));
            runs.any(|run| run.policies.contains(&policy))
        });
        if selects_pods {
            Idle::SelectsPodsOnly
        } else {
            Idle::SelectsNothing
        }
    }

    /// Whether the list stays what it is for those who only look whether there is anything in it: a host endpoint
    /// without pre-DNAT policy leaves its interface to `*`, one without forward policy lets everything through.
    fn same_shape(&self, place: &Place, policy: usize, without: &BTreeSet<usize>) -> bool {
        let emptied = {
            let mut gone = without.clone();
            gone.insert(policy);
            all_gone(place.lists(self.world), &gone)
        };
        match place.stage {
            PolicyStage::Forward => !emptied,
            PolicyStage::PreDnat => !emptied || !self.shields(place.applied),
            PolicyStage::Untracked | PolicyStage::Normal => true,
        }
    }

    /// Whether a `*` host endpoint may stand behind a named one of that kind.
    fn shields(&self, applied: usize) -> bool {
        let of_kind = |endpoint: &usize| self.world.endpoints[*endpoint].applied == applied;
        self.neighbours().iter().any(|(endpoints, star)| {
            let named = endpoints.iter().filter(|e| Some(**e) != *star);
            (star.is_some() || endpoints.len() > 1) && named.into_iter().any(of_kind)
        })
    }

    /// Host endpoints by node, and the `*` among them; those of machines that are no nodes are taken together.
    fn neighbours(&self) -> Vec<(Vec<usize>, Option<usize>)> {
        let nodes = self.world.nodes.iter();
        let mut groups: Vec<(Vec<usize>, Option<usize>)> = nodes
            .map(|node| (node.endpoints.iter().copied().chain(node.star).collect(), node.star))
            .collect();
        let known: BTreeSet<usize> = groups.iter().flat_map(|(all, _)| all.iter().copied()).collect();
        let others = (0..self.world.endpoints.len()).filter(|e| !known.contains(e));
        groups.push((others.collect(), None));
        groups
    }

    fn same_in(&self, place: &Place, chain: &Chain<'_>, policy: usize, without: &BTreeSet<usize>) -> bool {
        Family::ALL.into_iter().all(|family| {
            let rules = self.world.policies[policy].rules(place.direction).unwrap_or_default();
            let each = rules.iter().enumerate().all(|(number, rule)| {
                let Some(conditions) = rule.of(family) else { return true };
                let shadowed = || chain.shadow(&conditions.widened(), family, policy, number).is_some();
                let later = place.stage == PolicyStage::PreDnat && rule.action == Action::Allow && {
                    self.accepted_later(place.applied, conditions, family, without)
                };
                shadowed() || chain.same_without(policy, rule, family, later)
            });
            each && chain.same_for_others(policy, family)
        })
    }

    /// Whether packets that pre-DNAT policy accepts would be accepted by all that asks host endpoints later on, wherever
    /// they are translated to: an accepted packet skips normal policy, and forward policy of where it came in.
    fn accepted_later(
        &self,
        applied: usize,
        conditions: &Conditions,
        family: Family,
        without: &BTreeSet<usize>,
    ) -> bool {
        let returns = |node: &Node| node.felix.dataplanes.iter().any(|d| node.felix.accept_returns(*d));
        if self.world.nodes.iter().any(returns) {
            return false; // what was accepted early is left to the node's own rules, past failsafe ports
        }
        let anywhere = conditions.widened().to_anywhere();
        let groups = self.neighbours();
        let here = groups.iter().filter(|(endpoints, _)| {
            let mut all = endpoints.iter();
            all.any(|endpoint| self.world.endpoints[*endpoint].applied == applied)
        });
        let kinds: BTreeSet<usize> = here
            .flat_map(|(endpoints, _)| endpoints.iter().map(|e| self.world.endpoints[*e].applied))
            .collect();
        kinds.into_iter().all(|applied| {
            [PolicyStage::Normal, PolicyStage::Forward].into_iter().all(|stage| {
                let place = Place {
                    applied,
                    stage,
                    direction: Direction::Ingress,
                };
                let accepted = |outcome| outcome == Outcome::Accept;
                self.chain(&place, without).whole(&anywhere, family, &accepted)
            })
        })
    }

    fn why(&self, policy: usize, holding: &[(Place, Chain<'_>)]) -> Idle {
        let of = &self.world.policies[policy];
        let rules = of.ingress.iter().chain(&of.egress).flatten();
        let mut shadows = Vec::new();
        let mut all = rules.clone().count() > 0;
        let allows_only = all && rules.clone().all(|rule| rule.action == Action::Allow);
        for (place, chain) in holding {
            for number in 0..of.rules(place.direction).map_or(0, <[_]>::len) {
                match self.shadow(place, chain, policy, number) {
                    Some(shadow) => shadows.push((shadow, place.direction)),
                    None => all = false,
                }
            }
        }
        let other = |shadow: &&(Shadow, Direction)| !matches!(shadow.0, Shadow::Rule(by, _) if by == policy);
        match shadows.iter().find(other) {
            Some((shadow, direction)) if all => Idle::NeverReached(self.blocker(*shadow, *direction)),
            _ if of.stage == PolicyStage::PreDnat && allows_only => Idle::AllowsOnly,
            _ => Idle::ChangesNothing,
        }
    }

    /// What shadows a rule in a chain, in each family that has it.
    fn shadow(&self, place: &Place, chain: &Chain<'_>, policy: usize, number: usize) -> Option<Shadow> {
        let rule = &self.world.policies[policy].rules(place.direction)?[number];
        let mut first = None;
        for family in Family::ALL {
            if let Some(conditions) = rule.of(family) {
                let shadow = chain.shadow(&conditions.widened(), family, policy, number)?;
                first.get_or_insert(shadow);
            }
        }
        first
    }

    /// Rules of a policy that does something which no packet ever comes to.
    fn rules(&self, policy: usize, without: &BTreeSet<usize>) -> Vec<Idle> {
        let holding = self.holding(policy, without);
        let mut by_rule: BTreeMap<(Direction, usize), Vec<Option<Shadow>>> = BTreeMap::new();
        for (place, chain) in &holding {
            for number in 0..self.world.policies[policy].rules(place.direction).map_or(0, <[_]>::len) {
                let shadow = self.shadow(place, chain, policy, number);
                by_rule.entry((place.direction, number)).or_default().push(shadow);
            }
        }
        let never = |((direction, index), shadows): ((Direction, usize), Vec<Option<Shadow>>)| {
            let all: Option<Vec<Shadow>> = shadows.into_iter().collect();
            let shadow = *all?.first()?;
            let rule = self.rule(policy, direction, index);
            Some(Idle::RuleNeverReached(rule, self.blocker(shadow, direction)))
        };
        by_rule.into_iter().filter_map(never).collect()
    }

    fn rule(&self, policy: usize, direction: Direction, index: usize) -> RuleRef {
        RuleRef {
            policy: self.world.policies[policy].name.clone(),
            direction,
            index,
        }
    }

    fn blocker(&self, shadow: Shadow, direction: Direction) -> Blocker {
        match shadow {
            Shadow::Rule(policy, index) => Blocker::Rule(self.rule(policy, direction, index)),
            Shadow::EndOfTier(tier) => Blocker::EndOfTier(self.world.tiers[tier].name.clone()),
        }
    }
}

fn all_gone(lists: &Lists, gone: &BTreeSet<usize>) -> bool {
    let mut runs = lists.ingress.iter().chain(&lists.egress);
    runs.all(|run| run.policies.iter().all(|policy| gone.contains(policy)))
}
