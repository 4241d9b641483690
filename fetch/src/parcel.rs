//! Parcels: things from outside, each named by what cannot change about it.

use std::fmt;

use model::{Digest, PathSegment, RelativePath};

use crate::Sha256;
use crate::unpack::{ArchiveKind, UnpackRequest};

/// The identity of a parcel.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// A Debian package.
    Deb {
        /// Its name.
        name: String,
        /// Its version.
        version: String,
        /// Its architecture, or `all`.
        arch: String,
    },
    /// An archive and how it is unpacked.
    Archive {
        /// The hash of the archive.
        sha256: Sha256,
        /// How it is unpacked.
        options: ArchiveOptions,
    },
    /// A file and what it is called.
    File {
        /// The hash of the file.
        sha256: Sha256,
        /// Its name in the tree.
        name: PathSegment,
        /// Whether it may be executed.
        executable: bool,
    },
    /// A commit.
    Git {
        /// Its name.
        commit: Commit,
    },
}

/// What a parcel comes in: the bytes that are downloaded, if they have a name of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wrapping {
    /// A package in the pool of a mirror.
    Pool {
        /// Where it lies below the mirror.
        path: String,
        /// The digest of the archive, a SHA-256.
        archive: Digest,
    },
    /// An archive or file, to be had where the rule says.
    Plain {
        /// The digest of the archive, a SHA-256.
        archive: Digest,
    },
    /// Objects of a repository, to be had where the rule says.
    Repository,
}

/// How an archive is unpacked.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct ArchiveOptions {
    /// The directory inside it that becomes the root.
    pub strip_prefix: RelativePath,
    /// Whether it is a whole system, whose links may be absolute.
    pub root: bool,
}

/// The whole name of a commit: 40 hexadecimal digits, or 64 in a SHA-256 repository.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Commit(String);

impl Commit {
    /// Parses a commit's name.
    pub fn new(name: impl Into<String>) -> Result<Self, InvalidCommit> {
        let name = name.into();
        let plain = name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
        if plain && (name.len() == 40 || name.len() == 64) {
            Ok(Self(name))
        } else {
            Err(InvalidCommit(name))
        }
    }

    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns whether it is of a SHA-256 repository.
    pub fn is_sha256(&self) -> bool {
        self.0.len() == 64
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text does not pin a commit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("commit: `{0}` is not 40 (or 64) lower-case hexadecimal digits; branches and tags move")]
pub struct InvalidCommit(pub String);

impl Key {
    /// Returns how the bytes of such a parcel, which messages call `name`, become a tree; an archive's own say of
    /// what `kind` they are.
    pub(crate) fn unpack_request(&self, name: &str, kind: ArchiveKind) -> UnpackRequest {
        let plain = UnpackRequest { name: name.to_owned(), kind, ..UnpackRequest::default() };
        match self {
            Self::Deb { .. } => UnpackRequest { kind: ArchiveKind::Deb, root: true, ..plain },
            Self::Archive { options, .. } => UnpackRequest {
                root: options.root,
                strip_prefix: options.strip_prefix.as_str().to_owned(),
                ..plain
            },
            Self::File { name, executable, .. } => UnpackRequest {
                kind: ArchiveKind::File,
                file_name: name.as_str().to_owned(),
                executable: *executable,
                ..plain
            },
            Self::Git { .. } => UnpackRequest { kind: ArchiveKind::Tar, ..plain },
        }
    }
}

/// What a person calls it.
impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deb { name, version, arch } => write!(f, "{name} {version} {arch}"),
            Self::Archive { sha256, .. } => write!(f, "archive {}", sha256.sized(0).short()),
            Self::File { sha256, name, .. } => {
                write!(f, "file {name} ({})", sha256.sized(0).short())
            }
            Self::Git { commit } => write!(f, "commit {commit}"),
        }
    }
}
