//! Compressing and decompressing piece by piece, with bounded memory.

use std::io;

use bytes::{Buf as _, Bytes};
use zstd::stream::raw::{Decoder, Encoder, InBuffer, Operation as _, OutBuffer};

use crate::remote::ZSTD_LEVEL;

/// How much is made at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// How much of what was compressed may be left to be worth it, of a hundred.
const WORTH_PERCENT: usize = 90;

/// Returns whether bytes from the beginning of a blob become clearly fewer.
pub(super) fn is_worth_it(head: &[u8]) -> bool {
    let packed = zstd::bulk::compress(head, ZSTD_LEVEL);
    packed.is_ok_and(|packed| packed.len() * 100 < head.len() * WORTH_PERCENT)
}

/// Decompresses pieces. However much a piece becomes, no more than [`PIECE_BYTES`] of it is made at once.
pub(super) struct Unpacker {
    decoder: Decoder<'static>,
    input: Bytes,
    /// Whether there may be more to come of what was put in.
    is_full: bool,
}

impl Unpacker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { decoder: Decoder::new()?, input: Bytes::new(), is_full: false })
    }

    /// Takes the next piece, once all of the last has been taken out.
    pub(super) fn put(&mut self, piece: Bytes) {
        self.input = piece;
    }

    /// Takes out what the pieces became; `None` when the next is needed.
    pub(super) fn take(&mut self) -> io::Result<Option<Bytes>> {
        while !self.input.is_empty() || self.is_full {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            let mut output = OutBuffer::around(&mut piece);
            let mut input = InBuffer::around(&self.input);
            self.decoder.run(&mut input, &mut output)?;
            let read = input.pos();
            self.is_full = output.pos() == output.capacity();
            self.input.advance(read);
            if !piece.is_empty() {
                return Ok(Some(piece.into()));
            }
        }
        Ok(None)
    }
}

/// Compresses pieces.
pub(super) struct Packer(Encoder<'static>);

impl Packer {
    pub(super) fn new() -> io::Result<Self> {
        Encoder::new(ZSTD_LEVEL).map(Self)
    }

    /// Returns what a piece adds; at the end, all that is left.
    pub(super) fn pack(&mut self, piece: &[u8], is_last: bool) -> io::Result<Bytes> {
        let mut packed = Vec::with_capacity(zstd::zstd_safe::compress_bound(piece.len()));
        let mut input = InBuffer::around(piece);
        while input.pos() < piece.len() {
            packed.reserve(1);
            let filled = packed.len();
            let mut output = OutBuffer::around_pos(&mut packed, filled);
            self.0.run(&mut input, &mut output)?;
        }
        let mut left = usize::from(is_last);
        while left > 0 {
            packed.reserve(left);
            let filled = packed.len();
            let mut output = OutBuffer::around_pos(&mut packed, filled);
            left = self.0.finish(&mut output, true)?;
        }
        Ok(packed.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unpack(pieces: &[Bytes]) -> io::Result<Vec<u8>> {
        let (mut unpacker, mut bytes) = (Unpacker::new()?, Vec::new());
        for piece in pieces {
            unpacker.put(piece.clone());
            while let Some(piece) = unpacker.take()? {
                assert!(piece.len() <= PIECE_BYTES);
                bytes.extend(piece);
            }
        }
        Ok(bytes)
    }

    #[test]
    fn what_was_packed_in_pieces_is_unpacked_from_others() {
        let bytes: Vec<u8> = (0..5_000_000_u32).map(|it| (it / 7 % 251) as u8).collect();
        let mut packer = Packer::new().unwrap();
        let mut whole = Vec::new();
        let mut pieces = bytes.chunks(300_000).peekable();
        while let Some(piece) = pieces.next() {
            whole.extend(packer.pack(piece, pieces.peek().is_none()).unwrap());
        }
        assert!(whole.len() < bytes.len() / 10);
        let others: Vec<_> = whole.chunks(777).map(Bytes::copy_from_slice).collect();
        assert_eq!(unpack(&others).unwrap(), bytes);
        assert_eq!(
            unpack(&[whole.into()]).unwrap(),
            bytes,
            "a large piece comes out in small ones"
        );
    }

    #[test]
    fn nothing_is_packed_and_unpacked() {
        let packed = Packer::new().unwrap().pack(b"", true).unwrap();
        assert!(!packed.is_empty());
        assert_eq!(unpack(&[packed]).unwrap(), b"");
        unpack(&[Bytes::from_static(b"no frame at all")]).unwrap_err();
    }

    #[test]
    fn only_what_becomes_less_is_worth_it() {
        assert!(is_worth_it(&[7; 10_000]));
        let mut state = 1_u64;
        let mut noise = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 56) as u8
        };
        assert!(!is_worth_it(&(0..10_000).map(|_| noise()).collect::<Vec<u8>>()));
    }
}
