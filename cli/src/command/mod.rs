//! The commands, one file each: what can be typed after its name, and what it does.

pub(crate) mod affected;
pub(crate) mod bench;
pub(crate) mod build;
pub(crate) mod builds;
pub(crate) mod cache;
pub(crate) mod clean;
pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod diff;
pub(crate) mod doctor;
pub(crate) mod failures;
pub(crate) mod init;
pub(crate) mod lock;
pub(crate) mod log;
pub(crate) mod man;
pub(crate) mod plan;
pub(crate) mod query;
pub(crate) mod run;
pub(crate) mod server;
pub(crate) mod shell;
pub(crate) mod test;
pub(crate) mod verify;
pub(crate) mod why;
