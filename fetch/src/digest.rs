//! The hash under which the outside world publishes things.

use std::fmt;

use model::{Digest, DigestFunction, HASH_BYTES, ParseDigestError};

/// A SHA-256 without the size of what it names: all that an index or a rule says of an archive.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; HASH_BYTES]);

impl Sha256 {
    /// Parses 64 lower-case hexadecimal digits.
    pub fn parse(hex: &str) -> Result<Self, ParseDigestError> {
        Digest::from_hex(DigestFunction::Sha256, hex, 0).map(|digest| Self(*digest.hash()))
    }

    /// Returns the hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*Digest::of(DigestFunction::Sha256, bytes).hash())
    }

    /// Returns the bytes of the hash.
    pub fn bytes(&self) -> &[u8; HASH_BYTES] {
        &self.0
    }

    /// Returns the digest of a blob that has this hash and `size` bytes.
    pub fn sized(&self, size: u64) -> Digest {
        Digest::from_parts(DigestFunction::Sha256, self.0, size)
    }
}

impl From<Digest> for Sha256 {
    fn from(digest: Digest) -> Self {
        Self(*digest.hash())
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.sized(0).hex())
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
