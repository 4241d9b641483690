//! The members of an `ar` archive, one after the other, as `.deb` files have them.

use std::io::{self, BufRead, Read};

use crate::Fault;

const MAGIC: &[u8; 8] = b"!<arch>\n";
const HEADER_BYTES: usize = 60;

/// Reads one member after the other; as a reader, it reads the current one.
pub(crate) struct Ar<R> {
    reader: R,
    left: u64,
    padded: bool,
}

impl<R: BufRead> Ar<R> {
    /// Returns the archive, standing before its first member.
    pub(crate) fn open(mut reader: R) -> Result<Self, Fault> {
        let mut magic = [0; MAGIC.len()];
        reader.read_exact(&mut magic)?;
        if &magic != MAGIC {
            return Err(Fault::malformed("it does not start as an ar archive"));
        }
        Ok(Self { reader, left: 0, padded: false })
    }

    /// Goes to the next member and returns its name, or `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<String>, Fault> {
        io::copy(self, &mut io::sink())?;
        if self.padded {
            let mut padding = [0];
            self.reader.read_exact(&mut padding)?;
            if padding != *b"\n" {
                return Err(Fault::malformed("a member of odd size is not followed by a newline"));
            }
        }
        if self.reader.fill_buf()?.is_empty() {
            return Ok(None);
        }
        let mut header = [0; HEADER_BYTES];
        self.reader.read_exact(&mut header)?;
        if &header[58..] != b"`\n" {
            return Err(Fault::malformed("no ar header where one should be"));
        }
        self.left = decimal(&header[48..58])
            .ok_or(Fault::malformed("the size of an ar member is not a number"))?;
        self.padded = self.left % 2 == 1;
        let name = header[..16].trim_ascii_end();
        // GNU ar marks the end of a name with a slash; dpkg does not.
        let name = name.strip_suffix(b"/").unwrap_or(name);
        Ok(Some(str::from_utf8(name).map_err(Fault::Encoding)?.to_owned()))
    }

    /// Returns how many bytes of the current member are not yet read.
    pub(crate) fn left(&self) -> u64 {
        self.left
    }
}

fn decimal(field: &[u8]) -> Option<u64> {
    let digits = str::from_utf8(field.trim_ascii_end()).ok()?;
    if !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok()
}

impl<R: BufRead> Read for Ar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let ready = self.fill_buf()?;
        let length = ready.len().min(buffer.len());
        buffer[..length].copy_from_slice(&ready[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl<R: BufRead> BufRead for Ar<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.left == 0 {
            return Ok(&[]);
        }
        let ready = self.reader.fill_buf()?;
        if ready.is_empty() {
            return Err(Fault::Truncated.into());
        }
        let length = usize::try_from(self.left).map_or(ready.len(), |left| ready.len().min(left));
        Ok(&ready[..length])
    }

    fn consume(&mut self, amount: usize) {
        self.reader.consume(amount);
        self.left -= amount as u64;
    }
}
