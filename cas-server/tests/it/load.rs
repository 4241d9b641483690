//! How much one identity may have under way.

use std::sync::Arc;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream;
use bazel_remote_apis::google::protobuf::Any;
use cas_server::Limits;
use cas_server::metrics::Limit;
use prost::Message as _;
use testkit::MemoryStore;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::http::client::{Client, HttpServer};
use crate::support::{
    ActionCacheClient, CapabilitiesClient, ContentAddressableStorageClient, TestServer, digest,
    noise, serve_with, trusted,
};

fn upload_begun(bytes: &[u8]) -> bytestream::WriteRequest {
    bytestream::WriteRequest {
        resource_name: format!("uploads/u/blobs/{}/{}", digest(bytes).hash, bytes.len()),
        data: bytes[..1].to_vec(),
        ..Default::default()
    }
}

#[tokio::test]
async fn whoever_has_too_many_requests_under_way_is_told_to_wait() {
    let limits = Limits { streams_per_identity: 2, ..Limits::default() };
    let store = Arc::new(MemoryStore::new());
    let channel = serve_with(store, trusted(), Vec::new(), limits).await;
    let mut open = Vec::new();
    for seed in 0..2 {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(upload_begun(&noise(100, seed))).await.unwrap();
        let mut client = bytestream::byte_stream_client::ByteStreamClient::new(channel.clone());
        let upload = tokio::spawn(async move { client.write(ReceiverStream::new(receiver)).await });
        // That there is room for another message says that the first one was taken.
        drop(sender.reserve().await.unwrap());
        open.push((sender, upload));
    }
    let ask = || async {
        let request = reapi::GetCapabilitiesRequest::default();
        CapabilitiesClient::new(channel.clone()).get_capabilities(request).await.map(drop)
    };
    let refused = ask().await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(!refused.details().is_empty(), "it says when to try again");

    for (sender, upload) in open {
        drop(sender);
        upload.await.unwrap().unwrap();
    }
    ask().await.unwrap();
}

#[tokio::test]
async fn a_message_that_does_not_fit_is_refused_and_another_one_is_not() {
    let limits = Limits { bytes_in_flight_per_identity: 100_000, ..Limits::default() };
    let store = Arc::new(MemoryStore::new());
    let channel = serve_with(store, trusted(), Vec::new(), limits).await;
    let update = |bytes: Vec<u8>| {
        let mut client = ContentAddressableStorageClient::new(channel.clone());
        let request = reapi::batch_update_blobs_request::Request {
            digest: Some(digest(&bytes)),
            data: bytes,
            compressor: 0,
        };
        let requests = vec![request];
        let request = reapi::BatchUpdateBlobsRequest { requests, ..Default::default() };
        async move { client.batch_update_blobs(request).await.map(drop) }
    };
    for _ in 0..3 {
        let refused = update(noise(200_000, 1)).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
        update(noise(50_000, 2)).await.unwrap();
    }
}

#[tokio::test]
async fn whether_the_server_lives_is_told_however_much_is_under_way() {
    let limits = Limits { streams_per_identity: 1, ..Limits::default() };
    let server = HttpServer::start_within(limits).await;
    let mut stalled = Client::connect(server.address).await;
    let expecting = [("content-length", "5"), ("expect", "100-continue")];
    stalled.send_head("PUT", "/gradle/key", &expecting).await;
    assert_eq!(stalled.answer(false).await.status, 100, "it is under way");

    let mut client = Client::connect(server.address).await;
    assert_eq!(client.get("/gradle/key").await.status, 429);
    assert_eq!(client.get("/status").await.status, 429);
    assert_eq!(server.metrics.limits_hit(Limit::Requests), 2);
    for path in ["/healthz", "/readyz"] {
        assert_eq!(client.get(path).await.status, 200, "{path}");
    }
    let mut health = HealthClient::new(server.channel().await);
    let question = HealthCheckRequest::default();
    let answer = health.check(question.clone()).await.unwrap().into_inner();
    assert_eq!(answer.status(), ServingStatus::Serving);
    let unknown = HealthCheckRequest { service: "another".to_owned() };
    assert_eq!(health.check(unknown).await.unwrap_err().code(), Code::NotFound);
    let watched = health.watch(question).await.unwrap_err();
    assert_eq!(watched.code(), Code::Unimplemented, "nobody holds a stream without a name");
}

