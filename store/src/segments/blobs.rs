//! Blobs: found, read and kept, whichever form their records have.

use std::io;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use model::Digest;

use super::core::{Core, Reader};
use super::large::{PIECE_BYTES, RECORD_BLOB_BYTES_MAX};
use super::leases::Holder;
use super::log::{Put, Rank, Wish};
use super::manifest;
use super::recent::Looked;
use super::record::{Entry, Form, Name, Record};
use crate::blocking::blocking;
use crate::{Blob, Ranged, StoreError, Upload as _};

/// Hashing more than that many bytes is worth another thread for what waits on this one: a tenth of a millisecond.
const HASHED_HERE_BYTES: usize = 128 << 10;

/// How many times a blob is looked for again whose record was replaced while it was read.
const TRIES: usize = 8;

/// Returns whether it is the digest of the empty blob, which every store has.
pub(super) fn is_empty(digest: &Digest) -> bool {
    digest.is_empty() && *digest == Digest::of(digest.function(), b"")
}

impl Core {
    /// Returns which of the blobs are there, all chunks included, and pins those for the holder.
    pub(super) fn present(
        &self,
        digests: &[Digest],
        holder: Option<&Holder>,
    ) -> Result<Vec<bool>, StoreError> {
        let names: Vec<Name> = digests.iter().map(Name::of_blob).collect();
        let mut present = Vec::with_capacity(digests.len());
        for ((digest, name), entry) in digests.iter().zip(&names).zip(self.see(&names, holder)?) {
            present.push(match entry.filter(|it| it.size == digest.size()) {
                None => is_empty(digest),
                Some(entry) if entry.form == Form::Manifest => {
                    self.chunks(*name, entry, holder)?.is_some()
                }
                Some(_) => true,
            });
        }
        Ok(present)
    }

    /// Returns the chunks of a blob if all of them are there, and pins them for the holder.
    pub(super) fn chunks(
        &self,
        name: Name,
        entry: Entry,
        holder: Option<&Holder>,
    ) -> Result<Option<Vec<Digest>>, StoreError> {
        let Some(payload) = self.payload(name, entry)? else { return Ok(None) };
        let Some(chunks) = manifest::decode(&payload, entry.size) else { return Ok(None) };
        let names: Vec<Name> = chunks.iter().map(Name::of_blob).collect();
        let entries = self.see(&names, holder)?;
        let is_right = |(chunk, entry): (&Digest, &Option<Entry>)| {
            entry.is_some_and(|it| it.form == Form::Bytes && it.size == chunk.size())
        };
        let all = chunks.iter().zip(&entries).all(is_right);
        Ok(all.then_some(chunks))
    }

    /// Returns the bytes of a blob, or `None`.
    pub(super) fn read_blob(
        self: &Arc<Self>,
        digest: Digest,
        holder: Option<&Holder>,
    ) -> Result<Option<Blob>, StoreError> {
        if is_empty(&digest) {
            return Ok(Some(Blob::Bytes(Bytes::new())));
        }
        let name = Name::of_blob(&digest);
        for _ in 0..TRIES {
            let entry = self.see(&[name], holder)?[0].filter(|it| it.size == digest.size());
            let Some(entry) = entry else { return Ok(None) };
            let blob = match entry.form {
                Form::Bytes => self.payload(name, entry)?.map(Blob::Bytes),
                Form::File => self.open_large(name, entry)?,
                Form::Manifest => self.open_chunked(name, entry, holder)?,
                Form::Tombstone | Form::Dead => None,
            };
            // Where there is another record by now, the blob is not gone: its file was cut into chunks, say.
            if blob.is_some() || self.find(&[name])?[0].is_none_or(|it| it.place == entry.place) {
                return Ok(blob);
            }
        }
        Ok(None)
    }

    fn open_chunked(
        self: &Arc<Self>,
        name: Name,
        entry: Entry,
        holder: Option<&Holder>,
    ) -> Result<Option<Blob>, StoreError> {
        // A build that holds a lease has the chunks pinned by it; who reads has them until he is done.
        let reader = self.reader();
        if let Some(holder) = holder {
            self.chunks(name, entry, Some(holder))?;
        }
        let chunks = self.chunks(name, entry, Some(&reader.holder))?;
        Ok(chunks.map(|chunks| Blob::Ranged(Arc::new(Chunked::new(reader, chunks)))))
    }

    /// Keeps a blob, or refuses it if it hashes to something else.
    pub(super) fn write_blob(
        self: &Arc<Self>,
        digest: Digest,
        blob: Blob,
        holder: Option<&Holder>,
    ) -> Result<(), StoreError> {
        let looked = self.look(&[Name::of_blob(&digest)])?;
        let is_known = looked.entries[0].is_some();
        if is_known && self.present(&[digest], holder)?[0] {
            return Ok(());
        }
        match blob {
            Blob::Bytes(bytes) if bytes.len() as u64 <= RECORD_BLOB_BYTES_MAX => {
                self.write_bytes(digest, bytes, holder, &looked)
            }
            blob @ (Blob::Bytes(_) | Blob::File(_) | Blob::Ranged(_)) => {
                blocking(|| self.write_pieces(digest, blob, holder))
            }
        }
    }

