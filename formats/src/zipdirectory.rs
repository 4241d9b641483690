//! The central directory of a zip archive: what it holds, and where.

use std::io::{Read, Seek, SeekFrom};

use crate::Fault;
use crate::assembly::Assembly;

const END_MAGIC: &[u8; 4] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const END64_MAGIC: &[u8; 4] = b"PK\x06\x06";
const END64_BYTES: usize = 56;
const LOCATOR_MAGIC: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
const CENTRAL_MAGIC: &[u8; 4] = b"PK\x01\x02";
const CENTRAL_BYTES: usize = 46;
/// The end record can be followed by a comment of so many bytes.
const COMMENT_BYTES_MAX: usize = 0xffff;

const FLAG_ENCRYPTED: u16 = 1 << 0;
const FLAG_STRONGLY_ENCRYPTED: u16 = 1 << 6;
const FLAG_DIRECTORY_ENCRYPTED: u16 = 1 << 13;
/// How hard the writer tried: no reader cares, and not every writer says it in both places.
const FLAGS_EFFORT: u16 = 3 << 1;
const FLAG_DESCRIPTOR: u16 = 1 << 3;
const FLAG_UTF8: u16 = 1 << 11;

const EXTRA_ZIP64: u16 = 0x0001;
const EXTRA_UNICODE_PATH: u16 = 0x7075;

/// The systems whose archivers put a Unix mode into the upper half of the attributes: Unix and macOS.
const UNIX_HOSTS: [u8; 2] = [3, 19];
const MODE_TYPE: u32 = 0o170_000;
const MODE_FILE: u32 = 0o100_000;
const MODE_DIRECTORY: u32 = 0o040_000;
const MODE_SYMLINK: u32 = 0o120_000;
const MODE_OWNER_EXECUTES: u32 = 0o100;

/// Where the entries are.
pub(crate) struct CentralDirectory {
    /// Where the directory starts, and the entries end.
    pub offset: u64,
    /// The entries in the order in which they stand in the archive.
    pub entries: Vec<Central>,
}

/// How an entry is compressed.
#[derive(Clone, Copy)]
pub(crate) enum Method {
    Stored,
    Deflate,
}

/// What an entry is.
#[derive(Clone, Copy)]
pub(crate) enum Content {
    Directory,
    File { executable: bool },
    Symlink,
}

/// What the central directory says of an entry.
pub(crate) struct Central {
    pub name: Vec<u8>,
    pub flags: u16,
    pub raw_method: u16,
    pub method: Method,
    pub crc: u32,
    pub compressed: u64,
    pub size: u64,
    pub offset: u64,
    mode: Option<u32>,
}

impl Central {
    /// Returns whether checksum and sizes follow the entry.
    pub(crate) fn has_descriptor(&self) -> bool {
        self.flags & FLAG_DESCRIPTOR != 0
    }

    /// Returns what the entry is: its mode says it, or else the slash at the end of its name.
    pub(crate) fn content(&self, slash: bool) -> Result<Content, Fault> {
        let mode = self.mode.unwrap_or_default();
        let executable = mode & MODE_OWNER_EXECUTES != 0;
        let content = match mode & MODE_TYPE {
            0 if slash => Content::Directory,
            MODE_DIRECTORY => Content::Directory,
            0 | MODE_FILE => Content::File { executable },
            MODE_SYMLINK => Content::Symlink,
            _ => return Err(Fault::Special { kind: "a device, pipe or socket" }),
        };
        if slash != matches!(content, Content::Directory) {
            return Err(Fault::malformed(
                "its mode and the end of its name disagree about a directory",
            ));
        }
        if slash && self.size > 0 {
            return Err(Fault::malformed("a directory has a size"));
        }
        Ok(content)
    }
}

/// Returns the flags that local header and central directory must agree about.
pub(crate) fn significant(flags: u16) -> u16 {
    flags & !FLAGS_EFFORT
}

/// Reads the directory at the end of an archive; it must end with the file.
pub(crate) fn read(
    reader: &mut (impl Read + Seek),
    assembly: &mut Assembly<'_>,
) -> Result<CentralDirectory, Fault> {
    let end = End::find(reader)?;
    let limits = *assembly.limits();
    if end.entries > limits.entries {
        return Err(Fault::limit("entries", limits.entries));
    }
    reader.seek(SeekFrom::Start(end.offset))?;
    let mut reader = reader.take(end.size);
    let mut entries = Vec::new();
    let (mut names_bytes, mut total, mut compressed) = (0u64, 0u64, 0u64);
    for _ in 0..end.entries {
        let entry = read_central(&mut reader, assembly)?;
        names_bytes += entry.name.len() as u64;
        if names_bytes > limits.names_bytes {
            return Err(Fault::limit("bytes in all names", limits.names_bytes));
        }
        total = total.saturating_add(entry.size);
        compressed = compressed.saturating_add(entry.compressed);
        if total > limits.unpacked_bytes {
            return Err(Fault::limit("unpacked bytes", limits.unpacked_bytes));
        }
        if total > limits.ratio_free_bytes && total > limits.ratio.saturating_mul(compressed) {
            return Err(Fault::limit("times the compressed size", limits.ratio));
        }
        entries.push(entry);
        assembly.note_nothing();
    }
    if reader.limit() > 0 {
        return Err(Fault::malformed("the central directory has more entries than it says"));
    }
    entries.sort_by_key(|entry| entry.offset);
    Ok(CentralDirectory { offset: end.offset, entries })
}

