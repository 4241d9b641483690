//! The server as its clients meet it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that cannot go on has failed the test"
)]

mod asking;
mod assets;
mod blobs;
mod capabilities;
mod certificates;
mod config;
mod jwt;
mod layer;
mod load;
mod results;
mod streams;
mod support;
mod tokens;
mod uploads;
mod world;
