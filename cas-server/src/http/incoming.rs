//! Bodies that are received: small ones in memory, large ones piece by piece into the store.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use model::DigestFunction;
use store::{Cellar, Spool, StoreError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::answer::text;
use super::content::blocking;
use super::packing::Unpacker;
use super::refusal::Refusal;
use crate::limits::{MEMORY_BYTES_MAX, PIECE_BYTES};

/// The largest body that is kept, in bytes: more than any layer, model or image that people have in caches.
pub(super) const BODY_BYTES_MAX: u64 = 64 << 30;

/// How many bytes of bodies are held in memory at once, all callers together. What finds no room goes to the disk.
pub(super) const HELD_BYTES_MAX: usize = 256 << 20;

/// For how long nothing of a body may come. A sender that is slower than that will not come to an end.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// How many times larger than what was sent a body may become when it is unpacked. Zeros can be packed 30,000 times.
const RATIO_MAX: u64 = 1000;

/// How much a body may unpack to whatever was sent, in bytes: this costs nobody anything.
const FREE_BYTES: u64 = 16 << 20;

/// A body that was received.
pub(super) enum Received {
    /// A small one, in memory.
    Memory(Held),
    /// A larger one, in the store, without a name yet.
    Spooled(Box<dyn Spool>),
}

/// Bytes that count as held as long as this is.
#[derive(Default)]
pub(super) struct Held {
    pub(super) bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

/// Receives bodies into a store.
pub(super) struct Intake<'a> {
    /// Where large ones go.
    pub(super) cellar: &'a dyn Cellar,
    /// By which functions they may be named.
    pub(super) functions: &'a [DigestFunction],
    /// How large a body may be that is handed out in memory, in bytes.
    pub(super) memory_bytes_max: usize,
    /// One permit for each byte that may be held.
    pub(super) room: &'a Arc<Semaphore>,
}

impl Intake<'_> {
    /// Returns the intake of bodies that nobody needs to look into.
    pub(super) fn new<'a>(
        cellar: &'a dyn Cellar,
        functions: &'a [DigestFunction],
        room: &'a Arc<Semaphore>,
    ) -> Intake<'a> {
        let memory_bytes_max = usize::try_from(MEMORY_BYTES_MAX).expect("it is small");
        Intake { cellar, functions, memory_bytes_max, room }
    }

    /// Receives a body, unpacked.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Received, Refusal> {
        let mut unpacker = match text(headers, &CONTENT_ENCODING).map(str::trim) {
            None | Some("" | "identity") => None,
            Some("zstd") => Some(unpacker()?),
            Some(other) => return Err(Refusal::Encoding(other.chars().take(32).collect())),
        };
        let mut frames = Frames::new(headers, body)?;
        let mut sink =
            Sink { intake: self, held: BytesMut::new(), room: None, spool: None, size: 0 };
        while let Some(frame) = frames.next().await? {
            match &mut unpacker {
                None => sink.take(frame).await?,
                Some(unpacker) => unpack(unpacker, frame, frames.received, &mut sink).await?,
            }
        }
        if let Some(unpacker) = unpacker {
            unpacker.finish().map_err(|source| Refusal::Packed { source })?;
        }
        sink.finish().await
    }
}

fn unpacker() -> Result<Unpacker, StoreError> {
    Unpacker::new().map_err(|source| StoreError::Input { source })
}

async fn unpack(
    unpacker: &mut Unpacker,
    mut packed: Bytes,
    received: u64,
    sink: &mut Sink<'_>,
) -> Result<(), Refusal> {
    while let Some(piece) =
        unpacker.unpack(&mut packed).map_err(|source| Refusal::Packed { source })?
    {
        sink.take(piece).await?;
        if sink.size > FREE_BYTES.max(received.saturating_mul(RATIO_MAX)) {
            return Err(Refusal::Bomb { times: RATIO_MAX });
        }
    }
    Ok(())
}

/// Receives a body that nobody needs.
pub(super) async fn discard(headers: &HeaderMap, body: Body) -> Result<(), Refusal> {
    let mut frames = Frames::new(headers, body)?;
    while frames.next().await?.is_some() {}
    Ok(())
}

