//! What is kept of an asset that somebody pushed.

use std::time::SystemTime;

use bytes::Bytes;
use model::{Digest, DigestFunction};
use prost::Message;

use crate::decode::{DecodeError, digest};
use crate::encode::digest_message;
use crate::proto::{bld, reapi};

/// What an address stands for, by somebody's word. All its digests are of one function.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asset {
    /// The blob, or the root directory.
    pub digest: Digest,
    /// When it ceases to be what the address stands for.
    pub expires: Option<SystemTime>,
    /// Blobs that it is of no use without.
    pub blobs: Vec<Digest>,
    /// Directories that it is of no use without, with all below them.
    pub directories: Vec<Digest>,
}

impl Asset {
    /// Returns the bytes that are kept.
    pub fn encode(&self) -> Bytes {
        let messages = |digests: &[Digest]| digests.iter().copied().map(digest_message).collect();
        let message = bld::Asset {
            digest: Some(digest_message(self.digest)),
            expires: self.expires.map(Into::into),
            blobs: messages(&self.blobs),
            directories: messages(&self.directories),
        };
        message.encode_to_vec().into()
    }

    /// Parses what was kept, with digests of `function`.
    pub fn decode(function: DigestFunction, bytes: Bytes) -> Result<Self, DecodeError> {
        let message = bld::Asset::decode(bytes)?;
        let all = |digests: Vec<reapi::Digest>, field| {
            digests.iter().map(|it| digest(function, Some(it), field)).collect::<Result<_, _>>()
        };
        let expires = message.expires.map(SystemTime::try_from).transpose();
        Ok(Self {
            digest: digest(function, message.digest.as_ref(), "Asset.digest")?,
            expires: expires
                .map_err(|source| DecodeError::Time { field: "Asset.expires", source })?,
            blobs: all(message.blobs, "Asset.blobs")?,
            directories: all(message.directories, "Asset.directories")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_asset_is_read_back_and_a_malformed_one_is_refused() {
        let function = DigestFunction::Blake3;
        let digest = |text: &str| Digest::of(function, text.as_bytes());
        for expires in [None, Some(SystemTime::UNIX_EPOCH + Duration::new(9, 7))] {
            let asset = Asset {
                digest: digest("asset"),
                expires,
                blobs: vec![digest("one"), digest("two")],
                directories: vec![digest("three")],
            };
            assert_eq!(Asset::decode(function, asset.encode()).unwrap(), asset);
        }
        for bytes in [&b""[..], b"\xff", b"\x0a\x02\x10\x01"] {
            Asset::decode(function, Bytes::from_static(bytes)).unwrap_err();
        }
    }
}
