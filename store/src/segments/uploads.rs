//! Interrupted uploads: what a session sent before it was interrupted is kept for a while, and taken up again.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, SystemTime};

use model::{Digest, DigestFunction};

use super::core::Core;
use super::files::Files;
use super::large;
use crate::{Session, StoreError};

/// How long what an interrupted session sent is kept: over a night on which a machine was off.
const PARKED_TIME: Duration = Duration::from_secs(12 * 60 * 60);

/// How many interrupted sessions are kept at most. One more takes the place of one of whoever has most.
const PARKED_MAX: usize = 4096;

/// The folder of what is being uploaded.
pub(super) const FOLDER: &str = "uploads";

/// What the name of a file begins with that belongs to no session.
pub(super) const NAMELESS: &str = "once";

/// What is being uploaded, and what was.
#[derive(Debug)]
pub(super) struct Uploads {
    parked: Mutex<BTreeMap<String, Parked>>,
    bytes: AtomicU64,
    /// Numbers files: it begins with the time at which the store was opened, or after all that there are, so that none
    /// comes twice.
    number: AtomicU64,
    first_number: u64,
}

/// What an interrupted session sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parked {
    pub(super) bytes: u64,
    pub(super) since: SystemTime,
}

impl Uploads {
    /// Finds what was being uploaded when the store was closed. If the machine was down since, nobody knows how much of it
    /// is on the disk.
    pub(super) fn open(files: &Files, now: SystemTime, was_down: bool) -> Result<Self, StoreError> {
        let mut parked: BTreeMap<String, Parked> = BTreeMap::new();
        for name in files.list(Path::new(FOLDER))? {
            let path = Path::new(FOLDER).join(&name);
            let Some(file) = files.open(&path)? else { continue };
            let bytes = file.len()?;
            // What was under way when the process was killed was interrupted by that.
            let key = name.split_once('.').map_or(&*name, |(key, _)| key);
            let more = parked.get(key).map_or(0, |it| it.bytes);
            if was_down || key == NAMELESS || bytes <= more {
                files.remove(&path)?;
                continue;
            }
            if key != name {
                files.rename(&path, &Path::new(FOLDER).join(key))?;
            }
            parked.insert(key.to_owned(), Parked { bytes, since: now });
        }
        let bytes = parked.values().map(|it| it.bytes).sum();
        // The clock may have been set back.
        let after_all = large::list(files)?.iter().map(|it| it.number.saturating_add(1)).max();
        let now = super::journal::to_nanos(SystemTime::now());
        let first_number = after_all.map_or(now, |it| it.max(now));
        let number = AtomicU64::new(first_number);
        Ok(Self { parked: Mutex::new(parked), bytes: AtomicU64::new(bytes), number, first_number })
    }

    /// Returns how many bytes all of them have.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Returns whether a file has its number from before the store was opened.
    pub(super) fn is_older(&self, number: u64) -> bool {
        number < self.first_number
    }

    /// Removes what nobody came back for.
    pub(super) fn expire(&self, files: &Files, now: SystemTime) -> Result<(), StoreError> {
        let old = |it: &Parked| now.duration_since(it.since).is_ok_and(|it| it >= PARKED_TIME);
        let mut parked = self.parked();
        let keys: Vec<_> =
            parked.iter().filter(|(_, it)| old(it)).map(|(key, _)| key.clone()).collect();
        keys.into_iter().try_for_each(|key| self.remove(files, &mut parked, &key))
    }

    /// Returns what a session sent, which is in the file of that path from now on.
    pub(super) fn take(
        &self,
        files: &Files,
        key: &str,
        path: &Path,
    ) -> Result<Option<Parked>, StoreError> {
        let mut parked = self.parked();
        let Some(session) = parked.remove(key) else { return Ok(None) };
        let renamed = files.rename(&Path::new(FOLDER).join(key), path);
        renamed.inspect_err(|_| self.count_less(session.bytes))?;
        Ok(Some(session))
    }

    /// Keeps what a session sent into the file of that path. If it is too much, what was sent longest ago is removed, of
    /// whoever has most.
    pub(super) fn park(
        &self,
        files: &Files,
        path: &Path,
        key: String,
        session: Parked,
        bytes_max: u64,
    ) -> Result<(), StoreError> {
        // Two of one name may end at once: the later one replaces the other's file, and its bytes.
        let mut parked = self.parked();
        files.rename(path, &Path::new(FOLDER).join(&key))?;
        self.bytes.fetch_add(session.bytes, Ordering::Relaxed);
        if let Some(replaced) = parked.insert(key, session) {
            self.count_less(replaced.bytes);
        }
        loop {
            let bytes: u64 = parked.values().map(|it| it.bytes).sum();
            let is_too_much = bytes > bytes_max;
            if !is_too_much && parked.len() <= PARKED_MAX {
                return Ok(());
            }
            let weight = |it: &Parked| if is_too_much { it.bytes } else { 1 };
            let oldest = oldest_of_most(&parked, weight).expect("there are too many");
            self.remove(files, &mut parked, &oldest)?;
        }
    }

    fn remove(
        &self,
        files: &Files,
        parked: &mut BTreeMap<String, Parked>,
        key: &str,
    ) -> Result<(), StoreError> {
        self.count_less(parked.remove(key).map_or(0, |it| it.bytes));
        files.remove(&Path::new(FOLDER).join(key))
    }

    /// Counts bytes as taken.
    pub(super) fn count_more(&self, bytes: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts them as given back.
    pub(super) fn count_less(&self, bytes: u64) {
        self.bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Returns a number that no file has.
    pub(super) fn number(&self) -> u64 {
        self.number.fetch_add(1, Ordering::Relaxed)
    }

    fn parked(&self) -> MutexGuard<'_, BTreeMap<String, Parked>> {
        self.parked.lock().expect("no holder panics")
    }
}

/// Returns the key of what was sent longest ago by the owner whose sessions weigh most together.
fn oldest_of_most(
    parked: &BTreeMap<String, Parked>,
    weight: impl Fn(&Parked) -> u64,
) -> Option<String> {
    let mut owners: BTreeMap<&str, u64> = BTreeMap::new();
    for (key, session) in parked {
        *owners.entry(owner(key)).or_default() += weight(session);
    }
    let (most, _) = owners.into_iter().max_by_key(|(_, weight)| *weight)?;
    let of_most = parked.iter().filter(|(key, _)| owner(key) == most);
    of_most.min_by_key(|(_, it)| it.since).map(|(key, _)| key.clone())
}

/// A session is named by the BLAKE3 hashes of its owner, and of what it calls itself with the blob's digest: whose it is can be
/// told after the next start, too.
pub(super) fn key(session: &Session, digest: Digest) -> String {
    let hash = |text: &str| Digest::of(DigestFunction::Blake3, text.as_bytes()).hex();
    let text = format!("{}:{digest} {}", digest.function(), session.name);
    format!("{}-{}", hash(&session.owner), hash(&text))
}

/// Returns what stands for the owner in the key of a session.
fn owner(key: &str) -> &str {
    key.split('-').next().unwrap_or_default()
}

impl Core {
    /// Returns how many bytes the session has sent, if it can be taken up.
    pub(super) fn uploaded(&self, names: &[Digest], session: &Session) -> Option<u64> {
        self.uploads.parked().get(&key(session, names[0])).map(|it| it.bytes)
    }
}
