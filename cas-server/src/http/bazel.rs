//! Bazel's and moon's caches: blobs, and results of actions. Both are those that gRPC clients see, too.
//!
//! A name here is 64 hexadecimal digits, and says neither the function nor the size. Under `/ac` there may be anything: ccache
//! keeps its own bytes there, under names that look the same. What the bytes are decides: a result of an action is
//! answered only if all that it refers to is here; other bytes are kept as they are, in a space of their own.

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, Method, StatusCode};
use model::{Digest, DigestFunction, HASH_BYTES};
use store::{Blob, Namespace, StoreError, VALUE_BYTES_MAX};
use wire::kept::KeptBody;
use wire::references;

use super::Caches;
use super::answer::{JSON, OCTETS, answer, text};
use super::content::{Content, blocking};
use super::incoming::{Intake, Received, discard};
use super::kept;
use super::key::{parse_hash, parse_project};
use super::refusal::Refusal;
use crate::completeness::is_complete;
use crate::front::{View, results_space};

/// The functions that a name may be of, likeliest first.
const FUNCTIONS: [DigestFunction; 2] = [DigestFunction::Sha256, DigestFunction::Blake3];

/// What a path names.
struct Name {
    hash: [u8; HASH_BYTES],
    hex: String,
}

/// The results of a project, and whatever else is kept where they are.
struct Results {
    project: String,
    name: Name,
}

impl Results {
    /// Returns the space of what is no result of an action.
    fn raw_space(&self) -> String {
        format!("ac/raw/{}", self.project)
    }
}

/// Answers requests for `[<project>/]ac/<hash>` and `[<project>/]cas/<hash>`.
pub(super) async fn serve(caches: &Caches, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    let segments: Vec<_> = parts.uri.path().split('/').skip(1).collect();
    let [project @ .., kind, hex] = segments.as_slice() else { return Err(Refusal::Absent) };
    if *kind != "ac" && *kind != "cas" {
        return Err(Refusal::Absent);
    }
    let name = Name { hash: parse_hash(hex)?, hex: (*hex).to_owned() };
    let results = Results { project: parse_project(project)?, name };
    match (*kind, &parts.method) {
        ("cas", &Method::GET | &Method::HEAD) => get_blob(caches, &results.name, &parts).await,
        ("cas", &Method::PUT) => put_blob(caches, &results.name, &parts, body).await,
        (_, &Method::GET | &Method::HEAD) => get_result(caches, &results, &parts).await,
        (_, &Method::PUT) => put_result(caches, &results, &parts, body).await,
        (_, &Method::DELETE) if *kind == "ac" => delete_result(caches, &results, &parts).await,
        ("cas", _) => Err(Refusal::Method { allowed: "GET, HEAD, PUT" }),
        _ => Err(Refusal::Method { allowed: "GET, HEAD, PUT, DELETE" }),
    }
}

async fn get_blob(caches: &Caches, name: &Name, parts: &Parts) -> Result<Response, Refusal> {
    let view = caches.reading(&parts.extensions)?;
    for function in FUNCTIONS {
        let Some(digest) = view.cellar.find_by_hash(function, &name.hash).await? else { continue };
        let Some(blob) = view.cellar.read(digest).await? else { continue };
        let content = Content::of(blob).map_err(|source| StoreError::Input { source })?;
        return answer(parts, content, OCTETS).await;
    }
    Err(Refusal::Absent)
}

async fn put_blob(
    caches: &Caches,
    name: &Name,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let view = caches.writing_blobs(&parts.extensions)?;
    for function in FUNCTIONS {
        let Some(digest) = view.cellar.find_by_hash(function, &name.hash).await? else { continue };
        // Asking extends its life.
        if view.cellar.find_missing([digest].into()).await?.is_empty() {
            discard(&parts.headers, body).await?;
            return Ok(StatusCode::OK.into_response());
        }
    }
    let intake = Intake::new(&*view.cellar, &FUNCTIONS, &caches.room);
    let received = intake.receive(&parts.headers, body).await?;
    keep_blob(&view, &name.hash, received).await?;
    Ok(StatusCode::CREATED.into_response())
}

