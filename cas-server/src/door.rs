//! The one door: every protocol on one port, told apart by what is said.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream, UnixListener};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::Drain;
use crate::crowd::{Crowd, Room};
use crate::fault::with_sources;
use crate::identity::{Peer, PeerAddress};
use crate::metrics::Metrics;
use crate::tls::Tls;

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

/// How long clients have for their first request, and HTTP/1 clients for the headers of each: a connection that says
/// nothing costs one of those that may be open.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Lets connections in and hands their requests to a router.
#[derive(Clone)]
pub struct Door {
    builder: Builder<TokioExecutor>,
    router: Router,
    crowd: Crowd,
    drain: Drain,
    tls: Option<Arc<Tls>>,
}

impl Door {
    /// Returns a door to that router, through which so many may come at once, until the server ends; who is turned away
    /// is counted.
    pub fn new(router: Router, connections_max: u64, drain: Drain, metrics: Arc<Metrics>) -> Self {
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
        let crowd = Crowd::new(connections_max, metrics);
        Self { builder, router, crowd, drain, tls: None }
    }

    /// Returns a door whose ports are encrypted. A socket of the file system is not: nothing lies between.
    #[must_use]
    pub fn encrypted(self, tls: Arc<Tls>) -> Self {
        Self { tls: Some(tls), ..self }
    }

    /// Serves whoever comes to a port, until the server ends.
    pub async fn serve_tcp(&self, listener: TcpListener) {
        while let Some(accepted) = self.next(listener.accept()).await {
            match accepted {
                Ok((stream, address)) => {
                    let address = PeerAddress::Tcp(address);
                    let Some(room) = self.crowd.enter(address) else { continue };
                    // Small answers must not wait for one another.
                    drop(stream.set_nodelay(true));
                    tokio::spawn(self.clone().admit(stream, address, room));
                }
                Err(error) => pause(&error).await,
            }
        }
    }

    /// Serves whoever comes to a socket, until the server ends.
    pub async fn serve_unix(&self, listener: UnixListener) {
        while let Some(accepted) = self.next(listener.accept()).await {
            match accepted {
                Ok((stream, _)) => {
                    let Some(room) = self.crowd.enter(PeerAddress::Unix) else { continue };
                    let peer = Peer::new(PeerAddress::Unix);
                    tokio::spawn(self.clone().serve(stream, peer, room));
                }
                Err(error) => pause(&error).await,
            }
        }
    }

    /// Returns what is accepted next; `None` when nothing new is taken any more.
    async fn next<F: Future>(&self, accept: F) -> Option<F::Output> {
        tokio::select! {
            accepted = accept => Some(accepted),
            () = self.drain.begun() => None,
        }
    }

    /// Serves a connection once it is encrypted, if it is to be.
    async fn admit(self, stream: TcpStream, address: PeerAddress, room: Room) {
        let Some(tls) = &self.tls else {
            return self.serve(stream, Peer::new(address), room).await;
        };
        match tls.accept(stream, address).await {
            Ok((stream, peer)) => self.serve(stream, peer, room).await,
            Err(error) => tracing::debug!(error = %with_sources(&error), "no handshake"),
        }
    }

    async fn serve<S>(self, stream: S, peer: Peer, _room: Room)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (router, heard) = (self.router, CancellationToken::new());
        let silence = silence(heard.clone());
        let service = hyper::service::service_fn(move |mut request: http::Request<Incoming>| {
            heard.cancel();
            request.extensions_mut().insert(peer.clone());
            router.clone().oneshot(request)
        });
        let connection = self.builder.serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            served = self.drain.serve(connection) => if let Err(error) = served {
                tracing::debug!(%error, "a connection ended");
            },
            () = silence => tracing::debug!("a connection asked for nothing"),
        }
    }
}

/// Completes if no request is heard of for too long.
async fn silence(heard: CancellationToken) {
    if tokio::time::timeout(HEADERS_TIMEOUT, heard.cancelled()).await.is_ok() {
        std::future::pending::<()>().await;
    }
}

/// Waits before the next connection is accepted: what failed fails at once again, as when no file can be opened.
async fn pause(error: &std::io::Error) {
    const PAUSE: Duration = Duration::from_millis(50);
    tracing::warn!(%error, "a connection could not be accepted");
    tokio::time::sleep(PAUSE).await;
}
