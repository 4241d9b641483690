//! Whose word is taken over HTTP.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use model::{Digest, DigestFunction};
use prost::Message as _;

use super::client::{Client, HttpServer};
use crate::support::message;

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const STRANGER: [(&str, &str); 1] = [("x-caller", "stranger")];

async fn put_blob(client: &mut Client, bytes: &[u8]) -> Digest {
    let digest = Digest::of(DigestFunction::Sha256, bytes);
    let put = client.put(&format!("/cas/{}", digest.hex()), bytes).await;
    assert_eq!(put.status, 201);
    digest
}

fn of_file(digest: Digest) -> Vec<u8> {
    let file = reapi::OutputFile {
        path: "out".to_owned(),
        digest: Some(message(digest)),
        ..Default::default()
    };
    let metadata =
        reapi::ExecutedActionMetadata { worker: "a worker".to_owned(), ..Default::default() };
    let result = reapi::ActionResult {
        output_files: vec![file],
        execution_metadata: Some(metadata),
        ..Default::default()
    };
    result.encode_to_vec()
}

#[tokio::test]
async fn what_a_stranger_says_is_seen_by_nobody_who_is_trusted() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let poison = of_file(put_blob(&mut client, b"poison").await);
    for (path, body) in [
        (format!("/ac/{KEY}"), poison.as_slice()),
        (format!("/ac/{}", KEY.replace("00", "11")), b"raw"),
        ("/ccache/ab/cdef".to_owned(), b"poison"),
        ("/sccache/a/b/c/abc".to_owned(), b"poison"),
        ("/gradle/abc".to_owned(), b"poison"),
        ("/v8/artifacts/abc".to_owned(), b"poison"),
        ("/v1/cache/abc".to_owned(), b"poison"),
    ] {
        let put = client.ask("PUT", &path, &STRANGER, Some(body)).await;
        assert!((200..300).contains(&put.status), "{path}");
        assert_eq!(client.ask("GET", &path, &STRANGER, None).await.body, body);
        assert_eq!(client.get(&path).await.status, 404, "{path}");

        let said = if path.starts_with("/ac/") { poison.as_slice() } else { b"ours" };
        let put = client.put(&path, said).await;
        assert!((200..300).contains(&put.status), "{path}");
        assert_eq!(client.get(&path).await.body, said);
        assert_eq!(client.ask("GET", &path, &STRANGER, None).await.body, body, "{path}");
    }
}

#[tokio::test]
async fn a_stranger_reads_what_is_trusted_and_can_take_nothing_of_it_away() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let result = of_file(put_blob(&mut client, b"output").await);
    for (path, body) in [(format!("/ac/{KEY}"), result.as_slice()), ("/ccache/a".to_owned(), b"x")]
    {
        client.put(&path, body).await;
        assert_eq!(client.ask("GET", &path, &STRANGER, None).await.body, body);
        assert_eq!(client.ask("DELETE", &path, &STRANGER, None).await.status, 404);
        assert_eq!(client.get(&path).await.body, body);
    }
}

#[tokio::test]
async fn a_word_of_ones_own_that_holds_no_more_does_not_hide_a_better_one() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let ours = of_file(put_blob(&mut client, b"ours").await);
    let theirs = put_blob(&mut client, b"theirs").await;
    let path = format!("/ac/{KEY}");
    client.put(&path, &ours).await;
    client.ask("PUT", &path, &STRANGER, Some(&of_file(theirs))).await;
    assert_eq!(client.ask("GET", &path, &STRANGER, None).await.body, of_file(theirs));
    server.store.forget(theirs);
    assert_eq!(client.ask("GET", &path, &STRANGER, None).await.body, ours);

    let large = vec![7; 100_000];
    client.put("/ccache/key", b"ours").await;
    client.ask("PUT", "/ccache/key", &STRANGER, Some(&large)).await;
    server.store.forget(Digest::of(DigestFunction::Blake3, &large));
    assert_eq!(client.ask("GET", "/ccache/key", &STRANGER, None).await.body, b"ours");
}

#[tokio::test]
async fn each_right_is_needed_for_what_it_is_named_after() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let digest = put_blob(&mut client, b"output").await;
    let (ac, cas) = (format!("/ac/{KEY}"), format!("/cas/{}", digest.hex()));
    let result = of_file(digest);
    for (caller, method, path, body, status) in [
        ("reader", "GET", &cas, None, 200),
        ("reader", "PUT", &cas, Some(b"output".as_slice()), 403),
        ("reader", "PUT", &ac, Some(&result), 403),
        ("uploader", "PUT", &cas, Some(b"output"), 200),
        ("uploader", "PUT", &ac, Some(&result), 403),
        ("anonymous", "GET", &cas, None, 401),
        ("anonymous", "GET", &ac, None, 401),
        ("anonymous", "PUT", &ac, Some(&result), 401),
    ] {
        let answer = client.ask(method, path, &[("x-caller", caller)], body).await;
        assert_eq!(answer.status, status, "{caller} {method} {path}");
    }
}
