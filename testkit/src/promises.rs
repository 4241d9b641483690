//! What every store promises. The functions panic where a promise is broken, with the promise as the message.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use model::{
    ActionDigest, ActionResult, Digest, DigestFunction, ExecutionMetadata, OutputDirectory,
    OutputFile, OutputSymlink, RelativePath, SymlinkTarget, TreeDigest,
};
use store::{
    ActionCache, Blob, BlobStore, Cellar, ChunkStore, LeaseId, Namespace, Session, StoreError,
    Upload, UploadStore, VALUE_BYTES_MAX, Value, ValueKey, ValueStore,
};

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

/// Asks an empty store for everything that [`ValueStore`] promises.
pub async fn value_store_promises(store: &impl ValueStore) {
    let (trusted, branch) = (Namespace::Trusted, Namespace::Branch("main".to_owned()));
    // The parts of a key are kept apart, whatever is in them.
    let keys = [
        value_key(&trusted, "ac", "k"),
        value_key(&branch, "ac", "k"),
        value_key(&trusted, "ack", ""),
        value_key(&trusted, "", "ack"),
        value_key(&trusted, "a", "ck"),
    ];
    for (number, key) in keys.iter().enumerate() {
        assert_eq!(look_up(store, key).await, None, "what was never said is not there");
        assert!(!forget(store, key).await, "and cannot be forgotten");
        remember(store, key, &value(&format!("of {number}"), "one")).await;
    }
    for (number, key) in keys.iter().enumerate() {
        let said = value(&format!("of {number}"), "one");
        assert_eq!(look_up(store, key).await, Some(said), "all of a value comes back");
    }

    let later = Value { written: LATER, ..value("said later", "another") };
    remember(store, &keys[0], &later).await;
    assert_eq!(look_up(store, &keys[0]).await, Some(later), "the last record wins");
    let others = look_up(store, &keys[1]).await;
    assert_eq!(others, Some(value("of 1", "one")), "and wins only in its namespace");

    assert!(forget(store, &keys[0]).await, "what is there can be forgotten");
    assert_eq!(look_up(store, &keys[0]).await, None, "and is not there then");
    assert!(!forget(store, &keys[0]).await, "once");
    assert!(look_up(store, &keys[1]).await.is_some(), "and only that");
    remember(store, &keys[0], &value("", "one")).await;
    assert_eq!(look_up(store, &keys[0]).await, Some(value("", "one")), "no bytes are a value");

    let largest = Value { bytes: vec![7; VALUE_BYTES_MAX].into(), ..value("", "one") };
    remember(store, &keys[2], &largest).await;
    assert_eq!(look_up(store, &keys[2]).await, Some(largest.clone()), "the largest value is kept");

    let long = "k".repeat(1 << 20);
    for (key, too_large) in [
        (&keys[2], Value { bytes: vec![8; VALUE_BYTES_MAX + 1].into(), ..value("", "one") }),
        (&keys[2], value("by whom?", &long)),
        (&value_key(&trusted, &long, "k"), value("where?", "one")),
        (&value_key(&trusted, "ac", &long), value("of what?", "one")),
    ] {
        let refused = store.record(key, too_large).await.expect_err("it is too large");
        assert!(matches!(refused, StoreError::ValueTooLarge), "that is not the machine's fault");
    }
    assert_eq!(look_up(store, &keys[2]).await, Some(largest), "what was refused replaces nothing");
}

const LATER: SystemTime = SystemTime::UNIX_EPOCH;

fn value_key(namespace: &Namespace, space: &str, key: &str) -> ValueKey {
    ValueKey { namespace: namespace.clone(), space: space.to_owned(), key: key.to_owned() }
}

fn value(text: &str, writer: &str) -> Value {
    let written = SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 123_456_789);
    Value { bytes: text.as_bytes().to_vec().into(), writer: writer.to_owned(), written }
}

async fn look_up(store: &impl ValueStore, key: &ValueKey) -> Option<Value> {
    store.lookup(key).await.expect("looking up works")
}

async fn remember(store: &impl ValueStore, key: &ValueKey, value: &Value) {
    store.record(key, value.clone()).await.expect("recording works");
}

async fn forget(store: &impl ValueStore, key: &ValueKey) -> bool {
    store.forget(key).await.expect("forgetting works")
}

