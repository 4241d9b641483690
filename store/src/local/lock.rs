//! Locks: one process at a time runs an action or makes a tree; the others wait and find what came of it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use model::{ActionDigest, TreeDigest};
use rustix::fs::{FlockOperation, flock};

use super::LocalStore;
use super::lease::is_at;
use crate::StoreError;

/// The right to run an action; dropping it gives it back, and so does dying.
#[derive(Debug)]
pub struct ActionLock {
    _lock: NameLock,
}

/// The right to do what a name in `locks/` stands for.
#[derive(Debug)]
pub(super) struct NameLock {
    path: PathBuf,
    _file: File,
}

impl Drop for NameLock {
    fn drop(&mut self) {
        // Removed while still held: whoever waits finds its file gone and opens the next one.
        let _ = fs::remove_file(&self.path);
    }
}

impl LocalStore {
    /// Waits until no other process runs the action, then returns the right to run it.
    ///
    /// Blocks; whoever gets the lock looks the action up again before running it.
    pub fn lock_action(&self, action: ActionDigest) -> Result<ActionLock, StoreError> {
        let name = format!("{}-{}", action.0.function(), action.0.hex());
        Ok(ActionLock { _lock: self.lock_name(&name)? })
    }

    /// Returns the right to run the action, or `None` while another process has it.
    pub fn try_lock_action(&self, action: ActionDigest) -> Result<Option<ActionLock>, StoreError> {
        let name = format!("{}-{}", action.0.function(), action.0.hex());
        let path = self.root.join("locks").join(name);
        loop {
            let file = open_lock(&path)?;
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) if is_at(&file, &path) => {
                    return Ok(Some(ActionLock { _lock: NameLock { path, _file: file } }));
                }
                // Whoever had it gave it back meanwhile, and its file with it.
                Ok(()) => {}
                Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
                Err(error) => return Err(StoreError::disk("lock", &path)(error)),
            }
        }
    }

    /// Waits until nobody else makes or checks the tree, then returns the right to do so.
    pub(super) fn lock_tree(&self, tree: TreeDigest) -> Result<NameLock, StoreError> {
        self.lock_name(&format!("tree-{}-{}", tree.0.function(), tree.0.hex()))
    }

    fn lock_name(&self, name: &str) -> Result<NameLock, StoreError> {
        let path = self.root.join("locks").join(name);
        loop {
            let file = open_lock(&path)?;
            lock_file(&file, FlockOperation::LockExclusive, &path)?;
            if is_at(&file, &path) {
                return Ok(NameLock { path, _file: file });
            }
        }
    }
}

/// Opens a lock file, making it if need be.
pub(super) fn open_lock(path: &Path) -> Result<File, StoreError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(StoreError::disk("open", path))
}

/// Does `operation`; a signal that comes meanwhile does not end the wait.
pub(super) fn lock_file(
    file: &File,
    operation: FlockOperation,
    path: &Path,
) -> Result<(), StoreError> {
    rustix::io::retry_on_intr(|| flock(file, operation)).map_err(StoreError::disk("lock", path))
}
