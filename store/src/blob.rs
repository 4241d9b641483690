//! The bytes of a blob, in memory or in a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use bytes::Bytes;

use crate::blocking::blocking;

/// The bytes of a blob; a large one stays in its file.
#[derive(Debug)]
pub enum Blob {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file that is open for reading and never written again.
    File(File),
    /// Bytes that can be had piece by piece from wherever they are.
    Ranged(Arc<dyn Ranged>),
}

/// Bytes that can be read anywhere, and are checked as they are read.
pub trait Ranged: std::fmt::Debug + Send + Sync {
    /// Returns how many bytes there are.
    fn size(&self) -> u64;
    /// Returns bytes from `offset` on: at most `count`, at least one unless the end is reached.
    /// What turns out to be corrupt is an error of kind `InvalidData`.
    /// Where it has to wait, the tasks of the runtime move to another thread meanwhile.
    fn read_at(&self, offset: u64, count: usize) -> std::io::Result<Bytes>;
}

/// How much a reader over ranges asks for at once, in bytes.
const PIECE_BYTES: usize = 1 << 20;

/// Reads ranges one after the other.
struct RangeReader {
    ranged: Arc<dyn Ranged>,
    offset: u64,
    piece: Bytes,
}

impl Read for RangeReader {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.piece.is_empty() {
            self.piece = self.ranged.read_at(self.offset, PIECE_BYTES)?;
            self.offset += self.piece.len() as u64;
        }
        let count = self.piece.len().min(buffer.len());
        buffer[..count].copy_from_slice(&self.piece.split_to(count));
        Ok(count)
    }
}

impl Blob {
    /// Returns the bytes, reading the file into memory if need be.
    pub fn into_bytes(self) -> std::io::Result<Bytes> {
        match self {
            Self::Bytes(bytes) => Ok(bytes),
            Self::File(mut file) => {
                let mut bytes = Vec::new();
                file.seek(SeekFrom::Start(0))?;
                file.read_to_end(&mut bytes)?;
                Ok(bytes.into())
            }
            Self::Ranged(_) => {
                let mut bytes = Vec::new();
                self.into_reader()?.read_to_end(&mut bytes)?;
                Ok(bytes.into())
            }
        }
    }

    /// Returns a reader from the first byte on.
    pub fn into_reader(self) -> std::io::Result<Box<dyn Read + Send>> {
        match self {
            Self::Bytes(bytes) => Ok(Box::new(std::io::Cursor::new(bytes))),
            Self::File(mut file) => {
                file.seek(SeekFrom::Start(0))?;
                Ok(Box::new(file))
            }
            Self::Ranged(ranged) => {
                Ok(Box::new(RangeReader { ranged, offset: 0, piece: Bytes::new() }))
            }
        }
    }
}

impl Blob {
    /// Returns the same bytes so that they can be read anywhere.
    pub fn into_ranged(self) -> std::io::Result<Arc<dyn Ranged>> {
        match self {
            Self::Bytes(bytes) => Ok(Arc::new(bytes)),
            Self::File(file) => {
                let size = file.metadata()?.len();
                Ok(Arc::new(WholeFile { file, size }))
            }
            Self::Ranged(ranged) => Ok(ranged),
        }
    }
}

impl Ranged for Bytes {
    fn size(&self) -> u64 {
        self.len() as u64
    }

    fn read_at(&self, offset: u64, count: usize) -> std::io::Result<Bytes> {
        let begin = usize::try_from(offset).map_or(self.len(), |it| it.min(self.len()));
        Ok(self.slice(begin..self.len().min(begin.saturating_add(count))))
    }
}

/// A file that is never written again.
#[derive(Debug)]
struct WholeFile {
    file: File,
    size: u64,
}

impl Ranged for WholeFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, count: usize) -> std::io::Result<Bytes> {
        let left = usize::try_from(self.size.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; count.min(left)];
        blocking(|| self.file.read_exact_at(&mut bytes, offset))?;
        Ok(bytes.into())
    }
}

impl From<Bytes> for Blob {
    fn from(bytes: Bytes) -> Self {
        Self::Bytes(bytes)
    }
}

impl From<Vec<u8>> for Blob {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes.into())
    }
}
