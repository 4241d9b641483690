//! What can go wrong with machinery that keeps bytes.

use std::path::{Path, PathBuf};

use model::Digest;

use crate::cellar::{VALUE_BYTES_MAX, VALUE_TEXT_BYTES_MAX};

/// A failure of the store's machinery; absence is never one of these.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A system call on the store's files failed.
    #[error("cannot {verb} {}", path.display())]
    Disk {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// What was to be kept could not be read to its end.
    #[error("cannot read what was to be kept")]
    Input {
        /// What its reader said.
        source: std::io::Error,
    },
    /// Bytes do not hash to the digest they were given under.
    #[error("the bytes given as {expected} hash to {found}")]
    Mismatch {
        /// The digest they were given under.
        expected: Digest,
        /// What they hash to.
        found: Digest,
    },
    /// A value, or a text that belongs to it, is larger than values are.
    #[error(
        "a value has at most {VALUE_BYTES_MAX} bytes, and its key and writer {VALUE_TEXT_BYTES_MAX} each"
    )]
    ValueTooLarge,
    /// A blob holds something else than it is used as.
    #[error("the blob {digest} is not what it is used as")]
    Decode {
        /// The blob.
        digest: Digest,
        /// What is wrong with it.
        source: wire::decode::DecodeError,
    },
    /// Something that this step cannot do without is not there.
    #[error("the blob {digest} is not in the store")]
    Missing {
        /// The blob.
        digest: Digest,
    },
    /// A tree that somebody else promises could not be had from there.
    #[error("cannot fetch the tree {}", tree.0.short())]
    Outside {
        /// The tree.
        tree: model::TreeDigest,
        /// What whoever promised it says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A tree that somebody else promised is nowhere any more, and whoever promised it has no fault in that.
    #[error("the tree {} is not to be had any more: {reason}", tree.0.short())]
    Vanished {
        /// The tree.
        tree: model::TreeDigest,
        /// What it was, and where it is not.
        reason: std::sync::Arc<str>,
    },
    /// There is no room, and nothing that may be taken away; there may be later.
    #[error(
        "the store is full: {budget_bytes} bytes, of which {pinned_bytes} are pinned by running builds"
    )]
    Full {
        /// What the store may take.
        budget_bytes: u64,
        /// What running builds hold.
        pinned_bytes: u64,
    },
    /// A store elsewhere failed, or refused.
    #[error(transparent)]
    Remote(#[from] std::sync::Arc<crate::RemoteError>),
    /// Another process has the store open.
    #[error(
        "the store at {} is in use: end the other server that has it open, or choose another path",
        path.display()
    )]
    InUse {
        /// Where the store is.
        path: PathBuf,
    },
    /// A store was to be made where other things are.
    #[error(
        "{} holds no store but other things, `{name}` among them: name a folder that is empty or not there yet",
        path.display()
    )]
    Occupied {
        /// Where it was to be.
        path: PathBuf,
        /// One of the things.
        name: String,
    },
    /// The store was made by another version of `bld`.
    #[error(
        "the store at {} has format `{found}`, this bld needs `{expected}`: choose another with --store \
         or, of a server, `store.path`",
        path.display()
    )]
    Format {
        /// Where the store is.
        path: PathBuf,
        /// What its format file says.
        found: String,
        /// What this version reads and writes.
        expected: &'static str,
    },
}

impl StoreError {
    /// Returns a function that wraps what the system said of `verb` on `path`.
    pub(crate) fn disk<E: Into<std::io::Error>>(
        verb: &'static str,
        path: &Path,
    ) -> impl FnOnce(E) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { verb, path, source: source.into() }
    }

    /// Returns whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Disk { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::Interrupted | std::io::ErrorKind::WouldBlock
            ),
            Self::Missing { .. }
            | Self::Outside { .. }
            | Self::Full { .. }
            | Self::InUse { .. } => true,
            Self::Remote(error) => error.is_transient(),
            Self::Vanished { .. }
            | Self::Input { .. }
            | Self::Mismatch { .. }
            | Self::ValueTooLarge
            | Self::Decode { .. }
            | Self::Occupied { .. }
            | Self::Format { .. } => false,
        }
    }

    /// Returns whether nothing can be had from whoever was asked.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Remote(error) if error.is_unreachable())
    }

    /// Returns whether it may not be done by whoever asked.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Remote(error) if error.is_refusal())
    }

    /// Returns whether the disk is full.
    pub fn is_full(&self) -> bool {
        match self {
            Self::Disk { source, .. } => matches!(
                source.kind(),
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded
            ),
            Self::Full { .. } => true,
            Self::Missing { .. }
            | Self::Outside { .. }
            | Self::Remote(_)
            | Self::Vanished { .. }
            | Self::Input { .. }
            | Self::Mismatch { .. }
            | Self::ValueTooLarge
            | Self::Decode { .. }
            | Self::InUse { .. }
            | Self::Occupied { .. }
            | Self::Format { .. } => false,
        }
    }
}
