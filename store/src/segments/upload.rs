//! An upload: a blob that comes piece by piece, into memory or into a file.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use model::{Digest, DigestFunction, Hasher};

use super::core::Core;
use super::files::StoreFile;
use super::large::{self, LargeFile, PIECE_BYTES, RECORD_BLOB_BYTES_MAX};
use super::leases::Holder;
use super::quarantine::or_nothing;
use super::record::{Form, Name, Record};
use super::uploads::{FOLDER, NAMELESS, Parked, key};
use crate::blocking::blocking;
use crate::{Session, StoreError, Upload};

/// Interrupted sessions take at most this part of the budget. What is more takes the place of whoever's takes most.
const PARKED_SHARE: u64 = 8;

/// For how many bytes an upload makes room at once.
const STEP_BYTES: u64 = 16 << 20;

impl Core {
    /// Begins an upload of a blob that has one of those names, or takes it up again; without a session it cannot be taken
    /// up later.
    pub(super) fn upload(
        self: &Arc<Self>,
        names: &[Digest],
        session: Option<&Session>,
        holder: Option<Holder>,
    ) -> Result<SegmentUpload, StoreError> {
        let digest = names[0];
        if digest.size() > self.settings.hard_bytes() {
            return Err(self.full());
        }
        let mut upload = SegmentUpload::new(self, digest, holder);
        upload.others = names[1..].to_vec();
        let Some(session) = session else {
            if digest.size() > RECORD_BLOB_BYTES_MAX {
                upload.begin_file()?;
            }
            return Ok(upload);
        };
        let key = key(session, digest);
        upload.key = Some(key.clone());
        let path = upload.fresh_path();
        match self.uploads.take(&self.files, &key, &path)? {
            Some(parked) => blocking(|| upload.take_up(parked, &path))?,
            None if digest.size() > RECORD_BLOB_BYTES_MAX => upload.begin_file()?,
            None => {}
        }
        Ok(upload)
    }
}

/// A blob that is being uploaded: a small one into memory, a large one into a file.
pub(super) struct SegmentUpload {
    core: Arc<Core>,
    digest: Digest,
    /// What it may be named by besides.
    others: Vec<Digest>,
    holder: Option<Holder>,
    /// What the session's file is called when it is interrupted, if it can be taken up again.
    key: Option<String>,
    hasher: Hasher,
    /// The checksums of the pieces, that of the last one as far as it came.
    crcs: Vec<u32>,
    bytes: u64,
    /// How many bytes are counted as taken.
    reserved: u64,
    sent: Sent,
}

enum Sent {
    Memory(BytesMut),
    File(PathBuf, StoreFile),
    /// It is kept, or forgotten.
    Gone,
}

impl SegmentUpload {
    /// Begins an upload into memory.
    pub(super) fn new(core: &Arc<Core>, digest: Digest, holder: Option<Holder>) -> Self {
        Self {
            core: Arc::clone(core),
            digest,
            others: Vec::new(),
            holder,
            key: None,
            hasher: Hasher::new(digest.function()),
            crcs: Vec::new(),
            bytes: 0,
            reserved: 0,
            sent: Sent::Memory(BytesMut::new()),
        }
    }

    // While it is under way its file has a name of its own: another one of the same session begins anew.
    fn begin_file(&mut self) -> Result<(), StoreError> {
        let path = self.fresh_path();
        let file = self.core.files.create(&path)?;
        self.sent = Sent::File(path, file);
        Ok(())
    }

    fn fresh_path(&self) -> PathBuf {
        let key = self.key.as_deref().unwrap_or(NAMELESS);
        Path::new(FOLDER).join(format!("{key}.{:x}", self.core.uploads.number()))
    }

