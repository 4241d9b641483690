//! The line over which calls go: what the library above would stumble over is taken out of answers.

use std::task::{Context, Poll};

use futures::TryFutureExt as _;
use futures::future::MapOk;
use http_body_util::BodyExt as _;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::codegen::http::{HeaderMap, Request, Response};
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Error};

/// What details of errors come in: where it is not what it should be, the library panics.
const DETAILS: &str = "grpc-status-details-bin";

/// A way to a remote that need not be sane.
#[derive(Clone, Debug)]
pub struct Line(Channel);

impl Line {
    /// Returns what goes over that channel.
    pub(super) fn new(channel: Channel) -> Self {
        Self(channel)
    }
}

impl Service<Request<Body>> for Line {
    type Response = Response<Body>;
    type Error = Error;
    type Future =
        MapOk<<Channel as Service<Request<Body>>>::Future, fn(Response<Body>) -> Response<Body>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.0.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.0.call(request).map_ok(sane)
    }
}

fn sane(mut response: Response<Body>) -> Response<Body> {
    drop_senseless(response.headers_mut());
    response.map(|body| {
        Body::new(body.map_frame(|mut frame| {
            if let Some(trailers) = frame.trailers_mut() {
                drop_senseless(trailers);
            }
            frame
        }))
    })
}

fn drop_senseless(headers: &mut HeaderMap) {
    let Some(value) = headers.get(DETAILS) else { return };
    let mut alone = HeaderMap::new();
    alone.insert(DETAILS, value.clone());
    let alone = MetadataMap::from_headers(alone);
    if alone.get_bin(DETAILS).is_none_or(|it| it.to_bytes().is_err()) {
        headers.remove(DETAILS);
    }
}
