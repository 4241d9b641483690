//! Leases: what running builds were told is there, and what is being read, stays.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use roaring::RoaringTreemap;

use super::record::Place;
use crate::LeaseId;

/// How many leases there are at most: more builds than a server has connections.
const LEASES_MAX: usize = 4096;

/// Who pins.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Holder {
    /// A build.
    Lease(LeaseId),
    /// Somebody who is reading a blob of several records.
    Reader(u64),
}

/// What is pinned, by whom.
#[derive(Debug)]
pub(super) struct Leases {
    held: Mutex<Held>,
}

#[derive(Debug, Default)]
struct Held {
    /// How long a build is silent before what it pins is let go.
    time: Duration,
    leases: BTreeMap<LeaseId, Pins>,
    /// What any lease pins.
    leased: RoaringTreemap,
    readers: BTreeMap<u64, RoaringTreemap>,
    next_reader: u64,
    /// How many times something was let go.
    releases: u64,
}

#[derive(Debug)]
struct Pins {
    places: RoaringTreemap,
    /// How many bytes of those no lease had pinned before.
    bytes: u64,
    used: SystemTime,
}

/// What is pinned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pinned {
    pub(super) leases: u64,
    pub(super) bytes: u64,
}

/// There are as many leases as there can be.
#[derive(Debug)]
pub(super) struct TooManyLeases;

impl Leases {
    /// Returns no leases, each of which will last so long after it was used last.
    pub(super) fn new(time: Duration) -> Self {
        Self { held: Mutex::new(Held { time, ..Held::default() }) }
    }

    /// Returns a new holder who reads.
    pub(super) fn reader(&self) -> Holder {
        let mut held = self.held();
        held.next_reader += 1;
        let reader = held.next_reader;
        held.readers.insert(reader, RoaringTreemap::new());
        Holder::Reader(reader)
    }

    /// Says that a holder is still there, and pins places of that many bytes each for him.
    pub(super) fn pin(
        &self,
        holder: &Holder,
        now: SystemTime,
        places: impl Iterator<Item = (Place, u64)>,
    ) -> Result<(), TooManyLeases> {
        let mut held = self.held();
        let held = &mut *held;
        let lease = match holder {
            Holder::Lease(lease) => lease,
            Holder::Reader(reader) => {
                let pins = held.readers.entry(*reader).or_default();
                pins.extend(places.map(|(place, _)| key(place)));
                return Ok(());
            }
        };
        if !held.leases.contains_key(lease) {
            held.end_silent(now);
            if held.leases.len() >= LEASES_MAX {
                return Err(TooManyLeases);
            }
            held.leases.insert(lease.clone(), Pins::new(now));
        }
        let pins = held.leases.get_mut(lease).expect("it was put there");
        pins.used = pins.used.max(now);
        for (place, bytes) in places {
            if pins.places.insert(key(place)) && held.leased.insert(key(place)) {
                pins.bytes += bytes;
            }
        }
        Ok(())
    }

    /// Lets go all that a reader pins.
    pub(super) fn end_reader(&self, holder: &Holder) {
        let mut held = self.held();
        held.releases += 1;
        if let Holder::Reader(reader) = holder {
            held.readers.remove(reader);
        }
    }

    /// Ends the leases of builds that have been silent for too long.
    pub(super) fn end_silent(&self, now: SystemTime) {
        self.held().end_silent(now);
    }

    pub(super) fn is_pinned(&self, place: Place) -> bool {
        let held = self.held();
        held.leased.contains(key(place)) || held.readers.values().any(|it| it.contains(key(place)))
    }

    /// Says that what was at one place is at another now.
    pub(super) fn moved(&self, from: Place, to: Place) {
        let mut held = self.held();
        if held.leased.contains(key(from)) {
            held.leased.insert(key(to));
        }
        for places in held.holders() {
            if places.contains(key(from)) {
                places.insert(key(to));
            }
        }
    }

    /// Pins all that a reader pins for everybody who pins that place: it is of no use without.
    pub(super) fn share(&self, place: Place, reader: &Holder) {
        let Holder::Reader(reader) = reader else { return };
        let mut held = self.held();
        let Some(shared) = held.readers.get(reader).cloned() else { return };
        if held.leased.contains(key(place)) {
            held.leased |= &shared;
        }
        for places in held.holders() {
            if places.contains(key(place)) {
                *places |= &shared;
            }
        }
    }

    /// Forgets the places of a segment that is no more.
    pub(super) fn forget(&self, segment: u32) {
        let range = u64::from(segment) << 32..=u64::from(segment) << 32 | u64::from(u32::MAX);
        let mut held = self.held();
        held.leased.remove_range(range.clone());
        for places in held.holders() {
            places.remove_range(range.clone());
        }
    }

    pub(super) fn pinned(&self) -> Pinned {
        let held = self.held();
        let bytes = held.leases.values().map(|it| it.bytes).sum();
        Pinned { leases: held.leases.len() as u64, bytes }
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
    fn holders(&mut self) -> impl Iterator<Item = &mut RoaringTreemap> {
        self.leases.values_mut().map(|it| &mut it.places).chain(self.readers.values_mut())
    }

    fn end_silent(&mut self, now: SystemTime) {
        let before = self.leases.len();
        self.leases.retain(|_, pins| now.duration_since(pins.used).unwrap_or_default() < self.time);
        if self.leases.len() == before {
            return;
        }
        self.releases += 1;
        self.leased = RoaringTreemap::new();
        for pins in self.leases.values() {
            self.leased |= &pins.places;
        }
    }
}

impl Pins {
    fn new(used: SystemTime) -> Self {
        Self { places: RoaringTreemap::new(), bytes: 0, used }
    }
}

/// Returns the number that stands for a place.
pub(super) fn key(place: Place) -> u64 {
    u64::from(place.segment) << 32 | u64::from(place.ordinal)
}
