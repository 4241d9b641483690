//! The body of a call, which is counted as it comes, as what it will be decoded into.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::time::Sleep;
use tonic::Status;
use wire::elements::{Elements, Malformed, Shape};

use super::Memory;
use super::memory::with_elements;
use crate::limits::{STREAM_BYTES_MAX, WAIT_MAX};

/// What follows these names arrives in pieces that are passed on at once; all else is held until it is whole.
const STREAMED: &str = "/google.bytestream.ByteStream/";

/// How long what stands before each message is: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// The body of a call, which is refused when too much of its sender's is held, or when he falls silent.
pub(super) struct Received {
    body: Body,
    memory: Memory,
    /// How much of it is counted at most: what came before that was passed on.
    count_max: usize,
    messages: Messages,
    /// Ends when nothing came for too long, while something is waited for.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Received {
    /// Returns the body of a call of that path.
    pub(super) fn new(path: &str, body: Body, memory: Memory) -> Self {
        let count_max = if path.starts_with(STREAMED) { STREAM_BYTES_MAX } else { usize::MAX };
        let messages = Messages::new(Shape::of_request(path));
        Self { body, memory, count_max, messages, silence: None }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), Status> {
        let elements = self.messages.take(bytes);
        let elements = elements.map_err(|error| Status::invalid_argument(error.to_string()))?;
        let bytes = with_elements(bytes.len(), elements);
        let left = self.count_max - self.memory.held().min(self.count_max);
        Ok(self.memory.hold(bytes.min(left))?)
    }

    /// Returns once nothing has come for too long.
    fn poll_silence(&mut self, context: &mut Context<'_>) -> Poll<axum::Error> {
        let begin = || Box::pin(tokio::time::sleep(WAIT_MAX));
        let silence = self.silence.get_or_insert_with(begin);
        silence
            .as_mut()
            .poll(context)
            .map(|()| axum::Error::new(Status::cancelled(format!("nothing came for {WAIT_MAX:?}"))))
    }
}

impl http_body::Body for Received {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) else {
            return self.poll_silence(context).map(|error| Some(Err(error)));
        };
        self.silence = None;
        if let Some(Ok(frame)) = &frame
            && let Some(bytes) = frame.data_ref()
            && let Err(status) = self.take(bytes)
        {
            return Poll::Ready(Some(Err(axum::Error::new(status))));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The messages of a body, one behind the other.
struct Messages {
    /// Of what type they are. Of others nothing is known; there are no lists in those that are served.
    shape: Option<Shape>,
    /// What has come of what stands before the next one.
    head: Vec<u8>,
    /// What is counted in the one that is coming.
    elements: Option<Elements>,
    /// How many bytes of it are still to come.
    left: usize,
}

impl Messages {
    fn new(shape: Option<Shape>) -> Self {
        Self { shape, head: Vec::with_capacity(HEAD_BYTES), elements: None, left: 0 }
    }

    /// Takes further bytes of the body. Returns how many elements of lists begin in them.
    fn take(&mut self, mut bytes: &[u8]) -> Result<usize, Malformed> {
        let mut count = 0;
        while !bytes.is_empty() {
            if self.left == 0 {
                let (head, rest) = bytes.split_at(bytes.len().min(HEAD_BYTES - self.head.len()));
                self.head.extend(head);
                bytes = rest;
                self.begin();
                continue;
            }
            let (message, rest) = bytes.split_at(bytes.len().min(self.left));
            (bytes, self.left) = (rest, self.left - message.len());
            if let Some(elements) = &mut self.elements {
                count += elements.take(message)?;
            }
        }
        Ok(count)
    }

    /// Begins a message, if all came that stands before it.
    fn begin(&mut self) {
        let Ok([is_compressed, length @ ..]) = <[u8; HEAD_BYTES]>::try_from(&*self.head) else {
            return;
        };
        let length = u32::from_be_bytes(length);
        self.head.clear();
        self.left = usize::try_from(length).expect("memory has as many bytes");
        // One that is compressed is never decoded: nobody was told that it may be.
        let shape = self.shape.filter(|_| is_compressed == 0);
        self.elements = shape.map(|it| Elements::new(it, length.into()));
    }
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;
    use std::sync::Arc;

    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;
    use tokio::sync::Semaphore;
    use tokio::time::Instant;

    use super::*;
    use crate::observe::Observed;

    fn status(error: &axum::Error) -> Option<&Status> {
        error.source().and_then(|it| it.downcast_ref())
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_of_which_nothing_comes_ends_and_one_that_is_slow_does_not() {
        let slowly = stream::iter(0..3).then(async |_| {
            tokio::time::sleep(WAIT_MAX * 9 / 10).await;
            Ok::<_, axum::Error>(Bytes::from_static(b"some"))
        });
        let room = Arc::new(Semaphore::new(100));
        let memory = Memory::new(Arc::clone(&room), Observed::default());
        let body = Body::from_stream(slowly.chain(stream::pending()));
        let mut received = Received { count_max: 10, ..Received::new("/any", body, memory) };
        for _ in 0..3 {
            received.frame().await.expect("there is one").expect("it came in time");
        }
        assert_eq!(room.available_permits(), 90, "no more of it than may be held");
        let began = Instant::now();
        let error = received.frame().await.expect("it does not end well").expect_err("silence");
        assert_eq!(began.elapsed().as_secs(), WAIT_MAX.as_secs());
        assert_eq!(status(&error).map(Status::code), Some(tonic::Code::Cancelled));
    }

    #[test]
    fn what_is_in_messages_counts_whatever_pieces_they_come_in() {
        let path = "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs";
        let message = [&[0, 0, 0, 0, 6][..], &[0x12, 0, 0x12, 0, 0x12, 0]].concat();
        let compressed = [&[1, 0, 0, 0, 4][..], &[0x12, 0, 0x12, 0]].concat();
        let body = [&message[..], &compressed, &[0; 5], &message].concat();
        for step in 1..body.len() {
            let mut messages = Messages::new(Shape::of_request(path));
            let counts = body.chunks(step).map(|it| messages.take(it).expect("it is one"));
            assert_eq!(counts.sum::<usize>(), 6, "{step}");
        }
    }
}
