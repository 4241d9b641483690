//! What is counted, and that nobody outside can make more of it.
#![expect(clippy::float_cmp, reason = "what is counted is whole")]

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::{get, post};
use cas_server::Operation;
use cas_server::metrics::{IDENTITIES_MAX, Kind, Limit, TOOLS_MAX, Uploading};
use cas_server::observe::Observed;
use http::{HeaderMap, HeaderValue, Request, StatusCode};

use crate::serving::{ALL, READ, ask, caller, operation, text};

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
