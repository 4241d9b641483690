//! What a client says its request is for.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::HeaderMap;
use http::header::USER_AGENT;
use prost::Message as _;
use wire::proto::reapi;

use super::beginning;

/// The header that REAPI clients say it in.
const HEADER: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";

/// The longest header that is looked at, in bytes: real ones have hundreds.
const HEADER_BYTES_MAX: usize = 8 << 10;

/// The longest of its texts that is kept, in bytes: names of targets are the longest, and shorter than that.
const TEXT_BYTES_MAX: usize = 512;

/// gRPC sends no padding, and wants it accepted.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// What a client says its request is for. All of it is outside text, and any of it may be empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Purpose {
    /// The tool's name.
    pub tool: String,
    /// The tool's version.
    pub tool_version: String,
    /// The build: what a lease is named after.
    pub invocation: String,
    /// The action.
    pub action: String,
    /// What kind of action it is.
    pub mnemonic: String,
    /// The target.
    pub target: String,
}

impl Purpose {
    /// Returns what the headers of a request say. Where they say nothing of a tool, its user agent is one.
    pub fn of(headers: &HeaderMap) -> Self {
        let mut purpose = Self::told(headers).unwrap_or_default();
        if purpose.tool.is_empty() {
            let agent = headers.get(USER_AGENT).and_then(|it| it.to_str().ok()).unwrap_or_default();
            let (tool, rest) = agent.split_once('/').unwrap_or((agent, ""));
            purpose.tool = kept(tool.to_owned());
            purpose.tool_version = kept(rest.split(' ').next().unwrap_or_default().to_owned());
        }
        purpose
    }

    fn told(headers: &HeaderMap) -> Option<Self> {
        let header = headers.get(HEADER).filter(|it| it.len() <= HEADER_BYTES_MAX)?;
        let bytes = BASE64.decode(header).ok()?;
        let told = reapi::RequestMetadata::decode(bytes.as_slice()).ok()?;
        let tool = told.tool_details.unwrap_or_default();
        Some(Self {
            tool: kept(tool.tool_name),
            tool_version: kept(tool.tool_version),
            invocation: kept(told.tool_invocation_id),
            action: kept(told.action_id),
            mnemonic: kept(told.action_mnemonic),
            target: kept(told.target_id),
        })
    }
}

fn kept(mut text: String) -> String {
    text.truncate(beginning(&text, TEXT_BYTES_MAX).len());
    text
}
