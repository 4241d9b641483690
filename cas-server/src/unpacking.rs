//! What is sent as zstd, unpacked piece by piece in bounded memory.

use std::io;

use bytes::Bytes;
use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation, OutBuffer};

/// The largest window that a sender may make this server keep, as a power of two: what RFC 9659 says clients and servers
/// of this encoding have to agree on, 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// How many bytes are unpacked at once.
const PIECE_BYTES: usize = 128 << 10;

/// Unpacks zstd frames piece by piece.
pub(crate) struct Unpacker {
    decoder: Decoder<'static>,
    /// Whether the bytes so far are whole frames.
    is_whole: bool,
}

impl Unpacker {
    /// Returns an unpacker that has seen nothing yet.
    pub(crate) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(Self { decoder, is_whole: true })
    }

    /// Returns a bounded piece of what the packed bytes say and takes from them what that needed; or `None` if there is no
    /// more without more bytes.
    pub(crate) fn unpack(&mut self, packed: &mut Bytes) -> io::Result<Option<Bytes>> {
        let mut piece = Vec::with_capacity(PIECE_BYTES);
        let mut input = InBuffer::around(packed);
        let mut output = OutBuffer::around(&mut piece);
        let has_input = !input.src.is_empty();
        let hint = self.decoder.run(&mut input, &mut output)?;
        let (taken, unpacked) = (input.pos(), output.pos());
        // Between frames, and without input, the hint is only how long the next header would be.
        if has_input || unpacked > 0 || hint == 0 {
            self.is_whole = hint == 0;
        }
        drop(packed.split_to(taken));
        // Most of what is sent so is small, and is kept for a while.
        piece.shrink_to_fit();
        Ok((unpacked > 0 || !packed.is_empty()).then(|| piece.into()))
    }

    /// Fails unless the bytes so far are whole frames.
    pub(crate) fn finish(self) -> io::Result<()> {
        let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the last frame is not whole");
        if self.is_whole { Ok(()) } else { Err(broken()) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn any_bytes_are_unpacked_or_refused(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            damaged in any::<prop::sample::Index>(),
            flipped in 1_u8..,
            at_once in 1_usize..50,
        ) {
            // Nothing that is not a frame comes far; so damage one, too.
            drop(unpack(&bytes, at_once));
            let mut frame = zstd::stream::encode_all(bytes.as_slice(), 1).unwrap();
            let damaged = damaged.index(frame.len());
            frame[damaged] ^= flipped;
            drop(unpack(&frame, at_once));
        }
    }

    fn unpack(packed: &[u8], at_once: usize) -> io::Result<Vec<u8>> {
        let (mut unpacker, mut bytes) = (Unpacker::new()?, Vec::new());
        for piece in packed.chunks(at_once) {
            let mut piece = Bytes::copy_from_slice(piece);
            while let Some(unpacked) = unpacker.unpack(&mut piece)? {
                assert!(unpacked.len() <= PIECE_BYTES);
                bytes.extend_from_slice(&unpacked);
            }
        }
        unpacker.finish()?;
        Ok(bytes)
    }

    #[test]
    fn a_body_is_unpacked_however_it_is_cut() {
        for body in [Vec::new(), b"x".to_vec(), b"abc".repeat(100_000), vec![0; 4 * PIECE_BYTES]] {
            let frame = zstd::stream::encode_all(body.as_slice(), 1).unwrap();
            for at_once in [1, 7, 4096, frame.len()] {
                assert!(unpack(&frame, at_once).unwrap() == body);
                assert!(unpack(&frame.repeat(2), at_once).unwrap() == body.repeat(2));
                unpack(&frame[..frame.len() - 1], at_once).unwrap_err();
            }
        }
    }
}
