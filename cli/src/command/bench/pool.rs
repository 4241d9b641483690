//! Blobs and actions in numbers, hashed before any clock starts.

use model::{Digest, DigestFunction};

use super::noise::{Noise, mix};

/// Blobs of one size, none of which was ever seen before.
pub(super) struct Pool {
    seed: u64,
    blob_bytes: u64,
    digests: Vec<Digest>,
}

impl Pool {
    /// Makes so many blobs.
    pub(super) fn new(function: DigestFunction, seed: u64, blobs: u64, blob_bytes: u64) -> Self {
        let mut pool = Self { seed, blob_bytes, digests: Vec::new() };
        pool.digests = (0..blobs).map(|nth| pool.noise(nth).digest(function)).collect();
        pool
    }

    /// Returns how many blobs there are.
    pub(super) fn len(&self) -> u64 {
        self.digests.len() as u64
    }

    /// Returns a blob; after the last comes the first again.
    pub(super) fn blob(&self, nth: u64) -> (Digest, Noise) {
        let nth = nth % self.len();
        (self.digests[usize::try_from(nth).expect("as many as fit in memory")], self.noise(nth))
    }

    /// Returns blobs that follow each other.
    pub(super) fn blobs(&self, first: u64, count: u64) -> Vec<(Digest, Noise)> {
        (first..first + count).map(|nth| self.blob(nth)).collect()
    }

    /// Returns the digests of blobs that follow each other.
    pub(super) fn digests(&self, first: u64, count: u64) -> Vec<Digest> {
        (first..first + count).map(|nth| self.blob(nth).0).collect()
    }

    fn noise(&self, nth: u64) -> Noise {
        Noise { seed: mix(self.seed ^ mix(nth)), bytes: self.blob_bytes }
    }
}

/// Returns the digest of nothing that there is: of an action that nobody describes, of a blob that nobody has.
pub(super) fn made_up(function: DigestFunction, seed: u64, nth: u64) -> Digest {
    /// As large as the message of an action.
    const BYTES: u64 = 142;
    let mut hash = [0; model::HASH_BYTES];
    Noise { seed: mix(seed ^ mix(nth)), bytes: model::HASH_BYTES as u64 }.fill(0, &mut hash);
    Digest::from_parts(function, hash, BYTES)
}
