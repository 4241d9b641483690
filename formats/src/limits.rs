//! What an archive may cost: every size has a bound, and every bound a reason.

/// The most entries of an archive, implied directories included.
///
/// Far above any package: large source trees have a few hundred thousand files.
pub const ENTRIES_MAX: u64 = 1_000_000;

/// The most names in a path. Real trees stay below thirty; walking a tree recurses once per level.
pub const DEPTH_MAX: usize = 64;

/// The most bytes of a path: what Linux accepts in one system call (`PATH_MAX`).
pub const PATH_BYTES_MAX: usize = 4096;

/// The most bytes of all names and link targets together, because they are held in memory.
///
/// A million entries with names of 256 bytes each.
pub const NAMES_BYTES_MAX: u64 = 256 << 20;

/// The most bytes of an archive once it is unpacked: far above any package, and less than a disk.
pub const UNPACKED_BYTES_MAX: u64 = 64 << 30;

/// The most bytes of one file: far above what packages hold, debug information included.
pub const FILE_BYTES_MAX: u64 = 16 << 30;

/// How many bytes one compressed byte may become. Deflate cannot do more than 1032 whatever its input is;
/// what the others do beyond it is a bomb or an image of zeros, which belongs in no archive.
pub const RATIO_MAX: u64 = 1000;

/// How many unpacked bytes are free of [`RATIO_MAX`]: so few do no harm, and small archives compress oddly.
pub const RATIO_FREE_BYTES: u64 = 16 << 20;

/// The most bytes of one extension header of a tar archive (PAX). Access lists and capabilities take a few
/// hundred; they are held in memory.
pub const EXTENSION_BYTES_MAX: u64 = 1 << 20;

/// The most memory that a decompressor may ask for. `xz -9` needs 65 MiB, `zstd --ultra -22` 128 MiB.
pub const DECODER_MEMORY_BYTES_MAX: u64 = 256 << 20;

/// What an archive may cost. The default is what `bld` uses; tests set less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// See [`ENTRIES_MAX`].
    pub entries: u64,
    /// See [`DEPTH_MAX`].
    pub depth: usize,
    /// See [`PATH_BYTES_MAX`].
    pub path_bytes: usize,
    /// See [`NAMES_BYTES_MAX`].
    pub names_bytes: u64,
    /// See [`UNPACKED_BYTES_MAX`].
    pub unpacked_bytes: u64,
    /// See [`FILE_BYTES_MAX`].
    pub file_bytes: u64,
    /// See [`RATIO_MAX`].
    pub ratio: u64,
    /// See [`RATIO_FREE_BYTES`].
    pub ratio_free_bytes: u64,
    /// See [`EXTENSION_BYTES_MAX`].
    pub extension_bytes: u64,
    /// See [`DECODER_MEMORY_BYTES_MAX`].
    pub decoder_memory_bytes: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            entries: ENTRIES_MAX,
            depth: DEPTH_MAX,
            path_bytes: PATH_BYTES_MAX,
            names_bytes: NAMES_BYTES_MAX,
            unpacked_bytes: UNPACKED_BYTES_MAX,
            file_bytes: FILE_BYTES_MAX,
            ratio: RATIO_MAX,
            ratio_free_bytes: RATIO_FREE_BYTES,
            extension_bytes: EXTENSION_BYTES_MAX,
            decoder_memory_bytes: DECODER_MEMORY_BYTES_MAX,
        }
    }
}
