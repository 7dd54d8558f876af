//! Sets of addresses (both families at once) and of ports.
//!
//! Thin names over [`IntervalSet`]; the one piece of work here is turning intervals back into the fewest networks.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::interval::IntervalSet;
use super::{Cidr, Family, Port};

/// Addresses that nobody has.
const DOCUMENTATION_V4: [IpAddr; 3] = [
    IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1)),
    IpAddr::V4(Ipv4Addr::new(203, 0, 113, 1)),
    IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)),
];
const DOCUMENTATION_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));

/// Addresses of both families, exactly.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AddressSet {
    v4: IntervalSet<u32>,
    v6: IntervalSet<u128>,
}

impl AddressSet {
    pub fn empty() -> Self {
        AddressSet {
            v4: IntervalSet::empty(),
            v6: IntervalSet::empty(),
        }
    }

    pub fn all() -> Self {
        AddressSet {
            v4: IntervalSet::all(),
            v6: IntervalSet::all(),
        }
    }

    /// Every address of one family.
    pub fn family(family: Family) -> Self {
        match family {
            Family::V4 => AddressSet {
                v4: IntervalSet::all(),
                v6: IntervalSet::empty(),
            },
            Family::V6 => AddressSet {
                v4: IntervalSet::empty(),
                v6: IntervalSet::all(),
            },
        }
    }