/// Asks a store for everything that [`UploadStore`] promises.
pub async fn upload_store_promises(store: &(impl UploadStore + BlobStore)) {
    for function in FUNCTIONS {
        for bytes in [vec![3; 1000], vec![5; LARGE_BLOB_BYTES]] {
            let bytes = Bytes::from(bytes);
            let digest = Digest::of(function, &bytes);
            what_is_wrong_is_refused(store, digest, &bytes).await;
            what_was_interrupted_is_taken_up(store, digest, &bytes).await;
        }
        let empty = Digest::of(function, b"");
        upload(store, empty, "of nothing").await.finish().expect("the empty blob is kept");
    }
    for size in [1_000, LARGE_BLOB_BYTES] {
        an_upload_may_have_several_names(store, size).await;
        a_spool_is_kept_under_the_name_that_it_turns_out_to_have(store, size).await;
    }
}

async fn what_is_wrong_is_refused(
    store: &(impl UploadStore + BlobStore),
    digest: Digest,
    bytes: &Bytes,
) {
    let is_mismatch = |done: Result<(), StoreError>| matches!(done, Err(StoreError::Mismatch { expected, .. }) if expected == digest);
    let mut long = upload(store, digest, "too long").await;
    long.write(bytes.clone()).expect("as much as the digest says is taken");
    assert!(is_mismatch(long.write(Bytes::from_static(b"x"))), "a byte more is refused");
    drop(long);

    let mut short = upload(store, digest, "too short").await;
    short.write(bytes.slice(1..)).expect("less than the digest says is taken");
    assert!(is_mismatch(short.finish()), "too few bytes are refused at the end");

    let mut wrong = upload(store, digest, "wrong").await;
    wrong.write(bytes.slice(1..)).expect("any bytes are taken");
    wrong.write(Bytes::from_static(b"x")).expect("as many as the digest says");
    assert!(is_mismatch(wrong.finish()), "other bytes are refused at the end");
    for session in ["too short", "wrong"] {
        assert_eq!(uploaded(store, digest, session).await.unwrap_or(0), 0, "and are forgotten");
    }
    assert!(missing(store, [digest]).await.contains(&digest), "none of it is there");
}

async fn what_was_interrupted_is_taken_up(
    store: &(impl UploadStore + BlobStore),
    digest: Digest,
    bytes: &Bytes,
) {
    assert_eq!(uploaded(store, digest, "one").await, None, "nothing was sent yet");
    let half = bytes.len() / 2;
    let mut first = upload(store, digest, "one").await;
    assert_eq!(first.bytes(), 0, "an upload begins with nothing");
    first.write(bytes.slice(..half)).expect("pieces are taken");
    assert_eq!(first.bytes(), half as u64, "what was sent is counted");

    let mut second = upload(store, digest, "one").await;
    assert_eq!(second.bytes(), 0, "who comes while it is under way begins anew");
    second.write(bytes.slice(..1)).expect("and goes his own way");
    drop(second);
    drop(first);

    let other = upload(store, digest, "another").await;
    assert_eq!(other.bytes(), 0, "another session has sent nothing");
    drop(other);
    let sent = uploaded(store, digest, "one").await;
    assert_eq!(sent, Some(half as u64), "what was sent is known after an interruption");
    let mut again = upload(store, digest, "one").await;
    assert_eq!(again.bytes(), half as u64, "and is taken up");
    again.write(bytes.slice(half..)).expect("the rest is taken");
    again.finish().expect("the whole is what the digest says");
    assert_eq!(read(store, digest).await.as_ref(), Some(bytes), "and is read back");

    let mut once = store.upload(&[digest], None).await.expect("an upload begins");
    once.write(bytes.slice(..half)).expect("what has no session is taken, too");
    once.write(bytes.slice(half..)).expect("piece by piece");
    once.finish().expect("and is kept");

    let mut late = upload(store, digest, "late").await;
    late.write(bytes.slice(..half)).expect("what is there may be sent again");
    late.restart().expect("and begun again");
    assert_eq!(late.bytes(), 0);
    late.write(bytes.clone()).expect("any number of times");
    late.finish().expect("and it is kept once");
    assert_eq!(read(store, digest).await.as_ref(), Some(bytes));
}

/// A client that does not say which function it uses has sent the blob of one of them.
async fn an_upload_may_have_several_names(store: &(impl UploadStore + BlobStore), size: usize) {
    let bytes = Bytes::from((0..=240).cycle().take(size).collect::<Vec<u8>>());
    let names = |bytes: &[u8]| {
        [DigestFunction::Sha256, DigestFunction::Blake3].map(|it| Digest::of(it, bytes))
    };
    let [unlike, digest] = names(&bytes);
    let guessed = Digest::from_parts(unlike.function(), *digest.hash(), digest.size());
    let either = [guessed, digest];
    let mut upload =
        store.upload(&either, Some(&session("of no function"))).await.expect("an upload begins");
    upload.write(bytes.slice(..size / 2)).expect("a piece is taken");
    drop(upload);
    let uploaded = store.uploaded(&either, &session("of no function")).await.expect("asking works");
    assert_eq!(uploaded, Some(size as u64 / 2));
    let mut upload =
        store.upload(&either, Some(&session("of no function"))).await.expect("it is taken up");
    upload.write(bytes.slice(size / 2..)).expect("a piece is taken");
    upload.finish().expect("it is one of the two");
    assert_eq!(read(store, digest).await, Some(bytes));
    assert_eq!(read(store, guessed).await, None, "it is not the other");
}

