//! An upload to the disk: one piece is written while the next one is received.

use std::sync::Arc;

use bytes::Bytes;
use model::Digest;
use store::{Session, StoreError, Upload};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::sessions::{Place, Sender, Sessions};
use crate::fault;
use crate::front::View;
use crate::limits::PIECE_BYTES;

/// An upload to the disk. What came before it ends is in the store piece by piece, and can be taken up if it has a session.
pub(crate) struct Disk {
    sending: Option<Sending>,
    writing: Option<JoinHandle<Written>>,
    received: Vec<Bytes>,
    received_bytes: usize,
    /// Says that another stream goes on with it, if one can.
    replaced: Option<CancellationToken>,
}

type Written = (Sending, Result<(), StoreError>);

/// An upload that is under way. Its place is left after what was sent can be taken up, however it ends.
struct Sending {
    upload: Box<dyn Upload>,
    place: Option<Place>,
}

impl Sending {
    fn finish(self) -> Result<(), StoreError> {
        let Self { upload, place } = self;
        let finished = upload.finish();
        drop(place);
        finished
    }
}

impl Disk {
    /// Begins an upload that cannot be taken up.
    pub(crate) async fn begin(view: &View, names: &[Digest]) -> Result<Self, Status> {
        let upload = view.cellar.upload(names, None).await;
        let upload = upload.map_err(fault::of_store)?;
        Ok(Self::new(Sending { upload, place: None }))
    }

    /// Begins an upload anew, beside whatever is under way, or goes on at an offset where one of the session has ended or
    /// stands. That one ends then.
    pub(crate) async fn resume(
        view: &View,
        names: &[Digest],
        session: Session,
        sessions: &Sessions,
        offset: u64,
    ) -> Result<Self, Status> {
        let mut ahead = None;
        if offset > 0 {
            let here = Here::find(view, names, &session, sessions).await?;
            refuse_offset(offset, here.bytes)?;
            ahead = here.sender;
        }
        // From here on whoever asks is told of this one.
        let place = sessions.enter(session.clone(), names[0], offset);
        if let Some(ahead) = ahead {
            ahead.replace().await;
        }
        let upload = view.cellar.upload(names, Some(&session)).await;
        let mut upload = upload.map_err(fault::of_store)?;
        if offset == 0 && upload.bytes() > 0 {
            upload.restart().map_err(fault::of_store)?;
        }
        if upload.bytes() != offset {
            return Err(fault::moved_on());
        }
        Ok(Self::new(Sending { upload, place: Some(place) }))
    }

    fn new(sending: Sending) -> Self {
        let replaced = sending.place.as_ref().map(|it| it.replaced().clone());
        let (received, received_bytes) = (Vec::new(), 0);
        Self { sending: Some(sending), writing: None, received, received_bytes, replaced }
    }

    /// Returns what says that another stream goes on with it, if one can.
    pub(crate) fn replaced(&self) -> Option<&CancellationToken> {
        self.replaced.as_ref()
    }

    /// Takes the next piece.
    pub(crate) async fn write(&mut self, piece: Bytes) -> Result<(), Status> {
        self.received_bytes += piece.len();
        self.received.push(piece);
        if self.received_bytes < PIECE_BYTES {
            return Ok(());
        }
        self.settle().await.map_err(fault::of_store)?;
        self.start();
        Ok(())
    }

    /// Keeps the blob if it is what its name says.
    pub(crate) async fn finish(mut self) -> Result<(), StoreError> {
        self.flush().await?;
        let sending = self.sending.take().expect("nothing is being written");
        spawn_blocking(move || sending.finish()).await.expect("finishing does not panic")
    }

    /// Leaves what came to be taken up.
    pub(crate) async fn suspend(mut self) -> Result<(), StoreError> {
        self.flush().await
    }

    /// Forgets what came.
    pub(crate) async fn forget(mut self) -> Result<(), StoreError> {
        self.settle().await?;
        self.sending.as_mut().expect("nothing is being written").upload.restart()
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        self.settle().await?;
        self.start();
        self.settle().await
    }

    /// Hands over what was received to a thread that may wait for the disk.
    fn start(&mut self) {
        let mut sending = self.sending.take().expect("nothing is being written");
        let pieces = std::mem::take(&mut self.received);
        if let Some(place) = &sending.place {
            // It will be written even if this stream breaks off meanwhile.
            place.give(self.received_bytes);
        }
        self.received_bytes = 0;
        self.writing = Some(spawn_blocking(move || {
            let written = pieces.into_iter().try_for_each(|piece| sending.upload.write(piece));
            (sending, written)
        }));
    }

    /// Waits for what was handed over.
    async fn settle(&mut self) -> Result<(), StoreError> {
        let Some(writing) = self.writing.take() else { return Ok(()) };
        let (sending, written) = writing.await.expect("writing does not panic");
        self.sending = Some(sending);
        written
    }
}

/// How much of an upload is here.
pub(crate) struct Here {
    pub(crate) bytes: u64,
    /// The stream that is so far, if none that ended was further.
    sender: Option<Arc<Sender>>,
}

impl Here {
    /// Finds how much of an upload is here.
    pub(crate) async fn find(
        view: &View,
        names: &[Digest],
        session: &Session,
        sessions: &Sessions,
    ) -> Result<Self, Status> {
        // In this order: one that leaves in between is found.
        let sender = sessions.furthest(session, names[0]);
        let left = view.cellar.uploaded(names, session).await;
        let left = left.map_err(fault::of_store)?.unwrap_or_default();
        let sent = sender.as_ref().map_or(0, |it| it.bytes());
        Ok(Self { bytes: sent.max(left), sender: sender.filter(|_| sent >= left) })
    }
}

/// Refuses an upload that does not go on where it stands.
fn refuse_offset(offset: u64, here: u64) -> Result<(), Status> {
    if offset == here {
        return Ok(());
    }
    let why = format!("the upload begins at {offset}, but {here} bytes are here; 0 begins anew");
    // What was on its way when somebody asked may have come since.
    Err(if offset < here { Status::aborted(why) } else { Status::invalid_argument(why) })
}