    fn take_up(&mut self, parked: Parked, path: &Path) -> Result<(), StoreError> {
        self.reserved = parked.bytes;
        let Some(file) = self.core.files.open(path)? else { return self.restart() };
        self.sent = Sent::File(path.to_owned(), file.clone());
        let length = file.len()?;
        if length > self.digest.size() {
            return self.restart();
        }
        let mut piece = vec![0; PIECE_BYTES];
        let mut memory = BytesMut::new();
        while self.bytes < length {
            let rest = usize::try_from(length - self.bytes).unwrap_or(usize::MAX);
            let piece = &mut piece[..rest.min(PIECE_BYTES)];
            if !or_nothing(file.read_at(self.bytes, piece).map(|()| true))? {
                return self.restart();
            }
            self.note(piece);
            if self.digest.size() <= RECORD_BLOB_BYTES_MAX {
                memory.extend_from_slice(piece);
            }
        }
        if self.digest.size() <= RECORD_BLOB_BYTES_MAX {
            self.sent = Sent::Memory(memory);
            self.core.files.remove(path)?;
        }
        Ok(())
    }

    /// Takes bytes into account that are where they should be.
    fn note(&mut self, mut bytes: &[u8]) {
        self.hasher.update(bytes);
        while !bytes.is_empty() {
            let within = usize::try_from(self.bytes % PIECE_BYTES as u64).expect("below a piece");
            if within == 0 {
                self.crcs.push(0);
            }
            let (now, later) = bytes.split_at(bytes.len().min(PIECE_BYTES - within));
            let crc = self.crcs.last_mut().expect("a piece was begun");
            *crc = crc32c::crc32c_append(*crc, now);
            self.bytes += now.len() as u64;
            bytes = later;
        }
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), StoreError> {
        if bytes <= self.reserved {
            return Ok(());
        }
        let more = (bytes - self.reserved).max(STEP_BYTES.min(self.digest.size() - self.reserved));
        if self.core.physical_bytes() + more > self.core.settings.hard_bytes() {
            self.core.make_room(more)?;
        }
        self.core.uploads.count_more(more);
        self.reserved += more;
        Ok(())
    }

    /// Gives back what was counted as taken.
    fn release(&mut self) {
        self.core.uploads.count_less(std::mem::take(&mut self.reserved));
    }

    /// Forgets the file, if there is one.
    fn forget(&mut self) -> Result<(), StoreError> {
        self.release();
        match std::mem::replace(&mut self.sent, Sent::Gone) {
            Sent::File(path, _) => self.core.files.remove(&path),
            Sent::Memory(_) | Sent::Gone => Ok(()),
        }
    }

    /// Returns the digest of what was sent by another function than the one it is hashed with while it comes.
    fn hash(&self, function: DigestFunction) -> Result<Digest, StoreError> {
        let mut hasher = Hasher::new(function);
        match &self.sent {
            Sent::Memory(bytes) => hasher.update(bytes),
            Sent::File(_, file) => {
                let mut piece = vec![0; PIECE_BYTES];
                let mut at = 0;
                while at < self.bytes {
                    let rest = usize::try_from(self.bytes - at).unwrap_or(usize::MAX);
                    let piece = &mut piece[..rest.min(PIECE_BYTES)];
                    file.read_at(at, piece)?;
                    hasher.update(piece);
                    at += piece.len() as u64;
                }
            }
            Sent::Gone => {}
        }
        Ok(hasher.finish())
    }

    /// Returns the digest of what has come.
    pub(super) fn found(&self) -> Digest {
        self.hasher.clone().finish()
    }

    /// Returns how many bytes may come.
    pub(super) fn bytes_max(&self) -> u64 {
        self.digest.size()
    }

    /// Returns that there is no room.
    pub(super) fn full(&self) -> StoreError {
        self.core.full()
    }

    /// Goes on in a file, if what has come is in memory.
    pub(super) fn leave_memory(&mut self) -> Result<(), StoreError> {
        let Sent::Memory(bytes) = &self.sent else { return Ok(()) };
        let bytes = bytes.clone();
        self.begin_file()?;
        let Sent::File(_, file) = &self.sent else { return Ok(()) };
        file.write_at(0, [&bytes, &[]])
    }

