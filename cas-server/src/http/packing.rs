//! zstd as an encoding of bodies, piece by piece, in bounded memory.

use std::io;

use bytes::Bytes;
use zstd::stream::raw::{DParameter, Decoder, Encoder, InBuffer, Operation, OutBuffer};

/// The level of answers: the network is waiting.
const LEVEL: i32 = 1;

/// Bodies smaller than this are not worth a frame, in bytes.
const WORTHWHILE_BYTES_MIN: u64 = 1 << 10;

/// The largest window that a sender may make this server keep, as a power of two: what RFC 9659 says clients and servers
/// of this encoding have to agree on, 8 MiB.
const WINDOW_LOG_MAX: u32 = 23;

/// How many bytes are unpacked at once.
const PIECE_BYTES: usize = 128 << 10;

/// How bodies begin that are packed already: zstd, gzip, xz, bzip2, zip.
const PACKED: [&[u8]; 5] = [b"\x28\xb5\x2f\xfd", b"\x1f\x8b", b"\xfd7zXZ\0", b"BZh", b"PK\x03\x04"];

/// Returns whether packing a body might make it smaller.
pub(super) fn is_worthwhile(size: u64, beginning: &[u8]) -> bool {
    size >= WORTHWHILE_BYTES_MIN && !PACKED.iter().any(|it| beginning.starts_with(it))
}

/// Packs a body piece by piece.
pub(super) struct Packer(Encoder<'static>);

impl Packer {
    /// Returns a packer that has seen nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        Encoder::new(LEVEL).map(Self)
    }

    /// Returns what can be sent after the next piece.
    pub(super) fn pack(&mut self, piece: &[u8]) -> io::Result<Bytes> {
        let mut packed = Vec::with_capacity(zstd::compress_bound(piece.len()));
        let mut input = InBuffer::around(piece);
        while input.pos() < piece.len() {
            packed.reserve(PIECE_BYTES);
            let at = packed.len();
            self.0.run(&mut input, &mut OutBuffer::around_pos(&mut packed, at))?;
        }
        Ok(packed.into())
    }

    /// Returns what is still to be sent.
    pub(super) fn finish(mut self) -> io::Result<Bytes> {
        let mut packed = Vec::new();
        loop {
            packed.reserve(PIECE_BYTES);
            let at = packed.len();
            if self.0.finish(&mut OutBuffer::around_pos(&mut packed, at), true)? == 0 {
                return Ok(packed.into());
            }
        }
    }
}

/// Unpacks a body piece by piece.
pub(super) struct Unpacker {
    decoder: Decoder<'static>,
    /// Whether the bytes so far are whole frames.
    is_whole: bool,
}

impl Unpacker {
    /// Returns an unpacker that has seen nothing yet.
    pub(super) fn new() -> io::Result<Self> {
        let mut decoder = Decoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
        Ok(Self { decoder, is_whole: true })
    }

    /// Returns a bounded piece of what the packed bytes say and takes from them what that needed; or `None` if there is no
    /// more without more bytes.
    pub(super) fn unpack(&mut self, packed: &mut Bytes) -> io::Result<Option<Bytes>> {
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
        Ok((unpacked > 0 || !packed.is_empty()).then(|| piece.into()))
    }

    /// Fails unless the bytes so far are whole frames.
    pub(super) fn finish(self) -> io::Result<()> {
        let broken = || io::Error::new(io::ErrorKind::UnexpectedEof, "the last frame is not whole");
        if self.is_whole { Ok(()) } else { Err(broken()) }
    }
}
