//! Which records were used lately: those get a second chance when their segment is dropped.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard};

use roaring::RoaringTreemap;

use super::files::Files;
use super::leases::key;
use super::quarantine::or_nothing;
use super::record::{Place, read_u32};
use crate::StoreError;

/// A generation ends when this part of the budget was written: what was used within the last third to two thirds of the time
/// that things stay is kept, and what was only read soon after it was written is not.
const GENERATION_SHARE: u64 = 3;

/// Places that were read, looked up or found, in two generations: before and since a part of the store was written anew.
#[derive(Debug, Default)]
pub(super) struct Touched {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    now: RoaringTreemap,
    before: RoaringTreemap,
    written: u64,
    is_changed: bool,
}

/// Returns the path of the file that the places are kept in.
pub(super) fn path() -> PathBuf {
    PathBuf::from("touched")
}

impl Touched {
    /// Reads what was saved, if it is right: not to know what was used costs a second chance, and nothing else.
    pub(super) fn open(files: &Files) -> Result<Self, StoreError> {
        let bytes = or_nothing(files.read(&path()))?.unwrap_or_default();
        let touched = Self::default();
        if let Some((now, before)) = decode(&bytes) {
            *touched.kept() = Kept { now, before, written: 0, is_changed: false };
        }
        Ok(touched)
    }

    /// Says that records were used.
    pub(super) fn touch(&self, places: impl Iterator<Item = Place>) {
        let mut kept = self.kept();
        for place in places {
            let is_new = kept.now.insert(key(place));
            kept.is_changed |= is_new;
        }
    }

    pub(super) fn contains(&self, place: Place) -> bool {
        let kept = self.kept();
        kept.now.contains(key(place)) || kept.before.contains(key(place))
    }

    /// Says that so many bytes were written to a store of that budget.
    pub(super) fn written(&self, bytes: u64, budget_bytes: u64) {
        let mut kept = self.kept();
        kept.written += bytes;
        if kept.written >= budget_bytes / GENERATION_SHARE {
            kept.written = 0;
            kept.before = std::mem::take(&mut kept.now);
            kept.is_changed = true;
        }
    }

    /// Forgets the places of a segment that is no more.
    pub(super) fn forget(&self, segment: u32) {
        let range = u64::from(segment) << 32..=u64::from(segment) << 32 | u64::from(u32::MAX);
        let mut kept = self.kept();
        kept.now.remove_range(range.clone());
        kept.before.remove_range(range);
    }

    /// Writes down what was used, if anything was since the last time.
    pub(super) fn save(&self, files: &Files) -> Result<(), StoreError> {
        let bytes = {
            let mut kept = self.kept();
            if !std::mem::take(&mut kept.is_changed) {
                return Ok(());
            }
            encode(&kept.now, &kept.before)
        };
        let saved = files.replace(Path::new(&path()), &bytes);
        if saved.is_err() {
            self.kept().is_changed = true;
        }
        saved
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder panics")
    }
}

/// Both generations, one after the other in the format of Roaring, after their checksum.
fn encode(now: &RoaringTreemap, before: &RoaringTreemap) -> Vec<u8> {
    let mut bytes = vec![0; 4];
    for places in [now, before] {
        places.serialize_into(&mut bytes).expect("memory takes any bytes");
    }
    let crc = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn decode(bytes: &[u8]) -> Option<(RoaringTreemap, RoaringTreemap)> {
    let mut rest = bytes.get(4..)?;
    if crc32c::crc32c(rest) != read_u32(bytes, 0) {
        return None;
    }
    let now = RoaringTreemap::deserialize_from(&mut rest).ok()?;
    Some((now, RoaringTreemap::deserialize_from(&mut rest).ok()?))
}
