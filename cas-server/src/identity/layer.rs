//! The layer before all services: whoever passes it is known.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::SystemTime;

use axum::body::Body;
use futures::future::{Either, Ready, ready};
use http::{Request, Response};
use tower::{Layer, Service};

use super::Identities;

/// Puts an `Arc<Caller>` into the extensions of every request, or answers that its caller is not who he says he is.
#[derive(Clone)]
pub struct IdentityLayer {
    identities: Arc<Identities>,
}

impl IdentityLayer {
    /// Returns the layer that lets those in whom `identities` knows.
    pub fn new(identities: Arc<Identities>) -> Self {
        Self { identities }
    }
}

impl<S> Layer<S> for IdentityLayer {
    type Service = Identified<S>;

    fn layer(&self, inner: S) -> Identified<S> {
        Identified { identities: Arc::clone(&self.identities), inner }
    }
}

/// A service that knows who calls.
#[derive(Clone)]
pub struct Identified<S> {
    identities: Arc<Identities>,
    inner: S,
}

impl<S, B> Service<Request<B>> for Identified<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = Either<Ready<Result<Response<Body>, S::Error>>, S::Future>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let caller = match self.identities.identify(&request, SystemTime::now()) {
            Ok(caller) => caller,
            Err(refusal) => {
                tracing::info!(%refusal, path = request.uri().path(), "turned away");
                return Either::Left(ready(Ok(refusal.response(request.headers()))));
            }
        };
        request.extensions_mut().insert(caller);
        Either::Right(self.inner.call(request))
    }
}
