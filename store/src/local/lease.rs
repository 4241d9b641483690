//! Leases: each process says that it lives, and what it needs.
//!
//! A lease is a file that its process keeps locked; the system drops the lock when the process ends, however it ends.
//! It holds one line per thing pinned. Whoever wants something pins it first and checks that it is there afterwards.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{FlockOperation, flock};

use crate::StoreError;

/// How many ids are tried before something else must be wrong.
const TRIES_MAX: u32 = 1000;

/// The lease of this process; dropping it ends it.
#[derive(Debug)]
pub(super) struct Lease {
    id: String,
    path: PathBuf,
    file: File,
    pinned: Mutex<HashSet<String>>,
}

impl Lease {
    /// Takes a lease in the store at `root`.
    pub(super) fn take(root: &Path) -> Result<Self, StoreError> {
        let folder = root.join("leases");
        for number in 0..TRIES_MAX {
            let id = format!("{}-{number}", std::process::id());
            let path = folder.join(&id);
            // Process ids repeat across containers that share a store, so a name is only ours once it is locked.
            let mut options = File::options();
            let opened = options.create(true).append(true).open(&path);
            let file = opened.map_err(StoreError::disk("open", &path))?;
            if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            // The collector may have removed a dead lease of this name between the two calls.
            if !is_at(&file, &path) {
                continue;
            }
            file.set_len(0).map_err(StoreError::disk("clear", &path))?;
            return Ok(Self { id, path, file, pinned: Mutex::default() });
        }
        Err(StoreError::disk("take a lease in", &folder)(std::io::Error::other(
            "every name is taken",
        )))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Pins what `line` names: from now on no collector takes it for good.
    pub(super) fn pin(&self, line: String) -> Result<(), StoreError> {
        let mut pinned = self.pinned.lock().expect("no pin panics");
        if pinned.contains(&line) {
            return Ok(());
        }
        // One write per line: readers see whole lines only.
        (&self.file)
            .write_all(format!("{line}\n").as_bytes())
            .map_err(StoreError::disk("write", &self.path))?;
        pinned.insert(line);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A lease that stays behind is unlocked, thus dead; the collector removes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// The leases of a store as they stand at one moment.
#[derive(Debug, Default)]
pub(super) struct Leases {
    /// The ids of processes that live.
    pub(super) live: BTreeSet<String>,
    /// What they pinned.
    pub(super) pins: HashSet<String>,
}

impl Leases {
    /// Reads all leases, and removes those of processes that ended.
    pub(super) fn read(root: &Path, own: &Lease) -> Result<Self, StoreError> {
        let folder = root.join("leases");
        let mut leases = Self::default();
        for entry in fs::read_dir(&folder).map_err(StoreError::disk("list", &folder))? {
            let entry = entry.map_err(StoreError::disk("list", &folder))?;
            let path = entry.path();
            let id = entry.file_name().to_string_lossy().into_owned();
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let lives =
                id == own.id || flock(&file, FlockOperation::NonBlockingLockShared).is_err();
            if lives {
                let text = fs::read_to_string(&path).unwrap_or_default();
                leases.pins.extend(text.lines().map(str::to_owned));
                leases.live.insert(id);
            } else if is_at(&file, &path) {
                fs::remove_file(&path).map_err(StoreError::disk("remove", &path))?;
            }
        }
        Ok(leases)
    }
}

/// Returns whether the open file is still the one at `path`.
pub(super) fn is_at(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    match (file.metadata(), fs::metadata(path)) {
        (Ok(open), Ok(named)) => open.ino() == named.ino() && open.dev() == named.dev(),
        _ => false,
    }
}
