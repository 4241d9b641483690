//! Entering the sandbox of an action: what runs there instead of its command, and on whose streams.

use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

/// What runs in the sandbox of an action in place of its command. Nothing that it makes is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Session {
    /// What is run: a command, or nothing for a shell of the build root.
    pub command: Option<Vec<String>>,
    /// Whether the action's own command runs first, as in a build, and leaves what it leaves.
    pub after_command: bool,
    /// Whether the streams are a terminal that the session is to control.
    pub on_terminal: bool,
}

/// The streams of a session.
#[derive(Debug)]
pub struct SessionStreams {
    /// Standard input.
    pub stdin: OwnedFd,
    /// Standard output.
    pub stdout: OwnedFd,
    /// Standard error.
    pub stderr: OwnedFd,
}
