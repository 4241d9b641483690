//! A server for whoever says who he is, and a plain HTTP/1.1 client of it that can also do what no proper client does.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::Request;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use axum::middleware::{Next, from_fn};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use cas_server::metrics::Metrics;
use cas_server::observe::Observer;
use cas_server::{Caller, Door, Drain, Front, Limits, Operation, Origins, Rights};
use store::{Cellar, Namespace};
use testkit::MemoryStore;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Channel, Endpoint};

/// A server that takes everybody's word for who he is: the name in the header `x-caller`, or else `trusted`.
pub(crate) struct HttpServer {
    pub(crate) store: MemoryStore,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: Arc<Metrics>,
}

impl HttpServer {
    pub(crate) async fn start() -> Self {
        Self::start_within(Limits::default()).await
    }

    pub(crate) async fn start_within(limits: Limits) -> Self {
        let store = MemoryStore::new();
        let (address, metrics) = serve_named(Arc::new(store.clone()), limits, says_name).await;
        Self { store, address, metrics }
    }

    /// Starts a server where only whoever has that token may do anything.
    pub(crate) async fn start_guarded(token: &str) -> Self {
        let store = MemoryStore::new();
        let basic = BASE64_STANDARD.encode(format!("any:{token}"));
        let known = [format!("Bearer {token}"), format!("Basic {basic}")];
        let named = move |headers: &HeaderMap| {
            let said = headers.get(AUTHORIZATION).map(|it| it.to_str().unwrap());
            caller(if said.is_some_and(|it| known.iter().any(|known| known == it)) {
                "trusted"
            } else {
                "anonymous"
            })
        };
        let limits = Limits::default();
        let (address, metrics) = serve_named(Arc::new(store.clone()), limits, named).await;
        Self { store, address, metrics }
    }

    pub(crate) async fn client(&self) -> Client {
        Client::connect(self.address).await
    }

    /// Returns a connection for clients of gRPC.
    pub(crate) async fn channel(&self) -> Channel {
        let address = format!("http://{}", self.address);
        Endpoint::from_shared(address).unwrap().connect().await.unwrap()
    }
}

/// Serves a store to whoever says who he is, and returns where.
pub(crate) async fn serve(cellar: Arc<dyn Cellar>) -> SocketAddr {
    serve_named(cellar, Limits::default(), says_name).await.0
}

fn says_name(headers: &HeaderMap) -> Caller {
    let name = headers.get("x-caller").map(|it| it.to_str().unwrap());
    caller(name.unwrap_or("trusted"))
}

async fn serve_named(
    cellar: Arc<dyn Cellar>,
    limits: Limits,
    named: impl Fn(&HeaderMap) -> Caller + Clone + Send + Sync + 'static,
) -> (SocketAddr, Arc<Metrics>) {
    let identify = from_fn(move |mut request: Request, next: Next| {
        let caller = named(request.headers());
        request.extensions_mut().insert(Arc::new(caller));
        next.run(request)
    });
    let drain = Drain::new();
    drain.serving();
    let metrics = Arc::new(Metrics::new());
    let observer = Observer::new(Arc::clone(&metrics));
    let operation = Operation::new(Arc::clone(&cellar), observer, drain.clone());
    let connections = limits.connections;
    let front = Front::new(cellar, limits);
    let router = cas_server::router(front, Origins::none(), operation, identify).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let door = Door::new(router, connections, drain, Arc::clone(&metrics));
    tokio::spawn(async move { door.serve_tcp(listener).await });
    (address, metrics)
}

/// Returns the caller of that name; who has none of those below may do nothing.
fn caller(name: &str) -> Caller {
    let all = Rights { read: true, write_blobs: true, write_values: true, ..Rights::default() };
    let (rights, namespace) = match name {
        "trusted" => (all, Namespace::Trusted),
        "stranger" => (all, Namespace::PullRequest("7".to_owned())),
        "reader" => (Rights { read: true, ..Rights::default() }, Namespace::Trusted),
        "uploader" => (Rights { write_values: false, ..all }, Namespace::Trusted),
        "recorder" => (Rights { write_blobs: false, ..all }, Namespace::Trusted),
        _ => (Rights::default(), Namespace::Trusted),
    };
    let reads = namespace.reads().into();
    Caller { name: name.into(), rights, namespace, reads }
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Returns a header.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }

    /// Returns the body as text.
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }
}

/// One connection.
pub(crate) struct Client(BufReader<TcpStream>);

impl Client {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(BufReader::new(TcpStream::connect(address).await.unwrap()))
    }

    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        self.ask("GET", path, &[], None).await
    }

    pub(crate) async fn head(&mut self, path: &str) -> Answer {
        self.ask("HEAD", path, &[], None).await
    }

    pub(crate) async fn put(&mut self, path: &str, body: &[u8]) -> Answer {
        self.ask("PUT", path, &[], Some(body)).await
    }

    /// Sends a request, with the length of its body if it has one, and returns the answer.
    pub(crate) async fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> Answer {
        let length = body.map(|it| it.len().to_string());
        let mut headers = headers.to_vec();
        headers.extend(length.as_ref().map(|it| ("content-length", it.as_str())));
        self.send_head(method, path, &headers).await;
        self.send(body.unwrap_or_default()).await;
        self.answer(method == "HEAD").await
    }

    /// Sends a body in chunks of that size.
    pub(crate) async fn put_chunked(&mut self, path: &str, body: &[u8], size: usize) -> Answer {
        self.send_head("PUT", path, &[("transfer-encoding", "chunked")]).await;
        for chunk in body.chunks(size) {
            let head = format!("{:x}\r\n", chunk.len());
            self.send(&[head.as_bytes(), chunk, b"\r\n"].concat()).await;
        }
        self.send(b"0\r\n\r\n").await;
        self.answer(false).await
    }

    pub(crate) async fn send_head(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nhost: test\r\n");
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        self.send(format!("{head}\r\n").as_bytes()).await;
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).await.unwrap();
    }

    /// Receives an answer.
    pub(crate) async fn answer(&mut self, is_head: bool) -> Answer {
        let line = self.line().await;
        let status = line.split(' ').nth(1).and_then(|it| it.parse().ok());
        let status = status.ok_or(line).unwrap();
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line().await;
            let Some((name, value)) = line.split_once(": ") else { break };
            let before = headers.insert(name.to_ascii_lowercase(), value.to_owned());
            // There are several ways to say who one is, each in a line of its own.
            assert!(before.is_none() || name == "www-authenticate", "{name} was said twice");
        }
        let mut answer = Answer { status, headers, body: Vec::new() };
        if !is_head && status != 100 {
            answer.body = self.body(&answer).await;
        }
        answer
    }

    async fn body(&mut self, answer: &Answer) -> Vec<u8> {
        if let Some(length) = answer.header("content-length") {
            return self.bytes(length.parse().unwrap()).await;
        }
        assert_eq!(answer.header("transfer-encoding"), Some("chunked"), "{answer:?}");
        let mut body = Vec::new();
        loop {
            let size = usize::from_str_radix(&self.line().await, 16).unwrap();
            body.extend(self.bytes(size).await);
            assert_eq!(self.line().await, "");
            if size == 0 {
                return body;
            }
        }
    }

    async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.0.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    async fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).await.unwrap();
        line.trim_end_matches("\r\n").to_owned()
    }
}
