//! The service `ContentAddressableStorage`.

use std::collections::BTreeSet;
use std::num::NonZero;
use std::sync::Arc;

use bytes::Bytes;
use futures::stream::BoxStream;
use model::Digest;
use prost::Message as _;
use store::{Blob, StoreError};
use tokio::sync::Semaphore;
use tonic::{Request, Response, Status};
use wire::details;
use wire::elements::ELEMENT_BYTES;
use wire::encode::digest_message;
use wire::proto::reapi::content_addressable_storage_server::{
    ContentAddressableStorage, ContentAddressableStorageServer,
};
use wire::proto::reapi::{
    self, BatchReadBlobsRequest, BatchReadBlobsResponse, BatchUpdateBlobsRequest,
    BatchUpdateBlobsResponse, FindMissingBlobsRequest, FindMissingBlobsResponse, GetTreeRequest,
    GetTreeResponse, SpliceBlobRequest, SpliceBlobResponse, SplitBlobRequest, SplitBlobResponse,
    batch_read_blobs_response, batch_update_blobs_request, batch_update_blobs_response,
    chunking_function, compressor,
};
use wire::proto::rpc;

use super::answer::{Answer, refuse_large};
use super::compression::{compress_if_smaller, decompress};
use super::tree::{self, PageToken};
use crate::asked::{self, Asked};
use crate::fault;
use crate::front::{Front, View};
use crate::limits::{BATCH_BYTES_MAX, CHUNKS_MAX};
use crate::metrics::{Kind, Lookups};
use crate::{Denied, Right};

/// Answers everything about blobs but streams.
#[derive(Clone)]
pub(crate) struct BlobsService {
    front: Front,
    /// Who puts blobs together: that is hashing, as much as a request of a few megabytes likes to name.
    splicing: Arc<Semaphore>,
}

impl BlobsService {
    /// Returns the service over that front.
    pub(crate) fn new(front: Front) -> Self {
        let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
        Self { front, splicing: Arc::new(Semaphore::new(threads)) }
    }

    /// Returns the service as it is served.
    pub(crate) fn server(self) -> ContentAddressableStorageServer<Self> {
        let message_bytes = self.front.limits().message_bytes();
        ContentAddressableStorageServer::new(self).max_decoding_message_size(message_bytes)
    }

    fn reading<T>(&self, request: &Request<T>) -> Result<View, Denied> {
        self.front.view(request.extensions()).with(Right::Read)
    }

    fn writing<T>(&self, request: &Request<T>) -> Result<View, Denied> {
        self.front.view(request.extensions()).with(Right::WriteBlobs)
    }
}

#[tonic::async_trait]
impl ContentAddressableStorage for BlobsService {
    async fn find_missing_blobs(
        &self,
        request: Request<FindMissingBlobsRequest>,
    ) -> Result<Response<FindMissingBlobsResponse>, Status> {
        let view = self.front.view(request.extensions());
        // Whoever may only write has to know what he need not send.
        let view = if view.caller.rights.write_blobs { view } else { view.with(Right::Read)? };
        let request = request.into_inner();
        let functions = asked::functions(request.digest_function)?;
        let parse = |it: &reapi::Digest| Asked::new(functions, &it.hash, it.size_bytes);
        let asked = request.blob_digests.iter().map(parse).collect::<Result<Vec<_>, _>>()?;

        let candidates: BTreeSet<_> = asked.iter().flat_map(|it| it.candidates()).collect();
        let missing = view.cellar.find_missing(candidates).await.map_err(fault::of_store)?;
        let is_missing = |it: &Asked| it.candidates().all(|digest| missing.contains(&digest));
        let pairs = asked.iter().zip(request.blob_digests);
        let absent = pairs.filter(|(it, _)| is_missing(it)).map(|(_, digest)| digest);
        let absent: Vec<_> = absent.collect();
        view.observed.asked((asked.len() - absent.len()) as u64, absent.len() as u64);
        Ok(Response::new(FindMissingBlobsResponse { missing_blob_digests: absent }))
    }

