//! The plain HTTP caches, over sockets.

mod bazel;
mod bodies;
pub(crate) mod client;
mod families;
mod hostile;
mod http2;
mod kept;
mod trust;
mod turbo;

pub(crate) use client::HttpServer;
