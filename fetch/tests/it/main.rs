//! Locking and fetching, against a mirror of our own and servers that misbehave.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where that happens")]

mod archives;
mod bench;
mod debian;
mod download;
mod git;
mod kernels;
mod lockfile;
mod resolve;
mod server;
mod sources;
mod tampering;
mod version;
mod world;
