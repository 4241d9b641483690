//! Whole trees, page by page.

mod grpc;

pub(crate) use grpc::pages;

use tonic::Status;

/// Where a page begins: after that many directories. The order of directories is that of the tree, so a token outlives
/// the stream, the connection and the server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PageToken(pub(crate) usize);

impl PageToken {
    /// Parses a token as it was handed out; an empty one is the beginning.
    pub(crate) fn parse(text: &str) -> Result<Self, Status> {
        if text.is_empty() {
            return Ok(Self::default());
        }
        let count = text.strip_prefix("after-").and_then(|it| it.parse().ok());
        let unknown = || Status::invalid_argument("this page token was not handed out here");
        count.map(Self).ok_or_else(unknown)
    }
}

impl std::fmt::Display for PageToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "after-{}", self.0)
    }
}
