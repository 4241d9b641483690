//! Debian: sources, signatures, indexes, versions, and what needs what.

pub(crate) mod indexes;
pub mod kernels;
pub mod package;
pub mod relation;
pub mod release;
pub mod resolve;
pub mod signature;
pub mod sources;
pub mod universe;
pub mod version;
