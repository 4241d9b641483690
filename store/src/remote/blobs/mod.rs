//! Small blobs: many in one message, those that are asked for at the same time together.

mod gather;
mod remote;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use model::Digest;

use super::RemoteError;
use super::capabilities::Capabilities;
use super::connection::Connection;
use gather::Gatherer;

/// Above this size a blob goes by itself, in bytes: it would fill a message alone or nearly so.
const SMALL_BYTES_MAX: u64 = 1 << 20;

/// How many digests are asked for at once: what fits well into a message of the size that every server takes.
const DIGESTS_MAX: usize = 10_000;

/// How many such questions are under way at once.
const QUESTIONS_MAX: usize = 4;

/// What came of asking for a small blob.
#[derive(Clone, Debug)]
pub(super) enum Read {
    /// Here it is; it hashes to its digest.
    Found(Bytes),
    /// It is not there.
    Absent,
    /// It hashes to this, and to nothing that was asked for.
    Wrong(Digest),
    /// It is to be asked for by itself.
    Alone,
}

/// What came of writing a small blob.
#[derive(Clone, Copy, Debug)]
pub(super) enum Written {
    /// It is there.
    Kept,
    /// It is to be written by itself.
    Alone,
}

/// Small blobs of a remote.
#[derive(Clone)]
pub(super) struct SmallBlobs {
    connection: Arc<Connection>,
    batch_bytes: u64,
    reads: Gatherer<(), Read>,
    writes: Gatherer<Bytes, Written>,
    lacks: Arc<Lacks>,
}

/// What the server said that it cannot do at all.
#[derive(Debug, Default)]
struct Lacks {
    batch_reads: AtomicBool,
    batch_writes: AtomicBool,
}

impl SmallBlobs {
    /// Returns the small blobs at the other end of a connection. Belongs to the runtime that it is called in.
    pub(super) fn new(connection: &Arc<Connection>, capabilities: &Capabilities) -> Self {
        let batch_bytes = capabilities.batch_bytes;
        let (reading, writing) = (Arc::clone(connection), Arc::clone(connection));
        let (is_packed, packs) = (capabilities.zstd_streams, capabilities.zstd_batches);
        let lacks = Arc::<Lacks>::default();
        let (lacks_reads, lacks_writes) = (Arc::clone(&lacks), Arc::clone(&lacks));
        let reads =
            Gatherer::new(&connection.address, batch_bytes, move |wanted: Vec<(Digest, ())>| {
                let (connection, lacks) = (Arc::clone(&reading), Arc::clone(&lacks_reads));
                let digests = wanted.into_iter().map(|(digest, ())| digest).collect();
                async move { remote::read(&connection, &lacks, digests, is_packed).await }
            });
        let writes = Gatherer::new(&connection.address, batch_bytes, move |wanted| {
            let (connection, lacks) = (Arc::clone(&writing), Arc::clone(&lacks_writes));
            async move { remote::write(&connection, &lacks, wanted, packs).await }
        });
        Self { connection: Arc::clone(connection), batch_bytes, reads, writes, lacks }
    }

    /// Returns whether a blob of that size is small.
    pub(super) fn is_small(&self, digest: Digest) -> bool {
        digest.size() <= SMALL_BYTES_MAX.min(self.batch_bytes / 2)
    }

    /// Returns those of `digests` that are not there.
    pub(super) async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, RemoteError> {
        let digests: Vec<Digest> = digests.into_iter().filter(|it| !it.is_empty()).collect();
        let questions = digests.chunks(DIGESTS_MAX).map(<[Digest]>::to_vec).collect::<Vec<_>>();
        let answers = stream::iter(questions)
            .map(|question| async move { remote::find_missing(&self.connection, question).await })
            .buffer_unordered(QUESTIONS_MAX);
        answers.try_concat().await
    }

    /// Returns a small blob.
    pub(super) async fn read(&self, digest: Digest) -> Result<Read, Arc<RemoteError>> {
        if self.lacks.batch_reads.load(Ordering::Relaxed) {
            return Ok(Read::Alone);
        }
        self.reads.ask(digest, ()).await
    }

    /// Writes a small blob, which hashes to its digest.
    pub(super) async fn write(
        &self,
        digest: Digest,
        blob: Bytes,
    ) -> Result<Written, Arc<RemoteError>> {
        if self.lacks.batch_writes.load(Ordering::Relaxed) {
            return Ok(Written::Alone);
        }
        self.writes.ask(digest, blob).await
    }
}
