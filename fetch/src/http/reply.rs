//! What a server answers, whoever asked it.

use std::io::Read;

/// An answer of which the body has not been read yet.
pub(super) struct Reply {
    pub(super) status: u16,
    /// How many bytes the body has, if the server says so.
    pub(super) length: Option<u64>,
    /// The first byte of a partial body.
    pub(super) range_start: Option<u64>,
    /// Where the server sends us on to.
    pub(super) location: Option<String>,
    pub(super) body: Box<dyn Read + Send>,
}

/// Returns the first byte that `Content-Range: bytes 5-9/10` speaks of.
pub(super) fn range_start(value: &str) -> Option<u64> {
    value.trim().strip_prefix("bytes")?.trim_start().split('-').next()?.parse().ok()
}

impl Reply {
    /// Returns an answer with the headers that matter; `header` looks one up by its lower-case name.
    pub(super) fn new(
        status: u16,
        header: impl Fn(&str) -> Option<String>,
        body: Box<dyn Read + Send>,
    ) -> Self {
        Self {
            status,
            length: header("content-length").and_then(|value| value.trim().parse().ok()),
            range_start: header("content-range").and_then(|value| range_start(&value)),
            location: header("location"),
            body,
        }
    }

    pub(super) fn is_redirect(&self) -> bool {
        matches!(self.status, 301 | 302 | 303 | 307 | 308)
    }
}
