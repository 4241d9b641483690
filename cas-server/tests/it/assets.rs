//! What addresses stand for.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use base64::Engine as _;
use bazel_remote_apis::build::bazel::remote::asset::v1 as asset;
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::protobuf::Timestamp;
use bazel_remote_apis::google::rpc;
use model::{Digest, DigestFunction};
use prost::Message as _;
use store::{Cellar as _, Namespace};
use tonic::transport::Channel;
use tonic::{Code, Status};

use crate::support::{TestServer, caller, digest, serve_fetching, trusted};

const ADDRESS: &str = "urn:fdc:buildstream.build:2020:artifact:a";

async fn fetch(
    channel: &Channel,
    uris: &[&str],
    qualifiers: &[(&str, &str)],
) -> Result<asset::FetchBlobResponse, Status> {
    let request = asset::FetchBlobRequest {
        uris: uris.iter().map(|it| (*it).to_owned()).collect(),
        qualifiers: qualified(qualifiers),
        ..Default::default()
    };
    let mut client = asset::fetch_client::FetchClient::new(channel.clone());
    Ok(client.fetch_blob(request).await?.into_inner())
}

async fn push(channel: &Channel, request: asset::PushBlobRequest) -> Result<(), Status> {
    let mut client = asset::push_client::PushClient::new(channel.clone());
    client.push_blob(request).await.map(drop)
}

