//! The log: where records are appended and published.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::core::Core;
use super::head::{Doomed, Head};
use super::journal::Journal;
use super::leases::ReaderId;
use super::recent::Looked;
use super::record::{Entry, Form, HEADER_BYTES, Name, Place, Record};
use super::segment::Segment;
use crate::StoreError;

/// What must be the case for a record to be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing has that name.
    Absent,
    /// What has the name is there.
    At(Place),
    /// The same; and whoever pins that pins from then on the chunks that it was cut into, which that reader pins.
    Cut(Place, ReaderId),
    /// Nothing.
    Any,
}

impl Wish {
    fn holds(self, old: Option<Entry>) -> bool {
        match self {
            Self::Absent => old.is_none(),
            Self::At(place) | Self::Cut(place, _) => old.is_some_and(|it| it.place == place),
            Self::Any => true,
        }
    }
}

/// What came of appending a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    /// It is there, in the place of what was.
    Done(Option<Entry>),
    /// The wish did not hold, for what is there.
    Refused(Option<Entry>),
}

/// Who writes: those who make room have some for themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rank {
    Writer,
    Keeper,
}

/// Where a record can be appended.
enum Slot {
    Journal(Arc<Journal>),
    /// Nowhere, before there is room for that many bytes, and in memory for another name.
    Needs(u64),
}

impl Core {
    /// Appends a record and publishes it, if the wish holds for what has its name.
    pub(super) fn put(&self, record: &Record, wish: Wish, rank: Rank) -> Result<Put, StoreError> {
        // Outside the lock, where others need not wait for the disk.
        let looked = self.look(&[record.header.name])?;
        if !wish.holds(looked.entries[0]) {
            return Ok(Put::Refused(looked.entries[0]));
        }
        self.put_after(&looked, record, wish, rank)
    }

    /// Does the same for a name, and that alone, that was looked up a moment ago.
    pub(super) fn put_after(
        &self,
        looked: &Looked,
        record: &Record,
        wish: Wish,
        rank: Rank,
    ) -> Result<Put, StoreError> {
        let name = record.header.name;
        loop {
            let mut head = self.head();
            let old = self.current(name, 0, looked)?;
            let old = old.filter(|it| self.segments.get(it.place.segment).is_some());
            if !wish.holds(old) {
                return Ok(Put::Refused(old));
            }
            let bytes = (HEADER_BYTES + record.payload.len()) as u64;
            let active = match self.active(&mut head, bytes, rank)? {
                Slot::Journal(active) => active,
                Slot::Needs(bytes) => {
                    drop(head);
                    self.make_room(bytes)?;
                    continue;
                }
            };
            let place = match active.append(record) {
                Ok(place) => place,
                Err(error) => {
                    // What half a record left behind is never looked at again.
                    self.end_active(&mut head);
                    return Err(error);
                }
            };
            head.sequence += 1;
            if record.header.form == Form::File {
                head.weight += record.header.size;
            }
            let is_chunk = old.is_some_and(|it| it.is_chunk);
            let (form, size) = (record.header.form, record.header.size);
            let new = (form != Form::Tombstone).then_some(Entry { place, form, is_chunk, size });
            let is_due = {
                let mut recent = self.recent();
                recent.publish(name, old, new, bytes);
                recent.is_due()
            };
            if is_due {
                self.bells.keeper.ring();
            }
            self.touched.written(bytes, self.settings.budget_bytes);
            match (wish, new) {
                (Wish::At(from), Some(new)) => {
                    self.leases.moved(from, new.place, new.own_bytes());
                }
                (Wish::Cut(from, reader), Some(new)) => self.leases.cut(from, new.place, reader),
                (Wish::At(_) | Wish::Cut(..), None) | (Wish::Absent | Wish::Any, _) => {}
            }
            return Ok(Put::Done(old));
        }
    }

