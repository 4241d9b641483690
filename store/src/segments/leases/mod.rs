//! Leases: what running builds were told is there, and what is being read, stays.

mod readers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use roaring::RoaringTreemap;

use super::record::Place;
use super::weighed::Weighed;
use crate::LeaseId;

pub(super) use self::readers::ReaderId;
use self::readers::Readers;

/// How many leases there are at most: more builds than a server has connections.
const LEASES_MAX: usize = 4096;

/// How many leases end at once where there are too many: to find out what is still pinned, all the others are looked at.
const ENDED_AT_ONCE: usize = 64;

/// The builds of one owner pin at most this part of the budget together, so that whatever they do others find room.
const OWNER_SHARE: u64 = 2;

/// Who pins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A build.
    Lease(LeaseId),
    /// Somebody who is reading a blob of several records.
    Reader(ReaderId),
}

/// What is pinned, by whom.
#[derive(Debug)]
pub(super) struct Leases {
    held: Mutex<Held>,
}

#[derive(Debug)]
struct Held {
    /// How long a build is silent before what it pins is let go.
    time: Duration,
    /// How many bytes the builds of one owner pin at most.
    share_bytes: u64,
    owners: BTreeMap<Arc<str>, Owner>,
    /// What any lease pins.
    leased: RoaringTreemap,
    readers: Readers,
    /// How many times something was let go.
    releases: u64,
}

/// Somebody whose builds hold leases.
#[derive(Debug, Default)]
struct Owner {
    leases: BTreeMap<LeaseId, Lease>,
    /// What any of them pins.
    leased: Weighed,
}

#[derive(Debug)]
struct Lease {
    places: RoaringTreemap,
    used: SystemTime,
}

/// What is pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pinned {
    pub(super) leases: u64,
    /// What several owners pin is counted for each of them.
    pub(super) bytes: u64,
}

impl Leases {
    /// Returns no leases in a store of that budget. Each will last so long after it was used last.
    pub(super) fn new(time: Duration, budget_bytes: u64) -> Self {
        let held = Held {
            time,
            share_bytes: budget_bytes / OWNER_SHARE,
            owners: BTreeMap::new(),
            leased: RoaringTreemap::new(),
            readers: Readers::default(),
            releases: 0,
        };
        Self { held: Mutex::new(held) }
    }

    /// Returns a new holder who reads.
    pub(super) fn reader(&self) -> ReaderId {
        self.held().readers.begin()
    }

    /// Says that a holder is still there, and pins places of that many bytes each for him.
    ///
    /// Where that is too much, the leases of the same owner end that were silent longest. What is too much even for one
    /// build alone is not pinned: it stays as long as anything does that was just used.
    pub(super) fn pin(
        &self,
        holder: &Holder,
        now: SystemTime,
        places: impl Iterator<Item = (Place, u64)>,
    ) {
        let places = places.map(|(at, bytes)| (key(at), Weighed::weight(bytes)));
        let mut held = self.held();
        match holder {
            Holder::Lease(lease) => held.pin(lease, now, places),
            Holder::Reader(reader) => held.readers.pin(*reader, places),
        }
    }

    /// Lets go all that a reader pins.
    pub(super) fn end_reader(&self, reader: ReaderId) {
        let mut held = self.held();
        held.releases += 1;
        held.readers.end(reader);
    }

    /// Ends the leases of builds that have been silent for too long.
    pub(super) fn end_silent(&self, now: SystemTime) {
        self.held().end_silent(now);
    }

    pub(super) fn is_pinned(&self, place: Place) -> bool {
        let held = self.held();
        let place = key(place);
        held.leased.contains(place) || held.readers.has(place)
    }

    /// Says that what was at one place is at another now, where it has that many bytes.
    pub(super) fn moved(&self, from: Place, to: Place, bytes: u64) {
        self.held().moved(key(from), key(to), Weighed::weight(bytes));
    }

    /// Says the same of a blob in whose place is a manifest now: whoever pins it pins its chunks from now on, which are
    /// what that reader pins.
    pub(super) fn cut(&self, from: Place, to: Place, reader: ReaderId) {
        let (to, mut held) = (key(to), self.held());
        held.moved(key(from), to, Weighed::weight(0));
        let Some(chunks) = held.readers.pins(reader).cloned() else { return };
        held.readers.share(to, &chunks);
        if !held.leased.contains(to) {
            return;
        }
        let places = chunks.places();
        held.leased |= &places;
        for owner in held.owners.values_mut().filter(|it| it.leased.has(to)) {
            owner.leased.add(&chunks);
            for lease in owner.leases.values_mut().filter(|it| it.places.contains(to)) {
                lease.places |= &places;
            }
        }
    }

    /// Forgets the places of a segment that is no more.
    pub(super) fn forget(&self, segment: u32) {
        let range = u64::from(segment) << 32..=u64::from(segment) << 32 | u64::from(u32::MAX);
        let mut held = self.held();
        for owner in held.owners.values_mut() {
            for lease in owner.leases.values_mut() {
                lease.places.remove_range(range.clone());
            }
            owner.leased.remove_range(&range);
        }
        held.readers.remove_range(&range);
        held.leased.remove_range(range);
    }

