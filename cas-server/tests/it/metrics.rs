//! What is counted, and that nobody outside can make more of it.
#![expect(clippy::float_cmp, reason = "what is counted is whole")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware::{Next, from_fn};
use axum::routing::{get, post};
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use cas_server::metrics::{IDENTITIES_MAX, Kind, Limit, TOOLS_MAX, Uploading};
use cas_server::observe::Observed;
use cas_server::{Front, Limits, Operation, Origins};
use http::{HeaderMap, HeaderValue, Request, StatusCode};
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use crate::serving::{ALL, READ, ask, caller, operation, text};
use crate::support::ActionCacheClient;

/// Returns the metrics of a server as whoever scrapes them reads them: names with labels, and values.
async fn scrape(operation: &Operation) -> BTreeMap<String, f64> {
    let answer = crate::serving::get(operation, Some(caller("scraper", READ)), "/metrics").await;
    assert_eq!(answer.status(), StatusCode::OK);
    let text = text(&answer);
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name.to_owned(), value.parse().unwrap())
        })
        .collect()
}

fn grpc(path: &str, agent: &str) -> Request<Body> {
    let request = Request::post(path).header("content-type", "application/grpc+proto");
    request.header("user-agent", agent).body(Body::from("12345")).unwrap()
}

/// Answers as gRPC does: with that status in the trailers.
fn answering(status: &'static str) -> Router {
    let answer = move || async move {
        let trailers = HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(status),
        )]);
        let body = http_body_util::Full::new(bytes::Bytes::from_static(b"123"));
        let with = http_body_util::BodyExt::with_trailers(body, async move { Some(Ok(trailers)) });
        Body::new(with)
    };
    Router::new().route("/{service}/{method}", post(answer))
}

#[tokio::test]
async fn requests_are_counted_by_method_outcome_and_tool() {
    let operation = operation();
    let found = "/google.bytestream.ByteStream/Read";
    let ours = Some(caller("ci", ALL));
    for (status, times) in [("0", 3), ("5", 2)] {
        for _ in 0..times {
            let request = grpc(found, "grpc-java-netty/1.66.0");
            ask(&operation, answering(status), ours.clone(), request).await;
        }
    }
    ask(&operation, answering("12"), ours, grpc("/some.Other/Call", "bazel/8.0.0")).await;

    let metrics = scrape(&operation).await;
    let requests = |method: &str, outcome: &str, tool: &str| {
        let labels = format!("method=\"{method}\",outcome=\"{outcome}\",client=\"{tool}\"");
        metrics[&format!("bld_requests_total{{{labels}}}")]
    };
    assert_eq!(requests("ByteStream/Read", "ok", "grpc-java-netty"), 3.0);
    assert_eq!(requests("ByteStream/Read", "not_found", "grpc-java-netty"), 2.0);
    assert_eq!(requests("other", "unimplemented", "bazel"), 1.0);
    assert_eq!(metrics["bld_request_seconds_count{method=\"ByteStream/Read\"}"], 5.0);
    assert_eq!(metrics["bld_request_seconds_bucket{le=\"+Inf\",method=\"ByteStream/Read\"}"], 5.0);
    let bytes = |way: &str| {
        metrics[&format!("bld_transferred_bytes_total{{direction=\"{way}\",client=\"bazel\"}}")]
    };
    assert_eq!((bytes("in"), bytes("out")), (0.0, 3.0), "nobody read the request");
    // This scrape itself is under way.
    assert_eq!(metrics["bld_requests_in_flight"], 1.0);
}

#[tokio::test]
async fn whoever_goes_away_before_the_answer_is_complete_is_counted_as_such() {
    let operation = operation();
    let never = Router::new().route("/{*path}", get(std::future::pending::<()>));
    let request = Request::get("/cas/abc").body(Body::empty()).unwrap();
    let ours = Some(caller("ci", ALL));
    let asked = ask(&operation, never, ours, request);
    tokio::time::timeout(Duration::ZERO, asked).await.unwrap_err();

    let metrics = scrape(&operation).await;
    let name = "bld_requests_total{method=\"http/GET\",outcome=\"cancelled\",client=\"other\"}";
    assert_eq!(metrics[name], 1.0);
    assert_eq!(metrics["bld_requests_in_flight"], 1.0, "only this one");
}

