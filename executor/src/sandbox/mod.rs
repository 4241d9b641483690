//! The strict sandbox: what a command sees, and nothing more.
//!
//! `bld` starts itself again ([`run_if_asked`] is the first thing that `main` does). That process makes the namespaces;
//! its child is the sandbox's init: it mounts what every command sees, and waits until it is told what to run. Then it
//! mounts what that command may see besides, starts it, reaps what is orphaned, and ends everything when the command
//! ends, when its time is up, or when the pipe that `bld` holds closes.

mod command;
mod confine;
mod copy;
mod entered;
mod filter;
mod first;
mod init;
mod keeper;
mod linux;
mod probe;
mod reversed;
mod root;
mod spec;

pub use confine::{confine, wait_until_closed};
pub(crate) use first::Lifeline;
pub(crate) use init::NO_SHELL;
pub use init::run_if_asked;
pub(crate) use keeper::{Keeper, Sandbox};
pub(crate) use probe::first_working;
pub use probe::{Probe, probe};
pub(crate) use spec::{Beginning, Spec};
pub use spec::{Mount, MountKind, Outcome, Rung, Surroundings};

use crate::cgroup::Cgroup;

/// The version of what a sandbox shows: /dev, passwd, uid, host name, umask, limits. Part of every key.
pub const SANDBOX_SALT: &str = "bld-sandbox-1";

/// The user and group that every command runs as.
pub const SANDBOX_ID: u32 = 1000;

/// The permissions that are taken from new files.
pub(crate) const UMASK: u32 = 0o022;

/// The host name that every command sees.
pub const HOST_NAME: &str = "bld";

/// What the user is called that every command runs as.
pub(crate) const USER_NAME: &str = "bld";

/// The exit code of a command whose program is not there; the same as a shell's.
pub(crate) const NOT_FOUND_EXIT_CODE: i32 = 127;

/// The exit code of a command whose program cannot be executed; the same as a shell's.
pub(crate) const NOT_EXECUTABLE_EXIT_CODE: i32 = 126;

/// The word that makes `bld` a sandbox's first process.
const ARGUMENT: &str = "__sandbox";

/// Returns whether limits on memory and processes can be kept here.
pub fn limits_are_kept() -> bool {
    Cgroup::make(&crate::Limits::default()).is_some()
}
