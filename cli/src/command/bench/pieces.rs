//! A blob as it comes back, frame by frame: compared with what it must be, and never held as a whole.

use bytes::{Buf as _, Bytes};

use super::channel::PREFIX_BYTES;
use super::error::CallError;
use super::noise::{BLOCK_BYTES, Noise};

/// What begins the only field of a `ReadResponse`: number 10, some bytes.
const DATA_KEY: u8 = 0x52;

/// A length in a message has at most so many bytes: it is less than 4 GiB.
const LENGTH_BYTES_MAX: usize = 5;

/// How many blocks of a large blob there are for each one that is compared.
const BLOCKS_PER_SAMPLE: u64 = 16;

/// What has come of a blob.
pub(super) struct Pieces {
    blob: Noise,
    blocks_per_sample: u64,
    /// How much of the blob has come, in bytes.
    offset: u64,
    /// How much of the current piece is still to come, in bytes.
    rest: usize,
    /// What has come of what stands before a piece.
    head: Vec<u8>,
}

impl Pieces {
    /// Returns what compares all of the blob.
    pub(super) fn all_of(blob: Noise) -> Self {
        Self { blob, blocks_per_sample: 1, offset: 0, rest: 0, head: Vec::new() }
    }

    /// Returns what compares some of the blob, so that comparing takes no time to speak of.
    pub(super) fn some_of(blob: Noise) -> Self {
        Self { blocks_per_sample: BLOCKS_PER_SAMPLE, ..Self::all_of(blob) }
    }

    /// Takes what came next.
    pub(super) fn take(&mut self, mut part: Bytes) -> Result<(), CallError> {
        while part.has_remaining() {
            if self.rest == 0 {
                self.head.push(part.get_u8());
                self.look_at_head()?;
                continue;
            }
            let bytes = part.split_to(self.rest.min(part.len()));
            self.compare(&bytes)?;
            self.rest -= bytes.len();
        }
        Ok(())
    }

    /// Fails unless all has come.
    pub(super) fn finish(self) -> Result<(), CallError> {
        let is_whole = self.offset == self.blob.bytes && self.rest == 0 && self.head.is_empty();
        is_whole.then_some(()).ok_or(CallError::Wrong("another number of bytes was read"))
    }

    /// Begins a piece if all has come that stands before it.
    fn look_at_head(&mut self) -> Result<(), CallError> {
        let Some((prefix, message)) = self.head.split_first_chunk::<PREFIX_BYTES>() else {
            return Ok(());
        };
        let [0, length @ ..] = *prefix else {
            return Err(CallError::Wrong("a compressed message, which nobody asked for"));
        };
        let length = u32::from_be_bytes(length) as usize;
        // An empty piece says that the server is still there.
        if length == 0 {
            self.head.clear();
            return Ok(());
        }
        let Some((key, varint)) = message.split_first() else { return Ok(()) };
        if *key != DATA_KEY || varint.len() > LENGTH_BYTES_MAX {
            return Err(CallError::Wrong("something else than a piece of a blob"));
        }
        if varint.last().is_none_or(|byte| byte & 0x80 != 0) {
            return Ok(());
        }
        let bytes = varint.iter().rev().fold(0, |sum, byte| sum << 7 | usize::from(byte & 0x7f));
        if message.len() + bytes != length {
            return Err(CallError::Wrong("something else than a piece of a blob"));
        }
        self.rest = bytes;
        self.head.clear();
        Ok(())
    }

    fn compare(&mut self, mut bytes: &[u8]) -> Result<(), CallError> {
        let mut block = [0; BLOCK_BYTES];
        while !bytes.is_empty() {
            let number = self.offset / BLOCK_BYTES as u64;
            let begin =
                usize::try_from(self.offset % BLOCK_BYTES as u64).expect("a block is small");
            let (here, rest) = bytes.split_at(bytes.len().min(BLOCK_BYTES - begin));
            if number.is_multiple_of(self.blocks_per_sample) {
                self.blob.fill(number * BLOCK_BYTES as u64, &mut block);
                if block[begin..begin + here.len()] != *here {
                    return Err(CallError::Wrong("other bytes"));
                }
            }
            self.offset += here.len() as u64;
            bytes = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::bench::channel::frame;

    const BLOB: Noise = Noise { seed: 3, bytes: 10_000 };

    /// Returns the blob as a server would send it: an empty piece, and two others.
    fn answer() -> Vec<u8> {
        let piece = |bytes: &[u8]| {
            frame(0, |message| {
                prost::encoding::bytes::encode(10, &bytes.to_vec(), message);
            })
        };
        let bytes = BLOB.to_vec();
        [frame(0, |_| ()), piece(&bytes[..5000]), piece(&bytes[5000..])].concat()
    }

    fn read(answer: &[u8], step: usize) -> Result<(), CallError> {
        let mut pieces = Pieces::all_of(BLOB);
        for part in answer.chunks(step) {
            pieces.take(Bytes::copy_from_slice(part))?;
        }
        pieces.finish()
    }

    #[test]
    fn a_blob_is_known_again_however_it_is_cut() {
        for step in [1, 2, 7, 4096, 20_000] {
            read(&answer(), step).unwrap();
        }
    }

    #[test]
    fn a_blob_with_one_bit_of_difference_is_not_the_blob() {
        let good = answer();
        for at in [6, 20, 5_100, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 1;
            read(&bad, 4096).unwrap_err();
        }
        read(&good[..good.len() - 1], 4096).unwrap_err();
        read(&[good.as_slice(), &good[5..]].concat(), 4096).unwrap_err();
    }
}
