//! A remote whose blobs are seen to come.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use model::{ActionDigest, ActionResult, Digest};
use store::{ActionCache, Blob, BlobStore, Provenance, Purpose, Ranged, Remote, StoreError};

use crate::progress::{ComingBlob, Display};

/// Passes everything on, and shows what is read as long as it is read.
pub(crate) struct ShownRemote {
    inner: Arc<dyn Remote>,
    display: Arc<Display>,
}

impl ShownRemote {
    /// Returns `inner` as what is shown on that display.
    pub(crate) fn new(inner: Arc<dyn Remote>, display: Arc<Display>) -> Self {
        Self { inner, display }
    }
}

#[async_trait]
impl BlobStore for ShownRemote {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.inner.find_missing(digests).await
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        let coming = self.display.coming();
        Ok(self.inner.read(digest).await?.map(|blob| match blob {
            Blob::Ranged(inner) => Blob::Ranged(Arc::new(ShownBlob { inner, coming })),
            whole @ (Blob::Bytes(_) | Blob::File(_)) => {
                coming.advance(digest.size());
                whole
            }
        }))
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.inner.write(digest, blob).await
    }
}

#[async_trait]
impl ActionCache for ShownRemote {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        self.inner.lookup(action).await
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.inner.record(action, result).await
    }
}

impl Remote for ShownRemote {
    fn address(&self) -> Arc<str> {
        self.inner.address()
    }

    fn is_writable(&self) -> bool {
        self.inner.is_writable()
    }

    fn provenance(&self) -> Provenance {
        self.inner.provenance()
    }

    fn for_action(&self, purpose: &Purpose) -> Arc<dyn Remote> {
        let (inner, display) = (self.inner.for_action(purpose), Arc::clone(&self.display));
        Arc::new(Self { inner, display })
    }
}

/// A large blob, which comes while it is read.
struct ShownBlob {
    inner: Arc<dyn Ranged>,
    coming: ComingBlob,
}

impl fmt::Debug for ShownBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl Ranged for ShownBlob {
    fn size(&self) -> u64 {
        self.inner.size()
    }

    fn read_at(&self, offset: u64, count: usize) -> std::io::Result<Bytes> {
        let bytes = self.inner.read_at(offset, count)?;
        self.coming.advance(bytes.len() as u64);
        Ok(bytes)
    }
}
