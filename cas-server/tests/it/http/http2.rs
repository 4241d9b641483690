//! The plain caches over HTTP/2, on the same connection as gRPC.

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tonic::body::Body;
use tonic::transport::Channel;
use tower::{Service as _, ServiceExt as _};

use super::client::HttpServer;
use crate::support::{ActionCacheClient, noise};

async fn ask(channel: &Channel, method: &str, path: &str, body: &[u8]) -> (u16, Bytes) {
    let body = Body::new(Full::new(Bytes::copy_from_slice(body)));
    let request = http::Request::builder().method(method).uri(path).body(body).unwrap();
    let mut channel = channel.clone();
    let answer = channel.ready().await.unwrap().call(request).await.unwrap();
    let status = answer.status().as_u16();
    (status, answer.into_body().collect().await.unwrap().to_bytes())
}

#[tokio::test]
async fn one_connection_carries_every_protocol() {
    let server = HttpServer::start().await;
    let channel = server.channel().await;
    let large = noise((3 << 20) + 17, 1);
    for body in [&b"small"[..], &large] {
        assert_eq!(ask(&channel, "PUT", "/gradle/key", body).await.0, 201);
        let (status, got) = ask(&channel, "GET", "/gradle/key", b"").await;
        assert!(status == 200 && got == body);
        let (status, got) = ask(&channel, "HEAD", "/gradle/key", b"").await;
        assert!(status == 200 && got.is_empty());
    }
    assert_eq!(ask(&channel, "POST", "/gradle/key", &large).await.0, 405);
    assert_eq!(ask(&channel, "GET", "/gradle/other", b"").await.0, 404);

    let request = reapi::GetActionResultRequest::default();
    let mut results = ActionCacheClient::new(channel);
    let refused = results.get_action_result(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}
