//! Plain HTTP caches on the same port: Bazel and moon, ccache, sccache, Gradle, Turborepo, Nx.
//!
//! | client | paths | space |
//! |---|---|---|
//! | Bazel, moon | `[<project>/]cas/<hash>` | blobs, shared with gRPC |
//! | | `[<project>/]ac/<hash>` | `ac/<function>/<project>`, shared with gRPC; `ac/raw/<project>` for what is no result |
//! | ccache | `ccache/<key>` | `ccache` |
//! | sccache | `sccache/<key>` (WebDAV) | `sccache` |
//! | Gradle | `gradle/<key>` | `gradle` |
//! | Turborepo | `v8/artifacts/<hash>` | `turbo/<team>` |
//! | Nx | `v1/cache/<hash>` | `nx` |

mod answer;
mod bazel;
mod content;
mod draining;
mod incoming;
mod kept;
mod key;
mod nx;
mod range;
mod refusal;
mod turbo;
mod webdav;

pub(crate) use self::draining::drain_refused;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::{Extensions, Method, StatusCode};
use store::Turns;
use tonic::Status;
use wire::json::JsonResults;

use self::refusal::Refusal;
use crate::Right;
use crate::front::{Front, View};
use crate::metrics::{Kind, Protocol};
use crate::observe::Observed;

/// What the handlers of all plain caches work with.
#[derive(Clone)]
struct Caches {
    front: Front,
    json: JsonResults,
    /// Whose turn it is to decide whether Nx may write a key: what is there stays.
    deciding: Arc<Turns>,
}

impl Caches {
    /// Returns the store as whoever sent the request sees it, if he may read.
    fn reading(&self, extensions: &Extensions) -> Result<View, Refusal> {
        Ok(self.front.view(extensions).with(Right::Read)?)
    }

    /// The same, if he may write blobs.
    fn writing_blobs(&self, extensions: &Extensions) -> Result<View, Refusal> {
        Ok(self.front.view(extensions).with(Right::WriteBlobs)?)
    }

    /// The same, if he may write values.
    fn writing_values(&self, extensions: &Extensions) -> Result<View, Refusal> {
        Ok(self.front.view(extensions).with(Right::WriteValues)?)
    }

    /// The same, if he may write both: a body that is kept under a key is a value, and a blob if it is large.
    fn keeping(&self, extensions: &Extensions) -> Result<View, Refusal> {
        Ok(self.writing_blobs(extensions)?.with(Right::WriteValues)?)
    }
}

/// Returns the plain caches. Every request has to carry a [`Caller`](crate::Caller).
pub(crate) fn router(front: Front) -> Router {
    let caches = Caches { front, json: JsonResults::new(), deciding: Arc::default() };
    let counting = |kind| middleware::from_fn_with_state(kind, count);
    Router::new()
        .route("/ccache/{*key}", any(ccache).layer(counting(Kind::Ccache)))
        .route("/gradle/{*key}", any(gradle).layer(counting(Kind::Gradle)))
        .route("/sccache", any(webdav::serve))
        .route("/sccache/", any(webdav::serve))
        .route("/sccache/{*key}", any(webdav::serve).layer(counting(Kind::Sccache)))
        .route("/v1/cache/{hash}", any(nx::serve).layer(counting(Kind::Nx)))
        .merge(turbo::routes())
        .route("/{*path}", any(elsewhere))
        .with_state(caches)
}

async fn ccache(State(caches): State<Caches>, request: Request) -> Result<Response, Refusal> {
    serve_below(&caches, "ccache", request).await
}

async fn gradle(State(caches): State<Caches>, request: Request) -> Result<Response, Refusal> {
    serve_below(&caches, "gradle", request).await
}

/// Answers everything that nobody else does: Bazel's paths may begin with anything.
async fn elsewhere(State(caches): State<Caches>, request: Request) -> Response {
    if Protocol::of(request.headers()) == Protocol::Grpc {
        return Status::unimplemented("there is no such service here").into_http();
    }
    match bazel::Name::parse(request.uri().path()) {
        Ok(Some(name)) => {
            let lookup = Lookup::of(&request);
            let response = bazel::serve(&caches, &name, request).await.into_response();
            lookup.tell(Kind::Bazel, &response);
            response
        }
        Ok(None) => Refusal::Absent.into_response(),
        Err(error) => Refusal::Key(error).into_response(),
    }
}

/// A request that may be a lookup: somebody wants what is kept. Asking whether it is there is none.
struct Lookup(Option<Observed>);

impl Lookup {
    fn of(request: &Request) -> Self {
        let is_lookup = request.method() == Method::GET;
        Self(is_lookup.then(|| Observed::of(request.extensions())))
    }

    /// Tells how it went.
    fn tell(self, kind: Kind, response: &Response) {
        match self.0 {
            Some(observed) if response.status().is_success() => observed.hit(kind),
            Some(observed) if response.status() == StatusCode::NOT_FOUND => observed.miss(kind),
            _ => {}
        }
    }
}

/// Counts the lookups of one kind.
async fn count(State(kind): State<Kind>, request: Request, next: Next) -> Response {
    let lookup = Lookup::of(&request);
    let response = next.run(request).await;
    lookup.tell(kind, &response);
    response
}

/// Answers from the cache of a space whose keys are the paths below its name.
async fn serve_below(
    caches: &Caches,
    space: &'static str,
    request: Request,
) -> Result<Response, Refusal> {
    let uri = request.uri().clone();
    let key = uri.path().strip_prefix('/').and_then(|it| it.strip_prefix(space)?.strip_prefix('/'));
    kept::serve(caches, space, key::parse(key.unwrap_or_default())?, request).await
}

/// Does what waits for disks or computes long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
