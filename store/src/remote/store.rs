//! A remote as a store.

use std::collections::BTreeSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use model::{ActionDigest, ActionResult, Digest, DigestFunction};

use super::address::Tls;
use super::blobs::{Read, SmallBlobs, Written};
use super::capabilities::{self, Capabilities};
use super::connection::Connection;
use super::retry::Retry;
use super::secret::Secret;
use super::stream::{Download, RemoteBlob, upload};
use super::{Purpose, Remote, RemoteError, results};
use crate::{ActionCache, Blob, BlobStore, Provenance, StoreError};

/// Above this size a blob comes while it is read, in bytes; below, it is there as a whole.
const MEMORY_BYTES_MAX: u64 = 4 << 20;

/// How to get to a remote.
#[derive(Clone, Debug)]
pub struct RemoteOptions {
    /// `grpc://host:port`, `grpcs://…`, `http://…`, `https://…` or `unix:/path`.
    pub address: String,
    /// Which of its instances: for `bld server`, the project.
    pub instance: String,
    /// What names everything here.
    pub function: DigestFunction,
    /// What proves who asks.
    pub secret: Secret,
    /// How the other side proves who it is.
    pub tls: Tls,
    /// How often something is tried.
    pub retry: Retry,
    /// What this build is called there.
    pub invocation: String,
}

/// A remote that was reached. Clones share its connections.
#[derive(Clone)]
pub struct RemoteStore {
    pub(super) connection: Arc<Connection>,
    capabilities: Arc<Capabilities>,
    small: SmallBlobs,
    purpose: Option<Purpose>,
}

impl RemoteStore {
    /// Reaches a remote, and finds out whether it can do what is needed. It belongs to the runtime that this is called in,
    /// which must have several threads: what is hashed or compressed would hold all others up.
    pub async fn connect(options: RemoteOptions) -> Result<Self, RemoteError> {
        let function = options.function;
        let connection = Arc::new(Connection::open(options)?);
        let said = capabilities::ask(&connection).await?;
        let capabilities = said.judge(&connection.address, function)?;
        let small = SmallBlobs::new(&connection, &capabilities);
        Ok(Self { connection, capabilities: Arc::new(capabilities), small, purpose: None })
    }

    /// Returns a blob that comes by itself.
    async fn stream(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        let is_packed = self.capabilities.zstd_streams;
        let purpose = self.purpose.clone();
        let begun = Download::begin(&self.connection, purpose, digest, is_packed).await;
        let Some(download) = begun.map_err(Arc::new)? else { return Ok(None) };
        if digest.size() <= MEMORY_BYTES_MAX {
            return whole(download, digest).await.map(|bytes| Some(bytes.into()));
        }
        Ok(Some(Blob::Ranged(Arc::new(RemoteBlob::new(digest, download)))))
    }
}

async fn whole(mut download: Download, digest: Digest) -> Result<Bytes, StoreError> {
    let mut bytes = BytesMut::new();
    while let Some(piece) = download.next().await.map_err(Arc::new)? {
        bytes.extend_from_slice(&piece);
    }
    let found = tokio::task::block_in_place(|| Digest::of(digest.function(), &bytes));
    if found != digest {
        return Err(StoreError::Mismatch { expected: digest, found });
    }
    Ok(bytes.freeze())
}

#[async_trait]
impl BlobStore for RemoteStore {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        Ok(self.small.find_missing(digests).await.map_err(Arc::new)?)
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        if digest.is_empty() {
            return Ok(Some(Bytes::new().into()));
        }
        if !self.small.is_small(digest) {
            return self.stream(digest).await;
        }
        match self.small.read(digest).await? {
            Read::Found(bytes) => Ok(Some(bytes.into())),
            Read::Absent => Ok(None),
            Read::Wrong(found) => Err(StoreError::Mismatch { expected: digest, found }),
            Read::Alone => self.stream(digest).await,
        }
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        if digest.is_empty() {
            return Ok(());
        }
        let mut blob = blob;
        if self.small.is_small(digest) {
            let bytes = tokio::task::block_in_place(|| small(digest, blob))?;
            if let Written::Kept = self.small.write(digest, bytes.clone()).await? {
                return Ok(());
            }
            blob = bytes.into();
        }
        let may_pack = self.capabilities.zstd_streams;
        upload(&self.connection, self.purpose.as_ref(), digest, blob, may_pack).await
    }
}

/// Returns the bytes of a blob that says that it is small, if they are what their digest says.
fn small(digest: Digest, blob: Blob) -> Result<Bytes, StoreError> {
    let bytes = blob.into_bytes().map_err(|source| StoreError::Input { source })?;
    let found = Digest::of(digest.function(), &bytes);
    if found != digest {
        return Err(StoreError::Mismatch { expected: digest, found });
    }
    Ok(bytes)
}

#[async_trait]
impl ActionCache for RemoteStore {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        let read = |digest| async move {
            let Some(blob) = self.read(digest).await? else { return Ok(None) };
            let bytes = tokio::task::block_in_place(|| blob.into_bytes());
            bytes.map(Some).map_err(|source| StoreError::Input { source })
        };
        results::lookup(&self.connection, self.purpose.as_ref(), action, read).await
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        let purpose = self.purpose.as_ref();
        let recorded = results::record(&self.connection, purpose, action, result).await;
        Ok(recorded.map_err(Arc::new)?)
    }
}

impl Remote for RemoteStore {
    fn address(&self) -> Arc<str> {
        Arc::clone(&self.connection.address)
    }

    fn is_writable(&self) -> bool {
        self.capabilities.is_writable
    }

    fn provenance(&self) -> Provenance {
        self.capabilities.provenance.clone()
    }

    fn for_action(&self, purpose: &Purpose) -> Arc<dyn Remote> {
        Arc::new(Self { purpose: Some(purpose.clone()), ..self.clone() })
    }
}
