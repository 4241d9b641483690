//! A set of places that knows how many bytes lie there: to the eighth, so that it takes a few bits for each.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use roaring::RoaringTreemap;

/// Places, by how many bytes lie there.
#[derive(Clone, Debug, Default)]
pub(super) struct Weighed {
    by_size: BTreeMap<u64, RoaringTreemap>,
    bytes: u64,
}

impl Weighed {
    /// Returns what a place is counted as where that many bytes lie: no less, and at most a quarter more.
    pub(super) fn weight(bytes: u64) -> u64 {
        let step = 1 << bytes.max(1).ilog2().saturating_sub(2);
        bytes.max(1).next_multiple_of(step)
    }

    /// Returns what all of them are counted as.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Returns whether the place is there, whatever it is counted as.
    pub(super) fn has(&self, place: u64) -> bool {
        self.by_size.values().any(|it| it.contains(place))
    }

    /// Returns all places.
    pub(super) fn places(&self) -> RoaringTreemap {
        self.by_size.values().fold(RoaringTreemap::new(), |all, it| all | it)
    }

    /// Returns all places, with what each is counted as.
    pub(super) fn iter(&self) -> impl Iterator<Item = (u64, u64)> {
        self.by_size.iter().flat_map(|(weight, it)| it.iter().map(|place| (place, *weight)))
    }

    /// Returns what those of the places are counted as that are here.
    pub(super) fn bytes_at(&self, places: &RoaringTreemap) -> u64 {
        self.by_size.iter().map(|(weight, it)| weight * it.intersection_len(places)).sum()
    }

    pub(super) fn contains(&self, place: u64, weight: u64) -> bool {
        self.by_size.get(&weight).is_some_and(|it| it.contains(place))
    }

    /// Returns whether the place is new.
    pub(super) fn insert(&mut self, place: u64, weight: u64) -> bool {
        let is_new = self.by_size.entry(weight).or_default().insert(place);
        self.bytes += if is_new { weight } else { 0 };
        is_new
    }

    /// Inserts all those places.
    pub(super) fn add(&mut self, more: &Self) {
        for (weight, places) in &more.by_size {
            let own = self.by_size.entry(*weight).or_default();
            let before = own.len();
            *own |= places;
            self.bytes += weight * (own.len() - before);
        }
    }

    /// Returns whether the place was there.
    pub(super) fn remove(&mut self, place: u64) -> bool {
        let found =
            self.by_size.iter_mut().find_map(|(weight, it)| it.remove(place).then_some(*weight));
        self.bytes -= found.unwrap_or_default();
        found.is_some()
    }

    /// Forgets the places of a range.
    pub(super) fn remove_range(&mut self, range: &RangeInclusive<u64>) {
        for (weight, places) in &mut self.by_size {
            self.bytes -= weight * places.remove_range(range.clone());
        }
        self.by_size.retain(|_, it| !it.is_empty());
    }

    /// Forgets all places but those.
    pub(super) fn keep(&mut self, places: &RoaringTreemap) {
        self.by_size.values_mut().for_each(|it| *it &= places);
        self.by_size.retain(|_, it| !it.is_empty());
        self.bytes = self.by_size.iter().map(|(weight, it)| weight * it.len()).sum();
    }
}
