//! Messages of every service, sent as they are to whatever decodes them there.

use bytes::Bytes;
use prost::Message;
use testkit::{Mutator, cases};
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use wire::proto::{asset, bld, bytestream, reapi};

use super::{ANSWER_TIME, LOOK_CASES, Target, look};
use crate::trials::client::{Client, Form, digest};
use crate::trials::raw::Raw;

/// How many cases there are, if `BLD_FUZZ_CASES` does not say.
const CASES: u64 = 2_000;

/// What whoever sends nonsense may be told.
const PROPER: [Code; 9] = [
    Code::InvalidArgument,
    Code::NotFound,
    Code::AlreadyExists,
    Code::ResourceExhausted,
    Code::FailedPrecondition,
    Code::OutOfRange,
    Code::Unimplemented,
    Code::Unauthenticated,
    // More of an upload is here than whoever goes on with it knows.
    Code::Aborted,
];

const REAPI: &str = "build.bazel.remote.execution.v2";
const ASSET: &str = "build.bazel.remote.asset.v1";

/// A message that makes sense, and where.
struct Good {
    path: String,
    messages: Vec<Bytes>,
    /// Returns whether bytes are such a message at all.
    decodes: fn(&[u8]) -> bool,
}

fn good<M: Message + Default>(service: &str, method: &str, messages: &[M]) -> Good {
    let path = format!("/{service}/{method}");
    let messages = messages.iter().map(|it| it.encode_to_vec().into()).collect();
    Good { path, messages, decodes: |bytes| M::decode(bytes).is_ok() }
}

