//! The one door: every protocol on one port, told apart by what is said.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tower::ServiceExt as _;

/// How many connections may be open at once: a process has that many files by default, several times over.
const CONNECTIONS_MAX: usize = 10_000;

/// How many streams one connection may have at once: Go's clients send up to 500.
const STREAMS_MAX: u32 = 1_024;

/// How much one stream may send ahead, in bytes: what a loopback or a fast network carries in a round trip.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// How much all streams of a connection may send ahead, in bytes: what one connection can make the server hold.
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The largest frame that is taken, in bytes: fewer frames cost less.
const FRAME_BYTES: u32 = 256 << 10;

/// How much is buffered for one stream before whoever makes it waits, in bytes.
const SEND_BUFFER_BYTES: usize = 2 << 20;

/// How often a connection on which nothing happens is asked whether it is still there, so that networks between do not
/// forget it.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long HTTP/1 clients have for their headers: a connection that says nothing costs one of those that may be open.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Whoever is at the other end of a connection.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Where he is; `None` on a socket of this machine's file system.
    pub address: Option<SocketAddr>,
}

/// Lets connections in and hands their requests to a router.
#[derive(Clone)]
pub struct Door {
    builder: Builder<TokioExecutor>,
    router: Router,
    free: Arc<Semaphore>,
}

impl Door {
    /// Returns a door to that router.
    pub fn new(router: Router) -> Self {
        let mut builder = Builder::new(TokioExecutor::new());
        let timer = TokioTimer::new();
        builder.http1().timer(timer.clone()).header_read_timeout(HEADERS_TIMEOUT);
        builder
            .http2()
            .timer(timer)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_frame_size(FRAME_BYTES)
            .max_send_buf_size(SEND_BUFFER_BYTES)
            .max_concurrent_streams(STREAMS_MAX)
            .keep_alive_interval(KEEP_ALIVE);
        Self { builder, router, free: Arc::new(Semaphore::new(CONNECTIONS_MAX)) }
    }

    /// Serves whoever comes to a port until `end`; then finishes what was begun.
    pub async fn serve_tcp(&self, listener: TcpListener, end: impl Future<Output = ()>) {
        let open = GracefulShutdown::new();
        tokio::pin!(end);
        loop {
            let room = self.room().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut end => break,
            };
            match accepted {
                Ok((stream, address)) => {
                    // Small answers must not wait for one another.
                    drop(stream.set_nodelay(true));
                    self.admit(stream, Peer { address: Some(address) }, room, &open);
                }
                Err(error) => pause(&error).await,
            }
        }
        open.shutdown().await;
    }

    /// Serves whoever comes to a socket until `end`; then finishes what was begun.
    pub async fn serve_unix(&self, listener: UnixListener, end: impl Future<Output = ()>) {
        let open = GracefulShutdown::new();
        tokio::pin!(end);
        loop {
            let room = self.room().await;
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut end => break,
            };
            match accepted {
                Ok((stream, _)) => self.admit(stream, Peer { address: None }, room, &open),
                Err(error) => pause(&error).await,
            }
        }
        open.shutdown().await;
    }

    async fn room(&self) -> OwnedSemaphorePermit {
        let free = Arc::clone(&self.free);
        free.acquire_owned().await.expect("nobody closes it")
    }

    fn admit<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(
        &self,
        stream: S,
        peer: Peer,
        room: OwnedSemaphorePermit,
        open: &GracefulShutdown,
    ) {
        let router = self.router.clone();
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request)
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service).into_owned();
        let connection = open.watch(connection);
        tokio::spawn(async move {
            let _room = room;
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
}

/// Waits before the next connection is accepted: what failed fails at once again, as when no file can be opened.
async fn pause(error: &std::io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(PAUSE).await;
}