    fn write_bytes(
        &self,
        digest: Digest,
        bytes: Bytes,
        holder: Option<&Holder>,
        looked: &Looked,
    ) -> Result<(), StoreError> {
        let hash = || Digest::of(digest.function(), &bytes);
        let found = if bytes.len() > HASHED_HERE_BYTES { blocking(hash) } else { hash() };
        if found != digest {
            return Err(StoreError::Mismatch { expected: digest, found });
        }
        if digest.is_empty() {
            return Ok(());
        }
        let record = Record::new(Name::of_blob(&digest), Form::Bytes, digest.size(), bytes);
        match self.put_after(looked, &record, Wish::Absent, Rank::Writer)? {
            Put::Done(_) if holder.is_none() => Ok(()),
            Put::Done(_) | Put::Refused(_) => self.put_until_held(&record, digest, holder),
        }
    }

    /// Keeps the bytes of a blob that may be there already; they are what its digest says.
    pub(super) fn keep_bytes(
        &self,
        digest: Digest,
        bytes: Bytes,
        holder: Option<&Holder>,
    ) -> Result<(), StoreError> {
        if self.present(&[digest], holder)?[0] {
            return Ok(());
        }
        let record = Record::new(Name::of_blob(&digest), Form::Bytes, digest.size(), bytes);
        self.put_until_held(&record, digest, holder)
    }

    fn put_until_held(
        &self,
        record: &Record,
        digest: Digest,
        holder: Option<&Holder>,
    ) -> Result<(), StoreError> {
        loop {
            self.put_blob(record, digest)?;
            // For whoever holds nothing it does not matter that it may have been dropped a moment later.
            if holder.is_none() || self.present(&[digest], holder)?[0] {
                return Ok(());
            }
        }
    }

    /// Appends the record of a blob that is not there. Returns whether that was done.
    pub(super) fn put_blob(&self, record: &Record, digest: Digest) -> Result<bool, StoreError> {
        loop {
            let put = self.put(record, Wish::Absent, Rank::Writer)?;
            let Put::Refused(old) = put else { return Ok(true) };
            if self.present(&[digest], None)?[0] {
                return Ok(false);
            }
            // A manifest that lacks chunks stands for nothing, but has the name; so does what a damaged index says.
            if let Some(old) = old
                && self.replace(old, record, Rank::Writer)?
            {
                return Ok(true);
            }
        }
    }

    /// Tells `tell` of the bytes of a blob, in order, some at a time. One that is not there, or turns out to be corrupt, is
    /// missing.
    pub(super) fn each_piece(
        self: &Arc<Self>,
        digest: Digest,
        mut tell: impl FnMut(Bytes) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let missing = StoreError::Missing { digest };
        let Some(blob) = self.read_blob(digest, None)? else { return Err(missing) };
        let ranged = match blob {
            Blob::Bytes(bytes) => return tell(bytes),
            Blob::Ranged(ranged) => ranged,
            Blob::File(_) => unreachable!("this store has no files without checksums"),
        };
        let mut offset = 0;
        while offset < ranged.size() {
            match ranged.read_at(offset, PIECE_BYTES) {
                Ok(piece) => {
                    offset += piece.len() as u64;
                    tell(piece)?;
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(missing),
                Err(source) => return Err(StoreError::Input { source }),
            }
        }
        Ok(())
    }

    fn write_pieces(
        self: &Arc<Self>,
        digest: Digest,
        blob: Blob,
        holder: Option<&Holder>,
    ) -> Result<(), StoreError> {
        let mut upload = Box::new(self.upload(&[digest], None, holder.cloned())?);
        let mut reader = blob.into_reader().map_err(|source| StoreError::Input { source })?;
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            let count = read_some(&mut reader, &mut buffer)?;
            if count == 0 {
                return upload.finish();
            }
            upload.write(Bytes::copy_from_slice(&buffer[..count]))?;
        }
    }
}

fn read_some(reader: &mut impl io::Read, buffer: &mut [u8]) -> Result<usize, StoreError> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read.map_err(|source| StoreError::Input { source }),
        }
    }
}

/// A blob that is read chunk by chunk.
#[derive(Debug)]
struct Chunked {
    reader: Reader,
    chunks: Vec<Digest>,
    /// Where each chunk ends.
    ends: Vec<u64>,
    last: Mutex<Option<(usize, Bytes)>>,
}

impl Chunked {
    fn new(reader: Reader, chunks: Vec<Digest>) -> Self {
        let ends = chunks.iter().scan(0, |end, chunk| {
            *end += chunk.size();
            Some(*end)
        });
        Self { reader, ends: ends.collect(), chunks, last: Mutex::new(None) }
    }

    fn chunk(&self, index: usize) -> io::Result<Bytes> {
        let mut last = self.last.lock().expect("no holder panics");
        if let Some((_, chunk)) = last.as_ref().filter(|(it, _)| *it == index) {
            return Ok(chunk.clone());
        }
        let (core, name) = (&self.reader.core, Name::of_blob(&self.chunks[index]));
        let entry = core.find(&[name]).map_err(io::Error::other)?[0];
        let payload = match entry {
            Some(entry) => core.payload(name, entry).map_err(io::Error::other)?,
            None => None,
        };
        // It was there, and pinned: it was found to be corrupt.
        let chunk = payload.ok_or(io::ErrorKind::InvalidData)?;
        *last = Some((index, chunk.clone()));
        Ok(chunk)
    }
}

impl Ranged for Chunked {
    fn size(&self) -> u64 {
        self.ends.last().copied().unwrap_or_default()
    }

    fn read_at(&self, offset: u64, count: usize) -> io::Result<Bytes> {
        let index = self.ends.partition_point(|end| *end <= offset);
        let Some(end) = self.ends.get(index) else { return Ok(Bytes::new()) };
        let chunk = self.chunk(index)?;
        let begin = end - self.chunks[index].size();
        let from = usize::try_from(offset - begin).expect("less than a chunk");
        Ok(chunk.slice(from..chunk.len().min(from.saturating_add(count))))
    }
}
