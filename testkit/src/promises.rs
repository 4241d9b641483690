//! What every store promises. The functions panic where a promise is broken, with the promise as the message.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::time::Duration;

use bytes::Bytes;
use model::{
    ActionDigest, ActionResult, Digest, DigestFunction, ExecutionMetadata, OutputDirectory,
    OutputFile, OutputSymlink, RelativePath, SymlinkTarget, TreeDigest,
};
use store::{ActionCache, Blob, BlobStore, StoreError};

/// The functions that a store keeps blobs under.
const FUNCTIONS: [DigestFunction; 2] = [DigestFunction::Blake3, DigestFunction::Sha256];

/// Larger than what any store keeps in one piece in memory, and no multiple of anything.
const LARGE_BLOB_BYTES: usize = (3 << 20) + 17;

/// Asks an empty store for everything that [`BlobStore`] promises.
pub async fn blob_store_promises(store: &impl BlobStore) {
    for function in FUNCTIONS {
        absence_is_an_answer(store, function).await;
        what_was_written_is_read_back(store, function).await;
        writing_again_is_a_no_op(store, function).await;
        what_hashes_to_something_else_is_refused(store, function).await;
        the_empty_blob_is_a_blob(store, function).await;
        blobs_may_come_as_files(store, function).await;
    }
}

async fn absence_is_an_answer(store: &impl BlobStore, function: DigestFunction) {
    let absent = Digest::of(function, b"never written");
    let read = store.read(absent).await.expect("reading what is absent is no failure");
    assert!(read.is_none(), "what was never written is not there");
    let missing = missing(store, [absent]).await;
    assert_eq!(missing, BTreeSet::from([absent]), "what was never written is missing");
    assert!(self::missing(store, []).await.is_empty(), "nothing of nothing is missing");
}

async fn what_was_written_is_read_back(store: &impl BlobStore, function: DigestFunction) {
    let large: Vec<u8> = (0..=250).cycle().take(LARGE_BLOB_BYTES).collect();
    for bytes in [Bytes::from_static(b"hello"), Bytes::from_static(b"\0"), Bytes::from(large)] {
        let (digest, absent) = (Digest::of(function, &bytes), Digest::of(function, b"not this"));
        store.write(digest, Blob::Bytes(bytes.clone())).await.expect("a right blob is kept");
        assert_eq!(read(store, digest).await, Some(bytes), "what was written is read back");
        let missing = missing(store, [digest, absent]).await;
        assert_eq!(missing, BTreeSet::from([absent]), "only what is absent is missing");
    }
}

async fn writing_again_is_a_no_op(store: &impl BlobStore, function: DigestFunction) {
    let bytes = Bytes::from_static(b"written twice");
    let digest = Digest::of(function, &bytes);
    for _ in 0..2 {
        store.write(digest, bytes.clone().into()).await.expect("writing again is a no-op");
        assert_eq!(read(store, digest).await, Some(bytes.clone()));
    }
}

async fn what_hashes_to_something_else_is_refused(
    store: &impl BlobStore,
    function: DigestFunction,
) {
    let expected = Digest::of(function, b"the real thing");
    for wrong in ["the real thinG", "the real", "the real thing and more", ""] {
        let bytes = Bytes::from_static(wrong.as_bytes());
        let refused = store.write(expected, bytes.into()).await;
        let Err(StoreError::Mismatch { expected: named, .. }) = refused else {
            unreachable!("{wrong:?} under the digest of something else gave {refused:?}");
        };
        assert_eq!(named, expected, "the refusal names the digest");
        assert_eq!(read(store, expected).await, None, "what was refused is not there");
        assert!(missing(store, [expected]).await.contains(&expected));
    }
}

async fn the_empty_blob_is_a_blob(store: &impl BlobStore, function: DigestFunction) {
    let digest = Digest::of(function, b"");
    store.write(digest, Bytes::new().into()).await.expect("the empty blob is kept");
    assert_eq!(read(store, digest).await, Some(Bytes::new()), "the empty blob is read back");
    assert!(missing(store, [digest]).await.is_empty());
}