fn qualified(pairs: &[(&str, &str)]) -> Vec<asset::Qualifier> {
    let qualifier = |(name, value): &(&str, &str)| asset::Qualifier {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    pairs.iter().map(qualifier).collect()
}

fn of(address: &str, digest: &reapi::Digest) -> asset::PushBlobRequest {
    asset::PushBlobRequest {
        uris: vec![address.to_owned()],
        blob_digest: Some(digest.clone()),
        ..Default::default()
    }
}

fn code(answer: &asset::FetchBlobResponse) -> Code {
    answer.status.as_ref().unwrap().code.into()
}

#[tokio::test]
async fn the_probes_of_buildstream_get_the_answer_they_expect() {
    let server = TestServer::start().await;
    let refused = fetch(&server.channel, &[], &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = push(&server.channel, asset::PushBlobRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn what_was_pushed_is_fetched_while_all_it_refers_to_is_here() {
    let server = TestServer::start().await;
    let (blob, reference) = (server.upload(b"artifact").await, server.upload(b"more").await);
    let answer = fetch(&server.channel, &[ADDRESS], &[]).await.unwrap();
    assert_eq!(code(&answer), Code::NotFound);

    let request = asset::PushBlobRequest {
        references_blobs: vec![reference],
        qualifiers: qualified(&[("vcs.branch", "main"), ("resource_type", "x")]),
        ..of(ADDRESS, &blob)
    };
    push(&server.channel, request).await.unwrap();
    let asked = [("vcs.branch", "main")];
    let answer = fetch(&server.channel, &["urn:other", ADDRESS], &asked).await.unwrap();
    assert_eq!((code(&answer), answer.uri.as_str()), (Code::Ok, ADDRESS));
    assert_eq!((answer.blob_digest, answer.digest_function), (Some(blob), 1));

    let other = fetch(&server.channel, &[ADDRESS], &[("vcs.branch", "next")]).await.unwrap();
    assert_eq!(code(&other), Code::NotFound, "that is another thing");
    server.store.forget(Digest::of(DigestFunction::Sha256, b"more"));
    let answer = fetch(&server.channel, &[ADDRESS], &asked).await.unwrap();
    assert_eq!(code(&answer), Code::NotFound, "what it refers to is gone");
}

#[tokio::test]
async fn directories_are_assets_of_their_own() {
    let server = TestServer::start().await;
    let file = server.upload(b"source").await;
    let node = reapi::FileNode { name: "f".to_owned(), digest: Some(file), ..Default::default() };
    let root = reapi::Directory { files: vec![node], ..Default::default() };
    let root = server.upload(&root.encode_to_vec()).await;
    let request = asset::PushDirectoryRequest {
        uris: vec![ADDRESS.to_owned()],
        root_directory_digest: Some(root.clone()),
        ..Default::default()
    };
    let mut client = asset::push_client::PushClient::new(server.channel.clone());
    client.push_directory(request).await.unwrap();

    let mut client = asset::fetch_client::FetchClient::new(server.channel.clone());
    let request =
        asset::FetchDirectoryRequest { uris: vec![ADDRESS.to_owned()], ..Default::default() };
    let answer = client.fetch_directory(request.clone()).await.unwrap().into_inner();
    assert_eq!(answer.root_directory_digest, Some(root));
    let blob = fetch(&server.channel, &[ADDRESS], &[]).await.unwrap();
    assert_eq!(code(&blob), Code::NotFound, "a directory is no blob");
    server.store.forget(Digest::of(DigestFunction::Sha256, b"source"));
    let answer = client.fetch_directory(request).await.unwrap().into_inner();
    assert_eq!(answer.status.unwrap().code, Code::NotFound as i32, "one of its files is gone");
}

#[tokio::test]
async fn what_was_not_sent_cannot_be_pushed_and_what_expired_is_not_fetched() {
    let server = TestServer::start().await;
    let refused = push(&server.channel, of(ADDRESS, &digest(b"never sent"))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    let blob = server.upload(b"artifact").await;
    let expire_at = Some(Timestamp { seconds: 1, nanos: 0 });
    let request = asset::PushBlobRequest { expire_at, ..of(ADDRESS, &blob) };
    push(&server.channel, request).await.unwrap();
    let answer = fetch(&server.channel, &[ADDRESS], &[]).await.unwrap();
    assert_eq!(code(&answer), Code::NotFound);
}

/// What programs read of an error (`google/rpc/error_details.proto`).
#[derive(Clone, PartialEq, prost::Message)]
struct PreconditionFailure {
    #[prost(message, repeated, tag = "1")]
    violations: Vec<Violation>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Violation {
    #[prost(string, tag = "1")]
    kind: String,
    #[prost(string, tag = "2")]
    subject: String,
}

/// Returns the blobs that an error says are missing.
fn missing(refused: &Status) -> Vec<String> {
    let status = rpc::Status::decode(refused.details()).unwrap();
    assert_eq!(status.details.len(), 1, "clients look at the first, if it is the only one");
    let detail = &status.details[0];
    assert_eq!(detail.type_url, "type.googleapis.com/google.rpc.PreconditionFailure");
    let failure = PreconditionFailure::decode(detail.value.as_slice()).unwrap();
    assert!(failure.violations.iter().all(|it| it.kind == "MISSING"));
    failure.violations.into_iter().map(|it| it.subject).collect()
}

#[tokio::test]
async fn a_refused_push_names_what_is_missing_and_nothing_that_is_here() {
    let server = TestServer::start().await;
    let blob = server.upload(b"artifact").await;
    let file = digest(b"in a directory");
    let node = reapi::FileNode { name: "f".to_owned(), digest: Some(file), ..Default::default() };
    let directory = reapi::Directory { files: vec![node], ..Default::default() }.encode_to_vec();
    let request = asset::PushBlobRequest {
        references_blobs: vec![digest(b"more"), blob.clone()],
        references_directories: vec![digest(&directory)],
        ..of(ADDRESS, &blob)
    };
    let subjects = |blobs: &[&[u8]]| {
        let subject = |it: &&[u8]| format!("blobs/{}/{}", digest(it).hash, it.len());
        let mut subjects: Vec<_> = blobs.iter().map(subject).collect();
        subjects.sort();
        subjects
    };
    let refused = push(&server.channel, request.clone()).await.unwrap_err();
    assert_eq!(missing(&refused), subjects(&[b"more", &directory]));
    server.upload(b"more").await;
    server.upload(&directory).await;
    let refused = push(&server.channel, request.clone()).await.unwrap_err();
    assert_eq!(missing(&refused), subjects(&[b"in a directory"]));
    server.upload(b"in a directory").await;
    push(&server.channel, request).await.unwrap();

    let many = (0..100).map(|nth| digest(format!("{nth}").as_bytes())).collect();
    let request = asset::PushBlobRequest { references_blobs: many, ..of(ADDRESS, &blob) };
    let refused = push(&server.channel, request).await.unwrap_err();
    assert_eq!(missing(&refused).len(), 48, "more would be too much for a header");
}

#[tokio::test]
async fn a_stranger_cannot_say_what_an_address_stands_for() {
    let server = TestServer::start().await;
    let blob = server.upload(b"poison").await;
    let rights = trusted().rights;
    let stranger = caller("stranger", rights, Namespace::PullRequest("17".to_owned()));
    let stranger = server.and_for(stranger).await;
    push(&stranger.channel, of(ADDRESS, &blob)).await.unwrap();
    assert_eq!(code(&fetch(&stranger.channel, &[ADDRESS], &[]).await.unwrap()), Code::Ok);
    assert_eq!(code(&fetch(&server.channel, &[ADDRESS], &[]).await.unwrap()), Code::NotFound);
}

/// Returns what pushes a blob of one branch.
fn of_branch(branch: &str, digest: &reapi::Digest) -> asset::PushBlobRequest {
    let qualifiers = qualified(&[("vcs.branch", branch)]);
    asset::PushBlobRequest { qualifiers, ..of(ADDRESS, digest) }
}

/// Returns the blob that is found for a branch.
async fn fetch_branch(channel: &Channel, branch: &str) -> Option<reapi::Digest> {
    let answer = fetch(channel, &[ADDRESS], &[("vcs.branch", branch)]).await.unwrap();
    answer.blob_digest
}

#[tokio::test]
async fn purging_what_somebody_wrote_takes_his_assets_and_leaves_those_of_others() {
    let server = TestServer::start().await;
    let (poison, good) = (server.upload(b"poison").await, server.upload(b"good").await);
    let other = server.and_for(caller("other", trusted().rights, Namespace::Trusted)).await;
    push(&other.channel, of_branch("old", &poison)).await.unwrap();
    push(&server.channel, of_branch("new", &good)).await.unwrap();
    push(&other.channel, of_branch("newest", &poison)).await.unwrap();
    assert_eq!(fetch_branch(&server.channel, "old").await, Some(poison));

    server.store.forget_writer("other").await.unwrap();
    assert_eq!(fetch_branch(&server.channel, "old").await, None);
    assert_eq!(fetch_branch(&server.channel, "newest").await, None);
    assert_eq!(fetch_branch(&server.channel, "new").await, Some(good));
}

#[tokio::test]
async fn ones_own_assets_hide_none_of_others_but_those_that_they_replace() {
    let server = TestServer::start().await;
    let pull_request = Namespace::PullRequest("17".to_owned());
    let stranger = server.and_for(caller("stranger", trusted().rights, pull_request)).await;
    let (theirs, mine) = (server.upload(b"theirs").await, server.upload(b"mine").await);
    push(&server.channel, of_branch("main", &theirs)).await.unwrap();
    push(&stranger.channel, of_branch("topic", &mine)).await.unwrap();
    assert_eq!(fetch_branch(&stranger.channel, "main").await, Some(theirs.clone()));

    push(&stranger.channel, of_branch("main", &mine)).await.unwrap();
    assert_eq!(fetch_branch(&stranger.channel, "main").await, Some(mine));
    assert_eq!(fetch_branch(&server.channel, "main").await, Some(theirs.clone()));
    server.store.forget(Digest::of(DigestFunction::Sha256, b"mine"));
    let found = fetch_branch(&stranger.channel, "main").await;
    assert_eq!(found, Some(theirs), "what is gone hides nothing");
}

#[tokio::test]
async fn the_last_that_was_pushed_with_the_qualifiers_asked_for_is_found() {
    let server = TestServer::start().await;
    let (first, second) = (server.upload(b"first").await, server.upload(b"second").await);
    push(&server.channel, of_branch("main", &first)).await.unwrap();
    push(&server.channel, of_branch("next", &second)).await.unwrap();
    let any = fetch(&server.channel, &[ADDRESS], &[]).await.unwrap();
    assert_eq!(any.blob_digest, Some(second.clone()));
    assert_eq!(fetch_branch(&server.channel, "main").await, Some(first));

    for address in ["", "a\nvcs.branch=main", &"a".repeat(9 << 10)] {
        let refused = push(&server.channel, of(address, &second)).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{address}");
    }
    let references_blobs = vec![second.clone(); 1_001];
    let request = asset::PushBlobRequest { references_blobs, ..of(ADDRESS, &second) };
    let refused = push(&server.channel, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn qualifiers_that_are_not_understood_are_refused_by_name() {
    let server = TestServer::start().await;
    let refused = fetch(&server.channel, &[ADDRESS], &[("x", "y")]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("`x`"), "{refused}");
}

/// Serves files over HTTP/1.1 and counts what it was asked.
async fn origin() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let router = axum::Router::new()
        .route(
            "/files/a.tar",
            get(move |headers: HeaderMap| async move {
                count.fetch_add(1, Ordering::SeqCst);
                if headers.get("x-key").is_some_and(|it| it == "secret") {
                    (StatusCode::OK, "the archive")
                } else {
                    (StatusCode::FORBIDDEN, "no")
                }
            }),
        )
        .route(
            "/files/away",
            get(|| async { (StatusCode::FOUND, [("location", "http://x/")], "") }),
        )
        .route("/private", get(|| async { "not for you" }));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    (address, asked)
}

#[tokio::test]
async fn what_may_be_fetched_is_fetched_checked_and_kept() {
    let (origin, asked) = origin().await;
    let server = TestServer::start().await;
    let origins = vec![format!("{origin}/files/")];
    let channel = serve_fetching(Arc::new(server.store.clone()), trusted(), origins).await;
    let (good, private) = (format!("{origin}/files/a.tar"), format!("{origin}/private"));
    let sri = |bytes: &[u8]| {
        let hash = *Digest::of(DigestFunction::Sha256, bytes).hash();
        format!("sha256-{}", base64::engine::general_purpose::STANDARD.encode(hash))
    };
    let key = ("http_header:x-key", "secret");
    let right = sri(b"the archive");

    let refused = fetch(&channel, &[&good], &[("checksum.sri", &right)]).await.unwrap();
    assert_eq!(code(&refused), Code::PermissionDenied, "the origin refuses");
    let wrong = sri(b"another archive");
    let refused = fetch(&channel, &[&good], &[key, ("checksum.sri", &wrong)]).await.unwrap();
    assert_eq!(code(&refused), Code::Aborted, "it is not what it should be");
    let name = format!("blobs/{}/11", digest(b"the archive").hash);
    assert_eq!(server.read(&name, 0, 0).await.unwrap_err().code(), Code::NotFound);

    let found = fetch(&channel, &[&good], &[key, ("checksum.sri", &right)]).await.unwrap();
    assert_eq!((code(&found), found.blob_digest), (Code::Ok, Some(digest(b"the archive"))));
    assert!(found.qualifiers.iter().all(|it| it.value != "secret"), "secrets are not echoed");
    assert_eq!(server.read(&name, 0, 0).await.unwrap(), b"the archive");
    let before = asked.load(Ordering::SeqCst);
    fetch(&channel, &[&good], &[("checksum.sri", &right)]).await.unwrap();
    assert_eq!(asked.load(Ordering::SeqCst), before, "what its hash names is here");

    for address in [&private, &format!("{origin}/files/../private")] {
        let refused = fetch(&channel, &[address], &[]).await.unwrap();
        assert_eq!(code(&refused), Code::NotFound, "{address}");
    }
    let away = fetch(&channel, &[&format!("{origin}/files/away")], &[]).await.unwrap();
    assert_eq!(code(&away), Code::PermissionDenied, "it leads to where nobody allowed");
    let gone = fetch(&channel, &[&format!("{origin}/files/none")], &[]).await.unwrap();
    assert_eq!(code(&gone), Code::NotFound);
}
