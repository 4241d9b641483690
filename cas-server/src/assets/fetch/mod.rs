//! Asking what an address stands for.

mod grpc;

pub(crate) use grpc::FetchService;
