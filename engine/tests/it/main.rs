//! What the study promises, seen from outside.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests may fail, and a test that fails says where"
)]
#![expect(clippy::needless_raw_string_hashes, reason = "so UPDATE_EXPECT=1 writes what it saw")]

mod actions;
mod attributes;
mod build;
mod config;
mod expected;
mod failures;
mod files;
mod fixture;
mod labels;
mod loading;
mod locks;
mod matrix;
mod origins;
mod providers;
mod queries;
mod receipts;
mod remote;
mod rules;
mod scale;
mod selects;
mod shards;
mod signatures;
mod snapshots;
mod surveys;
mod testing;
mod timeline;
mod vanished;
mod why;
mod workshop;
