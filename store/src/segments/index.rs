//! The index: where the record of each name is, in a redb database that can be made again from the segments.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use redb::{
    Database, Durability, ReadableDatabase as _, ReadableTable as _, StorageBackend,
    TableDefinition, TableError,
};

use super::counters::Counters;
use super::disk::DiskFile;
use super::files::{Files, StoreFile};
use super::quarantine::is_unreadable;
use super::record::{ENTRY_BYTES, Entry, NAME_BYTES, Name, read_u32};
use crate::StoreError;

/// How much of the database stays in memory, in bytes, beside what the kernel keeps: its inner pages up to a hundred
/// million names.
const CACHE_BYTES: usize = 64 << 20;

/// How many names a transaction changes at most: each may touch a page of its own, and those are written at its end.
const TRANSACTION_NAMES: usize = 16 << 10;

const NAMES: TableDefinition<&[u8; NAME_BYTES], &[u8; ENTRY_BYTES]> = TableDefinition::new("names");
/// Up to where each segment is in the index: how many records, how many bytes.
const SEGMENTS: TableDefinition<u32, (u32, u64)> = TableDefinition::new("segments");
/// Where the records of a journal begin, by its number and the first of their ordinals.
const OFFSETS: TableDefinition<(u32, u32), &[u8]> = TableDefinition::new("offsets");
const COUNTERS: TableDefinition<(), &[u8]> = TableDefinition::new("counters");
/// The number of the next segment: what has a smaller one and is in no table was dropped.
const NEXT: TableDefinition<(), u32> = TableDefinition::new("next");

/// Up to where a segment is in the index.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Covered {
    pub(super) records: u32,
    pub(super) bytes: u64,
}

/// What is to be changed at once.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) names: Arc<HashMap<Name, Option<Entry>>>,
    pub(super) covered: BTreeMap<u32, Covered>,
    pub(super) offsets: BTreeMap<(u32, u32), Vec<u32>>,
    /// Journals that are sealed now.
    pub(super) sealed: Vec<u32>,
    /// Segments that are no more.
    pub(super) dropped: Vec<u32>,
    pub(super) next_segment: u32,
}

/// What the index knows of the segments.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) covered: BTreeMap<u32, Covered>,
    /// Where the records of journals begin, as far as they are in the index.
    pub(super) offsets: BTreeMap<u32, Vec<u32>>,
    pub(super) counters: Counters,
    pub(super) next_segment: u32,
}

/// The database; one whose disk failed is closed, and opened again when it is needed next. One that is damaged is removed:
/// the next start makes it again.
#[derive(Debug)]
pub(super) struct Index {
    files: Files,
    database: RwLock<Option<Arc<Open>>>,
    opening: Mutex<()>,
    bytes: AtomicU64,
    is_removed: AtomicBool,
}

struct Open {
    /// It is there until this is dropped.
    database: Option<Database>,
    is_closed: Arc<AtomicBool>,
}

impl Drop for Open {
    fn drop(&mut self) {
        // What panicked once may do so again.
        let database = self.database.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open").field("is_closed", &self.is_closed).finish_non_exhaustive()
    }
}

/// Returns the path of the database.
pub(super) fn path() -> PathBuf {
    PathBuf::from("index")
}

impl Index {
    /// Opens the database, or makes an empty one.
    pub(super) fn open(files: &Files) -> Result<Self, StoreError> {
        let index = Self {
            files: files.clone(),
            database: RwLock::new(None),
            opening: Mutex::new(()),
            bytes: AtomicU64::new(0),
            is_removed: AtomicBool::new(false),
        };
        index.database()?;
        Ok(index)
    }

