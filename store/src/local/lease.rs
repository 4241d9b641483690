//! Leases: each process says that it lives, and what it needs.
//!
//! A lease is a file that its process keeps locked; the system drops the lock when the process ends, however it ends.
//! It holds one line per thing pinned. Whoever wants something pins it first and checks that it is there afterwards.
//!
//! Between the two it passes through `pin.lock`, which the collector holds while it reads the leases for the last time
//! and takes things away: either the collector has seen the pin, or the check sees what the collector left.

use std::collections::{BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{FlockOperation, flock};

use super::lock::{lock_file, open_lock};
use crate::StoreError;

/// How many ids are tried before something else must be wrong.
const TRIES_MAX: u32 = 1000;

/// The lock that every new pin passes through.
const PIN_LOCK: &str = "pin.lock";

/// The lease of this process; dropping it ends it.
#[derive(Debug)]
pub(super) struct Lease {
    id: String,
    path: PathBuf,
    file: File,
    gate: File,
    pinned: Mutex<HashSet<String>>,
}

impl Lease {
    /// Takes a lease in the store at `root`.
    pub(super) fn take(root: &Path) -> Result<Self, StoreError> {
        let folder = root.join("leases");
        let gate = open_lock(&root.join(PIN_LOCK))?;
        for _ in 0..TRIES_MAX {
            let id = new_id();
            let path = folder.join(&id);
            let file = match File::options().create_new(true).append(true).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::AlreadyExists => continue,
                Err(error) => return Err(StoreError::disk("open", &path)(error)),
            };
            // A collector that came between the two calls takes it for dead and removes it.
            let locked = flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok();
            if locked && is_at(&file, &path) {
                return Ok(Self { id, path, file, gate, pinned: Mutex::default() });
            }
        }
        Err(StoreError::disk("take a lease in", &folder)(std::io::Error::other(
            "every name is taken",
        )))
    }

    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Pins what `line` names: once this returns, no collector takes it, and it is here or it is not.
    pub(super) fn pin(&self, line: String) -> Result<(), StoreError> {
        if self.pinned.lock().expect("no pin panics").contains(&line) {
            return Ok(());
        }
        // The break comes first, so that a line which a full disk cut short spoils none but itself.
        (&self.file)
            .write_all(format!("\n{line}").as_bytes())
            .map_err(StoreError::disk("write", &self.path))?;
        lock_file(&self.gate, FlockOperation::LockShared, &self.path)?;
        lock_file(&self.gate, FlockOperation::Unlock, &self.path)?;
        self.pinned.lock().expect("no pin panics").insert(line);
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // A lease that stays behind is unlocked, thus dead; the collector removes it.
        let _ = fs::remove_file(&self.path);
    }
}

/// An id that no process has had before. A process id alone comes back: in every new container it is 1.
fn new_id() -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    format!("{}-{:x}", std::process::id(), now.as_nanos())
}

/// Holds back everybody who pins something new, until it is dropped.
/// The process that holds it pins nothing meanwhile.
pub(super) fn hold_pins(root: &Path) -> Result<File, StoreError> {
    let path = root.join(PIN_LOCK);
    let gate = open_lock(&path)?;
    lock_file(&gate, FlockOperation::LockExclusive, &path)?;
    Ok(gate)
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
            // A lease that cannot be read may pin anything.
            let mut file = match File::open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                Err(error) => return Err(StoreError::disk("open", &path)(error)),
            };
            let lives =
                id == own.id || flock(&file, FlockOperation::NonBlockingLockShared).is_err();
            if lives {
                let mut text = Vec::new();
                file.read_to_end(&mut text).map_err(StoreError::disk("read", &path))?;
                let text = String::from_utf8_lossy(&text);
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
