//! Segments: what the store consists of, the oldest first; each is a journal, or sealed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};
use std::time::SystemTime;

use super::blocks::Blocks;
use super::journal::Journal;
use super::quarantine::or_nothing;
use super::record::{Entry, Header, Raw};
use super::sealed::Sealed;
use crate::StoreError;

/// How many headers of a journal are read at once.
const HEADERS: u32 = 1024;

/// Records under ordinals.
#[derive(Debug)]
pub(super) enum Segment {
    Journal(Arc<Journal>),
    Sealed(Arc<Sealed>),
}

impl Segment {
    /// Returns when its first record was, or could have been, written.
    pub(super) fn begun(&self) -> SystemTime {
        match self {
            Self::Journal(journal) => journal.begun(),
            Self::Sealed(sealed) => sealed.begun(),
        }
    }

    pub(super) fn records(&self) -> u32 {
        match self {
            Self::Journal(journal) => journal.records(),
            Self::Sealed(sealed) => sealed.records(),
        }
    }

    /// Returns a record as it stands there, or `None` if there is none.
    pub(super) fn read(&self, ordinal: u32, blocks: &Blocks) -> Result<Option<Raw>, StoreError> {
        match self {
            Self::Journal(journal) => journal.read(ordinal),
            Self::Sealed(sealed) => sealed.read(ordinal, blocks),
        }
    }

    /// Returns the headers of some records from that one on, none after the last; `None` where one is not right.
    pub(super) fn headers(&self, from: u32) -> Result<Vec<Option<Header>>, StoreError> {
        match self {
            Self::Journal(journal) => {
                let to = journal.records().min(from.saturating_add(HEADERS));
                (from..to).map(|ordinal| or_nothing(journal.header(ordinal))).collect()
            }
            Self::Sealed(sealed) => sealed.headers(from),
        }
    }
}

/// All segments by their numbers.
#[derive(Debug, Default)]
pub(super) struct Segments {
    kept: RwLock<BTreeMap<u32, (Arc<Segment>, u64)>>,
    bytes: AtomicU64,
}

impl Segments {
    pub(super) fn get(&self, id: u32) -> Option<Arc<Segment>> {
        let kept = self.kept.read().expect("no holder panics");
        kept.get(&id).map(|(segment, _)| Arc::clone(segment))
    }

    /// Takes the entries away whose segment is gone. Returns whether there were any.
    pub(super) fn take_gone(&self, entries: &mut [Option<Entry>]) -> bool {
        let kept = self.kept.read().expect("no holder panics");
        let is_gone = |it: &mut Entry| !kept.contains_key(&it.place.segment);
        let gone = |any, entry: &mut Option<Entry>| any | entry.take_if(is_gone).is_some();
        entries.iter_mut().fold(false, gone)
    }

    /// Puts a segment, which takes that many bytes on the disk, in the place of the one of that number.
    pub(super) fn insert(&self, id: u32, segment: Segment, bytes: u64) {
        let mut kept = self.kept.write().expect("no holder panics");
        let before = kept.insert(id, (Arc::new(segment), bytes)).map_or(0, |(_, bytes)| bytes);
        self.bytes.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Says that a segment takes that many bytes now.
    pub(super) fn resize(&self, id: u32, bytes: u64) {
        let mut kept = self.kept.write().expect("no holder panics");
        if let Some((_, before)) = kept.get_mut(&id) {
            self.bytes.fetch_add(bytes.wrapping_sub(*before), Ordering::Relaxed);
            *before = bytes;
        }
    }

    pub(super) fn remove(&self, id: u32) {
        let mut kept = self.kept.write().expect("no holder panics");
        let before = kept.remove(&id).map_or(0, |(_, bytes)| bytes);
        self.bytes.fetch_sub(before, Ordering::Relaxed);
    }

    /// Returns all numbers, the oldest first.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.kept.read().expect("no holder panics").keys().copied().collect()
    }

    pub(super) fn bytes_of(&self, id: u32) -> u64 {
        self.kept.read().expect("no holder panics").get(&id).map_or(0, |(_, bytes)| *bytes)
    }

    /// Returns how many bytes all of them take on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}
