//! Directories and messages that nobody means well with: whatever they say, the server answers soon, and in little memory.

use std::time::{Duration, Instant};

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use futures::future::join_all;
use http::uri::PathAndQuery;
use model::Digest;
use prost::Message as _;
use prost::encoding::encode_varint;
use tokio::runtime::Runtime;
use tonic::client::Grpc;
use tonic::transport::Endpoint;
use tonic::{Code, Request, Status};

use super::client::{Client, Form, digest, message};
use super::oracle::Key;
use super::raw::Raw;
use crate::machine::Machine;
use crate::served::Served;

/// How long answers may take altogether, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// How much memory the server may ever have had, in KiB.
const RESIDENT_KIB_MAX: u64 = 700 << 10;

/// How many names there are in the widest directory.
const WIDE: usize = 1_000_000;

/// How many directories lie in one another in the deepest tree.
const DEEP: usize = 10_000;

/// How many blobs are sent at once.
const BATCH: usize = 1_000;

fn directory(files: &[(String, Digest)], children: &[(String, Digest)]) -> Bytes {
    let file = |(name, digest): &(String, Digest)| reapi::FileNode {
        name: name.clone(),
        digest: Some(message(*digest)),
        ..Default::default()
    };
    let child = |(name, digest): &(String, Digest)| reapi::DirectoryNode {
        name: name.clone(),
        digest: Some(message(*digest)),
    };
    let directory = reapi::Directory {
        files: files.iter().map(file).collect(),
        directories: children.iter().map(child).collect(),
        ..Default::default()
    };
    directory.encode_to_vec().into()
}

async fn upload(client: &Client, blobs: &[Bytes]) {
    for some in blobs.chunks(BATCH) {
        let some: Vec<_> = some.iter().map(|it| (it.clone(), Form::Plain)).collect();
        assert!(client.update(&some).await.unwrap().iter().all(|it| it.code == 0));
    }
}

/// Returns how many directories a tree has.
async fn tree(client: &Client, root: Digest) -> Result<usize, Status> {
    let request = client.request(reapi::GetTreeRequest {
        root_digest: Some(message(root)),
        digest_function: 1,
        ..Default::default()
    });
    let mut pages = client.blobs().get_tree(request).await?.into_inner();
    let mut count = 0;
    while let Some(page) = pages.message().await? {
        count += page.directories.len();
    }
    Ok(count)
}

/// Records a result of that directory, and returns whether it is answered.
async fn is_answered(client: &Client, root: Digest, tree: Digest) -> bool {
    let action = Key::Action(root.hex()).action();
    let output = reapi::OutputDirectory {
        path: "out".to_owned(),
        tree_digest: Some(message(tree)),
        root_directory_digest: Some(message(root)),
        ..Default::default()
    };
    let result = reapi::ActionResult { output_directories: vec![output], ..Default::default() };
    client.record(action, result).await.unwrap();
    client.lookup(action).await.unwrap().is_some()
}

