//! Leases: what running builds were told is there, and what is being read, stays.

mod owner;
mod readers;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use roaring::RoaringTreemap;

use super::record::Place;
use super::weighed::Weighed;
use crate::LeaseId;

use self::owner::Owner;
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
        held.owners.values_mut().for_each(|it| it.share(to, &chunks, &places));
    }

    /// Forgets the places of a segment that is no more.
    pub(super) fn forget(&self, segment: u32) {
        let range = u64::from(segment) << 32..=u64::from(segment) << 32 | u64::from(u32::MAX);
        let mut held = self.held();
        held.owners.values_mut().for_each(|it| it.forget(&range));
        held.readers.remove_range(&range);
        held.leased.remove_range(range);
    }

    pub(super) fn pinned(&self) -> Pinned {
        let held = self.held();
        let bytes = held.owners.values().map(Owner::bytes).sum();
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
        self.owners.values_mut().for_each(|it| it.moved(from, to, weight));
    }

    fn count(&self) -> usize {
        self.owners.values().map(Owner::count).sum()
    }

    fn pin(&mut self, id: &LeaseId, now: SystemTime, places: impl Iterator<Item = (u64, u64)>) {
        let mut places = places.peekable();
        if !self.owners.get(id.owner()).is_some_and(|it| it.holds(id)) {
            // Whoever was told of nothing has nothing to hold.
            if places.peek().is_none() {
                return;
            }
            self.make_room(now);
        }
        let owner = self.owners.entry(Arc::clone(id.owner())).or_default();
        let is_any_ended = owner.pin(id, now, places, self.share_bytes, &mut self.leased);
        if is_any_ended {
            self.renew();
        }
    }

    /// Makes room for another lease: at the expense of whoever has most, so that nobody takes everybody's.
    fn make_room(&mut self, now: SystemTime) {
        self.end_silent(now);
        while self.count() >= LEASES_MAX {
            let most = self.owners.values_mut().max_by_key(|it| it.count());
            most.expect("there are leases").end_longest_silent(ENDED_AT_ONCE);
            self.renew();
        }
    }

    fn end_silent(&mut self, now: SystemTime) {
        let before = self.count();
        self.owners.values_mut().for_each(|it| it.end_silent(now, self.time));
        if self.count() < before {
            self.renew();
        }
    }

    /// Finds out what is still pinned after leases ended.
    fn renew(&mut self) {
        self.releases += 1;
        self.owners.retain(|_, it| it.count() > 0);
        self.leased = RoaringTreemap::new();
        self.owners.values().for_each(|it| self.leased |= it.places());
    }
}

/// Returns the number that stands for a place.
pub(super) fn key(place: Place) -> u64 {
    u64::from(place.segment) << 32 | u64::from(place.ordinal)
}
