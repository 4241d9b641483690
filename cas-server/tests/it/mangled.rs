//! Answers of a server that nobody means well with, or that is broken: `bld`'s client believes none of them.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::{self, Next};
use axum::response::Response;
use bytes::Bytes;
use cas_server::admin::{Admin, Purge};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use model::{ActionDigest, ActionResult, OutputFile, RelativePath};
use store::{
    ActionCache as _, BlobStore as _, RemoteConnection, RemoteError, RemoteOptions, RemoteStore,
    StoreError,
};
use testkit::{MemoryStore, Mutator, Seed, cases};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::remote_store::{blake3, door, options, read, router, straight};
use crate::support::{noise, trusted};

/// How many cases there are, if `BLD_FUZZ_CASES` does not say.
const CASES: u64 = 150;

/// How long anything may take: what fails is tried again a few times, after short pauses.
const TIME_MAX: Duration = Duration::from_secs(60);

/// Returns messages of gRPC, some of which say something else.
fn mangle_messages(bytes: &[u8], fuzz: &mut Mutator) -> Vec<u8> {
    let (mut rest, mut out) = (bytes, Vec::new());
    while let Some((head, tail)) = rest.split_first_chunk::<5>() {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
        let (message, tail) = tail.split_at(usize::try_from(length).unwrap().min(tail.len()));
        let message = if fuzz.below(2) == 0 { fuzz.message(message) } else { message.to_vec() };
        out.push(head[0]);
        out.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
        out.extend(message);
        rest = tail;
    }
    if fuzz.below(8) == 0 { fuzz.bytes(&out) } else { out }
}

/// Returns trailers that say something else.
fn mangle_trailers(trailers: &mut HeaderMap, fuzz: &mut Mutator) {
    let status = fuzz.below(18).to_string();
    if fuzz.below(4) == 0 {
        trailers.insert("grpc-status", HeaderValue::from_str(&status).unwrap());
    }
    for name in ["grpc-message", "grpc-status-details-bin", "bld-namespace-bin"] {
        let said = fuzz.text("CgIIBRIMdGhlcmUgaXMgbm9uZQ");
        if let Ok(said) = HeaderValue::from_str(&said) {
            trailers.insert(name, said);
        }
    }
}

/// Returns an answer of gRPC that says something else.
pub(crate) async fn mangle(response: Response, mut fuzz: Mutator) -> Response {
    let (mut parts, body) = response.into_parts();
    let collected = body.collect().await.unwrap();
    let mut trailers = collected.trailers().cloned().unwrap_or_default();
    let bytes = mangle_messages(&collected.to_bytes(), &mut fuzz);
    if fuzz.below(3) == 0 {
        mangle_trailers(&mut trailers, &mut fuzz);
        mangle_trailers(&mut parts.headers, &mut fuzz);
        parts.headers.remove("grpc-status");
    }
    parts.headers.remove("content-length");
    let frames = [Frame::data(Bytes::from(bytes)), Frame::trailers(trailers)];
    let frames = futures::stream::iter(frames).map(Ok::<_, std::convert::Infallible>);
    Response::from_parts(parts, Body::new(StreamBody::new(frames)))
}

/// Returns what was answered, if it was; nobody may have stumbled over it.
fn answered<T>(answered: Result<T, StoreError>) -> Option<T> {
    let stumbled = |it: &StoreError| matches!(it, StoreError::Remote(it) if matches!(**it, RemoteError::Unasked { .. }));
    assert!(!answered.as_ref().is_err_and(stumbled), "whoever waited for it is gone");
    answered.ok()
}

/// Asks for everything that there is to ask for. Whatever is answered must be right.
async fn use_all(
    store: &RemoteStore,
    options: &RemoteOptions,
    blobs: &[Bytes],
    action: ActionDigest,
    result: &ActionResult,
) {
    for bytes in blobs {
        let digest = blake3(bytes);
        if let Some(missing) = answered(store.find_missing(BTreeSet::from([digest])).await) {
            assert!(missing.is_empty() || missing == BTreeSet::from([digest]));
        }
        if let Some(Some(blob)) = answered(store.read(digest).await)
            && let Ok(found) = tokio::task::block_in_place(|| blob.into_bytes())
        {
            assert!(found == bytes, "what it gave is not what it was asked for");
        }
        answered(store.write(digest, bytes.clone().into()).await);
    }
    answered(store.record(action, result).await);
    // A server may say what it likes of results; but not what makes no sense.
    answered(store.lookup(action).await);
    let owner = "[\"//a:a\",{},\"module\"]".to_owned();
    drop(store.record_keys(&[(owner.clone(), action)]).await);
    let admin = Admin::new(RemoteConnection::open(options.clone()).unwrap());
    drop(admin.stat().await);
    drop(admin.purge(Purge::Writer("nobody".to_owned())).await);
    drop(admin.scrub(None, |_| {}).await);
    if let Ok(keys) = store.latest_keys(std::slice::from_ref(&owner)).await {
        assert!(keys.keys().all(|it| *it == owner), "nobody asked for that");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_a_server_makes_the_client_stumble_or_give_wrong_bytes_on() {
    let seed = Seed::new();
    let fuzz = Arc::new(Mutex::new(seed.mutator()));
    let is_sane = Arc::new(AtomicBool::new(true));
    let sanity = Arc::clone(&is_sane);
    // Outside of all that the server itself looks at.
    let mangling = middleware::from_fn(move |request: Request, next: Next| {
        let mut fuzz = fuzz.lock().unwrap();
        // Most of them get through, so that what comes after them is asked as well.
        let passes = sanity.load(Ordering::SeqCst) || fuzz.below(3) > 0;
        let fuzz = (!passes).then(|| Mutator::new(fuzz.number()));
        async move {
            let response = next.run(request).await;
            match fuzz {
                Some(fuzz) => mangle(response, fuzz).await,
                None => response,
            }
        }
    });
    let router = router(&MemoryStore::new(), trusted(), straight(), Arc::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let options = options(format!("grpc://{}", listener.local_addr().unwrap()));
    tokio::spawn(async move { door(router.layer(mangling)).serve_tcp(listener).await });
    let text = Bytes::from(b"int main(void) { return 0; }\n".repeat(200));
    let blobs =
        [Bytes::from_static(b"small"), text, noise(300_000, 1).into(), noise(5 << 20, 2).into()];
    let action = ActionDigest(blake3(b"an action"));
    let path = RelativePath::new("out/a").unwrap();
    let files = vec![OutputFile { path, digest: blake3(&blobs[0]), executable: true }];
    let result = ActionResult { files, ..ActionResult::default() };
    for case in 0..cases(CASES) {
        is_sane.store(true, Ordering::SeqCst);
        let store = if case % 4 == 0 {
            None
        } else {
            Some(RemoteStore::connect(options.clone()).await.unwrap())
        };
        is_sane.store(false, Ordering::SeqCst);
        let asked = async {
            let store = match store {
                Some(store) => store,
                // What it says that it can do may make no sense either.
                None => match RemoteStore::connect(options.clone()).await {
                    Ok(store) => store,
                    Err(_) => return,
                },
            };
            use_all(&store, &options, &blobs, action, &result).await;
        };
        let in_time = timeout(TIME_MAX, asked).await.is_ok();
        assert!(in_time, "case {case} takes too long");
    }
    is_sane.store(true, Ordering::SeqCst);
    let store = RemoteStore::connect(options).await.unwrap();
    for bytes in &blobs {
        store.write(blake3(bytes), bytes.clone().into()).await.unwrap();
        assert!(read(&store, blake3(bytes)).await.unwrap() == *bytes);
    }
}
