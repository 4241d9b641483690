//! Blocks: what is compressed together in a sealed segment; those that were just used stay in memory, uncompressed.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use bytes::Bytes;

use super::record::PAYLOAD_BYTES_MAX;
use super::sealed::{Sealed, Span};
use crate::StoreError;
use crate::blocking::blocking;

/// How many bytes a block has before it is compressed, if its records are smaller. Twice as much makes the headers of 33
/// kernels a fiftieth smaller, and reading a small record twice as expensive (some 60 microseconds).
pub(super) const BLOCK_BYTES: usize = 64 << 10;

/// A larger block has no record that is smaller than this part of it: reading one costs not much more than its size.
/// It makes the headers of 33 kernels an eighth smaller that large files which differ little share a block.
pub(super) const BLOCK_PER_RECORD: usize = 4;

/// The largest block.
const BLOCK_BYTES_MAX: usize = BLOCK_PER_RECORD * PAYLOAD_BYTES_MAX;

/// How many bytes of uncompressed blocks stay in memory: 512 blocks, for a client that fetches a tree whose files lie side
/// by side.
const KEPT_BYTES: usize = 32 << 20;

/// Uncompressed blocks, the last used ones.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    blocks: BTreeMap<(u32, u32), (u64, Bytes)>,
    by_use: BTreeMap<u64, (u32, u32)>,
    bytes: usize,
    uses: u64,
}

thread_local! {
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

impl Blocks {
    /// Returns a payload of a sealed segment, or `None` if its block is not what it should be.
    pub(super) fn payload(
        &self,
        segment: &Sealed,
        span: Span,
        stored: u32,
    ) -> Result<Option<Bytes>, StoreError> {
        if stored == 0 {
            return Ok(Some(Bytes::new()));
        }
        if span.stored == span.raw {
            let mut payload = vec![0; stored as usize];
            segment.file().read_at(u64::from(span.block) + u64::from(span.at), &mut payload)?;
            return Ok(Some(payload.into()));
        }
        let key = (segment.id(), span.block);
        let kept = self.kept().get(key);
        let block = if let Some(block) = kept {
            block
        } else {
            let Some(block) = read(segment, span)? else { return Ok(None) };
            self.kept().insert(key, block.clone());
            block
        };
        let range = span.at as usize..(span.at as usize).saturating_add(stored as usize);
        let is_within = range.end <= block.len();
        // A small record does not keep a whole block in memory for as long as somebody is sending it.
        Ok(is_within.then(|| Bytes::copy_from_slice(&block[range])))
    }

    /// Forgets the blocks of a segment.
    pub(super) fn forget(&self, segment: u32) {
        self.kept().forget(segment);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder panics")
    }
}

fn read(segment: &Sealed, span: Span) -> Result<Option<Bytes>, StoreError> {
    let is_sane = span.raw as usize <= BLOCK_BYTES_MAX && span.stored < span.raw;
    if !is_sane {
        return Ok(None);
    }
    let mut compressed = vec![0; span.stored as usize];
    segment.file().read_at(u64::from(span.block), &mut compressed)?;
    let raw = span.raw as usize;
    let decompress = || decompress(&compressed, raw);
    let block = if raw > BLOCK_BYTES { blocking(decompress) } else { decompress() };
    Ok(block.filter(|it| it.len() == raw).map(Bytes::from))
}

fn decompress(compressed: &[u8], raw: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = zstd::bulk::Decompressor::new().ok();
        }
        kept.as_mut()?.decompress(compressed, raw).ok()
    })
}

impl Kept {
    fn get(&mut self, key: (u32, u32)) -> Option<Bytes> {
        let (used, block) = self.blocks.get_mut(&key)?;
        self.by_use.remove(used);
        self.uses += 1;
        *used = self.uses;
        self.by_use.insert(self.uses, key);
        Some(block.clone())
    }

    fn insert(&mut self, key: (u32, u32), block: Bytes) {
        self.remove(key);
        self.uses += 1;
        self.bytes += block.len();
        self.blocks.insert(key, (self.uses, block));
        self.by_use.insert(self.uses, key);
        while self.bytes > KEPT_BYTES {
            let Some((_, oldest)) = self.by_use.first_key_value() else { break };
            let oldest = *oldest;
            self.remove(oldest);
        }
    }

    fn remove(&mut self, key: (u32, u32)) {
        if let Some((used, block)) = self.blocks.remove(&key) {
            self.by_use.remove(&used);
            self.bytes -= block.len();
        }
    }

    fn forget(&mut self, segment: u32) {
        let keys: Vec<_> =
            self.blocks.range((segment, 0)..=(segment, u32::MAX)).map(|(key, _)| *key).collect();
        for key in keys {
            self.remove(key);
        }
    }
}
