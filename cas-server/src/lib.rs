//! The front door of the cellar: the Remote Execution API, plain HTTP caches, and who may do what.

mod asked;
mod blobs;
mod caller;
mod capabilities;
pub mod completeness;
mod door;
pub mod fault;
pub mod front;
pub mod http;
pub mod limits;
mod metadata;
mod results;
mod services;
mod stream;
mod values;

pub use caller::{Caller, Rights};
pub use door::{Door, Peer};
pub use services::router;
