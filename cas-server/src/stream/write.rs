//! Takes a blob piece by piece, compressed or not, from the offset where an earlier try ended.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use store::{Blob, Session};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::disk::Disk;
use super::resource::UploadResource;
use super::sessions::Sessions;
use crate::fault;
use crate::front::View;
use crate::limits::MEMORY_BYTES_MAX;
use crate::metrics::Limit;
use crate::pieces::Wire;
use crate::unpacking::Unpacker;

/// Between how many bytes it is asked whether somebody else has sent the same blob meanwhile.
const LOOK_BYTES: u64 = 16 << 20;

/// What a client is told that was committed where the blob was already here and came compressed.
const ALREADY_THERE: i64 = -1;

/// Follows the offsets of an upload's messages. They count bytes as they are on the wire.
#[derive(Debug, Default)]
pub(crate) struct Offsets {
    next: Option<i64>,
    is_finished: bool,
}

impl Offsets {
    /// Takes note of a message. Returns where the upload begins if it is the first.
    pub(crate) fn pass(
        &mut self,
        offset: i64,
        bytes: usize,
        finish: bool,
    ) -> Result<Option<u64>, Status> {
        if self.is_finished {
            return Err(Status::invalid_argument("there are messages after finish_write"));
        }
        let first = self.next.is_none();
        if *self.next.get_or_insert(offset) != offset || offset < 0 {
            let expected = self.next.unwrap_or_default();
            let why = format!("write_offset is {offset}, after {expected} bytes");
            return Err(Status::invalid_argument(why));
        }
        let next = i64::try_from(bytes).ok().and_then(|it| offset.checked_add(it));
        self.next = Some(next.ok_or_else(|| Status::invalid_argument("the offset is too large"))?);
        self.is_finished = finish;
        Ok(first.then(|| offset.unsigned_abs()))
    }

    /// Returns where the upload has come to.
    pub(crate) fn committed(&self) -> i64 {
        self.next.unwrap_or_default()
    }

    /// Returns whether the last message has come.
    pub(crate) fn is_finished(&self) -> bool {
        self.is_finished
    }
}

/// A blob that is being received.
pub(crate) struct Writing {
    view: View,
    resource: UploadResource,
    sink: Sink,
    unpacker: Option<Unpacker>,
    wire_bytes: u64,
    blob_bytes: u64,
    looked: u64,
}

/// Where received bytes go.
enum Sink {
    Memory(BytesMut, Option<Bytes>),
    Disk(Disk),
}

impl Writing {
    /// Begins an upload at `offset`, or returns what to answer at once if the blob is already here.
    pub(crate) async fn begin(
        view: View,
        sessions: &Sessions,
        resource: UploadResource,
        offset: u64,
    ) -> Result<Result<Self, i64>, Status> {
        let blob = resource.resource.blob;
        let wire = resource.resource.wire;
        view.refuse_large(blob.size())?;
        if is_there(&view, &resource).await? {
            return Ok(Err(already_there(wire, blob.size())));
        }
        let sink = if blob.size() <= MEMORY_BYTES_MAX {
            // Of what is small nothing is kept before it is whole.
            refuse_beginning(offset)?;
            Sink::Memory(BytesMut::new(), None)
        } else {
            let names: Vec<_> = blob.candidates().collect();
            Sink::Disk(match wire {
                Wire::Identity => {
                    let session = session(&view, &resource);
                    Disk::resume(&view, &names, session, sessions, offset).await?
                }
                // What it has sent says nothing of how much of the blob is here: it is never taken up.
                Wire::Zstd => {
                    refuse_beginning(offset)?;
                    Disk::begin(&view, &names).await?
                }
            })
        };
        let unpacker = match wire {
            Wire::Identity => None,
            Wire::Zstd => Some(Unpacker::new().map_err(|error| not_zstd(&error))?),
        };
        let (wire_bytes, blob_bytes, looked) = (0, offset, offset);
        Ok(Ok(Self { view, resource, sink, unpacker, wire_bytes, blob_bytes, looked }))
    }

    /// Takes the next piece. Returns what to answer at once if the blob has come here otherwise.
    pub(crate) async fn write(&mut self, mut piece: Bytes) -> Result<Option<i64>, Status> {
        self.wire_bytes += piece.len() as u64;
        let Some(mut unpacker) = self.unpacker.take() else { return self.take(piece).await };
        while let Some(unpacked) = unpacker.unpack(&mut piece).map_err(|error| not_zstd(&error))? {
            if let Some(committed) = self.take(unpacked).await? {
                return Ok(Some(committed));
            }
            // Little on the wire may be a lot to unpack.
            tokio::task::consume_budget().await;
        }
        self.unpacker = Some(unpacker);
        Ok(None)
    }

