//! Large blobs, piece by piece; never one as a whole.

use std::future::poll_fn;
use std::rc::Rc;

use bytes::Bytes;
use h2::SendStream;

use super::channel::{Channel, Method};
use super::drive::Work;
use super::error::CallError;
use super::pieces::Pieces;
use super::pool::Pool;
use super::remote::{self, Dialect};

/// How much of a blob a message carries, in bytes: a multiple of a block, and a fraction of what a server takes at once.
pub(super) const PIECE_BYTES: u64 = 256 << 10;

/// Sends a large blob with each call.
pub(super) struct Upload {
    pub(super) dialect: Dialect,
    pub(super) method: Method,
    pub(super) pool: Rc<Pool>,
}

impl Work for Upload {
    fn times_max(&self) -> u64 {
        self.pool.len()
    }

    fn units(&self) -> u64 {
        self.pool.blob(0).1.bytes
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        let (digest, noise) = self.pool.blob(nth);
        let name = self.dialect.write_name(digest, nth);
        let mut call = channel.begin(&self.method).await?;
        let mut offset = 0;
        while offset < noise.bytes {
            let bytes = PIECE_BYTES.min(noise.bytes - offset);
            let piece = usize::try_from(bytes).expect("a piece fits in memory");
            let piece = remote::piece(&name, noise, offset, piece);
            offset += bytes;
            if !send(&mut call.upward, piece, offset == noise.bytes).await? {
                break;
            }
        }
        remote::check_written(&call.answer().await?, noise)
    }

    async fn verify(&self, channel: &Channel, _times: u64) -> Result<(), CallError> {
        let download = Download::new(&self.dialect, channel, &self.pool);
        download.compare(channel, 0, Pieces::all_of(self.pool.blob(0).1)).await
    }
}

/// Sends a part as fast as the other side takes it. Returns whether it takes any more.
pub(super) async fn send(
    upward: &mut SendStream<Bytes>,
    mut part: Bytes,
    is_last: bool,
) -> Result<bool, CallError> {
    while !part.is_empty() {
        upward.reserve_capacity(part.len());
        let Some(capacity) = poll_fn(|context| upward.poll_capacity(context)).await else {
            // Who answers before everything came says why in the answer.
            return Ok(false);
        };
        let now = part.split_to(capacity?.min(part.len()));
        upward.send_data(now, is_last && part.is_empty())?;
    }
    Ok(true)
}

/// Reads a large blob with each call.
pub(super) struct Download {
    method: Method,
    pool: Rc<Pool>,
    requests: Vec<Bytes>,
}

impl Download {
    pub(super) fn new(dialect: &Dialect, channel: &Channel, pool: &Rc<Pool>) -> Self {
        let requests = (0..pool.len()).map(|nth| dialect.read(pool.blob(nth).0)).collect();
        Self { method: channel.method(remote::READ), pool: Rc::clone(pool), requests }
    }

    async fn compare(
        &self,
        channel: &Channel,
        nth: u64,
        mut pieces: Pieces,
    ) -> Result<(), CallError> {
        let nth = usize::try_from(nth % self.pool.len()).expect("less than there are");
        let mut call = channel.begin(&self.method).await?;
        call.upward.send_data(self.requests[nth].clone(), true)?;
        call.read(|part| pieces.take(part)).await?;
        pieces.finish()
    }
}

impl Work for Download {
    fn times_max(&self) -> u64 {
        u64::MAX
    }

    fn units(&self) -> u64 {
        self.pool.blob(0).1.bytes
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        self.compare(channel, nth, Pieces::some_of(self.pool.blob(nth).1)).await
    }
}
