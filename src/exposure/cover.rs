//! Whether one rule matches all that another does, or nothing of it, told from the two alone.
//!
//! Each answer is sure or not given: names of ports, members that were not read and conditions that are not modelled
//! count against it.

use super::members::Area;
use super::rules::{Conditions, Ports, Side};
use crate::net::{AddressSet, Family, PortSet};

impl Side {
    fn any() -> Side {
        Side {
            area: None,
            ports: None,
            not_ports: None,
        }
    }

    /// A side whose members come and go may be empty just now: it is taken for any address then.
    fn widened(&self) -> Side {
        let empty = self.area.as_ref().is_some_and(|area| area.possible.is_empty());
        Side {
            area: self.area.clone().filter(|_| !empty),
            ports: self.ports.clone(),
            not_ports: self.not_ports.clone(),
        }
    }

    /// Addresses that satisfy the side for sure, whatever the port.
    fn sure(&self) -> AddressSet {
        self.area
            .as_ref()
            .map_or_else(AddressSet::all, |area| area.sure.clone())
    }

    /// No packet satisfies both.
    fn apart(&self, other: &Side) -> bool {
        let areas = |a: &Area, b: &Area| a.possible.first_common(&b.possible).is_none();
        let by_area = matches!((&self.area, &other.area), (Some(a), Some(b)) if areas(a, b));
        let by_port =
            matches!((numbers(&self.ports), numbers(&other.ports)), (Some(a), Some(b)) if a.intersect(b).is_empty());
        by_area || by_port
    }

    /// Each port, with or without a number, that `other` lets satisfy it satisfies this side too.
    fn covers_ports(&self, other: &Side) -> bool {
        let wanted = numbers(&other.ports);
        let left = |of: &PortSet| match &other.not_ports {
            Some(not) => of.minus(&not.numbers),
            None => of.clone(),
        };
        let of_numbers = match (&self.ports, wanted) {
            (None, _) => true,
            (Some(own), Some(wanted)) => left(wanted).minus(&own.numbers).is_empty(),
            (Some(_), None) => false,
        };
        let not_excluded = self.not_ports.as_ref().is_none_or(|not| {
            let all = PortSet::all();
            not.names.is_empty() && left(wanted.unwrap_or(&all)).intersect(&not.numbers).is_empty()
        });
        of_numbers && not_excluded
    }

    fn covers_addresses(&self, other: &Side) -> bool {
        match (&self.area, &other.area) {
            (None, _) => true,
            (Some(own), Some(other)) => other.possible.is_subset(&own.sure),
            (Some(_), None) => false,
        }
    }
}

/// Numbers alone; `None` where any port, or one with a name, may do.
fn numbers(ports: &Option<Ports>) -> Option<&PortSet> {
    let ports = ports.as_ref()?;
    ports.names.is_empty().then_some(&ports.numbers)
}

impl Conditions {
    /// Met by every packet.
    pub fn any() -> Conditions {
        Conditions {
            protocol: None,
            not_protocol: None,
            icmp: None,
            not_icmp: None,
            source: Side::any(),
            destination: Side::any(),
            uncertain: false,
        }
    }

    /// See [`Side::widened`].
    pub fn widened(&self) -> Conditions {
        Conditions {
            source: self.source.widened(),
            destination: self.destination.widened(),
            ..self.clone()
        }
    }

    /// Whoever sends it, wherever it goes once it was translated.
    pub fn to_anywhere(&self) -> Conditions {
        Conditions {
            destination: Side::any(),
            ..self.clone()
        }
    }

    /// No packet meets both.
    pub fn apart(&self, other: &Conditions) -> bool {
        let protocols = matches!((self.protocol, other.protocol), (Some(a), Some(b)) if a != b)
            || (self.protocol.is_some() && self.protocol == other.not_protocol)
            || (other.protocol.is_some() && other.protocol == self.not_protocol);
        protocols || self.source.apart(&other.source) || self.destination.apart(&other.destination)
    }

    /// Every packet that meets `other` meets this, but for its source's address.
    fn covers_but_source(&self, other: &Conditions) -> bool {
        let protocol = self.protocol.is_none() || self.protocol == other.protocol;
        let not_protocol = self.not_protocol.is_none_or(|not| {
            other.not_protocol == Some(not) || other.protocol.is_some_and(|protocol| protocol != not)
        });
        let icmp = self.icmp.is_none_or(|own| {
            other
                .icmp
                .is_some_and(|other| own.kind == other.kind && (own.code == other.code || own.code.is_none()))
        });
        let not_icmp = self.not_icmp.is_none() || (self.not_icmp == other.not_icmp);
        !self.uncertain
            && protocol
            && not_protocol
            && icmp
            && not_icmp
            && self.source.covers_ports(&other.source)
            && self.destination.covers_ports(&other.destination)
            && self.destination.covers_addresses(&other.destination)
    }

    /// Every packet that meets `other` meets this.
    pub fn covers(&self, other: &Conditions) -> bool {
        self.covers_but_source(other) && self.source.covers_addresses(&other.source)
    }

    /// Every packet that meets `other` meets one of these.
    pub fn all_cover(these: &[&Conditions], other: &Conditions, family: Family) -> bool {
        let fit = these.iter().filter(|one| one.covers_but_source(other));
        let sure: Vec<AddressSet> = fit.map(|one| one.source.sure()).collect();
        let all = AddressSet::family(family);
        let wanted = other.source.area.as_ref().map_or(&all, |area| &area.possible);
        !sure.is_empty() && wanted.is_subset(&AddressSet::union_of(&sure))
    }
}
