//! Records: what everything in the store is, and the names under which they are found.

use bytes::Bytes;
use model::{Digest, DigestFunction, HASH_BYTES};

use crate::ValueKey;

/// The largest payload of a record, in bytes: a value of [`VALUE_BYTES_MAX`](crate::VALUE_BYTES_MAX) with all that is said
/// of it, and the list of a hundred thousand chunks.
pub(super) const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// How many bytes a name has: its kind, and a hash.
pub(super) const NAME_BYTES: usize = 1 + HASH_BYTES;

/// How many bytes the header of a record has.
pub(super) const HEADER_BYTES: usize = 64;

/// What begins a header.
const MAGIC: [u8; 4] = *b"bldr";

/// What a record is found under: its kind (1 a blob under SHA-256, 2 one under BLAKE3, 3 a value) and a hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Name([u8; NAME_BYTES]);

/// A name before all others.
pub(super) const FIRST: Name = Name([0; NAME_BYTES]);

/// The first name that a value may have: values come after all blobs.
pub(super) const FIRST_VALUE: Name = {
    let mut bytes = [0; NAME_BYTES];
    bytes[0] = 3;
    Name(bytes)
};

impl Name {
    pub(super) fn of_blob(digest: &Digest) -> Self {
        let kind = match digest.function() {
            DigestFunction::Sha256 => 1,
            DigestFunction::Blake3 => 2,
        };
        Self::new(kind, digest.hash())
    }

    /// A value is found under the BLAKE3 hash of its namespace, space and key, each with its length before it.
    pub(super) fn of_value(key: &ValueKey) -> Self {
        let mut bytes = Vec::new();
        for part in [&key.namespace.to_string(), &key.space, &key.key] {
            bytes.extend_from_slice(&(part.len() as u64).to_le_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        Self::new(3, Digest::of(DigestFunction::Blake3, &bytes).hash())
    }

    fn new(kind: u8, hash: &[u8; HASH_BYTES]) -> Self {
        let mut bytes = [0; NAME_BYTES];
        bytes[0] = kind;
        bytes[1..].copy_from_slice(hash);
        Self(bytes)
    }

    /// Returns the name with these bytes, if there can be one.
    pub(super) fn from_bytes(bytes: [u8; NAME_BYTES]) -> Option<Self> {
        matches!(bytes[0], 1..=3).then_some(Self(bytes))
    }

    pub(super) fn bytes(&self) -> &[u8; NAME_BYTES] {
        &self.0
    }

    pub(super) fn is_value(&self) -> bool {
        self.0[0] == 3
    }

    /// Returns the digest that a blob of that many bytes has, or `None` for a value.
    pub(super) fn digest(&self, size: u64) -> Option<Digest> {
        let function = match self.0[0] {
            1 => DigestFunction::Sha256,
            2 => DigestFunction::Blake3,
            _ => return None,
        };
        let hash = self.0[1..].try_into().expect("a name is a kind and a hash");
        Some(Digest::from_parts(function, hash, size))
    }

    /// Returns the name as the name of a file: its kind and its hash.
    pub(super) fn file_name(&self) -> String {
        // A digest knows how to write a hash, of whichever function.
        let hash = self.0[1..].try_into().expect("a name is a kind and a hash");
        let digest = Digest::from_parts(DigestFunction::Blake3, hash, 0);
        format!("{}-{}", self.0[0], digest.hex())
    }
}

/// What the payload of a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    /// The bytes of the blob or value.
    Bytes = 1,
    /// What is known of the file that has the blob's bytes.
    File = 2,
    /// The chunks that the blob consists of.
    Manifest = 3,
    /// Nothing: what had that name is forgotten.
    Tombstone = 4,
    /// Nothing any more: the record was superseded before its segment was compressed.
    Dead = 5,
}

impl Form {
    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Bytes, Self::File, Self::Manifest, Self::Tombstone, Self::Dead]
            .into_iter()
            .find(|it| *it as u8 == byte)
    }
}

/// Where a record is: the how-many-th of which segment. It stays that when the segment is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) segment: u32,
    pub(super) ordinal: u32,
}

/// What the index knows of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) place: Place,
    pub(super) form: Form,
    /// Whether a larger blob was found to consist of it, among others.
    pub(super) is_chunk: bool,
    /// How many bytes the blob or value has.
    pub(super) size: u64,
}

impl Entry {
    /// Returns how many of its bytes are here, and not in the chunks that it consists of.
    pub(super) fn own_bytes(&self) -> u64 {
        if self.form == Form::Manifest { 0 } else { self.size }
    }
}

