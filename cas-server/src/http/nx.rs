//! Nx's self-hosted cache. What is kept under a hash is never replaced.

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use http::{Method, StatusCode};
use model::{Digest, DigestFunction};
use wire::kept::KeptBody;

use super::Caches;
use super::incoming::Intake;
use super::refusal::Refusal;
use super::{kept, key};

const SPACE: &str = "nx";

/// Answers requests for `v1/cache/<hash>`.
pub(super) async fn serve(
    State(caches): State<Caches>,
    Path(hash): Path<String>,
    request: Request,
) -> Response {
    serve_key(&caches, &hash, request).await.unwrap_or_else(|refusal| {
        let is_denied = matches!(refusal, Refusal::Denied { .. });
        let mut response = refusal.into_response();
        if is_denied {
            // A build without write access goes on at this code, and stops at the other.
            *response.status_mut() = StatusCode::FORBIDDEN;
        }
        response
    })
}

async fn serve_key(caches: &Caches, hash: &str, request: Request) -> Result<Response, Refusal> {
    let hash = key::parse(hash)?;
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::GET | Method::HEAD => kept::get(caches, SPACE, hash, &parts).await,
        Method::PUT => {
            let view = caches.keeping(&parts.extensions)?;
            if kept::find(&view, SPACE, hash).await?.is_some() {
                return Err(Refusal::Exists);
            }
            let intake = Intake::new(&view, &kept::FUNCTIONS);
            let received = intake.receive(&parts.headers, body).await?;
            let content = kept::keep(&view, received).await?;

            // Who else wants to write this key waits for this one, and finds it then.
            let name = format!("{} {hash}", view.caller.namespace);
            let name = Digest::of(DigestFunction::Blake3, name.as_bytes());
            let _turn = caches.deciding.take(name).await;
            if kept::find(&view, SPACE, hash).await?.is_some() {
                return Err(Refusal::Exists);
            }
            view.record(SPACE, hash, KeptBody::from(content).encode()).await?;
            // Nx takes no other code of success.
            Ok(StatusCode::OK.into_response())
        }
        _ => Err(Refusal::Method { allowed: "GET, HEAD, PUT" }),
    }
}
