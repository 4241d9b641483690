//! Settling: large files are cut into chunks, of which those that other blobs have too are there already.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Arc, Mutex};

use bytes::{Bytes, BytesMut};
use fastcdc::v2020::{FastCDC, Normalization};
use model::{Digest, Hasher};

use super::core::{Core, Reader};
use super::large::RECORD_BLOB_BYTES_MAX;
use super::leases::Holder;
use super::manifest::{self, CHUNKS_MAX};
use super::record::{Entry, Form, Name, Record};
use crate::blocking::blocking;
use crate::{Blob, Ranged, StoreError, Upload as _};

/// How many bytes a chunk has on average, and at least: what REAPI recommends for its `FAST_CDC_2020`.
const CHUNK_BYTES: usize = 512 << 10;
const CHUNK_BYTES_MIN: usize = CHUNK_BYTES / 4;
/// And at most. A blob that is no larger is not cut.
const CHUNK_BYTES_MAX: usize = 4 * CHUNK_BYTES;

const _: () = assert!(CHUNK_BYTES_MAX as u64 == RECORD_BLOB_BYTES_MAX);

/// How many files wait to be cut at most: those that are forgotten are cut after the next start.
const WAITING_MAX: usize = 64 << 10;

/// The files that are to be cut.
#[derive(Debug, Default)]
pub(super) struct Settling {
    waiting: Mutex<VecDeque<Name>>,
}

impl Settling {
    pub(super) fn add(&self, name: Name) {
        let mut waiting = self.waiting.lock().expect("no holder panics");
        if waiting.len() < WAITING_MAX {
            waiting.push_back(name);
        }
    }

    pub(super) fn next(&self) -> Option<Name> {
        self.waiting.lock().expect("no holder panics").pop_front()
    }
}

impl Core {
    /// Cuts the file of a blob into chunks, if it has one, and returns those; `None` if there is nothing to cut, or too much.
    pub(super) fn settle(self: &Arc<Self>, name: Name) -> Result<Option<Vec<Digest>>, StoreError> {
        let entry = self.find(&[name])?[0].filter(|it| it.form == Form::File);
        let Some(entry) = entry else { return Ok(None) };
        let Some(digest) = name.digest(entry.size) else { return Ok(None) };
        let Some(Blob::Ranged(blob)) = self.open_large(name, entry)? else { return Ok(None) };
        let reader = self.reader();
        let Some(chunks) = self.cut(digest, &*blob, &reader)? else { return Ok(None) };
        let record = Record::new(name, Form::Manifest, entry.size, manifest::encode(&chunks));
        if self.replace_by_chunks(entry, &record, reader.id)? {
            self.mark_chunks(&chunks)?;
        } else {
            // Meanwhile it was copied forward, or there is another word on the name.
            self.settling.add(name);
        }
        Ok(Some(chunks))
    }

