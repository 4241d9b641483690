//! What a request says of itself, beside its message.

use prost::Message;

use crate::proto::reapi;

/// The header that carries a [`RequestMetadata`], in base64.
pub const METADATA_HEADER: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";

/// The header of an answer that says in which namespace whoever asks writes: `trusted`, `branch/…` or `pr/…`. Only a
/// server that has namespaces sends it.
pub const NAMESPACE_HEADER: &str = "bld-namespace-bin";

/// Who asks and on behalf of what (REAPI `RequestMetadata`). All of it is the client's word.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestMetadata {
    /// The name of the client program.
    pub tool: String,
    /// Its version.
    pub version: String,
    /// The build.
    pub invocation: String,
    /// What ties several builds together.
    pub correlated: String,
    /// The action's key.
    pub action: String,
    /// What kind of action it is.
    pub mnemonic: String,
    /// The target's label.
    pub target: String,
    /// The configuration of the target.
    pub configuration: String,
}

impl RequestMetadata {
    /// Returns the metadata that these bytes are, or `None` if they are none.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let message = reapi::RequestMetadata::decode(bytes).ok()?;
        let tool = message.tool_details.unwrap_or_default();
        Some(Self {
            tool: tool.tool_name,
            version: tool.tool_version,
            invocation: message.tool_invocation_id,
            correlated: message.correlated_invocations_id,
            action: message.action_id,
            mnemonic: message.action_mnemonic,
            target: message.target_id,
            configuration: message.configuration_id,
        })
    }

    /// Returns the bytes of the message.
    pub fn encode(&self) -> Vec<u8> {
        let message = reapi::RequestMetadata {
            tool_details: Some(reapi::ToolDetails {
                tool_name: self.tool.clone(),
                tool_version: self.version.clone(),
            }),
            tool_invocation_id: self.invocation.clone(),
            correlated_invocations_id: self.correlated.clone(),
            action_id: self.action.clone(),
            action_mnemonic: self.mnemonic.clone(),
            target_id: self.target.clone(),
            configuration_id: self.configuration.clone(),
        };
        message.encode_to_vec()
    }
}
