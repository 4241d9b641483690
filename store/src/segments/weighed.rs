//! A set of places that knows how many bytes lie there: to the eighth, so that it takes a few bits for each.

use std::collections::BTreeMap;

use roaring::RoaringTreemap;

/// Places, by how many bytes lie there.
#[derive(Debug, Default)]
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

    pub(super) fn contains(&self, place: u64, weight: u64) -> bool {
        self.by_size.get(&weight).is_some_and(|it| it.contains(place))
    }

    pub(super) fn insert(&mut self, place: u64, weight: u64) {
        if self.by_size.entry(weight).or_default().insert(place) {
            self.bytes += weight;
        }
    }

    /// Returns whether the place was there.
    pub(super) fn remove(&mut self, place: u64) -> bool {
        let found =
            self.by_size.iter_mut().find_map(|(weight, it)| it.remove(place).then_some(*weight));
        self.bytes -= found.unwrap_or_default();
        found.is_some()
    }

    /// Forgets all places but those.
    pub(super) fn keep(&mut self, places: &RoaringTreemap) {
        self.by_size.values_mut().for_each(|it| *it &= places);
        self.by_size.retain(|_, it| !it.is_empty());
        self.bytes = self.by_size.iter().map(|(weight, it)| weight * it.len()).sum();
    }
}
