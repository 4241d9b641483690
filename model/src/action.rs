//! Actions: everything that can influence what a command makes, and what it made.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::{Digest, RelativePath, SymlinkTarget, TreeDigest};

/// What is run (REAPI `Command`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Command {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// The whole environment: nothing else is inherited.
    pub environment: BTreeMap<String, String>,
    /// What is kept afterwards, relative to the working directory, sorted.
    pub output_paths: Vec<RelativePath>,
    /// Where the command starts, relative to the input root.
    pub working_directory: RelativePath,
}

/// What a machine must be to run an action, sorted by name (REAPI `Platform`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Platform(pub BTreeMap<String, String>);

/// One step of a build; its digest is its name (REAPI `Action`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The digest of the encoded [`Command`].
    pub command: Digest,
    /// The tree that the command sees as `/`.
    pub input_root: TreeDigest,
    /// A time-out, only where a rule declared one: it is part of the key.
    pub timeout: Option<Duration>,
    /// The version of what a sandbox shows (or of the built-in).
    pub salt: String,
    /// What the machine must be.
    pub platform: Platform,
}

/// A file that an action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// Where it was, relative to the working directory.
    pub path: RelativePath,
    /// The digest of its bytes.
    pub digest: Digest,
    /// Whether it may be executed.
    pub executable: bool,
}

/// A directory that an action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputDirectory {
    /// Where it was, relative to the working directory.
    pub path: RelativePath,
    /// The digest of the encoded `Tree` message, which lists every directory below.
    pub tree: Digest,
    /// The digest of the root directory, usable as an input as it is.
    pub root: TreeDigest,
}

/// A symbolic link that an action made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputSymlink {
    /// Where it was, relative to the working directory.
    pub path: RelativePath,
    /// Its target, verbatim.
    pub target: SymlinkTarget,
}

/// What is known about a run, none of it part of any key (REAPI `ExecutedActionMetadata`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExecutionMetadata {
    /// Who ran it.
    pub worker: String,
    /// How long the command ran, by the clock.
    pub wall: Duration,
    /// The processor time of the command and all its descendants.
    pub cpu: Duration,
}

/// What an action did (REAPI `ActionResult`). A failed command is a value, not an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ActionResult {
    /// The exit status; 128 + n if signal n ended the command.
    pub exit_code: i32,
    /// The files it made, by path.
    pub files: Vec<OutputFile>,
    /// The directories it made, by path.
    pub directories: Vec<OutputDirectory>,
    /// The links it made, by path.
    pub symlinks: Vec<OutputSymlink>,
    /// What it wrote to standard output, unless nothing.
    pub stdout: Option<Digest>,
    /// What it wrote to standard error, unless nothing.
    pub stderr: Option<Digest>,
    /// Who ran it and what it cost.
    pub metadata: ExecutionMetadata,
}

impl ActionResult {
    /// Returns whether another run made the same files, directories and links.
    pub fn makes_the_same(&self, other: &Self) -> bool {
        (&self.files, &self.directories, &self.symlinks)
            == (&other.files, &other.directories, &other.symlinks)
    }
}
