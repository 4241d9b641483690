//! What a request says of itself, read once, before any service sees it.

use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::USER_AGENT;
use wire::request::{METADATA_HEADER, RequestMetadata};

use super::beginning;

/// The longest header that is read, in bytes: its fields are names and UUIDs.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// The longest of its texts that is kept, in bytes: names of targets are the longest, and shorter than that.
const TEXT_BYTES_MAX: usize = 512;

/// The libraries of gRPC differ in whether they pad.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Returns what the headers say. Where they say nothing of a tool, its user agent is one.
pub(super) fn of(headers: &HeaderMap) -> RequestMetadata {
    let mut metadata = told(headers).unwrap_or_default();
    if metadata.tool.is_empty() {
        let agent = headers.get(USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or_default();
        let (tool, rest) = agent.split_once('/').unwrap_or((agent, ""));
        tool.clone_into(&mut metadata.tool);
        rest.split(' ').next().unwrap_or_default().clone_into(&mut metadata.version);
    }
    let it = &mut metadata;
    let names = [&mut it.tool, &mut it.version, &mut it.invocation, &mut it.correlated];
    let work = [&mut it.action, &mut it.mnemonic, &mut it.target, &mut it.configuration];
    for text in names.into_iter().chain(work) {
        text.truncate(beginning(text, TEXT_BYTES_MAX).len());
    }
    metadata
}

fn told(headers: &HeaderMap) -> Option<RequestMetadata> {
    let header = headers.get(METADATA_HEADER)?.as_bytes();
    if header.len() > HEADER_BYTES_MAX {
        return None;
    }
    RequestMetadata::decode(&BASE64.decode(header).ok()?)
}

#[cfg(test)]
mod tests {
    use http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(name: &'static str, text: &str) -> HeaderMap {
        let value = HeaderValue::from_str(text).unwrap();
        HeaderMap::from_iter([(HeaderName::from_static(name), value)])
    }

    #[test]
    fn a_header_is_read_padded_or_not_and_rubbish_is_not() {
        let metadata = RequestMetadata {
            tool: "bazel".to_owned(),
            invocation: "an invocation".to_owned(),
            ..RequestMetadata::default()
        };
        let padded = base64::engine::general_purpose::STANDARD.encode(metadata.encode());
        assert_eq!(of(&headers(METADATA_HEADER, &padded)), metadata);
        assert_eq!(of(&headers(METADATA_HEADER, padded.trim_end_matches('='))), metadata);
        for rubbish in ["", "?", "AAAA", &"A".repeat(HEADER_BYTES_MAX + 4)] {
            assert_eq!(of(&headers(METADATA_HEADER, rubbish)), RequestMetadata::default());
        }
    }

    #[test]
    fn a_tool_that_does_not_say_what_it_is_has_its_user_agent() {
        let metadata = of(&headers("user-agent", "ccache/4.7.5 (Linux; x86_64)"));
        assert_eq!((metadata.tool.as_str(), metadata.version.as_str()), ("ccache", "4.7.5"));
        let endless = of(&headers("user-agent", &"ä".repeat(TEXT_BYTES_MAX)));
        assert_eq!(endless.tool.len(), 0, "header values that are not ASCII are no text");
        let endless = of(&headers("user-agent", &"a".repeat(2 * TEXT_BYTES_MAX)));
        assert_eq!(endless.tool.len(), TEXT_BYTES_MAX);
    }
}
