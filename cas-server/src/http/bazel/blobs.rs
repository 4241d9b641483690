//! Blobs, named by their hash alone.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::request::Parts;
use model::{Digest, HASH_BYTES};
use store::{Blob, StoreError};

use super::FUNCTIONS;
use crate::front::View;
use crate::http::answer::{OCTETS, answer};
use crate::http::content::Content;
use crate::http::incoming::{Intake, Received, discard};
use crate::http::refusal::Refusal;
use crate::http::{Caches, blocking};

/// Answers with the blob that has that hash by one function or the other.
pub(super) async fn get(
    caches: &Caches,
    hash: &[u8; HASH_BYTES],
    parts: &Parts,
) -> Result<Response, Refusal> {
    let view = caches.reading(&parts.extensions)?;
    for function in FUNCTIONS {
        let Some(digest) = view.cellar.find_by_hash(function, hash).await? else { continue };
        let Some(blob) = view.cellar.read(digest).await? else { continue };
        let content = Content::of(blob).map_err(|source| StoreError::Input { source })?;
        return answer(parts, content, OCTETS).await;
    }
    Err(Refusal::Absent)
}

/// Keeps a blob, if it has that hash.
pub(super) async fn put(
    caches: &Caches,
    hash: &[u8; HASH_BYTES],
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let view = caches.writing_blobs(&parts.extensions)?;
    for function in FUNCTIONS {
        let Some(digest) = view.cellar.find_by_hash(function, hash).await? else { continue };
        // Asking extends its life.
        if view.cellar.find_missing([digest].into()).await?.is_empty() {
            discard(&parts.headers, body, digest.size()).await?;
            return Ok(StatusCode::OK.into_response());
        }
    }
    let intake = Intake::new(&view, &FUNCTIONS);
    let received = intake.receive(&parts.headers, body).await?;
    keep(&view, hash, received).await?;
    Ok(StatusCode::CREATED.into_response())
}

async fn keep(view: &View, hash: &[u8; HASH_BYTES], received: Received) -> Result<(), Refusal> {
    match received {
        Received::Spooled(spool) => {
            let mut digests = spool.digests().into_iter();
            let digest = digests.find(|it| it.hash() == hash).ok_or(Refusal::Mismatch)?;
            Ok(blocking(move || spool.finish(digest)).await?)
        }
        Received::Memory(held) => {
            let (bytes, hash) = (held.bytes.clone(), *hash);
            let named = blocking(move || {
                let mut digests = FUNCTIONS.iter().map(|it| Digest::of(*it, &bytes));
                digests.find(|it| *it.hash() == hash)
            });
            let digest = named.await.ok_or(Refusal::Mismatch)?;
            Ok(view.cellar.write(digest, Blob::Bytes(held.bytes.clone())).await?)
        }
    }
}
