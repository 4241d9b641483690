//! What archives become, what is refused, and what comes of putting trees together.

#![expect(clippy::unwrap_used, reason = "tests may panic; helpers are outside #[test]")]
#![expect(clippy::panic, reason = "tests may panic; helpers are outside #[test]")]

mod codecs;
mod composing;
mod differences;
mod golden;
mod good;
mod hostile_deb;
mod hostile_tar;
mod hostile_zip;
mod operations;
mod properties;
mod raw;
mod support;
