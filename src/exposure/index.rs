//! Which rules of a tier can match a port, without looking at all of them.

use std::collections::BTreeMap;

use super::rules::{Conditions, Rule};
use super::verdict::Direction;
use super::world::Policy;
use crate::net::Family;

/// Rules, as policy and place in it, in the order in which they are asked.
#[derive(Debug)]
pub(super) struct RuleIndex {
    rules: Vec<(usize, usize)>,
    /// Rules that only match these ports.
    by_port: BTreeMap<u16, Vec<usize>>,
    /// Rules that are tried for any.
    wide: Vec<usize>,
}

/// A rule with more ports than this is tried for every port.
const FEW: usize = 64;

impl RuleIndex {
    pub fn new(policies: &[usize], all: &[Policy], direction: Direction) -> Self {
        let mut index = RuleIndex {
            rules: Vec::new(),
            by_port: BTreeMap::new(),
            wide: Vec::new(),
        };
        for policy in policies {
            for (place, rule) in all[*policy].rules(direction).unwrap_or_default().iter().enumerate() {
                let number = index.rules.len();
                index.rules.push((*policy, place));
                match few_ports(rule) {
                    Some(ports) => {
                        for port in ports {
                            index.by_port.entry(port).or_default().push(number);
                        }
                    }
                    None => index.wide.push(number),
                }
            }
        }
        index
    }

    /// Rules that may match a packet to that port, in order; `None` for protocols without ports.
    pub fn candidates(&self, port: Option<u16>) -> impl Iterator<Item = (usize, usize)> {
        let narrow = port
            .and_then(|port| self.by_port.get(&port))
            .map_or(&[][..], Vec::as_slice);
        let (mut i, mut j) = (0, 0);
        std::iter::from_fn(move || {
            let next = match (narrow.get(i), self.wide.get(j)) {
                (Some(a), Some(b)) if a < b => *a,
                (Some(a), None) => *a,
                (_, Some(b)) => {
                    j += 1;
                    return Some(self.rules[*b]);
                }
                (None, None) => return None,
            };
            i += 1;
            Some(self.rules[next])
        })
    }
}

/// The ports outside of which the rule never matches, when there are few of them.
fn few_ports(rule: &Rule) -> Option<Vec<u16>> {
    let families = Family::ALL.into_iter().filter_map(|family| rule.of(family));
    let sets: Vec<Option<Vec<u16>>> = families.map(few).collect();
    if sets.is_empty() {
        return Some(Vec::new());
    }
    let mut all: Vec<u16> = sets.into_iter().collect::<Option<Vec<_>>>()?.concat();
    all.sort_unstable();
    all.dedup();
    Some(all)
}

fn few(conditions: &Conditions) -> Option<Vec<u16>> {
    let ports = conditions.destination.ports.as_ref()?;
    if !ports.names.is_empty() {
        return None;
    }
    let ranges = ports.numbers.ranges();
    let count: usize = ranges.iter().map(|(low, high)| usize::from(high - low) + 1).sum();
    (count <= FEW).then(|| ranges.iter().flat_map(|(low, high)| *low..=*high).collect())
}
