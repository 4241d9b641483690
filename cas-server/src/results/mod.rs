//! Results of actions.

mod accepted;
mod grpc;

pub(crate) use accepted::{Accepted, Unusable};
pub(crate) use grpc::ResultsService;
