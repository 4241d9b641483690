//! The store as its users see it: several at once, in threads and in processes, some of which are killed.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop where that happens")]

mod actions;
mod blobs;
mod children;
mod crashes;
mod degrading;
mod garbage;
mod leases;
mod promises;
mod segments;
mod support;
mod trees;
