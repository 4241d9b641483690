//! Blobs that no compressor makes smaller, made from a number at the speed of copying.

use model::{Digest, DigestFunction, Hasher};

/// How much is made from one seed, in bytes; any block can be made without those before it.
pub(super) const BLOCK_BYTES: usize = 4096;

/// How many generators work side by side, so that the compiler can use wide registers.
const LANES: usize = 8;

/// A blob, as the number that it is made from and its size.
#[derive(Clone, Copy, Debug)]
pub(super) struct Noise {
    pub(super) seed: u64,
    pub(super) bytes: u64,
}

impl Noise {
    /// Writes the bytes of the blob that begin at `offset`, which is at the beginning of a block.
    pub(super) fn fill(self, offset: u64, buffer: &mut [u8]) {
        debug_assert!(offset.is_multiple_of(BLOCK_BYTES as u64), "a block is made as a whole");
        let first = offset / BLOCK_BYTES as u64;
        for (block, number) in buffer.chunks_mut(BLOCK_BYTES).zip(first..) {
            fill_block(mix(self.seed ^ mix(number)), block);
        }
    }

    /// Returns the whole blob; for small ones.
    pub(super) fn to_vec(self) -> Vec<u8> {
        let mut bytes = vec![0; usize::try_from(self.bytes).expect("a small blob fits in memory")];
        self.fill(0, &mut bytes);
        bytes
    }

    /// Returns the blob's digest.
    pub(super) fn digest(self, function: DigestFunction) -> Digest {
        let mut hasher = Hasher::new(function);
        let mut buffer = [0; BLOCK_BYTES];
        for offset in (0..self.bytes).step_by(BLOCK_BYTES) {
            let rest = usize::try_from(self.bytes - offset).unwrap_or(BLOCK_BYTES);
            let block = &mut buffer[..rest.min(BLOCK_BYTES)];
            self.fill(offset, block);
            hasher.update(block);
        }
        hasher.finish()
    }
}

/// Returns a number that looks nothing like its neighbours (the finaliser of `SplitMix64`).
pub(super) fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn fill_block(seed: u64, block: &mut [u8]) {
    let mut lanes: [u64; LANES] = std::array::from_fn(|lane| mix(seed ^ lane as u64) | 1);
    for row in block.chunks_mut(8 * LANES) {
        let mut bytes = [0; 8 * LANES];
        for (lane, word) in lanes.iter_mut().zip(bytes.chunks_exact_mut(8)) {
            // Xorshift: three shifts a word, and no multiplication, which vectors of 64 bits lack.
            *lane ^= *lane << 13;
            *lane ^= *lane >> 7;
            *lane ^= *lane << 17;
            word.copy_from_slice(&lane.to_le_bytes());
        }
        row.copy_from_slice(&bytes[..row.len()]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_part_of_a_blob_is_the_same_by_itself() {
        let noise = Noise { seed: 7, bytes: 3 * BLOCK_BYTES as u64 + 5 };
        let whole = noise.to_vec();
        let mut tail = vec![0; BLOCK_BYTES + 5];
        noise.fill(2 * BLOCK_BYTES as u64, &mut tail);
        assert_eq!(whole[2 * BLOCK_BYTES..], tail);
        assert_eq!(
            noise.digest(DigestFunction::Blake3),
            Digest::of(DigestFunction::Blake3, &whole)
        );
    }

    #[test]
    fn blobs_of_neighbouring_seeds_share_no_word() {
        let words = |seed| {
            let bytes = Noise { seed, bytes: BLOCK_BYTES as u64 }.to_vec();
            let words: Vec<[u8; 8]> = bytes.as_chunks::<8>().0.to_vec();
            words
        };
        let mut all = [words(1), words(2)].concat();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
    }
}
