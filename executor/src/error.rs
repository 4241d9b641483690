//! What can go wrong with the machinery that runs actions.

use std::path::PathBuf;

use model::{Digest, RelativePath};
use store::{DraftError, StoreError};

/// A failure of the machinery; a command that fails is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A tree could not be put together.
    #[error(transparent)]
    Draft(#[from] DraftError),
    /// An input is nowhere to be had.
    #[error(
        "the input tree {digest} (at /{path}) is not to be had: it is neither in the store, nor locked, nor made by an action of this build"
    )]
    MissingInput {
        /// The tree's or file's digest.
        digest: Digest,
        /// Where the action wants it.
        path: RelativePath,
    },
    /// The sandbox could not be set up.
    #[error("cannot set up the sandbox: {step} failed; `bld doctor` says what this machine lacks")]
    Sandbox {
        /// What was tried.
        step: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// The sandbox's first process said something that nobody understands, or nothing.
    #[error("the sandbox ended without a report")]
    NoReport {
        /// What is wrong with the report.
        source: std::io::Error,
    },
    /// The build root has no shell.
    #[error(
        "the action's build root has no /bin/sh, so there is no shell to open; `-- COMMAND` runs another program in it"
    )]
    NoShell,
    /// No sandbox can be had here.
    #[error(
        "this machine lets nobody make a sandbox (no user namespaces, and not root); `bld doctor` says how to mend it"
    )]
    NoSandbox,
    /// An action with a build root cannot run without a sandbox.
    #[error("the action needs a build root, which `--sandbox=none` cannot show it")]
    NeedsSandbox,
    /// A scratch file could not be used.
    #[error("cannot {verb} {}", path.display())]
    Disk {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// An output is something that trees cannot say.
    #[error("the output `{path}` {why}")]
    Output {
        /// Where it is.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The outputs are too large.
    #[error("the outputs have more than {limit} bytes")]
    OutputSize {
        /// The limit.
        limit: u64,
    },
    /// The outputs are too many.
    #[error("the outputs are more than {limit} files, links and directories")]
    OutputEntries {
        /// The limit.
        limit: u64,
    },
    /// A declared output lies where no action of `bld` may write.
    #[error("the output `{0}` is not below out/, where outputs are kept")]
    OutputPlace(RelativePath),
    /// The input root has something where the sandbox cannot show it.
    #[error("the input root's `{path}` {why}")]
    InputRoot {
        /// Where it is.
        path: RelativePath,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The working directory is not a directory of its own at the root.
    #[error(
        "the working directory `/{0}` is not one name at the root that the sandbox leaves free"
    )]
    WorkingDirectory(RelativePath),
    /// There is no such built-in.
    #[error("there is no built-in `{name}` of version `{version}`")]
    UnknownBuiltin {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
    },
    /// A built-in was called with arguments that it cannot read.
    #[error("the built-in's arguments are malformed")]
    BuiltinArguments {
        /// What is wrong with them.
        source: serde_json::Error,
    },
}

impl ExecuteError {
    /// Returns a function that wraps what the system said of `verb` on `path`.
    pub(crate) fn disk<E: Into<std::io::Error>>(
        verb: &'static str,
        path: &std::path::Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { verb, path, source: source.into() }
    }

    /// Returns whether the action, not the machine, is to blame: then its neighbours go on.
    pub fn is_action_fault(&self) -> bool {
        match self {
            Self::Output { .. }
            | Self::OutputSize { .. }
            | Self::OutputPlace(_)
            | Self::OutputEntries { .. }
            | Self::InputRoot { .. }
            | Self::WorkingDirectory(_)
            | Self::UnknownBuiltin { .. }
            | Self::BuiltinArguments { .. }
            | Self::NoShell
            | Self::NeedsSandbox => true,
            Self::Store(_)
            | Self::Draft(_)
            | Self::MissingInput { .. }
            | Self::Sandbox { .. }
            | Self::NoReport { .. }
            | Self::NoSandbox
            | Self::Disk { .. } => false,
        }
    }
}
