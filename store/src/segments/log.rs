//! The log: where records are appended, published, and made to survive a loss of power together.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};

use tokio::sync::watch;

use super::core::Core;
use super::files::StoreFile;
use super::index::Covered;
use super::journal::{Before, Journal};
use super::leases::ReaderId;
use super::recent::Looked;
use super::record::{Entry, Form, HEADER_BYTES, Name, Place, Record};
use super::segment::Segment;
use super::settings::{Acknowledge, Housekeeping};
use crate::StoreError;
use crate::blocking::blocking;

/// Where the log goes on.
#[derive(Debug)]
pub(super) struct Head {
    /// The journal that is appended to, unless the next record begins one.
    active: Option<Arc<Journal>>,
    /// The one that was appended to last.
    last: Before,
    /// How many bytes it has room for.
    room: u64,
    /// How many bytes the files have that its records stand for.
    weight: u64,
    pub(super) next_segment: u32,
    /// Journals that are not appended to any more, and may not be on the disk.
    ended: Vec<Arc<Journal>>,
    /// Files of blobs whose records are in the log, and that may not be on the disk.
    files: Vec<StoreFile>,
    folders: BTreeSet<PathBuf>,
    /// How many records were appended.
    sequence: u64,
    /// How far those journals are in the index that are not in it to their ends.
    pub(super) covered: BTreeMap<u32, Covered>,
    /// The journals that `covered` speaks of, and those it knows nothing of yet.
    uncovered: BTreeMap<u32, Arc<Journal>>,
    /// Up to where sealed segments are known that the index does not know.
    pub(super) noted: BTreeMap<u32, Covered>,
    /// Journals that were sealed, segments that were dropped, and files that nothing refers to, of which the index does
    /// not know yet.
    pub(super) sealed: Vec<u32>,
    pub(super) dropped: Vec<u32>,
    pub(super) doomed: Vec<Doomed>,
}

/// A file that is removed once the index does not lead to it.
#[derive(Debug)]
pub(super) struct Doomed {
    pub(super) path: PathBuf,
    pub(super) bytes: u64,
}

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

/// What is to be synced: also what could not be, the last time.
#[derive(Debug, Default)]
pub(super) struct Dirty {
    journals: Vec<Arc<Journal>>,
    files: Vec<StoreFile>,
    folders: BTreeSet<PathBuf>,
}

/// How many records survive a loss of power.
#[derive(Debug)]
pub(super) struct Commits {
    told: watch::Sender<Committed>,
    heard: Mutex<()>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Committed {
    sequence: u64,
    failures: u64,
}

impl Commits {
    pub(super) fn new() -> Self {
        let told = watch::Sender::new(Committed::default());
        Self { told, heard: Mutex::new(()), changed: Condvar::new() }
    }

    fn tell(&self, change: impl FnOnce(&mut Committed)) {
        let _heard = self.heard.lock().expect("no holder panics");
        self.told.send_modify(change);
        self.changed.notify_all();
    }

    fn now(&self) -> Committed {
        *self.told.borrow()
    }
}

impl Head {
    pub(super) fn new(next_segment: u32) -> Self {
        Self {
            active: None,
            last: Before::default(),
            room: 0,
            weight: 0,
            next_segment,
            ended: Vec::new(),
            files: Vec::new(),
            folders: BTreeSet::new(),
            sequence: 0,
            covered: BTreeMap::new(),
            uncovered: BTreeMap::new(),
            noted: BTreeMap::new(),
            sealed: Vec::new(),
            dropped: Vec::new(),
            doomed: Vec::new(),
        }
    }

    /// Goes on with a journal that has room for that many bytes.
    pub(super) fn resume(&mut self, journal: Arc<Journal>, room: u64) {
        self.active = Some(journal);
        self.room = room;
        self.weight = 0;
    }

    /// Says which journal the next one will be the continuation of.
    pub(super) fn note_last(&mut self, journal: &Journal) {
        self.last = Before { segment: journal.id(), records: journal.records() };
    }

    /// Says that a journal is in the index up to there.
    pub(super) fn cover(&mut self, journal: &Arc<Journal>, covered: Covered) {
        self.covered.insert(journal.id(), covered);
        self.uncovered.insert(journal.id(), Arc::clone(journal));
    }

    /// Returns the journals that may not be in the index to their ends.
    pub(super) fn uncovered(&self) -> Vec<Arc<Journal>> {
        self.uncovered.values().cloned().collect()
    }

    /// Forgets how far journals are in the index that nothing is appended to any more.
    pub(super) fn forget_covered(&mut self) {
        let active = self.active_id();
        self.uncovered.retain(|id, _| Some(*id) == active);
        self.covered.retain(|id, _| Some(*id) == active);
    }

