//! Bazel's and moon's caches over HTTP: blobs, and results of actions that are answered only when whole.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use model::{Digest, DigestFunction};
use prost::Message as _;
use store::{Namespace, VALUE_BYTES_MAX, ValueKey, ValueStore as _};

use super::client::{Client, HttpServer};
use crate::support::{ActionCacheClient, BLAKE3, SHA256, message, noise, zstd};

const KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

fn hex(function: DigestFunction, bytes: &[u8]) -> String {
    Digest::of(function, bytes).hex()
}

async fn put_blob(client: &mut Client, function: DigestFunction, bytes: &[u8]) -> reapi::Digest {
    let put = client.put(&format!("/cas/{}", hex(function, bytes)), bytes).await;
    assert!(put.status == 201 || put.status == 200, "{}", put.text());
    message(Digest::of(function, bytes))
}

fn file(path: &str, digest: &reapi::Digest) -> reapi::OutputFile {
    reapi::OutputFile { path: path.to_owned(), digest: Some(digest.clone()), ..Default::default() }
}

fn of_file(digest: &reapi::Digest) -> Vec<u8> {
    let result = reapi::ActionResult {
        output_files: vec![file("out", digest)],
        execution_metadata: Some(made_by("a worker")),
        ..Default::default()
    };
    result.encode_to_vec()
}

fn made_by(worker: &str) -> reapi::ExecutedActionMetadata {
    let worker = worker.to_owned();
    reapi::ExecutedActionMetadata { worker, ..Default::default() }
}

#[tokio::test]
async fn a_blob_is_taken_under_the_hash_that_it_has_by_either_function() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    for body in [b"small".to_vec(), noise((2 << 20) + 3, 1)] {
        for function in [DigestFunction::Sha256, DigestFunction::Blake3] {
            let path = format!("/cas/{}", hex(function, &body));
            let wrong = client.put(&path, b"something else").await;
            assert_eq!(wrong.status, 400, "{}", wrong.text());
            let wrong = client.put(&path, &noise(body.len(), 2)).await;
            assert_eq!(wrong.status, 400);
            assert_eq!(client.head(&path).await.status, 404);
            assert_eq!(client.put(&path, &body).await.status, 201);
            assert_eq!(client.put(&path, &body).await.status, 200);
            // Blobs are shared: under whatever project they are asked for.
            assert!(client.get(&format!("/some/project{path}")).await.body == body);
        }
    }
}

#[tokio::test]
async fn the_empty_blob_is_always_there() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    for function in [DigestFunction::Sha256, DigestFunction::Blake3] {
        let path = format!("/cas/{}", hex(function, b""));
        let got = client.get(&path).await;
        assert_eq!((got.status, got.body.len()), (200, 0));
        assert_eq!(client.put(&path, b"").await.status, 200);
    }
    assert_eq!(client.put(&format!("/cas/{KEY}"), b"").await.status, 400);
    assert_eq!(client.get(&format!("/cas/{KEY}")).await.status, 404);
}

