//! A remote that is only read.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use model::{ActionDigest, ActionResult, Digest};

use crate::{ActionCache, Blob, BlobStore, Provenance, Purpose, Remote, RemoteError, StoreError};

/// Passes on what is asked, and refuses what is to be written.
pub struct ReadOnlyStore {
    inner: Arc<dyn Remote>,
}

impl ReadOnlyStore {
    /// Returns `inner`, to be read only.
    pub fn new(inner: Arc<dyn Remote>) -> Self {
        Self { inner }
    }

    fn refusal(&self) -> StoreError {
        Arc::new(RemoteError::ReadOnly { address: self.inner.address() }).into()
    }
}

#[async_trait]
impl BlobStore for ReadOnlyStore {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.inner.find_missing(digests).await
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        self.inner.read(digest).await
    }

    async fn write(&self, _digest: Digest, _blob: Blob) -> Result<(), StoreError> {
        Err(self.refusal())
    }
}

#[async_trait]
impl ActionCache for ReadOnlyStore {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        self.inner.lookup(action).await
    }

    async fn record(&self, _action: ActionDigest, _: &ActionResult) -> Result<(), StoreError> {
        Err(self.refusal())
    }
}

impl Remote for ReadOnlyStore {
    fn address(&self) -> Arc<str> {
        self.inner.address()
    }

    fn is_writable(&self) -> bool {
        false
    }

    fn provenance(&self) -> Provenance {
        self.inner.provenance()
    }

    fn for_action(&self, purpose: &Purpose) -> Arc<dyn Remote> {
        Arc::new(Self { inner: self.inner.for_action(purpose) })
    }
}
