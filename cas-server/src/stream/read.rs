//! Sends a blob from any offset, as it is or compressed.

use bytes::Bytes;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use store::{Blob, StoreError};
use tonic::Status;

use super::resource::Resource;
use crate::blobs::compress;
use crate::fault;
use crate::front::View;
use crate::limits::PIECE_BYTES;
use crate::metrics::Kind;
use crate::pieces::{self, Wire};

/// Blobs up to this size are compressed where they are: handing them to another thread would take as long.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// A stream of pieces of a blob, none of them empty.
pub(crate) type Pieces = BoxStream<'static, Result<Bytes, Status>>;

/// Returns the blob's bytes from `offset` on, at most `limit` if that is not 0.
///
/// The offset counts uncompressed bytes. What is compressed is one frame, wherever it begins: clients that resume take
/// it for the continuation.
pub(crate) async fn read(
    view: &View,
    resource: Resource,
    offset: i64,
    limit: i64,
) -> Result<Pieces, Status> {
    let size = resource.blob.size();
    let begin = u64::try_from(offset).ok().filter(|it| *it <= size);
    let begin = begin.ok_or_else(|| {
        Status::out_of_range(format!("the offset {offset} is not within {size} bytes"))
    })?;
    let limit = u64::try_from(limit);
    let limit = limit.map_err(|_negative| Status::invalid_argument("a limit is not negative"))?;
    if limit != 0 && resource.wire == Wire::Zstd {
        return Err(Status::invalid_argument("compressed reads have no limit"));
    }
    let end = if limit == 0 { size } else { size.min(begin.saturating_add(limit)) };
    let blob = find(view, resource).await?;
    match (blob, resource.wire) {
        (Blob::Bytes(bytes), Wire::Identity) => Ok(in_pieces(range(&bytes, begin, end))),
        (Blob::Bytes(bytes), Wire::Zstd) if bytes.len() <= INLINE_BYTES_MAX => {
            let compressed = compress(&range(&bytes, begin, end));
            Ok(in_pieces(compressed.map_err(|error| unreadable(&error))?))
        }
        (blob, wire) => {
            let ranged = blob.into_ranged().map_err(|source| unreadable(&source))?;
            Ok(pieces::send(ranged, begin..end, wire).map_err(|error| unreadable(&error)).boxed())
        }
    }
}

async fn find(view: &View, resource: Resource) -> Result<Blob, Status> {
    for digest in resource.blob.candidates() {
        let blob = view.cellar.read(digest).await.map_err(fault::of_store)?;
        if let Some(blob) = blob {
            view.observed.hit(Kind::Blob);
            return Ok(blob);
        }
    }
    view.observed.miss(Kind::Blob);
    Err(fault::absent(resource.blob.candidates().next().expect("there is at least one function")))
}

fn range(bytes: &Bytes, begin: u64, end: u64) -> Bytes {
    let at = |offset| usize::try_from(offset).expect("the bytes are in memory");
    bytes.slice(at(begin)..at(end))
}

fn in_pieces(mut bytes: Bytes) -> Pieces {
    if bytes.len() <= PIECE_BYTES {
        return futures::stream::iter((!bytes.is_empty()).then_some(Ok(bytes))).boxed();
    }
    let next = move || (!bytes.is_empty()).then(|| bytes.split_to(PIECE_BYTES.min(bytes.len())));
    futures::stream::iter(std::iter::from_fn(next).map(Ok)).boxed()
}

/// Returns what a client is told of bytes that were promised and cannot be had.
fn unreadable(error: &std::io::Error) -> Status {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return Status::data_loss("the blob was found to be corrupt, and taken away");
    }
    if error.kind() == std::io::ErrorKind::TimedOut {
        return Status::cancelled("the answer was not read for too long");
    }
    tracing::error!(%error, "a blob could not be read");
    fault::of_store(StoreError::Input { source: std::io::Error::from(error.kind()) })
}