fn read_central(reader: &mut impl Read, assembly: &mut Assembly<'_>) -> Result<Central, Fault> {
    let mut fixed = [0; CENTRAL_BYTES];
    reader.read_exact(&mut fixed)?;
    let mut fields = Fields::new(&fixed);
    if fields.bytes() != *CENTRAL_MAGIC {
        return Err(Fault::malformed("the central directory has fewer entries than it says"));
    }
    let [_version, host] = fields.bytes();
    let _version_needed = fields.u16();
    let (flags, raw_method) = (fields.u16(), fields.u16());
    let _time = fields.u32();
    let (crc, compressed, size) = (fields.u32(), fields.u32(), fields.u32());
    let (name_bytes, extra_bytes, comment_bytes) = (fields.u16(), fields.u16(), fields.u16());
    let disk = fields.u16();
    let _internal = fields.u16();
    let (attributes, offset) = (fields.u32(), fields.u32());

    let name = read_vec(reader, name_bytes)?;
    assembly.note(&name);
    let extra = read_vec(reader, extra_bytes)?;
    let _comment = read_vec(reader, comment_bytes)?;
    let mut wide = [size, compressed, offset].map(u64::from);
    read_extra(&extra, &name, &mut wide)?;
    let [size, compressed, offset] = wide;
    if disk != 0 {
        return Err(Fault::malformed("it lies on another disk"));
    }
    check_flags(flags, host, &name)?;
    let method = match raw_method {
        0 if size == compressed => Method::Stored,
        0 => return Err(Fault::malformed("it is stored and has two sizes")),
        8 => Method::Deflate,
        other => return Err(Fault::Method(other)),
    };
    let mode = UNIX_HOSTS.contains(&host).then_some(attributes >> 16);
    Ok(Central { name, flags, raw_method, method, crc, compressed, size, offset, mode })
}

fn check_flags(flags: u16, host: u8, name: &[u8]) -> Result<(), Fault> {
    if flags & (FLAG_ENCRYPTED | FLAG_STRONGLY_ENCRYPTED | FLAG_DIRECTORY_ENCRYPTED) != 0 {
        return Err(Fault::Encrypted);
    }
    if flags & !(FLAGS_EFFORT | FLAG_DESCRIPTOR | FLAG_UTF8) != 0 {
        return Err(Fault::malformed("it has flags that are not known"));
    }
    // Without the flag the name is in the code page of some machine; on Unix there is none, only bytes.
    if flags & FLAG_UTF8 == 0 && !name.is_ascii() && !UNIX_HOSTS.contains(&host) {
        return Err(Fault::malformed("the name is neither ASCII nor marked as UTF-8"));
    }
    Ok(())
}

fn read_vec(reader: &mut impl Read, length: u16) -> Result<Vec<u8>, Fault> {
    let mut bytes = vec![0; length.into()];
    reader.read_exact(&mut bytes)?;
    Ok(bytes)
}

/// Reads extra fields: those of `values` that are too large for their places stand there in order.
pub(crate) fn read_extra(extra: &[u8], name: &[u8], values: &mut [u64]) -> Result<(), Fault> {
    let malformed = || Fault::malformed("its extra fields are not well formed");
    let mut rest = extra;
    let mut widened = false;
    while !rest.is_empty() {
        let (head, tail) = rest.split_at_checked(4).ok_or_else(malformed)?;
        let mut fields = Fields::new(head);
        let (id, length) = (fields.u16(), fields.u16());
        let (data, tail) = tail.split_at_checked(length.into()).ok_or_else(malformed)?;
        match id {
            EXTRA_ZIP64 if std::mem::replace(&mut widened, true) => return Err(malformed()),
            EXTRA_ZIP64 => widen(data, values).ok_or_else(malformed)?,
            // Version and checksum of the other name stand before this one.
            EXTRA_UNICODE_PATH if data.get(5..) != Some(name) => {
                return Err(Fault::Disagreement { field: "name" });
            }
            _ => {}
        }
        rest = tail;
    }
    Ok(())
}