    /// Keeps what was sent under the name that it has.
    pub(super) fn keep_as(&mut self, digest: Digest) -> Result<(), StoreError> {
        self.digest = digest;
        if !digest.is_empty() {
            self.keep()?;
            let is_there = self.core.present(&[digest], self.holder.as_ref())?[0];
            if self.holder.is_some() && !is_there {
                // In the moment between, it was dropped to make room.
                return Err(StoreError::Missing { digest });
            }
        }
        self.core.acknowledge_here()
    }

    fn keep(&mut self) -> Result<(), StoreError> {
        let name = Name::of_blob(&self.digest);
        match &self.sent {
            Sent::Memory(bytes) => {
                let bytes = bytes.clone().freeze();
                let record = Record::new(name, Form::Bytes, self.digest.size(), bytes);
                self.core.put_blob(&record, self.digest)?;
            }
            Sent::File(path, file) => {
                let number = self.core.uploads.number();
                let target = large::path(&name, number);
                let folder = target.parent().expect("it lies in a folder").to_owned();
                self.core.files.make_folder(&folder)?;
                let payload = LargeFile { number, crcs: self.crcs.clone() }.encode();
                let record = Record::new(name, Form::File, self.digest.size(), payload);
                self.core.files.rename(path, &target)?;
                self.core.sync_later(file.clone(), &folder);
                match self.core.put_blob(&record, self.digest) {
                    Ok(true) => self.core.settling.add(name),
                    Ok(false) => self.core.files.remove(&target)?,
                    Err(error) => {
                        // The session can still be taken up, if that much works.
                        self.core.files.rename(&target, path)?;
                        return Err(error);
                    }
                }
            }
            Sent::Gone => {}
        }
        self.sent = Sent::Gone;
        self.release();
        Ok(())
    }

    /// Keeps what was sent for whoever takes it up.
    fn park(&mut self) -> Result<(), StoreError> {
        let Some(key) = self.key.take().filter(|_| self.bytes > 0) else { return self.forget() };
        self.leave_memory()?;
        let Sent::File(path, file) = &self.sent else { return Ok(()) };
        // A piece that came only in part is not a part of what was acknowledged to the session.
        file.resize(self.bytes)?;
        let parked = Parked { bytes: self.bytes, since: self.core.settings.clock.now() };
        let bytes_max = self.core.settings.budget_bytes / PARKED_SHARE;
        let path = path.clone();
        self.release();
        self.sent = Sent::Gone;
        self.core.uploads.park(&self.core.files, &path, key, parked, bytes_max)
    }
}

impl Upload for SegmentUpload {
    fn bytes(&self) -> u64 {
        self.bytes
    }

    fn restart(&mut self) -> Result<(), StoreError> {
        self.forget()?;
        self.hasher = Hasher::new(self.digest.function());
        self.crcs.clear();
        self.bytes = 0;
        self.sent = Sent::Memory(BytesMut::new());
        if self.digest.size() > RECORD_BLOB_BYTES_MAX { self.begin_file() } else { Ok(()) }
    }

    fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let end = self.bytes + piece.len() as u64;
        if end > self.digest.size() {
            let mut hasher = self.hasher.clone();
            hasher.update(&piece);
            self.restart()?;
            return Err(StoreError::Mismatch { expected: self.digest, found: hasher.finish() });
        }
        match &mut self.sent {
            Sent::Memory(bytes) => bytes.extend_from_slice(&piece),
            Sent::File(..) => {
                self.reserve(end)?;
                let Sent::File(_, file) = &self.sent else { return Ok(()) };
                file.write_at(self.bytes, [&piece, &[]])?;
            }
            Sent::Gone => {}
        }
        self.note(&piece);
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let (expected, found) = (self.digest, self.found());
        if found == expected {
            return self.keep_as(expected);
        }
        for other in std::mem::take(&mut self.others) {
            if self.hash(other.function())? == other {
                return self.keep_as(other);
            }
        }
        self.forget()?;
        Err(StoreError::Mismatch { expected, found })
    }
}

impl Drop for SegmentUpload {
    fn drop(&mut self) {
        if matches!(self.sent, Sent::Gone) {
            return;
        }
        if let Err(error) = self.park() {
            tracing::warn!(%error, "cannot keep what was uploaded before it was interrupted");
            self.release();
        }
    }
}