#[tokio::test]
async fn what_services_find_is_counted_by_client_and_kind() {
    let operation = operation();
    let service = get(async |request: axum::extract::Request| {
        let observed = Observed::of(request.extensions());
        observed.hit(Kind::Action);
        observed.incomplete(Kind::Action);
        observed.miss(Kind::Ccache);
        observed.asked(7, 2);
        observed.limited(Limit::Ratio);
        observed.saved(Duration::from_millis(1500), Duration::from_millis(500));
    });
    let router = Router::new().route("/{*path}", service);
    let request = Request::get("/x").header("user-agent", "ccache/4.7.5");
    let ours = Some(caller("ci", ALL));
    ask(&operation, router, ours, request.body(Body::empty()).unwrap()).await;

    let metrics = scrape(&operation).await;
    let lookups = |kind: &str, result: &str| {
        let labels = format!("kind=\"{kind}\",result=\"{result}\",client=\"ccache\"");
        metrics.get(&format!("bld_lookups_total{{{labels}}}")).copied()
    };
    assert_eq!(lookups("ac", "hit"), Some(1.0));
    assert_eq!(lookups("ac", "incomplete"), Some(1.0));
    assert_eq!(lookups("ac", "miss"), None);
    assert_eq!(lookups("ccache", "miss"), Some(1.0));
    assert_eq!(metrics["bld_find_missing_digests_total{result=\"found\"}"], 7.0);
    assert_eq!(metrics["bld_find_missing_digests_total{result=\"missing\"}"], 2.0);
    assert_eq!(metrics["bld_limits_hit_total{limit=\"ratio\"}"], 1.0);
    assert_eq!(metrics["bld_saved_seconds_total{clock=\"cpu\"}"], 1.5);
    assert_eq!(metrics["bld_saved_seconds_total{clock=\"wall\"}"], 0.5);
}

/// Returns all that a server serves, to one caller.
async fn whole(operation: &Operation) -> Router {
    let front = Front::new(Arc::clone(operation.cellar()), Limits::default());
    let somebody = Arc::new(caller("ci", ALL));
    let identify = from_fn(move |mut request: axum::extract::Request, next: Next| {
        request.extensions_mut().insert(Arc::clone(&somebody));
        next.run(request)
    });
    cas_server::router(front, Origins::none(), operation.clone(), identify).await
}

#[tokio::test]
async fn what_clients_of_every_protocol_look_up_is_in_the_metrics_of_the_same_port() {
    let operation = operation();
    let router = whole(&operation).await;
    let ask = async |method: &str, path: &str| {
        let request = Request::builder().method(method).uri(path).header("user-agent", "test/1");
        let request = request.body(Body::from("a body")).unwrap();
        router.clone().oneshot(request).await.unwrap()
    };
    let hash = "ab".repeat(32);
    for (path, times) in [("/ccache/ab/cdef", 1), ("/gradle/0123456789abcdef0123456789abcdef", 2)] {
        assert_eq!(ask("GET", path).await.status(), StatusCode::NOT_FOUND);
        assert_eq!(ask("PUT", path).await.status(), StatusCode::CREATED);
        for _ in 0..times {
            let answer = ask("GET", path).await;
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "a body");
        }
    }
    assert_eq!(ask("GET", &format!("/cas/{hash}")).await.status(), StatusCode::NOT_FOUND);
    assert_eq!(ask("GET", "/no/such/thing").await.status(), StatusCode::NOT_FOUND);
    let mut results = ActionCacheClient::new(tower::service_fn(move |request: Request<_>| {
        router.clone().oneshot(request.map(Body::new))
    }));
    let action_digest = Some(reapi::Digest { hash, size_bytes: 7 });
    let request = reapi::GetActionResultRequest { action_digest, ..Default::default() };
    assert_eq!(results.get_action_result(request).await.unwrap_err().code(), tonic::Code::NotFound);

    let metrics = scrape(&operation).await;
    let lookups = |kind: &str, result: &str, client: &str| {
        let labels = format!("kind=\"{kind}\",result=\"{result}\",client=\"{client}\"");
        metrics.get(&format!("bld_lookups_total{{{labels}}}")).copied().unwrap_or_default()
    };
    assert_eq!((lookups("ccache", "hit", "test"), lookups("ccache", "miss", "test")), (1.0, 1.0));
    assert_eq!((lookups("gradle", "hit", "test"), lookups("gradle", "miss", "test")), (2.0, 1.0));
    assert_eq!((lookups("bazel", "hit", "test"), lookups("bazel", "miss", "test")), (0.0, 1.0));
    assert_eq!(lookups("ac", "miss", "other"), 1.0);
    let name = "bld_requests_total{method=\"ActionCache/GetActionResult\",outcome=\"not_found\",client=\"other\"}";
    assert_eq!(metrics[name], 1.0);
}

