//! Owners: whose builds hold leases, and pin no more together than is theirs.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::{Duration, SystemTime};

use roaring::RoaringTreemap;

use super::super::weighed::Weighed;
use crate::LeaseId;

/// Where what is pinned is too much, at least this part of what may be is let go: to find out what the other leases still
/// pin all of them are looked at, which is not to be done again for the next place.
const ENDED_SHARE: u64 = 8;

/// Somebody whose builds hold leases.
#[derive(Debug, Default)]
pub(super) struct Owner {
    leases: BTreeMap<LeaseId, Lease>,
    /// What any of them pins.
    leased: Weighed,
}

#[derive(Debug)]
struct Lease {
    places: RoaringTreemap,
    used: SystemTime,
}

impl Owner {
    pub(super) fn count(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn holds(&self, id: &LeaseId) -> bool {
        self.leases.contains_key(id)
    }

    /// Returns how many bytes are pinned.
    pub(super) fn bytes(&self) -> u64 {
        self.leased.bytes()
    }

    /// Returns what is pinned.
    pub(super) fn places(&self) -> RoaringTreemap {
        self.leased.places()
    }

    /// Pins places of that weight each, as far as there is room for them in the share, and adds those to `pinned`. Returns
    /// whether other leases ended for it.
    pub(super) fn pin(
        &mut self,
        id: &LeaseId,
        now: SystemTime,
        places: impl Iterator<Item = (u64, u64)>,
        share_bytes: u64,
        pinned: &mut RoaringTreemap,
    ) -> bool {
        let new = Lease { places: RoaringTreemap::new(), used: now };
        let mut lease = self.leases.remove(id).unwrap_or(new);
        lease.used = lease.used.max(now);
        let others = self.leases.len();
        for (place, weight) in places {
            if lease.places.contains(place) {
                continue;
            }
            let is_pinned = self.leased.contains(place, weight);
            if !is_pinned && !self.make_room(&lease, share_bytes.saturating_sub(weight)) {
                continue;
            }
            lease.places.insert(place);
            self.leased.insert(place, weight);
            pinned.insert(place);
        }
        let is_any_ended = self.leases.len() < others;
        self.leases.insert(id.clone(), lease);
        is_any_ended
    }

    /// Ends leases until all of them pin no more than that many bytes together with that one, which does not end. Returns
    /// whether it came to that.
    fn make_room(&mut self, but: &Lease, bytes_max: u64) -> bool {
        if self.leased.bytes() > bytes_max && !self.leases.is_empty() {
            let mut leases: Vec<_> = std::mem::take(&mut self.leases).into_iter().collect();
            leases.sort_by_key(|(_, it)| Reverse(it.used));
            let mut kept = but.places.clone();
            let room = bytes_max - bytes_max / ENDED_SHARE;
            let mut room = room.saturating_sub(self.leased.bytes_at(&kept));
            for (id, lease) in leases {
                let more = &lease.places - &kept;
                let Some(rest) = room.checked_sub(self.leased.bytes_at(&more)) else { break };
                room = rest;
                kept |= more;
                self.leases.insert(id, lease);
            }
            self.leased.keep(&kept);
        }
        self.leased.bytes() <= bytes_max
    }

    /// Ends that many leases that were silent longest.
    pub(super) fn end_longest_silent(&mut self, count: usize) {
        let mut used: Vec<_> = self.leases.iter().map(|(id, it)| (it.used, id.clone())).collect();
        used.sort_unstable();
        used.into_iter().take(count).for_each(|(_, id)| drop(self.leases.remove(&id)));
        self.renew();
    }

    /// Ends the leases of builds that have been silent for that long.
    pub(super) fn end_silent(&mut self, now: SystemTime, time: Duration) {
        let before = self.count();
        self.leases.retain(|_, it| now.duration_since(it.used).unwrap_or_default() < time);
        if self.count() < before {
            self.renew();
        }
    }

    /// Finds out what is still pinned after leases ended.
    fn renew(&mut self) {
        let mut places = RoaringTreemap::new();
        self.leases.values().for_each(|it| places |= &it.places);
        self.leased.keep(&places);
    }

    pub(super) fn moved(&mut self, from: u64, to: u64, weight: u64) {
        if !self.leased.remove(from) {
            return;
        }
        self.leased.insert(to, weight);
        for lease in self.leases.values_mut() {
            if lease.places.remove(from) {
                lease.places.insert(to);
            }
        }
    }

    /// Pins those places for all leases that pin that one.
    pub(super) fn share(&mut self, place: u64, more: &Weighed, places: &RoaringTreemap) {
        if !self.leased.has(place) {
            return;
        }
        self.leased.add(more);
        for lease in self.leases.values_mut().filter(|it| it.places.contains(place)) {
            lease.places |= places;
        }
    }

    pub(super) fn forget(&mut self, range: &RangeInclusive<u64>) {
        self.leased.remove_range(range);
        for lease in self.leases.values_mut() {
            lease.places.remove_range(range.clone());
        }
    }
}
