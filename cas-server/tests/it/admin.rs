//! What whoever runs a server does with its store from afar, over the wire's messages.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::extract::Request;
use axum::middleware::{self, Next};
use bytes::Bytes;
use cas_server::admin::{Admin, AdminError, AdminService, Purge, ScrubState, Scrubber};
use cas_server::metrics::{Kind, Lookups, Metrics};
use cas_server::{Caller, Door, Drain, Drained, Limits, Operation, Rights};
use model::{Digest, DigestFunction};
use store::{
    BlobStore as _, Namespace, RemoteConnection, RemoteOptions, Retry, Scrubbed, Secret,
    SegmentStore, Settings, Tls, Value, ValueKey,
};
use tokio::net::TcpListener;
use tonic::service::Routes;

use crate::serving::{ALL, READ, caller, operation};

/// Returns a client of that server, which takes it for that caller.
async fn admin(operation: &Operation, caller: Caller) -> Admin {
    serve(Routes::new(AdminService::new(operation.clone()).server()), caller).await
}

async fn serve(services: Routes, caller: Caller) -> Admin {
    let caller = Arc::new(caller);
    let identify = middleware::from_fn(move |mut request: Request, next: Next| {
        request.extensions_mut().insert(Arc::clone(&caller));
        next.run(request)
    });
    let router = services.into_axum_router().layer(identify);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("grpc://{}", listener.local_addr().unwrap());
    let (connections, metrics) = (Limits::default().connections, Arc::new(Metrics::new()));
    let door = Door::new(router, connections, Drain::new(), metrics);
    tokio::spawn(async move { door.serve_tcp(listener).await });
    asking(address, Retry { attempts: 1, first_pause: Duration::ZERO, ..Retry::default() })
}

fn asking(address: String, retry: Retry) -> Admin {
    let options = RemoteOptions {
        address,
        instance: String::new(),
        function: DigestFunction::Blake3,
        secret: Secret::None,
        tls: Tls::default(),
        retry,
        invocation: "one question".to_owned(),
    };
    Admin::new(RemoteConnection::open(options).unwrap())
}

fn value_key(namespace: Namespace, space: &str, key: &str) -> ValueKey {
    ValueKey { namespace, space: space.to_owned(), key: key.to_owned() }
}

async fn record(operation: &Operation, key: &ValueKey, writer: &str) {
    let bytes = Bytes::from_static(b"value");
    let value = Value { bytes, writer: writer.to_owned(), written: SystemTime::UNIX_EPOCH };
    operation.cellar().record(key, value).await.unwrap();
}