    /// Takes the next piece of the blob itself.
    async fn take(&mut self, piece: Bytes) -> Result<Option<i64>, Status> {
        self.blob_bytes += piece.len() as u64;
        self.refuse_too_much()?;
        match &mut self.sink {
            Sink::Memory(received, whole) if received.is_empty() && whole.is_none() => {
                *whole = Some(piece);
            }
            Sink::Memory(received, whole) => {
                if let Some(first) = whole.take() {
                    received.extend_from_slice(&first);
                }
                received.extend_from_slice(&piece);
            }
            Sink::Disk(disk) => disk.write(piece).await?,
        }
        if self.blob_bytes - self.looked < LOOK_BYTES {
            return Ok(None);
        }
        self.looked = self.blob_bytes;
        let there = is_there(&self.view, &self.resource).await?;
        let resource = self.resource.resource;
        Ok(there.then(|| already_there(resource.wire, resource.blob.size())))
    }

    /// Keeps the blob if it is what its name says.
    pub(crate) async fn finish(self) -> Result<(), Status> {
        let blob = self.resource.resource.blob;
        if self.blob_bytes != blob.size() {
            let why = format!("{} bytes came of {}", self.blob_bytes, blob.size());
            self.forget().await?;
            return Err(Status::invalid_argument(why));
        }
        let written = match self.sink {
            Sink::Memory(received, whole) => {
                let bytes = whole.unwrap_or_else(|| received.freeze());
                self.view.cellar.write(blob.of(&bytes), Blob::Bytes(bytes)).await
            }
            Sink::Disk(disk) => disk.finish().await,
        };
        written.map_err(fault::of_store)
    }

    /// Forgets what has come: whoever says that it is all will not send more.
    async fn forget(self) -> Result<(), Status> {
        let Sink::Disk(disk) = self.sink else { return Ok(()) };
        disk.forget().await.map_err(fault::of_store)
    }

    /// Leaves what has come so that it can be taken up again. Returns how many bytes that are: of what came compressed, or
    /// is small, nothing is kept.
    pub(crate) async fn suspend(self) -> Result<i64, Status> {
        let Sink::Disk(disk) = self.sink else { return Ok(0) };
        disk.suspend().await.map_err(fault::of_store)?;
        let is_packed = self.resource.resource.wire == Wire::Zstd;
        Ok(if is_packed { 0 } else { self.blob_bytes.cast_signed() })
    }

    /// Returns what says that another stream goes on with the upload, if one can.
    pub(crate) fn replaced(&self) -> Option<&CancellationToken> {
        if let Sink::Disk(disk) = &self.sink { disk.replaced() } else { None }
    }

    fn refuse_too_much(&self) -> Result<(), Status> {
        let size = self.resource.resource.blob.size();
        if self.blob_bytes > size {
            return Err(Status::invalid_argument(format!("more than {size} bytes came")));
        }
        let ratio_max = self.view.limits.decompression_ratio;
        let is_packed = self.resource.resource.wire == Wire::Zstd;
        if is_packed && self.blob_bytes > self.wire_bytes.saturating_mul(ratio_max) {
            self.view.observed.limited(Limit::Ratio);
            let why = format!("this grows more than {ratio_max} times; send it uncompressed");
            return Err(Status::invalid_argument(why));
        }
        Ok(())
    }
}

/// Returns what the store calls an upload: two callers with the same name for theirs do not meet.
pub(crate) fn session(view: &View, resource: &UploadResource) -> Session {
    Session { owner: Arc::clone(&view.caller.name), name: resource.session.clone() }
}

/// Returns whether the blob of an upload is here already.
pub(crate) async fn is_there(view: &View, resource: &UploadResource) -> Result<bool, Status> {
    let candidates: std::collections::BTreeSet<_> = resource.resource.blob.candidates().collect();
    let count = candidates.len();
    let missing = view.cellar.find_missing(candidates).await;
    Ok(missing.map_err(fault::of_store)?.len() < count)
}

fn already_there(wire: Wire, size: u64) -> i64 {
    match wire {
        Wire::Identity => size.cast_signed(),
        Wire::Zstd => ALREADY_THERE,
    }
}

/// Refuses an upload that goes on where none can.
fn refuse_beginning(offset: u64) -> Result<(), Status> {
    if offset == 0 {
        return Ok(());
    }
    Err(Status::invalid_argument(format!("the upload begins at {offset}, but nothing is here")))
}

fn not_zstd(error: &std::io::Error) -> Status {
    Status::invalid_argument(format!("this is no zstd: {error}"))
}
