//! A large blob of a remote, as a blob like any other: it comes while it is read.

use std::fmt;
use std::io;
use std::sync::Mutex;

use bytes::Bytes;
use model::{Digest, Hasher};
use tokio::runtime::Handle;

use super::Download;
use crate::remote::RemoteError;
use crate::{Ranged, StoreError};

/// Whoever reads it from its beginning to its end is told whether it is what its digest says.
pub(crate) struct RemoteBlob {
    digest: Digest,
    runtime: Handle,
    reading: Mutex<Reading>,
}

struct Reading {
    download: Download,
    /// What has come and was not asked for yet.
    rest: Bytes,
    /// Where that begins.
    offset: u64,
    /// What hashes all that was read so far, if that was all from the beginning.
    hasher: Option<Hasher>,
}

impl Reading {
    fn seek(&mut self, offset: u64) {
        self.download.seek(offset);
        (self.rest, self.offset, self.hasher) = (Bytes::new(), offset, None);
    }
}

impl RemoteBlob {
    /// Returns the blob whose download has begun.
    pub(crate) fn new(digest: Digest, download: Download) -> Self {
        let hasher = Some(Hasher::new(digest.function()));
        let reading = Reading { download, rest: Bytes::new(), offset: 0, hasher };
        Self { digest, runtime: Handle::current(), reading: Mutex::new(reading) }
    }

    async fn read(&self, offset: u64, count: usize, reading: &mut Reading) -> io::Result<Bytes> {
        if reading.offset != offset {
            reading.seek(offset);
        }
        if reading.rest.is_empty() {
            match reading.download.next().await.map_err(failed)? {
                Some(piece) => reading.rest = piece,
                None => return self.check(reading),
            }
        }
        let piece = reading.rest.split_to(count.min(reading.rest.len()));
        reading.offset += piece.len() as u64;
        if let Some(hasher) = &mut reading.hasher {
            hasher.update(&piece);
        }
        Ok(piece)
    }

    /// Ends reading: nothing is left.
    fn check(&self, reading: &mut Reading) -> io::Result<Bytes> {
        match reading.hasher.take().map(Hasher::finish) {
            Some(found) if found != self.digest => {
                let error = StoreError::Mismatch { expected: self.digest, found };
                Err(io::Error::new(io::ErrorKind::InvalidData, error))
            }
            Some(_) | None => Ok(Bytes::new()),
        }
    }
}

fn failed(error: RemoteError) -> io::Error {
    io::Error::other(error)
}

impl fmt::Debug for RemoteBlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RemoteBlob").field(&self.digest).finish()
    }
}

impl Ranged for RemoteBlob {
    fn size(&self) -> u64 {
        self.digest.size()
    }

    fn read_at(&self, offset: u64, count: usize) -> io::Result<Bytes> {
        let mut reading = self.reading.lock().expect("no holder panics");
        tokio::task::block_in_place(|| {
            self.runtime.block_on(self.read(offset, count, &mut reading))
        })
    }
}
