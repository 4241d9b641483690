//! The ceiling: what HTTP/2 carries over the loopback when nobody hashes, keeps or looks at anything.
//!
//! A server in a thread of its own, with the crate and the windows that the clients have, which takes what comes and
//! sends what is asked for.

use std::io::Error;
use std::net::SocketAddr;
use std::thread::JoinHandle;

use bytes::{Buf as _, Bytes};
use h2::RecvStream;
use h2::server::{Builder, Connection, SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::LocalSet;

use super::channel::{
    CONNECTION_WINDOW_BYTES, Channel, FRAME_BYTES_MAX, Method, PREFIX_BYTES, STREAM_WINDOW_BYTES,
    frame,
};
use super::drive::Work;
use super::error::CallError;
use super::large::{PIECE_BYTES, send};
use super::noise::Noise;

const UP: &str = "/bare/up";
const DOWN: &str = "/bare/down";

/// A server that keeps nothing; it ends with this value.
pub(super) struct Bare {
    pub(super) address: SocketAddr,
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    pub(super) fn start() -> Result<Self, Error> {
        let listener = std::net::TcpListener::bind(("127.0.0.1", 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (end, ended) = oneshot::channel();
        let thread = std::thread::spawn(move || {
            runtime.block_on(LocalSet::new().run_until(async {
                let _entered = runtime.enter();
                let Ok(listener) = TcpListener::from_std(listener) else { return };
                tokio::select! {
                    () = listen(listener) => {}
                    _ = ended => {}
                }
            }));
        });
        Ok(Self { address, end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

async fn listen(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::task::spawn_local(async move { drop(serve(stream).await) });
    }
}

async fn serve(stream: TcpStream) -> Result<(), CallError> {
    let _ = stream.set_nodelay(true);
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX);
    let mut connection: Connection<_, Bytes> = builder.handshake(stream).await?;
    let piece = piece(PIECE_BYTES);
    while let Some(call) = connection.accept().await {
        let (request, respond) = call?;
        let piece = piece.clone();
        tokio::task::spawn_local(async move { drop(answer(request, respond, piece).await) });
    }
    Ok(())
}

async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    piece: Bytes,
) -> Result<(), CallError> {
    let wants_down = request.uri().path() == DOWN;
    let mut body = request.into_body();
    let mut first = Bytes::new();
    while let Some(part) = body.data().await {
        let part = part?;
        body.flow_control().release_capacity(part.len())?;
        first = if first.is_empty() { part } else { first };
    }
    let response = Response::builder().header("content-type", "application/grpc").body(());
    let response = response.expect("a constant header is valid");
    let mut downward = respond.send_response(response, false)?;
    let mut rest = if wants_down { asked(first) } else { 0 };
    while rest > 0 {
        let bytes = rest.min(PIECE_BYTES);
        let part = if bytes == PIECE_BYTES { piece.clone() } else { self::piece(bytes) };
        send(&mut downward, part, false).await?;
        rest -= bytes;
    }
    if !wants_down {
        downward.send_data(frame(0, |_| ()), false)?;
    }
    let trailers = [(http::HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))];
    downward.send_trailers(HeaderMap::from_iter(trailers))?;
    Ok(())
}

/// Returns how many bytes a request asks for.
fn asked(mut request: Bytes) -> u64 {
    request.advance(PREFIX_BYTES.min(request.len()));
    request.try_get_u64().unwrap_or(0)
}

fn piece(bytes: u64) -> Bytes {
    let noise = Noise { seed: 0, bytes };
    frame(0, |message| message.extend_from_slice(&noise.to_vec()))
}

/// Sends so many bytes with each call.
pub(super) struct Up {
    method: Method,
    bytes: u64,
    units: u64,
    piece: Bytes,
}

impl Up {
    pub(super) fn new(channel: &Channel, bytes: u64, units: u64) -> Self {
        Self { method: channel.method(UP), bytes, units, piece: piece(bytes.min(PIECE_BYTES)) }
    }
}

impl Work for Up {
    fn times_max(&self) -> u64 {
        u64::MAX
    }

    fn units(&self) -> u64 {
        self.units
    }

    async fn once(&self, channel: &Channel, _nth: u64) -> Result<(), CallError> {
        let pieces = self.bytes.div_ceil(PIECE_BYTES);
        let mut call = channel.begin(&self.method).await?;
        for number in 1..=pieces {
            send(&mut call.upward, self.piece.clone(), number == pieces).await?;
        }
        call.answer().await?;
        Ok(())
    }
}

/// Asks for so many bytes with each call.
pub(super) struct Down {
    method: Method,
    bytes: u64,
    units: u64,
}

impl Down {
    pub(super) fn new(channel: &Channel, bytes: u64, units: u64) -> Self {
        Self { method: channel.method(DOWN), bytes, units }
    }
}

impl Work for Down {
    fn times_max(&self) -> u64 {
        u64::MAX
    }

    fn units(&self) -> u64 {
        self.units
    }

    async fn once(&self, channel: &Channel, _nth: u64) -> Result<(), CallError> {
        let mut call = channel.begin(&self.method).await?;
        let request = frame(0, |message| message.extend_from_slice(&self.bytes.to_be_bytes()));
        call.upward.send_data(request, true)?;
        let mut came = 0;
        call.read(|part| {
            came += part.len() as u64;
            Ok(())
        })
        .await?;
        (came > self.bytes).then_some(()).ok_or(CallError::Wrong("not all bytes"))
    }
}
