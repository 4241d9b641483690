//! A small server without a socket, and callers.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use cas_server::metrics::Metrics;
use cas_server::observe::{Observe, Observed, Observer};
use cas_server::{Caller, Drain, Operation, Rights};
use http::{Request, Response};
use http_body_util::BodyExt as _;
use store::Namespace;
use testkit::MemoryStore;
use tower::{Layer as _, ServiceExt as _};

/// All that an identity can be allowed.
pub(crate) const ALL: Rights =
    Rights { read: true, write_blobs: true, write_values: true, execute: true, administer: true };

/// No more than reading.
pub(crate) const READ: Rights = Rights {
    read: true,
    write_blobs: false,
    write_values: false,
    execute: false,
    administer: false,
};

pub(crate) fn caller(name: &str, rights: Rights) -> Caller {
    let reads = Arc::new([Namespace::Trusted]);
    Caller { name: name.into(), rights, namespace: Namespace::Trusted, reads }
}

/// Returns the view of a server that serves, with an empty store.
pub(crate) fn operation() -> Operation {
    let drain = Drain::new();
    drain.serving();
    let observer = Observer::new(Arc::new(Metrics::new()));
    Operation::new(Arc::new(MemoryStore::new()), observer, drain)
}

/// Has `router` answer whoever asks, watched by that server's observer.
pub(crate) async fn ask<B>(
    operation: &Operation,
    router: Router,
    caller: Option<Caller>,
    request: Request<B>,
) -> Response<Bytes>
where
    B: http_body::Body<Data = Bytes, Error: Into<axum::BoxError>> + Send + Unpin + 'static,
{
    let identified = tower::service_fn(move |mut request: Request<_>| {
        if let Some(caller) = &caller {
            Observed::of(request.extensions()).caller(caller);
            request.extensions_mut().insert(Arc::new(caller.clone()));
        }
        router.clone().oneshot(request.map(Body::new))
    });
    let watched = Observe::new(operation.observer().clone()).layer(identified);
    let (head, body) = watched.oneshot(request).await.unwrap().into_parts();
    Response::from_parts(head, body.collect().await.unwrap().to_bytes())
}

/// Returns what is answered to a request for that path.
pub(crate) async fn get(
    operation: &Operation,
    caller: Option<Caller>,
    path: &str,
) -> Response<Bytes> {
    let request = Request::get(path).body(Body::empty()).unwrap();
    let router = operation.router().merge(operation.open_router());
    ask(operation, router, caller, request).await
}

pub(crate) fn text(answer: &Response<Bytes>) -> String {
    String::from_utf8(answer.body().to_vec()).unwrap()
}