    pub(super) fn pinned(&self) -> Pinned {
        let held = self.held();
        let bytes = held.owners.values().map(|it| it.leased.bytes()).sum();
        Pinned { leases: held.count() as u64, bytes }
    }

    /// Returns how many times something was let go.
    pub(super) fn releases(&self) -> u64 {
        self.held().releases
    }

    /// Says that something else was let go than a pin, so that there may be room.
    pub(super) fn note_release(&self) {
        self.held().releases += 1;
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("no holder panics")
    }
}

impl Held {
    fn moved(&mut self, from: u64, to: u64, weight: u64) {
        self.readers.moved(from, to, weight);
        // Most of what moves nobody pins: it was used lately.
        if !self.leased.remove(from) {
            return;
        }
        self.leased.insert(to);
        for owner in self.owners.values_mut() {
            if !owner.leased.remove(from) {
                continue;
            }
            owner.leased.insert(to, weight);
            for lease in owner.leases.values_mut() {
                if lease.places.remove(from) {
                    lease.places.insert(to);
                }
            }
        }
    }

    fn count(&self) -> usize {
        self.owners.values().map(|it| it.leases.len()).sum()
    }

    fn pin(&mut self, id: &LeaseId, now: SystemTime, places: impl Iterator<Item = (u64, u64)>) {
        let mut places = places.peekable();
        let is_new = self.owners.get(id.owner()).is_none_or(|it| !it.leases.contains_key(id));
        if is_new {
            // Whoever was told of nothing has nothing to hold.
            if places.peek().is_none() {
                return;
            }
            self.make_room(now);
        }
        let owner = self.owners.entry(Arc::clone(id.owner())).or_default();
        let mut lease = owner.leases.remove(id).unwrap_or_else(|| Lease::new(now));
        lease.used = lease.used.max(now);
        let before = owner.leases.len();
        for (place, weight) in places {
            if lease.places.contains(place) {
                continue;
            }
            let is_pinned = owner.leased.contains(place, weight);
            if !is_pinned && !owner.make_room(&lease, self.share_bytes.saturating_sub(weight)) {
                continue;
            }
            lease.places.insert(place);
            owner.leased.insert(place, weight);
            self.leased.insert(place);
        }
        let is_ended = owner.leases.len() < before;
        owner.leases.insert(id.clone(), lease);
        if is_ended {
            self.renew();
        }
    }

    /// Makes room for another lease: at the expense of whoever has most, so that nobody takes everybody's.
    fn make_room(&mut self, now: SystemTime) {
        self.end_silent(now);
        while self.count() >= LEASES_MAX {
            let most = self.owners.values_mut().max_by_key(|it| it.leases.len());
            let most = most.expect("there are leases");
            (0..ENDED_AT_ONCE).for_each(|_| most.end_longest_silent());
            most.renew();
            self.renew();
        }
    }

    fn end_silent(&mut self, now: SystemTime) {
        let before = self.count();
        for owner in self.owners.values_mut() {
            let had = owner.leases.len();
            let is_heard = |it: &Lease| now.duration_since(it.used).unwrap_or_default() < self.time;
            owner.leases.retain(|_, lease| is_heard(lease));
            if owner.leases.len() < had {
                owner.renew();
            }
        }
        if self.count() < before {
            self.renew();
        }
    }

    /// Finds out what is still pinned after a lease ended.
    fn renew(&mut self) {
        self.releases += 1;
        self.owners.retain(|_, it| !it.leases.is_empty());
        self.leased = RoaringTreemap::new();
        for lease in self.owners.values().flat_map(|it| it.leases.values()) {
            self.leased |= &lease.places;
        }
    }
}

impl Owner {
    /// Ends leases until all of them pin no more than that many bytes, but not that one. Returns whether it came to that.
    fn make_room(&mut self, but: &Lease, bytes_max: u64) -> bool {
        while self.leased.bytes() > bytes_max && !self.leases.is_empty() {
            self.end_longest_silent();
            self.keep(but.places.clone());
        }
        self.leased.bytes() <= bytes_max
    }

    fn end_longest_silent(&mut self) {
        let longest = self.leases.iter().min_by_key(|(_, it)| it.used).map(|(id, _)| id.clone());
        if let Some(longest) = longest {
            self.leases.remove(&longest);
        }
    }

    fn renew(&mut self) {
        self.keep(RoaringTreemap::new());
    }

    /// Finds out what is still pinned: by a lease, or because it is among those places.
    fn keep(&mut self, mut places: RoaringTreemap) {
        self.leases.values().for_each(|it| places |= &it.places);
        self.leased.keep(&places);
    }
}

impl Lease {
    fn new(used: SystemTime) -> Self {
        Self { places: RoaringTreemap::new(), used }
    }
}

/// Returns the number that stands for a place.
pub(super) fn key(place: Place) -> u64 {
    u64::from(place.segment) << 32 | u64::from(place.ordinal)
}
