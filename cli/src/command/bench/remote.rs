//! What is said to a server, encoded, and whether what it answers is right.
//!
//! What carries blobs is written by hand, so that a blob's bytes are made where they are sent from.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use model::{Digest, DigestFunction};
use prost::Message as _;
use prost::encoding::{self, WireType};
use wire::encode::{digest_message, function_number};
use wire::proto::{bytestream, reapi};

use super::channel::{frame, only_message};
use super::error::CallError;
use super::noise::{Noise, mix};

/// The paths of the methods.
pub(super) const READ: &str = "/google.bytestream.ByteStream/Read";
pub(super) const WRITE: &str = "/google.bytestream.ByteStream/Write";
pub(super) const BATCH_READ: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs";
pub(super) const BATCH_UPDATE: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs";
pub(super) const FIND_MISSING: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs";
pub(super) const GET_RESULT: &str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
pub(super) const UPDATE_RESULT: &str =
    "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";

/// The field that holds the bytes in a part of a blob that is read or written.
const DATA: u32 = 10;

/// What a message says besides a blob, in bytes: names and numbers, generously.
const OVERHEAD_BYTES: usize = 256;

/// How a server wants to be spoken to.
#[derive(Clone, Debug)]
pub(super) struct Dialect {
    pub(super) instance: String,
    pub(super) function: DigestFunction,
}

impl Dialect {
    /// Returns the name of a blob as it is written; each session is another upload.
    pub(super) fn write_name(&self, digest: Digest, session: u64) -> String {
        let (high, low) = (mix(session) >> 32, session & 0xffff_ffff_ffff);
        let uuid = format!("{high:08x}-0000-4000-8000-{low:012x}");
        format!("{}uploads/{uuid}/{}", self.prefix(), self.blob_name(digest))
    }

    fn blob_name(&self, digest: Digest) -> String {
        // Only functions that came after the seventh are named.
        match self.function {
            DigestFunction::Sha256 => format!("blobs/{digest}"),
            DigestFunction::Blake3 => format!("blobs/blake3/{digest}"),
        }
    }

    fn prefix(&self) -> String {
        if self.instance.is_empty() { String::new() } else { format!("{}/", self.instance) }
    }

    /// Returns the message that asks for a blob.
    pub(super) fn read(&self, digest: Digest) -> Bytes {
        let resource_name = self.prefix() + &self.blob_name(digest);
        encoded(&bytestream::ReadRequest { resource_name, ..Default::default() })
    }

    /// Returns the message that asks for several blobs.
    pub(super) fn batch_read(&self, digests: &[Digest]) -> Bytes {
        encoded(&reapi::BatchReadBlobsRequest {
            instance_name: self.instance.clone(),
            digests: digests.iter().copied().map(digest_message).collect(),
            digest_function: function_number(self.function),
            ..Default::default()
        })
    }

    /// Returns the message that brings several blobs.
    pub(super) fn batch_update(&self, blobs: &[(Digest, Noise)]) -> Bytes {
        const REQUESTS: u32 = 2;
        const DIGEST: u32 = 1;
        const BLOB: u32 = 2;
        let bytes: usize = blobs.iter().map(|(_, noise)| size(*noise) + OVERHEAD_BYTES).sum();
        frame(bytes, |message| {
            let head = reapi::BatchUpdateBlobsRequest {
                instance_name: self.instance.clone(),
                digest_function: function_number(self.function),
                ..Default::default()
            };
            append(&head, message);
            for (digest, noise) in blobs {
                let digest = digest_message(*digest);
                let data = 1 + encoding::encoded_len_varint(noise.bytes) + size(*noise);
                let bytes = encoding::message::encoded_len(DIGEST, &digest) + data;
                encoding::encode_key(REQUESTS, WireType::LengthDelimited, message);
                encoding::encode_varint(bytes as u64, message);
                encoding::message::encode(DIGEST, &digest, message);
                fill(BLOB, *noise, 0, size(*noise), message);
            }
        })
    }

    /// Returns the message that asks which blobs are missing.
    pub(super) fn find_missing(&self, digests: &[Digest]) -> Bytes {
        encoded(&reapi::FindMissingBlobsRequest {
            instance_name: self.instance.clone(),
            blob_digests: digests.iter().copied().map(digest_message).collect(),
            digest_function: function_number(self.function),
        })
    }

    /// Returns the message that asks for an action's result.
    pub(super) fn get_result(&self, action: Digest) -> Bytes {
        encoded(&reapi::GetActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(digest_message(action)),
            digest_function: function_number(self.function),
            ..Default::default()
        })
    }

    /// Returns the message that says what an action made.
    pub(super) fn update_result(&self, action: Digest, outputs: &[Digest]) -> Bytes {
        encoded(&reapi::UpdateActionResultRequest {
            instance_name: self.instance.clone(),
            action_digest: Some(digest_message(action)),
            action_result: Some(result(outputs)),
            digest_function: function_number(self.function),
            ..Default::default()
        })
    }
}

