//! The server as its clients meet it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod admin;
mod assets;
mod blobs;
mod capabilities;
mod drain;
mod load;
mod metrics;
mod results;
mod serving;
mod status_page;
mod streams;
mod support;
mod trace;
mod uploads;
mod world;
