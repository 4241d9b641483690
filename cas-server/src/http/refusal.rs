//! What the plain caches refuse, and how they say so.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_RANGE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderValue, StatusCode};
use store::{StoreError, VALUE_BYTES_MAX};

use super::key::InvalidKey;
use crate::Denied;
use crate::limits::RETRY_DELAY;
use crate::load::TooMuch;
use crate::results::Unusable;

/// Asks for a name and password, or for a token; clients that have one send it only when they are asked.
const CHALLENGE: HeaderValue = HeaderValue::from_static("Basic realm=\"bld\", Bearer");

/// Why a request is not answered as its sender hoped.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    #[error(transparent)]
    Denied(#[from] Denied),
    #[error("nothing is kept there")]
    Absent,
    #[error("there is no such method here; there are {allowed}")]
    Method { allowed: &'static str },
    #[error("nothing of the body came for {} seconds", waited.as_secs())]
    Slow { waited: Duration },
    #[error("something else is kept there already, and it stays")]
    Exists,
    #[error("say how long the body is, or send it in chunks")]
    LengthUnknown,
    #[error("the body is larger than {bytes_max} bytes")]
    TooLarge { bytes_max: u64 },
    #[error("the body unpacks to more than {times} times what was sent")]
    Bomb { times: u64 },
    #[error("the encoding `{0}` is not understood here; `zstd` is")]
    Encoding(String),
    #[error("none of the {size} bytes lie in that range")]
    Range { size: u64 },
    #[error(transparent)]
    Key(#[from] InvalidKey),
    #[error("the body does not hash to the name that it was given, by SHA-256 or BLAKE3")]
    Mismatch,
    #[error("the body is malformed")]
    Json(#[from] wire::json::JsonError),
    #[error(transparent)]
    Result(Unusable),
    #[error("the body is malformed")]
    Query(#[from] serde_json::Error),
    #[error("the body is not what zstd makes")]
    Packed { source: std::io::Error },
    #[error("only what lies there itself is listed, with `Depth: 0`")]
    Depth,
    #[error("the body broke off")]
    Interrupted { source: axum::Error },
    #[error("too much of what you send and ask for is held in memory")]
    Busy,
    #[error("{}", if .0.is_full() { "there is no room now" } else { "the store failed" })]
    Store(StoreError),
}

impl Refusal {
    /// Returns the status code that says it.
    pub(super) fn status(&self) -> StatusCode {
        match self {
            Self::Denied(Denied::Anonymous(_)) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denied::Forbidden { .. }) | Self::Depth => StatusCode::FORBIDDEN,
            Self::Absent => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Slow { .. } => StatusCode::REQUEST_TIMEOUT,
            Self::Exists => StatusCode::CONFLICT,
            Self::LengthUnknown => StatusCode::LENGTH_REQUIRED,
            Self::TooLarge { .. } | Self::Bomb { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Encoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Range { .. } => StatusCode::RANGE_NOT_SATISFIABLE,
            Self::Key(_)
            | Self::Mismatch
            | Self::Json(_)
            | Self::Result(_)
            | Self::Query(_)
            | Self::Packed { .. }
            | Self::Interrupted { .. } => StatusCode::BAD_REQUEST,
            Self::Store(error) if error.is_full() => StatusCode::INSUFFICIENT_STORAGE,
            Self::Busy | Self::Store(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// Returns the code, the headers and no body.
    pub(super) fn head(&self) -> Response {
        if let Self::Store(error) = self
            && !error.is_full()
        {
            tracing::error!(error = error as &dyn std::error::Error, "the store failed");
        }
        let status = self.status();
        let mut response = status.into_response();
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, CHALLENGE);
        }
        if let Self::Method { allowed } = self {
            headers.insert(ALLOW, HeaderValue::from_static(allowed));
        }
        if let Self::Range { size } = self {
            let range = format!("bytes */{size}");
            headers.insert(CONTENT_RANGE, range.parse().expect("it is plain ASCII"));
        }
        if matches!(self, Self::Store(_) | Self::Busy) {
            headers.insert(RETRY_AFTER, RETRY_DELAY.as_secs().into());
        }
        response
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::ValueTooLarge) {
            // Keys are bounded elsewhere, and names of callers are short.
            return Self::TooLarge { bytes_max: VALUE_BYTES_MAX as u64 };
        }
        Self::Store(error)
    }
}

impl From<TooMuch> for Refusal {
    fn from(TooMuch: TooMuch) -> Self {
        Self::Busy
    }
}

impl From<Unusable> for Refusal {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            Unusable::Denied(denied) => Self::Denied(denied),
            Unusable::Malformed(_)
            | Unusable::Mismatch { .. }
            | Unusable::Link { .. }
            | Unusable::Path { .. } => Self::Result(unusable),
        }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (parts, _) = self.head().into_parts();
        (parts.status, parts.headers, format!("{self}\n")).into_response()
    }
}
