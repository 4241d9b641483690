//! Counts what is looked up in the plain caches: every GET of something that one of them may keep.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{Method, StatusCode};

use crate::metrics::Kind;
use crate::observe::Observed;

/// Answers a request, and counts whether what it asks for was there.
pub(super) async fn count(request: Request, next: Next) -> Response {
    let kind = (request.method() == Method::GET).then(|| kind(request.uri().path())).flatten();
    let observed = Observed::of(request.extensions());
    let answer = next.run(request).await;
    match (kind, answer.status()) {
        (Some(kind), StatusCode::NOT_FOUND) => observed.miss(kind),
        (Some(kind), status) if status.is_success() => observed.hit(kind),
        _ => {}
    }
    answer
}

/// Returns whose cache a path lies in.
fn kind(path: &str) -> Option<Kind> {
    let segments: Vec<_> = path.split('/').skip(1).collect();
    match segments.as_slice() {
        ["ccache", ..] => Some(Kind::Ccache),
        ["sccache", ..] => Some(Kind::Sccache),
        ["gradle", ..] => Some(Kind::Gradle),
        ["v1", "cache", _] => Some(Kind::Nx),
        ["v8", "artifacts", "status"] => None,
        ["v8", "artifacts", _] => Some(Kind::Turborepo),
        [.., "ac" | "cas", _] => Some(Kind::Bazel),
        _ => None,
    }
}
