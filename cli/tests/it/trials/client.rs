//! A client that shares no code with the server: messages of another crate over gRPC, and HTTP by hand.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::sync::Arc;

use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::{bytestream, rpc};
use bytes::Bytes;
use model::{Digest, DigestFunction};
use prost::Message as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, mpsc};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};

use reapi::action_cache_client::ActionCacheClient;
use reapi::content_addressable_storage_client::ContentAddressableStorageClient;

/// How many bytes one message of a stream has.
const PIECE_BYTES: usize = 256 << 10;

/// REAPI's number of SHA-256.
const SHA256: i32 = 1;

/// Says on behalf of which build is asked.
const METADATA: &str = "build.bazel.remote.execution.v2.requestmetadata-bin";

/// How bytes are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    Zstd,
}

impl Form {
    fn number(self) -> i32 {
        i32::from(self == Self::Zstd)
    }

    fn folder(self) -> &'static str {
        match self {
            Self::Plain => "blobs",
            Self::Zstd => "compressed-blobs/zstd",
        }
    }

    fn pack(self, bytes: &Bytes) -> Bytes {
        match self {
            Self::Plain => bytes.clone(),
            Self::Zstd => zstd::bulk::compress(bytes, 1).unwrap().into(),
        }
    }

    fn unpack(self, bytes: Vec<u8>) -> Vec<u8> {
        match self {
            Self::Plain => bytes,
            Self::Zstd => zstd::decode_all(&bytes[..]).unwrap(),
        }
    }
}

/// What was answered over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Bytes,
}

/// A connection, and where it leads to.
#[derive(Clone)]
pub(crate) struct Client {
    host: String,
    channel: Channel,
    build: Option<String>,
    token: Option<String>,
}

/// Returns the digest that everything here is named by.
pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(DigestFunction::Sha256, bytes)
}

/// Returns a digest as the API writes it.
pub(crate) fn message(digest: Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().try_into().unwrap() }
}

/// Returns the name under which a blob is uploaded.
pub(crate) fn upload_name(digest: Digest, session: &str, form: Form) -> String {
    format!("uploads/{session}/{}/{}/{}", form.folder(), digest.hex(), digest.size())
}

/// Returns an absence as what it is.
pub(crate) fn found<T>(answered: Result<T, Status>) -> Result<Option<T>, Status> {
    match answered {
        Ok(found) => Ok(Some(found)),
        Err(status) if status.code() == Code::NotFound => Ok(None),
        Err(status) => Err(status),
    }
}

impl Client {
    /// Connects to where a server says that it is.
    pub(crate) async fn connect(address: &str) -> Self {
        let host = address.strip_prefix("http://").unwrap().to_owned();
        let endpoint = Endpoint::from_shared(address.to_owned()).unwrap();
        Self { host, channel: endpoint.connect().await.unwrap(), build: None, token: None }
    }

    /// Returns the same client on behalf of a build.
    pub(crate) fn of_build(&self, build: &str) -> Self {
        Self { build: Some(build.to_owned()), ..self.clone() }
    }

    /// Returns the same client with a token.
    pub(crate) fn with_token(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    pub(crate) fn blobs(&self) -> ContentAddressableStorageClient<Channel> {
        let client = ContentAddressableStorageClient::new(self.channel.clone());
        client.max_decoding_message_size(16 << 20).max_encoding_message_size(64 << 20)
    }

    fn results(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel.clone())
    }

    fn streams(&self) -> bytestream::byte_stream_client::ByteStreamClient<Channel> {
        bytestream::byte_stream_client::ByteStreamClient::new(self.channel.clone())
    }