#[test]
fn no_directory_costs_much_time_or_memory_whatever_it_says() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let served = Served::start(&machine);
    let began = runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        let file = Bytes::from_static(b"a file");
        let leaf = directory(&[("file".to_owned(), digest(&file))], &[]);
        upload(&client, &[file.clone(), leaf.clone()]).await;
        let refused = |it: &Result<usize, Status>| {
            it.as_ref().is_err_and(|it| it.code() == Code::FailedPrecondition)
        };
        let leaf_as = |name: &str| [(name.to_owned(), digest(&leaf))];

        // Names that lead elsewhere.
        for name in ["../x", "..", ".", "/", "a/b", "", "nul\0"] {
            let root = directory(&[], &leaf_as(name));
            upload(&client, std::slice::from_ref(&root)).await;
            assert!(refused(&tree(&client, digest(&root)).await), "{name:?}");
            let list = reapi::Tree {
                root: Some(reapi::Directory::decode(root.clone()).unwrap()),
                children: vec![reapi::Directory::decode(leaf.clone()).unwrap()],
            };
            let list = Bytes::from(list.encode_to_vec());
            upload(&client, std::slice::from_ref(&list)).await;
            assert!(!is_answered(&client, digest(&root), digest(&list)).await, "{name:?}");
        }

        // One so wide that no message carries it, and a list with it.
        let all: Vec<_> = (0..WIDE).map(|it| (format!("{it:07}"), digest(&file))).collect();
        let wide = directory(&all, &[]);
        client.write(&wide, "s", Form::Zstd, 0, || {}).await.unwrap();
        let root = reapi::Directory::decode(wide.clone()).unwrap();
        let list = reapi::Tree { root: Some(root), children: Vec::new() };
        let list = Bytes::from(list.encode_to_vec());
        client.write(&list, "s", Form::Zstd, 0, || {}).await.unwrap();

        // One so deep that no path leads to its end.
        let mut levels = vec![leaf.clone()];
        for _ in 0..DEEP {
            let below = digest(levels.last().unwrap());
            levels.push(directory(&[], &[("d".to_owned(), below)]));
        }
        upload(&client, &levels).await;

        // One with more paths than there are atoms, and few directories.
        let mut thicket = vec![leaf.clone()];
        for _ in 0..80 {
            let below = digest(thicket.last().unwrap());
            let names: Vec<_> = (0..10).map(|it| (it.to_string(), below)).collect();
            thicket.push(directory(&[], &names));
        }
        upload(&client, &thicket).await;

        // One that seems to hold itself: its own child has its hash, by another size, in whatever order they came.
        let other_size = Digest::from_parts(
            digest(&leaf).function(),
            *digest(&leaf).hash(),
            digest(&leaf).size() + 1,
        );
        let ring =
            directory(&[], &[("ring".to_owned(), other_size), ("same".to_owned(), digest(&leaf))]);
        upload(&client, std::slice::from_ref(&ring)).await;

        let began = Instant::now();
        let top = |all: &[Bytes]| digest(all.last().unwrap());
        for answer in join_all((0..8).map(|_| tree(&client, digest(&wide)))).await {
            assert!(refused(&answer), "{answer:?}");
        }
        for answer in join_all((0..8).map(|_| tree(&client, top(&levels)))).await {
            assert!(refused(&answer), "{answer:?}");
        }
        assert_eq!(tree(&client, top(&thicket)).await.unwrap(), 81, "each of them once");
        assert_eq!(tree(&client, digest(&ring)).await.unwrap(), 2, "what is not here is left out");
        assert!(!is_answered(&client, digest(&wide), digest(&list)).await);
        assert!(!is_answered(&client, digest(&ring), digest(&leaf)).await);
        let asked = (0..4).map(|_| is_answered(&client, digest(&wide), digest(&list)));
        assert!(!join_all(asked).await.contains(&true));
        began
    });
    let took = began.elapsed();
    assert!(took < PATIENCE, "{took:?}");
    let peak = served.peak_kib();
    assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB");
    served.end();
}

const FIND_MISSING: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs";
const BATCH_UPDATE: &str =
    "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs";
const GET_RESULT: &str = "/build.bazel.remote.execution.v2.ActionCache/GetActionResult";
const UPDATE_RESULT: &str = "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult";

/// What is said to whoever sends such a message.
const PROPER: [Code; 3] = [Code::ResourceExhausted, Code::InvalidArgument, Code::NotFound];

/// How many messages of nothing but tiny elements are sent at once.
const AT_ONCE: usize = 16;

#[test]
fn no_message_takes_much_more_memory_than_it_has_bytes() {
    let machine = Machine::bare();
    let runtime = Runtime::new().unwrap();
    let served = Served::start(&machine);
    runtime.block_on(async {
        let client = Client::connect(served.address()).await;
        let endpoint = Endpoint::from_shared(served.address().to_owned()).unwrap();
        let channel = endpoint.connect().await.unwrap();
        let ask = async |path: &'static str, message: Bytes| {
            let mut grpc = Grpc::new(channel.clone());
            grpc.ready().await.unwrap();
            grpc.unary(Request::new(message), PathAndQuery::from_static(path), Raw).await
        };
        // Digests, blobs to keep, paths of a result that is looked for, and links of one: two bytes each, and structures.
        let lookup = reapi::GetActionResultRequest {
            action_digest: Some(message(digest(b"an action"))),
            digest_function: 1,
            ..Default::default()
        };
        let lookup = lookup.encode_to_vec();
        let result = |elements: usize| {
            let result = [0x52, 0].repeat(elements);
            let mut head = vec![0x1a];
            encode_varint(result.len() as u64, &mut head);
            [head, result].concat()
        };
        for elements in [250_000, 2_000_000] {
            let calls = [
                (FIND_MISSING, [0x12, 0].repeat(elements)),
                (BATCH_UPDATE, [0x12, 0].repeat(elements)),
                (GET_RESULT, [&lookup[..], &[0x2a, 0].repeat(elements)].concat()),
                (UPDATE_RESULT, result(elements)),
            ];
            for (path, message) in calls {
                let message = Bytes::from(message);
                let asked = (0..AT_ONCE).map(|_| ask(path, message.clone()));
                for answer in join_all(asked).await {
                    let refused = answer.unwrap_err();
                    assert!(PROPER.contains(&refused.code()), "{path}: {refused}");
                }
            }
        }
        upload(&client, &[Bytes::from_static(b"it still serves")]).await;
    });
    let peak = served.peak_kib();
    assert!(peak < RESIDENT_KIB_MAX, "{peak} KiB");
    served.end();
}
