//! The front door of the cellar: the Remote Execution API, plain HTTP caches, and who may do what.

mod caller;
mod drain;
pub mod metrics;
pub mod observe;

pub use caller::{Caller, Rights};
pub use drain::{Drain, Drained, Held, Phase};
