//! Large blobs: files of their own beside the segments, each with a record that has their checksums.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use bytes::Bytes;

use super::core::Core;
use super::files::{Files, StoreFile};
use super::quarantine::{is_damage, or_nothing};
use super::record::{Entry, Header, Name, read_u32, read_u64};
use crate::{Blob, Ranged, StoreError};

/// The largest blob that is a record, in bytes: the largest chunk. What is larger is a file until it is cut into chunks.
pub(super) const RECORD_BLOB_BYTES_MAX: u64 = 2 << 20;

/// How many bytes of a file have a checksum together: what is read is still in the processor's cache when it is checked and
/// sent, and a record has room for the checksums of half a tebibyte.
pub(super) const PIECE_BYTES: usize = 256 << 10;

/// The folder of the files.
pub(super) const FOLDER: &str = "large";

/// What the payload of a record says of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LargeFile {
    /// No two files have the same one, whatever blob they hold: what is removed later is what was meant.
    pub(super) number: u64,
    /// The CRC-32C of each piece.
    pub(super) crcs: Vec<u32>,
}

impl LargeFile {
    pub(super) fn encode(&self) -> Bytes {
        let crcs = self.crcs.iter().flat_map(|it| it.to_le_bytes());
        self.number.to_le_bytes().into_iter().chain(crcs).collect()
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let crcs = bytes.get(8..)?.chunks_exact(4).map(|it| read_u32(it, 0)).collect();
        Some(Self { number: read_u64(bytes, 0), crcs })
    }
}

/// Returns the path of a file.
pub(super) fn path(name: &Name, number: u64) -> PathBuf {
    let file = name.file_name();
    Path::new(FOLDER).join(&file[2..4]).join(format!("{file}.{number:x}"))
}

/// Returns which blob's file has that name, and its number.
fn parse(file: &str) -> Option<(Name, u64)> {
    let (name, number) = file.split_once('.')?;
    let (kind, hash) = name.split_once('-')?;
    let mut bytes = [0; super::record::NAME_BYTES];
    bytes[0] = kind.parse().ok()?;
    if hash.len() != 2 * (bytes.len() - 1) || !hash.is_ascii() {
        return None;
    }
    for (byte, at) in bytes[1..].iter_mut().zip((0..).step_by(2)) {
        *byte = u8::from_str_radix(&hash[at..at + 2], 16).ok()?;
    }
    let name = Name::from_bytes(bytes)?;
    let number = u64::from_str_radix(number, 16).ok()?;
    (path(&name, number).file_name()?.to_str()? == file).then_some((name, number))
}

/// A file that is there.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) path: PathBuf,
    pub(super) name: Name,
    pub(super) number: u64,
}

/// Returns all files.
pub(super) fn list(files: &Files) -> Result<Vec<Found>, StoreError> {
    let mut found = Vec::new();
    for folder in files.list(Path::new(FOLDER))? {
        let folder = Path::new(FOLDER).join(folder);
        // What is none here is a stranger's.
        let names = if files.is_folder(&folder)? { files.list(&folder)? } else { Vec::new() };
        let parsed = names.iter().filter_map(|file| {
            let (name, number) = parse(file)?;
            Some(Found { path: folder.join(file), name, number })
        });
        found.extend(parsed);
    }
    Ok(found)
}

impl Core {
    /// Returns whether the file that a record stands for is there, and what it should be.
    pub(super) fn has_whole_file(
        &self,
        header: &Header,
        payload: &[u8],
    ) -> Result<bool, StoreError> {
        let Some(large) = LargeFile::decode(payload) else { return Ok(false) };
        let file = self.files.open(&path(&header.name, large.number))?;
        let Some(file) = file.filter(|it| it.len().is_ok_and(|it| it == header.size)) else {
            return Ok(false);
        };
        let (mut piece, mut at) = (vec![0; PIECE_BYTES], 0);
        for crc in &large.crcs {
            let count = (header.size - at).min(PIECE_BYTES as u64);
            let piece = &mut piece[..usize::try_from(count).expect("a piece fits into memory")];
            let is_read = or_nothing(file.read_at(at, piece).map(|()| true))?;
            if !is_read || crc32c::crc32c(piece) != *crc {
                return Ok(false);
            }
            at += count;
        }
        Ok(at == header.size)
    }

    /// Opens the file of a large blob, or returns `None` if it is not there.
    pub(super) fn open_large(
        self: &Arc<Self>,
        name: Name,
        entry: Entry,
    ) -> Result<Option<Blob>, StoreError> {
        let Some(payload) = self.payload(name, entry)? else { return Ok(None) };
        let Some(large) = LargeFile::decode(&payload) else { return Ok(None) };
        let Some(file) = self.files.open(&path(&name, large.number))? else {
            self.take_away(name, entry, &[])?;
            return Ok(None);
        };
        let (core, last) = (Arc::clone(self), Mutex::new(None));
        Ok(Some(Blob::Ranged(Arc::new(LargeBlob { core, name, entry, file, large, last }))))
    }
}

/// A large blob that is open for reading. Whatever becomes of its record, the file stays as long as this does.
#[derive(Debug)]
struct LargeBlob {
    core: Arc<Core>,
    name: Name,
    entry: Entry,
    file: StoreFile,
    large: LargeFile,
    /// The piece that was read last: who reads in small steps comes back for the rest of it.
    last: Mutex<Option<(usize, Bytes)>>,
}

impl LargeBlob {
    fn piece(&self, number: usize) -> io::Result<Bytes> {
        let mut last = self.last.lock().expect("no holder panics");
        if let Some((_, piece)) = last.as_ref().filter(|(it, _)| *it == number) {
            return Ok(piece.clone());
        }
        let from = number as u64 * PIECE_BYTES as u64;
        let count = (self.entry.size - from).min(PIECE_BYTES as u64);
        let mut piece = vec![0; usize::try_from(count).expect("a piece fits into memory")];
        match self.file.read_at(from, &mut piece) {
            Err(error) if !is_damage(&error) => return Err(io::Error::other(error)),
            read => {
                let crc = self.large.crcs.get(number).copied();
                if read.is_err() || crc != Some(crc32c::crc32c(&piece)) {
                    let away = self.core.take_away(self.name, self.entry, &piece);
                    let error = away.err().map(io::Error::other);
                    return Err(error.unwrap_or_else(|| io::ErrorKind::InvalidData.into()));
                }
            }
        }
        let piece = Bytes::from(piece);
        *last = Some((number, piece.clone()));
        Ok(piece)
    }
}

impl Ranged for LargeBlob {
    fn size(&self) -> u64 {
        self.entry.size
    }

    fn read_at(&self, offset: u64, count: usize) -> io::Result<Bytes> {
        if offset >= self.entry.size {
            return Ok(Bytes::new());
        }
        let number = usize::try_from(offset / PIECE_BYTES as u64).map_err(io::Error::other)?;
        let piece = self.piece(number)?;
        let from = usize::try_from(offset % PIECE_BYTES as u64).expect("less than a piece");
        Ok(piece.slice(from..piece.len().min(from.saturating_add(count))))
    }
}
