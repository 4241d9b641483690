//! A disk in memory: it fails at a call that a test chose, gets full, and loses what was not synced when power goes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use store::{Disk, DiskFile, Lock};

/// How a call fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk does not answer; nothing happened.
    Unreadable,
    /// The disk is full; nothing happened.
    Full,
    /// The disk stops in the middle: of what was to be written a part was.
    Short,
}

/// How many bytes a disk writes as one.
const SECTOR_BYTES: usize = 512;

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Debug, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    meanwhile: Arc<Mutex<Option<Meanwhile>>>,
}

/// What happens while a file below that path is read, or synced.
struct Meanwhile {
    path: PathBuf,
    work: Box<dyn FnOnce() + Send>,
}

impl std::fmt::Debug for Meanwhile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meanwhile").field("path", &self.path).finish_non_exhaustive()
    }
}

#[derive(Clone, Debug, Default)]
struct State {
    files: BTreeMap<u64, Content>,
    names: BTreeMap<PathBuf, u64>,
    /// The names that would survive a loss of power.
    synced_names: BTreeMap<PathBuf, u64>,
    folders: BTreeSet<PathBuf>,
    next_file: u64,
    calls: u64,
    failing: Option<(u64, Fault)>,
    capacity: Option<u64>,
    is_locked: bool,
    boots: u64,
}

#[derive(Clone, Debug, Default)]
struct Content {
    bytes: Vec<u8>,
    /// What would survive a loss of power,
    synced: Vec<u8>,
    /// and what may, of what came since.
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(usize, Vec<u8>),
    Resize(usize),
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Resize(length) => bytes.resize(*length, 0),
            Self::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
        }
    }
}

impl Content {
    fn change(&mut self, change: Change) {
        change.apply(&mut self.bytes);
        self.changes.push(change);
    }

    /// Returns what is there after a loss of power: each sector that was not synced came to the disk, or did not.
    fn after_power_loss(&self, numbers: &mut impl FnMut(u64) -> u64) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        for change in &self.changes {
            match change {
                Change::Resize(_) if numbers(2) == 0 => {}
                Change::Resize(_) => change.apply(&mut bytes),
                Change::Write(offset, written) => {
                    let mut at = 0;
                    while at < written.len() {
                        let to_boundary = SECTOR_BYTES - (offset + at) % SECTOR_BYTES;
                        let end = written.len().min(at + to_boundary);
                        if numbers(2) == 0 {
                            let sector = written[at..end].to_vec();
                            Change::Write(offset + at, sector).apply(&mut bytes);
                        }
                        at = end;
                    }
                }
            }
        }
        bytes
    }
}

impl MemoryDisk {
    /// Returns an empty disk.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets the call of that number, counted from 0, fail.
    #[must_use]
    pub fn failing_on_call(nth: u64, fault: Fault) -> Self {
        let disk = Self::default();
        disk.fail_on_call(nth, fault);
        disk
    }

    /// Lets the call of that number fail, counted from the next.
    pub fn fail_on_call(&self, nth: u64, fault: Fault) {
        let mut state = self.state();
        let at = state.calls + nth;
        state.failing = Some((at, fault));
    }

    /// Returns whether the call that fails has come, and lets none fail from now on.
    pub fn mend(&self) -> bool {
        let mut state = self.state();
        let calls = state.calls;
        state.failing.take().is_some_and(|(at, _)| calls > at)
    }

    /// Does that work once, just before a file below that path is read or synced: what others do at that moment.
    pub fn meanwhile(&self, path: &Path, work: impl FnOnce() + Send + 'static) {
        let work = Box::new(work);
        *self.meanwhile.lock().expect("no holder panics") =
            Some(Meanwhile { path: path.to_owned(), work });
    }

    fn let_others_work(&self, file: u64) {
        let due = {
            let mut meanwhile = self.meanwhile.lock().expect("no holder panics");
            let is_below = |it: &mut Meanwhile| {
                let names = &self.state().names;
                names.iter().any(|(path, number)| *number == file && path.starts_with(&it.path))
            };
            meanwhile.take_if(is_below)
        };
        if let Some(due) = due {
            (due.work)();
        }
    }

    /// Says how many bytes fit on the disk.
    pub fn limit(&self, capacity: Option<u64>) {
        self.state().capacity = capacity;
    }

