//! Bazel's and moon's caches: blobs, and results of actions. Both are those that gRPC clients see, too.
//!
//! A name here is 64 hexadecimal digits, and says neither the function nor the size. Under `/ac` there may be anything: ccache
//! keeps its own bytes there, under names that look the same. What the bytes are decides: a result of an action is
//! answered only if all that it refers to is here; other bytes are kept as they are, in a space of their own.

mod blobs;
mod results;

use axum::extract::Request;
use axum::response::Response;
use http::Method;
use model::{DigestFunction, HASH_BYTES};

use super::Caches;
use super::key::{InvalidKey, parse_hash, parse_project};
use super::refusal::Refusal;

/// The functions that a name may be of, likeliest first.
const FUNCTIONS: [DigestFunction; 2] = [DigestFunction::Sha256, DigestFunction::Blake3];

/// What a path names.
pub(super) enum Name {
    /// `[<project>/]cas/<hash>`: blobs are those of all projects.
    Blob([u8; HASH_BYTES]),
    /// `[<project>/]ac/<hash>`.
    Result(ResultName),
}

/// The name of a result, or of whatever else is kept under such a one.
pub(super) struct ResultName {
    project: String,
    hex: String,
}

impl Name {
    /// Returns what a path names, or `None` if it is none of this cache's.
    pub(super) fn parse(path: &str) -> Result<Option<Self>, InvalidKey> {
        let segments: Vec<_> = path.split('/').skip(1).collect();
        let [project @ .., kind @ ("ac" | "cas"), hex] = segments.as_slice() else {
            return Ok(None);
        };
        let (project, hash) = (parse_project(project)?, parse_hash(hex)?);
        Ok(Some(match *kind {
            "cas" => Self::Blob(hash),
            _ => Self::Result(ResultName { project, hex: (*hex).to_owned() }),
        }))
    }
}

/// Answers requests for what has a name.
pub(super) async fn serve(
    caches: &Caches,
    name: &Name,
    request: Request,
) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    match (name, parts.method.clone()) {
        (Name::Blob(hash), Method::GET | Method::HEAD) => blobs::get(caches, hash, &parts).await,
        (Name::Blob(hash), Method::PUT) => blobs::put(caches, hash, &parts, body).await,
        (Name::Blob(_), _) => Err(Refusal::Method { allowed: "GET, HEAD, PUT" }),
        (Name::Result(at), Method::GET | Method::HEAD) => results::get(caches, at, &parts).await,
        (Name::Result(at), Method::PUT) => results::put(caches, at, &parts, body).await,
        (Name::Result(at), Method::DELETE) => results::delete(caches, at, &parts).await,
        (Name::Result(_), _) => Err(Refusal::Method { allowed: "GET, HEAD, PUT, DELETE" }),
    }
}
