//! The front door of the cellar: the Remote Execution API, plain HTTP caches, and who may do what.

mod asked;
mod assets;
mod blobs;
mod caller;
mod capabilities;
pub mod completeness;
mod door;
pub mod fault;
pub mod front;
pub mod limits;
mod load;
mod metadata;
mod results;
mod services;
mod stream;

pub use assets::Origins;
pub use caller::{Caller, Rights};
pub use door::{Door, Peer};
pub use services::router;