    /// Returns how many bytes the files have.
    pub fn bytes_taken(&self) -> u64 {
        self.state().bytes()
    }

    /// Returns a disk with what is on this one now: what the next process finds when this one is killed.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let mut state = self.state().clone();
        state.is_locked = false;
        state.failing = None;
        state.capacity = None;
        // What nobody can open any more is gone.
        let named: BTreeSet<u64> = state.names.values().copied().collect();
        state.files.retain(|file, _| named.contains(file));
        Self { state: Arc::new(Mutex::new(state)), meanwhile: Arc::default() }
    }

    /// Returns a disk with what is on this one after a loss of power: of what was not synced, chance decides.
    #[must_use]
    pub fn after_power_loss(&self, seed: u64) -> Self {
        let mut seed = seed;
        let mut numbers = |bound: u64| {
            // splitmix64
            seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = seed;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            (mixed ^ (mixed >> 31)) % bound
        };
        let before = self.state();
        let mut after = State {
            folders: before.folders.clone(),
            next_file: before.next_file,
            boots: before.boots + 1,
            ..State::default()
        };
        let paths: BTreeSet<_> = before.names.keys().chain(before.synced_names.keys()).collect();
        for path in paths {
            let (now, synced) = (before.names.get(path), before.synced_names.get(path));
            if let Some(file) = if numbers(2) == 0 { now } else { synced } {
                after.names.insert(path.clone(), *file);
            }
        }
        for file in after.names.values() {
            let Some(content) = before.files.get(file) else { continue };
            let bytes = content.after_power_loss(&mut numbers);
            let content = Content { synced: bytes.clone(), bytes, changes: Vec::new() };
            after.files.insert(*file, content);
        }
        let files = &after.files;
        after.names.retain(|_, file| files.contains_key(file));
        after.synced_names.clone_from(&after.names);
        Self { state: Arc::new(Mutex::new(after)), meanwhile: Arc::default() }
    }

    /// Returns the paths of all files.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.state().names.keys().cloned().collect()
    }

    /// Returns the bytes of a file.
    pub fn read(&self, path: &Path) -> Option<Vec<u8>> {
        let state = self.state();
        Some(state.files[state.names.get(path)?].bytes.clone())
    }

    /// Changes the bytes of a file behind everybody's back, or makes one.
    pub fn overwrite(&self, path: &Path, bytes: Vec<u8>) {
        let mut state = self.state();
        let file = state.file_named(path);
        state.synced_names.insert(path.to_owned(), file);
        let content = Content { synced: bytes.clone(), bytes, changes: Vec::new() };
        state.files.insert(file, content);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no holder panics")
    }

    /// Counts a call, which fails if it is its turn.
    fn call(&self) -> io::Result<MutexGuard<'_, State>> {
        match self.call_to_write()? {
            (_, Some(Fault::Short)) => Err(unreadable()),
            (state, _) => Ok(state),
        }
    }

    fn call_to_write(&self) -> io::Result<(MutexGuard<'_, State>, Option<Fault>)> {
        let mut state = self.state();
        let call = state.calls;
        state.calls += 1;
        match state.failing.filter(|(nth, _)| *nth == call).map(|(_, fault)| fault) {
            Some(Fault::Unreadable) => Err(unreadable()),
            Some(Fault::Full) => Err(ErrorKind::StorageFull.into()),
            short => Ok((state, short)),
        }
    }
}

fn unreadable() -> io::Error {
    io::Error::other("the disk does not answer, on purpose")
}

impl State {
    /// Returns how many bytes the files have that have names.
    fn bytes(&self) -> u64 {
        self.names.values().map(|it| self.files[it].bytes.len() as u64).sum()
    }

    fn file_named(&mut self, path: &Path) -> u64 {
        let next = self.next_file;
        let file = *self.names.entry(path.to_owned()).or_insert(next);
        self.next_file += u64::from(file == next);
        file
    }

    /// Fails if so many bytes more do not fit.
    fn check_room(&self, more: u64) -> io::Result<()> {
        match self.capacity {
            Some(capacity) if more > 0 && self.bytes() + more > capacity => {
                Err(ErrorKind::StorageFull.into())
            }
            _ => Ok(()),
        }
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
}

impl Lock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.disk.state().is_locked = false;
    }
}

impl Disk for MemoryDisk {
    fn root(&self) -> &Path {
        Path::new("in memory")
    }

