//! The calls of `ContentAddressableStorage`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use model::{Digest, DigestFunction};
use tonic::{Code, Status};
use wire::proto::reapi::content_addressable_storage_client::ContentAddressableStorageClient;
use wire::proto::reapi::{
    BatchReadBlobsRequest, BatchReadBlobsResponse, BatchUpdateBlobsRequest,
    BatchUpdateBlobsResponse, FindMissingBlobsRequest, batch_read_blobs_response,
    batch_update_blobs_request, compressor,
};

use super::{Lacks, Read, Written};
use crate::remote::connection::Connection;
use crate::remote::line::Line;
use crate::remote::{RemoteError, ZSTD_LEVEL};

/// How large an answer may be, in bytes: a full batch, with what is said of each blob.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// What a digest takes in a message, in bytes.
const DIGEST_BYTES: u64 = 75;

/// How much a blob must have to be worth compressing, in bytes.
const PACKED_BYTES_MIN: usize = 512;

fn client(channel: Line) -> ContentAddressableStorageClient<Line> {
    ContentAddressableStorageClient::new(channel).max_decoding_message_size(ANSWER_BYTES_MAX)
}

/// Returns those that are not there.
pub(super) async fn find_missing(
    connection: &Connection,
    digests: Vec<Digest>,
) -> Result<BTreeSet<Digest>, RemoteError> {
    let mut missing = BTreeSet::new();
    for (function, digests) in by_function(digests) {
        let bytes = digests.len() as u64 * DIGEST_BYTES;
        let answered = connection.call("ask what is missing at", None, bytes, |call| {
            let request = call.request(FindMissingBlobsRequest {
                instance_name: connection.instance.clone(),
                blob_digests: digests.iter().map(|it| wire::encode::digest_message(*it)).collect(),
                digest_function: wire::encode::function_number(function),
            });
            async move { client(call.channel.clone()).find_missing_blobs(request).await }
        });
        for message in answered.await?.into_inner().missing_blob_digests {
            let digest = wire::decode::digest(function, Some(&message), "missing_blob_digests");
            // What nobody asked for is none of the answer.
            missing.extend(digest.ok().filter(|it| digests.contains(it)));
        }
    }
    Ok(missing)
}

/// Reads many blobs, and compares each with its digest.
pub(super) async fn read(
    connection: &Connection,
    lacks: &Lacks,
    digests: Vec<Digest>,
    accepts_zstd: bool,
) -> Result<BTreeMap<Digest, Read>, RemoteError> {
    let mut answers: BTreeMap<Digest, Read> =
        digests.iter().map(|digest| (*digest, Read::Alone)).collect();
    for (function, digests) in by_function(digests) {
        let bytes = digests.iter().map(Digest::size).sum();
        let answered = connection.call("read from", None, bytes, |call| {
            let zstd = accepts_zstd.then(|| compressor::Value::Zstd.into());
            let request = call.request(BatchReadBlobsRequest {
                instance_name: connection.instance.clone(),
                digests: digests.iter().map(|it| wire::encode::digest_message(*it)).collect(),
                acceptable_compressors: zstd.into_iter().collect(),
                digest_function: wire::encode::function_number(function),
            });
            async move {
                match client(call.channel.clone()).batch_read_blobs(request).await {
                    Err(status) if is_for_one(&status, &lacks.batch_reads) => {
                        Ok(BatchReadBlobsResponse::default())
                    }
                    answered => answered.map(tonic::Response::into_inner),
                }
            }
        });
        let answered = answered.await?;
        tokio::task::block_in_place(|| {
            for response in answered.responses {
                let digest = wire::decode::digest(function, response.digest.as_ref(), "digest");
                let Ok(digest) = digest else { continue };
                if let Some(answer) = answers.get_mut(&digest) {
                    *answer = judge(digest, response);
                }
            }
        });
    }
    Ok(answers)
}

