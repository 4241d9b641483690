//! The server as its clients meet it.
#![expect(clippy::unwrap_used, reason = "a helper that cannot go on has failed the test")]

mod altered;
mod asking;
mod assets;
mod blobs;
mod capabilities;
mod config;
mod http;
mod layer;
mod load;
mod results;
mod streams;
mod support;
mod tokens;
mod uploads;
mod world;
