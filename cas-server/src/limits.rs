//! How much anybody may ask for at once.

use std::time::Duration;

/// The largest message that is taken, in bytes: what Bazel's and Go's clients send at most is 4 MiB, and a `FindMissingBlobs`
/// of tens of thousands of digests may come close to it.
pub const MESSAGE_BYTES_MAX: usize = 16 << 20;

/// How many bytes of blobs one batch may have, as announced: with what surrounds them they fit into the 4 MiB that
/// clients take by default.
pub const BATCH_BYTES_MAX: u64 = 4_000_000;

/// How many bytes one answer of a stream has: most clients take no more than 4 MiB, and smaller ones cost more per byte.
pub const PIECE_BYTES: usize = 1 << 20;

/// How many pieces wait in memory between whoever reads and whoever sends.
pub const PIECES_MAX: usize = 4;

/// The largest blob that is held in memory while it is received, in bytes. Larger ones go to the disk piece by piece.
pub const MEMORY_BYTES_MAX: u64 = 1 << 20;

/// How many directories one tree may have: several times what the largest source trees have (Linux: 6,000).
pub const DIRECTORIES_MAX: usize = 1 << 20;

/// The largest `Directory` message that is read, in bytes: one that an answer can still carry.
pub const DIRECTORY_BYTES_MAX: u64 = 3 << 20;

/// The largest `Tree` message that is read to see what it refers to, in bytes: 100,000 directories of 600 bytes.
pub const TREE_BYTES_MAX: u64 = 64 << 20;

/// How many chunks a blob may be put together from: 1 TiB of chunks of 1 MiB.
pub const CHUNKS_MAX: usize = 1 << 20;

/// After how long a client should try again when there was no room.
pub const RETRY_DELAY: Duration = Duration::from_secs(5);

/// How many times its size on the wire a compressed blob may grow to: more than text and code ever do, less than a bomb.
pub const RATIO_MAX: u64 = 2_000;

/// How many downloads from outside run at once: each holds a thread.
pub const DOWNLOADS_MAX: usize = 16;

/// The largest download from outside, in bytes: larger than distributions' images.
pub const DOWNLOAD_BYTES_MAX: u64 = 32 << 30;

/// How long a download from outside may take.
pub const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How many different assets are remembered under one address.
pub const ASSETS_MAX: usize = 16;

/// How many addresses one request may name.
pub const ADDRESSES_MAX: usize = 64;

/// The longest address, in bytes: what web servers take.
pub const ADDRESS_BYTES_MAX: usize = 8 << 10;

/// How many addresses a download may be led through.
pub const REDIRECTIONS_MAX: usize = 5;

/// What an operator may choose.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// How many requests one identity may have under way.
    pub requests_max: usize,
    /// How many bytes of one identity's messages may be held in memory; streams hold a few pieces each besides.
    pub request_bytes_max: usize,
    /// How many identities are kept count of before those with nothing under way are forgotten.
    pub identities_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        // Buck2 has up to 100 connections with 100 streams each; 64 of the largest messages fit.
        Self { requests_max: 10_000, request_bytes_max: 1 << 30, identities_max: 10_000 }
    }
}
