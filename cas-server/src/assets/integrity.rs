//! Integrity metadata (W3C Subresource Integrity): what a download must hash to.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use model::{Digest, DigestFunction, HASH_BYTES};

/// The hashes of `checksum.sri` that this server can check; any of them is enough.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Integrity(Vec<[u8; HASH_BYTES]>);

impl Integrity {
    /// Parses a list such as `sha256-<base64> sha512-<base64>`. Returns `None` if none of it can be checked here.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let hashes = text.split_ascii_whitespace().filter_map(|it| it.strip_prefix("sha256-"));
        let hashes: Vec<_> =
            hashes.filter_map(|it| STANDARD.decode(it).ok()?.try_into().ok()).collect();
        (!hashes.is_empty()).then_some(Self(hashes))
    }

    /// Returns whether bytes with that digest are what was meant.
    pub(crate) fn admits(&self, digest: &Digest) -> bool {
        digest.function() == DigestFunction::Sha256 && self.0.contains(digest.hash())
    }

    /// Returns the SHA-256 hashes that are meant.
    pub(crate) fn hashes(&self) -> &[[u8; HASH_BYTES]] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_several_is_enough_and_what_cannot_be_checked_is_none() {
        let hello = Digest::of(DigestFunction::Sha256, b"hello");
        let good = format!("sha256-{}", STANDARD.encode(hello.hash()));
        let other = format!("sha256-{}", STANDARD.encode([7; HASH_BYTES]));
        let integrity = Integrity::parse(&format!("sha512-AAAA {other}  {good}")).unwrap();
        assert!(integrity.admits(&hello));
        assert!(!integrity.admits(&Digest::of(DigestFunction::Sha256, b"other")));
        assert!(!integrity.admits(&Digest::of(DigestFunction::Blake3, b"hello")));
        for text in ["", "sha512-AAAA", "sha256-", "sha256-AAAA", "sha256-?", "md5-AAAA"] {
            assert_eq!(Integrity::parse(text), None, "{text}");
        }
    }
}
