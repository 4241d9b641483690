//! A connection to a server, and calls on it in gRPC's framing, with as little between as can be.
//!
//! Who calls shares the processor with the server that is measured: what a client of gRPC does besides would count
//! against every server alike, and make all of them look the same.

use bytes::{Bytes, BytesMut};
use h2::client::{Builder, ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, UnixStream};

use super::error::{BenchError, CallError};
use super::target::{Address, Target};

/// How much a server may send of one answer before it has to wait, in bytes: more than a round trip over the loopback takes.
pub(super) const STREAM_WINDOW_BYTES: u32 = 4 << 20;

/// How much it may send of all answers on one connection, in bytes.
pub(super) const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;

/// The largest frame that is taken, in bytes: of those between 16 KiB and 1 MiB the one with which a bare connection carries
/// most, three times as much as with the smallest.
pub(super) const FRAME_BYTES_MAX: u32 = 256 << 10;

/// What stands before each message: whether it is compressed, and its length in four bytes.
pub(super) const PREFIX_BYTES: usize = 5;

/// A connection.
#[derive(Clone)]
pub(super) struct Channel {
    requests: SendRequest<Bytes>,
    /// With the scheme.
    authority: String,
    credentials: HeaderMap,
}

/// What a call begins with: the same bytes each time.
pub(super) struct Method(Request<()>);

/// A call that is under way.
pub(super) struct Call {
    pub(super) upward: SendStream<Bytes>,
    answer: ResponseFuture,
}

impl Channel {
    /// Connects to a server. The connection ends when nobody has the channel any more.
    pub(super) async fn connect(target: &Target, address: &Address) -> Result<Self, BenchError> {
        let name = target.name.clone();
        let refused = |source| BenchError::Connect {
            name: target.name.clone(),
            address: target.authority.clone(),
            source,
        };
        let requests = match address {
            Address::Tcp(address, encryption) => {
                let stream = TcpStream::connect(address).await.map_err(refused)?;
                stream.set_nodelay(true).map_err(refused)?;
                match encryption {
                    None => handshake(stream).await,
                    Some(it) => handshake(it.connect(stream).await.map_err(refused)?).await,
                }
            }
            Address::Unix(path) => {
                handshake(UnixStream::connect(path).await.map_err(refused)?).await
            }
        };
        let requests = requests.map_err(|source| BenchError::Handshake { name, source })?;
        let scheme = if target.is_encrypted { "https" } else { "http" };
        let authority = format!("{scheme}://{}", target.authority);
        Ok(Self { requests, authority, credentials: target.credentials.clone() })
    }

    /// Returns the method at that path.
    pub(super) fn method(&self, path: &str) -> Method {
        let request = Request::post(format!("{}{path}", self.authority))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .header("user-agent", "bld-bench")
            .body(());
        let mut request =
            request.expect("an authority that was connected to and a known path are a URI");
        request.headers_mut().extend(self.credentials.clone());
        Method(request)
    }

    /// Begins a call.
    pub(super) async fn begin(&self, method: &Method) -> Result<Call, CallError> {
        let mut requests = self.requests.clone().ready().await?;
        let (answer, upward) = requests.send_request(method.0.clone(), false)?;
        Ok(Call { upward, answer })
    }

    /// Sends one message and returns the messages of the answer, as they are on the wire.
    pub(super) async fn unary(&self, method: &Method, message: Bytes) -> Result<Bytes, CallError> {
        let mut call = self.begin(method).await?;
        call.upward.send_data(message, true)?;
        call.answer().await
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Bytes>, h2::Error>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    let mut builder = Builder::new();
    builder
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .enable_push(false);
    let (requests, connection) = builder.handshake(stream).await?;
    // What breaks it is told to every call on it.
    tokio::task::spawn_local(async { drop(connection.await) });
    Ok(requests)
}

impl Call {
    /// Returns the messages of the answer, as they are on the wire.
    pub(super) async fn answer(self) -> Result<Bytes, CallError> {
        let mut whole = Bytes::new();
        let mut parts = BytesMut::new();
        self.read(|part| {
            // Nearly all answers come in one piece, which need not be copied.
            if whole.is_empty() && parts.is_empty() {
                whole = part;
            } else {
                parts.extend_from_slice(&std::mem::take(&mut whole));
                parts.extend_from_slice(&part);
            }
            Ok(())
        })
        .await?;
        Ok(if parts.is_empty() { whole } else { parts.freeze() })
    }

    /// Hands each part of the answer to `take`, as it comes.
    pub(super) async fn read(
        self,
        mut take: impl FnMut(Bytes) -> Result<(), CallError>,
    ) -> Result<(), CallError> {
        let (head, mut body) = self.answer.await?.into_parts();
        while let Some(part) = body.data().await {
            let part = part?;
            body.flow_control().release_capacity(part.len())?;
            take(part)?;
        }
        let trailers = trailers(&mut body).await?;
        status(trailers.as_ref().unwrap_or(&head.headers))
    }
}

async fn trailers(body: &mut RecvStream) -> Result<Option<HeaderMap>, CallError> {
    Ok(body.trailers().await?)
}

fn status(headers: &HeaderMap) -> Result<(), CallError> {
    let code = headers.get("grpc-status").and_then(|code| code.to_str().ok()?.parse().ok());
    match code {
        Some(0) => Ok(()),
        None => Err(CallError::Wrong("no grpc-status")),
        Some(code) => {
            let message = headers.get("grpc-message").map(HeaderValue::as_bytes);
            let message = String::from_utf8_lossy(message.unwrap_or_default()).into_owned();
            Err(CallError::Status { code, message })
        }
    }
}

/// Puts what `encode` writes into a frame of gRPC.
pub(super) fn frame(bytes_about: usize, encode: impl FnOnce(&mut Vec<u8>)) -> Bytes {
    let mut message = Vec::with_capacity(PREFIX_BYTES + bytes_about);
    message.extend_from_slice(&[0; PREFIX_BYTES]);
    encode(&mut message);
    let length = u32::try_from(message.len() - PREFIX_BYTES).expect("messages are small");
    message[1..PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
    message.into()
}

/// Returns the only message in an answer.
pub(super) fn only_message(answer: &Bytes) -> Result<Bytes, CallError> {
    let prefix = answer.first_chunk::<PREFIX_BYTES>().ok_or(CallError::Wrong("no message"))?;
    let [0, length @ ..] = *prefix else {
        return Err(CallError::Wrong("a compressed message, which nobody asked for"));
    };
    let is_whole = answer.len() - PREFIX_BYTES == u32::from_be_bytes(length) as usize;
    is_whole.then(|| answer.slice(PREFIX_BYTES..)).ok_or(CallError::Wrong("not one message"))
}
