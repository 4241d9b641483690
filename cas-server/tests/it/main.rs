//! The server as its clients meet it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod altered;
mod blobs;
mod capabilities;
mod http;
mod results;
mod streams;
mod support;
mod world_http;
