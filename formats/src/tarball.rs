//! Tar archives (V7, ustar, PAX and GNU), read strictly and to their very end.
//!
//! The headers are parsed here and not by a crate: what tools disagree about (two lengths of a name, a size
//! on a directory, what follows the end) must be refused, and a crate resolves it.

use std::io::{self, BufReader, Read};

use crate::assembly::Assembly;
use crate::pax::{self, Extension};
use crate::{Decoder, Fault};

pub(crate) const BLOCK_BYTES: usize = 512;

/// How much is decompressed at a time; most headers and files are then read from memory.
const READ_BYTES: usize = 128 << 10;

/// The bit of a mode that makes a file executable: the owner's.
const OWNER_EXECUTES: u64 = 0o100;

/// Reads the tree of an archive into `assembly`.
pub(crate) fn read(source: Decoder<'_>, assembly: &mut Assembly<'_>) -> Result<(), Fault> {
    let mut reader = BufReader::with_capacity(READ_BYTES, source);
    let mut extension = Extension::default();
    while let Some(header) = Header::read(&mut reader)? {
        match header.type_flag() {
            b'x' => {
                assembly.note(header.name_field());
                if std::mem::replace(&mut extension.present, true) {
                    return Err(Fault::malformed("one entry has two extension headers"));
                }
                extension.read(&read_extension(&header, &mut reader, assembly)?)?;
            }
            b'g' => {
                assembly.note(header.name_field());
                pax::check_global(&read_extension(&header, &mut reader, assembly)?)?;
            }
            b'L' => {
                let name = read_long_name(&header, &mut reader, assembly)?;
                pax::set(&mut extension.path, name)?;
            }
            b'K' => {
                let name = read_long_name(&header, &mut reader, assembly)?;
                pax::set(&mut extension.link, name)?;
            }
            _ => {
                read_entry(&header, std::mem::take(&mut extension), &mut reader, assembly)?;
            }
        }
        assembly.note_nothing();
    }
    if extension.present || extension.path.is_some() || extension.link.is_some() {
        return Err(Fault::malformed("an extension header is followed by no entry"));
    }
    read_end(&mut reader)
}

fn read_entry(
    header: &Header,
    extension: Extension,
    reader: &mut impl Read,
    assembly: &mut Assembly<'_>,
) -> Result<(), Fault> {
    let name = extension.path.unwrap_or_else(|| header.name());
    let (place, slash) = assembly.enter(&name)?;
    let size = match extension.size {
        Some(size) => size,
        None => header.size()?,
    };
    let link = extension.link.as_deref().unwrap_or(header.link_field());
    match header.type_flag() {
        b'S' => return Err(Fault::Sparse),
        b'3' => return Err(Fault::Special { kind: "a character device" }),
        b'4' => return Err(Fault::Special { kind: "a block device" }),
        b'6' => return Err(Fault::Special { kind: "a named pipe" }),
        // Before there was a flag for directories, a slash at the end made one.
        b'5' | b'\0' if size > 0 && (slash || header.type_flag() == b'5') => {
            return Err(Fault::malformed("a directory has a size"));
        }
        b'1' | b'2' if size > 0 => return Err(Fault::malformed("a link has a size")),
        b'0' | b'1' | b'2' if slash => {
            return Err(Fault::malformed("a name that is no directory's ends in a slash"));
        }
        b'\0' if slash => assembly.directory(&place)?,
        b'5' => assembly.directory(&place)?,
        b'1' => assembly.hard_link(&place, link)?,
        b'2' => assembly.symlink(&place, link)?,
        b'0' | b'\0' => {
            let executable = header.mode()? & OWNER_EXECUTES != 0;
            assembly.file(&place, size, executable, reader)?;
            skip_padding(size, reader)?;
        }
        other => return Err(Fault::TypeFlag(other)),
    }
    Ok(())
}

fn read_extension(
    header: &Header,
    reader: &mut impl Read,
    assembly: &Assembly<'_>,
) -> Result<Vec<u8>, Fault> {
    let max = assembly.limits().extension_bytes;
    read_small(header, max, "bytes in an extension header", reader)
}

fn read_long_name(
    header: &Header,
    reader: &mut impl Read,
    assembly: &mut Assembly<'_>,
) -> Result<Vec<u8>, Fault> {
    assembly.note(header.name_field());
    let max = assembly.limits().path_bytes as u64;
    // The name ends with a NUL, which is no part of it.
    if header.size()? > max + 1 {
        return Err(Fault::limit("bytes in a path", max));
    }
    let mut name = read_small(header, max + 1, "bytes in a path", reader)?;
    if name.last() == Some(&0) {
        name.pop();
    }
    if name.is_empty() || name.contains(&0) {
        return Err(Fault::malformed("a long name is empty or has a NUL"));
    }
    Ok(name)
}

