//! Results of actions: whole or not at all, and by whose word.

use std::time::Duration;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use model::{Digest, DigestFunction};
use prost::Message as _;
use store::{Namespace, VALUE_BYTES_MAX};
use tonic::{Code, Status};

use crate::support::{BLAKE3, SHA256, TestServer, caller, digest, message, trusted};

async fn get(server: &TestServer, action: &reapi::Digest) -> Result<reapi::ActionResult, Status> {
    let request = reapi::GetActionResultRequest {
        action_digest: Some(action.clone()),
        digest_function: SHA256,
        ..Default::default()
    };
    Ok(server.results().get_action_result(request).await?.into_inner())
}

async fn put(
    server: &TestServer,
    action: &reapi::Digest,
    result: reapi::ActionResult,
) -> Result<reapi::ActionResult, Status> {
    let request = reapi::UpdateActionResultRequest {
        action_digest: Some(action.clone()),
        action_result: Some(result),
        digest_function: SHA256,
        ..Default::default()
    };
    Ok(server.results().update_action_result(request).await?.into_inner())
}

fn file(path: &str, digest: &reapi::Digest) -> reapi::OutputFile {
    let digest = Some(digest.clone());
    reapi::OutputFile { path: path.to_owned(), digest, ..Default::default() }
}

#[tokio::test]
async fn naming_a_tree_again_and_again_costs_no_more_than_naming_it_once() {
    let server = TestServer::start().await;
    let inner = server.upload(b"in a tree").await;
    let files = (0..10_000).map(|it| reapi::FileNode {
        name: it.to_string(),
        digest: Some(inner.clone()),
        ..Default::default()
    });
    let root = reapi::Directory { files: files.collect(), ..Default::default() };
    let tree = reapi::Tree { root: Some(root), children: Vec::new() };
    let tree = server.upload(&tree.encode_to_vec()).await;
    let directory = |it: i32| reapi::OutputDirectory {
        path: it.to_string(),
        tree_digest: Some(tree.clone()),
        ..Default::default()
    };
    // 40 GB to read, if each were.
    let result = reapi::ActionResult {
        output_directories: (0..30_000).map(directory).collect(),
        ..Default::default()
    };
    let action = digest(b"an action");
    put(&server, &action, result).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_secs(60), get(&server, &action)).await;
    assert_eq!(answer.unwrap().unwrap().output_directories.len(), 30_000);
}

#[tokio::test]
async fn a_result_is_answered_only_while_all_it_refers_to_is_here() {
    let server = TestServer::start().await;
    let sha256 = |bytes: &[u8]| Digest::of(DigestFunction::Sha256, bytes);
    let (output, log) = (server.upload(b"output").await, server.upload(b"log").await);
    let inner = server.upload(b"in a tree").await;
    let node = |name: &str, digest: &reapi::Digest| reapi::FileNode {
        name: name.to_owned(),
        digest: Some(digest.clone()),
        ..Default::default()
    };
    let child = reapi::Directory { files: vec![node("f", &inner)], ..Default::default() };
    let child_digest = server.upload(&child.encode_to_vec()).await;
    let entry = reapi::DirectoryNode { name: "d".to_owned(), digest: Some(child_digest.clone()) };
    let root = reapi::Directory { directories: vec![entry], ..Default::default() };
    let root_digest = server.upload(&root.encode_to_vec()).await;
    let tree = reapi::Tree { root: Some(root.clone()), children: vec![child.clone()] };
    let tree_digest = server.upload(&tree.encode_to_vec()).await;
    let result = reapi::ActionResult {
        output_files: vec![file("out", &output)],
        output_directories: vec![reapi::OutputDirectory {
            path: "dir".to_owned(),
            tree_digest: Some(tree_digest),
            root_directory_digest: Some(root_digest),
            ..Default::default()
        }],
        stdout_digest: Some(log),
        ..Default::default()
    };
    let action = digest(b"an action");
    assert_eq!(get(&server, &action).await.unwrap_err().code(), Code::NotFound);
    put(&server, &action, result).await.unwrap();
    get(&server, &action).await.unwrap();

    let parts: [&[u8]; 6] = [
        b"output",
        b"log",
        b"in a tree",
        &child.encode_to_vec(),
        &root.encode_to_vec(),
        &tree.encode_to_vec(),
    ];
    for part in parts {
        server.store.forget(sha256(part));
        assert_eq!(get(&server, &action).await.unwrap_err().code(), Code::NotFound);
        server.upload(part).await;
        get(&server, &action).await.unwrap();
    }
}

#[tokio::test]
async fn what_came_inside_a_result_is_kept_as_blobs_and_comes_back_where_it_is_asked_for() {
    let server = TestServer::start().await;
    let action = digest(b"an action");
    let result = reapi::ActionResult {
        output_files: vec![reapi::OutputFile {
            contents: b"contents".to_vec(),
            ..file("a.d", &digest(b"contents"))
        }],
        stdout_raw: b"said".to_vec(),
        ..Default::default()
    };
    put(&server, &action, result).await.unwrap();

    let plain = get(&server, &action).await.unwrap();
    assert!(plain.stdout_raw.is_empty() && plain.output_files[0].contents.is_empty());
    assert_eq!(plain.stdout_digest, Some(digest(b"said")));

    let request = reapi::GetActionResultRequest {
        action_digest: Some(action),
        inline_stdout: true,
        inline_output_files: vec!["a.d".to_owned()],
        digest_function: SHA256,
        ..Default::default()
    };
    let inlined = server.results().get_action_result(request).await.unwrap().into_inner();
    assert_eq!(inlined.stdout_raw, b"said");
    assert_eq!(inlined.output_files[0].contents, b"contents");
    assert_eq!(inlined.output_files[0].digest, Some(digest(b"contents")), "digests stay");
}

