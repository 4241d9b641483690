//! Results of actions, and whatever else is kept under such names.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, StatusCode};
use model::DigestFunction;
use store::{Namespace, StoreError, VALUE_BYTES_MAX};
use wire::elements::Shape;
use wire::kept::KeptBody;
use wire::references;

use super::{FUNCTIONS, ResultName};
use crate::completeness;
use crate::front::{View, raw_space, results_space};
use crate::http::answer::{JSON, OCTETS, answer, text};
use crate::http::content::Content;
use crate::http::incoming::{Intake, Received};
use crate::http::refusal::Refusal;
use crate::http::{Caches, kept};
use crate::load::{TooMuch, decoded_bytes, json_bytes};
use crate::results::{Accepted, Unusable};

/// How many times as much memory a result takes while it becomes JSON: messages are trees of their fields then.
const JSON_TIMES: usize = 4;

/// Answers with the result by the best word of which everything is still there, or with what else is kept.
pub(super) async fn get(
    caches: &Caches,
    at: &ResultName,
    parts: &Parts,
) -> Result<Response, Refusal> {
    let view = caches.reading(&parts.extensions)?;
    for namespace in view.caller.reads.iter() {
        for function in FUNCTIONS {
            let Some(result) = find_result(&view, namespace, function, at).await? else { continue };
            if !says_json(parts, &ACCEPT) {
                return answer(parts, Content::Bytes(result), OCTETS).await;
            }
            hold(&view, &result, JSON_TIMES)?;
            let json = caches.json.write(&result)?;
            return answer(parts, Content::Bytes(json), JSON).await;
        }
        let raw = kept::find_in(&view, namespace, &raw_space(&at.project), &at.hex).await?;
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
    at: &ResultName,
) -> Result<Option<Bytes>, Refusal> {
    let space = results_space(function, &at.project);
    let value = view.lookup_in(namespace, &space, &at.hex).await?;
    let Some(value) = value else { return Ok(None) };
    if !hold(view, &value.bytes, 1)? {
        return Ok(None);
    }
    let Ok(needed) = references::of_result(function, &value.bytes) else { return Ok(None) };
    let missing = completeness::missing(&*view.cellar, function, &needed).await?;
    Ok(missing.is_empty().then_some(value.bytes))
}

/// Counts what a result takes in memory when it is decoded, so many times. Returns whether it can be.
fn hold(view: &View, result: &[u8], times: usize) -> Result<bool, TooMuch> {
    let Ok(bytes) = decoded_bytes(Shape::of_result(), result) else { return Ok(false) };
    view.memory.hold(bytes.saturating_mul(times))?;
    Ok(true)
}

/// Keeps a result, or whatever else the bytes are.
pub(super) async fn put(
    caches: &Caches,
    at: &ResultName,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let view = caches.writing_values(&parts.extensions)?;
    let intake =
        Intake { memory_bytes_max: VALUE_BYTES_MAX, ..Intake::new(&view, &kept::FUNCTIONS) };
    let received = intake.receive(&parts.headers, body).await?;
    let is_json = says_json(parts, &CONTENT_TYPE);
    let result = match &received {
        Received::Memory(held) if is_json => {
            view.memory.hold(json_bytes(&held.bytes))?;
            let result = caches.json.read(&held.bytes)?;
            hold(&view, &result, 1)?;
            Some(result)
        }
        Received::Memory(held) => {
            let is_result = hold(&view, &held.bytes, 1)? && references::is_result(&held.bytes);
            is_result.then(|| Bytes::copy_from_slice(&held.bytes))
        }
        // It could be a result, if there had been room to look at it.
        Received::Spooled(spool) if spool.digests()[0].size() <= VALUE_BYTES_MAX as u64 => {
            return Err(Refusal::Busy);
        }
        Received::Spooled(_) => None,
    };
    let space = if let Some(result) = result {
        let accepted = accept(&view, result).await?;
        let space = accepted.space(&at.project);
        accepted.record(&view, &at.project, &at.hex).await?;
        space
    } else {
        let view = caches.keeping(&parts.extensions)?;
        let (space, body) = (raw_space(&at.project), kept::keep(&view, received).await?);
        view.record(&space, &at.hex, KeptBody::from(body).encode()).await?;
        space
    };
    forget_but(&view, at, Some(&space)).await?;
    Ok(StatusCode::CREATED.into_response())
}

/// Forgets what the caller said of the name.
pub(super) async fn delete(
    caches: &Caches,
    at: &ResultName,
    parts: &Parts,
) -> Result<Response, Refusal> {
    let view = caches.writing_values(&parts.extensions)?;
    let is_forgotten = forget_but(&view, at, None).await?;
    if is_forgotten { Ok(StatusCode::OK.into_response()) } else { Err(Refusal::Absent) }
}

/// Forgets what is kept under the name, but for one space. Returns whether there was something.
async fn forget_but(view: &View, at: &ResultName, kept: Option<&str>) -> Result<bool, StoreError> {
    let spaces = FUNCTIONS.map(|it| results_space(it, &at.project)).into_iter();
    let mut is_forgotten = false;
    for space in spaces.chain([raw_space(&at.project)]).filter(|it| Some(it.as_str()) != kept) {
        is_forgotten |= view.forget(&space, &at.hex).await?;
    }
    Ok(is_forgotten)
}

/// Returns a result of the function by which what it refers to is here, or else of SHA-256.
async fn accept(view: &View, bytes: Bytes) -> Result<Accepted, Refusal> {
    let [first, second] = FUNCTIONS.map(|it| Accepted::decode(view, it, bytes.clone()));
    match (first, second) {
        (Ok(first), Ok(second)) => {
            let is_second = !first.is_here(view).await? && second.is_here(view).await?;
            Ok(if is_second { second } else { first })
        }
        (Err(_), Ok(second)) => Ok(second),
        // What came inside has the digests that are claimed, so it is of the second one.
        (Err(_), Err(denied @ Unusable::Denied(_))) => Err(denied.into()),
        (first, Err(_)) => Ok(first?),
    }
}

fn says_json(parts: &Parts, name: &HeaderName) -> bool {
    let said = text(&parts.headers, name).unwrap_or_default();
    said.split([',', ';']).any(|it| it.trim().eq_ignore_ascii_case("application/json"))
}
