//! One list of policies as an endpoint asks it, and what of it can be left out without any packet noticing.
//!
//! Works on rules alone and not on samples: it says "never reached" or "the same without it" only where each packet
//! that the rule may match is covered by what comes before, or gets the same from what comes after. Anything it cannot
//! tell counts as an effect.

use std::cell::Cell;
use std::collections::BTreeSet;

use super::rules::{Action, Conditions, Rule};
use super::verdict::Direction;
use super::world::{TierRun, World};
use crate::net::Family;

/// What becomes of packets in a chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Accept,
    Drop,
    Nothing,
}

/// What becomes of packets that no tier decides.
#[derive(Clone, Copy, Debug)]
pub(super) enum Last<'w> {
    Is(Outcome),
    Profiles(&'w [usize]),
}

/// What keeps packets from a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Shadow {
    /// Policy and rule, by place.
    Rule(usize, usize),
    EndOfTier(usize),
}

/// Comparisons of rules that may still be made.
pub(super) struct Effort(Cell<u64>);

impl Effort {
    pub fn new(comparisons: u64) -> Effort {
        Effort(Cell::new(comparisons))
    }

    pub fn is_spent(&self) -> bool {
        self.0.get() == 0
    }

    fn spend(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        !self.is_spent()
    }
}

pub(super) struct Chain<'w> {
    pub world: &'w World,
    pub runs: &'w [TierRun],
    pub direction: Direction,
    pub last: Last<'w>,
    /// Policies that are taken to be gone.
    pub without: &'w BTreeSet<usize>,
    pub effort: &'w Effort,
}

/// What is asked of an outcome.
pub(super) type Wanted<'a> = &'a dyn Fn(Outcome) -> bool;