#[tokio::test]
async fn a_result_is_answered_only_while_all_of_it_is_there() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    for function in [DigestFunction::Sha256, DigestFunction::Blake3] {
        let inner = put_blob(&mut client, function, b"inner").await;
        let deep = put_blob(&mut client, function, b"deep").await;
        let output = put_blob(&mut client, function, b"output").await;
        let log = put_blob(&mut client, function, b"log").await;
        let node = |name: &str, digest: &reapi::Digest| reapi::FileNode {
            name: name.to_owned(),
            digest: Some(digest.clone()),
            ..Default::default()
        };
        let child = reapi::Directory { files: vec![node("deep", &deep)], ..Default::default() };
        let child_digest = put_blob(&mut client, function, &child.encode_to_vec()).await;
        let directories =
            vec![reapi::DirectoryNode { name: "d".to_owned(), digest: Some(child_digest.clone()) }];
        let root = reapi::Directory {
            files: vec![node("inner", &inner)],
            directories,
            ..Default::default()
        };
        let root_digest = put_blob(&mut client, function, &root.encode_to_vec()).await;
        let tree = reapi::Tree { root: Some(root), children: vec![child] };
        let tree_digest = put_blob(&mut client, function, &tree.encode_to_vec()).await;
        let result = reapi::ActionResult {
            output_files: vec![file("out", &output)],
            output_directories: vec![reapi::OutputDirectory {
                path: "tree".to_owned(),
                tree_digest: Some(tree_digest.clone()),
                root_directory_digest: Some(root_digest.clone()),
                ..Default::default()
            }],
            stderr_digest: Some(log.clone()),
            execution_metadata: Some(made_by("a worker")),
            ..Default::default()
        };
        let path = format!("/ac/{KEY}");
        assert_eq!(client.put(&path, &result.encode_to_vec()).await.status, 201);
        assert_eq!(client.get(&path).await.body, result.encode_to_vec());

        let all = [inner, deep, output, log, child_digest, root_digest, tree_digest];
        for needed in all {
            let size = needed.size_bytes.try_into().unwrap();
            let digest = Digest::from_hex(function, &needed.hash, size).unwrap();
            let blob = client.get(&format!("/cas/{}", needed.hash)).await.body;
            server.store.forget(digest);
            assert_eq!(client.get(&path).await.status, 404, "{digest:?}");
            put_blob(&mut client, function, &blob).await;
            assert_eq!(client.get(&path).await.status, 200);
        }
    }
}

#[tokio::test]
async fn a_result_of_nothing_is_a_result_and_says_by_whom() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    assert_eq!(client.put(&format!("/ac/{KEY}"), b"").await.status, 201);
    let got = client.get(&format!("/ac/{KEY}")).await;
    let result = reapi::ActionResult::decode(got.body.as_slice()).unwrap();
    assert_eq!(result.execution_metadata, Some(made_by("cache-upload:trusted")), "for Buck2");
}

#[tokio::test]
async fn what_came_inside_a_result_is_compared_with_its_digest_and_kept_as_a_blob() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let path = format!("/ac/{KEY}");
    for function in [DigestFunction::Sha256, DigestFunction::Blake3] {
        let contents = b"contents".to_vec();
        let output = file("a.d", &message(Digest::of(function, &contents)));
        let result = reapi::ActionResult {
            output_files: vec![reapi::OutputFile { contents, ..output.clone() }],
            execution_metadata: Some(made_by("a worker")),
            ..Default::default()
        };
        let recorder = [("x-caller", "recorder")];
        let put = client.ask("PUT", &path, &recorder, Some(&result.encode_to_vec())).await;
        assert_eq!(put.status, 403, "who may not write blobs may not do it so either");
        assert_eq!(client.put(&path, &result.encode_to_vec()).await.status, 201);
        let got = client.get(&path).await;
        let got = reapi::ActionResult::decode(got.body.as_slice()).unwrap();
        assert_eq!(got.output_files, [output], "nobody asked for the bytes");
        let blob = client.get(&format!("/cas/{}", hex(function, b"contents"))).await;
        assert_eq!(blob.body, b"contents");
    }
}

#[tokio::test]
async fn a_result_that_no_client_could_use_is_refused() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let output = put_blob(&mut client, DigestFunction::Sha256, b"output").await;
    let contents = b"something else".to_vec();
    let link = reapi::OutputSymlink { path: "l".to_owned(), ..Default::default() };
    for result in [
        reapi::ActionResult {
            output_files: vec![file("/etc/passwd", &output)],
            ..Default::default()
        },
        reapi::ActionResult {
            output_files: vec![reapi::OutputFile { contents, ..file("out", &output) }],
            ..Default::default()
        },
        reapi::ActionResult { output_symlinks: vec![link], ..Default::default() },
    ] {
        let put = client.put(&format!("/ac/{KEY}"), &result.encode_to_vec()).await;
        assert_eq!(put.status, 400, "{result:?}: {}", put.text());
        assert_eq!(client.get(&format!("/ac/{KEY}")).await.status, 404);
    }
}

