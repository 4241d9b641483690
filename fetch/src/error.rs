//! Why something from outside cannot be had.

use std::path::{Path, PathBuf};

use formats::UnpackError;
use model::{InvalidPath, TreeDigest};
use store::StoreError;

use crate::deb::resolve::ResolveError;
use crate::deb::sources::SourcesError;
use crate::git::GitError;
use crate::http::DownloadError;
use crate::request::WantsError;

/// Why a request cannot be locked, or a locked tree cannot be fetched.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// A target's wish makes no sense.
    #[error("{label}: {source}")]
    Wants {
        /// The target.
        label: String,
        /// What is wrong with it.
        source: WantsError,
    },
    /// Two requests have the same label and want different things.
    #[error("{label} asks for two different things")]
    Ambivalent {
        /// The target.
        label: String,
    },
    /// The machine's package sources cannot be read.
    #[error(transparent)]
    Sources(#[from] SourcesError),
    /// There is nowhere to get packages from.
    #[error("{label} needs Debian packages, but there is no source for {arch}{}", unreachable(.failures))]
    NoSources {
        /// The target.
        label: String,
        /// The architecture.
        arch: String,
        /// What went wrong with the sources there are.
        failures: Vec<String>,
    },
    /// Packages do not fit together.
    #[error("{label}: {source}{}", unreachable(.failures))]
    Resolve {
        /// The target.
        label: String,
        /// How they do not.
        source: Box<ResolveError>,
        /// What went wrong with sources, where the packages may be.
        failures: Vec<String>,
    },
    /// A pattern matches no kernel.
    #[error("{label}: no kernel for {arch} matches `{pattern}`{}{}", neighbours(.near), unreachable(.failures))]
    NoKernel {
        /// The target.
        label: String,
        /// The pattern.
        pattern: String,
        /// The architecture.
        arch: String,
        /// Kernels with names like it.
        near: Box<[String]>,
        /// What went wrong with sources, where the kernels may be.
        failures: Box<[String]>,
    },
    /// A mirror has other bytes under a name and version that are locked.
    #[error(
        "{name} is locked as {locked}, but the mirror now has {found}; `bld lock` takes the new one"
    )]
    Replaced {
        /// The package.
        name: String,
        /// The locked hash.
        locked: String,
        /// The hash in the index.
        found: String,
    },
    /// None of the addresses gave the right bytes.
    #[error("cannot get {name}: {}", causes(.attempts))]
    Unavailable {
        /// What was wanted.
        name: String,
        /// What went wrong at each address.
        attempts: Vec<DownloadError>,
    },
    /// No address is known for a locked tree.
    #[error("{name} is locked, but no target and no package source says where to get it")]
    NoAddress {
        /// What was wanted.
        name: String,
    },
    /// The store's own copy of an archive was damaged.
    #[error("the store's copy of {name} is damaged; `bld cache verify` sets it aside")]
    Damaged {
        /// The archive.
        name: String,
    },
    /// An archive is right, but its tree is not what the lock says.
    #[error(
        "{name} unpacks to {found}, but the lock says {expected}: the lock was edited, or unpacking changed"
    )]
    Tree {
        /// The parcel.
        name: String,
        /// The locked tree.
        expected: TreeDigest,
        /// What it unpacks to.
        found: TreeDigest,
    },
    /// The lock was made with another digest function, or by other unpack rules.
    #[error("the lock is of another digest function or other unpack rules; run `bld lock`")]
    Stale,
    /// A commit cannot be had.
    #[error("{name}: {source}")]
    Git {
        /// The commit.
        name: String,
        /// What went wrong.
        source: GitError,
    },
    /// An archive is refused.
    #[error(transparent)]
    Unpack(Box<UnpackError>),
    /// An archive could not be unpacked where that is done.
    #[error("cannot unpack {name}: {reason}")]
    Unpacker {
        /// The archive.
        name: String,
        /// What the other process said.
        reason: String,
    },
    /// A name in a request to unpack is none.
    #[error("{name}: {source}")]
    Request {
        /// The archive.
        name: String,
        /// What is wrong.
        source: InvalidPath,
    },
    /// An open file cannot be read.
    #[error("cannot read {name}")]
    Read {
        /// What was being read.
        name: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of ours cannot be used.
    #[error("cannot {verb} {}", path.display())]
    Disk {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<UnpackError> for FetchError {
    fn from(error: UnpackError) -> Self {
        Self::Unpack(Box::new(error))
    }
}

impl FetchError {
    /// Returns whether every source has been asked, and says that it has no such thing.
    pub fn is_absence(&self) -> bool {
        let Self::Unavailable { attempts, .. } = self else { return false };
        attempts.iter().all(DownloadError::is_absence)
    }

    pub(crate) fn disk(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { verb, path, source }
    }

    /// Returns whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { attempts, .. } => attempts.iter().any(DownloadError::is_transient),
            Self::Git { source, .. } => source.is_transient(),
            Self::Store(source) => source.is_transient(),
            Self::Unpack(source) => source.is_transient(),
            Self::NoSources { failures, .. } | Self::Resolve { failures, .. } => {
                !failures.is_empty()
            }
            Self::NoKernel { failures, .. } => !failures.is_empty(),
            Self::Wants { .. }
            | Self::Ambivalent { .. }
            | Self::Sources(_)
            | Self::Replaced { .. }
            | Self::NoAddress { .. }
            | Self::Damaged { .. }
            | Self::Tree { .. }
            | Self::Stale
            | Self::Unpacker { .. }
            | Self::Request { .. }
            | Self::Read { .. }
            | Self::Disk { .. } => false,
        }
    }
}

fn unreachable(failures: &[String]) -> String {
    if failures.is_empty() {
        String::new()
    } else {
        format!("\nsources that could not be used:\n  {}", failures.join("\n  "))
    }
}

fn neighbours(names: &[String]) -> String {
    if names.is_empty() { String::new() } else { format!(" (there are {})", names.join(", ")) }
}

fn causes(attempts: &[DownloadError]) -> String {
    attempts.iter().map(|error| words(error)).collect::<Vec<_>>().join("; ")
}

/// Returns what an error and all its sources say, in one line.
pub(crate) fn words(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Many errors repeat what their source says.
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
