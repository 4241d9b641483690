//! One blob that comes piece by piece.

use std::sync::Arc;

use bytes::Bytes;
use model::Digest;
use tokio::sync::OwnedSemaphorePermit;
use tonic::{Code, Status};

use super::name::{self, Packing};
use super::packing::Unpacker;
use super::remote::{self, Pieces};
use crate::remote::connection::{Connection, Patience};
use crate::remote::{Purpose, RemoteError};

/// What is said of reading, where it fails.
const VERB: &str = "read from";

/// A blob that comes piece by piece; where that breaks off it goes on from there.
pub(crate) struct Download {
    connection: Arc<Connection>,
    purpose: Option<Purpose>,
    digest: Digest,
    packing: Packing,
    /// How many of its bytes have come, those before where it was told to go on among them.
    received: u64,
    patience: Patience,
    open: Option<Open>,
}

/// A stream that pieces come from.
struct Open {
    pieces: Pieces,
    unpacker: Option<Unpacker>,
    _permit: OwnedSemaphorePermit,
}

impl Download {
    /// Begins to read a blob from its beginning; `None` if it is not there.
    pub(crate) async fn begin(
        connection: &Arc<Connection>,
        purpose: Option<Purpose>,
        digest: Digest,
        is_packed: bool,
    ) -> Result<Option<Self>, RemoteError> {
        let mut download = Self {
            connection: Arc::clone(connection),
            purpose,
            digest,
            packing: if is_packed { Packing::Zstd } else { Packing::Plain },
            received: 0,
            patience: Patience::new(connection.retry),
            open: None,
        };
        loop {
            match download.open().await? {
                Ok(()) => return Ok(Some(download)),
                Err(status) if status.code() == Code::NotFound => return Ok(None),
                Err(status) => download.pause(status).await?,
            }
        }
    }

    /// Goes on at another offset. What is under way ends before anything else begins: where as many downloads as may be
    /// under way do so at once, each would wait for the others.
    pub(crate) fn seek(&mut self, offset: u64) {
        self.open = None;
        self.received = offset;
        self.patience = Patience::new(self.connection.retry);
    }

    /// Returns the next piece, or `None` once all have come. There are never more bytes than its digest says.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, RemoteError> {
        loop {
            let status = match self.step().await? {
                Ok(Some(piece)) => {
                    self.received += piece.len() as u64;
                    if self.received > self.digest.size() {
                        return Err(self
                            .connection
                            .senseless("a blob has more bytes than its size"));
                    }
                    self.patience.pauses.restart();
                    return Ok(Some(piece));
                }
                Ok(None) if self.received == self.digest.size() => return Ok(None),
                Ok(None) => Status::unavailable("a stream ended before its blob did"),
                Err(status) => status,
            };
            self.open = None;
            self.pause(status).await?;
        }
    }

    /// Returns the next piece of the stream, which is opened again if need be.
    async fn step(&mut self) -> Result<Result<Option<Bytes>, Status>, RemoteError> {
        if self.open.is_none()
            && let Err(status) = self.open().await?
        {
            return Ok(Err(status));
        }
        let open = self.open.as_mut().expect("it was opened");
        loop {
            if let Some(unpacker) = &mut open.unpacker {
                match unpacker.take() {
                    Ok(Some(piece)) => return Ok(Ok(Some(piece))),
                    Ok(None) => {}
                    Err(_) => {
                        let why = "a compressed blob cannot be decompressed";
                        return Err(self.connection.senseless(why));
                    }
                }
            }
            let silence_max = self.connection.retry.silence_max;
            let piece = match tokio::time::timeout(silence_max, open.pieces.next()).await {
                Ok(Ok(Some(piece))) => piece,
                Ok(Ok(None)) => return Ok(Ok(None)),
                Ok(Err(status)) => return Ok(Err(status)),
                Err(_elapsed) => return Ok(Err(Status::deadline_exceeded(""))),
            };
            match &mut open.unpacker {
                Some(unpacker) => unpacker.put(piece),
                // Some servers say now and then that they are still there.
                None if piece.is_empty() => {}
                None => return Ok(Ok(Some(piece))),
            }
        }
    }

    async fn open(&mut self) -> Result<Result<(), Status>, RemoteError> {
        let unpacker = match self.packing {
            Packing::Plain => None,
            Packing::Zstd => {
                let failed = |_| self.connection.senseless("there is no memory to decompress it");
                Some(Unpacker::new().map_err(failed)?)
            }
        };
        let name = name::to_read(&self.connection.instance, self.packing, self.digest);
        let call = self.connection.begin(self.purpose.as_ref(), &mut self.patience).await?;
        let begun = remote::read(&call, name, self.received);
        let opened = tokio::time::timeout(self.connection.retry.silence_max, begun).await;
        Ok(match opened {
            Ok(Ok(pieces)) => {
                self.open = Some(Open { pieces, unpacker, _permit: call.into_permit() });
                Ok(())
            }
            Ok(Err(status)) => Err(status),
            Err(_elapsed) => Err(Status::deadline_exceeded("")),
        })
    }

    async fn pause(&mut self, status: Status) -> Result<(), RemoteError> {
        self.connection.pause(VERB, &mut self.patience, status).await
    }
}
