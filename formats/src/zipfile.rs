//! Zip archives, of which every byte must belong to exactly one entry or to the directory at the end.
//!
//! The structure is parsed here and not by a crate: a zip archive says everything twice, and tools that
//! believe different halves see different files. Here the halves must agree and leave no gap.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use model::TARGET_BYTES_MAX;

use crate::Fault;
use crate::assembly::{Assembly, Place};
use crate::zipdirectory::{self, Central, Content, Fields, Method};

const LOCAL_MAGIC: &[u8; 4] = b"PK\x03\x04";
const LOCAL_BYTES: u64 = 30;
const DESCRIPTOR_MAGIC: &[u8; 4] = b"PK\x07\x08";

/// Reads the tree of an archive into `assembly`.
pub(crate) fn read(
    mut reader: impl BufRead + Seek,
    assembly: &mut Assembly<'_>,
) -> Result<(), Fault> {
    let directory = zipdirectory::read(&mut reader, assembly)?;
    assembly.note_nothing();
    reader.seek(SeekFrom::Start(0))?;
    let mut position = 0;
    let ends = directory.entries.iter().skip(1).map(|entry| entry.offset);
    for (entry, end) in directory.entries.iter().zip(ends.chain([directory.offset])) {
        assembly.note(&entry.name);
        match entry.offset.cmp(&position) {
            std::cmp::Ordering::Less => return Err(Fault::Overlap),
            std::cmp::Ordering::Greater => return Err(Fault::Unclaimed),
            std::cmp::Ordering::Equal => {}
        }
        let header_bytes = read_local(entry, &mut reader)?;
        let content_end = (position + header_bytes).checked_add(entry.compressed);
        let descriptor_bytes = content_end
            .and_then(|content_end| end.checked_sub(content_end))
            .ok_or(Fault::Overlap)?;
        read_content(entry, &mut reader, assembly)?;
        read_descriptor(entry, descriptor_bytes, &mut reader)?;
        position = end;
    }
    assembly.note_nothing();
    if position != directory.offset {
        return Err(Fault::Unclaimed);
    }
    Ok(())
}

/// Reads the local header, which must say what the central directory says, and returns its length.
fn read_local(entry: &Central, reader: &mut impl Read) -> Result<u64, Fault> {
    let mut fixed = [0; 30];
    reader.read_exact(&mut fixed)?;
    let mut fields = Fields::new(&fixed);
    if fields.bytes() != *LOCAL_MAGIC {
        return Err(Fault::malformed("no local header where the central directory says"));
    }
    let _version = fields.u16();
    let (flags, method) = (fields.u16(), fields.u16());
    let _time = fields.u32();
    let (crc, compressed, size) = (fields.u32(), fields.u32(), fields.u32());
    let (name_bytes, extra_bytes) = (fields.u16(), fields.u16());

    let mut name = vec![0; name_bytes.into()];
    reader.read_exact(&mut name)?;
    let mut extra = vec![0; extra_bytes.into()];
    reader.read_exact(&mut extra)?;
    let mut sizes = [size, compressed].map(u64::from);
    zipdirectory::read_extra(&extra, &name, &mut sizes)?;
    let [size, compressed] = sizes;

    // Where a descriptor follows, the header was written before its writer knew.
    let streamed = entry.has_descriptor();
    let agree = |local: u64, central: u64| local == central || streamed && local == 0;
    let disagreement = if name != entry.name {
        "name"
    } else if zipdirectory::significant(flags) != zipdirectory::significant(entry.flags) {
        "flags"
    } else if method != entry.raw_method {
        "compression method"
    } else if !agree(crc.into(), entry.crc.into()) {
        "checksum"
    } else if !agree(size, entry.size) || !agree(compressed, entry.compressed) {
        "size"
    } else {
        return Ok(LOCAL_BYTES + u64::from(name_bytes) + u64::from(extra_bytes));
    };
    Err(Fault::Disagreement { field: disagreement })
}

fn read_content(
    entry: &Central,
    reader: &mut impl BufRead,
    assembly: &mut Assembly<'_>,
) -> Result<(), Fault> {
    let (place, slash) = assembly.enter(&entry.name)?;
    let content = entry.content(slash)?;
    let limited = reader.take(entry.compressed);
    match entry.method {
        Method::Stored => read_checked(entry, &place, content, limited, assembly),
        Method::Deflate => {
            let mut decoder = DeflateDecoder::new(limited);
            read_checked(entry, &place, content, &mut decoder, assembly)?;
            if decoder.into_inner().limit() > 0 {
                return Err(Fault::Trailing);
            }
            Ok(())
        }
    }
}

fn read_checked(
    entry: &Central,
    place: &Place,
    content: Content,
    source: impl Read,
    assembly: &mut Assembly<'_>,
) -> Result<(), Fault> {
    let mut reader = Checked { source, crc: Crc::new() };
    match content {
        Content::Directory => assembly.directory(place)?,
        Content::File { executable } => {
            assembly.file(place, entry.size, executable, &mut reader)?;
        }
        Content::Symlink => {
            if entry.size > TARGET_BYTES_MAX as u64 {
                return Err(Fault::limit("bytes in the target of a link", TARGET_BYTES_MAX));
            }
            let mut target = Vec::new();
            reader.by_ref().take(entry.size).read_to_end(&mut target)?;
            if (target.len() as u64) < entry.size {
                return Err(Fault::Truncated);
            }
            assembly.symlink(place, &target)?;
        }
    }
    // One more byte than was announced is one too many; asking for it reads a stream to its end.
    let mut beyond = [0];
    if reader.read(&mut beyond)? > 0 {
        return Err(Fault::Disagreement { field: "size" });
    }
    if reader.crc.sum() != entry.crc {
        return Err(Fault::Checksum);
    }
    Ok(())
}

/// Reads the descriptor of an entry that was written as a stream: the checksum and sizes once more.
fn read_descriptor(entry: &Central, length: u64, reader: &mut impl Read) -> Result<(), Fault> {
    if !entry.has_descriptor() {
        return if length == 0 { Ok(()) } else { Err(Fault::Unclaimed) };
    }
    // The magic is optional and the sizes have four or eight bytes; only the length tells.
    let (magic, wide) = match length {
        12 => (false, false),
        16 => (true, false),
        20 => (false, true),
        24 => (true, true),
        0..12 => return Err(Fault::Overlap),
        _ => return Err(Fault::Unclaimed),
    };
    let mut bytes = Vec::new();
    reader.take(length).read_to_end(&mut bytes)?;
    bytes.resize(24, 0);
    let mut fields = Fields::new(&bytes);
    if magic && fields.bytes() != *DESCRIPTOR_MAGIC {
        return Err(Fault::malformed("no data descriptor where one should be"));
    }
    let crc = fields.u32();
    let mut size = || if wide { fields.u64() } else { fields.u32().into() };
    if (crc, size(), size()) != (entry.crc, entry.compressed, entry.size) {
        return Err(Fault::Disagreement { field: "size or checksum" });
    }
    Ok(())
}

/// Sums up what is read, and tells damaged data from a disk that fails.
struct Checked<R> {
    source: R,
    crc: Crc,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.source.read(buffer).map_err(|source| {
            let damaged = [io::ErrorKind::InvalidData, io::ErrorKind::InvalidInput];
            if damaged.contains(&source.kind()) {
                return Fault::Codec { codec: "deflate", source }.into();
            }
            source
        })?;
        self.crc.update(&buffer[..read]);
        Ok(read)
    }
}
