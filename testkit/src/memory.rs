//! A store in memory, which checks what it is given as a real one does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use bytes::Bytes;
use model::{ActionDigest, ActionResult, Digest, DigestFunction, HASH_BYTES, Hasher};
use store::{
    ActionCache, Blob, BlobStore, Cellar, CellarStat, ChunkStore, LeaseId, Provenance, Purpose,
    Remote, Scrubbed, Session, Spool, StoreError, Upload, UploadStore, Value, ValueKey, ValueStore,
};

/// How many bytes a chunk of a blob that was not spliced has.
const CHUNK_BYTES: usize = 1 << 20;

/// Keeps blobs, values and results in memory. Clones share what they keep.
#[derive(Clone, Debug, Default)]
pub struct MemoryStore {
    kept: Arc<Mutex<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    blobs: BTreeMap<Digest, Bytes>,
    chunks: BTreeMap<Digest, Vec<Digest>>,
    values: BTreeMap<ValueKey, Value>,
    results: BTreeMap<ActionDigest, ActionResult>,
    uploads: BTreeMap<(Session, Digest), Vec<u8>>,
}

impl Kept {
    fn get(&self, digest: Digest) -> Option<Bytes> {
        if digest.is_empty() { Some(Bytes::new()) } else { self.blobs.get(&digest).cloned() }
    }

    fn keep(&mut self, digest: Digest, bytes: Bytes) -> Result<(), StoreError> {
        if self.get(digest).is_some() {
            return Ok(());
        }
        let found = Digest::of(digest.function(), &bytes);
        if found != digest {
            return Err(StoreError::Mismatch { expected: digest, found });
        }
        self.blobs.insert(digest, bytes);
        Ok(())
    }
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses a blob, as a cache may.
    pub fn forget(&self, digest: Digest) {
        self.kept().blobs.remove(&digest);
    }

    /// Keeps other bytes under a digest, as a broken or hostile store does.
    pub fn spoil(&self, digest: Digest, bytes: Bytes) {
        self.kept().blobs.insert(digest, bytes);
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no holder panics")
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        let kept = self.kept();
        Ok(digests.into_iter().filter(|it| kept.get(*it).is_none()).collect())
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        Ok(self.kept().get(digest).map(Blob::Bytes))
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        let bytes = blob.into_bytes().map_err(|source| StoreError::Input { source })?;
        self.kept().keep(digest, bytes)
    }
}

#[async_trait]
impl ActionCache for MemoryStore {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        Ok(self.kept().results.get(&action).cloned())
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.kept().results.insert(action, result.clone());
        Ok(())
    }
}

/// A remote that everybody may write to, and that has no order of trust.
impl Remote for MemoryStore {
    fn address(&self) -> Arc<str> {
        "in memory".into()
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn provenance(&self) -> Provenance {
        Provenance::Remote
    }

    fn for_action(&self, _purpose: &Purpose) -> Arc<dyn Remote> {
        Arc::new(self.clone())
    }
}

#[async_trait]
impl ValueStore for MemoryStore {
    async fn lookup(&self, key: &ValueKey) -> Result<Option<Value>, StoreError> {
        Ok(self.kept().values.get(key).cloned())
    }

    async fn record(&self, key: &ValueKey, value: Value) -> Result<(), StoreError> {
        value.check(key)?;
        self.kept().values.insert(key.clone(), value);
        Ok(())
    }

    async fn forget(&self, key: &ValueKey) -> Result<bool, StoreError> {
        Ok(self.kept().values.remove(key).is_some())
    }
}

/// An upload into memory; what was sent goes back to the store when it is dropped.
struct MemoryUpload {
    store: MemoryStore,
    session: Option<(Session, Digest)>,
    names: Vec<Digest>,
    sent: Option<Vec<u8>>,
}

impl MemoryUpload {
    fn sent(&mut self) -> &mut Vec<u8> {
        self.sent.as_mut().expect("only finishing takes it")
    }
}

impl Upload for MemoryUpload {
    fn bytes(&self) -> u64 {
        self.sent.as_ref().map_or(0, |sent| sent.len() as u64)
    }

    fn restart(&mut self) -> Result<(), StoreError> {
        self.sent().clear();
        Ok(())
    }

    fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        self.sent().extend_from_slice(&piece);
        let expected = self.names[0];
        if self.bytes() <= expected.size() {
            return Ok(());
        }
        let found = Digest::of(expected.function(), self.sent());
        Err(StoreError::Mismatch { expected, found })
    }

    fn finish(mut self: Box<Self>) -> Result<(), StoreError> {
        let sent = self.sent.take().expect("only finishing takes it");
        let has = |name: &&Digest| Digest::of(name.function(), &sent) == **name;
        let name = *self.names.iter().find(has).unwrap_or(&self.names[0]);
        self.store.kept().keep(name, sent.into())
    }
}

impl Drop for MemoryUpload {
    fn drop(&mut self) {
        if let (Some(sent), Some(session)) = (self.sent.take(), self.session.take()) {
            self.store.kept().uploads.insert(session, sent);
        }
    }
}

