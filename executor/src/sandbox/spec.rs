//! What `bld` tells a sandbox's first process, and what that reports back.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

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

impl Rung {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::UserNamespace => "user-namespace",
            Self::Root => "root",
            Self::Bare => "bare",
        }
    }

    pub(super) fn parse(name: &str) -> Option<Self> {
        [Self::UserNamespace, Self::Root].into_iter().find(|rung| rung.name() == name)
    }
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

/// Everything that a sandbox's first process needs to know.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Spec {
    /// How it is to be made.
    pub rung: Rung,
    /// An empty directory to build the root on.
    pub root: PathBuf,
    /// What the command sees, in mounting order.
    pub mounts: Vec<Mount>,
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// The whole environment.
    pub environment: BTreeMap<String, String>,
    /// Where the command starts, from the root: no leading slash.
    pub working_directory: String,
    /// The file that takes standard output.
    pub stdout: PathBuf,
    /// The file that takes standard error.
    pub stderr: PathBuf,
    /// How long the command may run, in milliseconds.
    pub time_ms: u64,
    /// How large a file may become, in bytes.
    pub file_bytes: u64,
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
