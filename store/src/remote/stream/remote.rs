//! The calls of `ByteStream`.

use bytes::Bytes;
use futures::Stream;
use tonic::{Status, Streaming};
use wire::proto::bytestream::byte_stream_client::ByteStreamClient;
use wire::proto::bytestream::{QueryWriteStatusRequest, ReadRequest, ReadResponse, WriteRequest};

use crate::remote::connection::Call;
use crate::remote::line::Line;

/// How large a piece that arrives may be, in bytes: what servers send is at most half of it.
const PIECE_BYTES_MAX: usize = 4 << 20;

/// A piece of an upload.
pub(super) struct Piece {
    /// Where it begins, on the wire.
    pub(super) offset: u64,
    pub(super) bytes: Bytes,
    pub(super) is_last: bool,
}

/// The pieces of a download.
pub(super) struct Pieces(Streaming<ReadResponse>);

impl Pieces {
    /// Returns the next piece, or `None` at the end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Status> {
        Ok(self.0.message().await?.map(|message| message.data))
    }
}

fn client(call: &Call) -> ByteStreamClient<Line> {
    ByteStreamClient::new(call.channel.clone()).max_decoding_message_size(PIECE_BYTES_MAX)
}

/// Begins to read from `offset` on.
pub(super) async fn read(call: &Call, name: String, offset: u64) -> Result<Pieces, Status> {
    let read_offset = i64::try_from(offset).map_err(|_source| Status::out_of_range("too large"))?;
    let request = ReadRequest { resource_name: name, read_offset, read_limit: 0 };
    Ok(Pieces(client(call).read(call.request(request)).await?.into_inner()))
}

/// Writes pieces, and returns how many bytes were committed.
pub(super) async fn write(
    call: &Call,
    name: String,
    pieces: impl Stream<Item = Piece> + Send + 'static,
) -> Result<i64, Status> {
    use futures::StreamExt as _;
    let mut name = Some(name);
    let messages = pieces.map(move |piece| WriteRequest {
        resource_name: name.take().unwrap_or_default(),
        write_offset: piece.offset.cast_signed(),
        finish_write: piece.is_last,
        data: piece.bytes,
    });
    let answered = client(call).write(call.request(messages)).await?;
    Ok(answered.into_inner().committed_size)
}

/// Returns how much of an upload is there, and whether all is.
pub(super) async fn query(call: &Call, name: String) -> Result<(i64, bool), Status> {
    let request = call.request(QueryWriteStatusRequest { resource_name: name });
    let answer = client(call).query_write_status(request).await?.into_inner();
    Ok((answer.committed_size, answer.complete))
}