#[async_trait]
impl UploadStore for MemoryStore {
    async fn upload(
        &self,
        names: &[Digest],
        session: Option<&Session>,
    ) -> Result<Box<dyn Upload>, StoreError> {
        let session = session.map(|it| (it.clone(), names[0]));
        let sent = session.as_ref().and_then(|it| self.kept().uploads.remove(it));
        let sent = Some(sent.unwrap_or_default());
        Ok(Box::new(MemoryUpload { store: self.clone(), session, names: names.to_vec(), sent }))
    }

    async fn uploaded(
        &self,
        names: &[Digest],
        session: &Session,
    ) -> Result<Option<u64>, StoreError> {
        let session = (session.clone(), names[0]);
        Ok(self.kept().uploads.get(&session).map(|sent| sent.len() as u64))
    }

    async fn spool(&self, functions: &[DigestFunction]) -> Result<Box<dyn Spool>, StoreError> {
        let hashers = functions.iter().map(|it| Hasher::new(*it)).collect();
        Ok(Box::new(MemorySpool { store: self.clone(), hashers, written: Vec::new() }))
    }
}

/// Bytes in memory that have no name yet.
struct MemorySpool {
    store: MemoryStore,
    hashers: Vec<Hasher>,
    written: Vec<u8>,
}

impl Spool for MemorySpool {
    fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        self.written.extend_from_slice(&piece);
        self.hashers.iter_mut().for_each(|it| it.update(&piece));
        Ok(())
    }

    fn digests(&self) -> Vec<Digest> {
        self.hashers.iter().cloned().map(Hasher::finish).collect()
    }

    fn finish(self: Box<Self>, digest: Digest) -> Result<(), StoreError> {
        self.store.kept().keep(digest, self.written.into())
    }
}

#[async_trait]
impl ChunkStore for MemoryStore {
    async fn split(&self, digest: Digest) -> Result<Option<Vec<Digest>>, StoreError> {
        let mut kept = self.kept();
        let Some(bytes) = kept.get(digest) else { return Ok(None) };
        if let Some(chunks) = kept.chunks.get(&digest) {
            return Ok(chunks.iter().all(|it| kept.get(*it).is_some()).then(|| chunks.clone()));
        }
        let mut chunks = Vec::new();
        for chunk in bytes.chunks(CHUNK_BYTES) {
            let digest = Digest::of(digest.function(), chunk);
            kept.keep(digest, bytes.slice_ref(chunk))?;
            chunks.push(digest);
        }
        Ok(Some(chunks))
    }

    async fn splice(&self, digest: Digest, chunks: &[Digest]) -> Result<(), StoreError> {
        let mut kept = self.kept();
        let (mut hasher, mut bytes) = (Hasher::new(digest.function()), Vec::new());
        for chunk in chunks {
            let chunk = kept.get(*chunk).ok_or(StoreError::Missing { digest: *chunk })?;
            hasher.update(&chunk);
            bytes.extend_from_slice(&chunk);
        }
        let found = hasher.finish();
        if found != digest {
            return Err(StoreError::Mismatch { expected: digest, found });
        }
        kept.keep(digest, bytes.into())?;
        kept.chunks.insert(digest, chunks.to_vec());
        Ok(())
    }
}

#[async_trait]
impl Cellar for MemoryStore {
    fn for_lease(&self, _lease: &LeaseId) -> Arc<dyn Cellar> {
        Arc::new(self.clone())
    }

    fn stat(&self) -> CellarStat {
        let kept = self.kept();
        let blobs = kept.blobs.values().map(|it| it.len() as u64);
        let values = kept.values.values().map(|it| it.bytes.len() as u64);
        let bytes = blobs.sum::<u64>() + values.sum::<u64>();
        CellarStat {
            blobs: kept.blobs.len() as u64,
            values: kept.values.len() as u64,
            logical_bytes: bytes,
            physical_bytes: bytes,
            budget_bytes: u64::MAX,
            ..CellarStat::default()
        }
    }

    async fn find_by_hash(
        &self,
        function: DigestFunction,
        hash: &[u8; HASH_BYTES],
    ) -> Result<Option<Digest>, StoreError> {
        let empty = Digest::of(function, b"");
        if hash == empty.hash() {
            return Ok(Some(empty));
        }
        let of_size = |size| Digest::from_parts(function, *hash, size);
        let kept = self.kept();
        let mut sizes = kept.blobs.range(of_size(0)..=of_size(u64::MAX));
        Ok(sizes.next().map(|(digest, _)| *digest))
    }

    async fn forget_blob(&self, digest: Digest) -> Result<bool, StoreError> {
        Ok(self.kept().blobs.remove(&digest).is_some())
    }

    async fn forget_writer(&self, writer: &str) -> Result<u64, StoreError> {
        let values = &mut self.kept().values;
        let before = values.len();
        values.retain(|_, value| value.writer != writer);
        Ok((before - values.len()) as u64)
    }

    async fn scrub(&self, _bytes_per_second: u64) -> Result<Scrubbed, StoreError> {
        let stat = self.stat();
        Ok(Scrubbed { records: stat.blobs + stat.values, bytes: stat.logical_bytes, corrupt: 0 })
    }
}
