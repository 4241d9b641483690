//! Bytes become gzip, the same for everybody: what `gzip -n -9` says of them, and nothing of the machine.

use std::io::{self, Write};

use flate2::write::GzEncoder;
use flate2::{Compression, GzBuilder};

/// The operating system byte of the header: 3 (Unix), as gzip itself writes, wherever this runs.
const OPERATING_SYSTEM: u8 = 3;

/// Returns a writer that compresses to `output`: no name, no time, level 9.
///
/// The header is that of `gzip -n -9`; the compressed bytes are those of the `zlib-rs` that `bld` is built
/// with, so a change of it that alters them is a change of every action version that uses this (a golden
/// test holds the bytes).
pub fn gzip<W: Write>(output: W) -> GzipWriter<W> {
    let builder = GzBuilder::new().mtime(0).operating_system(OPERATING_SYSTEM);
    GzipWriter { encoder: builder.write(output, Compression::best()) }
}

/// Compresses what is written to it.
pub struct GzipWriter<W: Write> {
    encoder: GzEncoder<W>,
}

impl<W: Write> GzipWriter<W> {
    /// Writes the end of the data and returns the output.
    pub fn finish(self) -> io::Result<W> {
        self.encoder.finish()
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.encoder.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.encoder.flush()
    }
}
