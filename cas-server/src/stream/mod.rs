//! Blobs as streams: any size, in pieces, from any offset, compressed or not.

mod disk;
mod grpc;
mod read;
mod resource;
mod sessions;
mod write;

pub(crate) use grpc::StreamService;
