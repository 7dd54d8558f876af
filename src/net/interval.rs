//! Exact sets of whole numbers, kept as sorted, disjoint, non-touching inclusive intervals.
//!
//! Knows nothing of addresses: `net` builds address and port sets from it. One form per set, so `==` is set equality.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;
use std::sync::Arc;

/// A whole number type with both ends reachable.
pub trait Point: Copy + Ord + Debug {
    const MIN: Self;
    const MAX: Self;
    /// The next number, `None` at [`Point::MAX`].
    fn next(self) -> Option<Self>;
    /// The previous number, `None` at [`Point::MIN`].
    fn prev(self) -> Option<Self>;
}

macro_rules! point {
    ($($t:ty),*) => {$(
        impl Point for $t {
            const MIN: Self = <$t>::MIN;
            const MAX: Self = <$t>::MAX;
            fn next(self) -> Option<Self> {
                self.checked_add(1)
            }
            fn prev(self) -> Option<Self> {
                self.checked_sub(1)
            }
        }
    )*};
}
point!(u8, u16, u32, u128);

/// Invariant: sorted by start, and each interval starts at least two after the end of the one before. Clones share them:
/// a set of all pods' addresses is in thousands of rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IntervalSet<T>(Arc<[(T, T)]>);

impl<T: Point> PartialOrd for IntervalSet<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T: Point> Ord for IntervalSet<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        match Arc::ptr_eq(&self.0, &other.0) {
            true => Ordering::Equal,
            false => self.0.cmp(&other.0),
        }
    }
}

impl<T: Point> IntervalSet<T> {
    pub fn empty() -> Self {
        IntervalSet(Arc::default())
    }

    pub fn all() -> Self {
        IntervalSet([(T::MIN, T::MAX)].into())
    }

    /// Intervals in any order, overlapping or not; one whose start is after its end counts as empty.
    pub fn from_intervals(intervals: impl IntoIterator<Item = (T, T)>) -> Self {
        let mut sorted: Vec<(T, T)> = intervals.into_iter().filter(|(lo, hi)| lo <= hi).collect();
        sorted.sort(); // finds runs: a union of two sorted sets is one merge
        let mut merged: Vec<(T, T)> = Vec::with_capacity(sorted.len());
        for (lo, hi) in sorted {
            match merged.last_mut() {
                // Touching counts as overlapping; an end at MAX has no next, and swallows the rest.
                Some(last) if last.1.next().is_none_or(|next| lo <= next) => last.1 = last.1.max(hi),
                _ => merged.push((lo, hi)),
            }
        }
        IntervalSet(merged.into())
    }

    /// Each interval of `gaps` put into the set that has most of its neighbours, the first of several; none is lost while
    /// there is a set.
    pub fn fill(sets: &mut [&mut Self], gaps: &Self) {
        let mut filled: Vec<Vec<(T, T)>> = vec![Vec::new(); sets.len()];
        for (lo, hi) in gaps.0.iter() {
            let beside = [lo.prev(), hi.next()];
            let neighbours = |set: &Self| beside.iter().flatten().filter(|point| set.contains(**point)).count();
            let counts = sets.iter().enumerate().map(|(at, set)| (at, neighbours(set)));
            if let Some((at, _)) = counts.rev().max_by_key(|(_, count)| *count) {
                filled[at].push((*lo, *hi));
            }
        }
        for (set, more) in sets.iter_mut().zip(filled) {
            **set = set.union(&Self::from_intervals(more));
        }
    }