/// Bytes may come before anybody knows their name.
async fn a_spool_is_kept_under_the_name_that_it_turns_out_to_have(
    store: &(impl UploadStore + BlobStore),
    size: usize,
) {
    let bytes = Bytes::from((0..=230).cycle().take(size).collect::<Vec<u8>>());
    let digests = FUNCTIONS.map(|it| Digest::of(it, &bytes));
    for digest in digests {
        let mut spool = store.spool(&FUNCTIONS).await.expect("a spool begins");
        for piece in bytes.chunks(size / 3 + 1) {
            spool.write(bytes.slice_ref(piece)).expect("a piece is taken");
        }
        assert_eq!(spool.digests(), digests, "its names are known");
        assert_eq!(read(store, digest).await, None, "it is not there before it is finished");
        spool.finish(digest).expect("it is kept under its name");
        assert_eq!(read(store, digest).await.as_ref(), Some(&bytes));
    }
    let other = Digest::of(FUNCTIONS[0], b"something else");
    let mut spool = store.spool(&FUNCTIONS).await.expect("a spool begins");
    spool.write(bytes).expect("a piece is taken");
    let refused = spool.finish(other).expect_err("that is not its name");
    assert!(matches!(refused, StoreError::Mismatch { .. }), "{refused}");
    assert_eq!(read(store, other).await, None);
}

fn session(name: &str) -> Session {
    Session { owner: "somebody".into(), name: name.to_owned() }
}

async fn upload(store: &impl UploadStore, digest: Digest, session: &str) -> Box<dyn Upload> {
    store.upload(&[digest], Some(&self::session(session))).await.expect("an upload begins")
}

async fn uploaded(store: &impl UploadStore, digest: Digest, session: &str) -> Option<u64> {
    store.uploaded(&[digest], &self::session(session)).await.expect("asking works")
}

/// Asks a store for everything that [`ChunkStore`] promises.
pub async fn chunk_store_promises(store: &(impl ChunkStore + BlobStore)) {
    for function in FUNCTIONS {
        what_is_split_can_be_read_in_parts(store, function).await;
        what_is_spliced_is_a_blob(store, function).await;
    }
}

async fn what_is_split_can_be_read_in_parts(
    store: &(impl ChunkStore + BlobStore),
    function: DigestFunction,
) {
    let mut numbers = 88_172_645_463_325_252_u64;
    let mut next = || {
        numbers ^= numbers << 13;
        numbers ^= numbers >> 7;
        numbers ^= numbers << 17;
        numbers.to_le_bytes()
    };
    let large: Bytes = (0..LARGE_BLOB_BYTES).flat_map(|_| next()).collect();
    let absent = Digest::of(function, b"nobody has this");
    assert_eq!(split(store, absent).await, None, "what is not there has no chunks");
    for bytes in [Bytes::new(), Bytes::from_static(b"small"), large] {
        let digest = Digest::of(function, &bytes);
        store.write(digest, bytes.clone().into()).await.expect("a right blob is kept");
        let chunks = split(store, digest).await.expect("what is there has chunks");
        let mut whole = Vec::new();
        for chunk in &chunks {
            assert_eq!(chunk.function(), function, "chunks are named as the blob is");
            whole.extend(read(store, *chunk).await.expect("each chunk is there"));
        }
        assert!(whole == bytes, "the chunks are the blob, in order");
        assert_eq!(split(store, digest).await, Some(chunks), "and are the same the next time");
        assert_eq!(read(store, digest).await, Some(bytes), "the blob is still there");
    }
}

