//! What a plain HTTP cache keeps under a key.

use std::time::Duration;

use bytes::Bytes;
use model::{Digest, DigestFunction, HASH_BYTES};
use prost::Message;

use crate::decode::DecodeError;
use crate::proto::bld;

/// The body that a plain HTTP cache was given, and what it was told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptBody {
    /// Its bytes.
    pub content: KeptContent,
    /// With what its maker signed it.
    pub tag: Option<String>,
    /// How long making it took, to the millisecond.
    pub duration: Option<Duration>,
}

/// Where the bytes of a kept body are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeptContent {
    /// Here.
    Inline(Bytes),
    /// In the blob with that digest, by BLAKE3.
    Blob(Digest),
}

impl From<KeptContent> for KeptBody {
    fn from(content: KeptContent) -> Self {
        Self { content, tag: None, duration: None }
    }
}

impl KeptBody {
    /// Returns the bytes that are kept under the key.
    pub fn encode(&self) -> Bytes {
        let mut message = bld::KeptBody {
            tag: self.tag.clone().unwrap_or_default(),
            duration_ms: self.duration.map(|it| u64::try_from(it.as_millis()).unwrap_or(u64::MAX)),
            ..Default::default()
        };
        match &self.content {
            KeptContent::Inline(bytes) => message.bytes = bytes.clone(),
            KeptContent::Blob(digest) => {
                message.blob_hash = Bytes::copy_from_slice(digest.hash());
                message.blob_bytes = digest.size();
            }
        }
        message.encode_to_vec().into()
    }

    /// Parses what was kept under a key.
    pub fn decode(bytes: Bytes) -> Result<Self, DecodeError> {
        let message = bld::KeptBody::decode(bytes)?;
        let content = if message.blob_hash.is_empty() {
            KeptContent::Inline(message.bytes)
        } else {
            let Ok(hash) = <[u8; HASH_BYTES]>::try_from(message.blob_hash.as_ref()) else {
                return Err(DecodeError::Missing("KeptBody.blob_hash"));
            };
            let size = message.blob_bytes;
            KeptContent::Blob(Digest::from_parts(DigestFunction::Blake3, hash, size))
        };
        let tag = Some(message.tag).filter(|it| !it.is_empty());
        Ok(Self { content, tag, duration: message.duration_ms.map(Duration::from_millis) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kept_body_is_read_back_and_a_malformed_one_is_refused() {
        let digest = Digest::of(DigestFunction::Blake3, b"large");
        let duration = Some(Duration::from_millis(1500));
        for (content, tag, duration) in [
            (KeptContent::Inline(Bytes::from_static(b"small")), Some("signed".to_owned()), None),
            (KeptContent::Inline(Bytes::new()), None, duration),
            (KeptContent::Blob(digest), None, Some(Duration::ZERO)),
        ] {
            let body = KeptBody { content, tag, duration };
            assert_eq!(KeptBody::decode(body.encode()).unwrap(), body);
        }
        let short = bld::KeptBody { blob_hash: Bytes::from_static(b"short"), ..Default::default() };
        for bytes in [short.encode_to_vec(), b"\xff".to_vec()] {
            KeptBody::decode(bytes.into()).unwrap_err();
        }
    }
}
