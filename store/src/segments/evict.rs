//! Eviction: the oldest segment is dropped, after what is pinned or was used lately was copied forward.

use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::core::Core;
use super::head::Doomed;
use super::journal;
use super::large;
use super::log::{Rank, Wish};
use super::record::{Entry, Form, HEADER_BYTES, Header, Name, Place, Record};
use super::sealed;
use super::segment::Segment;
use crate::StoreError;
use crate::blocking::blocking;

/// Of what was used lately but is pinned by nobody, at most so many quarters of a segment are copied forward: else a store
/// whose every blob is used would copy for ever, and take nothing new.
const SECOND_CHANCE_QUARTERS: u64 = 3;

/// A byte is not worth more than that many copied ones: where more is pinned the store is full.
const COPIED_PER_FREED: u64 = 7;

/// How many times it is tried: what is copied forward begins segments, which are not full at first.
const PASSES: usize = 3;

/// How long nothing is tried again where nothing could be dropped: to find that out, every record is looked at.
const VERDICT_TIME: Duration = Duration::from_secs(1);

/// How many records are decided upon at once.
const BATCH: usize = 1024;

/// That nothing could be dropped any more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Verdict {
    /// How far down it was to go.
    target_bytes: u64,
    /// How many times something had been let go.
    releases: u64,
    at: SystemTime,
}

impl Verdict {
    /// Returns whether another attempt would come to the same.
    fn holds_for(&self, other: &Self) -> bool {
        let age = other.at.duration_since(self.at).unwrap_or_default();
        let is_less = other.target_bytes > self.target_bytes;
        !is_less && other.releases == self.releases && age < VERDICT_TIME
    }
}

/// What was dropped since the store was opened.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Evicted {
    pub(super) bytes: u64,
    /// How old the segment was that was dropped last.
    pub(super) retention: Option<Duration>,
}

/// What is to become of a record in a segment that is to be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Drop,
    Copy,
}

/// Some records of a segment that the index leads to.
pub(super) struct Live {
    pub(super) records: Vec<(Header, Entry)>,
    /// The ordinal after those that were looked at.
    pub(super) next: u32,
}

/// What dropping a segment would come to.
#[derive(Clone, Copy, Debug, Default)]
struct Estimate {
    copied_bytes: u64,
    freed_bytes: u64,
}

impl Core {
    /// Returns once so many bytes can be written, or says that nothing can be dropped for them.
    pub(super) fn make_room(&self, bytes: u64) -> Result<(), StoreError> {
        blocking(|| self.evict_to(self.settings.hard_bytes().saturating_sub(bytes)))
    }

    /// Drops segments until the store takes no more than that many bytes.
    pub(super) fn evict_to(&self, target_bytes: u64) -> Result<(), StoreError> {
        let mut known = self.evicting.lock().expect("no holder panics");
        let is_waiting = self.doomed_bytes.load(Ordering::Relaxed) > 0;
        if self.recent().is_full() || is_waiting && self.physical_bytes() > target_bytes {
            self.checkpoint()?;
        }
        if self.physical_bytes() <= target_bytes {
            *known = None;
            return Ok(());
        }
        self.expire()?;
        let verdict = Verdict {
            target_bytes,
            releases: self.leases.releases(),
            at: self.settings.clock.now(),
        };
        if known.is_some_and(|it| it.holds_for(&verdict)) {
            return Err(self.full());
        }
        for _ in 0..PASSES {
            let needed = self.physical_bytes().saturating_sub(target_bytes);
            for id in self.plan(needed)? {
                self.drop_segment(id)?;
                if self.physical_bytes() <= target_bytes {
                    return Ok(());
                }
            }
        }
        *known = Some(verdict);
        Err(self.full())
    }

    /// Returns which segments are dropped for that many bytes, the oldest first; none of them if that would not be enough.
    fn plan(&self, needed_bytes: u64) -> Result<Vec<u32>, StoreError> {
        let (mut freed, mut copied, mut chosen) = (0, 0, Vec::new());
        for id in self.segments.ids() {
            let estimate = self.estimate(id)?;
            freed += estimate.freed_bytes;
            copied += estimate.copied_bytes;
            chosen.push(id);
            let gain = freed.saturating_sub(copied);
            if gain >= needed_bytes && copied <= COPIED_PER_FREED * gain {
                return Ok(chosen);
            }
        }
        Ok(Vec::new())
    }

    fn estimate(&self, id: u32) -> Result<Estimate, StoreError> {
        let mut estimate =
            Estimate { freed_bytes: self.segments.bytes_of(id), ..Estimate::default() };
        let mut budget = self.second_chances(id);
        self.each_live(id, |records| {
            for (header, entry) in records {
                let copied = HEADER_BYTES as u64 + u64::from(header.stored);
                match self.fate(header, *entry, &mut budget) {
                    Fate::Copy => estimate.copied_bytes += copied,
                    Fate::Drop if entry.form == Form::File => estimate.freed_bytes += entry.size,
                    Fate::Drop => {}
                }
            }
            Ok(())
        })?;
        Ok(estimate)
    }

    fn second_chances(&self, id: u32) -> u64 {
        self.segments.bytes_of(id) / 4 * SECOND_CHANCE_QUARTERS
    }

