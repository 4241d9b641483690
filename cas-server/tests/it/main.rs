//! The server as its clients meet it.
#![expect(clippy::unwrap_used, reason = "tests")]

mod assets;
mod blobs;
mod capabilities;
mod load;
mod results;
mod streams;
mod support;
mod uploads;
mod world;
