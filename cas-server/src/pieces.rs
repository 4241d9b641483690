//! Sends blobs piece by piece, as they are or compressed, reading a little ahead of whoever listens.

use std::io::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, stream};
use store::Ranged;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;
use tokio_stream::wrappers::ReceiverStream;

use crate::limits::{PIECE_BYTES, PIECES_MAX, WAIT_MAX};

/// The level that streams are compressed at: the network is waiting.
const LEVEL: i32 = 1;

/// How bytes are on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    /// As they are.
    Identity,
    /// As one zstd frame, or several.
    Zstd,
}

/// Returns those bytes of a blob piece by piece, none of them empty. No thread waits for a slow listener; who does not listen at all
/// for a while finds that the rest is missing.
pub(crate) fn send(
    ranged: Arc<dyn Ranged>,
    range: Range<u64>,
    wire: Wire,
) -> impl Stream<Item = io::Result<Bytes>> + Send {
    let source = Source { ranged, at: range.start, end: range.end };
    let (sender, receiver) = mpsc::channel(PIECES_MAX);
    let is_whole = Arc::new(AtomicBool::new(false));
    let ended = Arc::clone(&is_whole);
    tokio::spawn(async move {
        let sent = match wire {
            Wire::Identity => pass(source, &sender).await,
            Wire::Zstd => match zstd::stream::write::Encoder::new(Vec::new(), LEVEL) {
                Ok(encoder) => {
                    let compressed = Compressed { source, encoder: Some(encoder) };
                    pump(compressed, Compressed::next, &sender).await
                }
                Err(error) => Err(error),
            },
        };
        match sent {
            Ok(()) => ended.store(true, Ordering::Release),
            // Whoever no longer listens does not miss it.
            Err(error) => drop(sender.send_timeout(Err(error), WAIT_MAX).await),
        }
    });
    // What ends without a word is not whole: its listener came back too late.
    let rest = stream::once(async move { is_whole.load(Ordering::Acquire) });
    let rest = rest.filter_map(async |is_whole| {
        (!is_whole).then(|| Err(io::Error::from(io::ErrorKind::TimedOut)))
    });
    ReceiverStream::new(receiver).chain(rest)
}

/// What is left to read of a blob.
struct Source {
    ranged: Arc<dyn Ranged>,
    at: u64,
    end: u64,
}

impl Source {
    /// Returns the next piece, or `None` at the end.
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let left = usize::try_from(self.end - self.at).unwrap_or(PIECE_BYTES);
        if left == 0 {
            return Ok(None);
        }
        let piece = self.ranged.read_at(self.at, left.min(PIECE_BYTES))?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.at += piece.len() as u64;
        Ok(Some(piece))
    }
}

/// A blob that is compressed as it is read.
struct Compressed {
    source: Source,
    encoder: Option<zstd::stream::write::Encoder<'static, Vec<u8>>>,
}

impl Compressed {
    fn next(&mut self) -> io::Result<Option<Bytes>> {
        let Some(encoder) = &mut self.encoder else { return Ok(None) };
        while encoder.get_ref().len() < PIECE_BYTES {
            let Some(piece) = self.source.next()? else {
                let rest = self.encoder.take().expect("it is there").finish()?;
                return Ok(Some(rest.into()));
            };
            encoder.write_all(&piece)?;
        }
        Ok(Some(std::mem::take(encoder.get_mut()).into()))
    }
}

/// Sends what is read where it is: whoever waits for a disk gives the others' tasks another thread meanwhile.
async fn pass(mut source: Source, sender: &mpsc::Sender<io::Result<Bytes>>) -> io::Result<()> {
    while let Some(piece) = source.next()? {
        if sender.send_timeout(Ok(piece), WAIT_MAX).await.is_err() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
    Ok(())
}

async fn pump<S: Send + 'static>(
    mut source: S,
    next: fn(&mut S) -> io::Result<Option<Bytes>>,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    loop {
        let read = spawn_blocking(move || {
            let piece = next(&mut source);
            (source, piece)
        });
        let (back, piece) = read.await.expect("reading does not panic");
        source = back;
        let Some(piece) = piece? else { return Ok(()) };
        if sender.send_timeout(Ok(piece), WAIT_MAX).await.is_err() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_stops_listening_lets_go_of_the_blob_and_never_takes_a_part_for_the_whole() {
        let blob: Arc<dyn Ranged> = Arc::new(Bytes::from(vec![7; 10 * PIECE_BYTES]));
        let size = blob.size();
        let whole = send(Arc::clone(&blob), 0..size, Wire::Identity);
        assert_eq!(whole.filter(|it| std::future::ready(it.is_ok())).count().await, 10);

        let mut pieces = Box::pin(send(Arc::clone(&blob), 0..size, Wire::Identity));
        let first = pieces.next().await.expect("there is a first").expect("it can be read");
        assert_eq!(first.len(), PIECE_BYTES);
        tokio::time::sleep(3 * WAIT_MAX).await;
        assert_eq!(Arc::strong_count(&blob), 1, "nobody holds it any more");
        let rest: Vec<_> = pieces.collect().await;
        let (last, before) = rest.split_last().expect("something is said");
        assert!(before.iter().all(Result::is_ok) && before.len() <= PIECES_MAX);
        let error = last.as_ref().expect_err("it is not whole");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
