//! What Turborepo does, step by step.

use super::client::HttpServer;

#[tokio::test]
async fn artifacts_keep_their_signature_and_duration() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let path = "/v8/artifacts/12HKQaOmR5t5Uy6vdcQsNIiZgHGB?slug=team";
    assert_eq!(client.head(path).await.status, 404);
    let headers = [
        ("content-type", "application/octet-stream"),
        ("x-artifact-duration", "1234"),
        ("x-artifact-tag", "Tc0BmHvJYMIYJ62/zx87YqO0Flxk+5Ovip25NY825CQ="),
        ("x-artifact-client-ci", "VERCEL"),
    ];
    let put = client.ask("PUT", path, &headers, Some(b"artifact")).await;
    assert_eq!(put.status, 202);
    assert_eq!(put.text(), r#"{"urls":["/v8/artifacts/12HKQaOmR5t5Uy6vdcQsNIiZgHGB"]}"#);
    for method in ["GET", "HEAD"] {
        let got = client.ask(method, path, &[], None).await;
        assert_eq!((got.status, got.header("x-artifact-duration")), (200, Some("1234")));
        assert_eq!(got.header("x-artifact-tag"), Some(headers[2].1));
        assert_eq!(got.body, if method == "GET" { &b"artifact"[..] } else { b"" });
    }
    client.put("/v8/artifacts/plain", b"x").await;
    let plain = client.get("/v8/artifacts/plain").await;
    assert_eq!((plain.header("x-artifact-tag"), plain.header("x-artifact-duration")), (None, None));
}

#[tokio::test]
async fn each_team_has_artifacts_of_its_own() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let teams = ["", "?slug=a", "?slug=b", "?teamId=team_a", "?teamId=team_b&slug=a"];
    for team in teams {
        let path = format!("/v8/artifacts/key{team}");
        assert_eq!(client.get(&path).await.status, 404);
        client.put(&path, team.as_bytes()).await;
    }
    for team in teams {
        assert_eq!(client.get(&format!("/v8/artifacts/key{team}")).await.text(), team);
    }
    assert_eq!(client.get("/v8/artifacts/key?slug=..").await.status, 400);
}

#[tokio::test]
async fn whether_the_cache_is_there_depends_on_who_asks() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    for (caller, text) in
        [("reader", r#"{"status":"enabled"}"#), ("anonymous", r#"{"status":"disabled"}"#)]
    {
        let got = client.ask("GET", "/v8/artifacts/status", &[("x-caller", caller)], None).await;
        assert_eq!((got.status, got.text()), (200, text));
        assert_eq!(got.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn errors_are_json() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    for (method, path, caller, status, code) in [
        ("PUT", "/v8/artifacts/key", "reader", 403, "forbidden"),
        ("GET", "/v8/artifacts/key", "anonymous", 403, "forbidden"),
        ("GET", "/v8/artifacts/key", "reader", 404, "not_found"),
        ("POST", "/v8/artifacts", "anonymous", 403, "forbidden"),
        ("POST", "/v8/artifacts", "reader", 400, "bad_request"),
        ("GET", "/v8/artifacts", "reader", 405, "method_not_allowed"),
        ("PATCH", "/v8/artifacts/key", "trusted", 405, "method_not_allowed"),
    ] {
        let body = (method != "GET").then_some(&b"x"[..]);
        let got = client.ask(method, path, &[("x-caller", caller)], body).await;
        assert_eq!((got.status, got.header("content-type")), (status, Some("application/json")));
        let json: serde_json::Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(json["error"]["code"], code, "{method} {path}");
        assert!(json["error"]["message"].is_string());
    }
}

#[tokio::test]
async fn a_list_is_answered_with_what_is_known_of_each() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let headers = [("x-artifact-duration", "7"), ("x-artifact-tag", "tag")];
    client.ask("PUT", "/v8/artifacts/a?slug=t", &headers, Some(b"12345")).await;
    client.put("/v8/artifacts/b?slug=t", b"").await;
    let query = br#"{"hashes":["a","b","c"]}"#;
    let got = client.ask("POST", "/v8/artifacts?slug=t", &[], Some(query)).await;
    assert_eq!(
        got.text(),
        r#"{"a":{"size":5,"tag":"tag","taskDurationMs":7},"b":{"size":0,"taskDurationMs":0},"c":null}"#
    );
    let many = serde_json::json!({ "hashes": vec!["a"; 10_001] }).to_string();
    assert_eq!(client.ask("POST", "/v8/artifacts", &[], Some(many.as_bytes())).await.status, 413);
    let long = "x".repeat(2 << 20);
    assert_eq!(client.ask("POST", "/v8/artifacts", &[], Some(long.as_bytes())).await.status, 413);
}

#[tokio::test]
async fn events_are_taken_and_preflights_are_allowed() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let events = br#"[{"sessionId":"s","source":"LOCAL","event":"HIT","hash":"a","duration":1}]"#;
    let got = client.ask("POST", "/v8/artifacts/events", &[], Some(events)).await;
    assert_eq!(got.status, 200);
    for path in ["", "/status", "/events", "/abc"] {
        let path = format!("/v8/artifacts{path}");
        let got = client.ask("OPTIONS", &path, &[("x-caller", "anonymous")], None).await;
        assert_eq!(got.status, 200);
        let allowed = got.header("access-control-allow-headers").unwrap();
        assert!(allowed.split(", ").any(|it| it == "Authorization"), "{allowed}");
    }
}
