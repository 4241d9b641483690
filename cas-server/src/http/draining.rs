//! What a client still sends when it was refused already.
//!
//! An answer is often not read before the request was written. A connection that is closed meanwhile, or a stream of HTTP/2 that is
//! reset, looks to many clients as if there had been no answer at all. Those of gRPC know better.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http::header::EXPECT;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::metrics::Protocol;

/// How many bytes are received for nothing, for the sake of a clear answer.
const DRAINED_BYTES_MAX: usize = 4 << 20;

/// How long that may take.
const DRAINED_FOR_MAX: Duration = Duration::from_secs(5);

/// A body of which what the handler left can still be had.
#[derive(Clone)]
struct SharedBody(Arc<Mutex<Body>>);

impl http_body::Body for SharedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let mut body = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Pin::new(&mut *body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).size_hint()
    }
}

/// Answers, and if that is a refusal receives the rest of a small body before.
pub(crate) async fn drain_refused(request: Request, next: Next) -> Response {
    // Whoever expects to be asked for the body has not sent it.
    let is_sent = !request.headers().contains_key(EXPECT);
    let is_grpc = Protocol::of(request.headers()) == Protocol::Grpc;
    if !is_sent || is_grpc || request.body().is_end_stream() {
        return next.run(request).await;
    }
    let (parts, body) = request.into_parts();
    let mut body = SharedBody(Arc::new(Mutex::new(body)));
    let shared = Body::new(body.clone());
    let response = next.run(Request::from_parts(parts, shared)).await;
    if !response.status().is_success() {
        let drained = tokio::time::timeout(DRAINED_FOR_MAX, drain(&mut body));
        // Whoever sends more, or slower, sees the connection closed.
        let _is_drained = drained.await;
    }
    response
}

async fn drain(body: &mut SharedBody) {
    let mut drained = 0;
    while let Some(Ok(frame)) = body.frame().await {
        drained += frame.data_ref().map_or(0, Bytes::len);
        if drained > DRAINED_BYTES_MAX {
            return;
        }
    }
}