/// Receives a small body that is not kept.
pub(super) async fn read_small(
    headers: &HeaderMap,
    body: Body,
    bytes_max: usize,
) -> Result<Bytes, Refusal> {
    let mut frames = Frames::new(headers, body)?;
    let mut bytes = BytesMut::new();
    while let Some(frame) = frames.next().await? {
        if bytes.len() + frame.len() > bytes_max {
            return Err(Refusal::TooLarge { bytes_max: bytes_max as u64 });
        }
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes.freeze())
}

/// A body as it comes.
struct Frames {
    body: Body,
    received: u64,
}

impl Frames {
    /// Returns the frames of a body. Nothing is asked of the sender yet, so what is refused here need not be sent.
    fn new(headers: &HeaderMap, body: Body) -> Result<Self, Refusal> {
        let length = text(headers, &CONTENT_LENGTH).and_then(|it| it.parse::<u64>().ok());
        match length {
            Some(length) if length > BODY_BYTES_MAX => {
                Err(Refusal::TooLarge { bytes_max: BODY_BYTES_MAX })
            }
            None if body.is_end_stream() => Err(Refusal::LengthUnknown),
            _ => Ok(Self { body, received: 0 }),
        }
    }

    async fn next(&mut self) -> Result<Option<Bytes>, Refusal> {
        loop {
            let Ok(frame) = tokio::time::timeout(WAIT_MAX, self.body.frame()).await else {
                return Err(Refusal::Slow { waited: WAIT_MAX });
            };
            let Some(frame) = frame else { return Ok(None) };
            let frame = frame.map_err(|source| Refusal::Interrupted { source })?;
            let Ok(bytes) = frame.into_data() else { continue };
            self.received += bytes.len() as u64;
            if self.received > BODY_BYTES_MAX {
                return Err(Refusal::TooLarge { bytes_max: BODY_BYTES_MAX });
            }
            return Ok(Some(bytes));
        }
    }
}

/// Where the bytes of a body go.
struct Sink<'a> {
    intake: &'a Intake<'a>,
    held: BytesMut,
    room: Option<OwnedSemaphorePermit>,
    spool: Option<Box<dyn Spool>>,
    size: u64,
}

impl Sink<'_> {
    async fn take(&mut self, piece: Bytes) -> Result<(), Refusal> {
        self.size += piece.len() as u64;
        if self.size > BODY_BYTES_MAX {
            return Err(Refusal::TooLarge { bytes_max: BODY_BYTES_MAX });
        }
        if self.hold(&piece) {
            return Ok(());
        }
        self.flush().await?;
        if self.hold(&piece) { Ok(()) } else { Ok(self.spool(piece).await?) }
    }

    /// Takes the piece into memory, if that may hold it.
    fn hold(&mut self, piece: &[u8]) -> bool {
        let limit = if self.spool.is_some() { PIECE_BYTES } else { self.intake.memory_bytes_max };
        if self.held.len() + piece.len() > limit {
            return false;
        }
        let count = u32::try_from(piece.len()).expect("it is below a small limit");
        let Ok(more) = Arc::clone(self.intake.room).try_acquire_many_owned(count) else {
            return false;
        };
        match &mut self.room {
            Some(room) => room.merge(more),
            None => self.room = Some(more),
        }
        self.held.extend_from_slice(piece);
        true
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        let held = self.held.split().freeze();
        self.spool(held).await?;
        self.room = None;
        Ok(())
    }

    async fn spool(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let mut spool = match self.spool.take() {
            Some(spool) => spool,
            None => self.intake.cellar.spool(self.intake.functions).await?,
        };
        let written = blocking(move || spool.write(piece).map(|()| spool)).await?;
        self.spool = Some(written);
        Ok(())
    }

    async fn finish(mut self) -> Result<Received, Refusal> {
        if self.spool.is_none() {
            let bytes = self.held.freeze();
            return Ok(Received::Memory(Held { bytes, _room: self.room }));
        }
        self.flush().await?;
        let spool = self.spool.expect("it was there, and writing keeps it");
        Ok(Received::Spooled(spool))
    }
}