#[tokio::test]
async fn a_result_that_is_not_whole_is_a_miss_of_its_own_kind() {
    let operation = operation();
    let router = whole(&operation).await;
    let mut results = ActionCacheClient::new(tower::service_fn(move |request: Request<_>| {
        router.clone().oneshot(request.map(Body::new))
    }));
    let action_digest = Some(reapi::Digest { hash: "ab".repeat(32), size_bytes: 7 });
    let result = reapi::ActionResult { stdout_digest: action_digest.clone(), ..Default::default() };
    let update = reapi::UpdateActionResultRequest {
        action_digest: action_digest.clone(),
        action_result: Some(result),
        ..Default::default()
    };
    results.update_action_result(update).await.unwrap();
    let request = reapi::GetActionResultRequest { action_digest, ..Default::default() };
    results.get_action_result(request).await.unwrap_err();

    let metrics = scrape(&operation).await;
    let lookups = "bld_lookups_total{kind=\"ac\",result=\"incomplete\",client=\"other\"}";
    assert_eq!(metrics[lookups], 1.0);
    assert!(!metrics.contains_key(&lookups.replace("incomplete", "miss")));
}

#[tokio::test]
async fn an_upload_counts_as_long_as_it_lasts() {
    let operation = operation();
    let mut first = Uploading::begin(operation.observer().metrics());
    let second = Uploading::begin(operation.observer().metrics());
    first.received(10);
    first.received(20);
    let metrics = scrape(&operation).await;
    assert_eq!(metrics["bld_uploads_in_flight"], 2.0);
    assert_eq!(metrics["bld_upload_in_flight_bytes"], 30.0);

    drop((first, second));
    let metrics = scrape(&operation).await;
    assert_eq!(metrics["bld_uploads_in_flight"], 0.0);
    assert_eq!(metrics["bld_upload_in_flight_bytes"], 0.0);
}

#[tokio::test]
async fn names_from_outside_make_only_so_many_labels() {
    let operation = operation();
    let clients = operation.observer().metrics().clients();
    for number in 0..10_000 {
        clients.of(&format!("tool-{number}"), &format!("job-{number}").into());
        clients.refused(&format!("stranger-{number}"));
    }
    clients.of("quote\"new\nline", &"ci".into());
    clients.of("Bazel", &"ci".into());

    let rows = clients.read();
    let tools: std::collections::BTreeSet<_> = rows.iter().map(|(tool, ..)| tool).collect();
    assert!(rows.len() <= IDENTITIES_MAX + TOOLS_MAX + 2, "{} rows", rows.len());
    assert_eq!(tools.len(), TOOLS_MAX + 2, "others are `other`, and Bazel has a place of its own");
    assert!(!tools.iter().any(|it| it.starts_with("stranger")), "{tools:?}");

    let metrics = scrape(&operation).await;
    assert!(metrics.len() < 1_000, "{} series", metrics.len());
}

#[tokio::test]
async fn the_store_and_the_process_are_told_of() {
    let operation = operation();
    let blob = bytes::Bytes::from_static(b"hello");
    let digest = model::Digest::of(model::DigestFunction::Blake3, &blob);
    operation.cellar().write(digest, blob.into()).await.unwrap();

    let metrics = scrape(&operation).await;
    assert_eq!(metrics["bld_store_bytes{state=\"logical\"}"], 5.0);
    assert_eq!(metrics["bld_store_records{kind=\"blob\"}"], 1.0);
    assert_eq!(metrics["bld_ready"], 1.0);
    assert!(!metrics.contains_key("bld_store_retention_seconds"), "nothing was evicted");
    assert!(metrics["process_resident_memory_bytes"] > 1e6);
    assert!(metrics["process_cpu_seconds_total"] > 0.0);
    assert!(metrics["process_open_fds"] >= 3.0);
    let info = format!("bld_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"));
    assert_eq!(metrics[&info], 1.0);
}

#[tokio::test]
async fn metrics_are_for_those_who_may_read() {
    let operation = operation();
    for stranger in [None, Some(caller("anonymous", cas_server::Rights::default()))] {
        let answer = crate::serving::get(&operation, stranger, "/metrics").await;
        assert_eq!(answer.status(), StatusCode::FORBIDDEN);
    }
}
