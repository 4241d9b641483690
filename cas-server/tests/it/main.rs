//! The server as its clients meet it.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on has failed the test")]

mod asking;
mod config;
mod layer;
mod tokens;