    /// Returns how many bytes the database takes on the disk.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns where the records of those names are.
    pub(super) fn find(&self, names: &[Name]) -> Result<Vec<Option<Entry>>, StoreError> {
        if names.is_empty() {
            return Ok(Vec::new());
        }
        self.ask("look names up in", |database| {
            let table = match database.begin_read()?.open_table(NAMES) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(vec![None; names.len()]),
                table => table?,
            };
            let find = |name: &Name| {
                let entry = table.get(name.bytes())?;
                Ok(entry.and_then(|it| Entry::decode(it.value())))
            };
            names.iter().map(find).collect()
        })
    }

    /// Returns up to `count` names from `first` on, and where their records are.
    pub(super) fn range(
        &self,
        first: &Name,
        count: usize,
    ) -> Result<Vec<(Name, Option<Entry>)>, StoreError> {
        self.ask("list names in", |database| {
            let table = match database.begin_read()?.open_table(NAMES) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Vec::new()),
                table => table?,
            };
            let mut found = Vec::new();
            for pair in table.range::<&[u8; NAME_BYTES]>(first.bytes()..)?.take(count) {
                let (name, entry) = pair?;
                let name = Name::from_bytes(*name.value());
                found.extend(name.map(|name| (name, Entry::decode(entry.value()))));
            }
            Ok(found)
        })
    }

    /// Returns what is known of the segments.
    pub(super) fn known(&self) -> Result<Known, StoreError> {
        self.ask("list segments in", |database| {
            let transaction = database.begin_read()?;
            let table = match transaction.open_table(SEGMENTS) {
                Err(TableError::TableDoesNotExist(_)) => return Ok(Known::default()),
                table => table?,
            };
            let mut known = Known::default();
            for pair in table.range(0..)? {
                let (id, covered) = pair?;
                let (records, bytes) = covered.value();
                known.covered.insert(id.value(), Covered { records, bytes });
            }
            for pair in transaction.open_table(OFFSETS)?.range((0, 0)..)? {
                let (key, bytes) = pair?;
                let offsets = known.offsets.entry(key.value().0).or_default();
                offsets.extend(bytes.value().chunks_exact(4).map(|it| read_u32(it, 0)));
            }
            let counters = transaction.open_table(COUNTERS)?.get(())?;
            known.counters =
                counters.and_then(|it| Counters::decode(it.value())).unwrap_or_default();
            known.next_segment = transaction.open_table(NEXT)?.get(())?.map_or(0, |it| it.value());
            Ok(known)
        })
    }

    /// Makes the changes, which survive a loss of power then. If it fails some of them may have been made; making all of
    /// them again is right. Returns the sums over all entries.
    pub(super) fn apply(&self, changes: &Changes) -> Result<Counters, StoreError> {
        let mut names: Vec<_> = changes.names.iter().collect();
        // Neighbours share pages.
        names.sort_unstable_by_key(|(name, _)| *name);
        let mut parts = names.chunks(TRANSACTION_NAMES).peekable();
        while let Some(part) = parts.next() {
            // What says up to where the index goes comes with the last of the names.
            let rest = if parts.peek().is_none() { Some(changes) } else { None };
            let counters = self.ask("change", |database| transact(database, part, rest))?;
            if rest.is_some() {
                return Ok(counters);
            }
        }
        self.ask("change", |database| transact(database, &[], Some(changes)))
    }

    /// Returns whether it was damaged: nothing can be asked of the store until it is opened again.
    pub(super) fn is_removed(&self) -> bool {
        self.is_removed.load(Ordering::SeqCst)
    }

    /// Closes the database, so that it need not be mended when it is opened.
    pub(super) fn close(&self) {
        *self.database.write().expect("no holder panics") = None;
    }

    fn database(&self) -> Result<Arc<Open>, StoreError> {
        let current = || self.database.read().expect("no holder panics").clone();
        if let Some(open) = current() {
            return Ok(open);
        }
        let _opening = self.opening.lock().expect("no holder panics");
        if let Some(open) = current() {
            return Ok(open);
        }
        let path = path();
        if self.is_removed() {
            return Err(self.files.failed("open", &path)(io::ErrorKind::InvalidData.into()));
        }
        let file = if let Some(file) = self.files.open(&path)? {
            file
        } else {
            let file = self.files.create(&path)?;
            self.files.sync_folder(Path::new(""))?;
            file
        };
        let is_closed = Arc::new(AtomicBool::new(false));
        self.bytes.store(file.allocated()?, Ordering::Relaxed);
        let backend = Backend { file, is_closed: Arc::clone(&is_closed) };
        let opened = guarded(|| {
            let mut builder = Database::builder();
            Ok(builder.set_cache_size(CACHE_BYTES).create_with_backend(backend)?)
        });
        let database = opened.map_err(self.files.failed("open", &path))?;
        let open = Arc::new(Open { database: Some(database), is_closed });
        *self.database.write().expect("no holder panics") = Some(Arc::clone(&open));
        Ok(open)
    }

    fn ask<T>(
        &self,
        verb: &'static str,
        work: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let asked = self.database().and_then(|open| {
            let database = open.database.as_ref().expect("it is there until it is dropped");
            guarded(|| work(database)).map_err(|source| {
                self.give_up(&open);
                self.files.failed(verb, &path())(source)
            })
        });
        asked.map_err(|error| if is_damaged(&error) { self.remove(error) } else { error })
    }

    /// Takes the database away because of that error, so that the next start makes another one.
    fn remove(&self, error: StoreError) -> StoreError {
        let _opening = self.opening.lock().expect("no holder panics");
        if self.is_removed.swap(true, Ordering::SeqCst) {
            return error;
        }
        self.close();
        tracing::error!(%error, "the index is damaged; the next start makes it again");
        let root = Path::new("");
        let removed = self.files.remove(&path()).and_then(|()| self.files.sync_folder(root));
        removed.err().unwrap_or(error)
    }

    /// Closes a database whose disk failed: it refuses everything from then on, and another one finds what was committed.
    fn give_up(&self, open: &Arc<Open>) {
        open.is_closed.store(true, Ordering::SeqCst);
        let mut database = self.database.write().expect("no holder panics");
        if database.as_ref().is_some_and(|it| Arc::ptr_eq(it, open)) {
            *database = None;
        }
    }

    /// Notes how much the database takes on the disk.
    pub(super) fn measure(&self) -> Result<(), StoreError> {
        if let Some(file) = self.files.open(&path())? {
            self.bytes.store(file.allocated()?, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// A damaged database may make redb panic; that is a failure of the disk like any other.
fn guarded<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> io::Result<T> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Ok(done)) => Ok(done),
        Ok(Err(redb::Error::Io(error))) => Err(error),
        Ok(Err(redb::Error::PreviousIo)) => Err(io::Error::other("the disk failed before")),
        Ok(Err(error)) => Err(io::Error::new(io::ErrorKind::InvalidData, error)),
        Err(_) => Err(io::Error::new(io::ErrorKind::InvalidData, "the index is damaged")),
    }
}