async fn is_there(operation: &Operation, key: &ValueKey) -> bool {
    operation.cellar().lookup(key).await.unwrap().is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_answer_at_all_is_not_waited_for_as_long_as_who_has_much_to_look_through() {
    // Connections are taken by the system, and nobody ever reads from them.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let retry = Retry { answer_time_max: Duration::from_millis(20), ..Retry::default() };
    let admin = asking(format!("grpc://{}", listener.local_addr().unwrap()), retry);
    let asked = tokio::time::timeout(Duration::from_secs(60), admin.stat()).await;
    let error = asked.expect("it is given up").unwrap_err();
    assert!(error.to_string().contains("did not answer in time"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn stat_says_what_is_stored_and_what_clients_did() {
    let operation = operation();
    let clients = operation.observer().metrics().clients();
    let lookups = Lookups { hits: 3, misses: 2, incomplete: 1 };
    for (identity, times) in [("a", 1), ("b", 2)] {
        for _ in 0..times {
            clients.of("bazel", &Arc::from(identity)).looked_up(Kind::Action, lookups);
        }
    }
    clients.of("bazel", &"a".into()).saved(Duration::from_secs(90), Duration::from_secs(60));
    let blob = Bytes::from_static(b"hello");
    let digest = Digest::of(DigestFunction::Sha256, &blob);
    operation.cellar().write(digest, blob.into()).await.unwrap();

    let stat = admin(&operation, caller("root", ALL)).await.stat().await.unwrap();
    assert_eq!(stat.version, env!("CARGO_PKG_VERSION"));
    assert_eq!(stat.store, operation.cellar().stat());
    assert_eq!((stat.store.blobs, stat.store.logical_bytes), (1, 5));
    let names: Vec<_> = stat.clients.iter().map(|it| (&*it.tool, &*it.identity)).collect();
    assert_eq!(names, [("bazel", "a"), ("bazel", "b")]);
    assert_eq!(stat.clients[1].tallied.lookups(Kind::Action).hits, 6);
    assert_eq!(stat.total(), operation.observer().metrics().clients().total());

    let anonymous = admin(&operation, caller("reader", READ)).await.stat().await.unwrap();
    let names: Vec<_> = anonymous.clients.iter().map(|it| (&*it.tool, &*it.identity)).collect();
    assert_eq!(names, [("bazel", "")], "who is not told to everybody");
    assert_eq!(anonymous.total(), stat.total());
    assert_eq!(anonymous.total().saved_cpu, Duration::from_secs(90));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_a_result_a_value_and_all_of_a_writer_can_be_purged() {
    let operation = operation();
    let admin = admin(&operation, caller("root", ALL)).await;
    let blob = Bytes::from_static(b"hello");
    let digest = Digest::of(DigestFunction::Blake3, &blob);
    operation.cellar().write(digest, blob.into()).await.unwrap();
    assert_eq!(admin.purge(Purge::Blob(digest)).await.unwrap(), 1);
    assert_eq!(admin.purge(Purge::Blob(digest)).await.unwrap(), 0, "it is not there any more");
    assert!(operation.cellar().read(digest).await.unwrap().is_none());

    let branch = Namespace::Branch("main".to_owned());
    let result = value_key(branch.clone(), "ac/blake3/project", &digest.hex());
    let (project, namespace) = ("project".to_owned(), Namespace::Trusted);
    let action = |namespace| Purge::Action { namespace, project: project.clone(), digest };
    record(&operation, &result, "ci").await;
    assert_eq!(admin.purge(action(namespace)).await.unwrap(), 0, "that is another one's word");
    assert_eq!(admin.purge(action(branch)).await.unwrap(), 1);
    assert!(!is_there(&operation, &result).await);

    let raw = value_key(Namespace::Trusted, "ac/raw/project", &digest.hex());
    record(&operation, &raw, "ci").await;
    assert_eq!(admin.purge(action(Namespace::Trusted)).await.unwrap(), 1, "by plain HTTP");

    let object = value_key(Namespace::Trusted, "ccache", "ab/cdef");
    record(&operation, &object, "ci").await;
    assert_eq!(admin.purge(Purge::Value(object.clone())).await.unwrap(), 1);
    assert!(!is_there(&operation, &object).await);

    let keys = ["a", "b", "c"].map(|key| value_key(Namespace::Trusted, "ccache", key));
    for (key, writer) in keys.iter().zip(["mallory", "mallory", "ci"]) {
        record(&operation, key, writer).await;
    }
    assert_eq!(admin.purge(Purge::Writer("mallory".to_owned())).await.unwrap(), 2);
    assert!(is_there(&operation, &keys[2]).await, "only his are gone");
    let nameless = admin.purge(Purge::Writer(String::new())).await.unwrap_err();
    assert!(matches!(nameless, AdminError::Senseless(_)), "{nameless}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scrub_tells_how_it_goes_until_it_has_ended() {
    let operation = operation();
    let blob = Bytes::from_static(b"hello");
    let digest = Digest::of(DigestFunction::Blake3, &blob);
    operation.cellar().write(digest, blob.into()).await.unwrap();

    let admin = admin(&operation, caller("root", ALL)).await;
    let mut heard = Vec::new();
    let last = admin.scrub(None, |state| heard.push(state.clone())).await.unwrap();
    assert_eq!(heard.last(), Some(&last));
    assert!(!last.running && last.failure.is_none(), "{last:?}");
    assert_eq!(last.scrubbed, Scrubbed { records: 1, bytes: 5, corrupt: 0 });
    let known = admin.stat().await.unwrap().scrub;
    assert_eq!(known.scrubbed, last.scrubbed);
}

#[tokio::test]
async fn the_end_of_a_server_waits_for_a_scrub_to_end_which_it_does_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = SegmentStore::open(folder.path(), Settings::new(64 << 20)).unwrap();
    for blob in (0..100_u32).map(|number| Bytes::from(number.to_string().repeat(100))) {
        let digest = Digest::of(DigestFunction::Blake3, &blob);
        store.write(digest, blob.into()).await.unwrap();
    }
    let drain = Drain::new();
    let slow = Scrubber::new(store, drain.clone());
    let mut states = slow.begin(1);
    drain.begin();
    assert_eq!(drain.wait(Duration::MAX).await, Drained::Finished);
    let last = states.borrow_and_update().clone();
    assert!(!last.running, "nobody asks the store any more");
    assert_eq!(last.failure.as_deref(), Some("the server ended"));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_those_who_may_administer_purge_and_scrub() {
    let operation = operation();
    let not_quite = Rights { administer: false, ..ALL };
    let nearly = admin(&operation, caller("nearly", not_quite)).await;
    let purge = nearly.purge(Purge::Writer("ci".to_owned())).await.unwrap_err();
    let scrub = nearly.scrub(Some(1), |_| {}).await.unwrap_err();
    for error in [purge, scrub] {
        assert!(matches!(error, AdminError::Denied(_)) && error.is_mistake(), "{error}");
        assert!(error.to_string().contains("--rights read,administer"), "{error}");
    }
    assert_eq!(operation.scrubber().state(), ScrubState::default());

    let nobody = admin(&operation, caller("nobody", Rights::default())).await;
    assert!(matches!(nobody.stat().await.unwrap_err(), AdminError::Denied(_)));
    let stranger = Caller { name: "anonymous".into(), ..caller("", Rights::default()) };
    let error = admin(&operation, stranger).await.stat().await.unwrap_err();
    assert!(matches!(error, AdminError::Stranger(_)), "{error}");
    assert!(error.to_string().contains("BLD_REMOTE_TOKEN_FILE"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_of_somebody_else_is_called_that() {
    let admin = serve(Routes::default(), caller("root", ALL)).await;
    let error = admin.stat().await.unwrap_err();
    assert!(matches!(&error, AdminError::Foreign { .. }) && error.is_mistake(), "{error}");
    assert!(error.to_string().contains("is no `bld server`"), "{error}");
}
