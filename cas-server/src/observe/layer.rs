//! The layer around every service, whatever protocol it speaks.

use std::pin::Pin;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::{Layer, Service};
use tracing::{Instrument as _, Span};
use tracing_opentelemetry::OpenTelemetrySpanExt as _;
use wire::request::RequestMetadata;

use super::body::{End, Received, Sent};
use super::observed::Watched;
use super::parent::parent;
use super::{Observed, Observer, beginning, metadata};
use crate::metrics::{Method, Protocol};

/// The target of the spans of requests; only tracing wants them.
pub const SPAN_TARGET: &str = "bld::span";

/// The longest path that is kept, in bytes: two digests and a name fit.
const PATH_BYTES_MAX: usize = 256;

/// The header of an answer that says what its request is called in logs.
const ID_HEADER: &str = "x-request-id";

/// Watches whatever the service in it is asked.
#[derive(Clone, Debug)]
pub struct Observe(Observer);

impl Observe {
    /// Returns a layer that tells this observer.
    pub fn new(observer: Observer) -> Self {
        Self(observer)
    }
}

impl<S> Layer<S> for Observe {
    type Service = Observing<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Observing { inner, observer: self.0.clone() }
    }
}

/// A service whose requests are watched.
#[derive(Clone, Debug)]
pub struct Observing<S> {
    inner: S,
    observer: Observer,
}

impl<S, B, R> Service<Request<B>> for Observing<S>
where
    S: Service<Request<Received<B>>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    B: Body<Data = Bytes> + Unpin,
    R: Body<Data = Bytes> + Unpin,
{
    type Response = Response<Sent<R>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (method, protocol) = Method::of(&request);
        let observed = self.begin(method, protocol, &request);
        let span = observed.span();
        let end = End::new(observed.clone(), protocol);
        let mut request = request.map(|body| Received::new(body, observed.clone()));
        if let Some(metadata) = observed.metadata() {
            request.extensions_mut().insert(metadata);
        }
        request.extensions_mut().insert(observed);
        let answer = self.inner.call(request).instrument(span);
        Box::pin(async move {
            let mut answer = answer.await?;
            let end = end.with_head(&answer);
            if let Some(id) = end.id_of_failure() {
                answer.headers_mut().insert(ID_HEADER, id);
            }
            Ok(answer.map(|body| Sent::new(body, end)))
        })
    }
}

impl<S> Observing<S> {
    fn begin<B>(&self, method: Method, protocol: Protocol, request: &Request<B>) -> Observed {
        let metadata = metadata::of(request.headers());
        let path = match protocol {
            // The method says it all.
            Protocol::Grpc => "",
            Protocol::Http => request.uri().path(),
        };
        Observed::new(Watched {
            observer: self.observer.clone(),
            id: self.observer.next_id(),
            method,
            began: Instant::now(),
            span: span(method, &metadata, request),
            metadata: Arc::new(metadata),
            path: beginning(path, PATH_BYTES_MAX).to_owned(),
            caller: OnceLock::new(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        })
    }
}

/// Returns the span of a request, as part of the trace that it says it is part of; nothing if nobody traces.
fn span<B>(method: Method, metadata: &RequestMetadata, request: &Request<B>) -> Span {
    let span = tracing::debug_span!(
        target: SPAN_TARGET,
        "request",
        otel.name = method.as_str(),
        otel.kind = "server",
        otel.status_code = tracing::field::Empty,
        tool = metadata.tool,
        invocation = metadata.invocation,
        action = metadata.action,
        caller = tracing::field::Empty,
        outcome = tracing::field::Empty,
        received_bytes = tracing::field::Empty,
        sent_bytes = tracing::field::Empty,
    );
    if !span.is_disabled() {
        // Without an exporter there is nobody to tell, and that is no failure of the request.
        let _is_part_of_it = span.set_parent(parent(request.headers()));
    }
    span
}