fn read_small(
    header: &Header,
    max: u64,
    limit: &'static str,
    reader: &mut impl Read,
) -> Result<Vec<u8>, Fault> {
    let size = header.size()?;
    if size > max {
        return Err(Fault::limit(limit, max));
    }
    let mut bytes = Vec::new();
    let read = reader.by_ref().take(size).read_to_end(&mut bytes)?;
    if (read as u64) < size {
        return Err(Fault::Truncated);
    }
    skip_padding(size, reader)?;
    Ok(bytes)
}

fn skip_padding(size: u64, reader: &mut impl Read) -> Result<(), Fault> {
    let mut padding = [0; BLOCK_BYTES];
    let over = usize::try_from(size % BLOCK_BYTES as u64).unwrap_or_default();
    if over > 0 {
        reader.read_exact(&mut padding[over..])?;
    }
    Ok(())
}

/// Reads what stands after the first block of zeros: a second one, and then nothing but zeros.
fn read_end(reader: &mut impl Read) -> Result<(), Fault> {
    let mut block = [0; BLOCK_BYTES];
    reader.read_exact(&mut block)?;
    loop {
        if block.iter().any(|&byte| byte != 0) {
            return Err(Fault::Trailing);
        }
        match reader.read(&mut block) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// One header, whose checksum is right.
struct Header([u8; BLOCK_BYTES]);

impl Header {
    /// Returns the next header, or `None` where a block of zeros stands.
    fn read(reader: &mut impl Read) -> Result<Option<Self>, Fault> {
        let mut block = [0; BLOCK_BYTES];
        reader.read_exact(&mut block)?;
        if block == [0; BLOCK_BYTES] {
            return Ok(None);
        }
        let header = Self(block);
        let given = number(&block[148..156]);
        let spaces = 8 * u64::from(b' ');
        let sum = |bytes: &[u8]| bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        if given != Some(sum(&block[..148]) + spaces + sum(&block[156..])) {
            return Err(Fault::Checksum);
        }
        match &block[257..265] {
            b"ustar  \0" | [b'u', b's', b't', b'a', b'r', 0, _, _] | [0, 0, 0, 0, 0, 0, 0, 0] => {
                Ok(Some(header))
            }
            _ => Err(Fault::malformed("a tar header is of no known format")),
        }
    }

    fn type_flag(&self) -> u8 {
        self.0[156]
    }

    /// Returns the name; only POSIX headers have a prefix, GNU ones keep times in its place.
    fn name(&self) -> Vec<u8> {
        let name = self.name_field();
        let prefix = until_nul(&self.0[345..500]);
        if &self.0[257..263] != b"ustar\0" || prefix.is_empty() {
            return name.to_owned();
        }
        [prefix, b"/", name].concat()
    }

    fn name_field(&self) -> &[u8] {
        until_nul(&self.0[..100])
    }

    fn link_field(&self) -> &[u8] {
        until_nul(&self.0[157..257])
    }

    fn size(&self) -> Result<u64, Fault> {
        number(&self.0[124..136])
            .ok_or(Fault::malformed("the size in a tar header is not a number"))
    }

    fn mode(&self) -> Result<u64, Fault> {
        number(&self.0[100..108])
            .ok_or(Fault::malformed("the mode in a tar header is not a number"))
    }
}

pub(crate) fn until_nul(field: &[u8]) -> &[u8] {
    field.split(|&byte| byte == 0).next().unwrap_or_default()
}

/// Parses a number: octal digits, or in GNU's and star's way base 256 with the first bit set.
pub(crate) fn number(field: &[u8]) -> Option<u64> {
    let (&first, rest) = field.split_first()?;
    if first == 0x80 {
        return rest
            .iter()
            .try_fold(0u64, |value, &byte| Some(value.checked_mul(256)? | u64::from(byte)));
    }
    let text = field.trim_ascii_start();
    let end = text.iter().position(|byte| matches!(byte, 0 | b' ')).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if rest.iter().any(|byte| !matches!(byte, 0 | b' ')) {
        return None;
    }
    digits.iter().try_fold(0u64, |value, digit| match digit {
        b'0'..=b'7' => Some(value.checked_mul(8)? | u64::from(digit - b'0')),
        _ => None,
    })
}
