//! Requests of every plain cache, with paths, headers and bodies that no proper client sends.

use std::fmt::Write as _;
use std::io;

use testkit::{Mutator, cases};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{ANSWER_TIME, LOOK_CASES, Target, look};
use crate::trials::client::{Client, digest};

/// How many cases there are, if `BLD_FUZZ_CASES` does not say.
const CASES: u64 = 2_000;

/// A request that makes sense.
struct Good {
    method: &'static str,
    path: String,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

fn good(method: &'static str, path: &str, headers: &[(&'static str, &str)], body: &[u8]) -> Good {
    let headers = headers.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    Good { method, path: path.to_owned(), headers, body: body.to_vec() }
}

fn requests() -> Vec<Good> {
    let text = b"int main(void) { return 0; }\n".repeat(500);
    let packed = zstd::bulk::compress(&text, 1).unwrap();
    let hash = digest(&text).hex();
    let (cas, ac) = (format!("/a/project/cas/{hash}"), format!("/a/project/ac/{hash}"));
    let json = format!(
        "{{\"outputFiles\":[{{\"path\":\"a\",\"digest\":{{\"hash\":\"{hash}\",\"sizeBytes\":\"{}\"}}}}],\
         \"exitCode\":0}}",
        text.len()
    );
    let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    vec![
        good("PUT", &cas, &[], &text),
        good("PUT", &cas, &[("Content-Encoding", "zstd")], &packed),
        good("GET", &cas, &[("Range", "bytes=100-2000"), ("If-Range", "\"x\"")], b""),
        good("GET", &cas, &[("Accept-Encoding", "gzip, zstd;q=0.5"), ("traceparent", trace)], b""),
        good("HEAD", &cas, &[("Range", "bytes=-5")], b""),
        good("PUT", &ac, &[], b"\x12\x03abc"),
        good("PUT", &ac, &[("Content-Type", "application/json")], json.as_bytes()),
        good("GET", &ac, &[("Accept", "application/json")], b""),
        good("PUT", "/ccache/ab/cdef0123", &[("User-Agent", "ccache/4.7")], &text),
        good("GET", "/ccache/ab/cdef0123", &[("Range", "bytes=0-0")], b""),
        good("DELETE", "/gradle/key", &[], b""),
        good("PUT", "/gradle/key", &[("Authorization", "Basic dXNlcjpwYXNz")], &text),
        good("MKCOL", "/sccache/a/b/", &[], b""),
        good("PROPFIND", "/sccache/a/b", &[("Depth", "0")], b"<?xml version=\"1.0\"?><propfind/>"),
        good("PUT", "/sccache/a/b/c", &[], &text),
        good(
            "PUT",
            "/v8/artifacts/0123456789abcdef?teamId=team_a&slug=b",
            &[
                ("x-artifact-tag", "Tc0BmHvJYMIYJ62/zx87YqO0Flxk+5Ovip25NY825CQ="),
                ("x-artifact-duration", "400"),
            ],
            &text,
        ),
        good("GET", "/v8/artifacts/0123456789abcdef?slug=b", &[], b""),
        good("POST", "/v8/artifacts", &[], b"{\"hashes\":[\"0123456789abcdef\",\"00\"]}"),
        good("POST", "/v8/artifacts/events", &[], b"[{\"sessionId\":\"a\",\"event\":\"HIT\"}]"),
        good("OPTIONS", "/v8/artifacts/0123456789abcdef", &[("Origin", "http://a")], b""),
        good("PUT", "/v1/cache/123456", &[("Content-Type", "application/octet-stream")], &text),
        good("GET", "/v1/cache/123456", &[], b""),
        good("GET", "/status?sort=a", &[("Accept", "text/html")], b""),
        good("GET", "/metrics", &[("Accept", "text/plain;version=0.0.4")], b""),
        good(
            "POST",
            "/google.bytestream.ByteStream/Read",
            &[
                ("Content-Type", "application/grpc"),
                ("grpc-timeout", "10S"),
                ("grpc-encoding", "gzip"),
            ],
            b"\0\0\0\0\x02\x0a\0",
        ),
    ]
}

/// Returns the bytes of a request that differs from a good one somewhere.
fn bad(good: &Good, fuzz: &mut Mutator) -> Vec<u8> {
    let (mut path, mut headers, mut body) =
        (good.path.clone(), good.headers.clone(), good.body.clone());
    let mut length = None;
    match fuzz.below(6) {
        0 => path = fuzz.text(&path),
        1 if !headers.is_empty() => {
            let at = fuzz.below(headers.len());
            headers[at].1 = fuzz.text(&headers[at].1);
        }
        2 => length = Some(fuzz.text(&body.len().to_string())),
        3 => body = fuzz.bytes(&body),
        4 => {
            headers.push(("Content-Encoding", "zstd".to_owned()));
            body = fuzz.bytes(&zstd::bulk::compress(&body, 1).unwrap());
        }
        _ => {}
    }
    let mut head =
        format!("{} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n", good.method);
    for (name, value) in &headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if fuzz.below(4) == 0 {
        head += "Transfer-Encoding: chunked\r\n\r\n";
        let size = format!("{:x}\r\n", body.len()).into_bytes();
        body = fuzz.bytes(&[&size[..], &body, b"\r\n0\r\n\r\n"].concat());
    } else {
        let length = length.unwrap_or_else(|| body.len().to_string());
        write!(head, "Content-Length: {length}\r\n\r\n").unwrap();
    }
    let whole = [head.as_bytes(), &body].concat();
    if fuzz.below(6) == 0 { fuzz.bytes(&whole) } else { whole }
}

/// Sends bytes, and returns the status of the first answer, if there was one.
async fn send(host: &str, request: &[u8]) -> io::Result<Option<u16>> {
    let mut stream = TcpStream::connect(host).await?;
    // It may be refused before it was sent.
    let _ = stream.write_all(request).await;
    let _ = stream.shutdown().await;
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let line = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
    let status = line.strip_prefix("HTTP/1.").and_then(|it| it.get(2..5)?.parse().ok());
    assert!(answer.is_empty() || status.is_some() || !line.starts_with("HTTP"), "{line:?}");
    Ok(status)
}

#[test]
fn no_request_over_http_makes_the_server_stumble() {
    let target = Target::start();
    let mut fuzz = target.seed.mutator();
    let requests = requests();
    let host = target.served.address().strip_prefix("http://").unwrap().to_owned();
    target.runtime.block_on(async {
        let client = Client::connect(target.served.address()).await;
        let mut answered = 0;
        let cases = cases(CASES);
        for case in 0..cases {
            if case % LOOK_CASES == 0 {
                look(&client, case).await;
            }
            let request = bad(&requests[fuzz.below(requests.len())], &mut fuzz);
            let shown = String::from_utf8_lossy(&request[..request.len().min(600)]).into_owned();
            let status = timeout(ANSWER_TIME, send(&host, &request)).await;
            let status =
                status.unwrap_or_else(|_| panic!("case {case}: no answer to {shown}")).unwrap();
            let is_proper = status.is_none_or(|it| it < 500 || it == 501 || it == 505);
            assert!(is_proper, "case {case}: {status:?} for {shown}");
            answered += u64::from(status.is_some());
        }
        look(&client, u64::MAX).await;
        assert!(answered > cases / 2, "{answered} of {cases} were answered");
    });
    target.end();
}