fn transact(
    database: &Database,
    names: &[(&Name, &Option<Entry>)],
    rest: Option<&Changes>,
) -> Result<Counters, redb::Error> {
    let mut transaction = database.begin_write()?;
    transaction.set_durability(Durability::Immediate)?;
    transaction.set_quick_repair(true);
    let mut counters = Counters::default();
    {
        let mut table = transaction.open_table(NAMES)?;
        let mut sums = transaction.open_table(COUNTERS)?;
        if let Some(bytes) = sums.get(())? {
            counters = Counters::decode(bytes.value()).unwrap_or_default();
        }
        for (name, entry) in names {
            let old = match entry {
                Some(entry) => table.insert(name.bytes(), &entry.encode())?,
                None => table.remove(name.bytes())?,
            };
            let old = old.and_then(|it| Entry::decode(it.value()));
            let mut new = **entry;
            if let Some(new) =
                new.as_mut().filter(|it| old.is_some_and(|old| old.is_chunk && !it.is_chunk))
            {
                // Nobody had asked what was there when it was found in a journal.
                new.is_chunk = true;
                table.insert(name.bytes(), &new.encode())?;
            }
            counters.replace(name, old, new);
        }
        sums.insert((), counters.encode().as_slice())?;
        if let Some(changes) = rest {
            let mut segments = transaction.open_table(SEGMENTS)?;
            let mut offsets = transaction.open_table(OFFSETS)?;
            for (id, covered) in &changes.covered {
                segments.insert(id, (covered.records, covered.bytes))?;
            }
            for (key, more) in &changes.offsets {
                let bytes: Vec<u8> = more.iter().flat_map(|it| it.to_le_bytes()).collect();
                offsets.insert(key, bytes.as_slice())?;
            }
            for id in &changes.dropped {
                segments.remove(id)?;
            }
            for id in changes.dropped.iter().chain(&changes.sealed) {
                offsets.retain_in((*id, 0)..=(*id, u32::MAX), |_, _| false)?;
            }
            transaction.open_table(NEXT)?.insert((), changes.next_segment)?;
        }
    }
    transaction.commit()?;
    Ok(counters)
}

/// The file of the database, until it is closed.
#[derive(Debug)]
struct Backend {
    file: StoreFile,
    is_closed: Arc<AtomicBool>,
}

impl Backend {
    fn file(&self) -> io::Result<&dyn DiskFile> {
        if self.is_closed.load(Ordering::SeqCst) {
            return Err(io::Error::other("the disk failed before"));
        }
        Ok(self.file.raw())
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file()?.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        // What cannot be read today cannot be read tomorrow.
        self.file()?.read_at(offset, out).map_err(|error| {
            let is_damage = is_unreadable(&error);
            if is_damage { io::Error::new(io::ErrorKind::InvalidData, error) } else { error }
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.file()?.resize(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        let bytes = self.file()?.len()?;
        self.file.try_persist(bytes)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.file()?.write_at(offset, [data, &[]])
    }
}

/// Returns whether the database itself is wrong, rather than the disk below it. One that is shorter than it says is.
pub(super) fn is_damaged(error: &StoreError) -> bool {
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error, StoreError::Disk { source, path, .. }
        if matches!(source.kind(), InvalidData | UnexpectedEof)
            && path.file_name() == Path::new("index").file_name())
}