    /// Returns a request with what it says of itself.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(build) = &self.build {
            let tool_invocation_id = build.clone();
            let said = reapi::RequestMetadata { tool_invocation_id, ..Default::default() };
            let said = MetadataValue::from_bytes(&said.encode_to_vec());
            request.metadata_mut().insert_bin(METADATA, said);
        }
        if let Some(token) = &self.token {
            let said = format!("Bearer {token}").parse().unwrap();
            request.metadata_mut().insert("authorization", said);
        }
        request
    }

    /// Returns which of those are not there.
    pub(crate) async fn missing(&self, asked: &[Digest]) -> Result<Vec<Digest>, Status> {
        let request = self.request(reapi::FindMissingBlobsRequest {
            blob_digests: asked.iter().copied().map(message).collect(),
            digest_function: SHA256,
            ..Default::default()
        });
        let answer = self.blobs().find_missing_blobs(request).await?.into_inner();
        let missing: std::collections::BTreeSet<_> =
            answer.missing_blob_digests.into_iter().map(|it| it.hash).collect();
        Ok(asked.iter().copied().filter(|it| missing.contains(&it.hex())).collect())
    }

    /// Writes blobs at once, and returns what was said of each.
    pub(crate) async fn update(&self, blobs: &[(Bytes, Form)]) -> Result<Vec<rpc::Status>, Status> {
        let request = |(bytes, form): &(Bytes, Form)| reapi::batch_update_blobs_request::Request {
            digest: Some(message(digest(bytes))),
            data: form.pack(bytes).to_vec(),
            compressor: form.number(),
        };
        let request = self.request(reapi::BatchUpdateBlobsRequest {
            requests: blobs.iter().map(request).collect(),
            digest_function: SHA256,
            ..Default::default()
        });
        let answer = self.blobs().batch_update_blobs(request).await?.into_inner();
        Ok(answer.responses.into_iter().map(|it| it.status.unwrap()).collect())
    }

    /// Reads blobs at once; what is not there is `None`.
    pub(crate) async fn batch_read(
        &self,
        asked: &[Digest],
    ) -> Result<BTreeMap<String, Option<Bytes>>, Status> {
        let request = self.request(reapi::BatchReadBlobsRequest {
            digests: asked.iter().copied().map(message).collect(),
            digest_function: SHA256,
            ..Default::default()
        });
        let answer = self.blobs().batch_read_blobs(request).await?.into_inner();
        let read = answer.responses.into_iter().map(|it| {
            let status = it.status.unwrap_or_default();
            let is_found = status.code == i32::from(Code::Ok);
            assert!(is_found || status.code == i32::from(Code::NotFound), "{status:?}");
            (it.digest.unwrap().hash, is_found.then(|| Bytes::from(it.data)))
        });
        Ok(read.collect())
    }

    /// Streams a blob from `offset` on, and says that it is all; `sent` is called before each piece.
    pub(crate) async fn write(
        &self,
        bytes: &Bytes,
        session: &str,
        form: Form,
        offset: usize,
        sent: impl Fn() + Send + 'static,
    ) -> Result<i64, Status> {
        let name = upload_name(digest(bytes), session, form);
        let pieces = pieces(&name, &form.pack(bytes), offset, true);
        self.stream(futures::stream::iter(pieces.into_iter().inspect(move |_| sent()))).await
    }

    /// Sends messages of an upload, whatever they are, and returns what was committed.
    pub(crate) async fn stream(
        &self,
        messages: impl futures::Stream<Item = bytestream::WriteRequest> + Send + 'static,
    ) -> Result<i64, Status> {
        let request = self.request(messages);
        Ok(self.streams().write(request).await?.into_inner().committed_size)
    }

    /// Streams a blob back; what is not there is `None`.
    pub(crate) async fn read(&self, digest: Digest, form: Form) -> Result<Option<Bytes>, Status> {
        let resource_name = format!("{}/{}/{}", form.folder(), digest.hex(), digest.size());
        let request = bytestream::ReadRequest { resource_name, ..Default::default() };
        let read = async {
            let mut answers = self.streams().read(self.request(request)).await?.into_inner();
            let mut bytes = Vec::new();
            while let Some(answer) = answers.message().await? {
                bytes.extend(answer.data);
            }
            Ok(bytes)
        };
        Ok(found(read.await)?.map(|bytes| form.unpack(bytes).into()))
    }

    /// Returns how much of an upload is there, and whether that is all.
    pub(crate) async fn status(&self, name: &str) -> Result<(u64, bool), Status> {
        let request = bytestream::QueryWriteStatusRequest { resource_name: name.to_owned() };
        let request = self.request(request);
        let answer = self.streams().query_write_status(request).await?.into_inner();
        Ok((answer.committed_size.try_into().unwrap(), answer.complete))
    }

    /// Records what an action came to.
    pub(crate) async fn record(
        &self,
        action: Digest,
        result: reapi::ActionResult,
    ) -> Result<(), Status> {
        let request = self.request(reapi::UpdateActionResultRequest {
            action_digest: Some(message(action)),
            action_result: Some(result),
            digest_function: SHA256,
            ..Default::default()
        });
        self.results().update_action_result(request).await.map(drop)
    }

    /// Returns what an action came to, if that is known.
    pub(crate) async fn lookup(
        &self,
        action: Digest,
    ) -> Result<Option<reapi::ActionResult>, Status> {
        let request = self.request(reapi::GetActionResultRequest {
            action_digest: Some(message(action)),
            digest_function: SHA256,
            ..Default::default()
        });
        let answered = self.results().get_action_result(request).await;
        found(answered.map(tonic::Response::into_inner))
    }

    /// Asks over HTTP. An answer that breaks off is an error.
    pub(crate) async fn http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&[u8]>,
    ) -> io::Result<Answer> {
        let mut stream = self.begin_http(method, path, headers, body.map(<[u8]>::len)).await?;
        // A server that needs no more than a part of it may answer before the end.
        let sent = stream.write_all(body.unwrap_or_default()).await;
        let mut received = Vec::new();
        match stream.read_to_end(&mut received).await {
            Err(error) if received.is_empty() => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let answer = parse(&received, method == "HEAD").ok_or(io::ErrorKind::UnexpectedEof);
        answer.map_err(|kind| sent.err().unwrap_or_else(|| kind.into()))
    }

    /// Sends the head of a request, and returns the connection.
    pub(crate) async fn begin_http(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        length: Option<usize>,
    ) -> io::Result<TcpStream> {
        let mut stream = TcpStream::connect(&self.host).await?;
        let host = &self.host;
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
        if let Some(length) = length {
            write!(head, "Content-Length: {length}\r\n").unwrap();
        }
        if let Some(token) = &self.token {
            write!(head, "Authorization: Bearer {token}\r\n").unwrap();
        }
        for (name, value) in headers {
            write!(head, "{name}: {value}\r\n").unwrap();
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await?;
        Ok(stream)
    }
}

/// Returns the messages of an upload from `offset` on.
pub(crate) fn pieces(
    name: &str,
    bytes: &Bytes,
    offset: usize,
    finish: bool,
) -> Vec<bytestream::WriteRequest> {
    let mut at = offset;
    let mut messages = Vec::new();
    while at < bytes.len() {
        let piece = bytes.slice(at..bytes.len().min(at + PIECE_BYTES));
        messages.push(bytestream::WriteRequest {
            resource_name: if at == offset { name.to_owned() } else { String::new() },
            write_offset: at.try_into().unwrap(),
            finish_write: finish && at + piece.len() == bytes.len(),
            data: piece.to_vec(),
        });
        at += piece.len();
    }
    if messages.is_empty() && finish {
        // All of it is there, and nobody has said so.
        let write_offset = at.try_into().unwrap();
        messages.push(bytestream::WriteRequest {
            resource_name: name.to_owned(),
            write_offset,
            finish_write: true,
            ..Default::default()
        });
    }
    messages
}

/// Messages that wait at some point until they are let on.
pub(crate) struct Held {
    reached: mpsc::UnboundedReceiver<()>,
    gate: Arc<Semaphore>,
}

impl Held {
    /// Returns once the messages wait.
    pub(crate) async fn reached(&mut self) {
        self.reached.recv().await.unwrap();
    }

    /// Lets them on.
    pub(crate) fn let_on(&self) {
        self.gate.close();
    }
}

/// Makes the first message that does not begin before `offset` wait, with all that follow.
pub(crate) fn hold(
    messages: Vec<bytestream::WriteRequest>,
    offset: i64,
) -> (impl futures::Stream<Item = bytestream::WriteRequest> + Send, Held) {
    let (reach, reached) = mpsc::unbounded_channel();
    let held = Held { reached, gate: Arc::new(Semaphore::new(0)) };
    let gate = Arc::clone(&held.gate);
    let stream = futures::stream::unfold(messages.into_iter(), move |mut left| {
        let (gate, reach) = (Arc::clone(&gate), reach.clone());
        async move {
            let message = left.next()?;
            if message.write_offset >= offset {
                // Nobody listens for the second time.
                let _ = reach.send(());
                let _ = gate.acquire().await;
            }
            Some((message, left))
        }
    });
    (stream, held)
}

/// Returns an answer, if it came whole.
fn parse(received: &[u8], is_head: bool) -> Option<Answer> {
    let end = received.windows(4).position(|it| it == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&received[..end]).unwrap();
    let (line, rest) = head.split_once("\r\n").unwrap_or((head, ""));
    let status = line.split(' ').nth(1)?.parse().unwrap();
    let headers = rest.split("\r\n").filter_map(|it| it.split_once(": "));
    let headers: BTreeMap<String, String> =
        headers.map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned())).collect();
    let mut body = Bytes::copy_from_slice(&received[end + 4..]);
    if headers.get("transfer-encoding").is_some_and(|it| it == "chunked") {
        body = unchunk(&body)?;
    }
    let length = headers.get("content-length").map(|it| it.parse::<usize>().unwrap());
    let is_whole = is_head || length.is_none_or(|it| it == body.len());
    is_whole.then_some(Answer { status, headers, body })
}

/// Returns what chunks hold, if the last one has come.
fn unchunk(mut chunks: &[u8]) -> Option<Bytes> {
    let mut whole = Vec::new();
    loop {
        let end = chunks.windows(2).position(|it| it == b"\r\n")?;
        let size = std::str::from_utf8(&chunks[..end]).unwrap();
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return Some(whole.into());
        }
        whole.extend_from_slice(chunks.get(end + 2..end + 2 + size)?);
        chunks = chunks.get(end + 4 + size..)?;
    }
}
