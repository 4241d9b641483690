//! Blobs by the batch, trees, and chunks.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use model::{Digest, DigestFunction};
use prost::Message as _;
use tonic::Code;

use crate::support::{
    BLAKE3, SHA256, TestServer, caller, digest, message, noise, trusted, unzstd, zstd,
};

async fn missing(
    server: &TestServer,
    function: i32,
    asked: &[reapi::Digest],
) -> Vec<reapi::Digest> {
    let request = reapi::FindMissingBlobsRequest {
        blob_digests: asked.to_vec(),
        digest_function: function,
        ..Default::default()
    };
    server.blobs().find_missing_blobs(request).await.unwrap().into_inner().missing_blob_digests
}

async fn update(
    server: &TestServer,
    function: i32,
    blobs: Vec<(reapi::Digest, Vec<u8>, i32)>,
) -> Result<Vec<Code>, tonic::Status> {
    let request = |(digest, data, compressor)| reapi::batch_update_blobs_request::Request {
        digest: Some(digest),
        data,
        compressor,
    };
    let request = reapi::BatchUpdateBlobsRequest {
        requests: blobs.into_iter().map(request).collect(),
        digest_function: function,
        ..Default::default()
    };
    let answer = server.blobs().batch_update_blobs(request).await?.into_inner();
    Ok(answer.responses.iter().map(|it| it.status.as_ref().unwrap().code.into()).collect())
}

async fn batch_read(
    server: &TestServer,
    asked: &[reapi::Digest],
    compressors: &[i32],
) -> Result<Vec<reapi::batch_read_blobs_response::Response>, tonic::Status> {
    let request = reapi::BatchReadBlobsRequest {
        digests: asked.to_vec(),
        acceptable_compressors: compressors.to_vec(),
        digest_function: SHA256,
        ..Default::default()
    };
    Ok(server.blobs().batch_read_blobs(request).await?.into_inner().responses)
}

#[tokio::test]
async fn what_was_updated_is_found_and_read() {
    let server = TestServer::start().await;
    let text = b"int main(void) { return 0; }\n".repeat(100);
    let absent = digest(b"never sent");
    let (plain, packed) = (digest(b"hello"), digest(&text));
    let blobs = vec![(plain.clone(), b"hello".to_vec(), 0), (packed.clone(), zstd(&text), 1)];
    assert_eq!(update(&server, SHA256, blobs).await.unwrap(), [Code::Ok, Code::Ok]);

    let asked = [plain.clone(), absent.clone(), packed.clone(), absent.clone()];
    let gone = missing(&server, SHA256, &asked).await;
    assert!(gone.iter().all(|it| *it == absent) && !gone.is_empty());

    let answers = batch_read(&server, &asked[..3], &[]).await.unwrap();
    let codes: Vec<_> = answers.iter().map(|it| it.status.as_ref().unwrap().code).collect();
    assert_eq!(codes, [0, Code::NotFound.into(), 0], "each has a status of its own");
    assert_eq!((&answers[0].data[..], &answers[2].data), (&b"hello"[..], &text));

    let answers = batch_read(&server, &asked[2..3], &[1]).await.unwrap();
    assert_eq!(answers[0].compressor, 1);
    assert_eq!(unzstd(&answers[0].data), text);
}

#[tokio::test]
async fn what_is_not_what_it_says_is_refused_by_itself() {
    let server = TestServer::start().await;
    let good = (digest(b"good"), b"good".to_vec(), 0);
    let (expected, size) = (digest(b"expected"), digest(b"expected").size_bytes);
    let wrong = [
        (expected.clone(), b"unexpect".to_vec(), 0),
        (expected.clone(), b"expected and more".to_vec(), 0),
        (expected.clone(), b"expected".to_vec(), 1),
        (expected.clone(), zstd(&vec![0; 1 << 20]), 1),
        (expected.clone(), zstd(b"expect"), 1),
        (expected.clone(), b"expected".to_vec(), 2),
        (reapi::Digest { hash: "0".repeat(64), size_bytes: 0 }, Vec::new(), 0),
        (reapi::Digest { size_bytes: -1, ..expected.clone() }, Vec::new(), 0),
        (reapi::Digest { size_bytes: size + 1, ..expected.clone() }, b"expected".to_vec(), 0),
    ];
    for wrong in wrong {
        let codes = update(&server, SHA256, vec![good.clone(), wrong.clone()]).await.unwrap();
        assert_eq!(codes, [Code::Ok, Code::InvalidArgument], "{wrong:?}");
    }
    assert_eq!(missing(&server, SHA256, std::slice::from_ref(&expected)).await, [expected]);
}

