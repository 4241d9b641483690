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
mod failures;
mod files;
mod fixture;
mod labels;
mod loading;
mod locks;
mod matrix;
mod providers;
mod queries;
mod rules;
mod scale;
mod selects;
mod shards;
mod signatures;
mod surveys;
mod vanished;
mod workshop;