#[tokio::test]
async fn what_a_stream_has_sent_counts_until_it_ends_and_who_is_refused_is_counted() {
    let limits = Limits { bytes_in_flight_per_identity: 1 << 20, ..Limits::default() };
    let server = HttpServer::start_within(limits).await;
    let channel = server.channel().await;
    let begin = |bytes: Vec<u8>| {
        let (sender, receiver) = mpsc::channel(1);
        let mut client = bytestream::byte_stream_client::ByteStreamClient::new(channel.clone());
        let upload = tokio::spawn(async move { client.write(ReceiverStream::new(receiver)).await });
        let message = bytestream::WriteRequest {
            resource_name: format!("uploads/u/blobs/{}/{}", digest(&bytes).hash, bytes.len()),
            data: bytes[..700_000].to_vec(),
            ..Default::default()
        };
        async move {
            sender.send(message).await.unwrap();
            (sender, upload)
        }
    };
    let (first, first_upload) = begin(noise(900_000, 1)).await;
    // Until the server holds it.
    let (second, second_upload) = begin(noise(900_000, 2)).await;
    let (refused, other) = tokio::select! {
        ended = first_upload => (ended, second),
        ended = second_upload => (ended, first),
    };
    assert_eq!(refused.unwrap().unwrap_err().code(), Code::ResourceExhausted);
    assert_eq!(server.metrics.limits_hit(Limit::BytesInFlight), 1);

    // A body over plain HTTP finds no room in memory either, and goes to the disk.
    let mut client = Client::connect(server.address).await;
    assert_eq!(client.put("/gradle/key", &noise(600_000, 3)).await.status, 201);
    drop(other);
}

#[tokio::test]
async fn what_one_identity_has_stalled_takes_no_room_from_another() {
    let limits = Limits { bytes_in_flight_per_identity: 1 << 20, ..Limits::default() };
    let server = HttpServer::start_within(limits).await;
    let mut stalled = Vec::new();
    for _ in 0..3 {
        let mut client = Client::connect(server.address).await;
        let headers = [("content-length", "1000000"), ("x-caller", "stranger")];
        client.send_head("PUT", "/gradle/key", &headers).await;
        client.send(&noise(900_000, 1)).await;
        stalled.push(client);
    }
    let mut client = Client::connect(server.address).await;
    let result = noise(900_000, 2);
    let path = format!("/ac/{}", digest(&result).hash);
    assert_eq!(client.put(&path, &result).await.status, 201);
}