#[tokio::test]
async fn a_batch_that_is_too_large_is_refused_as_a_whole() {
    let server = TestServer::start().await;
    let half = noise(1_500_001, 1);
    let (first, second) = (digest(&half), digest(&noise(1_500_000, 2)));
    let blobs = vec![(first.clone(), half.clone(), 0), (second.clone(), noise(1_500_000, 2), 0)];
    let refused = update(&server, SHA256, blobs).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert_eq!(
        missing(&server, SHA256, std::slice::from_ref(&first)).await.len(),
        1,
        "nothing was kept"
    );
    let refused = batch_read(&server, &[first, second], &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn no_batch_is_answered_with_more_than_clients_take() {
    let server = TestServer::start().await;
    let many: Vec<_> = (0..60_000_u64).map(|it| it.to_le_bytes().to_vec()).collect();
    let digests: Vec<_> = many.iter().map(|it| digest(it)).collect();
    let blobs = |count| {
        let pairs = digests.iter().cloned().zip(many.iter().cloned()).take(count);
        pairs.map(|(digest, bytes)| (digest, bytes, 0)).collect()
    };
    for refused in [
        batch_read(&server, &digests, &[]).await.map(drop),
        update(&server, SHA256, blobs(digests.len())).await.map(drop),
    ] {
        let refused = refused.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert!(refused.message().contains("4194304 bytes"), "{refused}");
    }
    assert_eq!(missing(&server, SHA256, &digests[..1]).await.len(), 1, "nothing was kept");

    // As many as the largest known client puts into a batch are answered, here or missing.
    let codes = update(&server, SHA256, blobs(4_000)).await.unwrap();
    assert!(codes.iter().all(|it| *it == Code::Ok));
    let answers = batch_read(&server, &digests[2_000..6_000], &[]).await.unwrap();
    let found = answers.iter().filter(|it| it.status.as_ref().unwrap().code == 0);
    assert_eq!((answers.len(), found.count()), (4_000, 2_000));
}

#[tokio::test]
async fn a_full_batch_of_small_blobs_fits_into_its_answer() {
    let server = TestServer::start().await;
    let many: Vec<_> = (0..15_000).map(|seed| noise(200, seed)).collect();
    let digests: Vec<_> = many.iter().map(|it| digest(it)).collect();
    let blobs = digests.iter().cloned().zip(many).map(|(digest, bytes)| (digest, bytes, 0));
    let codes = update(&server, SHA256, blobs.collect()).await.unwrap();
    assert!(codes.iter().all(|it| *it == Code::Ok));
    // The client takes the 4 MiB that clients take by default.
    assert_eq!(batch_read(&server, &digests, &[]).await.unwrap().len(), 15_000);
}

#[tokio::test]
async fn the_empty_blob_is_always_here() {
    let server = TestServer::start().await;
    for (function, number) in [(DigestFunction::Sha256, SHA256), (DigestFunction::Blake3, BLAKE3)] {
        let empty = message(Digest::of(function, b""));
        for number in [number, 0] {
            assert!(missing(&server, number, std::slice::from_ref(&empty)).await.is_empty());
        }
        let codes = update(&server, number, vec![(empty, Vec::new(), 0)]).await.unwrap();
        assert_eq!(codes, [Code::Ok]);
    }
    let answers = batch_read(&server, &[digest(b"")], &[1]).await.unwrap();
    assert_eq!((answers[0].status.as_ref().unwrap().code, answers[0].data.len()), (0, 0));
}

#[tokio::test]
async fn a_client_that_names_no_function_is_understood() {
    let server = TestServer::start().await;
    let blake3 = message(Digest::of(DigestFunction::Blake3, b"by Buck2"));
    let sha256 = digest(b"by Buck2");
    let blobs = vec![(blake3.clone(), b"by Buck2".to_vec(), 0), (sha256, b"by Buck2".to_vec(), 0)];
    assert_eq!(update(&server, 0, blobs).await.unwrap(), [Code::Ok, Code::Ok]);
    assert!(missing(&server, 0, std::slice::from_ref(&blake3)).await.is_empty());
    assert!(missing(&server, BLAKE3, std::slice::from_ref(&blake3)).await.is_empty());
    let name = format!("blobs/{}/{}", blake3.hash, blake3.size_bytes);
    assert_eq!(server.read(&name, 0, 0).await.unwrap(), b"by Buck2");

    let request = reapi::FindMissingBlobsRequest { digest_function: 3, ..Default::default() };
    let refused = server.blobs().find_missing_blobs(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains("BLAKE3"), "{refused}");
}

#[tokio::test]
async fn whoever_may_not_is_told_so() {
    let server = TestServer::start().await;
    let mut rights = trusted().rights;
    rights.write_blobs = false;
    let reader = server.and_for(caller("reader", rights, store::Namespace::Trusted)).await;
    let blob = vec![(digest(b"x"), b"x".to_vec(), 0)];
    let refused = update(&reader, SHA256, blob.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    assert_eq!(missing(&reader, SHA256, &[digest(b"x")]).await.len(), 1);

    (rights.read, rights.write_blobs) = (false, true);
    let writer = server.and_for(caller("writer", rights, store::Namespace::Trusted)).await;
    assert_eq!(update(&writer, SHA256, blob).await.unwrap(), [Code::Ok]);
    assert!(
        missing(&writer, SHA256, &[digest(b"x")]).await.is_empty(),
        "he sends only what is new"
    );
    let refused = batch_read(&writer, &[digest(b"x")], &[]).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
}

fn directory(files: &[(&str, &reapi::Digest)], children: &[(&str, &reapi::Digest)]) -> Vec<u8> {
    let file = |(name, digest): &(&str, &reapi::Digest)| reapi::FileNode {
        name: (*name).to_owned(),
        digest: Some((*digest).clone()),
        ..Default::default()
    };
    let child = |(name, digest): &(&str, &reapi::Digest)| reapi::DirectoryNode {
        name: (*name).to_owned(),
        digest: Some((*digest).clone()),
    };
    let directory = reapi::Directory {
        files: files.iter().map(file).collect(),
        directories: children.iter().map(child).collect(),
        ..Default::default()
    };
    directory.encode_to_vec()
}

async fn tree(
    server: &TestServer,
    root: &reapi::Digest,
    page_size: i32,
    token: &str,
) -> Result<Vec<reapi::GetTreeResponse>, tonic::Status> {
    let request = reapi::GetTreeRequest {
        root_digest: Some(root.clone()),
        page_size,
        page_token: token.to_owned(),
        digest_function: SHA256,
        ..Default::default()
    };
    let mut answers = server.blobs().get_tree(request).await?.into_inner();
    let mut pages = Vec::new();
    while let Some(page) = answers.message().await? {
        pages.push(page);
    }
    Ok(pages)
}

#[tokio::test]
async fn a_tree_comes_in_pages_and_each_directory_once() {
    let server = TestServer::start().await;
    let file = server.upload(b"content").await;
    let leaf = server.upload(&directory(&[("file", &file)], &[])).await;
    let absent = digest(&directory(&[("not sent", &file)], &[]));
    let middle = directory(&[], &[("absent", &absent), ("again", &leaf), ("leaf", &leaf)]);
    let middle = server.upload(&middle).await;
    let root = directory(&[("file", &file)], &[("leaf", &leaf), ("middle", &middle)]);
    let root = server.upload(&root).await;

    let whole = tree(&server, &root, 0, "").await.unwrap();
    assert_eq!(whole.len(), 1);
    assert_eq!(whole[0].directories.len(), 3, "root, leaf, middle; what is absent is left out");
    assert!(whole[0].next_page_token.is_empty());

    let pages = tree(&server, &root, 1, "").await.unwrap();
    assert_eq!(pages.iter().map(|it| it.directories.len()).collect::<Vec<_>>(), [1, 1, 1]);
    let rest = tree(&server, &root, 1, &pages[0].next_page_token).await.unwrap();
    assert_eq!(rest, pages[1..], "a token takes up where a page ended");

    let refused = tree(&server, &root, 0, "somebody else's").await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = tree(&server, &digest(b"never sent"), 0, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test]
async fn the_empty_tree_is_one_empty_directory() {
    let server = TestServer::start().await;
    let pages = tree(&server, &digest(b""), 0, "").await.unwrap();
    assert_eq!(pages[0].directories, [reapi::Directory::default()]);
}

#[tokio::test]
async fn a_hostile_tree_is_refused() {
    let server = TestServer::start().await;
    let file = server.upload(b"content").await;
    for names in [&[".."][..], &["a/b"], &[""], &["twice", "twice"], &["nul\0"]] {
        let files: Vec<_> = names.iter().map(|name| (*name, &file)).collect();
        let root = server.upload(&directory(&files, &[])).await;
        let refused = tree(&server, &root, 0, "").await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition, "{names:?}");
    }
    let root = server.upload(b"no directory at all").await;
    let refused = tree(&server, &root, 0, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
}

#[tokio::test]
async fn a_deep_tree_comes_whole_but_not_one_that_nobody_could_unpack() {
    let server = TestServer::start().await;
    let mut child = server.upload(b"").await;
    for _ in 0..2_000 {
        child = server.upload(&directory(&[], &[("deeper", &child)])).await;
    }
    let pages = tree(&server, &child, 0, "").await.unwrap();
    assert_eq!(pages.iter().map(|it| it.directories.len()).sum::<usize>(), 2_001);
    for _ in 0..100 {
        child = server.upload(&directory(&[], &[("deeper", &child)])).await;
    }
    let refused = tree(&server, &child, 0, "").await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "no path is that long");
}

#[tokio::test]
async fn a_blob_is_split_and_spliced() {
    let server = TestServer::start().await;
    let (first, second) = (noise(300_000, 1), noise(200_000, 2));
    let whole = [&first[..], &second].concat();
    let chunks = vec![server.upload(&first).await, server.upload(&second).await];
    let request = reapi::SpliceBlobRequest {
        blob_digest: Some(digest(&whole)),
        chunk_digests: chunks.clone(),
        digest_function: SHA256,
        ..Default::default()
    };
    let mut client = server.blobs();
    let spliced = client.splice_blob(request.clone()).await.unwrap().into_inner();
    assert_eq!(spliced.blob_digest, Some(digest(&whole)));
    assert!(missing(&server, SHA256, &[digest(&whole)]).await.is_empty());
    let name = format!("blobs/{}/{}", digest(&whole).hash, whole.len());
    assert_eq!(server.read(&name, 0, 0).await.unwrap(), whole);

    let split = reapi::SplitBlobRequest {
        blob_digest: Some(digest(&whole)),
        digest_function: SHA256,
        ..Default::default()
    };
    let answer = client.split_blob(split.clone()).await.unwrap().into_inner();
    assert_eq!(answer.chunk_digests, chunks);

    let mut known = request.clone();
    let absent = noise(500_000, 8);
    known.chunk_digests = vec![digest(&absent)];
    client.splice_blob(known).await.expect("what is here need not be put together");

    let mut wrong = request.clone();
    wrong.chunk_digests.reverse();
    wrong.blob_digest = Some(digest(&[&second[..], &first, b""].concat()[..]));
    wrong.chunk_digests = chunks.clone();
    let refused = client.splice_blob(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "another order is another blob");
    let mut wrong = request.clone();
    wrong.chunk_digests.pop();
    let refused = client.splice_blob(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument, "the sizes do not add up");
    let gone = noise(500_000, 7);
    let mut wrong = request;
    wrong.blob_digest = Some(digest(&gone));
    wrong.chunk_digests = vec![digest(&gone)];
    let refused = client.splice_blob(wrong).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound, "the chunk is not here");
    let mut absent = split;
    absent.blob_digest = Some(digest(b"never sent"));
    assert_eq!(client.split_blob(absent).await.unwrap_err().code(), Code::NotFound);
}
