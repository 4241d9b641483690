//! The errands: package indexes, archives and git, and the lock that pins them.
//!
//! [`Locker`] turns requests into a [`Lock`], with signatures verified; [`Fetcher`] brings what a lock
//! pins into the store, and believes nothing that does not hash to what the lock says.

pub mod deb;
mod depot;
mod digest;
mod error;
mod fetcher;
mod git;
mod http;
mod lock;
mod locker;
mod memory;
mod parallel;
mod parcel;
mod plan;
mod progress;
mod report;
mod request;
mod unpack;

pub use deb::sources::{Keys, Source, SourcesError, machine_sources};
pub use digest::Sha256;
pub use error::FetchError;
pub use fetcher::Fetcher;
pub use git::{GIT_ENVIRONMENT, GitError};
pub use http::{DownloadError, Downloader, Network, Proxies, Url, UrlError};
pub use lock::{LOCK_VERSION, Lock, LockError, LockFault, Member, Stale};
pub use locker::{Locker, Mode};
pub use parcel::{ArchiveOptions, Commit, InvalidCommit};
pub use progress::{Progress, Silent, Step};
pub use report::{Change, Report};
pub use request::{Request, Wants, WantsError};
pub use unpack::{ArchiveKind, InProcess, UnpackRequest, Unpacker};
