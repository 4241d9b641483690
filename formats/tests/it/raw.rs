//! Archives byte by byte, so that they can lie.

use flate2::Crc;

/// One tar entry: a header that can say anything, and what follows it.
#[derive(Clone)]
pub(crate) struct TarEntry {
    pub name: Vec<u8>,
    pub flag: u8,
    pub mode: &'static str,
    pub link: Vec<u8>,
    pub content: Vec<u8>,
    /// The size field, where it is not the size of the content.
    pub size: Option<Vec<u8>>,
    pub magic: [u8; 8],
    pub prefix: Vec<u8>,
}

pub(crate) fn entry(flag: u8, name: impl AsRef<[u8]>) -> TarEntry {
    TarEntry {
        name: name.as_ref().to_vec(),
        flag,
        mode: "0000644\0",
        link: Vec::new(),
        content: Vec::new(),
        size: None,
        magic: *b"ustar\x0000",
        prefix: Vec::new(),
    }
}

pub(crate) fn text(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> TarEntry {
    TarEntry { content: content.as_ref().to_vec(), ..entry(b'0', name) }
}

pub(crate) fn directory(name: impl AsRef<[u8]>) -> TarEntry {
    entry(b'5', name)
}

pub(crate) fn symlink(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> TarEntry {
    TarEntry { link: target.as_ref().to_vec(), ..entry(b'2', name) }
}

pub(crate) fn hard_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> TarEntry {
    TarEntry { link: target.as_ref().to_vec(), ..entry(b'1', name) }
}

/// A PAX header with these records.
pub(crate) fn pax(records: &[(&str, &str)]) -> TarEntry {
    let mut content = Vec::new();
    for (key, value) in records {
        let rest = format!(" {key}={value}\n");
        let mut length = rest.len() + 1;
        while length.to_string().len() + rest.len() != length {
            length += 1;
        }
        content.extend(format!("{length}{rest}").into_bytes());
    }
    TarEntry { content, ..entry(b'x', "PaxHeaders/x") }
}

impl TarEntry {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut block = [0; 512];
        let size =
            self.size.clone().unwrap_or_else(|| format!("{:011o}\0", self.content.len()).into());
        for (at, field) in [
            (0, &self.name[..]),
            (100, self.mode.as_bytes()),
            (124, &size),
            (156, &[self.flag]),
            (157, &self.link),
            (257, &self.magic),
            (345, &self.prefix),
        ] {
            block[at..at + field.len()].copy_from_slice(field);
        }
        sum(&mut block);
        let mut bytes = block.to_vec();
        bytes.extend(&self.content);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
        bytes
    }
}

/// Sets the checksum of a header.
pub(crate) fn sum(block: &mut [u8]) {
    block[148..156].fill(b' ');
    let sum: u32 = block.iter().map(|&byte| u32::from(byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

pub(crate) fn tar(entries: &[TarEntry]) -> Vec<u8> {
    let mut bytes: Vec<u8> = entries.iter().flat_map(TarEntry::bytes).collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

/// An ar archive of these members.
pub(crate) fn ar(members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes = b"!<arch>\n".to_vec();
    for (name, content) in members {
        let size = content.len();
        bytes.extend(
            format!("{name:<16}0           0     0     100644  {size:<10}`\n").into_bytes(),
        );
        bytes.extend(*content);
        if size % 2 == 1 {
            bytes.push(b'\n');
        }
    }
    bytes
}

/// A Debian package with this member as its data.
pub(crate) fn deb(data_name: &str, data: &[u8]) -> Vec<u8> {
    ar(&[("debian-binary", b"2.0\n"), ("control.tar", &tar(&[])), (data_name, data)])
}

/// One zip entry; what is `None` in the local header is as in the central directory.
#[derive(Clone)]
pub(crate) struct ZipEntry {
    pub name: Vec<u8>,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub data: Vec<u8>,
    pub size: u32,
    pub compressed: u32,
    pub host: u8,
    pub mode: u32,
    pub extra: Vec<u8>,
    pub offset: Option<u32>,
    pub local_name: Option<Vec<u8>>,
    pub local_crc: Option<u32>,
    pub local_size: Option<u32>,
    pub local_method: Option<u16>,
    pub local_flags: Option<u16>,
    pub descriptor: Vec<u8>,
}

pub(crate) fn stored(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> ZipEntry {
    let content = content.as_ref();
    let mut crc = Crc::new();
    crc.update(content);
    let size = u32::try_from(content.len()).unwrap();
    ZipEntry {
        name: name.as_ref().to_vec(),
        flags: 0,
        method: 0,
        crc: crc.sum(),
        data: content.to_vec(),
        size,
        compressed: size,
        host: 3,
        mode: 0o100_644,
        extra: Vec::new(),
        offset: None,
        local_name: None,
        local_crc: None,
        local_size: None,
        local_method: None,
        local_flags: None,
        descriptor: Vec::new(),
    }
}

pub(crate) fn deflated(name: impl AsRef<[u8]>, content: impl AsRef<[u8]>) -> ZipEntry {
    use std::io::Write as _;
    let entry = stored(name, &content);
    let mut encoder =
        flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(content.as_ref()).unwrap();
    let data = encoder.finish().unwrap();
    ZipEntry { method: 8, compressed: u32::try_from(data.len()).unwrap(), data, ..entry }
}

pub(crate) fn zip_link(name: impl AsRef<[u8]>, target: impl AsRef<[u8]>) -> ZipEntry {
    ZipEntry { mode: 0o120_777, ..stored(name, target) }
}

pub(crate) fn zip(entries: &[ZipEntry]) -> Vec<u8> {
    let (mut bytes, mut central) = (Vec::new(), Vec::new());
    for entry in entries {
        let offset = entry.offset.unwrap_or(u32::try_from(bytes.len()).unwrap());
        central.extend(b"PK\x01\x02\x14");
        central.push(entry.host);
        central.extend(20u16.to_le_bytes());
        central.extend(common(
            entry,
            entry.flags,
            entry.method,
            entry.crc,
            entry.size,
            &entry.name,
        ));
        // No comment, the first disk, no internal attributes.
        central.extend([0; 6]);
        central.extend((entry.mode << 16).to_le_bytes());
        central.extend(offset.to_le_bytes());
        central.extend(&entry.name);
        central.extend(&entry.extra);

        let name = entry.local_name.as_ref().unwrap_or(&entry.name);
        bytes.extend(b"PK\x03\x04");
        bytes.extend(20u16.to_le_bytes());
        bytes.extend(common(
            entry,
            entry.local_flags.unwrap_or(entry.flags),
            entry.local_method.unwrap_or(entry.method),
            entry.local_crc.unwrap_or(entry.crc),
            entry.local_size.unwrap_or(entry.size),
            name,
        ));
        bytes.extend(name);
        bytes.extend(&entry.extra);
        bytes.extend(&entry.data);
        bytes.extend(&entry.descriptor);
    }
    let offset = u32::try_from(bytes.len()).unwrap();
    let count = u16::try_from(entries.len()).unwrap();
    bytes.extend(&central);
    bytes.extend(b"PK\x05\x06\0\0\0\0");
    bytes.extend(count.to_le_bytes());
    bytes.extend(count.to_le_bytes());
    bytes.extend(u32::try_from(central.len()).unwrap().to_le_bytes());
    bytes.extend(offset.to_le_bytes());
    bytes.extend([0, 0]);
    bytes
}

/// What local headers and the central directory have in common, from the flags to the lengths.
fn common(entry: &ZipEntry, flags: u16, method: u16, crc: u32, size: u32, name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(flags.to_le_bytes());
    bytes.extend(method.to_le_bytes());
    bytes.extend([0, 0, 0x21, 0]);
    bytes.extend(crc.to_le_bytes());
    bytes.extend(entry.compressed.to_le_bytes());
    bytes.extend(size.to_le_bytes());
    bytes.extend(u16::try_from(name.len()).unwrap().to_le_bytes());
    bytes.extend(u16::try_from(entry.extra.len()).unwrap().to_le_bytes());
    bytes
}
