//! The server tried hard, as a process: killed at any instant, on a full disk, by many at once, with what others get wrong.

mod client;
mod disk;
mod full;
mod kills;
mod oracle;
