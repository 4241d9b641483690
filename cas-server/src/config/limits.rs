//! How much of anything a server takes.

use serde::Deserialize;

use super::text::{count, size};

/// How much of anything a server takes. Every number has a default and bounds; none means "as much as you like".
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The largest message, in bytes.
    #[serde(deserialize_with = "size::<_, { 64 << 10 }, { 64 << 20 }>")]
    pub message: u64,
    /// The largest blob, in bytes.
    #[serde(deserialize_with = "size::<_, { 1 << 20 }, { 1 << 44 }>")]
    pub blob: u64,
    /// How many connections are open at once.
    #[serde(deserialize_with = "count::<_, 1, 1_000_000>")]
    pub connections: u64,
    /// How many calls of one identity are under way at once.
    #[serde(deserialize_with = "count::<_, 1, 1_000_000>")]
    pub streams_per_identity: u64,
    /// How many bytes of one identity are in memory at once.
    #[serde(deserialize_with = "size::<_, { 1 << 20 }, { 1 << 40 }>")]
    pub bytes_in_flight_per_identity: u64,
    /// How many names a directory may have.
    #[serde(deserialize_with = "count::<_, 1, 10_000_000>")]
    pub directory_width: u64,
    /// How deep a tree may be.
    #[serde(deserialize_with = "count::<_, 1, 4096>")]
    pub directory_depth: u64,
    /// How many times as large as what was sent a blob may turn out to be.
    #[serde(deserialize_with = "count::<_, 1, 1_000_000>")]
    pub decompression_ratio: u64,
}

impl Limits {
    /// Returns the largest message that fits into this machine's memory at all.
    pub(crate) fn message_bytes(&self) -> usize {
        usize::try_from(self.message).unwrap_or(usize::MAX)
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Clients send up to 4 MiB by default; a batch has that many bytes of blobs, and names besides.
            message: 16 << 20,
            // The largest images of machines, with room.
            blob: 1 << 40,
            connections: 10_000,
            // 16 clients that share a token, each with as many calls as they make at once by default. Whoever reads no answer
            // has the server hold some 4 MiB for each.
            streams_per_identity: 2048,
            bytes_in_flight_per_identity: 1 << 30,
            // The largest folders of packages have some 30,000 names.
            directory_width: 100_000,
            // No path is longer than that on Linux (`PATH_MAX`, a name of one byte each).
            directory_depth: 2_048,
            // zstd makes 128 KiB of zeros four bytes, and images of disks are full of those. A blob says how large it is,
            // and is no larger than `blob`: this one only ends early what claims to be huge and is nothing.
            decompression_ratio: 50_000,
        }
    }
}
