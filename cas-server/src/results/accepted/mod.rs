//! Results that are taken from clients, by whichever door they come.

mod grpc;

pub(crate) use grpc::{Accepted, Unusable};
