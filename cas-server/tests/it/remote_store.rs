//! `bld`'s own client against this server, and against the ways in which a network and a server fail.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use base64::Engine as _;
use bytes::Bytes;
use cas_server::metrics::Metrics;
use cas_server::observe::Observer;
use cas_server::{
    Authority, Caller, Config, Door, Drain, Front, Limits, Operation, Origins, Peer, Rights, Role,
};
use futures::StreamExt as _;
use futures::future::join_all;
use model::{
    ActionDigest, ActionResult, Digest, DigestFunction, Directory, Node, OutputDirectory,
    OutputFile, PathSegment, RelativePath, TreeDigest,
};
use store::{
    ActionCache as _, Blob, BlobStore as _, LocalStore, Namespace, Provenance, Purpose,
    Remote as _, RemoteConnection, RemoteError, RemoteOptions, RemoteStore, Retry, Secret,
    StoreError, TieredStore, Tls, Value, ValueKey, ValueStore,
};
use testkit::{MemoryStore, blob_store_promises, complete_action_cache_promises};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use wire::request::{METADATA_HEADER, RequestMetadata};

use crate::asking::grant;
use crate::support::{caller, noise, trusted};

const BLAKE3: DigestFunction = DigestFunction::Blake3;

/// What happens on the way to the server.
pub(crate) type Way = Arc<dyn Fn(&str, Request) -> Passage + Send + Sync>;

/// What becomes of a request.
pub(crate) enum Passage {
    /// It goes on.
    On(Request),
    /// It goes on, and the answer breaks off after so many bytes.
    Cut(Request, usize),
    /// It does not get there: this is the answer.
    Not(Box<Response>),
    /// It gets there once it is let through.
    Late(Request, Arc<Semaphore>),
    /// It gets there, and nothing comes of it.
    Stuck(Request),
}

/// A server, and what it was asked.
struct Served {
    address: SocketAddr,
    store: MemoryStore,
    /// The path of each request, and what it said of itself.
    asked: Arc<Mutex<Vec<(String, RequestMetadata)>>>,
}

async fn serve(caller: Caller, way: Way) -> Served {
    let store = MemoryStore::new();
    let asked: Arc<Mutex<Vec<_>>> = Arc::default();
    let router = router(&store, caller, way, Arc::clone(&asked)).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { door(router).serve_tcp(listener).await });
    Served { address, store, asked }
}

pub(crate) async fn router(
    store: &MemoryStore,
    caller: Caller,
    way: Way,
    asked: Arc<Mutex<Vec<(String, RequestMetadata)>>>,
) -> Router {
    let caller = Arc::new(caller);
    let identify = middleware::from_fn(move |mut request: Request, next: Next| {
        request.extensions_mut().insert(Arc::clone(&caller));
        let path = request.uri().path().rsplit('/').next().unwrap().to_owned();
        asked.lock().unwrap().push((path.clone(), metadata(&request)));
        let passage = way(&path, request);
        async move {
            match passage {
                Passage::On(request) => next.run(request).await,
                Passage::Cut(request, bytes) => cut(next.run(request).await, bytes),
                Passage::Not(response) => *response,
                Passage::Late(request, gate) => {
                    gate.acquire().await.unwrap().forget();
                    next.run(request).await
                }
                Passage::Stuck(_request) => std::future::pending().await,
            }
        }
    });
    let observer = Observer::new(Arc::new(Metrics::new()));
    let operation = Operation::new(Arc::new(store.clone()), observer, Drain::new());
    let front = Front::new(Arc::new(store.clone()), Limits::default());
    cas_server::router(front, Origins::new(Vec::new()), operation, identify).await
}

pub(crate) fn door(router: Router) -> Door {
    Door::new(router, Limits::default().connections, Drain::new(), Arc::new(Metrics::new()))
}

fn metadata(request: &Request) -> RequestMetadata {
    let header = request.headers().get(METADATA_HEADER).expect("every call says who asks");
    let engine = base64::engine::general_purpose::STANDARD_NO_PAD;
    RequestMetadata::decode(&engine.decode(header.as_bytes()).unwrap()).unwrap()
}