    fn boot(&self) -> io::Result<String> {
        Ok(self.call()?.boots.to_string())
    }

    fn create(&self, path: &Path) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.call()?;
        if state.names.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let file = state.file_named(path);
        state.files.insert(file, Content::default());
        Ok(Arc::new(MemoryFile { disk: self.clone(), file }))
    }

    fn open(&self, path: &Path) -> io::Result<Option<Arc<dyn DiskFile>>> {
        let file = self.call()?.names.get(path).copied();
        Ok(file.map(|file| Arc::new(MemoryFile { disk: self.clone(), file }) as Arc<dyn DiskFile>))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        let file = state.names.remove(from).ok_or(ErrorKind::NotFound)?;
        state.names.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.call()?.names.remove(path);
        Ok(())
    }

    fn list(&self, folder: &Path) -> io::Result<Vec<String>> {
        let state = self.call()?;
        let paths = state.names.keys().chain(&state.folders);
        let inside = paths.filter(|it| it.parent() == Some(folder));
        let names = inside.filter_map(|it| it.file_name()).map(|it| it.to_string_lossy());
        Ok(names.map(String::from).collect())
    }

    fn is_folder(&self, path: &Path) -> io::Result<bool> {
        Ok(self.call()?.folders.contains(path))
    }

    fn make_folder(&self, folder: &Path) -> io::Result<()> {
        let above = folder.ancestors().filter(|it| *it != Path::new("")).map(Path::to_owned);
        self.call()?.folders.extend(above);
        Ok(())
    }

    fn sync_folder(&self, folder: &Path) -> io::Result<()> {
        let mut state = self.call()?;
        let state = &mut *state;
        let is_inside = |path: &PathBuf| path.parent() == Some(folder);
        state.synced_names.retain(|path, _| !is_inside(path));
        let inside = state.names.iter().filter(|(path, _)| is_inside(path));
        state.synced_names.extend(inside.map(|(path, file)| (path.clone(), *file)));
        Ok(())
    }

    fn lock(&self, _path: &Path) -> io::Result<Box<dyn Lock>> {
        let mut state = self.call()?;
        if std::mem::replace(&mut state.is_locked, true) {
            return Err(ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { disk: self.clone() }))
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    file: u64,
}

impl MemoryFile {
    fn change(&self, state: &mut State, change: Change) {
        state.files.get_mut(&self.file).expect("files stay").change(change);
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.call()?.files[&self.file].bytes.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.disk.let_others_work(self.file);
        let state = self.disk.call()?;
        let bytes = &state.files[&self.file].bytes;
        let from = usize::try_from(offset).map_err(io::Error::other)?;
        let found = bytes.get(from..from + buffer.len()).ok_or(ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, pieces: [&[u8]; 2]) -> io::Result<()> {
        let (mut state, short) = self.disk.call_to_write()?;
        let mut bytes = pieces.concat();
        if short.is_some() {
            bytes.truncate(bytes.len() / 2);
        }
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let end = (offset + bytes.len()) as u64;
        let length = state.files[&self.file].bytes.len() as u64;
        state.check_room(end.saturating_sub(length))?;
        self.change(&mut state, Change::Write(offset, bytes));
        if short.is_some() { Err(unreadable()) } else { Ok(()) }
    }

    fn resize(&self, bytes: u64) -> io::Result<()> {
        let mut state = self.disk.call()?;
        let length = state.files[&self.file].bytes.len() as u64;
        state.check_room(bytes.saturating_sub(length))?;
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.change(&mut state, Change::Resize(bytes));
        Ok(())
    }

    fn reserve(&self, bytes: u64) -> io::Result<()> {
        let length = self.len()?;
        if length < bytes { self.resize(bytes) } else { Ok(()) }
    }

    fn sync(&self) -> io::Result<()> {
        self.disk.let_others_work(self.file);
        let mut state = match self.disk.call() {
            Ok(state) => state,
            Err(error) => {
                // As the kernel does: it says once that the disk did not take what was written, and forgets that then.
                self.disk.state().files.get_mut(&self.file).expect("files stay").changes.clear();
                return Err(error);
            }
        };
        let content = state.files.get_mut(&self.file).expect("files stay");
        for change in content.changes.drain(..) {
            change.apply(&mut content.synced);
        }
        Ok(())
    }

    fn allocated(&self) -> io::Result<u64> {
        self.len()
    }
}
