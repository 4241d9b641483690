//! Where the bytes of an upload come from: anywhere in a blob, again and again.

use std::io;
use std::os::unix::fs::FileExt as _;

use bytes::Bytes;

use crate::Blob;

/// How many bytes go in one message: few enough for every server, many enough to cost little.
const PIECE_BYTES: usize = 256 << 10;

/// The bytes of a blob, of which any part can be read at any time.
pub(super) struct Source(Blob);

impl Source {
    pub(super) fn new(blob: Blob) -> Self {
        Self(blob)
    }

    /// Returns the piece of a blob of that size from `offset` on; an empty one at its end.
    pub(super) fn piece(&self, offset: u64, size: u64) -> io::Result<Bytes> {
        let left = usize::try_from(size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let count = left.min(PIECE_BYTES);
        match &self.0 {
            Blob::Bytes(bytes) => {
                let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(bytes.len());
                Ok(bytes.slice(begin..bytes.len().min(begin + count)))
            }
            Blob::File(file) => {
                let mut piece = vec![0; count];
                file.read_exact_at(&mut piece, offset)?;
                Ok(piece.into())
            }
            Blob::Ranged(ranged) => ranged.read_at(offset, count),
        }
    }

    /// Returns whether there are more bytes than that.
    pub(super) fn is_longer_than(&self, size: u64) -> io::Result<bool> {
        Ok(match &self.0 {
            Blob::Bytes(bytes) => bytes.len() as u64 > size,
            Blob::File(file) => file.metadata()?.len() > size,
            Blob::Ranged(ranged) => ranged.size() > size,
        })
    }
}
