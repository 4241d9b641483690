//! Answers to GET and HEAD: the whole or a range, packed if the client wants that.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_RANGE, CONTENT_TYPE,
    IF_RANGE, RANGE, VARY,
};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use store::StoreError;

use super::content::Content;
use super::range::Wanted;
use super::refusal::Refusal;

/// What everything is that is not JSON.
pub(super) const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// What is JSON.
pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// Returns the answer to a request for that content.
pub(super) async fn answer(
    request: &Parts,
    content: Content,
    content_type: HeaderValue,
) -> Result<Response, Refusal> {
    let size = content.size();
    let (mut status, mut range) = (StatusCode::OK, 0..size);
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, content_type);
    headers.insert(ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(VARY, HeaderValue::from_static("accept-encoding"));

    // Ranges mean something only for GET; nothing here has a tag that `If-Range` could name.
    if request.method == Method::HEAD {
        headers.insert(CONTENT_LENGTH, size.into());
        return Ok((status, headers, Body::empty()).into_response());
    }
    let wanted = text(&request.headers, &RANGE).filter(|_| !request.headers.contains_key(IF_RANGE));
    match wanted.map(|it| Wanted::parse(it, size)) {
        Some(Wanted::Outside) => return Err(Refusal::Range { size }),
        Some(Wanted::Part(part)) => {
            let said = format!("bytes {}-{}/{size}", part.start, part.end - 1);
            headers.insert(CONTENT_RANGE, said.parse().expect("it is plain ASCII"));
            (status, range) = (StatusCode::PARTIAL_CONTENT, part);
        }
        Some(Wanted::Whole) | None if accepts_zstd(&request.headers) => {
            let packed = content.into_packed_body().await;
            match packed.map_err(|source| StoreError::Input { source })? {
                Ok(body) => {
                    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
                    return Ok((status, headers, body).into_response());
                }
                Err(content) => return Ok(send(status, headers, content, range)),
            }
        }
        Some(Wanted::Whole) | None => {}
    }
    Ok(send(status, headers, content, range))
}

fn send(
    status: StatusCode,
    mut headers: HeaderMap,
    content: Content,
    range: std::ops::Range<u64>,
) -> Response {
    headers.insert(CONTENT_LENGTH, (range.end - range.start).into());
    (status, headers, content.into_body(range)).into_response()
}

/// Returns whether the client names zstd among the encodings that it takes.
fn accepts_zstd(headers: &HeaderMap) -> bool {
    let said = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|it| it.to_str().ok());
    said.flat_map(|it| it.split(',')).any(|coding| {
        let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
        let quality = quality.trim().strip_prefix("q=").and_then(|it| it.trim().parse().ok());
        name.trim().eq_ignore_ascii_case("zstd") && quality.is_none_or(|it: f32| it > 0.0)
    })
}

/// Returns a header's text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &http::HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|it| it.to_str().ok())
}