    pub fn from_cidrs<'a>(cidrs: impl IntoIterator<Item = &'a Cidr>) -> Self {
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        for cidr in cidrs {
            v4.extend(cidr.v4_range());
            v6.extend(cidr.v6_range());
        }
        AddressSet {
            v4: IntervalSet::from_intervals(v4),
            v6: IntervalSet::from_intervals(v6),
        }
    }

    pub fn from_addresses(addresses: impl IntoIterator<Item = IpAddr>) -> Self {
        let hosts: Vec<Cidr> = addresses.into_iter().map(Cidr::host).collect();
        Self::from_cidrs(&hosts)
    }

    /// The fewest networks that cover exactly this set, IPv4 first, ascending.
    pub fn to_cidrs(&self) -> Vec<Cidr> {
        let v4 = self
            .v4
            .intervals()
            .iter()
            .flat_map(|(lo, hi)| cover((*lo).into(), (*hi).into(), Family::V4));
        let v6 = self
            .v6
            .intervals()
            .iter()
            .flat_map(|(lo, hi)| cover(*lo, *hi, Family::V6));
        v4.chain(v6).collect()
    }

    pub fn union(&self, other: &Self) -> Self {
        AddressSet {
            v4: self.v4.union(&other.v4),
            v6: self.v6.union(&other.v6),
        }
    }

    /// The union of any number of sets, at once.
    pub fn union_of(sets: &[Self]) -> Self {
        AddressSet {
            v4: IntervalSet::from_intervals(sets.iter().flat_map(|s| s.v4.intervals().iter().copied())),
            v6: IntervalSet::from_intervals(sets.iter().flat_map(|s| s.v6.intervals().iter().copied())),
        }
    }

    pub fn intersect(&self, other: &Self) -> Self {
        AddressSet {
            v4: self.v4.intersect(&other.v4),
            v6: self.v6.intersect(&other.v6),
        }
    }

    pub fn minus(&self, other: &Self) -> Self {
        AddressSet {
            v4: self.v4.minus(&other.v4),
            v6: self.v6.minus(&other.v6),
        }
    }

    pub fn complement(&self) -> Self {
        AddressSet {
            v4: self.v4.complement(),
            v6: self.v6.complement(),
        }
    }

    /// The members of one family.
    pub fn only(&self, family: Family) -> Self {
        self.intersect(&Self::family(family))
    }

    /// Each range of `gaps` put into the set that has most of its neighbours.
    pub fn fill<'s>(sets: impl IntoIterator<Item = &'s mut Self>, gaps: &Self) {
        let (mut v4, mut v6): (Vec<_>, Vec<_>) = sets.into_iter().map(|set| (&mut set.v4, &mut set.v6)).unzip();
        IntervalSet::fill(&mut v4, &gaps.v4);
        IntervalSet::fill(&mut v6, &gaps.v6);
    }

    pub fn is_empty(&self) -> bool {
        self.v4.is_empty() && self.v6.is_empty()
    }

    pub fn is_subset(&self, other: &Self) -> bool {
        self.minus(other).is_empty()
    }

    pub fn contains(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.v4.contains(v4.into()),
            IpAddr::V6(v6) => self.v6.contains(v6.into()),
        }
    }

    /// The union of the sets, cut into the fewest parts whose addresses lie in the same sets; each with those sets.
    pub fn overlay(sets: &[&Self]) -> Vec<(Vec<usize>, Self)> {
        let v4 = IntervalSet::overlay(&sets.iter().map(|s| &s.v4).collect::<Vec<_>>());
        let v6 = IntervalSet::overlay(&sets.iter().map(|s| &s.v6).collect::<Vec<_>>());
        let mut parts: BTreeMap<Vec<usize>, AddressSet> = BTreeMap::new();
        for (of, v4) in v4 {
            parts.entry(of).or_insert_with(AddressSet::empty).v4 = v4;
        }
        for (of, v6) in v6 {
            parts.entry(of).or_insert_with(AddressSet::empty).v6 = v6;
        }
        parts.into_iter().collect()
    }

    /// Which of the addresses are members, by place, as ranges of places; `sorted` is ascending.
    pub fn members_among(&self, sorted: &[IpAddr]) -> Vec<std::ops::Range<usize>> {
        let split = sorted.partition_point(IpAddr::is_ipv4);
        let range = |from: IpAddr, to: IpAddr, within: std::ops::Range<usize>| {
            let part = &sorted[within.clone()];
            let (first, last) = (part.partition_point(|a| *a < from), part.partition_point(|a| *a <= to));
            within.start + first..within.start + last
        };
        let v4 = self
            .v4
            .intervals()
            .iter()
            .map(|(lo, hi)| range(Ipv4Addr::from(*lo).into(), Ipv4Addr::from(*hi).into(), 0..split));
        let v6 = self.v6.intervals().iter().map(|(lo, hi)| {
            range(
                Ipv6Addr::from(*lo).into(),
                Ipv6Addr::from(*hi).into(),
                split..sorted.len(),
            )
        });
        v4.chain(v6).filter(|range| !range.is_empty()).collect()
    }

    /// The lowest address that is in both, IPv4 before IPv6.
    pub fn first_common(&self, other: &Self) -> Option<IpAddr> {
        let v4 = self.v4.first_common(&other.v4).map(|a| IpAddr::V4(Ipv4Addr::from(a)));
        v4.or_else(|| self.v6.first_common(&other.v6).map(|a| IpAddr::V6(Ipv6Addr::from(a))))
    }

    /// An address to show of those in both: one that is reserved for documentation (RFC 5737, RFC 3849) where there is
    /// one, else the lowest; IPv4 before IPv6.
    pub fn common_example(&self, other: &Self) -> Option<IpAddr> {
        let reserved = |addresses: &[IpAddr]| {
            let mut all = addresses.iter().copied();
            all.find(|address| self.contains(*address) && other.contains(*address))
        };
        match self.first_common(other)? {
            IpAddr::V4(lowest) => reserved(&DOCUMENTATION_V4).or(Some(IpAddr::V4(lowest))),
            IpAddr::V6(lowest) => reserved(&[DOCUMENTATION_V6]).or(Some(IpAddr::V6(lowest))),
        }
    }

    /// The same of one set.
    pub fn example(&self) -> Option<IpAddr> {
        self.common_example(self)
    }

    /// The address, when there is just one.
    pub fn only_address(&self) -> Option<IpAddr> {
        match (self.v4.intervals(), self.v6.intervals()) {
            ([(lo, hi)], []) if lo == hi => Some(IpAddr::V4(Ipv4Addr::from(*lo))),
            ([], [(lo, hi)]) if lo == hi => Some(IpAddr::V6(Ipv6Addr::from(*lo))),
            _ => None,
        }
    }

    /// The lowest address, IPv4 before IPv6: a witness that the set is not empty.
    pub fn first(&self) -> Option<IpAddr> {
        let v4 = self
            .v4
            .intervals()
            .first()
            .map(|(lo, _)| IpAddr::V4(Ipv4Addr::from(*lo)));
        v4.or(self
            .v6
            .intervals()
            .first()
            .map(|(lo, _)| IpAddr::V6(Ipv6Addr::from(*lo))))
    }
}

/// The networks, comma separated; `none` for the empty set.
impl fmt::Display for AddressSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts: Vec<String> = self.to_cidrs().iter().map(Cidr::to_string).collect();
        f.write_str(
            if parts.is_empty() {
                "none".to_string()
            } else {
                parts.join(", ")
            }
            .as_str(),
        )
    }
}

/// The fewest networks that cover `lo..=hi`: at each step the widest one that starts at `lo` and fits.
fn cover(lo: u128, hi: u128, family: Family) -> Vec<Cidr> {
    let bits = u32::from(family.bits());
    let (mut out, mut from) = (Vec::new(), Some(lo));
    while let Some(start) = from.filter(|start| *start <= hi) {
        let aligned = start.trailing_zeros().min(bits);
        // Both ends included, so the count may be 2^128: work with the count minus one.
        let fits = match (hi - start).checked_add(1) {
            Some(count) => count.ilog2(),
            None => 128,
        };
        let size = aligned.min(fits);
        let address = match family {
            Family::V4 => IpAddr::V4(Ipv4Addr::from(start as u32)),
            Family::V6 => IpAddr::V6(Ipv6Addr::from(start)),
        };
        out.extend(Cidr::new(address, (bits - size) as u8));
        from = 1u128.checked_shl(size).and_then(|step| start.checked_add(step));
    }
    out
}

