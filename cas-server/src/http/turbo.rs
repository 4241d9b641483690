//! Turborepo's cache: artifacts with a signature and a duration; errors in JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use axum::{Router, middleware};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, StatusCode, header};
use serde::{Deserialize, Serialize};
use serde_json::json;
use wire::kept::KeptBody;

use super::Caches;
use super::answer::{JSON, OCTETS, answer, text};
use super::incoming::{Intake, read_small};
use super::refusal::Refusal;
use super::{kept, key};
use crate::load::json_bytes;
use crate::metrics::Kind;

const TAG: HeaderName = HeaderName::from_static("x-artifact-tag");
const DURATION: HeaderName = HeaderName::from_static("x-artifact-duration");

/// The longest signature, in bytes: several times an HMAC in base64.
const TAG_BYTES_MAX: usize = 600;

/// The largest list of hashes that is answered, in bytes.
const QUERY_BYTES_MAX: u64 = 1 << 20;

/// How many hashes one list may have: many times the tasks of a large repository.
const QUERY_HASHES_MAX: usize = 10_000;

/// What a browser, or a client that asks like one, may send.
const PREFLIGHT: [(HeaderName, HeaderValue); 2] = [
    (
        header::ACCESS_CONTROL_ALLOW_METHODS,
        HeaderValue::from_static("GET, HEAD, PUT, POST, OPTIONS"),
    ),
    (
        header::ACCESS_CONTROL_ALLOW_HEADERS,
        HeaderValue::from_static(
            "Authorization, Content-Type, User-Agent, x-artifact-client-ci, \
             x-artifact-client-interactive, x-artifact-duration, x-artifact-tag",
        ),
    ),
];

/// Returns the routes below `v8/artifacts`.
pub(super) fn routes() -> Router<Caches> {
    let counting = middleware::from_fn_with_state(Kind::Turborepo, super::count);
    Router::new()
        .route("/v8/artifacts", any(query))
        .route("/v8/artifacts/status", get(status).options(preflight))
        .route("/v8/artifacts/events", any(events))
        .route("/v8/artifacts/{hash}", any(serve).layer(counting))
}

async fn preflight() -> Response {
    (StatusCode::OK, PREFLIGHT).into_response()
}

async fn status(State(caches): State<Caches>, request: Request) -> Response {
    let view = caches.reading(request.extensions());
    let status = if view.is_ok() { "enabled" } else { "disabled" };
    text_of(&json!({ "status": status })).into_response()
}

/// Takes what the client says of its own hits, which is nothing that this server does not know.
async fn events(State(caches): State<Caches>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let done = match parts.method {
        Method::OPTIONS => return preflight().await,
        Method::POST => match caches.reading(&parts.extensions) {
            Ok(view) => read_small(&view, &parts.headers, body, QUERY_BYTES_MAX).await,
            Err(refusal) => Err(refusal),
        },
        _ => Err(Refusal::Method { allowed: "POST, OPTIONS" }),
    };
    done.map_or_else(|refusal| as_json(&refusal), |_unused| text_of(&json!({})).into_response())
}

/// Answers requests for `v8/artifacts/<hash>`.
async fn serve(
    State(caches): State<Caches>,
    Path(hash): Path<String>,
    request: Request,
) -> Response {
    let served = serve_hash(&caches, &hash, request).await;
    served.unwrap_or_else(|refusal| as_json(&refusal))
}

