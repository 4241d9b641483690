//! Names of blobs in streams.

use model::{Digest, DigestFunction};

/// How a blob is on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Packing {
    /// As it is.
    Plain,
    /// Compressed.
    Zstd,
}

impl Packing {
    fn folder(self) -> &'static str {
        match self {
            Self::Plain => "blobs",
            Self::Zstd => "compressed-blobs/zstd",
        }
    }
}

/// Returns the name under which a blob is read.
pub(super) fn to_read(instance: &str, packing: Packing, digest: Digest) -> String {
    format!("{}{}/{}", prefix(instance), packing.folder(), digest_of(digest))
}

/// Returns the name under which an upload writes a blob.
pub(super) fn to_write(instance: &str, upload: &str, packing: Packing, digest: Digest) -> String {
    format!("{}uploads/{upload}/{}/{}", prefix(instance), packing.folder(), digest_of(digest))
}

fn prefix(instance: &str) -> String {
    if instance.is_empty() { String::new() } else { format!("{instance}/") }
}

/// The function stands there only if it is not one of the oldest, which are told by the length of their hashes.
fn digest_of(digest: Digest) -> String {
    match digest.function() {
        DigestFunction::Sha256 => digest.to_string(),
        DigestFunction::Blake3 => format!("blake3/{digest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_protocol() {
        let sha256 = Digest::of(DigestFunction::Sha256, b"abc");
        let blake3 = Digest::of(DigestFunction::Blake3, b"abc");
        let (short, long) = (sha256.hex(), blake3.hex());
        assert_eq!(to_read("", Packing::Plain, sha256), format!("blobs/{short}/3"));
        assert_eq!(to_read("a/b", Packing::Plain, blake3), format!("a/b/blobs/blake3/{long}/3"));
        assert_eq!(
            to_read("", Packing::Zstd, blake3),
            format!("compressed-blobs/zstd/blake3/{long}/3")
        );
        assert_eq!(
            to_write("x", "u", Packing::Plain, sha256),
            format!("x/uploads/u/blobs/{short}/3")
        );
        assert_eq!(
            to_write("", "u", Packing::Zstd, blake3),
            format!("uploads/u/compressed-blobs/zstd/blake3/{long}/3")
        );
    }
}
