//! Manifests: which chunks a large blob consists of.

use bytes::Bytes;
use model::{Digest, HASH_BYTES};

use super::record::{NAME_BYTES, Name, PAYLOAD_BYTES_MAX, SIZE_MAX, read_u64};

/// How many bytes a chunk takes in a manifest: its name, and its size.
const CHUNK_BYTES: usize = NAME_BYTES + 8;

/// How many chunks a blob that is kept as a manifest has at most; one with more is kept as a file.
pub(super) const CHUNKS_MAX: usize = PAYLOAD_BYTES_MAX / CHUNK_BYTES;

const _: () = assert!(NAME_BYTES == 1 + HASH_BYTES);

/// Returns the payload of a manifest.
pub(super) fn encode(chunks: &[Digest]) -> Bytes {
    let mut bytes = Vec::with_capacity(chunks.len() * CHUNK_BYTES);
    for chunk in chunks {
        bytes.extend_from_slice(Name::of_blob(chunk).bytes());
        bytes.extend_from_slice(&chunk.size().to_le_bytes());
    }
    bytes.into()
}

/// Returns the chunks of a blob of that size, or `None` if the payload does not say any.
pub(super) fn decode(bytes: &[u8], size: u64) -> Option<Vec<Digest>> {
    let chunks = bytes.chunks_exact(CHUNK_BYTES);
    if !chunks.remainder().is_empty() {
        return None;
    }
    let parse = |chunk: &[u8]| {
        let name = Name::from_bytes(chunk[..NAME_BYTES].try_into().expect("the length of a name"))?;
        name.digest(read_u64(chunk, NAME_BYTES)).filter(|it| it.size() <= SIZE_MAX)
    };
    let chunks: Vec<Digest> = chunks.map(parse).collect::<Option<_>>()?;
    let sum = chunks.iter().try_fold(0_u64, |sum, it| sum.checked_add(it.size()));
    (sum == Some(size)).then_some(chunks)
}

#[cfg(test)]
mod tests {
    use model::DigestFunction::{Blake3, Sha256};

    use super::*;

    #[test]
    fn a_manifest_is_read_back_and_one_of_another_size_is_refused() {
        let chunks = [Digest::of(Blake3, b"one"), Digest::of(Sha256, b"another")];
        let bytes = encode(&chunks);
        assert_eq!(decode(&bytes, 10).as_deref(), Some(&chunks[..]));
        assert_eq!(decode(&bytes, 11), None);
        assert_eq!(decode(&bytes[1..], 10), None);
        assert_eq!(decode(&[], 0).as_deref(), Some(&[][..]));
    }
}
