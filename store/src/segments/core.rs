//! The core of the server's store: what its parts share, and how a record is found and read.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::Bytes;

use super::bell::Bells;
use super::blocks::Blocks;
use super::commits::{Commits, Dirty};
use super::disk::Lock;
use super::evict::{Evicted, Verdict};
use super::files::Files;
use super::head::Head;
use super::index::Index;
use super::leases::{Holder, Leases, ReaderId};
use super::quarantine::{Quarantine, or_nothing};
use super::recent::{Leaving, Recent};
use super::record::{Entry, Form, Header, Name, Raw};
use super::segment::Segments;
use super::settings::Settings;
use super::settle::Settling;
use super::touched::Touched;
use super::uploads::Uploads;
use crate::{Scrubbed, StoreError};

/// Everything that the store's faces and its threads share. Locks are taken in the order in which they stand here.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) files: Files,
    pub(super) settings: Settings,
    pub(super) index: Index,
    pub(super) segments: Segments,
    pub(super) blocks: Blocks,
    /// Whether nothing could be dropped any more; held by whoever drops segments.
    pub(super) evicting: Mutex<Option<Verdict>>,
    pub(super) leaving: Mutex<Leaving>,
    pub(super) syncing: Mutex<Dirty>,
    pub(super) head: Mutex<Head>,
    pub(super) recent: Mutex<Recent>,
    pub(super) evicted: Mutex<Evicted>,
    pub(super) scrubbed: Mutex<Scrubbed>,
    pub(super) commits: Commits,
    pub(super) leases: Leases,
    pub(super) touched: Touched,
    pub(super) uploads: Uploads,
    pub(super) settling: Settling,
    pub(super) quarantine: Quarantine,
    pub(super) bells: Bells,
    /// How many bytes the files have that are to be removed.
    pub(super) doomed_bytes: AtomicU64,
    pub(super) _lock: Box<dyn Lock>,
}

/// How many times a record is looked up again whose segment was dropped while it was read.
const TRIES: usize = 8;

impl Core {
    pub(super) fn head(&self) -> MutexGuard<'_, Head> {
        self.head.lock().expect("no holder panics")
    }

    pub(super) fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().expect("no holder panics")
    }

    pub(super) fn evicted(&self) -> MutexGuard<'_, Evicted> {
        self.evicted.lock().expect("no holder panics")
    }

    pub(super) fn scrubbed(&self) -> MutexGuard<'_, Scrubbed> {
        self.scrubbed.lock().expect("no holder panics")
    }

    /// Returns how many bytes the store takes on the disk.
    pub(super) fn physical_bytes(&self) -> u64 {
        let doomed = self.doomed_bytes.load(Ordering::Relaxed);
        let files = self.recent().counters().file_bytes + doomed;
        let aside = self.quarantine.bytes() + self.uploads.bytes();
        self.segments.bytes() + self.index.bytes() + files + aside
    }

    /// Returns where the records of those names are, and pins them for the holder: what he is told exists stays.
    ///
    /// Of a blob that consists of chunks only its manifest is looked for here.
    pub(super) fn see(
        &self,
        names: &[Name],
        holder: Option<&Holder>,
    ) -> Result<Vec<Option<Entry>>, StoreError> {
        let mut looked = self.find_now(names)?;
        self.touched.touch(looked.entries.iter().flatten().map(|it| it.place));
        let Some(holder) = holder else { return Ok(looked.entries) };
        let now = self.settings.clock.now();
        loop {
            let pinned: Vec<_> = looked.entries.iter().map(|it| it.map(|it| it.place)).collect();
            let places = looked.entries.iter().flatten().map(|it| (it.place, it.own_bytes()));
            self.leases.pin(holder, now, places);
            if self.recent().moves() == looked.moves {
                return Ok(looked.entries);
            }
            // What is still where it was pinned stays there: whoever drops a record looks for pins and publishes that
            // it is gone under the same lock under which it was just found.
            looked = self.find_now(names)?;
            let mut now_at = looked.entries.iter().map(|it| it.map(|it| it.place));
            if pinned.into_iter().all(|it| now_at.next() == Some(it)) {
                return Ok(looked.entries);
            }
        }
    }

    /// Returns the payload of the record with that name, where the index said it is, or `None` if it is there no more.
    /// One that is not what it should be is taken away.
    pub(super) fn payload(&self, name: Name, entry: Entry) -> Result<Option<Bytes>, StoreError> {
        let mut entry = entry;
        for _ in 0..TRIES {
            let Some(segment) = self.segments.get(entry.place.segment) else {
                let Some(found) = self.find(&[name])?[0] else { return Ok(None) };
                entry = found;
                continue;
            };
            let read = segment.read(entry.place.ordinal, &self.blocks);
            let raw = or_nothing(read)?.unwrap_or_default();
            let payload = raw.payload.clone();
            let is_meant = |it: &Header| {
                let is_whole = it.form != Form::Bytes || it.size == u64::from(it.stored);
                it.name == name && it.form == entry.form && it.size == entry.size && is_whole
            };
            if raw.checked().is_some_and(|it| is_meant(&it.header)) {
                return Ok(Some(payload));
            }
            self.take_away(name, entry, &payload)?;
            // Perhaps there is another one by now.
            match self.find(&[name])?[0] {
                Some(found) if found.place != entry.place => entry = found,
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Returns the payload of a record if it is right, and changes nothing if it is not.
    pub(super) fn peek(&self, entry: Entry) -> Result<Option<Bytes>, StoreError> {
        let Some(segment) = self.segments.get(entry.place.segment) else { return Ok(None) };
        let raw = or_nothing(segment.read(entry.place.ordinal, &self.blocks))?;
        Ok(raw.and_then(Raw::checked).map(|it| it.payload))
    }

    /// Returns what is said where there is no room.
    pub(super) fn full(&self) -> StoreError {
        StoreError::Full {
            budget_bytes: self.settings.budget_bytes,
            pinned_bytes: self.leases.pinned().bytes,
        }
    }

    /// Returns what a holder pins as long as it lives: to read a blob of several records.
    pub(super) fn reader(self: &Arc<Self>) -> Reader {
        let id = self.leases.reader();
        Reader { core: Arc::clone(self), id, holder: Holder::Reader(id) }
    }
}

/// Somebody who reads. What he pins is let go when he is dropped.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) core: Arc<Core>,
    pub(super) id: ReaderId,
    pub(super) holder: Holder,
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.core.leases.end_reader(self.id);
    }
}
