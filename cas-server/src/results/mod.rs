//! Results of actions.

mod grpc;

pub(crate) use grpc::ResultsService;