    /// Says that a journal has records that may not be on the disk, from before the store was opened.
    pub(super) fn note_unsynced(&mut self, journal: &Arc<Journal>) {
        self.sequence += 1;
        self.ended.push(Arc::clone(journal));
    }

    /// Returns how many records were appended.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(super) fn active_id(&self) -> Option<u32> {
        self.active.as_ref().map(|it| it.id())
    }
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

    /// Says that the file that a record stands for, if there is one, must be on the disk before it.
    pub(super) fn sync_file_of(&self, name: Name, entry: Entry) -> Result<(), StoreError> {
        let Some(path) = self.file_of(name, entry)? else { return Ok(()) };
        if let (Some(file), Some(folder)) = (self.files.open(&path)?, path.parent()) {
            self.sync_later(file, folder);
        }
        Ok(())
    }

    /// Says that a blob's file must be on the disk before its record is.
    pub(super) fn sync_later(&self, file: StoreFile, folder: &Path) {
        let mut head = self.head();
        head.files.push(file);
        // The folder may be new itself.
        head.folders.extend(folder.parent().map(Path::to_owned));
        head.folders.insert(folder.to_owned());
    }

    /// Makes everything survive a loss of power that was appended before this was called.
    pub(super) fn commit(&self) -> Result<(), StoreError> {
        let mut dirty = self.syncing.lock().expect("no holder panics");
        let sequence = {
            let mut head = self.head();
            if head.sequence == self.commits.now().sequence && head.files.is_empty() {
                return Ok(());
            }
            dirty.journals.append(&mut head.ended);
            dirty.journals.extend(head.active.clone());
            dirty.files.append(&mut head.files);
            dirty.folders.append(&mut head.folders);
            head.sequence
        };
        dirty.journals.sort_by_key(|it| it.id());
        dirty.journals.dedup_by_key(|it| it.id());
        match self.sync(&mut dirty) {
            Ok(()) => {
                self.commits.tell(|it| it.sequence = it.sequence.max(sequence));
                Ok(())
            }
            Err(error) => {
                self.commits.tell(|it| it.failures += 1);
                Err(error)
            }
        }
    }

    fn sync(&self, dirty: &mut Dirty) -> Result<(), StoreError> {
        while let Some(file) = dirty.files.last() {
            file.persist(file.len()?)?;
            dirty.files.pop();
        }
        while let Some(folder) = dirty.folders.last() {
            self.files.sync_folder(folder)?;
            dirty.folders.pop_last();
        }
        // The oldest first: never is a later record on the disk, and an earlier one is not.
        while let Some(journal) = dirty.journals.first() {
            journal.sync()?;
            dirty.journals.remove(0);
        }
        Ok(())
    }

    /// Returns once what was appended up to now survives a loss of power, if that is what an acknowledgement means.
    pub(super) async fn acknowledge(&self) -> Result<(), StoreError> {
        let Some(sequence) = self.awaited()? else { return Ok(()) };
        let failures = self.commits.now().failures;
        let mut told = self.commits.told.subscribe();
        self.bells.committer.ring();
        let heard = told.wait_for(|it| it.sequence >= sequence || it.failures > failures).await;
        let reached = heard.expect("the sender lives as long as the store").sequence;
        // Where the committer failed, trying once more gives either success or the reason.
        if reached >= sequence { Ok(()) } else { blocking(|| self.commit()) }
    }

    /// Does the same on a thread that may wait.
    pub(super) fn acknowledge_here(&self) -> Result<(), StoreError> {
        let Some(sequence) = self.awaited()? else { return Ok(()) };
        let failures = self.commits.now().failures;
        self.bells.committer.ring();
        let reached = blocking(|| {
            let mut heard = self.commits.heard.lock().expect("no holder panics");
            loop {
                let now = self.commits.now();
                if now.sequence >= sequence || now.failures > failures {
                    return now.sequence;
                }
                heard = self.commits.changed.wait(heard).expect("no holder panics");
            }
        });
        if reached >= sequence { Ok(()) } else { blocking(|| self.commit()) }
    }

    /// Returns up to which record the committer is waited for, if it is at all.
    fn awaited(&self) -> Result<Option<u64>, StoreError> {
        if self.settings.acknowledge == Acknowledge::Written {
            return Ok(None);
        }
        if self.settings.housekeeping == Housekeeping::Called {
            blocking(|| self.commit())?;
        }
        let sequence = self.head().sequence;
        Ok((self.commits.now().sequence < sequence).then_some(sequence))
    }
}
