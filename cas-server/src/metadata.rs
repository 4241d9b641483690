//! What a request says of itself is read once, before any service sees it.

use std::sync::Arc;

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use wire::request::{METADATA_HEADER, RequestMetadata};

/// The longest header that is read, in bytes: its fields are names and UUIDs.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// gRPC's libraries differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Puts what a request says of itself into its extensions, if it says anything.
pub(crate) async fn read(mut request: Request, next: Next) -> Response {
    if let Some(metadata) = of(request.headers()) {
        request.extensions_mut().insert(Arc::new(metadata));
    }
    next.run(request).await
}

fn of(headers: &HeaderMap) -> Option<RequestMetadata> {
    let header = headers.get(METADATA_HEADER)?.as_bytes();
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    RequestMetadata::decode(&BASE64.decode(header).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_read_padded_or_not_and_rubbish_is_not() {
        let metadata = RequestMetadata {
            tool: "bazel".to_owned(),
            invocation: "an invocation".to_owned(),
            ..RequestMetadata::default()
        };
        let padded = base64::engine::general_purpose::STANDARD.encode(metadata.encode());
        let headers = |text: &str| {
            let value = http::HeaderValue::from_str(text).unwrap();
            HeaderMap::from_iter([(http::HeaderName::from_static(METADATA_HEADER), value)])
        };
        assert_eq!(of(&headers(&padded)), Some(metadata.clone()));
        assert_eq!(of(&headers(padded.trim_end_matches('='))), Some(metadata));
        for rubbish in ["", "?", "AAAA", &"A".repeat(HEADER_BYTES_MAX + 4)] {
            assert_eq!(of(&headers(rubbish)).map(|it| it.tool).unwrap_or_default(), "");
        }
        assert_eq!(of(&HeaderMap::new()), None);
    }
}
