//! Why bytes cannot be had from an address.

use std::path::{Path, PathBuf};

use super::url::{Url, UrlError};
use crate::Sha256;

/// Why bytes cannot be had from an address.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// The address would have to be asked over the network.
    #[error("{url}: offline")]
    Offline {
        /// The address.
        url: Url,
    },
    /// A proxy's address is malformed.
    #[error("the proxy for {url}: {source}")]
    Proxy {
        /// The address that was wanted.
        url: Url,
        /// What is wrong with the proxy's.
        source: UrlError,
    },
    /// No answer.
    #[error("{url}: no answer")]
    Connect {
        /// The address.
        url: Url,
        /// What the client said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// An answer other than the bytes.
    #[error("{url}: HTTP status {status}")]
    Status {
        /// The address.
        url: Url,
        /// The answer.
        status: u16,
    },
    /// The address is that of a file that is not there.
    #[error("{url}: there is no such file")]
    NoFile {
        /// The address.
        url: Url,
    },
    /// The server sends us somewhere we do not go.
    #[error("{url}: redirected too often, or to a place that cannot be followed")]
    Redirect {
        /// The address.
        url: Url,
    },
    /// The answer broke off.
    #[error("{url}: broke off after {received} bytes")]
    Cut {
        /// The address.
        url: Url,
        /// How much there is so far.
        received: u64,
        /// What the client said, if it was not merely the end.
        source: Option<std::io::Error>,
    },
    /// There is more than there may be.
    #[error("{url}: more than the {limit} bytes that were expected")]
    TooLarge {
        /// The address.
        url: Url,
        /// How much there may be.
        limit: u64,
    },
    /// There is less than there should be.
    #[error("{url}: {found} bytes instead of {expected}")]
    Size {
        /// The address.
        url: Url,
        /// How much there should be.
        expected: u64,
        /// How much there is.
        found: u64,
    },
    /// There are other bytes than there should be.
    #[error("{url}: has SHA-256 {found}, expected {expected}")]
    Mismatch {
        /// The address.
        url: Box<Url>,
        /// The hash that was wanted.
        expected: Sha256,
        /// The hash of what came.
        found: Sha256,
    },
    /// A file cannot be read or written.
    #[error("cannot {verb} {}", path.display())]
    Disk {
        /// What was tried.
        verb: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

impl DownloadError {
    pub(super) fn disk(verb: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Disk { verb, path, source }
    }

    /// Returns whether whoever was asked says that there is no such thing.
    pub fn is_absence(&self) -> bool {
        matches!(self, Self::Status { status: 404 | 410, .. } | Self::NoFile { .. })
    }

    /// Returns whether the same call may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::Cut { .. } => true,
            Self::Status { status, .. } => *status >= 500 || matches!(status, 408 | 416 | 429),
            Self::Offline { .. }
            | Self::NoFile { .. }
            | Self::Proxy { .. }
            | Self::Redirect { .. }
            | Self::TooLarge { .. }
            | Self::Size { .. }
            | Self::Mismatch { .. }
            | Self::Disk { .. } => false,
        }
    }
}
