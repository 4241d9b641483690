//! The plain HTTP caches, over sockets.

mod bazel;
mod bodies;
mod client;
mod families;
mod hostile;
mod trust;
mod turbo;