async fn blobs_may_come_as_files(store: &impl BlobStore, function: DigestFunction) {
    let path = tempfile::NamedTempFile::new().expect("there is room for a file").into_temp_path();
    let bytes = Bytes::from(format!("from a file, {function}"));
    File::create(&path).and_then(|mut file| file.write_all(&bytes)).expect("the file is written");
    let file = File::open(&path).expect("the file is there");
    let digest = Digest::of(function, &bytes);
    store.write(digest, Blob::File(file)).await.expect("a file is a blob");
    assert_eq!(read(store, digest).await, Some(bytes), "a file is read to its end");
}

async fn read(store: &impl BlobStore, digest: Digest) -> Option<Bytes> {
    let blob = store.read(digest).await.expect("reading works")?;
    Some(blob.into_bytes().expect("the blob's bytes can be had"))
}

async fn missing<const N: usize>(store: &impl BlobStore, digests: [Digest; N]) -> BTreeSet<Digest> {
    store.find_missing(digests.into()).await.expect("asking works")
}

/// Asks an empty cache for everything that [`ActionCache`] promises, whatever it knows of blobs.
pub async fn action_cache_promises(cache: &impl ActionCache) {
    cache_promises(cache).await;
}

/// Asks likewise a cache that gives only results of which it has all outputs.
pub async fn complete_action_cache_promises(cache: &(impl ActionCache + BlobStore)) {
    for function in FUNCTIONS {
        for bytes in result_blobs() {
            let digest = Digest::of(function, &bytes);
            cache.write(digest, bytes.into()).await.expect("a right blob is kept");
        }
    }
    cache_promises(cache).await;
}

async fn cache_promises(cache: &impl ActionCache) {
    for function in FUNCTIONS {
        let action = |name: &str| ActionDigest(Digest::of(function, name.as_bytes()));
        let (one, other) = (action("one action"), action("another action"));
        assert_eq!(lookup(cache, one).await, None, "what was never recorded is not there");

        let mut changed = ActionResult::default();
        "another machine".clone_into(&mut changed.metadata.worker);
        let result = full_result(function);
        record(cache, one, &result).await;
        assert_eq!(lookup(cache, one).await, Some(result.clone()), "all of a result comes back");
        assert_eq!(lookup(cache, other).await, None, "other actions have no result by that");

        record(cache, other, &result).await;
        record(cache, one, &changed).await;
        assert_eq!(lookup(cache, one).await, Some(changed), "the last record wins");
        assert_eq!(lookup(cache, other).await, Some(result), "and wins only for its action");
    }
}

async fn lookup(cache: &impl ActionCache, action: ActionDigest) -> Option<ActionResult> {
    cache.lookup(action).await.expect("looking up works")
}

async fn record(cache: &impl ActionCache, action: ActionDigest, result: &ActionResult) {
    cache.record(action, result).await.expect("recording works");
}

/// The bytes of a list of directories that has only an empty one.
const EMPTY_TREE: &[u8] = b"\x0a\0";

/// All that a full result refers to.
fn result_blobs() -> [Bytes; 5] {
    let texts: [&[u8]; 5] = [b"out/a", b"out/b", EMPTY_TREE, b"said", b"cried"];
    texts.map(Bytes::from_static)
}

/// A result with something in every field; many caches do not mind whether its outputs are anywhere.
fn full_result(function: DigestFunction) -> ActionResult {
    let digest = |text: &str| Digest::of(function, text.as_bytes());
    let empty = Digest::of(function, b"");
    let path = |text: &str| RelativePath::new(text).expect("a constant");
    let file =
        |name: &str, executable| OutputFile { path: path(name), digest: digest(name), executable };
    ActionResult {
        exit_code: 3,
        files: vec![file("out/a", false), file("out/b", true)],
        directories: vec![OutputDirectory {
            path: path("out/tree"),
            tree: Digest::of(function, EMPTY_TREE),
            root: TreeDigest(empty),
        }],
        symlinks: vec![OutputSymlink {
            path: path("out/link"),
            target: SymlinkTarget::new("/nowhere/../at all").expect("a constant"),
        }],
        stdout: Some(digest("said")),
        stderr: Some(digest("cried")),
        metadata: ExecutionMetadata {
            worker: "a machine".to_owned(),
            wall: Duration::from_millis(1500),
            cpu: Duration::from_micros(2_000_001),
        },
    }
}