impl<'w> Chain<'w> {
    fn rules(&self, policy: usize) -> &'w [Rule] {
        let gone = self.without.contains(&policy);
        let rules = self.world.policies[policy].rules(self.direction).filter(|_| !gone);
        rules.unwrap_or_default()
    }

    /// Whether a tier drops what none of its policies decides, with or without one more policy gone.
    fn denies(&self, run: &TierRun, gone: Option<usize>) -> bool {
        let counts = |policy: &usize| {
            Some(*policy) != gone && !self.without.contains(policy) && !self.world.policies[*policy].staged
        };
        run.denies && run.policies.iter().any(counts)
    }

    /// The run and the place in it of a policy.
    pub fn find(&self, policy: usize) -> Option<(usize, usize)> {
        let place = |run: &TierRun| run.policies.iter().position(|other| *other == policy);
        self.runs.iter().enumerate().find_map(|(i, run)| Some((i, place(run)?)))
    }

    /// What lets no packet of `wanted` come to the rule at that place of a policy of the chain; a rule by itself, or the
    /// first of several that do it together.
    pub fn shadow(&self, wanted: &Conditions, family: Family, policy: usize, rule: usize) -> Option<Shadow> {
        let (at, place) = self.find(policy)?;
        let mut deciding: Vec<(Shadow, &Conditions)> = Vec::new();
        for run in &self.runs[..at] {
            let mut passes = false;
            'tier: for earlier in &run.policies {
                for (index, rule) in self.rules(*earlier).iter().enumerate() {
                    let Some(conditions) = rule.of(family).filter(|_| rule.action != Action::Log) else {
                        continue;
                    };
                    if !self.effort.spend() {
                        return None;
                    }
                    if rule.action == Action::Pass && !conditions.apart(wanted) {
                        passes = true;
                        break 'tier;
                    }
                    if rule.action != Action::Pass {
                        deciding.push((Shadow::Rule(*earlier, index), conditions));
                    }
                }
            }
            if !passes && self.denies(run, None) {
                let by = deciding.iter().find(|(_, conditions)| conditions.covers(wanted));
                return Some(by.map_or(Shadow::EndOfTier(run.tier), |(shadow, _)| *shadow));
            }
        }
        for earlier in &self.runs[at].policies[..=place] {
            let rules = self.rules(*earlier);
            let before = if *earlier == policy {
                &rules[..rule.min(rules.len())]
            } else {
                rules
            };
            for (index, rule) in before.iter().enumerate().filter(|(_, rule)| rule.action != Action::Log) {
                deciding.extend(
                    rule.of(family)
                        .map(|conditions| (Shadow::Rule(*earlier, index), conditions)),
                );
            }
        }
        self.covering(&deciding, wanted, family)
    }

    fn covering(&self, deciding: &[(Shadow, &Conditions)], wanted: &Conditions, family: Family) -> Option<Shadow> {
        for (shadow, conditions) in deciding {
            if !self.effort.spend() {
                return None;
            }
            if conditions.covers(wanted) {
                return Some(*shadow);
            }
        }
        let all: Vec<&Conditions> = deciding.iter().map(|(_, conditions)| *conditions).collect();
        let together = Conditions::all_cover(&all, wanted, family);
        let first = deciding.iter().find(|(_, conditions)| !conditions.apart(wanted));
        first.filter(|_| together).map(|(shadow, _)| *shadow)
    }

    /// Whether the rule of a policy does to every packet what would be done to it if the whole policy were gone. A
    /// packet that is accepted may as well be left alone where `accept_is_nothing`.
    pub fn same_without(&self, policy: usize, rule: &Rule, family: Family, accept_is_nothing: bool) -> bool {
        let (Some(wanted), Some((at, place))) = (rule.of(family), self.find(policy)) else {
            return true;
        };
        let wanted = &wanted.widened();
        let (run, rest) = (&self.runs[at], &self.runs[at].policies[place + 1..]);
        let denies = self.denies(run, Some(policy));
        let after = |accepted: Wanted<'_>| self.always(wanted, family, rest, denies, at + 1, accepted);
        match rule.action {
            Action::Log => false,
            Action::Allow => {
                after(&|outcome| outcome == Outcome::Accept || (accept_is_nothing && outcome == Outcome::Nothing))
            }
            Action::Deny => after(&|outcome| outcome == Outcome::Drop),
            Action::Pass => {
                let nothing_there = !denies && self.none_meets(wanted, family, rest);
                let same = |one: Outcome| {
                    let accepted = |outcome| outcome == one;
                    self.onward(wanted, family, at + 1, &accepted) && after(&accepted)
                };
                nothing_there || [Outcome::Accept, Outcome::Drop, Outcome::Nothing].into_iter().any(same)
            }
        }
    }

    /// Whether what none of the policy's rules matches fares the same when the policy is gone.
    pub fn same_for_others(&self, policy: usize, family: Family) -> bool {
        let Some((at, _)) = self.find(policy) else { return true };
        let run = &self.runs[at];
        let (with, gone) = (self.denies(run, None), self.denies(run, Some(policy)));
        let any = Conditions::any();
        with == gone
            || self.shadow(&any, family, policy, usize::MAX).is_some()
            || self.onward(&any, family, at + 1, &|outcome| outcome == Outcome::Drop)
    }

    fn none_meets(&self, wanted: &Conditions, family: Family, policies: &[usize]) -> bool {
        let mut rules = policies.iter().flat_map(|policy| self.rules(*policy));
        rules.all(|rule| rule.of(family).is_none_or(|conditions| conditions.apart(wanted)))
    }

    /// Whether every packet of `wanted` fares as accepted from the first run on.
    pub fn whole(&self, wanted: &Conditions, family: Family, accepted: Wanted<'_>) -> bool {
        self.onward(wanted, family, 0, accepted)
    }

    fn onward(&self, wanted: &Conditions, family: Family, run: usize, accepted: Wanted<'_>) -> bool {
        match self.runs.get(run) {
            Some(next) => {
                let denies = self.denies(next, None);
                self.always(wanted, family, &next.policies, denies, run + 1, accepted)
            }
            None => match self.last {
                Last::Is(outcome) => accepted(outcome),
                Last::Profiles(profiles) => self.profiles(wanted, family, profiles, accepted),
            },
        }
    }

    /// Whether every packet of `wanted` that comes to these policies, and then to later tiers, fares as accepted.
    fn always(
        &self,
        wanted: &Conditions,
        family: Family,
        policies: &[usize],
        denies: bool,
        next: usize,
        accepted: Wanted<'_>,
    ) -> bool {
        let mut known = None;
        let mut onward = || *known.get_or_insert_with(|| self.onward(wanted, family, next, accepted));
        for rule in policies.iter().flat_map(|policy| self.rules(*policy)) {
            let Some(conditions) = rule.of(family).filter(|_| rule.action != Action::Log) else {
                continue;
            };
            if !self.effort.spend() {
                return false;
            }
            if conditions.apart(wanted) {
                continue;
            }
            let fits = match rule.action {
                Action::Allow => accepted(Outcome::Accept),
                Action::Deny => accepted(Outcome::Drop),
                Action::Pass | Action::Log => onward(),
            };
            if !fits || conditions.covers(wanted) {
                return fits;
            }
        }
        if denies { accepted(Outcome::Drop) } else { onward() }
    }

    /// The same of profiles. One that passes, or was not read, is not followed.
    fn profiles(&self, wanted: &Conditions, family: Family, profiles: &[usize], accepted: Wanted<'_>) -> bool {
        for profile in profiles {
            let Some(rules) = &self.world.profiles[*profile].rules else {
                return accepted(Outcome::Drop);
            };
            let rules = match self.direction {
                Direction::Ingress => &rules.ingress,
                Direction::Egress => &rules.egress,
            };
            for rule in rules {
                let Some(conditions) = rule.of(family).filter(|c| !c.apart(wanted)) else {
                    continue;
                };
                let fits = match rule.action {
                    Action::Log => continue,
                    Action::Allow => accepted(Outcome::Accept),
                    Action::Deny => accepted(Outcome::Drop),
                    Action::Pass => false,
                };
                if !fits || conditions.covers(wanted) {
                    return fits;
                }
            }
        }
        accepted(Outcome::Drop)
    }
}