    async fn batch_update_blobs(
        &self,
        request: Request<BatchUpdateBlobsRequest>,
    ) -> Result<Response<BatchUpdateBlobsResponse>, Status> {
        let view = self.writing(&request)?;
        let request = request.into_inner();
        let functions = asked::functions(request.digest_function)?;
        let sizes = request.requests.iter().map(|it| claimed_bytes(it.digest.as_ref()));
        refuse_large_batch(sizes)?;

        let mut answer = Answer::with_capacity(request.requests.len());
        for blob in &request.requests {
            let digest = blob.digest.clone();
            answer.add(batch_update_blobs_response::Response { digest, status: Some(ok()) })?;
        }
        for (nth, blob) in request.requests.into_iter().enumerate() {
            if let Err(status) = update(&view, functions, blob).await {
                let told = answer.change(nth, |it| it.status = Some(details::part(&status)));
                // If so much went wrong that it cannot all be told, this will do.
                told.map_err(|_too_large| status)?;
            }
        }
        Ok(Response::new(BatchUpdateBlobsResponse { responses: answer.into_parts() }))
    }

    async fn batch_read_blobs(
        &self,
        request: Request<BatchReadBlobsRequest>,
    ) -> Result<Response<BatchReadBlobsResponse>, Status> {
        let view = self.reading(&request)?;
        let request = request.into_inner();
        let functions = asked::functions(request.digest_function)?;
        let sum = refuse_large_batch(request.digests.iter().map(|it| claimed_bytes(Some(it))))?;
        view.memory.hold(sum)?;
        let zstd = request.acceptable_compressors.contains(&compressor::Value::Zstd.into());
        let mut lookups = Lookups::default();

        let mut answer = Answer::with_capacity(request.digests.len());
        for digest in request.digests {
            let asked = Asked::new(functions, &digest.hash, digest.size_bytes);
            let read = async { read_bytes(&view, asked?).await }.await;
            let count = if read.is_ok() { &mut lookups.hits } else { &mut lookups.misses };
            *count += 1;
            answer.add(batch_response(digest, read, zstd))?;
        }
        view.observed.looked_up(Kind::Blob, lookups);
        Ok(Response::new(BatchReadBlobsResponse { responses: answer.into_parts() }))
    }

    type GetTreeStream = BoxStream<'static, Result<GetTreeResponse, Status>>;

    async fn get_tree(
        &self,
        request: Request<GetTreeRequest>,
    ) -> Result<Response<Self::GetTreeStream>, Status> {
        let view = self.reading(&request)?;
        let request = request.into_inner();
        let root = parse(request.digest_function, request.root_digest.as_ref())?;
        let token = PageToken::parse(&request.page_token)?;
        // No page may be larger than the client asks for; 0 leaves it to us.
        let page = usize::try_from(request.page_size).unwrap_or(0);
        let root = find(&view, root).await?;
        Ok(Response::new(tree::pages(view, root, page, token)))
    }

    async fn split_blob(
        &self,
        request: Request<SplitBlobRequest>,
    ) -> Result<Response<SplitBlobResponse>, Status> {
        let view = self.reading(&request)?;
        let request = request.into_inner();
        let asked = parse(request.digest_function, request.blob_digest.as_ref())?;
        for digest in asked.candidates() {
            let chunks = view.cellar.split(digest).await.map_err(fault::of_store)?;
            if let Some(chunks) = chunks {
                view.memory.hold(chunks.len() * ELEMENT_BYTES)?;
                let response = SplitBlobResponse {
                    chunk_digests: chunks.into_iter().map(digest_message).collect(),
                    chunking_function: chunking_function::Value::FastCdc2020.into(),
                };
                refuse_large(response.encoded_len())?;
                return Ok(Response::new(response));
            }
        }
        Err(absent(asked))
    }

    async fn splice_blob(
        &self,
        request: Request<SpliceBlobRequest>,
    ) -> Result<Response<SpliceBlobResponse>, Status> {
        let view = self.writing(&request)?;
        let request = request.into_inner();
        if request.chunk_digests.len() > CHUNKS_MAX {
            let why = format!("a blob consists of at most {CHUNKS_MAX} chunks");
            return Err(Status::invalid_argument(why));
        }
        let blob = parse(request.digest_function, request.blob_digest.as_ref())?;
        let mut chunks = Vec::with_capacity(request.chunk_digests.len());
        for chunk in &request.chunk_digests {
            chunks.push(parse(request.digest_function, Some(chunk))?);
        }
        let sum = chunks.iter().try_fold(0_u64, |sum, it| sum.checked_add(it.size()));
        if sum != Some(blob.size()) {
            let why = format!("the chunks do not have {} bytes together", blob.size());
            return Err(Status::invalid_argument(why));
        }
        view.refuse_large(blob.size())?;
        if find(&view, blob).await.is_err() {
            let _permit = self.splicing.acquire().await.expect("it is never closed");
            splice(&view, blob, &chunks).await?;
        }
        Ok(Response::new(SpliceBlobResponse { blob_digest: request.blob_digest }))
    }
}