    pub fn intervals(&self) -> &[(T, T)] {
        &self.0
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn contains(&self, point: T) -> bool {
        let after = self.0.partition_point(|(lo, _)| *lo <= point);
        after > 0 && point <= self.0[after - 1].1
    }

    pub fn union(&self, other: &Self) -> Self {
        if other.is_empty() || Arc::ptr_eq(&self.0, &other.0) {
            return self.clone();
        }
        if self.is_empty() {
            return other.clone();
        }
        Self::from_intervals(self.0.iter().chain(other.0.iter()).copied())
    }

    pub fn intersect(&self, other: &Self) -> Self {
        let (mut i, mut j, mut out) = (0, 0, Vec::new());
        while let (Some(a), Some(b)) = (self.0.get(i), other.0.get(j)) {
            let (lo, hi) = (a.0.max(b.0), a.1.min(b.1));
            if lo <= hi {
                out.push((lo, hi));
            }
            if a.1 < b.1 { i += 1 } else { j += 1 }
        }
        // Pieces of two sets with gaps are themselves separated by a gap, so the invariant holds.
        IntervalSet(out.into())
    }

    pub fn complement(&self) -> Self {
        let (mut from, mut out) = (Some(T::MIN), Vec::new());
        for (lo, hi) in self.0.iter() {
            if let (Some(start), Some(end)) = (from, lo.prev())
                && start <= end
            {
                out.push((start, end));
            }
            from = hi.next();
        }
        if let Some(start) = from {
            out.push((start, T::MAX));
        }
        IntervalSet(out.into())
    }

    pub fn minus(&self, other: &Self) -> Self {
        self.intersect(&other.complement())
    }

    /// The lowest number that is in both.
    pub fn first_common(&self, other: &Self) -> Option<T> {
        let (few, many) = if self.0.len() <= other.0.len() {
            (&self.0, &other.0)
        } else {
            (&other.0, &self.0)
        };
        few.iter().find_map(|(lo, hi)| {
            let (from, _) = many.get(many.partition_point(|(_, end)| end < lo))?;
            (from <= hi).then(|| *from.max(lo))
        })
    }

    /// The union of the sets, cut into the fewest parts whose points lie in the same sets; each with those sets.
    pub fn overlay(sets: &[&Self]) -> BTreeMap<Vec<usize>, Self> {
        // Where a set begins, and after what point it ends.
        let mut edges: Vec<(T, bool, usize)> = Vec::new();
        for (index, set) in sets.iter().enumerate() {
            for (lo, hi) in set.0.iter() {
                edges.push((*lo, true, index));
                edges.extend(hi.next().map(|after| (after, false, index)));
            }
        }
        edges.sort_unstable();
        let mut inside: BTreeSet<usize> = BTreeSet::new();
        let mut parts: BTreeMap<Vec<usize>, Vec<(T, T)>> = BTreeMap::new();
        let mut at = 0;
        while let Some((from, ..)) = edges.get(at).copied() {
            while let Some((_, begins, index)) = edges.get(at).filter(|edge| edge.0 == from) {
                if *begins {
                    inside.insert(*index);
                } else {
                    inside.remove(index);
                }
                at += 1;
            }
            let to = edges.get(at).map_or(Some(T::MAX), |edge| edge.0.prev());
            if let Some(to) = to.filter(|_| !inside.is_empty()) {
                parts
                    .entry(inside.iter().copied().collect())
                    .or_default()
                    .push((from, to));
            }
        }
        parts
            .into_iter()
            .map(|(of, intervals)| (of, Self::from_intervals(intervals)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use range_set_blaze::RangeSetBlaze;

    fn small() -> impl Strategy<Value = Vec<(u8, u8)>> {
        prop::collection::vec((any::<u8>(), any::<u8>()), 0..8)
    }

    fn members(intervals: &[(u8, u8)]) -> Vec<bool> {
        (0..=u8::MAX)
            .map(|p| intervals.iter().any(|(lo, hi)| *lo <= p && p <= *hi))
            .collect()
    }

    fn listed(set: &IntervalSet<u8>) -> Vec<bool> {
        (0..=u8::MAX).map(|p| set.contains(p)).collect()
    }

    fn well_formed<T: Point>(set: &IntervalSet<T>) -> bool {
        set.0.iter().all(|(lo, hi)| lo <= hi)
            && set
                .0
                .windows(2)
                .all(|w| w[0].1.next().is_some_and(|next| next < w[1].0))
    }

    proptest! {
        #[test]
        fn every_operation_agrees_with_enumeration(a in small(), b in small()) {
            let (x, y) = (IntervalSet::from_intervals(a.clone()), IntervalSet::from_intervals(b.clone()));
            let (p, q) = (members(&a), members(&b));
            let pairwise = |f: fn(bool, bool) -> bool| p.iter().zip(&q).map(|(a, b)| f(*a, *b)).collect::<Vec<_>>();
            for (set, want) in [
                (x.clone(), p.clone()),
                (x.union(&y), pairwise(|a, b| a || b)),
                (x.intersect(&y), pairwise(|a, b| a && b)),
                (x.minus(&y), pairwise(|a, b| a && !b)),
                (x.complement(), pairwise(|a, _| !a)),
            ] {
                prop_assert!(well_formed(&set), "{set:?}");
                prop_assert_eq!(listed(&set), want.clone());
                prop_assert_eq!(set.is_empty(), want.iter().all(|m| !m));
            }
            prop_assert_eq!(x == y, p == q);
            let both = (0..=u8::MAX).find(|i| p[usize::from(*i)] && q[usize::from(*i)]);
            prop_assert_eq!(x.first_common(&y), both);
        }

        #[test]
        fn wide_sets_agree_with_range_set_blaze(
            a in prop::collection::vec((any::<u128>(), any::<u128>()), 0..6),
            b in prop::collection::vec((any::<u128>(), any::<u128>()), 0..6),
        ) {
            let ordered = |v: &[(u128, u128)]| v.iter().map(|(x, y)| (*x.min(y), *x.max(y))).collect::<Vec<_>>();
            let (a, b) = (ordered(&a), ordered(&b));
            let blaze = |v: &[(u128, u128)]| v.iter().map(|(x, y)| *x..=*y).collect::<RangeSetBlaze<u128>>();
            let plain = |s: &RangeSetBlaze<u128>| s.ranges().map(|r| (*r.start(), *r.end())).collect::<Vec<_>>();
            let (x, y) = (IntervalSet::from_intervals(a.clone()), IntervalSet::from_intervals(b.clone()));
            let (p, q) = (blaze(&a), blaze(&b));
            prop_assert_eq!(x.union(&y).intervals().to_vec(), plain(&(&p | &q)));
            prop_assert_eq!(x.intersect(&y).intervals().to_vec(), plain(&(&p & &q)));
            prop_assert_eq!(x.minus(&y).intervals().to_vec(), plain(&(&p - &q)));
            prop_assert_eq!(x.complement().intervals().to_vec(), plain(&!&p));
        }

        #[test]
        fn edges_of_u32_agree_with_range_set_blaze(
            a in prop::collection::vec((0u32..6, 0u32..6), 0..5),
            b in prop::collection::vec((0u32..6, 0u32..6), 0..5),
        ) {
            // Small numbers at both ends of the space: where off-by-one mistakes live.
            let spread = |v: &[(u32, u32)]| v.iter()
                .map(|(x, y)| if (x + y) % 2 == 0 { (*x, x + y) } else { (u32::MAX - x - y, u32::MAX - x) })
                .collect::<Vec<_>>();
            let (a, b) = (spread(&a), spread(&b));
            let blaze = |v: &[(u32, u32)]| v.iter().map(|(x, y)| *x..=*y).collect::<RangeSetBlaze<u32>>();
            let plain = |s: &RangeSetBlaze<u32>| s.ranges().map(|r| (*r.start(), *r.end())).collect::<Vec<_>>();
            let (x, y) = (IntervalSet::from_intervals(a.clone()), IntervalSet::from_intervals(b.clone()));
            let (p, q) = (blaze(&a), blaze(&b));
            prop_assert_eq!(x.union(&y).intervals().to_vec(), plain(&(&p | &q)));
            prop_assert_eq!(x.minus(&y).intervals().to_vec(), plain(&(&p - &q)));
            prop_assert_eq!(x.complement().intervals().to_vec(), plain(&!&p));
        }
    }

    proptest! {
        #[test]
        fn parts_of_an_overlay_are_the_points_in_the_same_sets(raw in prop::collection::vec(small(), 0..5)) {
            let sets: Vec<_> = raw.iter().map(|r| IntervalSet::from_intervals(r.clone())).collect();
            let parts = IntervalSet::overlay(&sets.iter().collect::<Vec<_>>());
            for point in 0..=u8::MAX {
                let of: Vec<usize> = (0..sets.len()).filter(|i| sets[*i].contains(point)).collect();
                let within: Vec<&Vec<usize>> = parts.iter().filter(|(_, p)| p.contains(point)).map(|(k, _)| k).collect();
                prop_assert_eq!(within, if of.is_empty() { vec![] } else { vec![&of] });
            }
            prop_assert!(parts.values().all(well_formed));
        }
    }

    #[test]
    fn complement_of_nothing_is_everything() {
        assert_eq!(IntervalSet::<u16>::empty().complement(), IntervalSet::all());
        assert_eq!(IntervalSet::<u128>::all().complement(), IntervalSet::empty());
    }
}
