//! How much one identity may have under way: requests, and bytes that are held in memory for them.

mod memory;
mod received;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use http_body::{Frame, SizeHint};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use self::memory::{Memory, TooMuch, decoded_bytes, json_bytes};
use self::received::Received;
use crate::limits::{IDENTITIES_MAX, RETRY_DELAY};
use crate::metrics::{Limit, Protocol};
use crate::observe::Observed;
use crate::{Caller, Limits, fault};

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
    /// One permit for each byte that may be held in memory.
    bytes: Arc<Semaphore>,
}

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
    let memory = Memory::new(Arc::clone(&share.bytes), observed);
    // Bodies over plain HTTP count themselves: what finds no room goes to the disk.
    let mut request = match Protocol::of(request.headers()) {
        Protocol::Grpc => {
            let path = request.uri().path().to_owned();
            request.map(|body| Body::new(Received::new(&path, body, memory.clone())))
        }
        Protocol::Http => request,
    };
    request.extensions_mut().insert(memory.clone());
    let response = next.run(request).await;
    response
        .map(|body| Body::new(Guarded { body, _memory: memory, _permit: permit, _share: share }))
}

fn too_many(request: &Request, requests_max: usize) -> Response {
    let why = format!("you have {requests_max} requests under way");
    if Protocol::of(request.headers()) == Protocol::Grpc {
        return fault::full(&why).into_http();
    }
    let delay = RETRY_DELAY.as_secs().to_string();
    (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, delay)], why).into_response()
}

/// The body of an answer, which is under way until it has been sent.
struct Guarded {
    body: Body,
    _memory: Memory,
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
