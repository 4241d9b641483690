//! Commits: records survive a loss of power together, with the files that they stand for.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};

use tokio::sync::watch;

use super::core::Core;
use super::files::StoreFile;
use super::journal::Journal;
use super::record::{Entry, Name};
use super::settings::{Acknowledge, Housekeeping};
use crate::StoreError;
use crate::blocking::blocking;

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

impl Core {
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