async fn what_is_spliced_is_a_blob(
    store: &(impl ChunkStore + BlobStore),
    function: DigestFunction,
) {
    let parts = [vec![1; 700_000], b"middle".to_vec(), vec![1; 700_000], vec![2; 2_000_000]];
    let parts = parts.map(Bytes::from);
    let chunks = parts.clone().map(|it| Digest::of(function, &it));
    let whole: Bytes = parts.concat().into();
    let digest = Digest::of(function, &whole);
    for part in &parts[1..] {
        let chunk = Digest::of(function, part);
        store.write(chunk, part.clone().into()).await.expect("a right blob is kept");
    }
    store.write(chunks[0], parts[0].clone().into()).await.expect("a right blob is kept");

    let absent = Digest::of(function, b"a chunk that nobody has");
    let lacking = store.splice(digest, &[chunks[0], absent]).await;
    assert!(matches!(lacking, Err(StoreError::Missing { digest }) if digest == absent));
    for wrong in [&chunks[1..], &[chunks[0], chunks[1], chunks[3], chunks[2]], &[]] {
        let refused = store.splice(digest, wrong).await;
        assert!(
            matches!(refused, Err(StoreError::Mismatch { expected, .. }) if expected == digest)
        );
    }
    assert!(missing(store, [digest]).await.contains(&digest), "none of that is there");

    for _ in 0..2 {
        store.splice(digest, &chunks).await.expect("what fits is kept, any number of times");
        assert_eq!(read(store, digest).await, Some(whole.clone()), "and is read as any blob");
        assert!(missing(store, [digest]).await.is_empty());
    }
    let small = Digest::of(function, b"middlemiddle");
    store.splice(small, &[chunks[1], chunks[1]]).await.expect("small blobs can be spliced too");
    assert_eq!(read(store, small).await, Some(Bytes::from_static(b"middlemiddle")));
    let nested: Bytes = [&whole[..], b"middle"].concat().into();
    let nested_digest = Digest::of(function, &nested);
    store.splice(nested_digest, &[digest, chunks[1]]).await.expect("a chunk may have chunks");
    assert_eq!(read(store, nested_digest).await, Some(nested));
}

async fn split(store: &impl ChunkStore, digest: Digest) -> Option<Vec<Digest>> {
    store.split(digest).await.expect("asking works")
}

/// Asks an empty store for everything that a [`Cellar`] promises beside what its parts do.
pub async fn cellar_promises(store: &impl Cellar) {
    let lease = LeaseId::new(&"somebody".into(), "a build").expect("a name");
    let leased = store.for_lease(&lease);
    let bytes = Bytes::from_static(b"written under a lease");
    let digest = Digest::of(DigestFunction::Blake3, &bytes);
    leased.write(digest, bytes.clone().into()).await.expect("a right blob is kept");
    assert_eq!(read(store, digest).await, Some(bytes), "it is one store");

    assert!(store.forget_blob(digest).await.expect("forgetting works"), "a blob can be forgotten");
    assert!(!store.forget_blob(digest).await.expect("forgetting works"), "once");
    assert_eq!(read(store, digest).await, None, "and is not there then, lease or not");
    let found = leased.find_missing([digest].into()).await.expect("asking works");
    assert!(found.contains(&digest));

    let keys: Vec<_> =
        (0..10).map(|it| value_key(&Namespace::Trusted, "of writers", &it.to_string())).collect();
    for (key, writer) in keys.iter().zip(["one", "another"].into_iter().cycle()) {
        remember(store, key, &value("something", writer)).await;
    }
    let forgotten = store.forget_writer("one").await.expect("forgetting works");
    assert_eq!(forgotten, 5, "all that a writer wrote is forgotten");
    assert_eq!(store.forget_writer("one").await.expect("forgetting works"), 0, "once");
    for (key, is_there) in keys.iter().zip([false, true].into_iter().cycle()) {
        assert_eq!(look_up(store, key).await.is_some(), is_there, "and only that");
    }
    let stat = store.stat();
    assert_eq!(stat.values, 5, "what is there is counted");
    let scrubbed = store.scrub(u64::MAX).await.expect("reading everything works");
    assert_eq!(scrubbed.corrupt, 0, "and is right");
    assert_eq!(scrubbed.records, stat.values + stat.blobs, "all of it was read");
    a_blob_is_found_by_its_hash(store).await;
}

async fn a_blob_is_found_by_its_hash(store: &impl Cellar) {
    for (function, bytes) in
        FUNCTIONS.into_iter().flat_map(|it| [(it, &b"by its hash"[..]), (it, b"")])
    {
        let digest = Digest::of(function, bytes);
        let find =
            || async { store.find_by_hash(function, digest.hash()).await.expect("looking works") };
        assert_eq!(
            find().await.is_some(),
            digest.is_empty(),
            "only the empty blob is always there"
        );
        store.write(digest, Bytes::copy_from_slice(bytes).into()).await.expect("a blob is kept");
        assert_eq!(find().await, Some(digest));
    }
}
