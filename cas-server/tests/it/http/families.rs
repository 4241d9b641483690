//! What each client does, step by step: ccache, sccache, Gradle and Nx.

use cas_server::metrics::{Kind, Lookups};

use super::client::HttpServer;

#[tokio::test]
async fn ccache_keeps_its_results_in_any_of_its_layouts() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let bazel = format!("/ccache/ac/{}", "0a".repeat(32));
    for path in ["/ccache/ab/cdef0123456789", "/ccache/abcdef0123456789", &bazel] {
        assert_eq!(client.head(path).await.status, 404);
        assert_eq!(client.put(path, b"\xcc\xac result").await.status, 201);
        assert_eq!(client.head(path).await.status, 200);
        assert_eq!(client.get(path).await.body, b"\xcc\xac result");
        assert_eq!(client.ask("DELETE", path, &[], None).await.status, 200);
        assert_eq!(client.get(path).await.status, 404);
    }
    assert_eq!(client.get("/ccache/").await.status, 404);
    assert_eq!(client.get("/ccache").await.status, 404);
}

#[tokio::test]
async fn the_same_key_is_another_in_each_cache() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let paths =
        ["/ccache/key", "/sccache/key", "/gradle/key", "/v8/artifacts/key", "/v1/cache/key"];
    for path in paths {
        assert_eq!(client.get(path).await.status, 404);
        client.put(path, path.as_bytes()).await;
    }
    for path in paths {
        assert_eq!(client.get(path).await.text(), path);
    }
}

#[tokio::test]
async fn sccache_finds_collections_wherever_it_looks_for_one() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let depth = [("depth", "0")];
    for path in ["/sccache", "/sccache/", "/sccache/a/", "/sccache/a/b&c/"] {
        let found = client.ask("PROPFIND", path, &depth, None).await;
        assert_eq!((found.status, found.text().contains("<D:collection/>")), (207, true), "{path}");
        let href = format!("<D:href>{}</D:href>", path.replace('&', "&amp;"));
        assert!(found.text().contains(&href) && found.text().contains("HTTP/1.1 200 OK"));
    }
    let path = "/sccache/a/b/c/abcdef";
    assert_eq!(client.ask("PROPFIND", path, &depth, None).await.status, 404);
    assert_eq!(client.ask("MKCOL", "/sccache/a/b/", &[], None).await.status, 201);
    assert_eq!(client.put(path, b"object").await.status, 201);
    let found = client.ask("PROPFIND", path, &depth, None).await;
    assert!(
        found.text().contains("<D:getcontentlength>6<") && !found.text().contains("collection")
    );
    assert_eq!(client.get(path).await.body, b"object");
    let part = client.ask("GET", path, &[("range", "bytes=1-2")], None).await;
    assert_eq!((part.status, part.text()), (206, "bj"));
    assert_eq!(client.put("/sccache/.sccache_check", b"Hello, World!").await.status, 201);
    assert_eq!(client.get("/sccache/.sccache_check").await.text(), "Hello, World!");

    for headers in [&[("depth", "infinity")][..], &[("depth", "1")], &[]] {
        assert_eq!(client.ask("PROPFIND", "/sccache/", headers, None).await.status, 403);
    }
    let reader = [("depth", "0"), ("x-caller", "reader")];
    assert_eq!(client.ask("PROPFIND", "/sccache/", &reader, None).await.status, 207);
    assert_eq!(client.ask("MKCOL", "/sccache/a/", &reader, None).await.status, 403);
    assert_eq!(client.ask("LOCK", "/sccache/a", &[], None).await.status, 405);
}

#[tokio::test]
async fn gradle_finds_what_it_stored() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let accept = [("accept", "application/vnd.gradle.build-cache-artifact.v2, */*")];
    let path = "/gradle/f0a1b2c3d4e5f60718293a4b5c6d7e8f";
    assert_eq!(client.ask("GET", path, &accept, None).await.status, 404);
    let headers = [
        ("content-type", "application/vnd.gradle.build-cache-artifact.v2"),
        ("content-length", "5"),
        ("expect", "100-continue"),
    ];
    client.send_head("PUT", path, &headers).await;
    assert_eq!(client.answer(false).await.status, 100);
    client.send(b"\x1f\x8bgz!").await;
    assert_eq!(client.answer(false).await.status, 201);
    assert_eq!(client.ask("GET", path, &accept, None).await.body, b"\x1f\x8bgz!");
    assert_eq!(client.put("/gradle/some/project/f0a1", b"x").await.status, 201);
}

#[tokio::test]
async fn nx_never_replaces_what_it_kept() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let path = "/v1/cache/1234567890";
    assert_eq!(client.get(path).await.status, 404);
    assert_eq!(client.put(path, b"first").await.status, 200);
    assert_eq!(client.put(path, b"second").await.status, 409);
    assert_eq!(client.get(path).await.body, b"first");
    for caller in ["reader", "anonymous"] {
        let put = client.ask("PUT", path, &[("x-caller", caller)], Some(b"x")).await;
        assert_eq!(put.status, 403);
    }
    assert_eq!(client.ask("GET", path, &[("x-caller", "anonymous")], None).await.status, 403);
    assert_eq!(client.ask("DELETE", path, &[], None).await.status, 405);
    assert_eq!(client.get("/v1/cache/a/b").await.status, 404);
}

#[tokio::test]
async fn of_many_who_write_to_nx_at_once_exactly_one_is_first() {
    let server = HttpServer::start().await;
    let each = (0..16).map(|nth| {
        let server = &server;
        async move {
            let body = format!("body {nth}");
            let status = server.client().await.put("/v1/cache/1", body.as_bytes()).await.status;
            (status, body)
        }
    });
    let answers = futures::future::join_all(each).await;
    let first: Vec<_> = answers.iter().filter(|(status, _)| *status == 200).collect();
    assert!(first.len() == 1 && answers.iter().all(|(status, _)| [200, 409].contains(status)));
    assert_eq!(server.client().await.get("/v1/cache/1").await.text(), first[0].1);
}

#[tokio::test]
async fn what_is_looked_up_is_counted_by_cache() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let bazel = format!("/ac/{}", "0a".repeat(32));
    for (path, kind) in [
        (bazel.as_str(), Kind::Bazel),
        ("/ccache/key", Kind::Ccache),
        ("/sccache/key", Kind::Sccache),
        ("/gradle/key", Kind::Gradle),
        ("/v8/artifacts/key", Kind::Turborepo),
        ("/v1/cache/key", Kind::Nx),
    ] {
        client.get(path).await;
        client.head(path).await;
        client.put(path, b"\xcc\xac body").await;
        client.get(path).await;
        client.ask("GET", path, &[("range", "bytes=1-2")], None).await;
        client.ask("GET", path, &[("range", "bytes=99-")], None).await;
        client.ask("GET", path, &[("x-caller", "nobody")], None).await;
        let counted = server.metrics.clients().total().lookups(kind);
        assert_eq!(counted, Lookups { hits: 2, misses: 1, incomplete: 0 }, "{path}");
    }
    client.get("/favicon.ico").await;
    assert_eq!(server.metrics.clients().total().lookups(Kind::Bazel).misses, 1);
}
