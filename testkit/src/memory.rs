//! A store in memory, which checks what it is given as a real one does.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;

use async_trait::async_trait;
use bytes::Bytes;
use model::{ActionDigest, ActionResult, Digest};
use store::{ActionCache, Blob, BlobStore, StoreError};

/// Keeps blobs and results in memory.
#[derive(Debug, Default)]
pub struct MemoryStore {
    blobs: Mutex<BTreeMap<Digest, Bytes>>,
    results: Mutex<BTreeMap<ActionDigest, ActionResult>>,
}

impl MemoryStore {
    /// Returns an empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Loses a blob, as a cache may.
    pub fn forget(&self, digest: Digest) {
        self.blobs.lock().expect("no holder panics").remove(&digest);
    }
}

#[async_trait]
impl BlobStore for MemoryStore {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        let blobs = self.blobs.lock().expect("no holder panics");
        Ok(digests.into_iter().filter(|it| !it.is_empty() && !blobs.contains_key(it)).collect())
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        if digest.is_empty() {
            return Ok(Some(Blob::Bytes(Bytes::new())));
        }
        let blobs = self.blobs.lock().expect("no holder panics");
        Ok(blobs.get(&digest).cloned().map(Blob::Bytes))
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        let bytes = blob.into_bytes().map_err(|source| StoreError::Input { source })?;
        let mut blobs = self.blobs.lock().expect("no holder panics");
        if blobs.contains_key(&digest) {
            return Ok(());
        }
        let found = Digest::of(digest.function(), &bytes);
        if found != digest {
            return Err(StoreError::Mismatch { expected: digest, found });
        }
        blobs.insert(digest, bytes);
        Ok(())
    }
}

#[async_trait]
impl ActionCache for MemoryStore {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        Ok(self.results.lock().expect("no holder panics").get(&action).cloned())
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.results.lock().expect("no holder panics").insert(action, result.clone());
        Ok(())
    }
}
