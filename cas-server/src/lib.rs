//! The front door of the cellar: the Remote Execution API, plain HTTP caches, and who may do what.

pub mod admin;
mod asked;
mod assets;
mod blobs;
mod caller;
mod capabilities;
pub mod completeness;
mod door;
mod drain;
pub mod fault;
pub mod front;
pub mod limits;
mod load;
mod metadata;
pub mod metrics;
pub mod observe;
mod operation;
mod results;
mod services;
mod stream;
pub mod trace;

pub use assets::Origins;
pub use caller::{Caller, Rights};
pub use door::{Door, Peer};
pub use drain::{Drain, Drained, Held, Phase};
pub use operation::Operation;
pub use services::router;
