//! The encoding against known bytes, and the generated code against its source.
#![expect(clippy::unwrap_used, reason = "tests")]

mod elements;
mod generated;
mod hostile;
mod references;
mod vectors;
