//! Readers: whoever is reading a blob of several records has all of them until he is done.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::super::weighed::Weighed;

/// Which reader it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in super::super) struct ReaderId(u64);

/// What those who read pin.
#[derive(Debug, Default)]
pub(super) struct Readers {
    pins: BTreeMap<ReaderId, Weighed>,
    next: u64,
    /// How many of them pin each place: most places are pinned by none, and to know that nobody need ask all of them.
    counts: BTreeMap<u64, usize>,
}

impl Readers {
    pub(super) fn begin(&mut self) -> ReaderId {
        self.next += 1;
        let reader = ReaderId(self.next);
        self.pins.insert(reader, Weighed::default());
        reader
    }

    pub(super) fn end(&mut self, reader: ReaderId) {
        let Some(pins) = self.pins.remove(&reader) else { return };
        for (place, _) in pins.iter() {
            let count = self.counts.remove(&place).unwrap_or_default();
            if count > 1 {
                self.counts.insert(place, count - 1);
            }
        }
    }

    /// Pins places of that weight each for a reader who has not ended.
    pub(super) fn pin(&mut self, reader: ReaderId, places: impl Iterator<Item = (u64, u64)>) {
        let Some(pins) = self.pins.get_mut(&reader) else { return };
        for (place, weight) in places {
            if pins.insert(place, weight) {
                *self.counts.entry(place).or_default() += 1;
            }
        }
    }

    /// Returns what a reader pins.
    pub(super) fn pins(&self, reader: ReaderId) -> Option<&Weighed> {
        self.pins.get(&reader)
    }

    pub(super) fn has(&self, place: u64) -> bool {
        self.counts.contains_key(&place)
    }

    pub(super) fn moved(&mut self, from: u64, to: u64, weight: u64) {
        if self.counts.remove(&from).is_none() {
            return;
        }
        for pins in self.pins.values_mut() {
            if pins.remove(from) && pins.insert(to, weight) {
                *self.counts.entry(to).or_default() += 1;
            }
        }
    }

    /// Pins those places for all who pin that one.
    pub(super) fn share(&mut self, place: u64, more: &Weighed) {
        if !self.has(place) {
            return;
        }
        let ids = self.pins.iter().filter(|(_, it)| it.has(place)).map(|(id, _)| *id);
        for reader in ids.collect::<Vec<_>>() {
            self.pin(reader, more.iter());
        }
    }

    pub(super) fn remove_range(&mut self, range: &RangeInclusive<u64>) {
        if self.counts.range(range.clone()).next().is_none() {
            return;
        }
        self.counts.retain(|place, _| !range.contains(place));
        self.pins.values_mut().for_each(|it| it.remove_range(range));
    }
}
