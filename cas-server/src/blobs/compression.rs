//! zstd on the wire, for blobs that are in memory.

use bytes::Bytes;

/// The level that answers are compressed at: the network is waiting.
const LEVEL: i32 = 1;

/// Blobs smaller than this are not worth a frame, in bytes.
const WORTHWHILE_BYTES_MIN: usize = 1 << 10;

/// Returns the bytes as a zstd frame.
pub(crate) fn compress(bytes: &[u8]) -> std::io::Result<Bytes> {
    zstd::bulk::compress(bytes, LEVEL).map(Bytes::from)
}

/// Returns the bytes as a zstd frame, if that is worthwhile.
pub(crate) fn compress_if_smaller(bytes: &[u8]) -> Option<Bytes> {
    let is_large = bytes.len() >= WORTHWHILE_BYTES_MIN;
    let compressed = is_large.then(|| compress(bytes).ok()).flatten()?;
    (compressed.len() < bytes.len()).then_some(compressed)
}

/// Returns what was compressed, if it has exactly `size` bytes: a frame that claims more is not unpacked further.
pub(crate) fn decompress(compressed: &[u8], size: usize) -> Option<Bytes> {
    let bytes = zstd::bulk::decompress(compressed, size).ok()?;
    (bytes.len() == size).then(|| bytes.into())
}