/// Port numbers 0 to 65535, exactly; 0 is kept because packets can carry it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PortSet(IntervalSet<u16>);

impl PortSet {
    pub fn empty() -> Self {
        PortSet(IntervalSet::empty())
    }

    pub fn all() -> Self {
        PortSet(IntervalSet::all())
    }

    pub fn single(port: Port) -> Self {
        PortSet::from_ranges([(port.get(), port.get())])
    }

    /// Inclusive ranges in any order.
    pub fn from_ranges(ranges: impl IntoIterator<Item = (u16, u16)>) -> Self {
        PortSet(IntervalSet::from_intervals(ranges))
    }

    /// Inclusive ranges, ascending, with gaps between them.
    pub fn ranges(&self) -> &[(u16, u16)] {
        self.0.intervals()
    }

    /// The union of the sets, cut into the fewest parts whose ports lie in the same sets; each with those sets.
    pub fn overlay(sets: &[&Self]) -> Vec<(Vec<usize>, Self)> {
        let parts = IntervalSet::overlay(&sets.iter().map(|s| &s.0).collect::<Vec<_>>());
        parts.into_iter().map(|(of, part)| (of, PortSet(part))).collect()
    }

    pub fn union(&self, other: &Self) -> Self {
        PortSet(self.0.union(&other.0))
    }

    pub fn intersect(&self, other: &Self) -> Self {
        PortSet(self.0.intersect(&other.0))
    }

    pub fn minus(&self, other: &Self) -> Self {
        PortSet(self.0.minus(&other.0))
    }

    pub fn complement(&self) -> Self {
        PortSet(self.0.complement())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(port)
    }
}

/// `80, 100:200`, as Calico writes ranges; `none` for the empty set.
impl fmt::Display for PortSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let one = |(lo, hi): &(u16, u16)| if lo == hi { lo.to_string() } else { format!("{lo}:{hi}") };
        let parts: Vec<String> = self.ranges().iter().map(one).collect();
        f.write_str(
            if parts.is_empty() {
                "none".to_string()
            } else {
                parts.join(", ")
            }
            .as_str(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn cidrs(texts: &[&str]) -> Vec<Cidr> {
        texts.iter().map(|t| Cidr::parse(t).expect(t)).collect()
    }

    #[test]
    fn everything_but_one_host_takes_one_network_per_bit() {
        let rest = AddressSet::family(Family::V4).minus(&AddressSet::from_cidrs(&cidrs(&["10.9.0.4/32"])));
        assert_eq!(rest.to_cidrs().len(), 32);
        assert!(!rest.contains("10.9.0.4".parse().unwrap()));
        assert!(rest.contains("10.9.0.5".parse().unwrap()));
        assert_eq!(AddressSet::all().to_cidrs(), cidrs(&["0.0.0.0/0", "::/0"]));
        assert_eq!(AddressSet::all().complement(), AddressSet::empty());
    }

    #[test]
    fn two_halves_are_the_whole() {
        let halves = AddressSet::from_cidrs(&cidrs(&["0.0.0.0/1", "128.0.0.0/1"]));
        assert_eq!(halves, AddressSet::family(Family::V4));
        assert_eq!(halves.to_string(), "0.0.0.0/0");
    }

    #[test]
    fn the_last_address_is_a_member_like_any_other() {
        let top = AddressSet::from_cidrs(&cidrs(&["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"]));
        assert_eq!(top.to_cidrs(), cidrs(&["ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe/127"]));
        assert_eq!(
            PortSet::from_ranges([(65535, 65535)]).complement().ranges(),
            [(0, 65534)]
        );
        assert_eq!(PortSet::from_ranges([(100, 200), (80, 80)]).to_string(), "80, 100:200");
    }

    proptest! {
        #[test]
        fn networks_and_back_is_the_same_set_with_no_two_mergeable(
            raw in prop::collection::vec((any::<u32>(), 0u8..=32, any::<u128>(), 0u8..=128), 0..6)
        ) {
            let given: Vec<Cidr> = raw.iter().flat_map(|(a, p, b, q)| [
                Cidr::new(IpAddr::V4(Ipv4Addr::from(*a)), *p), Cidr::new(IpAddr::V6(Ipv6Addr::from(*b)), *q),
            ]).flatten().collect();
            let set = AddressSet::from_cidrs(&given);
            let back = set.to_cidrs();
            prop_assert_eq!(&AddressSet::from_cidrs(&back), &set);
            prop_assert!(back.len() <= given.len());
            for cidr in &given {
                prop_assert!(set.contains(cidr.network()));
            }
            for pair in back.windows(2) {
                let parent = pair[0].prefix().checked_sub(1).and_then(|p| Cidr::new(pair[0].network(), p));
                let siblings = parent.is_some() && parent == pair[1].prefix().checked_sub(1)
                    .and_then(|p| Cidr::new(pair[1].network(), p));
                prop_assert!(!siblings, "{:?}", pair);
            }
        }
    }
}
