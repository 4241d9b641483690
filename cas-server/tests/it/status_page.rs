//! The page that people look at, and the two that machines do.

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use cas_server::Rights;
use cas_server::metrics::Kind;
use cas_server::observe::Observed;
use http::{Request, StatusCode};

use crate::serving::{self, ALL, READ, ask, caller, operation, text};

#[tokio::test]
async fn everybody_gets_a_page_and_sees_as_much_as_he_may() {
    let operation = operation();
    let hit = get(async |request: axum::extract::Request| {
        Observed::of(request.extensions()).hit(Kind::Action);
    });
    let router = Router::new().route("/{*path}", hit);
    let request = Request::get("/x").header("user-agent", "gradle/8").body(Body::empty()).unwrap();
    ask(&operation, router, Some(caller("some-team", ALL)), request).await;

    for (rights, sums, names) in
        [(Rights::default(), false, false), (READ, true, false), (ALL, true, true)]
    {
        for path in ["/", "/status"] {
            let answer = serving::get(&operation, Some(caller("me", rights)), path).await;
            assert_eq!(answer.status(), StatusCode::OK);
            assert_eq!(answer.headers()["content-type"], "text/html; charset=utf-8");
            let page = text(&answer);
            assert!(page.contains("serving"), "{page}");
            assert_eq!(page.contains("Results of actions"), sums, "{page}");
            assert_eq!(page.contains("some-team"), names, "{page}");
        }
    }
}

#[tokio::test]
async fn nothing_from_outside_is_markup() {
    let operation = operation();
    let refuse = get(|| async { (StatusCode::BAD_REQUEST, "no") });
    let router = Router::new().route("/{*path}", refuse);
    let path = "/x/<script>alert(1)</script>".replace('<', "%3C").replace('>', "%3E");
    let request = Request::get(format!("{path}?token=secret"));
    let request = request.header("user-agent", "<b>bold</b>/<i>1</i>").body(Body::empty()).unwrap();
    let stranger = Some(caller("<img src=x onerror=alert(1)>", ALL));
    let answer = ask(&operation, router, stranger, request).await;
    let id = answer.headers()["x-request-id"].to_str().unwrap().to_owned();

    let answer = serving::get(&operation, Some(caller("me", ALL)), "/").await;
    let policy = answer.headers()["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let page = text(&answer);
    for markup in ["<img", "<script", "<b>bold", "<i>1"] {
        assert!(!page.contains(markup), "{markup}: {page}");
    }
    assert!(page.contains("&#60;img src=x onerror=alert(1)&#62;"), "{page}");
    assert!(page.contains(&id), "the failure is found by the name that its client was told");
    assert!(!page.contains("secret"), "queries are not kept");
}

#[tokio::test]
async fn a_server_is_ready_between_its_start_and_its_end_and_alive_all_the_time() {
    let operation = operation();
    let drain = operation.drain().clone();
    let status = async |path| serving::get(&operation, None, path).await.status();
    assert_eq!(status("/readyz").await, StatusCode::OK);
    drain.begin();
    assert_eq!(status("/readyz").await, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(status("/healthz").await, StatusCode::OK);

    let (store, observer) = (operation.cellar().clone(), operation.observer().clone());
    let starting = cas_server::Operation::new(store, observer, cas_server::Drain::new());
    let answer = serving::get(&starting, None, "/readyz").await;
    assert_eq!(
        (answer.status(), text(&answer)),
        (StatusCode::SERVICE_UNAVAILABLE, "starting\n".into())
    );
}