/// How many bytes an entry of the index has.
pub(super) const ENTRY_BYTES: usize = 16;

/// The bit beside the form of an entry that says that it is a chunk.
const CHUNK_BIT: u8 = 0x80;

/// The largest blob, in bytes: its size and its form share eight bytes of the index.
pub(super) const SIZE_MAX: u64 = (1 << 56) - 1;

impl Entry {
    pub(super) fn encode(&self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.place.segment.to_le_bytes());
        bytes[4..8].copy_from_slice(&self.place.ordinal.to_le_bytes());
        bytes[8..].copy_from_slice(&self.size.to_le_bytes());
        bytes[15] = self.form as u8 | if self.is_chunk { CHUNK_BIT } else { 0 };
        bytes
    }

    /// Returns the entry with these bytes, or `None` if they are none.
    pub(super) fn decode(bytes: &[u8; ENTRY_BYTES]) -> Option<Self> {
        let form = Form::from_byte(bytes[15] & !CHUNK_BIT)?;
        let place = Place { segment: read_u32(bytes, 0), ordinal: read_u32(bytes, 4) };
        let size = read_u64(bytes, 8) & SIZE_MAX;
        Some(Self { place, form, is_chunk: bytes[15] & CHUNK_BIT != 0, size })
    }
}

/// What is known of a record without its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) name: Name,
    pub(super) form: Form,
    /// How many bytes the blob or value has.
    pub(super) size: u64,
    /// How many bytes the payload has.
    pub(super) stored: u32,
    /// The CRC-32C of the payload.
    pub(super) crc: u32,
}

impl Header {
    /// Returns the header of a record with that payload.
    pub(super) fn new(name: Name, form: Form, size: u64, payload: &[u8]) -> Self {
        let stored = u32::try_from(payload.len()).expect("whoever makes a payload bounds it");
        Self { name, form, size, stored, crc: crc32c::crc32c(payload) }
    }

    /// Returns the header as it stands at `place`: it holds for no other.
    pub(super) fn encode(&self, place: Place) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&MAGIC);
        bytes[4..8].copy_from_slice(&place.ordinal.to_le_bytes());
        bytes[8] = self.form as u8;
        bytes[11..44].copy_from_slice(&self.name.0);
        bytes[44..52].copy_from_slice(&self.size.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.stored.to_le_bytes());
        bytes[56..60].copy_from_slice(&self.crc.to_le_bytes());
        let crc = crc32c::crc32c_append(place.segment, &bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Returns the header that stands at `place`, or `None` if none does.
    pub(super) fn decode(bytes: &[u8; HEADER_BYTES], place: Place) -> Option<Self> {
        let crc = crc32c::crc32c_append(place.segment, &bytes[..60]);
        let right = bytes[..4] == MAGIC && read_u32(bytes, 60) == crc;
        if !right || read_u32(bytes, 4) != place.ordinal {
            return None;
        }
        let name = bytes[11..44].try_into().expect("the length of a name");
        let (size, stored) = (read_u64(bytes, 44), read_u32(bytes, 52));
        if stored as usize > PAYLOAD_BYTES_MAX || size > SIZE_MAX {
            return None;
        }
        let (name, form) = (Name::from_bytes(name)?, Form::from_byte(bytes[8])?);
        Some(Self { name, form, size, stored, crc: read_u32(bytes, 56) })
    }

    /// Returns whether `payload` is what was written.
    pub(super) fn fits(&self, payload: &[u8]) -> bool {
        payload.len() == self.stored as usize && crc32c::crc32c(payload) == self.crc
    }
}

/// A record that is to be written.
#[derive(Clone, Debug)]
pub(super) struct Record {
    pub(super) header: Header,
    pub(super) payload: Bytes,
}

/// A record as it was read, not checked yet.
#[derive(Clone, Debug, Default)]
pub(super) struct Raw {
    /// Its header, if that is right.
    pub(super) header: Option<Header>,
    pub(super) payload: Bytes,
}

impl Raw {
    /// Returns the record if it is what was written.
    pub(super) fn checked(self) -> Option<Record> {
        let header = self.header.filter(|it| it.fits(&self.payload))?;
        Some(Record { header, payload: self.payload })
    }
}

impl Record {
    pub(super) fn new(name: Name, form: Form, size: u64, payload: Bytes) -> Self {
        Self { header: Header::new(name, form, size, &payload), payload }
    }

    /// Returns the record that says that the name stands for nothing any more.
    pub(super) fn tombstone(name: Name) -> Self {
        Self::new(name, Form::Tombstone, 0, Bytes::new())
    }
}

pub(super) fn read_u32(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

pub(super) fn read_u64(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}
