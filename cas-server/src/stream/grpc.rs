//! The service `ByteStream`.

use futures::StreamExt;
use futures::stream::BoxStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};
use wire::proto::bytestream::byte_stream_server::{ByteStream, ByteStreamServer};
use wire::proto::bytestream::{
    QueryWriteStatusRequest, QueryWriteStatusResponse, ReadRequest, ReadResponse, WriteRequest,
    WriteResponse,
};

use super::disk::Here;
use super::read::read;
use super::resource::{Resource, UploadResource};
use super::sessions::Sessions;
use super::write::{Offsets, Writing, is_there, session};
use crate::Right;
use crate::fault;
use crate::front::{Front, View};
use crate::limits::STREAM_BYTES_MAX;
use crate::pieces::Wire;

/// Reads and writes blobs as streams.
#[derive(Clone)]
pub(crate) struct StreamService {
    front: Front,
    sessions: Sessions,
}

impl StreamService {
    /// Returns the service over that front.
    pub(crate) fn new(front: Front) -> Self {
        Self { front, sessions: Sessions::default() }
    }

    /// Returns the service as it is served.
    pub(crate) fn server(self) -> ByteStreamServer<Self> {
        let message_bytes = self.front.limits().message_bytes().min(STREAM_BYTES_MAX);
        ByteStreamServer::new(self).max_decoding_message_size(message_bytes)
    }
}

#[tonic::async_trait]
impl ByteStream for StreamService {
    type ReadStream = BoxStream<'static, Result<ReadResponse, Status>>;

    async fn read(
        &self,
        request: Request<ReadRequest>,
    ) -> Result<Response<Self::ReadStream>, Status> {
        let view = self.front.view(request.extensions()).with(Right::Read)?;
        let request = request.into_inner();
        let resource = Resource::parse(&request.resource_name)?;
        let pieces = read(&view, resource, request.read_offset, request.read_limit).await?;
        Ok(Response::new(pieces.map(|it| it.map(|data| ReadResponse { data })).boxed()))
    }

    async fn write(
        &self,
        request: Request<Streaming<WriteRequest>>,
    ) -> Result<Response<WriteResponse>, Status> {
        let view = self.front.view(request.extensions()).with(Right::WriteBlobs)?;
        let committed_size = receive(view, &self.sessions, request.into_inner()).await?;
        Ok(Response::new(WriteResponse { committed_size }))
    }

    async fn query_write_status(
        &self,
        request: Request<QueryWriteStatusRequest>,
    ) -> Result<Response<QueryWriteStatusResponse>, Status> {
        let view = self.front.view(request.extensions()).with(Right::WriteBlobs)?;
        let resource = UploadResource::parse(&request.into_inner().resource_name)?;
        let blob = resource.resource.blob;
        if is_there(&view, &resource).await? {
            let committed_size = blob.size().cast_signed();
            return Ok(Response::new(QueryWriteStatusResponse { committed_size, complete: true }));
        }
        // Nothing is known of how much of the blob a compressed upload has sent; and Bazel takes NOT_FOUND for a failure.
        let names: Vec<_> = blob.candidates().collect();
        let bytes = match resource.resource.wire {
            Wire::Identity => {
                let session = session(&view, &resource);
                Here::find(&view, &names, &session, &self.sessions).await?.bytes
            }
            Wire::Zstd => 0,
        };
        let committed_size = bytes.cast_signed();
        Ok(Response::new(QueryWriteStatusResponse { committed_size, complete: false }))
    }
}

/// Receives a blob. Returns how many bytes were committed, in the way that clients expect.
async fn receive(
    view: View,
    sessions: &Sessions,
    mut messages: Streaming<WriteRequest>,
) -> Result<i64, Status> {
    let (mut offsets, mut name) = (Offsets::default(), String::new());
    let mut uploading = view.observed.uploading();
    let mut writing = None;
    while let Some(message) =
        next(&mut messages, writing.as_ref().and_then(Writing::replaced)).await?
    {
        let bytes = message.data.len();
        if let Some(uploading) = &mut uploading {
            uploading.received(bytes as u64);
        }
        let first = offsets.pass(message.write_offset, bytes, message.finish_write)?;
        if let Some(offset) = first {
            name = message.resource_name;
            let resource = UploadResource::parse(&name)?;
            match Writing::begin(view.clone(), sessions, resource, offset).await? {
                Ok(begun) => writing = Some(begun),
                Err(committed) => return Ok(committed),
            }
        } else if !message.resource_name.is_empty() && message.resource_name != name {
            return Err(Status::invalid_argument("resource_name changed between messages"));
        }
        let writing = writing.as_mut().expect("the first message begins it");
        if bytes > 0
            && let Some(committed) = writing.write(message.data).await?
        {
            return Ok(committed);
        }
    }
    let writing = writing.ok_or_else(|| Status::invalid_argument("no message came"))?;
    if !offsets.is_finished() {
        return writing.suspend().await;
    }
    writing.finish().await?;
    Ok(offsets.committed())
}

/// Returns the next message of an upload, unless another stream goes on with it.
async fn next(
    messages: &mut Streaming<WriteRequest>,
    replaced: Option<&CancellationToken>,
) -> Result<Option<WriteRequest>, Status> {
    let Some(replaced) = replaced else { return messages.message().await };
    tokio::select! {
        biased;
        () = replaced.cancelled() => Err(fault::moved_on()),
        message = messages.message() => message,
    }
}
