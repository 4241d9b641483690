//! Bytes from an address: downloads that resume, retry and have bounds.

mod client;
mod download;
mod error;
mod forward;
mod proxies;
mod reply;
mod url;

pub use client::Network;
pub use download::Downloader;
pub(crate) use download::Wanted;
pub use error::DownloadError;
pub use proxies::Proxies;
pub use url::{Url, UrlError};