async fn keep_blob(
    view: &View,
    hash: &[u8; HASH_BYTES],
    received: Received,
) -> Result<(), Refusal> {
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

async fn get_result(caches: &Caches, at: &Results, parts: &Parts) -> Result<Response, Refusal> {
    let view = caches.reading(&parts.extensions)?;
    for namespace in view.caller.reads.iter() {
        for function in FUNCTIONS {
            let Some(result) = find_result(&view, namespace, function, at).await? else { continue };
            if !says_json(parts, &ACCEPT) {
                return answer(parts, Content::Bytes(result), OCTETS).await;
            }
            let json = caches.json.write(&result)?;
            return answer(parts, Content::Bytes(json), JSON).await;
        }
        let raw = kept::find_in(&view, namespace, &at.raw_space(), &at.name.hex).await?;
        if let Some(found) = raw {
            return answer(parts, found.content, OCTETS).await;
        }
    }
    Err(Refusal::Absent)
}

/// Returns the result that one namespace knows, if everything that it refers to is still there.
async fn find_result(
    view: &View,
    namespace: &Namespace,
    function: DigestFunction,
    at: &Results,
) -> Result<Option<Bytes>, StoreError> {
    let space = results_space(function, &at.project);
    let value = view.lookup_in(namespace, &space, &at.name.hex).await?;
    let Some(value) = value else { return Ok(None) };
    let Ok(needed) = references::of_result(function, &value.bytes) else { return Ok(None) };
    let is_complete = is_complete(&*view.cellar, function, &needed).await?;
    Ok(is_complete.then_some(value.bytes))
}

async fn put_result(
    caches: &Caches,
    at: &Results,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let view = caches.writing_values(&parts.extensions)?;
    let intake = Intake {
        memory_bytes_max: VALUE_BYTES_MAX,
        ..Intake::new(&*view.cellar, &kept::FUNCTIONS, &caches.room)
    };
    let received = intake.receive(&parts.headers, body).await?;
    let is_json = says_json(parts, &CONTENT_TYPE);
    let result = match &received {
        Received::Memory(held) if is_json => Some(caches.json.read(&held.bytes)?),
        Received::Memory(held) => {
            let is_result = references::is_result(&held.bytes);
            is_result.then(|| Bytes::copy_from_slice(&held.bytes))
        }
        // It could be a result, if there had been room to look at it.
        Received::Spooled(spool) if spool.digests()[0].size() <= VALUE_BYTES_MAX as u64 => {
            return Err(Refusal::Busy);
        }
        Received::Spooled(_) => None,
    };
    let (space, value) = if let Some(result) = result {
        (results_space(function_of(&view, &result).await?, &at.project), result)
    } else {
        let view = caches.keeping(&parts.extensions)?;
        (at.raw_space(), KeptBody::from(kept::keep(&view, received).await?).encode())
    };
    view.record(&space, &at.name.hex, value).await?;
    forget_but(&view, at, Some(&space)).await?;
    Ok(StatusCode::CREATED.into_response())
}

async fn delete_result(caches: &Caches, at: &Results, parts: &Parts) -> Result<Response, Refusal> {
    let view = caches.writing_values(&parts.extensions)?;
    let is_forgotten = forget_but(&view, at, None).await?;
    if is_forgotten { Ok(StatusCode::OK.into_response()) } else { Err(Refusal::Absent) }
}

/// Forgets what is kept under the name, but for one space. Returns whether there was something.
async fn forget_but(view: &View, at: &Results, kept: Option<&str>) -> Result<bool, StoreError> {
    let spaces = FUNCTIONS.map(|it| results_space(it, &at.project)).into_iter();
    let mut is_forgotten = false;
    for space in spaces.chain([at.raw_space()]).filter(|it| Some(it.as_str()) != kept) {
        is_forgotten |= view.forget(&space, &at.name.hex).await?;
    }
    Ok(is_forgotten)
}

/// Returns the function of the digests in a result: that by which what it refers to is here, or else SHA-256.
async fn function_of(view: &View, result: &[u8]) -> Result<DigestFunction, Refusal> {
    let [first, second] = FUNCTIONS;
    for function in [first, second] {
        let needed = references::of_result(function, result)?;
        let needed = [needed.blobs, needed.trees, needed.directories].concat();
        if view.cellar.find_missing(needed.into_iter().collect()).await?.is_empty() {
            return Ok(function);
        }
    }
    Ok(first)
}

fn says_json(parts: &Parts, name: &HeaderName) -> bool {
    let said = text(&parts.headers, name).unwrap_or_default();
    said.split([',', ';']).any(|it| it.trim().eq_ignore_ascii_case("application/json"))
}
