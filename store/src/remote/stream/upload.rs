//! One blob that goes piece by piece.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::stream;
use model::{Digest, Hasher};
use tokio::time::Instant;
use tonic::Status;

use super::name::{self, Packing};
use super::packing::{self, Packer};
use super::remote::{self, Piece};
use super::source::Source;
use crate::remote::Purpose;
use crate::remote::connection::{Call, Connection, Patience};
use crate::{Blob, StoreError};

/// What is said of writing, where it fails.
const VERB: &str = "write to";

/// Writes a blob. Refuses one that hashes to something else.
pub(in crate::remote) async fn upload(
    connection: &Connection,
    purpose: Option<&Purpose>,
    digest: Digest,
    blob: Blob,
    may_pack: bool,
) -> Result<(), StoreError> {
    let source = Arc::new(Source::new(blob));
    let input = |source| StoreError::Input { source };
    if tokio::task::block_in_place(|| source.is_longer_than(digest.size())).map_err(input)? {
        return Err(mismatch(&source, digest));
    }
    let head = tokio::task::block_in_place(|| source.piece(0, digest.size())).map_err(input)?;
    let packs = may_pack && tokio::task::block_in_place(|| packing::is_worth_it(&head));
    let packing = if packs { Packing::Zstd } else { Packing::Plain };
    let name = name::to_write(&connection.instance, &random_name(), packing, digest);
    let mut patience = Patience::new(connection.retry);
    let mut begin = 0;
    loop {
        let call = connection.begin(purpose, &mut patience).await.map_err(Arc::new)?;
        let sending = Sending::new(&source, digest, packing, begin).map_err(input)?;
        let progress = Arc::clone(&sending.progress);
        let sent = tokio::select! {
            sent = remote::write(&call, name.clone(), sending.pieces()) => sent,
            () = standstill(&progress, connection.retry.silence_max) => {
                Err(Status::deadline_exceeded(""))
            }
        };
        let (failed, on_wire) = {
            let mut progress = progress.lock().expect("no holder panics");
            (progress.failed.take(), progress.on_wire)
        };
        if let Some(error) = failed {
            return Err(error);
        }
        let status = match sent {
            // Who has it already says so before all was sent, and may not say how much.
            Ok(committed) if committed == -1 || is_all(committed, digest, packing, on_wire) => {
                return Ok(());
            }
            Ok(_) => Status::unavailable("an upload ended before its blob did"),
            Err(status) => status,
        };
        drop(call);
        connection.pause(VERB, &mut patience, status).await.map_err(Arc::new)?;
        let call = connection.begin(purpose, &mut patience).await.map_err(Arc::new)?;
        let time_max = connection.retry.answer_time_max;
        let asked = tokio::time::timeout(time_max, resume(&call, &name, digest, packing));
        // Who does not even say where it broke off is sent all of it again.
        let Some(next) = asked.await.unwrap_or(Some(0)) else { return Ok(()) };
        if next > begin {
            patience.pauses.restart();
        }
        begin = next;
    }
}

fn is_all(committed: i64, digest: Digest, packing: Packing, on_wire: u64) -> bool {
    let committed = u64::try_from(committed).unwrap_or_default();
    committed == digest.size() || packing == Packing::Zstd && committed == on_wire
}

/// Returns where to go on after an upload broke off; `None` if there is nothing left to be sent.
async fn resume(call: &Call, name: &str, digest: Digest, packing: Packing) -> Option<u64> {
    match remote::query(call, name.to_owned()).await {
        Ok((_, true)) => None,
        Ok((committed, false)) if packing == Packing::Plain => {
            // One that claims more than there is knows nothing.
            let committed = u64::try_from(committed).unwrap_or_default();
            Some(if committed < digest.size() { committed } else { 0 })
        }
        // Of what is compressed nobody can tell where it broke off; and not everybody can be asked.
        Ok(_) | Err(_) => Some(0),
    }
}

/// Returns once no piece has been taken for that long.
async fn standstill(progress: &Mutex<Progress>, silence_max: Duration) {
    loop {
        let end = progress.lock().expect("no holder panics").taken + silence_max;
        if end <= Instant::now() {
            return;
        }
        tokio::time::sleep_until(end).await;
    }
}