async fn serve_hash(caches: &Caches, hash: &str, request: Request) -> Result<Response, Refusal> {
    let hash = key::parse(hash)?;
    let (parts, body) = request.into_parts();
    let space = space(&parts)?;
    match parts.method {
        Method::OPTIONS => Ok(preflight().await),
        Method::GET | Method::HEAD => {
            let view = caches.reading(&parts.extensions)?;
            let found = kept::find(&view, &space, hash).await?.ok_or(Refusal::Absent)?;
            let mut response = answer(&parts, found.content, OCTETS).await?;
            let headers = response.headers_mut();
            if let Some(tag) = found.body.tag.and_then(|it| HeaderValue::try_from(it).ok()) {
                headers.insert(TAG, tag);
            }
            if let Some(duration) = found.body.duration {
                headers.insert(DURATION, milliseconds(duration).into());
            }
            Ok(response)
        }
        Method::PUT => {
            let view = caches.keeping(&parts.extensions)?;
            let tag = text(&parts.headers, &TAG).filter(|it| it.len() <= TAG_BYTES_MAX);
            let duration = text(&parts.headers, &DURATION).and_then(|it| it.trim().parse().ok());
            let intake = Intake::new(&view, &kept::FUNCTIONS);
            let received = intake.receive(&parts.headers, body).await?;
            let content = kept::keep(&view, received).await?;
            let tag = tag.map(str::to_owned);
            let body = KeptBody { content, tag, duration: duration.map(Duration::from_millis) };
            view.record(&space, hash, body.encode()).await?;
            let urls = [format!("/v8/artifacts/{hash}")];
            Ok((StatusCode::ACCEPTED, text_of(&json!({ "urls": urls }))).into_response())
        }
        _ => Err(Refusal::Method { allowed: "GET, HEAD, PUT, OPTIONS" }),
    }
}

#[derive(Deserialize)]
struct Query {
    hashes: Vec<String>,
}

/// What is known of one artifact.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Known {
    size: u64,
    task_duration_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    tag: Option<String>,
}

/// Answers what is known of each of a list of artifacts.
async fn query(State(caches): State<Caches>, request: Request) -> Response {
    let known = query_known(&caches, request).await;
    known.unwrap_or_else(|refusal| as_json(&refusal))
}

async fn query_known(caches: &Caches, request: Request) -> Result<Response, Refusal> {
    let (parts, body) = request.into_parts();
    match parts.method {
        Method::POST => {}
        Method::OPTIONS => return Ok(preflight().await),
        _ => return Err(Refusal::Method { allowed: "POST, OPTIONS" }),
    }
    let view = caches.reading(&parts.extensions)?;
    let space = space(&parts)?;
    let body = read_small(&view, &parts.headers, body, QUERY_BYTES_MAX).await?;
    view.memory.hold(json_bytes(&body))?;
    let Query { hashes } = serde_json::from_slice(&body)?;
    if hashes.len() > QUERY_HASHES_MAX {
        return Err(Refusal::TooLarge { bytes_max: QUERY_BYTES_MAX });
    }
    let mut answers = BTreeMap::new();
    for hash in hashes {
        let found = kept::find(&view, &space, key::parse(&hash)?).await?;
        let known = found.map(|it| Known {
            size: it.content.size(),
            task_duration_ms: milliseconds(it.body.duration.unwrap_or_default()),
            tag: it.body.tag,
        });
        answers.insert(hash, known);
    }
    Ok(text_of(&json!(answers)).into_response())
}

/// Returns the space of the team that the query names, as the client was configured.
fn space(parts: &Parts) -> Result<String, Refusal> {
    let pairs = parts.uri.query().unwrap_or_default().split('&');
    let pairs: BTreeMap<_, _> = pairs.filter_map(|it| it.split_once('=')).collect();
    match pairs.get("teamId").or_else(|| pairs.get("slug")) {
        Some(team) if !team.is_empty() => Ok(format!("turbo/{}", key::parse(team)?)),
        _ => Ok("turbo/".to_owned()),
    }
}

fn text_of(json: &serde_json::Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, JSON)], json.to_string())
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Returns the refusal in the form that the client parses.
fn as_json(refusal: &Refusal) -> Response {
    let (mut parts, _) = refusal.head().into_parts();
    if matches!(refusal, Refusal::Denied { .. }) {
        // At the other code the client forgets its token.
        parts.status = StatusCode::FORBIDDEN;
    }
    let code = parts.status.canonical_reason().unwrap_or("Refused");
    let code = code.to_ascii_lowercase().replace(' ', "_");
    let error = json!({ "error": { "code": code, "message": refusal.to_string() } });
    (parts.status, parts.headers, text_of(&error)).into_response()
}
