//! The cellar: keeps bytes and trees under their digests.
//!
//! Small traits by ability; [`LocalStore`] is the one that many `bld` processes share on a machine, [`SegmentStore`] the one
//! behind a server.
//! Trees are made here and nowhere else: by a [`Draft`], from archives, from sources or from other trees.

mod blob;
mod blocking;
mod breaker;
mod cellar;
mod degrading;
mod draft;
mod error;
mod local;
mod namespace;
mod provenance;
mod read_only;
mod remote;
mod room;
mod segments;
mod tiered;
mod turns;

use std::collections::BTreeSet;
use std::path::PathBuf;

use async_trait::async_trait;
use model::{ActionDigest, ActionResult, Digest, TreeDigest};

pub use blob::{Blob, Ranged};
pub use cellar::{
    Cellar, CellarStat, ChunkStore, LeaseId, Scrubbed, Session, Spool, Upload, UploadStore,
    VALUE_BYTES_MAX, Value, ValueKey, ValueStore,
};
pub use degrading::DegradingStore;
pub use draft::{Draft, DraftError, Entry};
pub use error::StoreError;
pub use local::{
    ActionLock, Collected, Durability, FILE_TIME_SECONDS, LocalStore, Remembered, Scratch,
    StoreStat, TreeFault, Verified, default_root, rewrites,
};

pub use namespace::{InvalidNamespace, Namespace};
pub use provenance::Provenance;
pub use read_only::ReadOnlyStore;
pub use remote::{
    Call as RemoteCall, Connection as RemoteConnection, Purpose, Remote, RemoteError,
    RemoteOptions, RemoteStore, Retry, Secret, Tls,
};
pub use room::Room;
pub use segments::{
    Acknowledge, COMMIT_INTERVAL, Clock, Disk, DiskFile, Housekeeping, LEASE_TIME, Lock,
    SegmentStore, Settings,
};
pub use tiered::TieredStore;
pub use turns::Turns;

/// A place that keeps blobs under their digests.
///
/// Absence is an answer (`None`, or membership in the missing set), never an error.
#[async_trait]
pub trait BlobStore: Send + Sync {
    /// Returns those of `digests` that the store does not hold.
    async fn find_missing(&self, digests: BTreeSet<Digest>)
    -> Result<BTreeSet<Digest>, StoreError>;
    /// Returns the blob named `digest`, or `None` if the store does not hold it.
    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError>;
    /// Keeps `blob` under `digest`, or refuses it if it hashes to something else.
    /// Writing what is already there is a no-op.
    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError>;
}

/// A place that remembers what actions made.
#[async_trait]
pub trait ActionCache: Send + Sync {
    /// Returns what the action made, or `None` if nobody recorded it.
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError>;
    /// Remembers what the action made. The last record wins.
    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError>;
}

/// A place where whole trees can be had.
#[async_trait]
pub trait TreeSource: Send + Sync {
    /// Makes the whole tree present and returns the read-only directory that holds it,
    /// or `None` if it cannot be had from here.
    async fn ensure(&self, tree: TreeDigest) -> Result<Option<PathBuf>, StoreError>;

    /// Makes the listings of all directories of the tree present, though perhaps not its files. Returns whether they
    /// can be had from here.
    async fn ensure_listings(&self, tree: TreeDigest) -> Result<bool, StoreError> {
        Ok(self.ensure(tree).await?.is_some())
    }
}
