//! The server as its clients meet it.
#![expect(clippy::unwrap_used, reason = "helpers of tests, too, may fail by panicking")]

mod admin;
mod drain;
mod metrics;
mod serving;
mod status_page;
