//! A server over a store in memory, and an independent client of it.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::middleware;
use bazel_remote_apis::build::bazel::remote::execution::v2 as reapi;
use bazel_remote_apis::google::bytestream;
use bytes::Bytes;
use cas_server::metrics::Metrics;
use cas_server::observe::Observer;
use cas_server::{Caller, Door, Drain, Front, Limits, Operation, Origins, Rights};
use model::{Digest, DigestFunction};
use store::{Cellar, Namespace};
use testkit::MemoryStore;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Request, Status};

pub(crate) use reapi::action_cache_client::ActionCacheClient;
pub(crate) use reapi::capabilities_client::CapabilitiesClient;
pub(crate) use reapi::content_addressable_storage_client::ContentAddressableStorageClient;

/// REAPI's numbers of the functions.
pub(crate) const SHA256: i32 = 1;
pub(crate) const BLAKE3: i32 = 9;

/// A server, which ends with the test.
pub(crate) struct TestServer {
    pub(crate) store: MemoryStore,
    pub(crate) channel: Channel,
    address: SocketAddr,
}

impl TestServer {
    /// Starts a server where whoever calls may do everything.
    pub(crate) async fn start() -> Self {
        Self::start_for(trusted()).await
    }

    /// Starts a server where everybody is that caller.
    pub(crate) async fn start_for(caller: Caller) -> Self {
        let store = MemoryStore::new();
        Self::serve(store.clone(), Arc::new(store), caller).await
    }

    /// Starts a server over another store than one in memory.
    pub(crate) async fn start_over(cellar: Arc<dyn Cellar>) -> Self {
        Self::serve(MemoryStore::new(), cellar, trusted()).await
    }

    /// Returns a client of the same store that is somebody else.
    pub(crate) async fn and_for(&self, caller: Caller) -> Self {
        Self::serve(self.store.clone(), Arc::new(self.store.clone()), caller).await
    }

    /// Returns a client of the same server over another connection.
    pub(crate) async fn reconnect(&self) -> Self {
        let (store, address) = (self.store.clone(), self.address);
        Self { store, channel: connect(address).await, address }
    }

    async fn serve(store: MemoryStore, cellar: Arc<dyn Cellar>, caller: Caller) -> Self {
        let address = listen(cellar, caller, Vec::new(), Limits::default()).await;
        Self { store, channel: connect(address).await, address }
    }

    /// Returns a client of the same store behind a server that takes no more than that.
    pub(crate) async fn and_within(&self, limits: Limits) -> Self {
        let store = Arc::new(self.store.clone());
        let address = listen(store, trusted(), Vec::new(), limits).await;
        Self { store: self.store.clone(), channel: connect(address).await, address }
    }

    pub(crate) fn blobs(&self) -> ContentAddressableStorageClient<Channel> {
        ContentAddressableStorageClient::new(self.channel.clone())
    }

    pub(crate) fn results(&self) -> ActionCacheClient<Channel> {
        ActionCacheClient::new(self.channel.clone())
    }

    pub(crate) fn streams(&self) -> bytestream::byte_stream_client::ByteStreamClient<Channel> {
        bytestream::byte_stream_client::ByteStreamClient::new(self.channel.clone())
    }

    /// Uploads a blob and returns its digest.
    pub(crate) async fn upload(&self, bytes: &[u8]) -> reapi::Digest {
        let digest = digest(bytes);
        let request = reapi::batch_update_blobs_request::Request {
            digest: Some(digest.clone()),
            data: bytes.to_vec(),
            compressor: 0,
        };
        let request = reapi::BatchUpdateBlobsRequest {
            requests: vec![request],
            digest_function: SHA256,
            ..Default::default()
        };
        let answer = self.blobs().batch_update_blobs(request).await.unwrap().into_inner();
        assert_eq!(answer.responses[0].status.as_ref().unwrap().code, 0);
        digest
    }

    /// Returns what of a blob is read from `offset` on.
    pub(crate) async fn read(
        &self,
        name: &str,
        offset: i64,
        limit: i64,
    ) -> Result<Vec<u8>, Status> {
        let request = bytestream::ReadRequest {
            resource_name: name.to_owned(),
            read_offset: offset,
            read_limit: limit,
        };
        let mut answers = self.streams().read(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(answer) = answers.message().await? {
            bytes.extend(answer.data);
        }
        Ok(bytes)
    }

    /// Sends a blob in pieces from `offset` on, and returns what was committed.
    pub(crate) async fn write(
        &self,
        name: &str,
        offset: usize,
        pieces: &[&[u8]],
        finish: bool,
    ) -> Result<i64, Status> {
        let messages = pieces_from(name, offset, pieces, finish);
        let request = Request::new(tokio_stream::iter(messages));
        Ok(self.streams().write(request).await?.into_inner().committed_size)
    }

    /// Sends pieces of a blob from `offset` on, and falls silent.
    pub(crate) async fn fall_silent(&self, name: &str, offset: usize, pieces: &[&[u8]]) -> Silent {
        let (sender, receiver) = mpsc::channel(1);
        let mut client = self.streams();
        let answer = tokio::spawn(async move {
            let answer = client.write(ReceiverStream::new(receiver)).await?;
            Ok(answer.into_inner().committed_size)
        });
        let silent = Silent { sender, answer };
        silent.send(pieces_from(name, offset, pieces, false)).await;
        silent
    }

    /// Returns how much of an upload is here, and whether all is.
    pub(crate) async fn status(&self, name: &str) -> Result<(i64, bool), Status> {
        let request = bytestream::QueryWriteStatusRequest { resource_name: name.to_owned() };
        let answer = self.streams().query_write_status(request).await?.into_inner();
        Ok((answer.committed_size, answer.complete))
    }
}

/// An upload whose client has sent something, says no more, and does not say that either.
pub(crate) struct Silent {
    sender: mpsc::Sender<bytestream::WriteRequest>,
    answer: JoinHandle<Result<i64, Status>>,
}

impl Silent {
    async fn send(&self, messages: Vec<bytestream::WriteRequest>) {
        for message in messages {
            // Who was answered already need not listen.
            drop(self.sender.send(message).await);
        }
    }

