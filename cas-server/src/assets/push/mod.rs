//! Saying what an address stands for.

mod grpc;

pub(crate) use grpc::PushService;
