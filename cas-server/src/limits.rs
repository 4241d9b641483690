//! How much anybody may ask for at once.

use std::time::Duration;

/// The largest answer, in bytes: what clients take by default.
pub(crate) const ANSWER_BYTES_MAX: usize = 4 << 20;

/// How many bytes of blobs one batch may have, as announced. What is said of each blob takes 80 bytes besides, and some clients
/// (Buck2, `BuildStream`) do not count these: what they ask for fits into an answer if their blobs have 200 bytes on average.
pub(crate) const BATCH_BYTES_MAX: u64 = 3_000_000;

/// How many bytes one answer of a stream has: most clients take no more than 4 MiB, smaller ones cost more per message, and
/// larger ones leave the processor's cache between one copy and the next.
pub(crate) const PIECE_BYTES: usize = 256 << 10;

/// How many pieces wait in memory between whoever reads and whoever sends.
pub(crate) const PIECES_MAX: usize = 4;

/// The largest message of an upload's stream, in bytes, and how much of an upload counts as held in memory: what gRPC's
/// implementations take by default, so no client sends more.
pub(crate) const STREAM_BYTES_MAX: usize = 4 << 20;

/// The largest blob that is held in memory while it is received, in bytes. Larger ones go to the disk piece by piece.
pub(crate) const MEMORY_BYTES_MAX: u64 = 1 << 20;

/// How many directories one tree may have: several times what the largest source trees have (Linux: 6,000).
pub(crate) const DIRECTORIES_MAX: usize = 1 << 20;

/// The largest `Directory` message that is read, in bytes: one that an answer can still carry.
pub(crate) const DIRECTORY_BYTES_MAX: u64 = 3 << 20;

/// How many bytes of directories are read to see what one result refers to: 100,000 directories of 2.5 KiB.
pub(crate) const CLOSURE_BYTES_MAX: u64 = 256 << 20;

/// How many chunks a blob may be put together from: 1 TiB of chunks of 1 MiB.
pub(crate) const CHUNKS_MAX: usize = 1 << 20;

/// For how long nothing of a request may come, nor anything of an answer be taken: whoever is slower than that will not come to
/// an end, and what he holds is held from others.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(60);

/// After how long a client should try again when there was no room.
pub(crate) const RETRY_DELAY: Duration = Duration::from_secs(5);

/// How many downloads from outside run at once: each holds a thread.
pub(crate) const DOWNLOADS_MAX: usize = 16;

/// The largest download from outside, in bytes: larger than distributions' images.
pub(crate) const DOWNLOAD_BYTES_MAX: u64 = 32 << 30;

/// How long a download from outside may take.
pub(crate) const DOWNLOAD_TIMEOUT: Duration = Duration::from_secs(30 * 60);

/// How many blobs and directories an asset may refer to; `BuildStream` names a handful. It is remembered several times.
pub(crate) const ASSET_REFERENCES_MAX: usize = 1_000;

/// How many addresses one request may name.
pub(crate) const ADDRESSES_MAX: usize = 64;

/// The longest address, in bytes: what web servers take.
pub(crate) const ADDRESS_BYTES_MAX: usize = 8 << 10;

/// How many addresses a download may be led through.
pub(crate) const REDIRECTIONS_MAX: usize = 5;

/// How many identities are kept count of before those with nothing under way are forgotten.
pub(crate) const IDENTITIES_MAX: usize = 10_000;

/// How many missing blobs one error names: it is sent as a header, and many clients take no more than 8 KiB of these. What is
/// missing besides is named when these are there.
pub(crate) const MISSING_MAX: usize = 48;
