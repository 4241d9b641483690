//! The server tried hard, as a process: killed at any instant, on a full disk, by many at once, with what others get wrong.

mod client;
mod crowd;
mod disk;
mod full;
mod fuzz;
mod hostile;
mod kills;
mod operating;
mod oracle;
mod raw;
mod resuming;
