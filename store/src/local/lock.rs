//! Locks: one process at a time runs an action; the others wait and find its result.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use model::ActionDigest;
use rustix::fs::{FlockOperation, flock};

use super::LocalStore;
use super::lease::is_at;
use crate::StoreError;

/// The right to run an action; dropping it gives it back, and so does dying.
#[derive(Debug)]
pub struct ActionLock {
    path: PathBuf,
    _file: File,
}

impl Drop for ActionLock {
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
        let path = self.root.join("locks").join(name);
        loop {
            let file = open_lock(&path)?;
            flock(&file, FlockOperation::LockExclusive).map_err(StoreError::disk("lock", &path))?;
            if is_at(&file, &path) {
                return Ok(ActionLock { path, _file: file });
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