#[tokio::test]
async fn a_result_that_is_too_large_with_the_name_of_its_maker_is_refused_for_good() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let link = |length| reapi::OutputSymlink {
        path: "link".to_owned(),
        target: "t".repeat(length),
        ..Default::default()
    };
    let of_length =
        |length| reapi::ActionResult { output_symlinks: vec![link(length)], ..Default::default() };
    let largest = VALUE_BYTES_MAX - (of_length(1 << 20).encoded_len() - (1 << 20)) - 8;
    let put = client.put(&format!("/ac/{KEY}"), &of_length(largest).encode_to_vec()).await;
    assert_eq!((put.status, put.header("retry-after")), (413, None), "{}", put.text());
}

#[tokio::test]
async fn what_is_no_result_is_kept_as_it_is_and_the_last_word_counts() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let digest = put_blob(&mut client, DigestFunction::Sha256, b"output").await;
    let result = of_file(&digest);
    let malformed = of_file(&reapi::Digest { hash: "short".to_owned(), size_bytes: 3 });
    // A message, but of fields that no version of the protocol has.
    let unknown = vec![0xf8, 0x7f, 0x01];
    let large = noise((5 << 20) + 1, 3);
    let path = format!("/ac/{KEY}");
    for body in
        [&b"\xcc\xac not protobuf"[..], &result, &malformed, &unknown, &large, &result, &unknown]
    {
        assert_eq!(client.put(&path, body).await.status, 201);
        assert!(client.get(&path).await.body == body);
    }
    // What is no result is nothing that a gRPC client could be answered.
    let (namespace, key) = (Namespace::Trusted, KEY.to_owned());
    let space = "ac/sha256/".to_owned();
    let value = server.store.lookup(&ValueKey { namespace, space, key }).await.unwrap();
    assert_eq!(value, None);
    assert_eq!(client.ask("DELETE", &path, &[], None).await.status, 200);
    assert_eq!(client.get(&path).await.status, 404);
    assert_eq!(client.ask("DELETE", &path, &[], None).await.status, 404);
}

