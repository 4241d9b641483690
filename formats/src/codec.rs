//! Compressed bytes become bytes: recognised by their first ones, streamed, bounded, read to their very end.

use std::cell::Cell;
use std::io::{self, BufRead, Cursor, Read};
use std::rc::Rc;

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::GzDecoder;
use liblzma::bufread::XzDecoder;
use liblzma::stream::{CONCATENATED, Stream, TELL_UNSUPPORTED_CHECK};

use crate::{Fault, Limits};

/// How many bytes tell how the others are compressed.
const HEAD_BYTES: usize = 6;

/// How bytes are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// Not at all.
    Plain,
    /// gzip, one or more members.
    Gzip,
    /// xz, one or more streams.
    Xz,
    /// Zstandard, one or more frames.
    Zstd,
    /// bzip2, one or more streams.
    Bzip2,
}

impl Codec {
    /// Returns how bytes are compressed that start with `head`.
    pub fn sniff(head: &[u8]) -> Self {
        if head.starts_with(&[0x1f, 0x8b]) {
            Self::Gzip
        } else if head.starts_with(b"\xfd7zXZ\0") {
            Self::Xz
        } else if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            Self::Zstd
        } else if head.starts_with(b"BZh") {
            Self::Bzip2
        } else {
            Self::Plain
        }
    }

    /// Returns what messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Gzip => "gzip",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
            Self::Bzip2 => "bzip2",
        }
    }

    /// Returns the ending that file names have for it, or nothing.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => "gz",
            Self::Xz => "xz",
            Self::Zstd => "zst",
            Self::Bzip2 => "bz2",
        }
    }
}

/// Returns a reader of what `source` holds, decompressed.
///
/// Its errors are [`Fault`]s: `Fault::from` gets them out of the `io::Error`. The end comes only where the
/// compressed data ends, whole, with its checksums, and with nothing after it.
pub fn decompress<'a>(
    mut source: impl BufRead + 'a,
    limits: &Limits,
) -> Result<Decoder<'a>, Fault> {
    let head = read_head(&mut source)?;
    let codec = Codec::sniff(&head);
    let taken = Rc::new(Cell::new(0));
    let counted = Counted { reader: Cursor::new(head).chain(source), taken: Rc::clone(&taken) };
    let inner: Box<dyn Read + 'a> = match codec {
        Codec::Plain => Box::new(counted),
        Codec::Gzip => Box::new(GzipMembers { member: Some(GzDecoder::new(counted)) }),
        Codec::Xz => {
            let flags = CONCATENATED | TELL_UNSUPPORTED_CHECK;
            let stream = Stream::new_stream_decoder(limits.decoder_memory_bytes, flags)
                .map_err(|error| Fault::Codec { codec: codec.name(), source: error.into() })?;
            Box::new(XzDecoder::new_stream(counted, stream))
        }
        Codec::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::with_buffer(counted)?;
            decoder.window_log_max(limits.decoder_memory_bytes.max(2).ilog2() - 1)?;
            Box::new(decoder)
        }
        Codec::Bzip2 => Box::new(MultiBzDecoder::new(counted)),
    };
    Ok(Decoder { codec, inner, taken, given: 0, limits: *limits })
}

fn read_head(source: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut head = Vec::with_capacity(HEAD_BYTES);
    source.take(HEAD_BYTES as u64).read_to_end(&mut head)?;
    Ok(head)
}

/// Reads decompressed bytes, and refuses to give more of them than the limits allow.
pub struct Decoder<'a> {
    codec: Codec,
    inner: Box<dyn Read + 'a>,
    taken: Rc<Cell<u64>>,
    given: u64,
    limits: Limits,
}

impl Decoder<'_> {
    /// Returns how the bytes were compressed.
    pub fn codec(&self) -> Codec {
        self.codec
    }

    fn check_limits(&self) -> Result<(), Fault> {
        let limits = &self.limits;
        if self.given > limits.unpacked_bytes {
            return Err(Fault::limit("unpacked bytes", limits.unpacked_bytes));
        }
        let plenty = limits.ratio.saturating_mul(self.taken.get()).max(limits.ratio_free_bytes);
        if self.codec != Codec::Plain && self.given > plenty {
            return Err(Fault::limit("times the compressed size", limits.ratio));
        }
        Ok(())
    }

    fn explain(&self, error: io::Error) -> io::Error {
        if is_fault(&error) || error.kind() == io::ErrorKind::Interrupted {
            return error;
        }
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return Fault::Truncated.into();
        }
        let lzma = error.get_ref().and_then(|inner| inner.downcast_ref());
        if let Some(liblzma::stream::Error::MemLimit) = lzma {
            let max = self.limits.decoder_memory_bytes;
            return Fault::limit("bytes of memory to decompress it", max).into();
        }
        Fault::Codec { codec: self.codec.name(), source: error }.into()
    }
}

impl Read for Decoder<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer).map_err(|error| self.explain(error))?;
        self.given += read as u64;
        self.check_limits()?;
        Ok(read)
    }
}

fn is_fault(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()).is_some()
}

/// Counts what a decompressor takes, and marks the errors that are not the decompressor's.
struct Counted<R> {
    reader: R,
    taken: Rc<Cell<u64>>,
}

fn mark(error: io::Error) -> io::Error {
    if is_fault(&error) || error.kind() == io::ErrorKind::Interrupted {
        return error;
    }
    Fault::from(error).into()
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.reader.read(buffer).map_err(mark)?;
        self.taken.set(self.taken.get() + read as u64);
        Ok(read)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.reader.fill_buf().map_err(mark)
    }

    fn consume(&mut self, amount: usize) {
        self.taken.set(self.taken.get() + amount as u64);
        self.reader.consume(amount);
    }
}

/// Reads the members of a gzip file one after the other, and knows garbage from a member.
struct GzipMembers<R> {
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Read for GzipMembers<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        while let Some(member) = &mut self.member {
            let read = member.read(buffer)?;
            if read > 0 {
                return Ok(read);
            }
            let Some(member) = self.member.take() else { break };
            let mut rest = member.into_inner();
            match rest.fill_buf()?.first() {
                None => {}
                Some(0x1f) => self.member = Some(GzDecoder::new(rest)),
                Some(_) => return Err(Fault::Trailing.into()),
            }
        }
        Ok(0)
    }
}
