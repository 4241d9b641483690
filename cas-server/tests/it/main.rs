//! The server as its clients meet it.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that cannot go on has failed the test"
)]

mod admin;
mod altered;
mod asking;
mod assets;
mod blobs;
mod capabilities;
mod certificates;
mod config;
mod deploy;
mod door;
mod drain;
mod files;
mod http;
mod jwt;
mod layer;
mod load;
mod mangled;
mod metrics;
mod origins;
mod remote_store;
mod results;
mod serving;
mod status_page;
mod streams;
mod support;
mod tokens;
mod trace;
mod uploads;
mod world;