#[tokio::test]
async fn what_a_message_would_be_decoded_into_counts_before_it_is() {
    let limits = Limits { bytes_in_flight_per_identity: 8 << 20, ..Limits::default() };
    let server = HttpServer::start_within(limits).await;
    let channel = server.channel().await;
    let mut blobs = ContentAddressableStorageClient::new(channel.clone());
    let mut results = ActionCacheClient::new(channel);

    // Two bytes each, but structures each.
    let nothing = vec![reapi::Digest::default(); 100_000];
    let request = reapi::FindMissingBlobsRequest { blob_digests: nothing, ..Default::default() };
    let refused = blobs.find_missing_blobs(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(!refused.details().is_empty(), "it says when to try again");

    let metadata = reapi::ExecutedActionMetadata {
        auxiliary_metadata: vec![Any::default(); 100_000],
        ..Default::default()
    };
    let result = reapi::ActionResult { execution_metadata: Some(metadata), ..Default::default() };
    let request = reapi::UpdateActionResultRequest {
        action_digest: Some(digest(b"action")),
        action_result: Some(result),
        ..Default::default()
    };
    let refused = results.update_action_result(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert_eq!(server.metrics.limits_hit(Limit::BytesInFlight), 2);

    // As many as a client asks for at once are no problem, and what was refused is let go of.
    let real: Vec<_> = (0..10_000_u64).map(|nth| digest(&nth.to_le_bytes())).collect();
    let request = reapi::FindMissingBlobsRequest { blob_digests: real, ..Default::default() };
    for _ in 0..3 {
        let answer = blobs.find_missing_blobs(request.clone()).await.unwrap().into_inner();
        assert_eq!(answer.missing_blob_digests.len(), 10_000);
    }
}

#[tokio::test]
async fn what_is_read_to_answer_counts_as_what_it_is_decoded_into() {
    let server = TestServer::start().await;
    let metadata = reapi::ExecutedActionMetadata {
        auxiliary_metadata: vec![Any::default(); 5_000],
        ..Default::default()
    };
    let result = reapi::ActionResult { execution_metadata: Some(metadata), ..Default::default() };
    let action = digest(b"action");
    let request = reapi::UpdateActionResultRequest {
        action_digest: Some(action.clone()),
        action_result: Some(result),
        ..Default::default()
    };
    server.results().update_action_result(request).await.unwrap();
    let property = reapi::NodeProperty::default();
    let properties =
        reapi::NodeProperties { properties: vec![property; 5_000], ..Default::default() };
    let directory = reapi::Directory { node_properties: Some(properties), ..Default::default() };
    let root = server.upload(&directory.encode_to_vec()).await;

    let lookup =
        reapi::GetActionResultRequest { action_digest: Some(action.clone()), ..Default::default() };
    let walk = reapi::GetTreeRequest { root_digest: Some(root), ..Default::default() };
    for (bytes_in_flight_per_identity, expected) in
        [(2 << 20, Code::ResourceExhausted), (6 << 20, Code::Ok)]
    {
        let limits = Limits { bytes_in_flight_per_identity, ..Limits::default() };
        let server = server.and_within(limits).await;
        // What is answered is let go of, so asking again changes nothing.
        for _ in 0..4 {
            let found = server.results().get_action_result(lookup.clone()).await;
            assert_eq!(found.map_or_else(|it| it.code(), |_| Code::Ok), expected);
            let pages = server.blobs().get_tree(walk.clone()).await.unwrap();
            let page = pages.into_inner().message().await;
            assert_eq!(page.map_or_else(|it| it.code(), |_| Code::Ok), expected);
        }
    }
}

#[tokio::test]
async fn a_result_that_finds_no_room_to_be_looked_at_is_asked_for_again() {
    let limits = Limits { bytes_in_flight_per_identity: 1 << 20, ..Limits::default() };
    let server = HttpServer::start_within(limits).await;
    let mut client = Client::connect(server.address).await;
    // A list of directories, of two bytes each; as JSON, of three.
    let result = [0x1a, 0].repeat(5_000);
    let json = format!(r#"{{"outputDirectories":[{}{{}}]}}"#, "{},".repeat(5_000));
    let path = format!("/ac/{}", digest(b"action").hash);
    let as_json = [("content-type", "application/json")];
    for (body, headers) in [(&result[..], &[][..]), (json.as_bytes(), &as_json)] {
        let refused = client.ask("PUT", &path, headers, Some(body)).await;
        assert_eq!(refused.status, 503);
        assert_eq!(refused.header("retry-after"), Some("5"));
        assert_eq!(client.put("/gradle/key", b"another").await.status, 201);
    }
    let ask = async |client: &mut Client, count| {
        let hashes = format!(r#"{{"hashes":[{}"00"]}}"#, r#""00","#.repeat(count));
        client.ask("POST", "/v8/artifacts", &[], Some(hashes.as_bytes())).await.status
    };
    assert_eq!((ask(&mut client, 5_000).await, ask(&mut client, 500).await), (503, 200));
}
