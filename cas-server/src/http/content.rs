//! What is sent: bytes in memory, or a blob that is read piece by piece.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::stream;
use store::{Blob, Ranged};

use super::packing::{self, Packer};

/// How many bytes of a blob are read at once: what a slow reader holds in memory, and enough that reading costs more
/// than asking.
const PIECE_BYTES: u64 = 256 << 10;

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that are read as they are sent.
    Ranged(Arc<dyn Ranged>),
}

/// A file that somebody reads ranges of.
#[derive(Debug)]
struct RangedFile {
    file: File,
    size: u64,
}

impl Ranged for RangedFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, count: usize) -> io::Result<Bytes> {
        let mut piece = vec![0; count];
        let read = self.file.read_at(&mut piece, offset)?;
        piece.truncate(read);
        Ok(piece.into())
    }
}

impl Content {
    /// Returns the bytes of a blob.
    pub(super) fn of(blob: Blob) -> io::Result<Self> {
        Ok(match blob {
            Blob::Bytes(bytes) => Self::Bytes(bytes),
            Blob::Ranged(ranged) => Self::Ranged(ranged),
            Blob::File(file) => {
                let size = file.metadata()?.len();
                Self::Ranged(Arc::new(RangedFile { file, size }))
            }
        })
    }

    /// Returns how many bytes there are.
    pub(super) fn size(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Ranged(ranged) => ranged.size(),
        }
    }

    /// Returns those bytes as a body.
    pub(super) fn into_body(self, range: Range<u64>) -> Body {
        match self {
            Self::Bytes(bytes) => Body::from(slice(&bytes, &range)),
            Self::Ranged(_) => Reading { content: self, rest: range, packer: None }.into_body(),
        }
    }

    /// Returns all bytes as a packed body, unless that cannot make them fewer.
    pub(super) async fn into_packed_body(self) -> io::Result<Result<Body, Self>> {
        let (size, first) = (self.size(), self.clone());
        let beginning = blocking(move || first.read(&(0..size.min(PIECE_BYTES)))).await?;
        if !packing::is_worthwhile(size, &beginning) {
            return Ok(Err(self));
        }
        if size > PIECE_BYTES {
            let packer = Some(Packer::new()?);
            return Ok(Ok(Reading { content: self, rest: 0..size, packer }.into_body()));
        }
        let frame = blocking(move || {
            let mut packer = Packer::new()?;
            io::Result::Ok([packer.pack(&beginning)?, packer.finish()?].concat())
        });
        let frame = frame.await?;
        Ok(if (frame.len() as u64) < size { Ok(Body::from(frame)) } else { Err(self) })
    }

    /// Returns bytes from the beginning of that range, at least one unless it is empty.
    fn read(&self, range: &Range<u64>) -> io::Result<Bytes> {
        let count = (range.end - range.start).min(PIECE_BYTES);
        let piece = match self {
            Self::Bytes(bytes) => slice(bytes, &(range.start..range.start + count)),
            Self::Ranged(ranged) => {
                let count = usize::try_from(count).expect("a piece is small");
                ranged.read_at(range.start, count)?
            }
        };
        let is_end = piece.is_empty() && count > 0;
        if is_end { Err(io::ErrorKind::UnexpectedEof.into()) } else { Ok(piece) }
    }
}

/// A body that is being sent.
struct Reading {
    content: Content,
    rest: Range<u64>,
    packer: Option<Packer>,
}

impl Reading {
    fn into_body(self) -> Body {
        Body::from_stream(stream::try_unfold(Some(self), |reading| async {
            let Some(reading) = reading else { return Ok(None) };
            let read = blocking(move || reading.step()).await;
            read.inspect_err(|error| {
                tracing::error!(error = error as &dyn std::error::Error, "a blob cannot be read");
            })
        }))
    }

    /// Returns the next piece and what comes after it, or `None` at the end.
    fn step(mut self) -> io::Result<Option<(Bytes, Option<Self>)>> {
        if self.rest.is_empty() {
            return self.packer.map(|it| Ok((it.finish()?, None))).transpose();
        }
        let piece = self.content.read(&self.rest)?;
        self.rest.start += piece.len() as u64;
        let piece = match &mut self.packer {
            Some(packer) => packer.pack(&piece)?,
            None => piece,
        };
        Ok(Some((piece, Some(self))))
    }
}

/// Does what waits for disks or computes long.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn slice(bytes: &Bytes, range: &Range<u64>) -> Bytes {
    let index = |at: u64| usize::try_from(at).expect("bytes in memory have such indices");
    bytes.slice(index(range.start)..index(range.end))
}
