//! Sends a blob from any offset, as it is or compressed.

use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use store::{Blob, Ranged, StoreError};
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::resource::{Resource, Wire};
use crate::blobs::compress;
use crate::fault;
use crate::front::View;
use crate::limits::{PIECE_BYTES, PIECES_MAX};
use crate::metrics::Kind;

/// Blobs up to this size are compressed where they are: handing them to another thread would take as long.
const INLINE_BYTES_MAX: usize = 64 << 10;

/// The level that streams are compressed at: the network is waiting.
const LEVEL: i32 = 1;

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
            Ok(send(Source { ranged, at: begin, end }, wire))
        }
    }
}

async fn find(view: &View, resource: Resource) -> Result<Blob, Status> {
    for digest in resource.blob.candidates() {
        let blob = view.cellar.read(digest).await.map_err(|error| fault::of_store(&error))?;
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

/// What is left to read of a blob.
struct Source {
    ranged: Arc<dyn Ranged>,
    at: u64,
    end: u64,
}

impl Source {
    /// Returns the next piece, or `None` at the end.
    fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        let left = usize::try_from(self.end - self.at).unwrap_or(PIECE_BYTES);
        if left == 0 {
            return Ok(None);
        }
        let piece = self.ranged.read_at(self.at, left.min(PIECE_BYTES))?;
        if piece.is_empty() {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.at += piece.len() as u64;
        Ok(Some(piece))
    }
}

/// A blob that is compressed as it is read.
struct Compressed {
    source: Source,
    encoder: Option<zstd::stream::write::Encoder<'static, Vec<u8>>>,
}

impl Compressed {
    fn next(&mut self) -> std::io::Result<Option<Bytes>> {
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        while encoder.get_ref().len() < PIECE_BYTES {
            let Some(piece) = self.source.next()? else {
                let rest = self.encoder.take().expect("it is there").finish()?;
                return Ok(Some(rest.into()));
            };
            encoder.write_all(&piece)?;
        }
        Ok(Some(std::mem::take(encoder.get_mut()).into()))
    }
}

/// Reads ahead of whoever listens, a few pieces at most. No thread waits for a slow client.
fn send(source: Source, wire: Wire) -> Pieces {
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    tokio::spawn(async move {
        let sent = match wire {
            Wire::Identity => pump(source, Source::next, &sender).await,
            Wire::Zstd => match zstd::stream::write::Encoder::new(Vec::new(), LEVEL) {
                Ok(encoder) => {
                    let compressed = Compressed { source, encoder: Some(encoder) };
                    pump(compressed, Compressed::next, &sender).await
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = sent {
            // Whoever no longer listens does not miss it.
            drop(sender.send(Err(unreadable(&error))).await);
        }
    });
    ReceiverStream::new(receiver).boxed()
}

async fn pump<S: Send + 'static>(
    mut source: S,
    next: fn(&mut S) -> std::io::Result<Option<Bytes>>,
    sender: &mpsc::Sender<Result<Bytes, Status>>,
) -> std::io::Result<()> {
    loop {
        let read = spawn_blocking(move || {
            let piece = next(&mut source);
            (source, piece)
        });
        let (back, piece) = read.await.expect("reading does not panic");
        source = back;
        let Some(piece) = piece? else { return Ok(()) };
        if sender.send(Ok(piece)).await.is_err() {
            return Ok(());
        }
    }
}

/// Returns what a client is told of bytes that were promised and cannot be had.
fn unreadable(error: &std::io::Error) -> Status {
    if error.kind() == std::io::ErrorKind::InvalidData {
        return Status::data_loss("the blob was found to be corrupt, and taken away");
    }
    tracing::error!(%error, "a blob could not be read");
    fault::of_store(&StoreError::Input { source: std::io::Error::from(error.kind()) })
}
