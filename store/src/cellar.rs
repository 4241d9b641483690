//! What a server asks of the store behind it, by ability.

use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;
use model::{Digest, DigestFunction, HASH_BYTES};

use crate::{BlobStore, Namespace, StoreError};

/// The largest value that is kept inline, in bytes: what is larger is a blob, and its value names it.
pub const VALUE_BYTES_MAX: usize = 4 << 20;

/// The longest of the texts that belong to a value, in bytes: they come from requests, which are bounded, but not by us.
pub(crate) const VALUE_TEXT_BYTES_MAX: usize = 64 << 10;

/// What a value is found under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ValueKey {
    /// Whose word it is.
    pub namespace: Namespace,
    /// What kind of key it is, and of which project: `ac/blake3/<project>`, `ccache`, …
    pub space: String,
    /// The key, in the words of that kind.
    pub key: String,
}

/// Something that somebody said a key stands for: an action's result, an object of ccache, an asset.
/// Unlike a blob's name, its key says nothing of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// What was said, at most [`VALUE_BYTES_MAX`].
    pub bytes: Bytes,
    /// Who said it.
    pub writer: String,
    /// When.
    pub written: SystemTime,
}

impl Value {
    /// Fails with [`StoreError::ValueTooLarge`] if it, or a text that belongs to it, is larger than values are.
    pub fn check(&self, key: &ValueKey) -> Result<(), StoreError> {
        let mut texts = [&key.space, &key.key, &self.writer].into_iter();
        let is_large = self.bytes.len() > VALUE_BYTES_MAX;
        if is_large || texts.any(|it| it.len() > VALUE_TEXT_BYTES_MAX) {
            return Err(StoreError::ValueTooLarge);
        }
        Ok(())
    }
}

/// A place that keeps values under keys.
#[async_trait]
pub trait ValueStore: Send + Sync {
    /// Returns what the key stands for, or `None`.
    async fn lookup(&self, key: &ValueKey) -> Result<Option<Value>, StoreError>;
    /// Remembers what the key stands for. The last record wins. What is too large is [`StoreError::ValueTooLarge`].
    async fn record(&self, key: &ValueKey, value: Value) -> Result<(), StoreError>;
    /// Forgets the key. Returns whether it stood for something.
    async fn forget(&self, key: &ValueKey) -> Result<bool, StoreError>;
}

/// A place that takes large blobs piece by piece, and takes up what was interrupted.
#[async_trait]
pub trait UploadStore: Send + Sync {
    /// Begins the upload of a blob, or takes up again what that session sent before.
    ///
    /// A client that does not say which function it uses leaves several names; the blob will be kept under the one that it
    /// has, and the first is the likeliest.
    ///
    /// Where one of that name is under way, another begins that has nothing yet. Of two that are interrupted the later one
    /// can be taken up, and what the other sent is gone. What has no session can never be taken up.
    async fn upload(
        &self,
        names: &[Digest],
        session: Option<&Session>,
    ) -> Result<Box<dyn Upload>, StoreError>;
    /// Returns how many bytes that session has sent, if it can be taken up.
    async fn uploaded(
        &self,
        names: &[Digest],
        session: &Session,
    ) -> Result<Option<u64>, StoreError>;
    /// Begins a blob whose digest nobody knows before all of it was seen; it will be one that `functions` make.
    async fn spool(&self, functions: &[DigestFunction]) -> Result<Box<dyn Spool>, StoreError>;
}

/// Names what may be interrupted and taken up again. Uploads of different owners do not meet, whatever they call themselves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Session {
    /// Who uploads.
    pub owner: Arc<str>,
    /// What he calls it.
    pub name: String,
}

/// A blob that is being uploaded. Dropping it keeps what was sent, for a while, if it has a session.
pub trait Upload: Send {
    /// Returns how many bytes were sent.
    fn bytes(&self) -> u64;
    /// Forgets what was sent.
    fn restart(&mut self) -> Result<(), StoreError>;
    /// Takes the next piece. More than its names say is a [`StoreError::Mismatch`].
    fn write(&mut self, piece: Bytes) -> Result<(), StoreError>;
    /// Keeps the blob if it is what one of its names says; else forgets it, and that is a [`StoreError::Mismatch`].
    fn finish(self: Box<Self>) -> Result<(), StoreError>;
}