fn widen(data: &[u8], values: &mut [u64]) -> Option<()> {
    let mut words = data.chunks_exact(8);
    for value in values.iter_mut().filter(|value| **value == u64::from(u32::MAX)) {
        *value = u64::from_le_bytes(words.next()?.try_into().ok()?);
    }
    Some(())
}

/// What the record at the very end says.
struct End {
    entries: u64,
    size: u64,
    offset: u64,
}

impl End {
    fn find(reader: &mut (impl Read + Seek)) -> Result<Self, Fault> {
        let length = reader.seek(SeekFrom::End(0))?;
        let tail_bytes = (END_BYTES + COMMENT_BYTES_MAX) as u64;
        let start = length.saturating_sub(tail_bytes);
        reader.seek(SeekFrom::Start(start))?;
        let mut tail = Vec::new();
        reader.take(tail_bytes).read_to_end(&mut tail)?;

        // A comment that looks like another end would give the archive a second meaning.
        let mut ends = (0..tail.len()).filter(|&at| is_end(&tail[at..]));
        let at = ends
            .next()
            .ok_or(Fault::malformed("no end of a zip archive at the end of the file"))?;
        if ends.next().is_some() {
            return Err(Fault::malformed("the zip archive has two ends"));
        }
        let position = start + at as u64;
        let mut fields = Fields::new(&tail[at + 4..]);
        let (disk, directory_disk) = (fields.u16(), fields.u16());
        let (entries_here, entries) = (fields.u16(), fields.u16());
        let (size, offset) = (fields.u32(), fields.u32());
        if (disk, directory_disk) != (0, 0) || entries_here != entries {
            return Err(Fault::malformed("the zip archive has several disks"));
        }
        let plain = Self { entries: entries.into(), size: size.into(), offset: offset.into() };
        if plain.ends_at(position) {
            return Ok(plain);
        }
        plain.widen(reader, position)
    }

    fn ends_at(&self, position: u64) -> bool {
        self.offset.checked_add(self.size) == Some(position)
    }

    /// Reads the wide record that stands before the end record at `position`.
    fn widen(&self, reader: &mut (impl Read + Seek), position: u64) -> Result<Self, Fault> {
        let at =
            position.checked_sub((LOCATOR_BYTES + END64_BYTES) as u64).ok_or(Fault::Unclaimed)?;
        reader.seek(SeekFrom::Start(at))?;
        let mut bytes = [0; END64_BYTES + LOCATOR_BYTES];
        reader.read_exact(&mut bytes)?;
        let mut fields = Fields::new(&bytes);
        let magic = fields.bytes();
        let record_bytes = fields.u64();
        let _versions = fields.u32();
        let disks = (fields.u32(), fields.u32());
        let (entries_here, entries) = (fields.u64(), fields.u64());
        let (size, offset) = (fields.u64(), fields.u64());
        let locator_magic = fields.bytes();
        let (locator_disk, locator_offset, locator_disks) =
            (fields.u32(), fields.u64(), fields.u32());
        let wide = Self { entries, size, offset };
        let agrees = |narrow: u64, max: u64, wide: u64| narrow == wide || narrow == max;
        let fits = magic == *END64_MAGIC
            && locator_magic == *LOCATOR_MAGIC
            && record_bytes == END64_BYTES as u64 - 12
            && disks == (0, 0)
            && (locator_disk, locator_offset) == (0, at)
            && locator_disks <= 1
            && entries_here == entries
            && agrees(self.entries, u16::MAX.into(), entries)
            && agrees(self.size, u32::MAX.into(), size)
            && agrees(self.offset, u32::MAX.into(), offset)
            && wide.ends_at(at);
        if fits { Ok(wide) } else { Err(Fault::Unclaimed) }
    }
}

fn is_end(bytes: &[u8]) -> bool {
    let Some((record, comment)) = bytes.split_at_checked(END_BYTES) else {
        return false;
    };
    record.starts_with(END_MAGIC)
        && comment.len() == usize::from(u16::from_le_bytes([record[20], record[21]]))
}

/// Reads numbers, low byte first, from bytes that are known to be enough.
pub(crate) struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes<const N: usize>(&mut self) -> [u8; N] {
        let (bytes, rest) = self.0.split_first_chunk().expect("a record was read whole");
        self.0 = rest;
        *bytes
    }

    pub(crate) fn u16(&mut self) -> u16 {
        u16::from_le_bytes(self.bytes())
    }

    pub(crate) fn u32(&mut self) -> u32 {
        u32::from_le_bytes(self.bytes())
    }

    pub(crate) fn u64(&mut self) -> u64 {
        u64::from_le_bytes(self.bytes())
    }
}
