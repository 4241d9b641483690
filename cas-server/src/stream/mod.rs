//! Blobs as streams: any size, in pieces, from any offset, compressed or not.

mod grpc;
mod read;
mod resource;
mod write;

pub(crate) use grpc::StreamService;