#[tokio::test]
async fn whoever_made_a_result_stands_in_it() {
    let server = TestServer::start().await;
    let action = digest(b"does nothing");
    let put = put(&server, &action, reapi::ActionResult::default()).await.unwrap();
    assert_eq!(put.execution_metadata.unwrap().worker, "cache-upload:somebody");
    let got = get(&server, &action).await.unwrap();
    assert_eq!(got.execution_metadata.unwrap().worker, "cache-upload:somebody");
}

#[tokio::test]
async fn what_no_client_could_use_is_refused() {
    let server = TestServer::start().await;
    let output = server.upload(b"output").await;
    let refused = [
        reapi::ActionResult {
            output_files: vec![file("/etc/passwd", &output)],
            ..Default::default()
        },
        reapi::ActionResult { output_files: vec![file("", &output)], ..Default::default() },
        reapi::ActionResult {
            output_files: vec![file("a/../../b", &output)],
            ..Default::default()
        },
        reapi::ActionResult {
            output_files: vec![reapi::OutputFile {
                path: "no digest".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        },
        reapi::ActionResult {
            output_symlinks: vec![reapi::OutputSymlink {
                path: "l".to_owned(),
                ..Default::default()
            }],
            ..Default::default()
        },
        reapi::ActionResult {
            stdout_raw: b"one".to_vec(),
            stdout_digest: Some(digest(b"other")),
            ..Default::default()
        },
    ];
    for result in refused {
        let refused = put(&server, &digest(b"an action"), result.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{result:?}");
    }
    let beside =
        reapi::ActionResult { output_files: vec![file("../b", &output)], ..Default::default() };
    put(&server, &digest(b"an action"), beside).await.unwrap();
}

#[tokio::test]
async fn projects_and_functions_do_not_meet() {
    let server = TestServer::start().await;
    let action = message(Digest::of(DigestFunction::Blake3, b"an action"));
    let request = |project: &str, function| reapi::GetActionResultRequest {
        instance_name: project.to_owned(),
        action_digest: Some(action.clone()),
        digest_function: function,
        ..Default::default()
    };
    let update = reapi::UpdateActionResultRequest {
        instance_name: "one".to_owned(),
        action_digest: Some(action.clone()),
        action_result: Some(reapi::ActionResult::default()),
        digest_function: BLAKE3,
        ..Default::default()
    };
    server.results().update_action_result(update).await.unwrap();
    for (project, function, is_there) in
        [("one", BLAKE3, true), ("one", 0, true), ("one", SHA256, false), ("two", BLAKE3, false)]
    {
        let got = server.results().get_action_result(request(project, function)).await;
        assert_eq!(got.is_ok(), is_there, "{project} {function}");
    }
}

#[tokio::test]
async fn a_poisoned_result_of_a_pull_request_is_never_seen_by_those_who_are_trusted() {
    let trusted_server = TestServer::start().await;
    let pull_request = Namespace::PullRequest("17".to_owned());
    let other = Namespace::PullRequest("18".to_owned());
    let rights = trusted().rights;
    let stranger = trusted_server.and_for(caller("stranger", rights, pull_request)).await;
    let another = trusted_server.and_for(caller("another", rights, other)).await;
    let action = digest(b"compiles the kernel");
    let made_by = |name: &str| reapi::ActionResult {
        execution_metadata: Some(reapi::ExecutedActionMetadata {
            worker: name.to_owned(),
            ..Default::default()
        }),
        ..Default::default()
    };
    let worker = |result: reapi::ActionResult| result.execution_metadata.unwrap().worker;

    put(&stranger, &action, made_by("poison")).await.unwrap();
    assert_eq!(get(&trusted_server, &action).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(get(&another, &action).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(worker(get(&stranger, &action).await.unwrap()), "poison");

    put(&trusted_server, &action, made_by("good")).await.unwrap();
    assert_eq!(worker(get(&trusted_server, &action).await.unwrap()), "good");
    assert_eq!(worker(get(&another, &action).await.unwrap()), "good", "reads go up");
}

#[tokio::test]
async fn whoever_may_not_write_results_is_told_so() {
    let mut rights = trusted().rights;
    rights.write_values = false;
    let server = TestServer::start_for(caller("reader", rights, Namespace::Trusted)).await;
    let refused = put(&server, &digest(b"a"), reapi::ActionResult::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied, "as Buck2's probe expects it");
    assert_eq!(get(&server, &digest(b"a")).await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn whoever_may_not_write_blobs_cannot_write_them_inside_results() {
    let mut rights = trusted().rights;
    rights.write_blobs = false;
    let server = TestServer::start_for(caller("recorder", rights, Namespace::Trusted)).await;
    let action = digest(b"an action");
    let result = reapi::ActionResult { stdout_raw: b"said".to_vec(), ..Default::default() };
    let refused = put(&server, &action, result).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    put(&server, &action, reapi::ActionResult::default()).await.unwrap();
}

#[tokio::test]
async fn a_result_that_is_larger_than_values_is_its_clients_mistake() {
    let server = TestServer::start().await;
    let output = server.upload(b"output").await;
    let files = (0..40_000).map(|nth| file(&format!("{nth:060}"), &output));
    let result = reapi::ActionResult { output_files: files.collect(), ..Default::default() };
    assert!(result.encoded_len() > VALUE_BYTES_MAX);
    let refused = put(&server, &digest(b"an action"), result).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "trying again will not help");
}
