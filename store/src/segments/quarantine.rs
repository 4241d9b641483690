//! Quarantine: what is not what it should be is taken out of the index, and its bytes are kept aside for whoever wants to know.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::core::Core;
use super::files::Files;
use super::log::{Put, Rank, Wish};
use super::record::{Entry, Name, Record};
use crate::StoreError;

/// How many bytes are kept aside at most: enough to see what a disk does, and nothing beside a budget.
const KEPT_BYTES_MAX: u64 = 64 << 20;

/// The folder of what is kept aside.
pub(super) const FOLDER: &str = "quarantine";

/// What was taken away.
#[derive(Debug)]
pub(super) struct Quarantine {
    bytes: Mutex<u64>,
    records: AtomicU64,
}

impl Quarantine {
    /// Finds out how much is kept aside already.
    pub(super) fn open(files: &Files) -> Result<Self, StoreError> {
        let mut bytes = 0;
        for name in files.list(Path::new(FOLDER))? {
            if let Some(file) = files.open(&Path::new(FOLDER).join(name))? {
                bytes += file.len()?;
            }
        }
        Ok(Self { bytes: Mutex::new(bytes), records: AtomicU64::new(0) })
    }

    /// Returns how many records were taken away since the store was opened.
    pub(super) fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    pub(super) fn bytes(&self) -> u64 {
        *self.bytes.lock().expect("no holder panics")
    }

    fn keep(&self, files: &Files, name: &Name, bytes: &[u8]) -> Result<(), StoreError> {
        let mut kept = self.bytes.lock().expect("no holder panics");
        if *kept + bytes.len() as u64 > KEPT_BYTES_MAX || bytes.is_empty() {
            return Ok(());
        }
        let path: PathBuf = Path::new(FOLDER).join(name.file_name());
        if files.open(&path)?.is_some() {
            return Ok(());
        }
        files.create(&path)?.write_at(0, [bytes, &[]])?;
        *kept += bytes.len() as u64;
        Ok(())
    }
}

impl Core {
    /// Takes a record away that is not what it should be, if it is still what the index leads to.
    pub(super) fn take_away(
        &self,
        name: Name,
        entry: Entry,
        bytes: &[u8],
    ) -> Result<(), StoreError> {
        tracing::warn!(name = %name.file_name(), ?entry, "a record is corrupt, and is taken away");
        let put = self.put(&Record::tombstone(name), Wish::At(entry.place), Rank::Keeper)?;
        if let Put::Done(_) = put {
            self.quarantine.records.fetch_add(1, Ordering::Relaxed);
            self.doom_file_of(name, entry)?;
            // That a damaged disk does not take the evidence changes nothing.
            if let Err(error) = self.quarantine.keep(&self.files, &name, bytes) {
                tracing::warn!(%error, "cannot keep what is corrupt aside");
            }
        }
        Ok(())
    }
}

/// Returns whether it is the bytes that cannot be had, rather than the machine that is short of something.
pub(super) fn is_damage(error: &StoreError) -> bool {
    matches!(error, StoreError::Disk { source, .. } if is_unreadable(source))
}

/// Returns the same of what a call said.
pub(super) fn is_unreadable(error: &io::Error) -> bool {
    /// What the kernel says of a sector that cannot be read (EIO).
    const UNREADABLE: i32 = rustix::io::Errno::IO.raw_os_error();
    use io::ErrorKind::{InvalidData, UnexpectedEof};
    matches!(error.kind(), UnexpectedEof | InvalidData) || error.raw_os_error() == Some(UNREADABLE)
}
