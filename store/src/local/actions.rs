//! What actions made, and how some failed.
//!
//! An entry is a line of text (`bld-result 1 <whose word it is> <hash of the rest>`) and an encoded `ActionResult`:
//! one that a power failure tore does not hash to what its line says, and is a miss.

use std::fs;
use std::path::PathBuf;

use model::{ActionDigest, ActionResult, Digest, DigestFunction};
use wire::{decode, encode};

use super::LocalStore;
use super::blobs::read_quietly;
use crate::{Provenance, StoreError};

/// What the line of an entry begins with.
const HEADER: &str = "bld-result 1 ";

/// The function of the line's check: not an identity, so it never changes with the workspace.
const CHECK: DigestFunction = DigestFunction::Blake3;

/// Which table an entry stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Remembered {
    /// The action succeeded.
    Success,
    /// The action failed, and would fail again.
    Failure,
}

impl Remembered {
    pub(super) fn folder(self) -> &'static str {
        match self {
            Self::Success => "actions",
            Self::Failure => "failures",
        }
    }
}

impl LocalStore {
    /// Says which remote's results are asked for, too: what other branches were told is not believed. The first word
    /// counts, as long as the store is open.
    pub fn believe(&self, own: Provenance) {
        self.believed.get_or_init(|| own);
    }

    /// Returns what the action made, if a success is recorded by whom this build believes.
    pub fn lookup_result(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        Ok(self.lookup_result_of(action)?.map(|(_, result)| result))
    }

    /// Like [`LocalStore::lookup_result`], with who says so.
    pub fn lookup_result_of(
        &self,
        action: ActionDigest,
    ) -> Result<Option<(Provenance, ActionResult)>, StoreError> {
        self.lookup_in(Remembered::Success, action)
    }

    /// Returns how the action failed, if a failure is remembered.
    pub fn lookup_failure(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        Ok(self.lookup_in(Remembered::Failure, action)?.map(|(_, result)| result))
    }

    /// Records what the action made here.
    pub fn record_result(
        &self,
        action: ActionDigest,
        result: &ActionResult,
    ) -> Result<(), StoreError> {
        self.record_result_of(&Provenance::Local, action, result)
    }

    /// Records what somebody says that the action made.
    pub fn record_result_of(
        &self,
        provenance: &Provenance,
        action: ActionDigest,
        result: &ActionResult,
    ) -> Result<(), StoreError> {
        let before = self.entry_unpinned(Remembered::Success, action);
        self.record_in(Remembered::Success, provenance, action, result)?;
        match before {
            Some(before) if !before.makes_the_same(result) => self.count_rewrite(),
            Some(_) | None => Ok(()),
        }
    }

    /// Remembers how the action failed.
    pub fn record_failure(
        &self,
        action: ActionDigest,
        result: &ActionResult,
    ) -> Result<(), StoreError> {
        self.record_in(Remembered::Failure, &Provenance::Local, action, result)
    }

    /// Forgets a success whose outputs turned out to be gone.
    pub fn forget_result(&self, action: ActionDigest) -> Result<(), StoreError> {
        let path = self.entry_path(Remembered::Success, action);
        match fs::remove_file(&path) {
            Ok(()) => self.count_rewrite(),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(StoreError::disk("remove", &path)(error)),
        }
    }

    pub(super) fn lookup_in(
        &self,
        table: Remembered,
        action: ActionDigest,
    ) -> Result<Option<(Provenance, ActionResult)>, StoreError> {
        self.lease.pin(format!("{} {}:{}", table.folder(), action.0.function(), action.0.hex()))?;
        let path = self.entry_path(table, action);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::disk("read", &path)(error)),
        };
        Self::touch(&path);
        Ok(self.believed_entry(action, &bytes))
    }

    /// Returns what an entry says, if whoever says it is believed.
    fn believed_entry(
        &self,
        action: ActionDigest,
        bytes: &[u8],
    ) -> Option<(Provenance, ActionResult)> {
        let own = self.believed.get().unwrap_or(&Provenance::Local);
        parse_entry(action.0.function(), bytes)
            .filter(|(provenance, _)| provenance.is_believed(own))
    }

    fn record_in(
        &self,
        table: Remembered,
        provenance: &Provenance,
        action: ActionDigest,
        result: &ActionResult,
    ) -> Result<(), StoreError> {
        self.lease.pin(format!("{} {}:{}", table.folder(), action.0.function(), action.0.hex()))?;
        let payload = encode::action_result(result);
        let check = Digest::of(CHECK, &payload).hex();
        let mut bytes = format!("{HEADER}{provenance} {check}\n").into_bytes();
        bytes.extend_from_slice(&payload);
        let beside = self.temporary_path();
        if let Err(error) = fs::write(&beside, &bytes) {
            let _ = fs::remove_file(&beside);
            return Err(StoreError::disk("write", &beside)(error));
        }
        let path = self.entry_path(table, action);
        let folder = path.parent().expect("an entry lies in a folder");
        fs::create_dir_all(folder).map_err(StoreError::disk("create", folder))?;
        self.count_written(bytes.len() as u64);
        fs::rename(&beside, &path).map_err(StoreError::disk("rename", &path))
    }

    /// Returns what an entry says now, without pinning it or marking it as used.
    pub(super) fn entry_unpinned(
        &self,
        table: Remembered,
        action: ActionDigest,
    ) -> Option<ActionResult> {
        let bytes = read_quietly(&self.entry_path(table, action)).ok()?;
        self.believed_entry(action, &bytes).map(|(_, result)| result)
    }

    /// Returns what an entry says now to whoever believes it, without pinning it or marking it as used: for the
    /// collector.
    pub(super) fn anybodys_entry(
        &self,
        table: Remembered,
        action: ActionDigest,
    ) -> Option<ActionResult> {
        let bytes = read_quietly(&self.entry_path(table, action)).ok()?;
        parse_entry(action.0.function(), &bytes).map(|(_, result)| result)
    }

    pub(super) fn entry_path(&self, table: Remembered, action: ActionDigest) -> PathBuf {
        let hex = action.0.hex();
        let mut path = self.root.join(table.folder());
        path.push(action.0.function().name());
        path.push(&hex[..2]);
        path.push(hex);
        path
    }
}

/// Returns the result in an entry, and whose word it is; anything malformed is a miss.
pub(super) fn parse_entry(
    function: DigestFunction,
    bytes: &[u8],
) -> Option<(Provenance, ActionResult)> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let payload = &bytes[end + 1..];
    // The name of a branch may have spaces.
    let (provenance, check) = line.strip_prefix(HEADER)?.rsplit_once(' ')?;
    if Digest::of(CHECK, payload).hex() != check {
        return None;
    }
    let result = decode::action_result(function, payload).ok()?;
    Some((provenance.parse().ok()?, result))
}