    /// Returns the newest entry of a name, the head being locked; `looked` is what was found out before, at `index`.
    pub(super) fn current(
        &self,
        name: Name,
        index: usize,
        looked: &Looked,
    ) -> Result<Option<Entry>, StoreError> {
        let recent = self.recent();
        if let Some(entry) = recent.get(&name) {
            return Ok(entry);
        }
        if recent.departures == looked.departures {
            return Ok(looked.entries[index]);
        }
        // What left for the index meanwhile is there.
        drop(recent);
        Ok(self.index.find(&[name])?[0])
    }

    /// Returns the journal that has room for that many bytes.
    fn active(&self, head: &mut Head, bytes: u64, rank: Rank) -> Result<Slot, StoreError> {
        if rank == Rank::Writer && self.recent().is_full() {
            return Ok(Slot::Needs(0));
        }
        let has_room = |active: &Arc<Journal>| {
            active.end() + bytes <= head.room && head.weight < self.settings.segment_bytes()
        };
        if let Some(active) = head.active.as_ref().filter(|it| has_room(it)) {
            return Ok(Slot::Journal(Arc::clone(active)));
        }
        let room = self.settings.segment_bytes().max(super::journal::FIRST_RECORD + bytes);
        let limit = match rank {
            Rank::Writer => self.settings.hard_bytes(),
            Rank::Keeper => u64::MAX,
        };
        if self.physical_bytes() + room > limit {
            return Ok(Slot::Needs(room));
        }
        self.end_active(head);
        let id = head.next_segment;
        let now = self.settings.clock.now();
        let journal = Journal::create(&self.files, id, now, head.last, room)?;
        let journal = Arc::new(journal);
        head.next_segment += 1;
        head.folders.insert(PathBuf::from("segments"));
        head.uncovered.insert(id, Arc::clone(&journal));
        self.segments.insert(id, Segment::Journal(Arc::clone(&journal)), room);
        head.resume(Arc::clone(&journal), room);
        Ok(Slot::Journal(journal))
    }

    /// Lets the next record begin a journal, and gives back what this one has no use for.
    pub(super) fn end_active(&self, head: &mut Head) {
        let Some(active) = head.active.take() else { return };
        // Without it the file is only larger than it need be.
        if active.file().resize(active.end()).is_ok() {
            self.segments.resize(active.id(), active.end());
        }
        active.shrink();
        head.note_last(&active);
        head.ended.push(active);
        self.bells.sealer.ring();
        self.bells.keeper.ring();
    }

    /// Puts a record in the place of that one, if it is still there, whose file goes then. Returns whether that was done.
    pub(super) fn replace(
        &self,
        old: Entry,
        record: &Record,
        rank: Rank,
    ) -> Result<bool, StoreError> {
        self.replace_if(Wish::At(old.place), old, record, rank)
    }

    /// Does the same with the manifest of the chunks that it was cut into, which that reader pins.
    pub(super) fn replace_by_chunks(
        &self,
        old: Entry,
        record: &Record,
        reader: ReaderId,
    ) -> Result<bool, StoreError> {
        self.replace_if(Wish::Cut(old.place, reader), old, record, Rank::Writer)
    }

    fn replace_if(
        &self,
        wish: Wish,
        old: Entry,
        record: &Record,
        rank: Rank,
    ) -> Result<bool, StoreError> {
        // Afterwards nothing says any more which file it was.
        let file = match old.form {
            Form::File => self.file_of(record.header.name, old)?,
            Form::Bytes | Form::Manifest | Form::Tombstone | Form::Dead => None,
        };
        let Put::Done(_) = self.put(record, wish, rank)? else { return Ok(false) };
        if let Some(path) = file {
            self.doom(&mut self.head(), Doomed { path, bytes: old.size });
        }
        Ok(true)
    }

    /// Removes a file once the index does not lead to it any more. Until then it counts.
    pub(super) fn doom(&self, head: &mut Head, doomed: Doomed) {
        self.doomed_bytes.fetch_add(doomed.bytes, Ordering::Relaxed);
        head.doomed.push(doomed);
    }
}
