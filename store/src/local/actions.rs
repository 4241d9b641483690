//! What actions made, and how some failed.
//!
//! An entry is a line of text (`bld-result 1 <namespace> <hash of the rest>`) and an encoded `ActionResult`:
//! one that a power failure tore does not hash to what its line says, and is a miss.

use std::fs;
use std::path::PathBuf;

use model::{ActionDigest, ActionResult, Digest, DigestFunction};
use wire::{decode, encode};

use super::LocalStore;
use super::blobs::read_quietly;
use crate::StoreError;

/// Where results come from that this machine made itself.
const NAMESPACE: &str = "local";

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
    /// Returns what the action made, if a success is recorded.
    pub fn lookup_result(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        self.lookup_in(Remembered::Success, action)
    }

    /// Returns how the action failed, if a failure is remembered.
    pub fn lookup_failure(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        self.lookup_in(Remembered::Failure, action)
    }

    /// Records what the action made.
    pub fn record_result(
        &self,
        action: ActionDigest,
        result: &ActionResult,
    ) -> Result<(), StoreError> {
        let before = self.entry_unpinned(Remembered::Success, action);
        self.record_in(Remembered::Success, action, result)?;
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
        self.record_in(Remembered::Failure, action, result)
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
    ) -> Result<Option<ActionResult>, StoreError> {
        self.lease.pin(format!("{} {}:{}", table.folder(), action.0.function(), action.0.hex()))?;
        let path = self.entry_path(table, action);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StoreError::disk("read", &path)(error)),
        };
        Self::touch(&path);
        Ok(parse_entry(action.0.function(), &bytes))
    }

    fn record_in(
        &self,
        table: Remembered,
        action: ActionDigest,
        result: &ActionResult,
    ) -> Result<(), StoreError> {
        self.lease.pin(format!("{} {}:{}", table.folder(), action.0.function(), action.0.hex()))?;
        let payload = encode::action_result(result);
        let check = Digest::of(CHECK, &payload).hex();
        let mut bytes = format!("bld-result 1 {NAMESPACE} {check}\n").into_bytes();
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

    /// Returns what an entry says now, without pinning it or marking it as used: for the collector.
    pub(super) fn entry_unpinned(
        &self,
        table: Remembered,
        action: ActionDigest,
    ) -> Option<ActionResult> {
        let bytes = read_quietly(&self.entry_path(table, action)).ok()?;
        parse_entry(action.0.function(), &bytes)
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

/// Returns the result in an entry; anything malformed is a miss.
pub(super) fn parse_entry(function: DigestFunction, bytes: &[u8]) -> Option<ActionResult> {
    let end = bytes.iter().position(|byte| *byte == b'\n')?;
    let line = std::str::from_utf8(&bytes[..end]).ok()?;
    let payload = &bytes[end + 1..];
    let ["bld-result", "1", NAMESPACE, check] = *line.split(' ').collect::<Vec<_>>() else {
        return None;
    };
    if Digest::of(CHECK, payload).hex() != check {
        return None;
    }
    decode::action_result(function, payload).ok()
}