/// Returns the message that brings `bytes` of a blob from `offset` on; the first one names it.
pub(super) fn piece(name: &str, blob: Noise, offset: u64, bytes: usize) -> Bytes {
    frame(bytes + OVERHEAD_BYTES, |message| {
        let request = bytestream::WriteRequest {
            resource_name: if offset == 0 { name.to_owned() } else { String::new() },
            write_offset: i64::try_from(offset).expect("blobs are smaller than that"),
            finish_write: offset + bytes as u64 == blob.bytes,
            data: Bytes::new(),
        };
        append(&request, message);
        fill(DATA, blob, offset, bytes, message);
    })
}

/// Writes a field that holds a part of a blob.
fn fill(field: u32, blob: Noise, offset: u64, bytes: usize, message: &mut Vec<u8>) {
    encoding::encode_key(field, WireType::LengthDelimited, message);
    encoding::encode_varint(bytes as u64, message);
    let begin = message.len();
    message.resize(begin + bytes, 0);
    blob.fill(offset, &mut message[begin..]);
}

/// Fails unless the server says that it has the whole blob.
pub(super) fn check_written(answer: &Bytes, blob: Noise) -> Result<(), CallError> {
    let response = bytestream::WriteResponse::decode(only_message(answer)?)?;
    let is_whole = u64::try_from(response.committed_size) == Ok(blob.bytes);
    is_whole.then_some(()).ok_or(CallError::Wrong("another number of bytes was written"))
}

/// Fails unless all these blobs were taken.
pub(super) fn check_updated(answer: &Bytes, blobs: usize) -> Result<(), CallError> {
    let response = reapi::BatchUpdateBlobsResponse::decode(only_message(answer)?)?;
    let refused = response.responses.iter().filter_map(|it| it.status.as_ref());
    if let Some(status) = refused.into_iter().find(|status| status.code != 0) {
        let code = u16::try_from(status.code).unwrap_or(u16::MAX);
        return Err(CallError::Status { code, message: status.message.clone() });
    }
    let is_all = response.responses.len() == blobs;
    is_all.then_some(()).ok_or(CallError::Wrong("not as many blobs as were sent"))
}

/// Fails unless these are the blobs that were asked for.
pub(super) fn check_batch(answer: &Bytes, blobs: &[(Digest, Noise)]) -> Result<(), CallError> {
    let response = reapi::BatchReadBlobsResponse::decode(only_message(answer)?)?;
    let mut asked: BTreeMap<_, _> =
        blobs.iter().map(|(digest, noise)| (digest.hex(), noise)).collect();
    for blob in response.responses {
        let noise = blob.digest.and_then(|digest| asked.remove(&digest.hash));
        let noise = noise.ok_or(CallError::Wrong("a blob that nobody asked for"))?;
        if blob.data != noise.to_vec() {
            return Err(CallError::Wrong("other bytes"));
        }
    }
    asked.is_empty().then_some(()).ok_or(CallError::Wrong("not all blobs"))
}

/// Returns how long the answer is that says that just these blobs are missing, in bytes.
pub(super) fn missing_bytes(missing: &[Digest]) -> usize {
    let missing_blob_digests = missing.iter().copied().map(digest_message).collect();
    encoded(&reapi::FindMissingBlobsResponse { missing_blob_digests }).len()
}

/// Returns the hashes of the blobs that are missing.
pub(super) fn missing(answer: &Bytes) -> Result<BTreeSet<String>, CallError> {
    let response = reapi::FindMissingBlobsResponse::decode(only_message(answer)?)?;
    Ok(response.missing_blob_digests.into_iter().map(|digest| digest.hash).collect())
}

/// Fails unless this is a result with just these outputs.
pub(super) fn check_result(answer: &Bytes, outputs: &[Digest]) -> Result<(), CallError> {
    let found = reapi::ActionResult::decode(only_message(answer)?)?;
    let is_same = found.output_files == result(outputs).output_files;
    is_same.then_some(()).ok_or(CallError::Wrong("another result"))
}

/// Returns a result as a compiler's: a few files.
fn result(outputs: &[Digest]) -> reapi::ActionResult {
    let file = |(number, digest): (usize, &Digest)| reapi::OutputFile {
        path: format!("out/file{number}.o"),
        digest: Some(digest_message(*digest)),
        ..Default::default()
    };
    let metadata =
        reapi::ExecutedActionMetadata { worker: "bench".to_owned(), ..Default::default() };
    reapi::ActionResult {
        output_files: outputs.iter().enumerate().map(file).collect(),
        execution_metadata: Some(metadata),
        ..Default::default()
    }
}

fn encoded(message: &impl prost::Message) -> Bytes {
    frame(message.encoded_len(), |buffer| append(message, buffer))
}

fn append(message: &impl prost::Message, buffer: &mut Vec<u8>) {
    message.encode(buffer).expect("a vector grows");
}

/// Returns how many bytes a small blob has.
pub(super) fn size(blob: Noise) -> usize {
    usize::try_from(blob.bytes).expect("a small blob fits in memory")
}
