//! What was asked for: a name out of a fixed list, so that nobody outside can make more of them.

use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};

/// The methods of gRPC that have names of their own in metrics: path, name.
const CALLS: [(&str, &str); 20] = [
    ("/google.bytestream.ByteStream/Read", "ByteStream/Read"),
    ("/google.bytestream.ByteStream/Write", "ByteStream/Write"),
    ("/google.bytestream.ByteStream/QueryWriteStatus", "ByteStream/QueryWriteStatus"),
    (
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/FindMissingBlobs",
        "ContentAddressableStorage/FindMissingBlobs",
    ),
    (
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchReadBlobs",
        "ContentAddressableStorage/BatchReadBlobs",
    ),
    (
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/BatchUpdateBlobs",
        "ContentAddressableStorage/BatchUpdateBlobs",
    ),
    (
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/GetTree",
        "ContentAddressableStorage/GetTree",
    ),
    (
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/SplitBlob",
        "ContentAddressableStorage/SplitBlob",
    ),
    (
        "/build.bazel.remote.execution.v2.ContentAddressableStorage/SpliceBlob",
        "ContentAddressableStorage/SpliceBlob",
    ),
    ("/build.bazel.remote.execution.v2.ActionCache/GetActionResult", "ActionCache/GetActionResult"),
    (
        "/build.bazel.remote.execution.v2.ActionCache/UpdateActionResult",
        "ActionCache/UpdateActionResult",
    ),
    (
        "/build.bazel.remote.execution.v2.Capabilities/GetCapabilities",
        "Capabilities/GetCapabilities",
    ),
    ("/build.bazel.remote.asset.v1.Fetch/FetchBlob", "Fetch/FetchBlob"),
    ("/build.bazel.remote.asset.v1.Fetch/FetchDirectory", "Fetch/FetchDirectory"),
    ("/build.bazel.remote.asset.v1.Push/PushBlob", "Push/PushBlob"),
    ("/build.bazel.remote.asset.v1.Push/PushDirectory", "Push/PushDirectory"),
    ("/bld.v1.Cache/Stat", "Cache/Stat"),
    ("/bld.v1.Cache/Purge", "Cache/Purge"),
    ("/bld.v1.Cache/Scrub", "Cache/Scrub"),
    ("/grpc.health.v1.Health/Check", "Health/Check"),
];

/// The verbs of HTTP that have names of their own; what is asked for by them is told by the kinds of lookups.
const VERBS: [&str; 8] = [
    "http/GET",
    "http/HEAD",
    "http/PUT",
    "http/POST",
    "http/DELETE",
    "http/PROPFIND",
    "http/MKCOL",
    "http/OPTIONS",
];

/// Which protocol a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC: the answer's status is in its trailers.
    Grpc,
    /// Plain HTTP.
    Http,
}

impl Protocol {
    /// Returns by which protocol a request with these headers came.
    pub fn of(headers: &HeaderMap) -> Self {
        let content = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        if content.starts_with(b"application/grpc") { Self::Grpc } else { Self::Http }
    }
}

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Method(u8);

impl Method {
    /// How many there are: those with names, other calls and other verbs.
    pub const COUNT: usize = CALLS.len() + VERBS.len() + 2;

    const OTHER_CALL: usize = CALLS.len() + VERBS.len();
    const OTHER_VERB: usize = Self::OTHER_CALL + 1;

    /// Returns what a request asks for, and by which protocol.
    pub fn of<B>(request: &http::Request<B>) -> (Self, Protocol) {
        let protocol = Protocol::of(request.headers());
        let index = match protocol {
            Protocol::Grpc => {
                let path = request.uri().path();
                let index = CALLS.iter().position(|(call, _)| *call == path);
                index.unwrap_or(Self::OTHER_CALL)
            }
            Protocol::Http => {
                let verb = request.method().as_str();
                let is_it = |name: &&str| name.strip_prefix("http/") == Some(verb);
                let index = VERBS.iter().position(is_it).map(|it| it + CALLS.len());
                index.unwrap_or(Self::OTHER_VERB)
            }
        };
        (Self::at(index), protocol)
    }

    /// Returns its name: `ByteStream/Write`, `http/GET`, …
    pub fn as_str(self) -> &'static str {
        let index = self.index();
        let call = CALLS.get(index).map(|(_, name)| *name);
        let verb = || VERBS.get(index.wrapping_sub(CALLS.len())).copied();
        let other = if index == Self::OTHER_CALL { "other" } else { "http/other" };
        call.or_else(verb).unwrap_or(other)
    }

    /// Returns whether it takes as long as it takes, and how long says nothing of the server.
    pub fn is_long(self) -> bool {
        self.as_str() == "Cache/Scrub"
    }

    /// Returns all of them.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..Self::COUNT).map(Self::at)
    }

    pub(super) fn index(self) -> usize {
        usize::from(self.0)
    }

    fn at(index: usize) -> Self {
        Self(u8::try_from(index).expect("there are few of them"))
    }
}
