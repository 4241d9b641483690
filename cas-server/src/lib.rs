//! The front door of the cellar: the Remote Execution API, plain HTTP caches, and who may do what.

mod caller;

pub use caller::{Caller, Rights};
