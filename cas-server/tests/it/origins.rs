//! Answers of web servers that the server fetches from, which are not what they should be.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bazel_remote_apis::build::bazel::remote::asset::v1 as asset;
use model::{Digest, DigestFunction};
use testkit::{Mutator, Seed, cases};
use tokio::time::timeout;
use tonic::Code;

use crate::support::{TestServer, message, serve_fetching, trusted};

/// How many cases there are, if `BLD_FUZZ_CASES` does not say.
const CASES: u64 = 400;

/// How long anything may take: nobody is waited for who has closed his connection.
const TIME_MAX: Duration = Duration::from_secs(60);

const CONTENT: &[u8] = b"the archive that was meant";

/// What may be said of an address from which nothing could be fetched.
const PROPER: [Code; 3] = [Code::Aborted, Code::PermissionDenied, Code::NotFound];

/// Returns answers that make sense, of a server at that address.
fn good(address: &str) -> Vec<Vec<u8>> {
    let plain = |head: &str| [head.as_bytes(), b"\r\n\r\n", CONTENT].concat();
    let length = CONTENT.len();
    vec![
        plain(&format!("HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close")),
        plain("HTTP/1.0 200 OK\r\nserver: a"),
        [
            format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{length:x}\r\n")
                .as_bytes(),
            CONTENT,
            b"\r\n0\r\nx-trailer: a\r\n\r\n",
        ]
        .concat(),
        format!("HTTP/1.1 302 Found\r\nlocation: {address}other\r\ncontent-length: 0\r\n\r\n")
            .into(),
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno"
            .into(),
    ]
}

/// Reads a question and answers it, well or not.
fn answer(stream: &TcpStream, answers: &[Vec<u8>], fuzz: &mut Mutator) {
    let mut lines = BufReader::new(stream).lines();
    while lines.next().is_some_and(|line| line.is_ok_and(|it| !it.is_empty())) {}
    let answer = fuzz.pick(answers).clone();
    let answer = if fuzz.below(4) == 0 { answer } else { fuzz.bytes(&answer) };
    // Whoever asked may have gone away.
    let _ = (&*stream).write_all(&answer);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_of_a_web_server_makes_the_server_stumble_or_keep_what_was_not_meant() {
    let seed = Seed::new();
    let (mut fuzz, mut origin_fuzz) = (seed.mutator(), seed.mutator());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let answers = good(&address);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&stream.unwrap(), &answers, &mut origin_fuzz);
        }
    });
    let server = TestServer::start().await;
    let store = Arc::new(server.store.clone());
    let channel = serve_fetching(store, trusted(), vec![address.clone()]).await;
    let mut client = asset::fetch_client::FetchClient::new(channel);
    let genuine = Digest::of(DigestFunction::Sha256, CONTENT);
    let sri = format!("sha256-{}", STANDARD.encode(genuine.hash()));
    let mut found = 0;
    for case in 0..cases(CASES) {
        server.store.forget(genuine);
        let is_checked = fuzz.below(2) == 0;
        let qualifier =
            |name: &str, value: String| asset::Qualifier { name: name.to_owned(), value };
        let header = if fuzz.below(4) == 0 { fuzz.text("x-key") } else { "x-key".to_owned() };
        let value = fuzz.text("a secret that nobody is told");
        let mut qualifiers = vec![qualifier(&format!("http_header:{header}"), value.clone())];
        if is_checked {
            qualifiers.push(qualifier("checksum.sri", sri.clone()));
        }
        let request = asset::FetchBlobRequest {
            uris: vec![format!("{address}{case}")],
            qualifiers,
            ..Default::default()
        };
        let answered = timeout(TIME_MAX, client.fetch_blob(request)).await;
        let answered = answered.unwrap_or_else(|_| panic!("case {case} takes too long"));
        let answered = answered.unwrap_or_else(|it| panic!("case {case}: {it}")).into_inner();
        let status = answered.status.unwrap();
        assert!(value.len() < 6 || !status.message.contains(&value), "case {case}: {status:?}");
        if status.code != 0 {
            let is_proper = PROPER.contains(&status.code.into());
            assert!(is_proper, "case {case}: {status:?}");
            continue;
        }
        found += 1;
        let digest = answered.blob_digest.unwrap();
        assert!(!is_checked || digest == message(genuine), "case {case}");
        let name = format!("blobs/{}/{}", digest.hash, digest.size_bytes);
        let kept = server.read(&name, 0, 0).await.unwrap();
        assert_eq!(message(Digest::of(DigestFunction::Sha256, &kept)), digest);
    }
    assert!(found > 0, "nothing was ever fetched");
}
