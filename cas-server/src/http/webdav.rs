//! As much `WebDAV` as sccache needs: collections are wherever somebody asks for one.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderName, StatusCode};

use super::answer::text;
use super::refusal::Refusal;
use super::{Caches, kept, key};

const SPACE: &str = "sccache";
const DEPTH: HeaderName = HeaderName::from_static("depth");

/// Answers requests for what lies below `sccache`.
pub(super) async fn serve(
    State(caches): State<Caches>,
    request: Request,
) -> Result<Response, Refusal> {
    let uri = request.uri().clone();
    let below = uri.path().strip_prefix("/sccache").unwrap_or_default();
    let key = below.strip_prefix('/').unwrap_or_default();
    match request.method().as_str() {
        "PROPFIND" => list(&caches, key, &request.into_parts().0).await,
        "MKCOL" => {
            if !key.is_empty() {
                key::parse(key)?;
            }
            caches.keeping(request.extensions())?;
            Ok(StatusCode::CREATED.into_response())
        }
        "GET" | "HEAD" | "PUT" | "DELETE" => {
            kept::serve(&caches, SPACE, key::parse(key)?, request).await
        }
        _ => Err(Refusal::Method { allowed: "GET, HEAD, PUT, DELETE, PROPFIND, MKCOL" }),
    }
}

/// Answers what lies at a path: a body if one is kept there, or else a collection if the path ends like one.
async fn list(caches: &Caches, key: &str, parts: &Parts) -> Result<Response, Refusal> {
    let view = caches.reading(&parts.extensions)?;
    if text(&parts.headers, &DEPTH) != Some("0") {
        return Err(Refusal::Depth);
    }
    let found = match key {
        "" => None,
        key => kept::find(&view, SPACE, key::parse(key)?).await?,
    };
    let properties = match found {
        Some(found) => format!(
            "<D:resourcetype/><D:getcontentlength>{}</D:getcontentlength>",
            found.content.size()
        ),
        None if key.is_empty() || key.ends_with('/') => {
            "<D:resourcetype><D:collection/></D:resourcetype>".to_owned()
        }
        None => return Err(Refusal::Absent),
    };
    let href = escape(parts.uri.path());
    let xml = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n\
         <D:multistatus xmlns:D=\"DAV:\"><D:response><D:href>{href}</D:href><D:propstat>\
         <D:prop>{properties}<D:getlastmodified>{MODIFIED}</D:getlastmodified></D:prop>\
         <D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response></D:multistatus>\n"
    );
    let headers = [(CONTENT_TYPE, "application/xml; charset=utf-8")];
    Ok((StatusCode::MULTI_STATUS, headers, xml).into_response())
}

/// When everything was modified: clients cannot do without, and nothing depends on it.
const MODIFIED: &str = "Sat, 01 Jan 2000 00:00:00 GMT";

/// Returns a path as text of XML.
fn escape(path: &str) -> String {
    let escaped = path.replace('&', "&amp;").replace('<', "&lt;");
    escaped.replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;")
}
