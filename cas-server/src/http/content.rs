//! What is sent: bytes in memory, or a blob that is read piece by piece.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use futures::StreamExt as _;
use store::{Blob, Ranged};

use super::blocking;
use crate::blobs::compress_if_smaller;
use crate::limits::PIECE_BYTES;
use crate::pieces::{self, Wire};

/// How bodies begin that are packed already: zstd, gzip, xz, bzip2, zip.
const PACKED: [&[u8]; 5] = [b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"PK\x03\x04"];

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes that are read as they are sent.
    Ranged(Arc<dyn Ranged>),
}

impl Content {
    /// Returns the bytes of a blob.
    pub(super) fn of(blob: Blob) -> io::Result<Self> {
        Ok(match blob {
            Blob::Bytes(bytes) => Self::Bytes(bytes),
            Blob::File(_) | Blob::Ranged(_) => Self::Ranged(blob.into_ranged()?),
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
            Self::Bytes(bytes) => {
                let index = |at| usize::try_from(at).expect("they are in memory");
                Body::from(bytes.slice(index(range.start)..index(range.end)))
            }
            Self::Ranged(ranged) => stream(ranged, range, Wire::Identity),
        }
    }

    /// Returns all bytes as a packed body, or the content where that would not make them fewer.
    pub(super) async fn into_packed_body(self) -> io::Result<Result<Body, Self>> {
        let (size, ranged) = (self.size(), self.ranged());
        let beginning = match &self {
            Self::Bytes(_) => ranged.read_at(0, PIECE_BYTES)?,
            Self::Ranged(_) => blocking(move || ranged.read_at(0, PIECE_BYTES)).await?,
        };
        if PACKED.iter().any(|it| beginning.starts_with(it)) {
            return Ok(Err(self));
        }
        if size > beginning.len() as u64 {
            return Ok(Ok(stream(self.ranged(), 0..size, Wire::Zstd)));
        }
        let frame = blocking(move || compress_if_smaller(&beginning)).await;
        Ok(frame.map(Body::from).ok_or(self))
    }

    fn ranged(&self) -> Arc<dyn Ranged> {
        match self {
            Self::Bytes(bytes) => Arc::new(bytes.clone()),
            Self::Ranged(ranged) => Arc::clone(ranged),
        }
    }
}

fn stream(ranged: Arc<dyn Ranged>, range: Range<u64>, wire: Wire) -> Body {
    Body::from_stream(pieces::send(ranged, range, wire).inspect(|piece| {
        // Whoever does not read his answer knows that.
        if let Err(error) = piece
            && error.kind() != std::io::ErrorKind::TimedOut
        {
            tracing::error!(error = error as &dyn std::error::Error, "a blob cannot be read");
        }
    }))
}