fn judge(digest: Digest, response: batch_read_blobs_response::Response) -> Read {
    let code = response.status.map_or(0, |status| status.code);
    if code == i32::from(Code::NotFound) {
        return Read::Absent;
    }
    if code != 0 {
        return Read::Alone;
    }
    let is_packed = response.compressor == i32::from(compressor::Value::Zstd);
    let bytes = if is_packed { unpack(&response.data, digest.size()) } else { Some(response.data) };
    let found = bytes.as_ref().map(|bytes| Digest::of(digest.function(), bytes));
    match (bytes, found) {
        (Some(bytes), Some(found)) if found == digest => Read::Found(bytes),
        (_, found) => Read::Wrong(found.unwrap_or_else(|| Digest::of(digest.function(), b""))),
    }
}

/// Returns what was compressed, if it has that size. No more is made than that.
fn unpack(packed: &[u8], size: u64) -> Option<Bytes> {
    let capacity = usize::try_from(size).ok()?;
    let bytes = zstd::bulk::decompress(packed, capacity).ok()?;
    (bytes.len() == capacity).then(|| bytes.into())
}

/// Writes many blobs.
pub(super) async fn write(
    connection: &Connection,
    lacks: &Lacks,
    blobs: Vec<(Digest, Bytes)>,
    packs: bool,
) -> Result<BTreeMap<Digest, Written>, RemoteError> {
    let mut answers: BTreeMap<Digest, Written> =
        blobs.iter().map(|(digest, _)| (*digest, Written::Alone)).collect();
    let mut by_function: BTreeMap<DigestFunction, Vec<_>> = BTreeMap::new();
    tokio::task::block_in_place(|| {
        for (digest, bytes) in blobs {
            by_function
                .entry(digest.function())
                .or_default()
                .push(request_of(digest, bytes, packs));
        }
    });
    for (function, requests) in by_function {
        let bytes = requests.iter().map(|it| it.data.len() as u64).sum();
        let answered = connection.call("write to", None, bytes, |call| {
            let request = call.request(BatchUpdateBlobsRequest {
                instance_name: connection.instance.clone(),
                requests: requests.clone(),
                digest_function: wire::encode::function_number(function),
            });
            async move {
                match client(call.channel.clone()).batch_update_blobs(request).await {
                    Err(status) if is_for_one(&status, &lacks.batch_writes) => {
                        Ok(BatchUpdateBlobsResponse::default())
                    }
                    answered => answered.map(tonic::Response::into_inner),
                }
            }
        });
        for response in answered.await?.responses {
            let digest = wire::decode::digest(function, response.digest.as_ref(), "digest");
            let is_kept = response.status.is_none_or(|status| status.code == 0);
            if is_kept && let Some(answer) = digest.ok().and_then(|it| answers.get_mut(&it)) {
                *answer = Written::Kept;
            }
        }
    }
    Ok(answers)
}

fn request_of(digest: Digest, data: Bytes, packs: bool) -> batch_update_blobs_request::Request {
    let is_worth_it = packs && data.len() >= PACKED_BYTES_MIN;
    let packed = is_worth_it.then(|| zstd::bulk::compress(&data, ZSTD_LEVEL).ok()).flatten();
    let packed = packed.filter(|packed| packed.len() < data.len());
    let compressor =
        if packed.is_some() { compressor::Value::Zstd } else { compressor::Value::Identity };
    batch_update_blobs_request::Request {
        digest: Some(wire::encode::digest_message(digest)),
        data: packed.map_or(data, Bytes::from),
        compressor: compressor.into(),
    }
}

/// Returns whether a server that cannot do many at once, or not so many, may do one; and notes that it never can.
fn is_for_one(status: &Status, is_lacking: &AtomicBool) -> bool {
    is_lacking.fetch_or(status.code() == Code::Unimplemented, Ordering::Relaxed);
    matches!(status.code(), Code::Unimplemented | Code::InvalidArgument | Code::OutOfRange)
}

fn by_function(digests: Vec<Digest>) -> BTreeMap<DigestFunction, BTreeSet<Digest>> {
    let mut sorted: BTreeMap<DigestFunction, BTreeSet<Digest>> = BTreeMap::new();
    for digest in digests {
        sorted.entry(digest.function()).or_default().insert(digest);
    }
    sorted
}
