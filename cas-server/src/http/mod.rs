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
mod packing;
mod range;
mod refusal;
mod turbo;
mod webdav;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use http::Extensions;
use http::header::CONTENT_TYPE;
use tokio::sync::{Mutex, Semaphore};
use tonic::Status;
use wire::json::JsonResults;

use self::refusal::Refusal;
use crate::Right;
use crate::front::{Front, View};

/// What the handlers of all plain caches work with.
#[derive(Clone)]
struct Caches {
    front: Front,
    /// One permit for each byte of bodies that may be held in memory.
    room: Arc<Semaphore>,
    json: JsonResults,
    /// Held while it is decided whether Nx may write a key: what is there stays.
    deciding: Arc<Mutex<()>>,
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
    let caches = Caches {
        front,
        room: Arc::new(Semaphore::new(incoming::HELD_BYTES_MAX)),
        json: JsonResults::new(),
        deciding: Arc::new(Mutex::new(())),
    };
    Router::new()
        .route("/ccache/{*key}", any(ccache))
        .route("/gradle/{*key}", any(gradle))
        .route("/sccache", any(webdav::serve))
        .route("/sccache/", any(webdav::serve))
        .route("/sccache/{*key}", any(webdav::serve))
        .route("/v1/cache/{hash}", any(nx::serve))
        .merge(turbo::routes())
        .route("/{*path}", any(elsewhere))
        .with_state(caches)
        .layer(middleware::from_fn(draining::drain_refused))
}

async fn ccache(State(caches): State<Caches>, request: Request) -> Result<Response, Refusal> {
    serve_below(&caches, "ccache", request).await
}

async fn gradle(State(caches): State<Caches>, request: Request) -> Result<Response, Refusal> {
    serve_below(&caches, "gradle", request).await
}

/// Answers everything that nobody else does: Bazel's paths may begin with anything.
async fn elsewhere(State(caches): State<Caches>, request: Request) -> Response {
    let said = answer::text(request.headers(), &CONTENT_TYPE).unwrap_or_default();
    if said.starts_with("application/grpc") {
        return Status::unimplemented("there is no such service here").into_http();
    }
    bazel::serve(&caches, request).await.into_response()
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
