//! Which addresses a selector stands for.
//!
//! Endpoints and network sets with their labels, their own and inherited ones; a term list evaluated on them; named
//! ports. Where a kind of member was not read, the answer has a sure and a possible part.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use crate::net::{AddressSet, Cidr};
use crate::selector::{self, Selector};
use crate::state::Labels;

/// Addresses that are members for sure, and those that may be; the second holds the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Area {
    pub sure: AddressSet,
    pub possible: AddressSet,
}

impl Area {
    pub fn exact(set: AddressSet) -> Area {
        Area {
            possible: set.clone(),
            sure: set,
        }
    }

    pub fn intersect(&self, other: &Area) -> Area {
        Area {
            sure: self.sure.intersect(&other.sure),
            possible: self.possible.intersect(&other.possible),
        }
    }

    pub fn minus(&self, other: &Area) -> Area {
        Area {
            sure: self.sure.minus(&other.possible),
            possible: self.possible.minus(&other.sure),
        }
    }

    pub fn union(&self, other: &Area) -> Area {
        Area {
            sure: self.sure.union(&other.sure),
            possible: self.possible.union(&other.possible),
        }
    }
}

/// A conjunction of selectors, some negated, as Felix joins those of one side of a rule
/// (`felix/calc/rule_scanner.go`, selector and notSelector in one set).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Terms(pub Vec<(bool, Selector)>);

impl Terms {
    pub fn matches(&self, labels: &impl selector::Labels) -> bool {
        self.0
            .iter()
            .all(|(negated, selector)| selector.matches(labels) != *negated)
    }
}

/// A set of labels: an endpoint's own, else those of its profiles in order (`felix/labelindex`).
pub(super) fn inherited(own: Labels, profiles: &[String], of: &BTreeMap<String, Labels>) -> Labels {
    let from: Vec<&Labels> = profiles.iter().filter_map(|profile| of.get(profile)).collect();
    if from.iter().all(|labels| labels.is_empty()) {
        return own;
    }
    // of two values the later counts
    let from = from.iter().rev().flat_map(|labels| labels.iter());
    from.chain(own.iter()).collect()
}

/// A named port of a member.
#[derive(Clone, Debug)]
pub(super) struct PortName {
    pub name: String,
    pub protocol: u8,
    pub port: u16,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Member {
    pub labels: Arc<Labels>,
    pub nets: Vec<Cidr>,
    pub ports: Vec<PortName>,
}

/// Where a name of a port stands for which port.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct NamedPort {
    /// Protocol and port to addresses.
    found: BTreeMap<(u8, u16), AddressSet>,
    /// Where members may be that were not read, with any port.
    elsewhere: AddressSet,
}

impl NamedPort {
    pub fn at(&self, protocol: u8, port: u16) -> Area {
        let sure = self
            .found
            .get(&(protocol, port))
            .cloned()
            .unwrap_or_else(AddressSet::empty);
        let possible = sure.union(&self.elsewhere);
        Area { sure, possible }
    }

    pub fn addresses(&self) -> impl Iterator<Item = &AddressSet> {
        self.found.values()
    }

    /// The ports that it stands for somewhere.
    pub fn ports(&self) -> impl Iterator<Item = (u8, u16)> {
        self.found.keys().copied()
    }
}

/// All members, with answers remembered.
pub(super) struct Members {
    list: Vec<Member>,
    /// Where there may be members that were not read.
    elsewhere: AddressSet,
    areas: RefCell<BTreeMap<Terms, Rc<Area>>>,
}

impl Members {
    pub fn new(list: Vec<Member>, elsewhere: AddressSet) -> Members {
        Members {
            list,
            elsewhere,
            areas: RefCell::default(),
        }
    }

    pub fn area(&self, terms: &Terms) -> Rc<Area> {
        if let Some(area) = self.areas.borrow().get(terms) {
            return Rc::clone(area);
        }
        let matching = self.list.iter().filter(|member| terms.matches(&*member.labels));
        let sure = AddressSet::from_cidrs(matching.flat_map(|member| &member.nets));
        let possible = sure.union(&self.elsewhere);
        let area = Rc::new(Area { sure, possible });
        self.areas.borrow_mut().insert(terms.clone(), Rc::clone(&area));
        area
    }

    /// Where members that match serve a port of that name. Network sets have none.
    pub fn named(&self, terms: &Terms, name: &str) -> NamedPort {
        let mut found: BTreeMap<(u8, u16), Vec<Cidr>> = BTreeMap::new();
        for member in self.list.iter().filter(|member| terms.matches(&*member.labels)) {
            for port in member.ports.iter().filter(|port| port.name == name) {
                found
                    .entry((port.protocol, port.port))
                    .or_default()
                    .extend(&member.nets);
            }
        }
        let found = found
            .into_iter()
            .map(|(key, nets)| (key, AddressSet::from_cidrs(&nets)));
        NamedPort {
            found: found.collect(),
            elsewhere: self.elsewhere.clone(),
        }
    }
}
