//! A store in memory that is full, or hands its blobs out as files.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use model::{Digest, DigestFunction, HASH_BYTES};
use store::{
    Blob, BlobStore, Cellar, CellarStat, ChunkStore, LeaseId, Scrubbed, Session, Spool, StoreError,
    Upload, UploadStore, Value, ValueKey, ValueStore,
};
use testkit::MemoryStore;

/// A store in memory whose answers are altered.
#[derive(Clone, Default)]
pub(crate) struct AlteredStore {
    inner: MemoryStore,
    is_full: Arc<AtomicBool>,
    gives_files: bool,
}

impl AlteredStore {
    /// Returns a store that has no room for anything until somebody makes some.
    pub(crate) fn full() -> Self {
        Self { is_full: Arc::new(AtomicBool::new(true)), ..Self::default() }
    }

    /// Returns that store, handing its blobs out as files.
    pub(crate) fn giving_files(inner: MemoryStore) -> Self {
        Self { inner, gives_files: true, ..Self::default() }
    }

    pub(crate) fn make_room(&self) {
        self.is_full.store(false, Ordering::SeqCst);
    }

    fn room(&self) -> Result<(), StoreError> {
        let full = StoreError::Full { budget_bytes: 1, pinned_bytes: 1 };
        if self.is_full.load(Ordering::SeqCst) { Err(full) } else { Ok(()) }
    }
}

#[async_trait]
impl BlobStore for AlteredStore {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.inner.find_missing(digests).await
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        let Some(blob) = self.inner.read(digest).await? else { return Ok(None) };
        if !self.gives_files {
            return Ok(Some(blob));
        }
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&blob.into_bytes().unwrap()).unwrap();
        Ok(Some(Blob::File(file)))
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.room()?;
        self.inner.write(digest, blob).await
    }
}

#[async_trait]
impl ValueStore for AlteredStore {
    async fn lookup(&self, key: &ValueKey) -> Result<Option<Value>, StoreError> {
        self.inner.lookup(key).await
    }

    async fn record(&self, key: &ValueKey, value: Value) -> Result<(), StoreError> {
        self.room()?;
        self.inner.record(key, value).await
    }

    async fn forget(&self, key: &ValueKey) -> Result<bool, StoreError> {
        ValueStore::forget(&self.inner, key).await
    }
}

/// A spool that finds out only when it is written to that there is no room.
struct AlteredSpool(AlteredStore, Box<dyn Spool>);

impl Spool for AlteredSpool {
    fn write(&mut self, piece: Bytes) -> Result<(), StoreError> {
        self.0.room()?;
        self.1.write(piece)
    }

    fn digests(&self) -> Vec<Digest> {
        self.1.digests()
    }

    fn finish(self: Box<Self>, digest: Digest) -> Result<(), StoreError> {
        self.1.finish(digest)
    }
}

#[async_trait]
impl UploadStore for AlteredStore {
    async fn upload(
        &self,
        names: &[Digest],
        session: Option<&Session>,
    ) -> Result<Box<dyn Upload>, StoreError> {
        self.room()?;
        self.inner.upload(names, session).await
    }

    async fn uploaded(
        &self,
        names: &[Digest],
        session: &Session,
    ) -> Result<Option<u64>, StoreError> {
        self.inner.uploaded(names, session).await
    }

    async fn spool(&self, functions: &[DigestFunction]) -> Result<Box<dyn Spool>, StoreError> {
        Ok(Box::new(AlteredSpool(self.clone(), self.inner.spool(functions).await?)))
    }
}

#[async_trait]
impl ChunkStore for AlteredStore {
    async fn split(&self, digest: Digest) -> Result<Option<Vec<Digest>>, StoreError> {
        self.inner.split(digest).await
    }

    async fn splice(&self, digest: Digest, chunks: &[Digest]) -> Result<(), StoreError> {
        self.room()?;
        self.inner.splice(digest, chunks).await
    }
}

#[async_trait]
impl Cellar for AlteredStore {
    fn for_lease(&self, _lease: &LeaseId) -> Arc<dyn Cellar> {
        Arc::new(self.clone())
    }

    fn stat(&self) -> CellarStat {
        self.inner.stat()
    }

    async fn find_by_hash(
        &self,
        function: DigestFunction,
        hash: &[u8; HASH_BYTES],
    ) -> Result<Option<Digest>, StoreError> {
        self.inner.find_by_hash(function, hash).await
    }

    async fn forget_blob(&self, digest: Digest) -> Result<bool, StoreError> {
        self.inner.forget_blob(digest).await
    }

    async fn forget_writer(&self, writer: &str) -> Result<u64, StoreError> {
        self.inner.forget_writer(writer).await
    }

    async fn scrub(&self, bytes_per_second: u64) -> Result<Scrubbed, StoreError> {
        self.inner.scrub(bytes_per_second).await
    }
}