/// Returns the requests that there are, about these blobs: the last one is a directory that holds the first.
#[expect(clippy::too_many_lines, reason = "there are that many methods")]
fn requests(blobs: &[Bytes; 4]) -> Vec<Good> {
    let digests = blobs.clone().map(|it| wire::encode::digest_message(digest(&it)));
    let [small, text, large, directory] = digests.clone();
    let instance_name = "a/project".to_owned();
    let digest_function = 1;
    let name = |begin: &str, it: &reapi::Digest| format!("{begin}/{}/{}", it.hash, it.size_bytes);
    let cas = format!("{REAPI}.ContentAddressableStorage");
    let update = |digest: &reapi::Digest, data: Bytes, compressor| {
        let digest = Some(digest.clone());
        reapi::batch_update_blobs_request::Request { digest, data, compressor }
    };
    let packed = Bytes::from(zstd::bulk::compress(&blobs[1], 1).unwrap());
    let action = digests[0].clone();
    let file = reapi::OutputFile {
        path: "out/a".to_owned(),
        digest: Some(text.clone()),
        contents: blobs[1].slice(..100),
        ..Default::default()
    };
    let output = reapi::OutputDirectory {
        path: "out/b".to_owned(),
        root_directory_digest: Some(directory.clone()),
        ..Default::default()
    };
    let link = reapi::OutputSymlink {
        path: "out/c".to_owned(),
        target: "a".to_owned(),
        ..Default::default()
    };
    let result = reapi::ActionResult {
        output_files: vec![file],
        output_directories: vec![output],
        output_symlinks: vec![link],
        stdout_raw: Bytes::from_static(b"said"),
        stderr_digest: Some(small.clone()),
        execution_metadata: Some(reapi::ExecutedActionMetadata {
            worker: "w".to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let written = |name: String, offset: i64, finish_write, data: Bytes| bytestream::WriteRequest {
        resource_name: name,
        write_offset: offset,
        finish_write,
        data,
    };
    let half = i64::try_from(blobs[2].len() / 2).unwrap();
    let middle = blobs[2].len() / 2;
    let upload = name("a/project/uploads/u/blobs", &large);
    let packed_upload = name("uploads/u/compressed-blobs/zstd", &text);
    let qualifier = |name: &str, value: &str| asset::Qualifier {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    let uris = vec!["https://example.org/a.tar".to_owned()];
    let qualifiers = vec![
        qualifier("vcs.branch", "main"),
        qualifier("resource_type", "x"),
        qualifier(
            "checksum.sri",
            "sha512-AAAA sha256-n4bQgYhMfWWaL+qgxVrQFaO/TxsrC4Is0V1sFbDwCgg=",
        ),
        qualifier("http_header:authorization", "Bearer a"),
        qualifier("http_header_url:0:x-key", "b"),
    ];
    let owner = "[\"//a:a\",{\"kernel\":\"6.1\"},\"module\"]".to_owned();
    let key = format!("sha256:{}/{}", action.hash, action.size_bytes);
    let entry = bld::LedgerEntry { owner: owner.clone(), action: key };
    vec![
        good(
            &format!("{REAPI}.Capabilities"),
            "GetCapabilities",
            &[reapi::GetCapabilitiesRequest { instance_name: instance_name.clone() }],
        ),
        good(
            &cas,
            "FindMissingBlobs",
            &[reapi::FindMissingBlobsRequest {
                instance_name: instance_name.clone(),
                blob_digests: digests.to_vec(),
                digest_function,
            }],
        ),
        good(
            &cas,
            "BatchUpdateBlobs",
            &[reapi::BatchUpdateBlobsRequest {
                instance_name: instance_name.clone(),
                requests: vec![
                    update(&small, blobs[0].clone(), 0),
                    update(&text, packed.clone(), 1),
                ],
                digest_function,
            }],
        ),
        good(
            &cas,
            "BatchReadBlobs",
            &[reapi::BatchReadBlobsRequest {
                instance_name: instance_name.clone(),
                digests: vec![small.clone(), text.clone()],
                acceptable_compressors: vec![0, 1],
                digest_function,
            }],
        ),
        good(
            &cas,
            "GetTree",
            &[reapi::GetTreeRequest {
                instance_name: instance_name.clone(),
                root_digest: Some(directory.clone()),
                page_size: 7,
                page_token: String::new(),
                digest_function,
            }],
        ),
        good(
            &cas,
            "SplitBlob",
            &[reapi::SplitBlobRequest {
                instance_name: instance_name.clone(),
                blob_digest: Some(large.clone()),
                digest_function,
                ..Default::default()
            }],
        ),
        good(
            &cas,
            "SpliceBlob",
            &[reapi::SpliceBlobRequest {
                instance_name: instance_name.clone(),
                blob_digest: Some(text.clone()),
                chunk_digests: vec![text.clone()],
                digest_function,
                ..Default::default()
            }],
        ),
        good(
            &format!("{REAPI}.ActionCache"),
            "GetActionResult",
            &[reapi::GetActionResultRequest {
                instance_name: instance_name.clone(),
                action_digest: Some(action.clone()),
                inline_stdout: true,
                inline_output_files: vec!["out/a".to_owned()],
                digest_function,
                ..Default::default()
            }],
        ),
        good(
            &format!("{REAPI}.ActionCache"),
            "UpdateActionResult",
            &[reapi::UpdateActionResultRequest {
                instance_name: instance_name.clone(),
                action_digest: Some(action.clone()),
                action_result: Some(result),
                digest_function,
                ..Default::default()
            }],
        ),
        good(
            "google.bytestream.ByteStream",
            "Read",
            &[bytestream::ReadRequest {
                resource_name: name("a/project/blobs", &large),
                read_offset: 1_000,
                read_limit: 100_000,
            }],
        ),
        good(
            "google.bytestream.ByteStream",
            "Read",
            &[bytestream::ReadRequest {
                resource_name: name("compressed-blobs/zstd", &text),
                ..Default::default()
            }],
        ),
        good(
            "google.bytestream.ByteStream",
            "Write",
            &[
                written(upload.clone(), 0, false, blobs[2].slice(..middle)),
                written(String::new(), half, true, blobs[2].slice(middle..)),
            ],
        ),
        good("google.bytestream.ByteStream", "Write", &[written(packed_upload, 0, true, packed)]),
        good(
            "google.bytestream.ByteStream",
            "QueryWriteStatus",
            &[bytestream::QueryWriteStatusRequest { resource_name: upload }],
        ),
        good(
            &format!("{ASSET}.Fetch"),
            "FetchBlob",
            &[asset::FetchBlobRequest {
                instance_name: instance_name.clone(),
                uris: uris.clone(),
                qualifiers: qualifiers.clone(),
                digest_function,
                ..Default::default()
            }],
        ),
        good(
            &format!("{ASSET}.Fetch"),
            "FetchDirectory",
            &[asset::FetchDirectoryRequest {
                instance_name: instance_name.clone(),
                uris: uris.clone(),
                qualifiers: qualifiers.clone(),
                digest_function,
                ..Default::default()
            }],
        ),
        good(
            &format!("{ASSET}.Push"),
            "PushBlob",
            &[asset::PushBlobRequest {
                instance_name: instance_name.clone(),
                uris: uris.clone(),
                qualifiers: qualifiers.clone(),
                blob_digest: Some(text.clone()),
                digest_function,
                ..Default::default()
            }],
        ),
        good(
            &format!("{ASSET}.Push"),
            "PushDirectory",
            &[asset::PushDirectoryRequest {
                instance_name: instance_name.clone(),
                uris,
                qualifiers,
                root_directory_digest: Some(directory),
                digest_function,
                ..Default::default()
            }],
        ),
        good(
            "bld.v1.Ledger",
            "Record",
            &[bld::RecordRequest { project: instance_name.clone(), entries: vec![entry] }],
        ),
        good(
            "bld.v1.Ledger",
            "Latest",
            &[bld::LatestRequest { project: instance_name.clone(), owners: vec![owner] }],
        ),
        good("bld.v1.Cache", "Stat", &[bld::StatRequest {}]),
        good(
            "bld.v1.Cache",
            "Purge",
            &[bld::PurgeRequest {
                what: Some(bld::purge_request::What::Action(bld::purge_request::Action {
                    namespace: "trusted".to_owned(),
                    instance_name,
                    digest: Some(action),
                    digest_function,
                })),
            }],
        ),
        good("bld.v1.Cache", "Scrub", &[bld::ScrubRequest { bytes_per_second: 1 << 30 }]),
    ]
}

/// Returns blobs of all kinds that there are.
fn blobs() -> [Bytes; 4] {
    let small = Bytes::from_static(b"a small blob");
    let text: Bytes = b"int main(void) { return 0; }\n".repeat(1_000).into();
    let mut noise = Mutator::new(1);
    let large: Bytes = (0..300_000).flat_map(|_| noise.number().to_le_bytes()).collect();
    let file = reapi::FileNode {
        name: "file".to_owned(),
        digest: Some(wire::encode::digest_message(digest(&small))),
        ..Default::default()
    };
    let directory = reapi::Directory { files: vec![file], ..Default::default() };
    [small, text, large, directory.encode_to_vec().into()]
}

/// Adds what a request says of itself, good or bad.
fn headers(
    request: &mut Request<futures::stream::Iter<std::vec::IntoIter<Bytes>>>,
    fuzz: &mut Mutator,
) {
    let said = reapi::RequestMetadata {
        tool_invocation_id: format!("build {}", fuzz.below(8)),
        action_mnemonic: "CppCompile".to_owned(),
        ..Default::default()
    };
    let said = fuzz.message(&said.encode_to_vec());
    let metadata = request.metadata_mut();
    metadata.insert_bin(wire::request::METADATA_HEADER, MetadataValue::from_bytes(&said));
    let parent = fuzz.text("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01");
    if let Ok(parent) = parent.parse() {
        metadata.insert("traceparent", parent);
    }
    // Most of them are to get further than that.
    if fuzz.below(20) == 0
        && let Ok(shown) = fuzz.text("Bearer bld_0123456789abcdef").parse()
    {
        metadata.insert("authorization", shown);
    }
}

/// Sends one request, and returns what was answered.
async fn send(
    channel: &Channel,
    good: &Good,
    messages: Vec<Bytes>,
    fuzz: &mut Mutator,
) -> Result<usize, Status> {
    let mut client = Grpc::new(channel.clone()).max_decoding_message_size(64 << 20);
    client.ready().await.map_err(|error| Status::unknown(error.to_string()))?;
    let mut request = Request::new(futures::stream::iter(messages));
    headers(&mut request, fuzz);
    let path: PathAndQuery = good.path.parse().unwrap();
    let mut answers = client.streaming(request, path, Raw).await?.into_inner();
    let mut count = 0;
    while let Some(answer) = answers.message().await? {
        count += answer.len();
        // It goes on for as long as it was asked to.
        if good.path.ends_with("/Scrub") {
            break;
        }
    }
    Ok(count)
}

#[test]
fn no_message_of_any_service_makes_the_server_stumble() {
    let target = Target::start();
    let mut fuzz = target.seed.mutator();
    let blobs = blobs();
    let requests = requests(&blobs);
    target.runtime.block_on(async {
        let client = Client::connect(target.served.address()).await;
        let endpoint = Endpoint::from_shared(target.served.address().to_owned()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let mut reached = vec![0; requests.len()];
        for case in 0..cases(CASES) {
            if case % LOOK_CASES == 0 {
                look(&client, case).await;
                for blob in &blobs {
                    client.write(blob, "good", Form::Plain, 0, || {}).await.unwrap();
                }
            }
            let at = fuzz.below(requests.len());
            let good = &requests[at];
            let messages: Vec<Bytes> = good
                .messages
                .iter()
                .map(|it| if fuzz.below(3) == 0 { it.clone() } else { fuzz.message(it).into() })
                .collect();
            let is_readable = messages.iter().all(|it| (good.decodes)(it));
            let what = || format!("case {case}: {} of {messages:?}", good.path);
            let shown = messages.iter().map(|it| it.slice(..it.len().min(300))).collect::<Vec<_>>();
            let answered =
                timeout(ANSWER_TIME, send(&channel, good, messages.clone(), &mut fuzz)).await;
            let answered = answered.unwrap_or_else(|_| panic!("no answer to {}", what()));
            match answered {
                Ok(_) => reached[at] += 1,
                Err(status) => {
                    // What is no message at all is not even seen by the services.
                    let is_unreadable = status.code() == Code::Internal && !is_readable;
                    let is_proper = is_unreadable || PROPER.contains(&status.code());
                    assert!(is_proper, "{status:?}\n{}: {shown:?}", good.path);
                }
            }
        }
        look(&client, u64::MAX).await;
        let unreached: Vec<_> = requests
            .iter()
            .zip(&reached)
            .filter(|(_, it)| **it == 0)
            .map(|(it, _)| &it.path)
            .collect();
        assert!(unreached.len() <= 2, "never was anything answered to {unreached:?}");
    });
    target.end();
}
