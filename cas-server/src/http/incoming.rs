//! Bodies that are received: small ones in memory, large ones piece by piece into the store.

use axum::body::Body;
use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use model::DigestFunction;
use store::{Cellar, Spool, StoreError};
use tokio::sync::OwnedSemaphorePermit;

use super::answer::text;
use super::blocking;
use super::refusal::Refusal;
use crate::Limits;
use crate::front::View;
use crate::limits::{MEMORY_BYTES_MAX, PIECE_BYTES, WAIT_MAX};
use crate::load::Memory;
use crate::unpacking::Unpacker;

/// How many times larger than what was sent a body may become when it is unpacked, if the operator allows that much.
/// Unlike a blob that gRPC clients send, a body does not say how large it will be.
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
    /// How large they may be.
    pub(super) limits: &'a Limits,
    /// By which functions they may be named.
    pub(super) functions: &'a [DigestFunction],
    /// How large a body may be that is handed out in memory, in bytes.
    pub(super) memory_bytes_max: usize,
    /// What may be held of the sender. What finds no room there goes to the disk.
    pub(super) memory: &'a Memory,
}

impl Intake<'_> {
    /// Returns the intake of bodies that nobody needs to look into.
    pub(super) fn new<'a>(view: &'a View, functions: &'a [DigestFunction]) -> Intake<'a> {
        let memory_bytes_max = usize::try_from(MEMORY_BYTES_MAX).expect("it is small");
        let (cellar, limits, memory) = (&*view.cellar, &*view.limits, &view.memory);
        Intake { cellar, limits, functions, memory_bytes_max, memory }
    }

    /// Receives a body, unpacked.
    pub(super) async fn receive(
        &self,
        headers: &HeaderMap,
        body: Body,
    ) -> Result<Received, Refusal> {
        let mut unpacker = match text(headers, &CONTENT_ENCODING).map(str::trim) {
            None => None,
            Some(plain) if is_plain(plain) => None,
            Some("zstd") => Some(unpacker()?),
            Some(other) => return Err(Refusal::Encoding(other.chars().take(32).collect())),
        };
        let mut frames = Frames::new(headers, body, self.limits.blob)?;
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

/// Returns whether a body with that encoding is sent as it is.
fn is_plain(encoding: &str) -> bool {
    matches!(encoding.trim(), "" | "identity")
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
        let times = sink.intake.limits.decompression_ratio.min(RATIO_MAX);
        if sink.size > FREE_BYTES.max(received.saturating_mul(times)) {
            return Err(Refusal::Bomb { times });
        }
    }
    Ok(())
}

/// Receives a body that nobody needs, because a blob of that size is here already. It is neither unpacked nor hashed, but one
/// of another length is refused: whoever sent it means something else.
pub(super) async fn discard(headers: &HeaderMap, body: Body, size: u64) -> Result<(), Refusal> {
    let is_packed = text(headers, &CONTENT_ENCODING).is_some_and(|it| !is_plain(it));
    let bytes_max = if is_packed { packed_bytes_max(size) } else { size };
    let too_long = |refusal| {
        let is_too_long = matches!(refusal, Refusal::TooLarge { .. });
        if is_too_long { Refusal::Mismatch } else { refusal }
    };
    let mut frames = Frames::new(headers, body, bytes_max).map_err(too_long)?;
    if !is_packed && frames.length.is_some_and(|length| length != size) {
        return Err(Refusal::Mismatch);
    }
    while frames.next().await.map_err(too_long)?.is_some() {}
    if is_packed || frames.received == size { Ok(()) } else { Err(Refusal::Mismatch) }
}

/// Returns how long the packed form of so many bytes may be: zstd needs 4 bytes in 1,000 more at worst, and writers may
/// begin many frames.
fn packed_bytes_max(size: u64) -> u64 {
    size.saturating_add(size / 64).saturating_add(FREE_BYTES)
}

/// Receives a small body that is not kept.
pub(super) async fn read_small(
    view: &View,
    headers: &HeaderMap,
    body: Body,
    bytes_max: u64,
) -> Result<Bytes, Refusal> {
    let mut frames = Frames::new(headers, body, bytes_max)?;
    let mut bytes = BytesMut::new();
    while let Some(frame) = frames.next().await? {
        view.memory.hold(frame.len())?;
        bytes.extend_from_slice(&frame);
    }
    Ok(bytes.freeze())
}

/// A body as it comes.
struct Frames {
    body: Body,
    /// What was said of it.
    length: Option<u64>,
    received: u64,
    bytes_max: u64,
}

impl Frames {
    /// Returns the frames of a body. Nothing is asked of the sender yet, so what is refused here need not be sent.
    fn new(headers: &HeaderMap, body: Body, bytes_max: u64) -> Result<Self, Refusal> {
        let length = text(headers, &CONTENT_LENGTH).and_then(|it| it.parse::<u64>().ok());
        match length {
            Some(length) if length > bytes_max => Err(Refusal::TooLarge { bytes_max }),
            None if body.is_end_stream() => Err(Refusal::LengthUnknown),
            _ => Ok(Self { body, length, received: 0, bytes_max }),
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
            if self.received > self.bytes_max {
                return Err(Refusal::TooLarge { bytes_max: self.bytes_max });
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
        let bytes_max = self.intake.limits.blob;
        if self.size > bytes_max {
            return Err(Refusal::TooLarge { bytes_max });
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
        let Some(more) = self.intake.memory.take_spare(piece.len()) else { return false };
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use testkit::MemoryStore;
    use tokio::sync::Semaphore;

    use super::*;
    use crate::observe::Observed;

    async fn receive(room: &Arc<Semaphore>, body: &[u8]) -> Received {
        let intake = Intake {
            cellar: &MemoryStore::new(),
            limits: &Limits::default(),
            functions: &[DigestFunction::Blake3],
            memory_bytes_max: usize::try_from(MEMORY_BYTES_MAX).unwrap(),
            memory: &Memory::new(Arc::clone(room), Observed::default()),
        };
        let body = Body::from(body.to_vec());
        intake.receive(&HeaderMap::new(), body).await.expect("it is a good body")
    }

    #[tokio::test]
    async fn what_finds_no_room_in_memory_goes_to_the_store() {
        let room = Arc::new(Semaphore::new(10));
        let first = receive(&room, b"12345678").await;
        assert!(matches!(&first, Received::Memory(held) if held.bytes == "12345678"));
        let second = receive(&room, b"12345678").await;
        let digest = model::Digest::of(DigestFunction::Blake3, b"12345678");
        assert!(matches!(&second, Received::Spooled(spool) if spool.digests() == [digest]));
        assert_eq!(room.available_permits(), 2);
        drop(first);
        assert_eq!(room.available_permits(), 10);
    }

    #[tokio::test]
    async fn large_bodies_hold_no_more_memory_than_small_ones() {
        let room = Arc::new(Semaphore::new(1 << 21));
        let large = vec![7; usize::try_from(MEMORY_BYTES_MAX).unwrap() + 1];
        let received = receive(&room, &large).await;
        assert!(matches!(received, Received::Spooled(_)));
        assert_eq!(room.available_permits(), 1 << 21);
    }
}