    fn fate(&self, header: &Header, entry: Entry, budget: &mut u64) -> Fate {
        if self.leases.is_pinned(entry.place) {
            return Fate::Copy;
        }
        let bytes = HEADER_BYTES as u64 + u64::from(header.stored);
        // A file is not copied, but it stays: it counts as what it is.
        let weight = bytes + if header.form == Form::File { header.size } else { 0 };
        if weight > *budget || !self.touched.contains(entry.place) {
            return Fate::Drop;
        }
        *budget -= weight;
        Fate::Copy
    }

    /// Tells `tell` of the records of a segment that the index leads to, some at a time.
    fn each_live(
        &self,
        id: u32,
        mut tell: impl FnMut(&[(Header, Entry)]) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let mut from = 0;
        while let Some(live) = self.live(id, from)? {
            live.records.chunks(BATCH).try_for_each(&mut tell)?;
            from = live.next;
        }
        Ok(())
    }

    /// Returns some records of a segment from that one on that the index leads to, and which one is next, or `None` after
    /// the last.
    pub(super) fn live(&self, id: u32, from: u32) -> Result<Option<Live>, StoreError> {
        let Some(segment) = self.segments.get(id) else { return Ok(None) };
        let headers = segment.headers(from)?;
        if headers.is_empty() {
            return Ok(None);
        }
        let next = from + u32::try_from(headers.len()).expect("ordinals have 32 bits");
        let places = (from..).map(|ordinal| Place { segment: id, ordinal });
        let headers: Vec<_> =
            headers.into_iter().zip(places).filter_map(|(it, at)| Some((it?, at))).collect();
        let names: Vec<Name> = headers.iter().map(|(header, _)| header.name).collect();
        let entries = self.find(&names)?;
        let live = headers.into_iter().zip(entries).filter_map(|((header, place), entry)| {
            let entry = entry.filter(|it| it.place == place)?;
            Some((header, entry))
        });
        Ok(Some(Live { records: live.collect(), next }))
    }

    fn drop_segment(&self, id: u32) -> Result<(), StoreError> {
        {
            let mut head = self.head();
            if head.active_id() == Some(id) {
                self.end_active(&mut head);
            }
        }
        let Some(segment) = self.segments.get(id) else { return Ok(()) };
        let mut budget = self.second_chances(id);
        self.each_live(id, |records| {
            let mut dropped = Vec::new();
            for (header, entry) in records {
                match self.fate(header, *entry, &mut budget) {
                    Fate::Copy => self.copy_forward(header.name, *entry)?,
                    Fate::Drop => dropped.push((header.name, *entry)),
                }
            }
            let (pinned, bytes) = self.drop_records(&dropped)?;
            self.evicted().bytes += bytes;
            pinned.into_iter().try_for_each(|(name, entry)| self.copy_forward(name, entry))?;
            if self.recent().is_due() { self.checkpoint() } else { Ok(()) }
        })?;
        self.touched.forget(id);
        self.leases.forget(id);
        self.head().dropped.push(id);
        // Only when the index leads there no more is the file removed: else a crash would leave entries without records.
        self.checkpoint()?;
        self.evicted().retention = self.settings.clock.now().duration_since(segment.begun()).ok();
        self.segments.remove(id);
        self.blocks.forget(id);
        self.files.remove(&match *segment {
            Segment::Journal(_) => journal::path(id),
            Segment::Sealed(_) => sealed::path(id),
        })
    }

    /// Writes a record anew, at the end of the log.
    fn copy_forward(&self, name: Name, entry: Entry) -> Result<(), StoreError> {
        let Some(payload) = self.payload(name, entry)? else { return Ok(()) };
        let record = Record::new(name, entry.form, entry.size, payload);
        // If another word on the name came meanwhile, that one stands.
        self.put(&record, Wish::At(entry.place), Rank::Keeper)?;
        Ok(())
    }

    /// Takes records out of the index, all but those that are pinned, which are returned, with how many bytes the others had.
    fn drop_records(
        &self,
        records: &[(Name, Entry)],
    ) -> Result<(Vec<(Name, Entry)>, u64), StoreError> {
        let names: Vec<Name> = records.iter().map(|(name, _)| *name).collect();
        let files = records.iter().map(|(name, entry)| match entry.form {
            Form::File => self.file_of(*name, *entry),
            Form::Bytes | Form::Manifest | Form::Tombstone | Form::Dead => Ok(None),
        });
        let files = files.collect::<Result<Vec<_>, _>>()?;
        let looked = self.look(&names)?;
        let (mut pinned, mut bytes) = (Vec::new(), 0);
        let mut head = self.head();
        for ((index, (name, entry)), file) in records.iter().enumerate().zip(files) {
            let old = self.current(*name, index, &looked)?;
            if old.is_none_or(|it| it.place != entry.place) {
                continue;
            }
            // Under one lock: whoever pins it and then finds it still there has pinned it in time.
            let mut recent = self.recent();
            if self.leases.is_pinned(entry.place) {
                pinned.push((*name, *entry));
                continue;
            }
            recent.publish(*name, old, None, 0);
            drop(recent);
            bytes += entry.size;
            if let Some(path) = file {
                self.doom(&mut head, Doomed { path, bytes: entry.size });
            }
        }
        Ok((pinned, bytes))
    }

    /// Returns the path of the file that a record stands for, if that can be known.
    pub(super) fn file_of(&self, name: Name, entry: Entry) -> Result<Option<PathBuf>, StoreError> {
        let file = self.peek(entry)?.and_then(|payload| large::LargeFile::decode(&payload));
        Ok(file.map(|it| large::path(&name, it.number)))
    }
}
