//! The door: the real binary, each test with a workspace and a store of its own.
//!
//! Most of these tests need the machine's Debian mirror, once: [`base`] locks a few kernels and two compilers,
//! and what was downloaded then serves all the others as a `file://` mirror.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a helper that cannot go on has failed the test"
)]

mod affected;
mod archives;
mod base;
mod beginnings;
mod boxes;
mod browser;
mod cache;
mod cells;
mod choosing;
mod completion;
mod crashes;
mod crowds;
mod events;
mod grid;
mod hermetic;
mod loadtest;
mod locks;
mod machine;
mod machines;
mod measuring;
mod operating;
mod pages;
mod plans;
mod pty;
mod queries;
mod random;
mod receipts;
mod remotes;
mod running;
mod served;
mod servers;
mod shells;
mod tampering;
mod terminal;
mod testing;
mod trials;
mod verifying;
mod watching;
mod why;
mod words;
