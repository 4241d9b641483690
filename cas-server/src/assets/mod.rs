//! What addresses stand for: pushed by those who are believed, or fetched from where that is allowed.

mod download;
mod grpc;
mod integrity;
mod qualifiers;

pub use download::Origins;
pub(crate) use grpc::{FetchService, PushService};