/// Puts a blob together, by whichever function has its chunks.
async fn splice(view: &View, blob: Asked, chunks: &[Asked]) -> Result<(), Status> {
    let mut refusal = absent(blob);
    for (nth, digest) in blob.candidates().enumerate() {
        let nth_of = |it: &Asked| it.candidates().nth(nth).expect("all have the same functions");
        let chunks: Vec<_> = chunks.iter().map(nth_of).collect();
        match view.cellar.splice(digest, &chunks).await {
            Ok(()) => return Ok(()),
            Err(error @ StoreError::Missing { .. }) => refusal = fault::of_store(error),
            Err(error) => return Err(fault::of_store(error)),
        }
    }
    Err(refusal)
}

fn parse(function: i32, digest: Option<&reapi::Digest>) -> Result<Asked, Status> {
    let digest = digest.ok_or_else(|| Status::invalid_argument("a digest is missing"))?;
    Asked::new(asked::functions(function)?, &digest.hash, digest.size_bytes)
}

/// Returns the one of the digests that is here.
async fn find(view: &View, asked: Asked) -> Result<Digest, Status> {
    let missing =
        view.cellar.find_missing(asked.candidates().collect()).await.map_err(fault::of_store)?;
    asked.candidates().find(|it| !missing.contains(it)).ok_or_else(|| absent(asked))
}

fn absent(asked: Asked) -> Status {
    fault::absent(asked.candidates().next().expect("there is at least one function"))
}

/// Returns the whole blob: what a batch may ask for fits into memory.
async fn read_bytes(view: &View, asked: Asked) -> Result<Bytes, Status> {
    for digest in asked.candidates() {
        let blob = view.cellar.read(digest).await.map_err(fault::of_store)?;
        match blob {
            None => {}
            Some(Blob::Bytes(bytes)) => return Ok(bytes),
            Some(blob) => {
                let read = tokio::task::spawn_blocking(move || blob.into_bytes());
                let read = read.await.expect("reading does not panic");
                return read.map_err(|source| fault::of_store(StoreError::Input { source }));
            }
        }
    }
    Err(absent(asked))
}

async fn update(
    view: &View,
    functions: &'static [model::DigestFunction],
    blob: batch_update_blobs_request::Request,
) -> Result<(), Status> {
    let digest = blob.digest.ok_or_else(|| Status::invalid_argument("a digest is missing"))?;
    let asked = Asked::new(functions, &digest.hash, digest.size_bytes)?;
    let bytes = match compressor::Value::try_from(blob.compressor) {
        Ok(compressor::Value::Identity) => blob.data,
        Ok(compressor::Value::Zstd) => {
            let size = usize::try_from(asked.size()).expect("a batch fits into memory");
            let _held = view.memory.take(size)?;
            let bytes = decompress(&blob.data, size);
            bytes.ok_or_else(|| Status::invalid_argument("this is no zstd of that many bytes"))?
        }
        _ => return Err(Status::invalid_argument("only IDENTITY and ZSTD are served")),
    };
    view.cellar.write(asked.of(&bytes), Blob::Bytes(bytes)).await.map_err(fault::of_store)
}

fn batch_response(
    digest: reapi::Digest,
    read: Result<Bytes, Status>,
    zstd: bool,
) -> batch_read_blobs_response::Response {
    let mut response =
        batch_read_blobs_response::Response { digest: Some(digest), ..Default::default() };
    let bytes = match read {
        Ok(bytes) => bytes,
        Err(status) => {
            response.status = Some(details::part(&status));
            return response;
        }
    };
    response.status = Some(ok());
    match zstd.then(|| compress_if_smaller(&bytes)).flatten() {
        Some(compressed) => {
            response.data = compressed;
            response.compressor = compressor::Value::Zstd.into();
        }
        None => response.data = bytes,
    }
    response
}

fn claimed_bytes(digest: Option<&reapi::Digest>) -> u64 {
    digest.and_then(|it| u64::try_from(it.size_bytes).ok()).unwrap_or(0)
}

/// Returns how many bytes the blobs of a batch have, if it may have so many.
fn refuse_large_batch(sizes: impl Iterator<Item = u64>) -> Result<usize, Status> {
    let sum = sizes.fold(0, u64::saturating_add);
    if sum <= BATCH_BYTES_MAX {
        return Ok(usize::try_from(sum).expect("a batch fits into memory"));
    }
    let why = format!("the blobs have {sum} bytes; a batch may have {BATCH_BYTES_MAX}");
    Err(Status::invalid_argument(why))
}

fn ok() -> rpc::Status {
    rpc::Status::default()
}
