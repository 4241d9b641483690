//! Paths and requests that no proper client sends.

use store::Cellar as _;

use super::client::HttpServer;

#[tokio::test]
async fn what_might_be_taken_for_a_path_of_a_file_is_refused_everywhere() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let long = "k".repeat(513);
    for key in [
        "..",
        "../../etc/passwd",
        "%2e%2e",
        "%2e%2e%2fetc%2fpasswd",
        "..%5c..%5cetc",
        "a/./b",
        "a%00b",
        "a%0d%0aset-cookie:x",
        "%ff",
        "%",
        "%zz",
        &long,
    ] {
        for mount in ["/ccache/", "/sccache/", "/gradle/"] {
            for method in ["GET", "HEAD", "PUT"] {
                let body = (method == "PUT").then_some(&b"x"[..]);
                let answer = client.ask(method, &format!("{mount}{key}"), &[], body).await;
                assert_eq!(answer.status, 400, "{method} {mount}{key}");
            }
        }
        let path = format!("/sccache/{key}/");
        assert_eq!(client.ask("MKCOL", &path, &[], None).await.status, 400, "{path}");
        for path in [format!("/v8/artifacts/{key}"), format!("/v1/cache/{key}")] {
            let status = client.put(&path, b"x").await.status;
            // With a slash it is no such path at all.
            assert!(status == 400 || status == 404 && key.contains('/'), "{status} {path}");
        }
    }
    assert_eq!(server.store.stat().values, 0);
}

#[tokio::test]
async fn other_keys_are_kept_as_they_were_sent() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let keys = ["%41", "A", "a%2Fb", "a/b", "%C3%BC", "a//b", "a b".replace(' ', "%20").as_str()]
        .map(str::to_owned);
    for key in &keys {
        assert_eq!(client.get(&format!("/ccache/{key}")).await.status, 404, "{key}");
        client.put(&format!("/ccache/{key}"), key.as_bytes()).await;
    }
    for key in &keys {
        assert_eq!(client.get(&format!("/ccache/{key}")).await.text(), key);
    }
}

#[tokio::test]
async fn what_is_no_hash_is_no_name_of_a_blob_or_result() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let hex = "0a".repeat(32);
    for (path, status) in [
        (format!("/cas/{}", hex.to_uppercase()), 400),
        (format!("/cas/{}", &hex[1..]), 400),
        (format!("/cas/{hex}0"), 400),
        ("/ac/".to_owned(), 400),
        ("/ac/..".to_owned(), 400),
        (format!("/../ac/{hex}"), 400),
        (format!("/a/%2e%2e/cas/{hex}"), 400),
        (format!("/a%00/ac/{hex}"), 400),
        (format!("/{}/ac/{hex}", "p".repeat(600)), 400),
        (format!("/cas/{hex}/"), 404),
        (format!("/cash/{hex}"), 404),
        ("/favicon.ico".to_owned(), 404),
        ("/etc/passwd".to_owned(), 404),
    ] {
        assert_eq!(client.get(&path).await.status, status, "{path}");
        assert_eq!(client.put(&path, b"x").await.status, status, "{path}");
    }
    assert_eq!(client.ask("DELETE", &format!("/cas/{hex}"), &[], None).await.status, 405);
}

#[tokio::test]
async fn a_grpc_call_of_what_is_not_there_is_answered_as_one() {
    let server = HttpServer::start().await;
    let mut client = server.client().await;
    let headers = [("content-type", "application/grpc")];
    let got = client.ask("POST", "/some.Service/Call", &headers, Some(b"")).await;
    assert_eq!((got.status, got.header("grpc-status")), (200, Some("12")));
}
