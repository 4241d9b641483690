//! How much one identity may have under way: requests, and bytes that are held in memory for them.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{Extensions, StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;
use tonic::Status;

use crate::limits::{IDENTITIES_MAX, RETRY_DELAY, STREAM_BYTES_MAX};
use crate::metrics::Limit;
use crate::observe::Observed;
use crate::{Caller, Limits, fault};

/// What follows these names arrives in pieces that are passed on at once; all else is held until it is whole.
const STREAMED: &str = "/google.bytestream.ByteStream/";

/// For how long nothing of a request may come. A sender that is slower than that will not come to an end.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// What every identity has under way. Identities are ours: there are as many as credentials.
#[derive(Clone, Debug)]
pub(crate) struct Load {
    requests_max: usize,
    bytes_max: usize,
    of: Arc<Mutex<BTreeMap<Arc<str>, Arc<Share>>>>,
}

/// What one identity may still do.
#[derive(Debug)]
struct Share {
    requests: Arc<Semaphore>,
    bytes: Room,
}

/// One permit for each byte that may be held in memory for one identity. Requests carry it as an extension.
pub(crate) type Room = Arc<Semaphore>;

impl Load {
    /// Returns a load of nothing.
    pub(crate) fn new(limits: &Limits) -> Self {
        let room = |count: u64| usize::try_from(count).unwrap_or(Semaphore::MAX_PERMITS);
        Self {
            requests_max: room(limits.streams_per_identity),
            bytes_max: room(limits.bytes_in_flight_per_identity),
            of: Arc::default(),
        }
    }

    fn share(&self, caller: &Caller) -> Arc<Share> {
        let mut of = self.of.lock().expect("no holder panics");
        if let Some(share) = of.get(&caller.name) {
            return Arc::clone(share);
        }
        // Whoever has nothing under way is as one who never came.
        if of.len() >= IDENTITIES_MAX {
            of.retain(|_, share| Arc::strong_count(share) > 1);
        }
        let share = Arc::new(Share {
            requests: Arc::new(Semaphore::new(self.requests_max)),
            bytes: Arc::new(Semaphore::new(self.bytes_max)),
        });
        of.insert(Arc::clone(&caller.name), Arc::clone(&share));
        share
    }
}

/// Lets a request in if whoever sends it has not too many under way.
pub(crate) async fn limit(State(load): State<Load>, request: Request, next: Next) -> Response {
    let caller = Caller::of(request.extensions());
    let observed = Observed::of(request.extensions());
    observed.caller(caller);
    let share = load.share(caller);
    let Ok(permit) = Arc::clone(&share.requests).try_acquire_owned() else {
        observed.limited(Limit::Requests);
        return too_many(&request, load.requests_max);
    };
    let held = Arc::default();
    let request = if is_grpc(&request) {
        let is_streamed = request.uri().path().starts_with(STREAMED);
        let count_max = if is_streamed { STREAM_BYTES_MAX } else { usize::MAX };
        let (room, held) = (Arc::clone(&share.bytes), Arc::clone(&held));
        let received = |body| Received { body, room, held, count_max, observed, silence: None };
        request.map(|body| Body::new(received(body)))
    } else {
        // What finds no room goes to the disk.
        let mut request = request;
        request.extensions_mut().insert(Arc::clone(&share.bytes));
        request
    };
    let response = next.run(request).await;
    response.map(|body| Body::new(Guarded { body, _held: held, _permit: permit, _share: share }))
}

/// Returns how much of a request may be held in memory by whoever serves it: nothing, where that was counted already.
pub(crate) fn room(extensions: &Extensions) -> Room {
    extensions.get::<Room>().cloned().unwrap_or_else(|| Arc::new(Semaphore::new(0)))
}

/// The room that a request takes until it is answered.
type Taken = Arc<Mutex<Option<OwnedSemaphorePermit>>>;

fn is_grpc(request: &Request) -> bool {
    let content = request.headers().get(header::CONTENT_TYPE);
    content.is_some_and(|it| it.as_bytes().starts_with(b"application/grpc"))
}

fn too_many(request: &Request, requests_max: usize) -> Response {
    let why = format!("you have {requests_max} requests under way");
    if is_grpc(request) {
        return fault::full(&why).into_http();
    }
    let delay = RETRY_DELAY.as_secs().to_string();
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, delay)], why).into_response()
}

/// The body of an answer, which is under way until it has been sent.
struct Guarded {
    body: Body,
    _held: Taken,
    _permit: OwnedSemaphorePermit,
    _share: Arc<Share>,
}

impl http_body::Body for Guarded {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The body of a request, which is refused when too much of its sender's is held, or when he falls silent.
struct Received {
    body: Body,
    room: Room,
    held: Taken,
    /// How much of it is counted at most: what came before that was passed on.
    count_max: usize,
    observed: Observed,
    /// Ends when nothing came for too long, while something is waited for.
    silence: Option<Pin<Box<Sleep>>>,
}

impl Received {
    fn hold(&self, bytes: usize) -> Result<(), axum::Error> {
        let mut held = self.held.lock().expect("no holder panics");
        let counted = held.as_ref().map_or(0, OwnedSemaphorePermit::num_permits);
        let count = u32::try_from(bytes.min(self.count_max - counted)).unwrap_or(u32::MAX);
        let permit = Arc::clone(&self.room).try_acquire_many_owned(count);
        let permit = permit.map_err(|_full_or_closed| {
            self.observed.limited(Limit::BytesInFlight);
            axum::Error::new(fault::full("too much of what you sent is held in memory"))
        })?;
        match &mut *held {
            Some(held) => held.merge(permit),
            None => *held = Some(permit),
        }
        Ok(())
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
        if let Some(Ok(frame)) = &frame {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            if let Err(error) = self.hold(bytes) {
                return Poll::Ready(Some(Err(error)));
            }
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

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use futures::{StreamExt as _, stream};
    use http_body_util::BodyExt as _;
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_request_of_which_nothing_comes_ends_and_one_that_is_slow_does_not() {
        let slowly = stream::iter(0..3).then(async |_| {
            tokio::time::sleep(WAIT_MAX * 9 / 10).await;
            Ok::<_, axum::Error>(Bytes::from_static(b"some"))
        });
        let mut received = Received {
            body: Body::from_stream(slowly.chain(stream::pending())),
            room: Arc::new(Semaphore::new(100)),
            held: Taken::default(),
            count_max: 10,
            observed: Observed::default(),
            silence: None,
        };
        for _ in 0..3 {
            received.frame().await.expect("there is one").expect("it came in time");
        }
        assert_eq!(received.room.available_permits(), 90, "no more of it than may be held");
        let began = Instant::now();
        let error = received.frame().await.expect("it does not end well").expect_err("silence");
        assert_eq!(began.elapsed().as_secs(), WAIT_MAX.as_secs());
        let status = error.source().and_then(|it| it.downcast_ref::<Status>());
        assert_eq!(status.map(Status::code), Some(tonic::Code::Cancelled));
    }
}