#[tokio::test]
async fn each_project_has_results_of_its_own_however_its_path_is_written() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let digest = put_blob(&mut client, DigestFunction::Sha256, b"output").await;
    client.put(&format!("/ac/{KEY}"), &of_file(&digest)).await;
    client.put(&format!("/main/a%20b/ac/{KEY}"), b"raw").await;
    for (path, status) in [
        (format!("/ac/{KEY}"), 200),
        (format!("//ac/{KEY}"), 200),
        (format!("/main/ac/{KEY}"), 404),
        (format!("/main/a%20b/ac/{KEY}"), 200),
        (format!("//main//a%20b//ac/{KEY}"), 200),
        (format!("/main/a+b/ac/{KEY}"), 404),
        (format!("/gradle/ac/{KEY}"), 404),
    ] {
        assert_eq!(client.get(&path).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn results_are_those_that_grpc_clients_see() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let mut results = ActionCacheClient::new(server.channel().await);
    for (function, number) in [(DigestFunction::Sha256, SHA256), (DigestFunction::Blake3, BLAKE3)] {
        let digest = put_blob(&mut client, function, b"output").await;
        client.put(&format!("/some/project/ac/{KEY}"), &of_file(&digest)).await;
        let request = reapi::GetActionResultRequest {
            instance_name: "some/project".to_owned(),
            action_digest: Some(reapi::Digest { hash: KEY.to_owned(), size_bytes: 142 }),
            digest_function: number,
            ..Default::default()
        };
        let result = results.get_action_result(request).await.unwrap().into_inner();
        assert_eq!(result.output_files, [file("out", &digest)]);

        let other = KEY.replace("00", "11");
        let request = reapi::UpdateActionResultRequest {
            instance_name: "some/project".to_owned(),
            action_digest: Some(reapi::Digest { hash: other.clone(), size_bytes: 142 }),
            action_result: Some(result),
            digest_function: number,
            ..Default::default()
        };
        results.update_action_result(request).await.unwrap();
        let got = client.get(&format!("/some/project/ac/{other}")).await;
        let got = reapi::ActionResult::decode(got.body.as_slice()).unwrap();
        assert_eq!(got.output_files, [file("out", &digest)]);
        client.ask("DELETE", &format!("/some/project/ac/{other}"), &[], None).await;
    }
}

#[tokio::test]
async fn moon_speaks_json() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let status = client.get("/status").await;
    assert_eq!(status.status, 200);
    let digest = put_blob(&mut client, DigestFunction::Sha256, b"output").await;
    let (path, json) = (format!("//ac/{KEY}"), [("content-type", "application/json")]);
    let text = format!(
        r#"{{"outputFiles":[{{"path":"out","digest":{{"hash":"{}","sizeBytes":"6"}}}}],"exitCode":1,"executionMetadata":{{"worker":"moon"}}}}"#,
        digest.hash
    );
    let put = client.ask("PUT", &path, &json, Some(text.as_bytes())).await;
    assert_eq!(put.status, 201, "{}", put.text());
    let got = client.ask("GET", &path, &[("accept", "application/json")], None).await;
    assert_eq!((got.header("content-type"), got.text()), (Some("application/json"), &*text));
    let got = client.get(&path).await;
    let result = reapi::ActionResult::decode(got.body.as_slice()).unwrap();
    assert_eq!((result.exit_code, result.output_files), (1, vec![file("out", &digest)]));

    for text in ["", "{", "[]", r#"{"outputFiles":[{"path":"out","digest":{"hash":"short"}}]}"#] {
        assert_eq!(client.ask("PUT", &path, &json, Some(text.as_bytes())).await.status, 400);
    }
    server.store.forget(Digest::of(DigestFunction::Sha256, b"output"));
    let got = client.ask("GET", &path, &[("accept", "application/json")], None).await;
    assert_eq!(got.status, 404);
}

#[tokio::test]
async fn a_blob_that_is_here_is_not_looked_at_again_and_what_cannot_be_it_is_refused() {
    let server = HttpServer::start().await;
    let body = noise(100_000, 11);
    let path = format!("/cas/{}", Digest::of(DigestFunction::Sha256, &body).hex());
    let mut client = server.client().await;
    assert_eq!(client.put(&path, &body).await.status, 201);
    let packed = [("content-encoding", "zstd")];
    assert_eq!(client.put(&path, &body).await.status, 200);
    assert_eq!(client.put_chunked(&path, &body, 7_000).await.status, 200);
    assert_eq!(client.ask("PUT", &path, &packed, Some(&zstd(&body))).await.status, 200);

    // It is as long, and what it is nobody asks: it is not kept.
    assert_eq!(client.put(&path, &noise(100_000, 12)).await.status, 200);
    let longer = noise(100_001, 11);
    for wrong in [&longer, &body[1..], &[]] {
        assert_eq!(server.client().await.put(&path, wrong).await.status, 400);
        assert_eq!(server.client().await.put_chunked(&path, wrong, 7_000).await.status, 400);
    }
    // What is refused by its length alone is not even asked for: of what is packed, no more than the blob could take.
    for (length, encoding) in [("1", "identity"), ("100001", "identity"), ("20000000", "zstd")] {
        let headers = [
            ("content-length", length),
            ("content-encoding", encoding),
            ("expect", "100-continue"),
        ];
        let mut client = server.client().await;
        client.send_head("PUT", &path, &headers).await;
        assert_eq!(client.answer(false).await.status, 400);
    }
    assert!(server.client().await.get(&path).await.body == body);
}