/// Returns an answer that breaks off after so many bytes.
fn cut(response: Response, bytes: usize) -> Response {
    let (parts, body) = response.into_parts();
    let mut left = bytes;
    let pieces = body.into_data_stream().map(move |piece| {
        let piece = piece?;
        if left == 0 {
            return Err(axum::Error::new(std::io::Error::other("on purpose")));
        }
        let some = piece.slice(..piece.len().min(left));
        left -= some.len();
        Ok(some)
    });
    Response::from_parts(parts, Body::from_stream(pieces))
}

/// Returns an answer that is only a status.
fn status(code: i32) -> Passage {
    let response = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", code.to_string());
    Passage::Not(Box::new(response.body(Body::empty()).unwrap()))
}

pub(crate) fn straight() -> Way {
    Arc::new(|_, request| Passage::On(request))
}

pub(crate) fn options(address: String) -> RemoteOptions {
    RemoteOptions {
        address,
        instance: "a/project".to_owned(),
        function: BLAKE3,
        secret: Secret::None,
        tls: Tls::default(),
        retry: Retry { attempts: 4, first_pause: Duration::from_millis(1), ..Retry::default() },
        invocation: "one build".to_owned(),
    }
}

impl Served {
    fn options(&self) -> RemoteOptions {
        options(format!("grpc://{}", self.address))
    }

    async fn connect(&self) -> RemoteStore {
        RemoteStore::connect(self.options()).await.unwrap()
    }

    /// Returns how often that was called.
    fn calls(&self, method: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|(path, _)| path == method).count()
    }
}

pub(crate) fn blake3(bytes: &[u8]) -> Digest {
    Digest::of(BLAKE3, bytes)
}

pub(crate) async fn read(store: &RemoteStore, digest: Digest) -> Option<Vec<u8>> {
    let blob = store.read(digest).await.unwrap()?;
    Some(blob.into_bytes().unwrap().to_vec())
}

