//! Blobs by the batch, trees, and blobs as sequences of chunks.

mod answer;
mod compression;
mod grpc;
mod tree;

pub(crate) use compression::{compress, compress_if_smaller};
pub(crate) use grpc::BlobsService;