/// What happened while pieces were sent.
struct Progress {
    /// When the last piece was taken.
    taken: Instant,
    /// Why there are no more pieces, though not all was sent.
    failed: Option<StoreError>,
    /// How many bytes went, as they are on the wire.
    on_wire: u64,
}

/// The pieces that are sent in one call.
struct Sending {
    source: Arc<Source>,
    digest: Digest,
    /// How far it is in the blob.
    offset: u64,
    packer: Option<Packer>,
    /// What hashes all that is sent, if it is all.
    hasher: Option<Hasher>,
    is_done: bool,
    progress: Arc<Mutex<Progress>>,
}

impl Sending {
    fn new(
        source: &Arc<Source>,
        digest: Digest,
        packing: Packing,
        begin: u64,
    ) -> std::io::Result<Self> {
        let packer = match packing {
            Packing::Plain => None,
            Packing::Zstd => Some(Packer::new()?),
        };
        Ok(Self {
            source: Arc::clone(source),
            digest,
            offset: begin,
            packer,
            hasher: (begin == 0).then(|| Hasher::new(digest.function())),
            is_done: false,
            progress: Arc::new(Mutex::new(Progress {
                taken: Instant::now(),
                failed: None,
                on_wire: begin,
            })),
        })
    }

    fn pieces(self) -> impl stream::Stream<Item = Piece> + Send + 'static {
        stream::unfold(self, |mut sending| async move {
            let piece = tokio::task::block_in_place(|| sending.next())?;
            Some((piece, sending))
        })
    }

    /// Returns the next piece. The last is held back if what went before it was something else.
    fn next(&mut self) -> Option<Piece> {
        if self.is_done {
            return None;
        }
        match self.try_next() {
            Ok(piece) => Some(piece),
            Err(error) => {
                self.is_done = true;
                self.progress.lock().expect("no holder panics").failed = Some(error);
                None
            }
        }
    }

    fn try_next(&mut self) -> Result<Piece, StoreError> {
        let input = |source| StoreError::Input { source };
        let bytes = self.source.piece(self.offset, self.digest.size()).map_err(input)?;
        self.offset += bytes.len() as u64;
        let is_last = self.offset == self.digest.size() || bytes.is_empty();
        if let Some(hasher) = &mut self.hasher {
            hasher.update(&bytes);
        }
        if is_last {
            self.is_done = true;
            let found = self.hasher.take().map(Hasher::finish);
            if let Some(found) = found.filter(|found| *found != self.digest) {
                return Err(StoreError::Mismatch { expected: self.digest, found });
            }
        }
        let bytes = match &mut self.packer {
            Some(packer) => packer.pack(&bytes, is_last).map_err(input)?,
            None => bytes,
        };
        let mut progress = self.progress.lock().expect("no holder panics");
        progress.taken = Instant::now();
        let offset = progress.on_wire;
        progress.on_wire += bytes.len() as u64;
        Ok(Piece { offset, bytes, is_last })
    }
}

/// Returns that a blob is longer than its digest says, without looking through all of it.
fn mismatch(source: &Source, expected: Digest) -> StoreError {
    let longer = expected.size().saturating_add(1);
    let head = tokio::task::block_in_place(|| source.piece(0, longer)).unwrap_or_default();
    let found = Digest::of(expected.function(), &head);
    StoreError::Mismatch { expected, found }
}

/// Returns a name that no other upload has: a random UUID.
fn random_name() -> String {
    let mut bytes = [0; 16];
    // Without randomness the name is still one: uploads of the same blob are told apart by nothing else.
    let _ = getrandom::fill(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_upload_stands_still_only_if_nothing_is_taken() {
        let begin = Instant::now();
        let progress = Mutex::new(Progress { taken: begin, failed: None, on_wire: 0 });
        let seconds = Duration::from_secs;
        let taking = async {
            for number in 1..=5 {
                tokio::time::sleep_until(begin + seconds(50 * number)).await;
                progress.lock().unwrap().taken = Instant::now();
            }
        };
        tokio::join!(taking, standstill(&progress, seconds(60)));
        assert_eq!(begin.elapsed(), seconds(250 + 60));
    }
}
