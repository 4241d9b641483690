//! What `bld` tells a sandbox's first process, and what that reports back.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{HOST_NAME, SANDBOX_ID, UMASK, USER_NAME};
use crate::Session;
use crate::layout::Layout;

/// How a sandbox is made on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rung {
    /// With a user namespace; what everybody should have.
    UserNamespace,
    /// By root, without a user namespace.
    Root,
    /// Not at all: results are never recorded.
    Bare,
}

/// One thing that a command sees, outermost first.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, below the root: no leading slash.
    pub at: String,
    /// What.
    pub kind: MountKind,
}

/// What a mount shows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountKind {
    /// A directory of the store, read-only.
    Tree(PathBuf),
    /// Directories of the store, read-only, the first on top.
    Layers(Vec<PathBuf>),
    /// A file of the store, read-only.
    File(PathBuf),
    /// A directory on the root's own file system, for what is shown below it.
    Folder,
    /// A link, made on the root's own file system.
    Link(String),
    /// A directory that may be written.
    Writable(PathBuf),
    /// A tree below a layer that takes the writes.
    Overlay {
        /// The tree.
        lower: PathBuf,
        /// Where writes go.
        upper: PathBuf,
        /// What the kernel needs beside it.
        work: PathBuf,
    },
}

/// What a command sees besides files. The default is what every action sees.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Surroundings {
    /// What the machine is called.
    pub host_name: String,
    /// What the user is called.
    pub user_name: String,
    /// The user's and group's number.
    pub id: u32,
    /// The permissions that are taken from new files.
    pub umask: u32,
    /// Whether there is one processor only.
    pub one_processor: bool,
}

impl Default for Surroundings {
    fn default() -> Self {
        Self {
            host_name: HOST_NAME.to_owned(),
            user_name: USER_NAME.to_owned(),
            id: SANDBOX_ID,
            umask: UMASK,
            one_processor: false,
        }
    }
}

/// What a sandbox's processes must know before they are told what to run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// How the sandbox is to be made.
    pub(crate) rung: Rung,
    /// What the command sees besides files.
    pub(crate) surroundings: Surroundings,
    /// Whether the clocks that count from the start of the machine are shifted, where that is possible.
    pub(crate) shifted_clocks: bool,
    /// The descriptors of a session's streams.
    pub(crate) streams: Option<[i32; 3]>,
    /// The control groups that it enters.
    pub(crate) cgroup: Vec<PathBuf>,
    /// Where its files lie.
    pub(crate) layout: Layout,
}

impl Beginning {
    /// Returns what every action's sandbox begins with, but for the places that each has of its own.
    pub(crate) fn of(rung: Rung) -> Self {
        Self {
            rung,
            surroundings: Surroundings::default(),
            shifted_clocks: false,
            streams: None,
            cgroup: Vec::new(),
            layout: Layout::default(),
        }
    }
}

/// What is run in a sandbox that has begun.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Spec {
    /// What the command sees, in mounting order.
    pub(crate) mounts: Vec<Mount>,
    /// The program and its arguments.
    pub(crate) arguments: Vec<String>,
    /// The whole environment.
    pub(crate) environment: BTreeMap<String, String>,
    /// Where the command starts, from the root: no leading slash.
    pub(crate) working_directory: String,
    /// How long the command may run, in milliseconds.
    pub(crate) time_ms: u64,
    /// How large a file may become, in bytes.
    pub(crate) file_bytes: u64,
    /// Whether trees that are small are listed the other way round.
    pub(crate) reversed: bool,
    /// What runs in place of the command.
    pub(crate) session: Option<Session>,
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// The exit status, unless a signal ended it.
    pub exit_code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// How long it ran, in microseconds.
    pub wall_us: u64,
    /// User and system time of it and all its descendants, in microseconds.
    pub cpu_us: u64,
}

/// A step of setting up that the system refused.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct SetupFailure {
    /// What was tried.
    pub(super) step: String,
    /// What the system said.
    pub(super) errno: i32,
}

/// The longest message that is read: a few hundred mounts and arguments of the system's own limit fit.
const MESSAGE_BYTES_MAX: u32 = 16 << 20;

/// Writes a message in one piece: its length, then JSON.
pub(super) fn send(message: &impl Serialize, to: &mut impl Write) -> io::Result<()> {
    // A store whose path is not UTF-8 is the one thing that cannot be said.
    let json = serde_json::to_vec(message)?;
    let length = u32::try_from(json.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_le_bytes()[..], &json].concat())?;
    to.flush()
}

/// Reads a message, and no more than that: whoever sent it may go on to live.
pub(super) fn receive<T: DeserializeOwned>(from: &mut impl Read) -> io::Result<T> {
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let length = u32::from_le_bytes(length);
    if length > MESSAGE_BYTES_MAX {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut json = vec![0; length as usize];
    from.read_exact(&mut json)?;
    serde_json::from_slice(&json).map_err(io::Error::from)
}