/// Text that compresses well, longer than what is held in memory.
fn text() -> Vec<u8> {
    (0..1_000_000).flat_map(|line: u32| format!("{line}\n").into_bytes()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn over_the_wire_a_store_promises_what_every_store_does() {
    let served = serve(trusted(), straight()).await;
    blob_store_promises(&served.connect().await).await;
    complete_action_cache_promises(&served.connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_blobs_go_and_come_whole() {
    let served = serve(trusted(), straight()).await;
    let store = served.connect().await;
    for bytes in [text(), noise(9_000_001, 1), noise(4 << 20, 2), noise((4 << 20) + 1, 3)] {
        let digest = blake3(&bytes);
        store.write(digest, bytes.clone().into()).await.unwrap();
        assert_eq!(read(&store, digest).await.unwrap(), bytes);
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &bytes).unwrap();
        served.store.forget(digest);
        store.write(digest, Blob::File(file)).await.unwrap();
        let Some(Blob::Ranged(ranged)) = store.read(digest).await.unwrap() else {
            assert!(bytes.len() <= 4 << 20);
            continue;
        };
        // Anywhere, and in any order.
        for offset in [4_000_000, 17, 4_100_000, 0] {
            let piece = ranged.read_at(offset as u64, 1000).unwrap();
            assert_eq!(piece, bytes[offset..offset + piece.len()]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_blobs_go_in_few_messages() {
    let served = serve(trusted(), straight()).await;
    let store = served.connect().await;
    let blobs: Vec<Bytes> = (0..3000).map(|it| format!("blob {it}").into()).collect();
    let writes = blobs.iter().map(|blob| store.write(blake3(blob), blob.clone().into()));
    join_all(writes).await.into_iter().for_each(Result::unwrap);
    let digests: BTreeSet<Digest> = blobs.iter().map(|blob| blake3(blob)).collect();
    assert!(store.find_missing(digests).await.unwrap().is_empty());
    let reads = join_all(blobs.iter().map(|blob| read(&store, blake3(blob)))).await;
    assert!(reads.iter().zip(&blobs).all(|(read, blob)| read.as_deref() == Some(&**blob)));
    for method in ["BatchUpdateBlobs", "BatchReadBlobs"] {
        assert!(served.calls(method) < 100, "{} of {method}", served.calls(method));
    }
    assert_eq!(served.calls("FindMissingBlobs"), 1);
    assert_eq!(served.calls("Read") + served.calls("Write"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_knows_no_batches_is_sent_one() {
    let way: Way = Arc::new(|path, request| match path {
        "BatchUpdateBlobs" | "BatchReadBlobs" => status(12),
        _ => Passage::On(request),
    });
    let served = serve(trusted(), way).await;
    let store = served.connect().await;
    for blob in (0..5).map(|it| Bytes::from(format!("blob {it}"))) {
        store.write(blake3(&blob), blob.clone().into()).await.unwrap();
        assert_eq!(read(&store, blake3(&blob)).await.unwrap(), blob);
    }
    assert_eq!((served.calls("BatchUpdateBlobs"), served.calls("BatchReadBlobs")), (1, 1));
    assert_eq!((served.calls("Write"), served.calls("Read")), (5, 5));
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_thousand_digests_are_asked_for_in_at_most_two_calls() {
    let served = serve(trusted(), straight()).await;
    let store = served.connect().await;
    let digests: BTreeSet<Digest> = (0..10_000_u32).map(|it| blake3(&it.to_le_bytes())).collect();
    assert_eq!(store.find_missing(digests.clone()).await.unwrap(), digests);
    assert!(served.calls("FindMissingBlobs") <= 2, "{}", served.calls("FindMissingBlobs"));
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_says_who_asks_and_for_what() {
    let served = serve(trusted(), straight()).await;
    let store = served.connect().await;
    let action = ActionDigest(blake3(b"an action"));
    let (target, mnemonic) = ("//drivers:echo{kernel=6.1}".to_owned(), "module".to_owned());
    let store = store.for_action(&Purpose { action, target: target.clone(), mnemonic });
    let large = noise(2 << 20, 1);
    store.write(blake3(&large), large.clone().into()).await.unwrap();
    store.read(blake3(&large)).await.unwrap();
    store.record(action, &ActionResult::default()).await.unwrap();
    store.lookup(action).await.unwrap();
    let asked = served.asked.lock().unwrap();
    assert!(asked.iter().all(|(_, said)| {
        said.tool == "bld" && !said.version.is_empty() && said.invocation == "one build"
    }));
    for method in ["Write", "Read", "UpdateActionResult", "GetActionResult"] {
        let (_, said) = asked.iter().find(|(path, _)| path == method).unwrap();
        assert_eq!((&said.action, &said.target), (&action.0.hex(), &target), "{method}");
        assert_eq!(said.mnemonic, "module");
    }
}

/// Returns a way on which a call of each method fails `times` times.
fn failing(code: i32, times: u64) -> Way {
    let counts: Mutex<std::collections::BTreeMap<String, u64>> = Mutex::default();
    Arc::new(move |path, request| {
        let mut counts = counts.lock().unwrap();
        let count = counts.entry(path.to_owned()).or_default();
        *count += 1;
        let times = if path == "GetCapabilities" { times.min(1) } else { times };
        if *count <= times { status(code) } else { Passage::On(request) }
    })
}

async fn use_all(store: &RemoteStore) -> Result<(), StoreError> {
    let (small, large) = (Bytes::from_static(b"small"), Bytes::from(noise(3 << 20, 1)));
    for blob in [&small, &large] {
        store.write(blake3(blob), blob.clone().into()).await?;
        store.find_missing(BTreeSet::from([blake3(blob)])).await?;
        let read = store.read(blake3(blob)).await?.unwrap();
        assert_eq!(read.into_bytes().unwrap(), blob);
    }
    let action = ActionDigest(blake3(b"an action"));
    store.record(action, &ActionResult::default()).await?;
    assert!(store.lookup(action).await?.is_some());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_a_while_is_tried_again() {
    // CANCELLED, UNKNOWN, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, UNAVAILABLE.
    for code in [1, 2, 8, 10, 13, 14] {
        let served = serve(trusted(), failing(code, 3)).await;
        use_all(&served.connect().await).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_for_good_says_so() {
    let served = serve(trusted(), Arc::new(|_, _| status(14))).await;
    let error = RemoteStore::connect(served.options()).await.err().unwrap();
    assert!(error.is_unreachable() && !error.is_mistake(), "{error}");
    assert!(error.to_string().contains("not available"), "{error}");
    assert_eq!(served.calls("GetCapabilities"), 2, "nobody waits long for who is not there");

    let served = serve(trusted(), failing(14, u64::MAX)).await;
    let store = served.connect().await;
    let error = store.lookup(ActionDigest(blake3(b"an action"))).await.unwrap_err();
    assert!(error.is_unreachable() && error.is_transient(), "{error}");
    assert_eq!(served.calls("GetActionResult"), 4, "as often as it may be tried");

    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = listener.local_addr().unwrap();
    drop(listener);
    let error = RemoteStore::connect(options(format!("grpc://{nobody}"))).await.err().unwrap();
    assert!(error.is_unreachable(), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_download_that_breaks_off_goes_on_from_there() {
    let count = AtomicU64::new(0);
    let way: Way = Arc::new(move |path, request| match path {
        "Read" if count.fetch_add(1, Ordering::SeqCst) < 6 => Passage::Cut(request, 2_500_000),
        _ => Passage::On(request),
    });
    let served = serve(trusted(), way).await;
    let store = served.connect().await;
    for bytes in [noise(9_000_001, 1), text()] {
        served.store.write(blake3(&bytes), bytes.clone().into()).await.unwrap();
        assert_eq!(read(&store, blake3(&bytes)).await.unwrap(), bytes);
    }
    assert!(served.calls("Read") > 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_downloads_as_may_be_under_way_begin_anew_without_waiting_for_one_another() {
    const DOWNLOADS: usize = RemoteConnection::CALLS_MAX;
    let count = AtomicU64::new(0);
    let way: Way = Arc::new(move |path, request| match path {
        "Read" if count.fetch_add(1, Ordering::SeqCst) < DOWNLOADS as u64 => {
            Passage::Cut(request, 10)
        }
        _ => Passage::On(request),
    });
    let served = serve(trusted(), way).await;
    // So little on the wire that nobody has to wait until others have read theirs.
    let bytes: Bytes = (0..251).cycle().take((4 << 20) + 1).collect();
    let digest = blake3(&bytes);
    served.store.write(digest, bytes.clone().into()).await.unwrap();
    let store = served.connect().await;
    let blobs = (0..DOWNLOADS).map(|_| store.read(digest));
    let blobs: Vec<_> = join_all(blobs).await.into_iter().map(|it| it.unwrap().unwrap()).collect();
    assert_eq!(served.calls("Read"), DOWNLOADS, "all are under way");

    // Those that wait for ever are nobody's to wait for.
    let (done, all_done) = std::sync::mpsc::channel();
    let has_begun = Arc::new(std::sync::Barrier::new(DOWNLOADS));
    for blob in blobs {
        let Blob::Ranged(blob) = blob else { panic!("it is too large for memory") };
        let (bytes, done) = (bytes.clone(), done.clone());
        let has_begun = Arc::clone(&has_begun);
        std::thread::spawn(move || {
            // It breaks off at once. Nobody goes on before all have begun anew, and nobody ends before all have gone on.
            let pieces = [0, 3_000_000].map(|offset: usize| {
                let piece = blob.read_at(offset as u64, 1000).unwrap();
                has_begun.wait();
                piece == bytes[offset..offset + piece.len()] && !piece.is_empty()
            });
            done.send(pieces == [true; 2]).unwrap();
        });
    }
    for _ in 0..DOWNLOADS {
        assert!(all_done.recv_timeout(Duration::from_secs(60)).expect("they wait for each other"));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_that_breaks_off_goes_on_from_there() {
    let sent = Arc::new(AtomicU64::new(0));
    let count = AtomicU64::new(0);
    let counted = Arc::clone(&sent);
    let way: Way = Arc::new(move |path, request| {
        if path != "Write" {
            return Passage::On(request);
        }
        // What gets through on the first calls is a part, then the connection is lost.
        let is_cut = count.fetch_add(1, Ordering::SeqCst) < 2;
        let counted = Arc::clone(&counted);
        let (parts, body) = request.into_parts();
        let mut left = if is_cut { 3_000_000 } else { usize::MAX };
        let pieces = body.into_data_stream().map(move |piece| {
            let piece = piece?;
            if left == 0 {
                return Err(axum::Error::new(std::io::Error::other("on purpose")));
            }
            let some = piece.slice(..piece.len().min(left));
            left -= some.len();
            counted.fetch_add(some.len() as u64, Ordering::SeqCst);
            Ok(some)
        });
        Passage::On(Request::from_parts(parts, Body::from_stream(pieces)))
    });
    let served = serve(trusted(), way).await;
    let store = served.connect().await;
    let bytes = noise(9_000_001, 1);
    store.write(blake3(&bytes), bytes.clone().into()).await.unwrap();
    assert_eq!(read(&store, blake3(&bytes)).await.unwrap(), bytes);
    assert_eq!((served.calls("Write"), served.calls("QueryWriteStatus")), (3, 2));
    let sent = sent.load(Ordering::SeqCst);
    assert!(sent < 11_000_000, "{sent} bytes went for nine million");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_of_an_upload_is_not_waited_for_for_ever() {
    let bytes = noise(9_000_001, 1);
    let way: Way = Arc::new(|path, request| match path {
        "Write" => Passage::Stuck(request),
        _ => Passage::On(request),
    });
    let served = serve(trusted(), way).await;
    let retry = Retry { silence_max: Duration::from_millis(50), ..served.options().retry };
    let options = RemoteOptions { retry, ..served.options() };
    let store = RemoteStore::connect(options).await.unwrap();
    let error = store.write(blake3(&bytes), bytes.clone().into()).await.unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
    assert_eq!(served.calls("Write"), 2, "once more, for it may have been an accident");

    // Nor is one that does not say how much it has: it is sent all of it.
    let count = AtomicU64::new(0);
    let way: Way = Arc::new(move |path, request| match path {
        "Write" if count.fetch_add(1, Ordering::SeqCst) == 0 => status(14),
        "QueryWriteStatus" => Passage::Stuck(request),
        _ => Passage::On(request),
    });
    let served = serve(trusted(), way).await;
    let retry = Retry { answer_time_max: Duration::from_secs(1), ..served.options().retry };
    let options = RemoteOptions { retry, ..served.options() };
    let store = RemoteStore::connect(options).await.unwrap();
    store.write(blake3(&bytes), bytes.clone().into()).await.unwrap();
    assert_eq!((served.calls("Write"), served.calls("QueryWriteStatus")), (2, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn much_may_take_longer_than_little() {
    let gate = Arc::new(Semaphore::new(0));
    let (opened, bytes) = (Arc::clone(&gate), noise(900_000, 1));
    let way: Way = Arc::new(move |path, request| match path {
        "FindMissingBlobs" => Passage::Stuck(request),
        "BatchUpdateBlobs" | "BatchReadBlobs" => Passage::Late(request, Arc::clone(&opened)),
        _ => Passage::On(request),
    });
    let served = serve(trusted(), way).await;
    let retry = Retry { answer_time_max: Duration::from_millis(500), ..served.options().retry };
    let options = RemoteOptions { retry, ..served.options() };
    let store = RemoteStore::connect(options).await.unwrap();
    let digest = blake3(&bytes);
    // Little has not come in time, twice, before much goes on.
    let ask = async || {
        let error = store.find_missing(BTreeSet::from([digest])).await.unwrap_err();
        gate.add_permits(1);
        assert!(!error.is_unreachable(), "it may have been too much: {error}");
    };
    let (written, ()) = tokio::join!(store.write(digest, bytes.clone().into()), ask());
    written.unwrap();
    let (read, ()) = tokio::join!(read(&store, digest), ask());
    assert_eq!(read.unwrap(), bytes);
    assert_eq!((served.calls("BatchUpdateBlobs"), served.calls("BatchReadBlobs")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_are_never_given_on() {
    let served = serve(trusted(), straight()).await;
    let store = served.connect().await;
    let folder = tempfile::tempdir().unwrap();
    let near = Arc::new(LocalStore::open(folder.path(), BLAKE3).unwrap());
    let tiers = TieredStore::new(Arc::clone(&near), Arc::new(store.clone()));
    for bytes in [b"small".to_vec(), noise(2 << 20, 1), noise(9_000_000, 2), text()] {
        let digest = blake3(&bytes);
        let mut wrong = bytes.clone();
        *wrong.last_mut().unwrap() ^= 1;
        for wrong in [wrong, bytes[1..].to_vec(), b"poison".to_vec()] {
            served.store.spoil(digest, wrong.into());
            let read = store.read(digest).await;
            let is_given = read.is_ok_and(|blob| blob.unwrap().into_bytes().is_ok());
            assert!(!is_given, "of {} bytes", bytes.len());
            assert!(matches!(tiers.bring(digest).await, Ok(false) | Err(_)));
            assert!(!near.contains(digest).unwrap());
        }
        served.store.spoil(digest, bytes.into());
        assert!(tiers.bring(digest).await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_result_whose_outputs_are_not_there_is_no_hit() {
    let served = serve(trusted(), straight()).await;
    let store = served.connect().await;
    let (action, output) = (ActionDigest(blake3(b"an action")), blake3(b"an output"));
    let path = RelativePath::new("out/a").unwrap();
    let files = vec![OutputFile { path, digest: output, executable: false }];
    let result = ActionResult { files, ..ActionResult::default() };
    store.record(action, &result).await.unwrap();
    assert_eq!(store.lookup(action).await.unwrap(), None);
    store.write(output, Bytes::from_static(b"an output").into()).await.unwrap();
    assert_eq!(store.lookup(action).await.unwrap().unwrap().files, result.files);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_forgets_roots_of_directories_is_told_them_by_their_lists() {
    use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
    use prost::Message as _;

    let is_broken = Arc::new(AtomicBool::new(false));
    let breaks = Arc::clone(&is_broken);
    let way: Way = Arc::new(move |path, request| match path {
        "BatchReadBlobs" if breaks.load(Ordering::SeqCst) => status(13),
        _ => Passage::On(request),
    });
    let served = serve(trusted(), way).await;
    let store = served.connect().await;
    let mut directory = Directory::new();
    let node = Node::File { digest: blake3(b"in it"), executable: false };
    directory.add(PathSegment::new("a").unwrap(), node).unwrap();
    let root = wire::encode::directory(&directory);
    let list = wire::encode::tree(&root, &[]);
    for bytes in [Bytes::from_static(b"in it"), root.clone(), list.clone()] {
        store.write(blake3(&bytes), bytes.into()).await.unwrap();
    }
    let path = RelativePath::new("out/tree").unwrap();
    let (tree, root) = (blake3(&list), TreeDigest(blake3(&root)));
    let directories = vec![OutputDirectory { path, tree, root }];
    let result = ActionResult { directories, ..ActionResult::default() };
    let action = ActionDigest(blake3(b"an action"));
    store.record(action, &result).await.unwrap();

    // As a server keeps it that does not know the field.
    let (namespace, space) = (Namespace::Trusted, "ac/blake3/a/project".to_owned());
    let key = ValueKey { namespace, space, key: action.0.hex() };
    let value = ValueStore::lookup(&served.store, &key).await.unwrap().unwrap();
    let mut message = reapi::ActionResult::decode(value.bytes.clone()).unwrap();
    message.output_directories[0].root_directory_digest = None;
    let bytes = message.encode_to_vec().into();
    ValueStore::record(&served.store, &key, Value { bytes, ..value }).await.unwrap();

    let found = store.lookup(action).await.unwrap().unwrap();
    assert_eq!(found.directories, result.directories);
    is_broken.store(true, Ordering::SeqCst);
    let error = store.lookup(action).await.unwrap_err();
    assert!(matches!(error, StoreError::Remote(_)), "that nobody can say is no miss: {error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_read_knows_it_and_is_refused() {
    let rights = Rights { read: true, ..Rights::default() };
    let reader = caller("reader", rights, Namespace::PullRequest("17".to_owned()));
    let served = serve(reader, straight()).await;
    let store = served.connect().await;
    assert!(!store.is_writable());
    let namespace = Namespace::PullRequest("17".to_owned());
    assert_eq!(store.provenance(), Provenance::Namespace(namespace));
    let error = store.write(blake3(b"x"), Bytes::from_static(b"x").into()).await.unwrap_err();
    assert!(error.is_refusal(), "{error}");
    let action = ActionDigest(blake3(b"an action"));
    assert!(store.record(action, &ActionResult::default()).await.unwrap_err().is_refusal());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_sent_with_every_call_and_read_again_when_it_has_expired() {
    let valid: Arc<Mutex<String>> = Arc::new(Mutex::new("one".to_owned()));
    let known = Arc::clone(&valid);
    let way: Way = Arc::new(move |_, request| {
        let expected = format!("Bearer {}", known.lock().unwrap());
        let sent = request.headers().get("authorization");
        let is_known = sent.is_some_and(|it| it.to_str().unwrap() == expected);
        if is_known { Passage::On(request) } else { status(16) }
    });
    let served = serve(trusted(), way).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "one\n").unwrap();
    let secret = |path: PathBuf| Secret::TokenFile(path);
    let options = RemoteOptions { secret: secret(file.path().to_owned()), ..served.options() };
    let store = RemoteStore::connect(options).await.unwrap();
    use_all(&store).await.unwrap();
    "two".clone_into(&mut valid.lock().unwrap());
    std::fs::write(file.path(), "two\n").unwrap();
    use_all(&store).await.unwrap();

    let wrong = RemoteOptions { secret: Secret::Token("three".to_owned()), ..served.options() };
    let error = RemoteStore::connect(wrong).await.err().unwrap();
    assert!(error.is_unreachable(), "{error}");
    assert!(!error.to_string().contains("three"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_socket_of_the_file_system_is_a_way_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("bld.sock");
    let router = router(&MemoryStore::new(), trusted(), straight(), Arc::default()).await;
    let listener = UnixListener::bind(&path).unwrap();
    tokio::spawn(async move { door(router).serve_unix(listener).await });
    let options = options(format!("unix:{}", path.display()));
    use_all(&RemoteStore::connect(options).await.unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_side_knows_the_other_by_its_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let day = Duration::from_secs(24 * 60 * 60);
    let authority = Authority::new(&path("ca"));
    let now = SystemTime::now();
    authority.init(now, day).unwrap();
    let (names, addresses) = (Vec::new(), vec![IpAddr::from([127, 0, 0, 1])]);
    let issue = |name: &str, role| authority.issue(name, &role, now, day, folder.path()).unwrap();
    issue("server", Role::Server { names, addresses });
    issue("me", Role::Client(grant("read", "trusted", &[])));

    let config = "[tls]\ncertificate = \"server.pem\"\nkey = \"server.key\"\n\
                  client_authority = \"ca/ca.pem\"\nclient_revocations = \"ca/ca.crl\"\n";
    let config = Config::parse(config, &path("bld-server.toml"), Some(folder.path())).unwrap();
    let tls = Arc::new(cas_server::Tls::open(config.tls.as_ref().unwrap()).unwrap());
    let shown: Arc<Mutex<Vec<bool>>> = Arc::default();
    let seen = Arc::clone(&shown);
    let way: Way = Arc::new(move |_, request| {
        let peer = request.extensions().get::<Peer>().unwrap();
        seen.lock().unwrap().push(peer.certificate().is_some());
        Passage::On(request)
    });
    let router = router(&MemoryStore::new(), trusted(), way, Arc::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("grpcs://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { door(router).encrypted(tls).serve_tcp(listener).await });

    let ca_file = Some(authority.certificate());
    let anonymous = Tls { ca_file: ca_file.clone(), identity: None };
    let identity = Some((path("me.pem"), path("me.key")));
    let known = Tls { ca_file, identity };
    for (tls, is_shown) in [(anonymous, false), (known, true)] {
        let secret = Secret::Token("s3cret".to_owned());
        let options = RemoteOptions { tls, secret, ..options(address.clone()) };
        use_all(&RemoteStore::connect(options).await.unwrap()).await.unwrap();
        let shown = std::mem::take(&mut *shown.lock().unwrap());
        assert!(shown.len() > 5 && shown.iter().all(|it| *it == is_shown), "{shown:?}");
    }
    // The system knows no such authority, so nobody there is told anything.
    let error = RemoteStore::connect(options(address)).await.err().unwrap();
    assert!(error.is_unreachable(), "{error}");
    assert!(shown.lock().unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_key_of_each_action_is_remembered_per_project_and_namespace() {
    let served = serve(trusted(), straight()).await;
    let store = served.connect().await;
    let key = |number: u64| ActionDigest(blake3(&number.to_le_bytes()));
    let owner = |number: u64| format!("[\"//a:{number}\",{{}},\"module\"]");
    let keys: Vec<_> = (0..2500).map(|number| (owner(number), key(number))).collect();
    store.record_keys(&keys).await.unwrap();
    store.record_keys(&[(owner(7), key(70))]).await.unwrap();
    let owners: Vec<String> = (0..2600).map(owner).collect();
    let latest = store.latest_keys(&owners).await.unwrap();
    assert_eq!(latest.len(), 2500);
    assert_eq!((latest[&owner(7)], latest[&owner(8)]), (key(70), key(8)));
    assert_eq!(served.calls("Record") + served.calls("Latest"), 4 + 3);

    let elsewhere = RemoteOptions { instance: "another".to_owned(), ..served.options() };
    let elsewhere = RemoteStore::connect(elsewhere).await.unwrap();
    assert!(elsewhere.latest_keys(&owners).await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_reads_what_is_trusted_and_writes_keys_for_himself() {
    let served = serve(trusted(), straight()).await;
    let owner = vec!["[\"//a:a\",{},\"\"]".to_owned()];
    let (ours, theirs) = (ActionDigest(blake3(b"ours")), ActionDigest(blake3(b"theirs")));
    let record = |key| vec![(owner[0].clone(), key)];
    let trusted_store = served.connect().await;
    trusted_store.record_keys(&record(ours)).await.unwrap();

    let namespace = Namespace::PullRequest("17".to_owned());
    let stranger = caller("stranger", Rights::ALL, namespace);
    let router = router(&served.store, stranger, straight(), Arc::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("grpc://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { door(router).serve_tcp(listener).await });
    let stranger = RemoteStore::connect(options(address)).await.unwrap();
    assert_eq!(stranger.latest_keys(&owner).await.unwrap()[&owner[0]], ours);
    stranger.record_keys(&record(theirs)).await.unwrap();
    assert_eq!(stranger.latest_keys(&owner).await.unwrap()[&owner[0]], theirs);
    assert_eq!(trusted_store.latest_keys(&owner).await.unwrap()[&owner[0]], ours);
}

#[tokio::test(flavor = "multi_thread")]
async fn owners_are_bounded_in_number_and_length() {
    let served = serve(trusted(), straight()).await;
    let store = served.connect().await;
    let long = "x".repeat(5000);
    let key = ActionDigest(blake3(b"key"));
    // What is too long is not even asked.
    store.record_keys(&[(long.clone(), key)]).await.unwrap();
    assert!(store.latest_keys(&[long]).await.unwrap().is_empty());
    let error = store.latest_keys(&[String::new()]).await.unwrap_err();
    assert!(matches!(error, RemoteError::Call { .. }), "{error}");
}
