//! Results of actions as JSON (protojson), which moon speaks over HTTP.

use bytes::Bytes;
use prost::Message;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor};

use crate::DESCRIPTORS;
use crate::proto::reapi;

/// Why something cannot be said in the other form.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The text is not such a message in JSON.
    #[error("the text is not an ActionResult in JSON")]
    Json(#[from] serde_json::Error),
    /// The bytes are not such a message.
    #[error("the bytes are not an ActionResult")]
    Protobuf(#[from] prost::DecodeError),
}

/// Translates `ActionResult` messages from and to JSON.
#[derive(Clone, Debug)]
pub struct JsonResults {
    descriptor: MessageDescriptor,
}

impl JsonResults {
    /// Returns a translator.
    pub fn new() -> Self {
        let pool = DescriptorPool::decode(DESCRIPTORS).expect("a test makes the descriptors anew");
        let name = "build.bazel.remote.execution.v2.ActionResult";
        Self { descriptor: pool.get_message_by_name(name).expect("proto/ has that message") }
    }

    /// Returns the encoded message that a JSON text says. Fields that this version does not know are left out.
    pub fn read(&self, json: &[u8]) -> Result<Bytes, JsonError> {
        let mut source = serde_json::Deserializer::from_slice(json);
        let lenient = DeserializeOptions::new().deny_unknown_fields(false);
        let descriptor = self.descriptor.clone();
        let message = DynamicMessage::deserialize_with_options(descriptor, &mut source, &lenient)?;
        source.end()?;
        Ok(message.encode_to_vec().into())
    }

    /// Returns an encoded message as JSON.
    pub fn write(&self, bytes: &[u8]) -> Result<Bytes, JsonError> {
        let mut result = reapi::ActionResult::decode(bytes)?;
        if let Some(metadata) = &mut result.execution_metadata {
            // Messages of any type: JSON cannot say those whose types are not known here.
            metadata.auxiliary_metadata.clear();
        }
        let mut message = DynamicMessage::new(self.descriptor.clone());
        message.transcode_from(&result)?;
        Ok(serde_json::to_vec(&message)?.into())
    }
}

impl Default for JsonResults {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_result_is_the_same_in_both_forms() {
        let digest = reapi::Digest { hash: HASH.to_owned(), size_bytes: 0 };
        let file = reapi::OutputFile {
            path: "out/a".to_owned(),
            digest: Some(digest),
            is_executable: true,
            contents: Bytes::from_static(b"\x00\xff"),
            ..Default::default()
        };
        let result =
            reapi::ActionResult { output_files: vec![file], exit_code: 3, ..Default::default() };
        let (json, bytes) = (JsonResults::new(), result.encode_to_vec());
        let text = json.write(&bytes).unwrap();
        assert_eq!(
            String::from_utf8(text.to_vec()).unwrap(),
            format!(
                r#"{{"outputFiles":[{{"path":"out/a","digest":{{"hash":"{HASH}"}},"isExecutable":true,"contents":"AP8="}}],"exitCode":3}}"#
            )
        );
        assert_eq!(json.read(&text).unwrap(), bytes);
    }

    #[test]
    fn numbers_may_be_texts_and_what_is_not_known_is_left_out() {
        let text = format!(
            r#"{{"outputFiles":[{{"path":"a","digest":{{"hash":"{HASH}","sizeBytes":"12"}},"later":[1]}}],
                "executionMetadata":{{"worker":"moon","queuedTimestamp":"2026-01-02T03:04:05.5Z"}}}}"#
        );
        let json = JsonResults::new();
        let bytes = json.read(text.as_bytes()).unwrap();
        let result = reapi::ActionResult::decode(bytes.clone()).unwrap();
        assert_eq!(result.output_files[0].digest.as_ref().unwrap().size_bytes, 12);
        let again = String::from_utf8(json.write(&bytes).unwrap().to_vec()).unwrap();
        assert!(again.contains(r#""sizeBytes":"12""#) && again.contains("2026-01-02T03:04:05.5"));
    }

    #[test]
    fn what_has_a_type_that_only_its_maker_knows_is_no_obstacle() {
        let any = prost_types::Any { type_url: "x/unknown".to_owned(), value: vec![1, 2] };
        let metadata =
            reapi::ExecutedActionMetadata { auxiliary_metadata: vec![any], ..Default::default() };
        let result =
            reapi::ActionResult { execution_metadata: Some(metadata), ..Default::default() };
        assert_eq!(
            JsonResults::new().write(&result.encode_to_vec()).unwrap(),
            r#"{"executionMetadata":{}}"#
        );
    }

    #[test]
    fn what_is_no_result_is_refused() {
        let json = JsonResults::new();
        let deep = "[".repeat(100_000);
        for text in ["", "null", "[]", r#"{"exitCode":"x"}"#, r#"{"exitCode":1} more"#, &deep] {
            json.read(text.as_bytes()).unwrap_err();
        }
        json.write(b"\xff").unwrap_err();
    }
}