    /// Returns what is answered though nothing more is said.
    pub(crate) async fn answered(self) -> Result<i64, Status> {
        let answer = self.answer.await.unwrap();
        drop(self.sender);
        answer
    }

    /// Sends the rest after all, and returns what is answered.
    pub(crate) async fn finish(self, offset: usize, pieces: &[&[u8]]) -> Result<i64, Status> {
        self.send(pieces_from("", offset, pieces, true)).await;
        drop(self.sender);
        self.answer.await.unwrap()
    }
}

fn pieces_from(
    name: &str,
    offset: usize,
    pieces: &[&[u8]],
    finish: bool,
) -> Vec<bytestream::WriteRequest> {
    let mut at = offset;
    let mut messages = Vec::new();
    for (nth, piece) in pieces.iter().enumerate() {
        messages.push(bytestream::WriteRequest {
            resource_name: if nth == 0 { name.to_owned() } else { String::new() },
            write_offset: at.try_into().unwrap(),
            finish_write: finish && nth + 1 == pieces.len(),
            data: piece.to_vec(),
        });
        at += piece.len();
    }
    messages
}

/// Serves a store that may fetch from below those addresses.
pub(crate) async fn serve_fetching(
    cellar: Arc<dyn Cellar>,
    caller: Caller,
    origins: Vec<String>,
) -> Channel {
    serve_with(cellar, caller, origins, Limits::default()).await
}

/// Serves a store within limits.
pub(crate) async fn serve_with(
    cellar: Arc<dyn Cellar>,
    caller: Caller,
    origins: Vec<String>,
    limits: Limits,
) -> Channel {
    let listening = listen(cellar, caller, origins, limits).await;
    connect(listening).await
}

async fn connect(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    endpoint.connect().await.unwrap()
}

/// Serves a store to one caller, and returns where.
pub(crate) async fn serve_listening(store: MemoryStore, caller: Caller) -> SocketAddr {
    listen(Arc::new(store), caller, Vec::new(), Limits::default()).await
}

async fn listen(
    cellar: Arc<dyn Cellar>,
    caller: Caller,
    origins: Vec<String>,
    limits: Limits,
) -> SocketAddr {
    let caller = Arc::new(caller);
    let identify =
        middleware::from_fn(move |mut request: axum::extract::Request, next: middleware::Next| {
            request.extensions_mut().insert(Arc::clone(&caller));
            next.run(request)
        });
    let drain = Drain::new();
    let metrics = Arc::new(Metrics::new());
    let observer = Observer::new(Arc::clone(&metrics));
    let operation = Operation::new(Arc::clone(&cellar), observer, drain.clone());
    let front = Front::new(cellar, limits.clone());
    let router = cas_server::router(front, Origins::new(origins), operation, identify).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        Door::new(router, limits.connections, drain, metrics).serve_tcp(listener).await;
    });
    address
}

/// Returns somebody who may do everything and is believed by everybody.
pub(crate) fn trusted() -> Caller {
    caller("somebody", Rights::ALL, Namespace::Trusted)
}

/// Returns a caller who writes to that namespace.
pub(crate) fn caller(name: &str, rights: Rights, namespace: Namespace) -> Caller {
    let reads = namespace.reads().into();
    Caller { name: name.into(), rights, namespace, reads }
}

/// Returns the digest of bytes, by SHA-256, as the API writes it.
pub(crate) fn digest(bytes: &[u8]) -> reapi::Digest {
    message(Digest::of(DigestFunction::Sha256, bytes))
}

/// Returns a digest as the API writes it.
pub(crate) fn message(digest: Digest) -> reapi::Digest {
    reapi::Digest { hash: digest.hex(), size_bytes: digest.size().try_into().unwrap() }
}

/// Returns bytes that do not compress and are the same each time.
pub(crate) fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(&mut next).take(count).collect()
}

/// Returns bytes as a zstd frame.
pub(crate) fn zstd(bytes: &[u8]) -> Vec<u8> {
    zstd::bulk::compress(bytes, 3).unwrap()
}

/// Returns what zstd frames hold.
pub(crate) fn unzstd(bytes: &[u8]) -> Vec<u8> {
    zstd::stream::decode_all(Bytes::copy_from_slice(bytes).as_ref()).unwrap()
}