/// A blob that is taken in before its digest is known. Dropping it forgets what was written: nobody could ask for it.
pub trait Spool: Send {
    /// Takes the next piece.
    fn write(&mut self, piece: Bytes) -> Result<(), StoreError>;
    /// Returns what the bytes so far are named, by each function in the order in which they were given.
    fn digests(&self) -> Vec<Digest>;
    /// Keeps the blob if `digest` is one of its names; else forgets it, and that is a [`StoreError::Mismatch`].
    fn finish(self: Box<Self>, digest: Digest) -> Result<(), StoreError>;
}

/// A place that knows blobs as sequences of chunks, which are blobs themselves.
#[async_trait]
pub trait ChunkStore: Send + Sync {
    /// Returns the chunks that the blob consists of, in order, each of which is there now; or `None` if the blob is not.
    async fn split(&self, digest: Digest) -> Result<Option<Vec<Digest>>, StoreError>;
    /// Keeps the blob that consists of those chunks.
    ///
    /// A chunk that is not there is [`StoreError::Missing`]; another blob than `digest` is [`StoreError::Mismatch`].
    async fn splice(&self, digest: Digest, chunks: &[Digest]) -> Result<(), StoreError>;
}

/// Names a build: what it was told is there stays until nothing was heard of it for a while.
///
/// Builds of different owners do not meet, whatever they call themselves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId {
    owner: Arc<str>,
    build: Arc<str>,
}

impl LeaseId {
    /// The longest name of a build, in bytes: twice what two UUIDs need.
    pub const BYTES_MAX: usize = 128;

    /// Returns the lease of that owner's build, or `None` if the build's name is empty or too long.
    pub fn new(owner: &Arc<str>, build: &str) -> Option<Self> {
        let is_name = (1..=Self::BYTES_MAX).contains(&build.len());
        is_name.then(|| Self { owner: Arc::clone(owner), build: build.into() })
    }

    /// Returns whose build it is.
    pub fn owner(&self) -> &Arc<str> {
        &self.owner
    }
}

/// The store behind a server.
#[async_trait]
pub trait Cellar: BlobStore + ValueStore + UploadStore + ChunkStore {
    /// Returns this store as a build sees it: what it is told exists, and what it writes, is pinned for it, within what one
    /// owner may pin.
    fn for_lease(&self, lease: &LeaseId) -> Arc<dyn Cellar>;
    /// Returns what the store holds and has done.
    fn stat(&self) -> CellarStat;
    /// Returns the digest of the blob with that hash, for protocols that do not say how large it is.
    async fn find_by_hash(
        &self,
        function: DigestFunction,
        hash: &[u8; HASH_BYTES],
    ) -> Result<Option<Digest>, StoreError>;
    /// Forgets a blob. Returns whether it was there.
    async fn forget_blob(&self, digest: Digest) -> Result<bool, StoreError>;
    /// Forgets every value that `writer` wrote. Returns how many.
    async fn forget_writer(&self, writer: &str) -> Result<u64, StoreError>;
    /// Reads everything at most at that speed, and takes away what is not what it should be.
    async fn scrub(&self, bytes_per_second: u64) -> Result<Scrubbed, StoreError>;
}

/// What reading everything came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scrubbed {
    /// How many records were read.
    pub records: u64,
    /// How many bytes they have, uncompressed.
    pub bytes: u64,
    /// How many were not what they should be, and were taken away.
    pub corrupt: u64,
}

/// What the store behind a server holds, and has done since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CellarStat {
    /// How many blobs it holds, chunks of larger ones among them.
    pub blobs: u64,
    /// How many values.
    pub values: u64,
    /// The sizes of all blobs and values, uncompressed; chunks are counted in the blobs they make.
    pub logical_bytes: u64,
    /// What all of it takes on the disk, with the index, but without what was set aside as no part of it.
    pub physical_bytes: u64,
    /// How many bytes of blobs that consist of chunks.
    pub chunked_bytes: u64,
    /// How many bytes those chunks have, each counted once.
    pub chunk_bytes: u64,
    /// What it may take.
    pub budget_bytes: u64,
    /// How many builds hold leases.
    pub leases: u64,
    /// How many bytes they pin.
    pub pinned_bytes: u64,
    /// How old what was evicted last was when it went, in seconds: how long things stay.
    pub retention_seconds: Option<u64>,
    /// How many bytes were evicted.
    pub evicted_bytes: u64,
    /// How many records were found to be corrupt, and taken away.
    pub corrupt: u64,
    /// What the scrub that is under way has read, or else the last one.
    pub scrubbed: Scrubbed,
}
