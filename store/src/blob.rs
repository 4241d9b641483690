//! The bytes of a blob, in memory or in a file.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use bytes::Bytes;

/// The bytes of a blob; a large one stays in its file.
#[derive(Debug)]
pub enum Blob {
    /// Bytes in memory.
    Bytes(Bytes),
    /// A file that is open for reading and never written again.
    File(File),
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
        }
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
