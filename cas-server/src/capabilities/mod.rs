//! What the server can do, and what whoever asks may do.

mod grpc;

pub(crate) use grpc::CapabilitiesService;