    fn cut(
        &self,
        digest: Digest,
        blob: &dyn Ranged,
        reader: &Reader,
    ) -> Result<Option<Vec<Digest>>, StoreError> {
        let (mut chunks, mut ahead, mut offset) = (Vec::new(), BytesMut::new(), 0);
        loop {
            while ahead.len() < CHUNK_BYTES_MAX && offset < blob.size() {
                let piece = blob.read_at(offset, CHUNK_BYTES_MAX);
                let piece = match piece {
                    Ok(piece) => piece,
                    // It was found to be corrupt, and is gone.
                    Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                        return Ok(None);
                    }
                    Err(source) => return Err(StoreError::Input { source }),
                };
                offset += piece.len() as u64;
                ahead.extend_from_slice(&piece);
            }
            if ahead.is_empty() {
                return Ok(Some(chunks));
            }
            if chunks.len() == CHUNKS_MAX {
                return Ok(None);
            }
            let bytes = ahead.split_to(first_cut(&ahead)).freeze();
            let chunk = Digest::of(digest.function(), &bytes);
            self.keep_chunk(chunk, bytes, &reader.holder)?;
            chunks.push(chunk);
        }
    }

    /// Keeps a chunk. One that is there is read before anything relies on it: the file that is cut is right, and goes.
    fn keep_chunk(&self, chunk: Digest, bytes: Bytes, holder: &Holder) -> Result<(), StoreError> {
        let name = Name::of_blob(&chunk);
        while self.present(&[chunk], Some(holder))?[0] {
            let Some(entry) = self.find(&[name])?[0] else { break };
            match self.payload(name, entry)? {
                Some(found) if found == bytes => return Ok(()),
                // Its checksum is right, but it was wrong when it was written.
                Some(found) => self.take_away(name, entry, &found)?,
                None => {}
            }
        }
        self.keep_bytes(chunk, bytes, Some(holder))
    }

    /// Notes that blobs are chunks of others, so that their bytes are counted once.
    pub(super) fn mark_chunks(&self, chunks: &[Digest]) -> Result<(), StoreError> {
        /// How many are marked while others wait.
        const BATCH: usize = 256;
        let names: BTreeSet<Name> = chunks.iter().map(Name::of_blob).collect();
        let names: Vec<Name> = names.into_iter().collect();
        for names in names.chunks(BATCH) {
            let looked = self.look(names)?;
            let _head = self.head();
            for (index, name) in names.iter().enumerate() {
                let old = self.current(*name, index, &looked)?;
                if let Some(entry) = old.filter(|it| !it.is_chunk) {
                    self.recent().publish(*name, old, Some(Entry { is_chunk: true, ..entry }), 0);
                }
            }
        }
        Ok(())
    }

    /// Returns the chunks that a blob consists of, each of which is there.
    pub(super) fn split(
        self: &Arc<Self>,
        digest: Digest,
        holder: Option<&Holder>,
    ) -> Result<Option<Vec<Digest>>, StoreError> {
        if super::blobs::is_empty(&digest) {
            return Ok(Some(Vec::new()));
        }
        let name = Name::of_blob(&digest);
        if !self.present(&[digest], holder)?[0] {
            return Ok(None);
        }
        blocking(|| self.settle(name))?;
        let entry = self.see(&[name], holder)?[0].filter(|it| it.size == digest.size());
        match entry {
            Some(entry) if entry.form == Form::Manifest => self.chunks(name, entry, holder),
            // It is no larger than a chunk, or has more of them than can be told.
            Some(_) => Ok(Some(vec![digest])),
            None => Ok(None),
        }
    }

    /// Keeps the blob that consists of those chunks.
    pub(super) fn splice(
        self: &Arc<Self>,
        digest: Digest,
        chunks: &[Digest],
        holder: Option<&Holder>,
    ) -> Result<(), StoreError> {
        if digest.size() > self.settings.budget_bytes {
            return Err(self.full());
        }
        let reader = self.reader();
        let mut pieces = Vec::new();
        for chunk in chunks.iter().filter(|it| !super::blobs::is_empty(it)) {
            // A chunk that consists of chunks is those: a manifest is never more than one step from the bytes.
            match self.split(*chunk, Some(&reader.holder))? {
                Some(parts) => pieces.extend(parts),
                None => return Err(StoreError::Missing { digest: *chunk }),
            }
        }
        let found = self.hash_chunks(digest, &pieces)?;
        if found != digest {
            return Err(StoreError::Mismatch { expected: digest, found });
        }
        if digest.is_empty() || self.present(&[digest], holder)?[0] {
            return Ok(());
        }
        self.keep_chunks(digest, &pieces, holder)
    }

    /// Returns what the chunks make, or what as many of them make as are more than the digest says.
    fn hash_chunks(
        self: &Arc<Self>,
        digest: Digest,
        chunks: &[Digest],
    ) -> Result<Digest, StoreError> {
        let (mut hasher, mut bytes) = (Hasher::new(digest.function()), 0);
        for chunk in chunks {
            self.each_piece(*chunk, |piece| {
                hasher.update(&piece);
                Ok(())
            })?;
            bytes += chunk.size();
            if bytes > digest.size() {
                break;
            }
        }
        Ok(hasher.finish())
    }

    fn keep_chunks(
        self: &Arc<Self>,
        digest: Digest,
        chunks: &[Digest],
        holder: Option<&Holder>,
    ) -> Result<(), StoreError> {
        let is_list = chunks.iter().all(|it| it.size() <= RECORD_BLOB_BYTES_MAX);
        if digest.size() <= RECORD_BLOB_BYTES_MAX || chunks.len() > CHUNKS_MAX || !is_list {
            let mut upload = Box::new(self.upload(&[digest], None, holder.cloned())?);
            for chunk in chunks {
                self.each_piece(*chunk, |piece| upload.write(piece))?;
            }
            return upload.finish();
        }
        let payload = manifest::encode(chunks);
        let record = Record::new(Name::of_blob(&digest), Form::Manifest, digest.size(), payload);
        self.put_blob(&record, digest)?;
        self.mark_chunks(chunks)?;
        if holder.is_some() && !self.present(&[digest], holder)?[0] {
            // In the moment between, it was dropped to make room.
            return Err(StoreError::Missing { digest });
        }
        Ok(())
    }
}

/// Returns how many bytes the first chunk has of a blob that begins so, and ends so if it is not longer than a chunk.
fn first_cut(bytes: &[u8]) -> usize {
    let (min, average, max) = (CHUNK_BYTES_MIN, CHUNK_BYTES, CHUNK_BYTES_MAX);
    let cutter = FastCDC::with_level_and_seed(bytes, min, average, max, Normalization::Level2, 0);
    cutter.cut(0, bytes.len()).1
}
