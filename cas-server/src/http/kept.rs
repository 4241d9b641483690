//! Caches that keep bodies under keys that say nothing of them: GET, HEAD, PUT and DELETE.

use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use model::{Digest, DigestFunction};
use store::{Blob, Namespace, StoreError};
use wire::kept::{KeptBody, KeptContent};

use super::answer::{OCTETS, answer};
use super::content::Content;
use super::incoming::{Intake, Received};
use super::refusal::Refusal;
use super::{Caches, blocking};
use crate::front::View;

/// The largest body that is kept inside its value, in bytes: finding such a one twice would cost more than keeping it
/// twice.
const INLINE_BYTES_MAX: usize = 16 << 10;

/// The function that names bodies which are blobs.
pub(super) const FUNCTIONS: [DigestFunction; 1] = [DigestFunction::Blake3];

/// A body that was found, with what is known of it.
pub(super) struct Found {
    pub(super) content: Content,
    pub(super) body: KeptBody,
}

/// Answers a request to a cache of one space that knows nothing but keys and bodies.
pub(super) async fn serve(
    caches: &Caches,
    space: &str,
    key: &str,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::GET | Method::HEAD => get(caches, space, key, &parts).await,
        Method::PUT => {
            let view = caches.keeping(&parts.extensions)?;
            let intake = Intake::new(&view, &FUNCTIONS);
            let received = intake.receive(&parts.headers, body).await?;
            let content = keep(&view, received).await?;
            view.record(space, key, KeptBody::from(content).encode()).await?;
            Ok(StatusCode::CREATED.into_response())
        }
        Method::DELETE => {
            let view = caches.keeping(&parts.extensions)?;
            let is_forgotten = view.forget(space, key).await?;
            if is_forgotten { Ok(StatusCode::OK.into_response()) } else { Err(Refusal::Absent) }
        }
        _ => Err(Refusal::Method { allowed: "GET, HEAD, PUT, DELETE" }),
    }
}

/// Answers with what is kept under a key.
pub(super) async fn get(
    caches: &Caches,
    space: &str,
    key: &str,
    parts: &Parts,
) -> Result<Response, Refusal> {
    let view = caches.reading(&parts.extensions)?;
    let found = find(&view, space, key).await?.ok_or(Refusal::Absent)?;
    answer(parts, found.content, OCTETS).await
}

/// Returns what is kept under a key, by the best word whose bytes are still there.
pub(super) async fn find(view: &View, space: &str, key: &str) -> Result<Option<Found>, StoreError> {
    for namespace in view.caller.reads.iter() {
        if let Some(found) = find_in(view, namespace, space, key).await? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Returns what one namespace keeps under a key, if its bytes are still there.
pub(super) async fn find_in(
    view: &View,
    namespace: &Namespace,
    space: &str,
    key: &str,
) -> Result<Option<Found>, StoreError> {
    let Some(value) = view.lookup_in(namespace, space, key).await? else { return Ok(None) };
    // What cannot be parsed was written by a later version; to this one it is nothing.
    let Ok(body) = KeptBody::decode(value.bytes) else { return Ok(None) };
    let content = match &body.content {
        KeptContent::Inline(bytes) => Content::Bytes(bytes.clone()),
        KeptContent::Blob(digest) => match view.cellar.read(*digest).await? {
            Some(blob) => Content::of(blob).map_err(|source| StoreError::Input { source })?,
            None => return Ok(None),
        },
    };
    Ok(Some(Found { content, body }))
}

/// Keeps the bytes of a body and returns where they are.
pub(super) async fn keep(view: &View, received: Received) -> Result<KeptContent, StoreError> {
    match received {
        Received::Memory(held) if held.bytes.len() <= INLINE_BYTES_MAX => {
            // Apart from the buffer that it was received in, which may be larger.
            Ok(KeptContent::Inline(Bytes::copy_from_slice(&held.bytes)))
        }
        Received::Memory(held) => {
            let bytes = held.bytes.clone();
            let digest = blocking(move || Digest::of(DigestFunction::Blake3, &bytes)).await;
            view.cellar.write(digest, Blob::Bytes(held.bytes.clone())).await?;
            Ok(KeptContent::Blob(digest))
        }
        Received::Spooled(spool) => {
            let digest = spool.digests()[0];
            blocking(move || spool.finish(digest)).await?;
            Ok(KeptContent::Blob(digest))
        }
    }
}
