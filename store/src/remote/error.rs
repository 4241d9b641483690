//! What can go wrong with a store elsewhere.

use std::error::Error;
use std::path::PathBuf;
use std::sync::Arc;

use model::DigestFunction;
use tonic::{Code, Status};

/// A failure of a remote, or of getting there.
#[derive(Debug, thiserror::Error)]
pub enum RemoteError {
    /// The text says no place.
    #[error("`{address}` is no address of a remote: {why}")]
    Address {
        /// The text.
        address: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A file with a secret or a certificate cannot be read.
    #[error("cannot read the {what} {} for the remote", path.display())]
    File {
        /// What it holds.
        what: &'static str,
        /// Where it is.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A secret would have been sent for everybody to read.
    #[error(
        "a token is not sent to {address} without TLS: use grpcs:// or https://, or an address of this machine"
    )]
    Unprotected {
        /// Where to.
        address: Arc<str>,
    },
    /// A secret has a form that no header can carry.
    #[error("the {what} for the remote cannot be sent: it has bytes that no header may have")]
    Secret {
        /// What kind of secret it is.
        what: &'static str,
    },
    /// The program that knows secrets did not tell.
    #[error("the credential helper {program} {why}")]
    Helper {
        /// Which program.
        program: String,
        /// What it did.
        why: String,
    },
    /// TLS cannot be set up, or the address cannot be connected to at all.
    #[error("cannot set up the connection to {address}")]
    Setup {
        /// Where to.
        address: Arc<str>,
        /// What is wrong.
        source: tonic::transport::Error,
    },
    /// The remote lacks the function that names everything here.
    #[error(
        "the remote {address} does not know {wanted} digests, which this workspace has (it knows {offered}); \
         set `digest = \"{instead}\"` in bld.toml, or use another remote"
    )]
    Function {
        /// Which remote.
        address: Arc<str>,
        /// What it would have to know.
        wanted: DigestFunction,
        /// What it knows, for people.
        offered: String,
        /// What the workspace could use instead.
        instead: DigestFunction,
    },
    /// The remote knows no function that `bld` knows.
    #[error("the remote {address} knows no digests that bld knows (it knows {offered})")]
    NoFunction {
        /// Which remote.
        address: Arc<str>,
        /// What it knows, for people.
        offered: String,
    },
    /// The remote speaks other versions.
    #[error("the remote {address} speaks version {low} to {high} of the protocol, bld speaks 2.x")]
    Version {
        /// Which remote.
        address: Arc<str>,
        /// Its lowest version.
        low: String,
        /// Its highest version.
        high: String,
    },
    /// The remote keeps nothing.
    #[error("the remote {address} is no cache")]
    NoCache {
        /// Which remote.
        address: Arc<str>,
    },
    /// A call failed.
    #[error("cannot {verb} {address}: {}{}", words(status), hint(address, status))]
    Call {
        /// What was tried.
        verb: &'static str,
        /// With which remote.
        address: Arc<str>,
        /// What came of it.
        status: Box<Status>,
    },
    /// An answer makes no sense.
    #[error("{address} gave an answer that makes no sense: {why}")]
    Answer {
        /// Which remote.
        address: Arc<str>,
        /// What is wrong with it.
        why: &'static str,
    },
    /// It is only to be read.
    #[error("the remote {address} is only read")]
    ReadOnly {
        /// Which remote.
        address: Arc<str>,
    },
    /// It failed so often that it is not asked for a while.
    #[error("the remote {address} failed before, and is not asked for a while")]
    GivenUp {
        /// Which remote.
        address: Arc<str>,
    },
    /// Whoever asked it for several ended before there was an answer.
    #[error("whoever asked {address} is gone")]
    Unasked {
        /// Which remote.
        address: Arc<str>,
    },
}

/// Returns what a status says, in words; many have only a code.
fn words(status: &Status) -> String {
    let code = match status.code() {
        Code::Unavailable => "it is not available",
        Code::DeadlineExceeded => "it did not answer in time",
        Code::Unauthenticated => "it does not know who asks",
        Code::PermissionDenied => "it does not permit that",
        Code::ResourceExhausted => "it has no room or time",
        Code::Unimplemented => "it cannot do that",
        Code::NotFound => "it does not have that",
        Code::InvalidArgument => "it does not accept that",
        Code::DataLoss => "it has lost data",
        Code::Ok
        | Code::Cancelled
        | Code::Unknown
        | Code::AlreadyExists
        | Code::FailedPrecondition
        | Code::Aborted
        | Code::OutOfRange
        | Code::Internal => "it failed",
    };
    // A message from outside is shown, but cannot draw on a terminal or fill the screen.
    let message = message(status);
    let shown = message.chars().map(|it| if it.is_control() { ' ' } else { it });
    let shown: String = shown.take(MESSAGE_CHARS_MAX).collect();
    if shown.is_empty() { code.to_owned() } else { format!("{code}: {shown}") }
}

/// What becomes of a connection whose other end waits for TLS: an alert that is no frame of HTTP/2, or an end.
const REFUSALS_OF_TLS: [&str; 5] = [
    "frame with invalid size",
    "connection closed",
    "Connection reset",
    "Broken pipe",
    "broken pipe",
];

/// Returns what may mend it, where what was said leaves whoever reads it at a loss.
fn hint(address: &str, status: &Status) -> &'static str {
    let said = message(status);
    let is_encrypted = address.starts_with("grpcs://") || address.starts_with("https://");
    if said.contains("UnknownIssuer") {
        "; who is believed besides the system's authorities say BLD_REMOTE_CA_FILE, and `ca_file` under [remote]"
    } else if is_encrypted && said.contains("InvalidContentType") {
        "; it answers without TLS: is it grpc:// or http://?"
    } else if !is_encrypted && REFUSALS_OF_TLS.iter().any(|it| said.contains(it)) {
        "; if it wants TLS, it is grpcs:// or https://"
    } else {
        ""
    }
}

/// Returns what was said, and what is behind it: of a connection that does not come about only the innermost cause says why.
fn message(status: &Status) -> String {
    let mut innermost = status.source();
    while let Some(cause) = innermost.and_then(Error::source) {
        innermost = Some(cause);
    }
    let said = status.message();
    match innermost.map(ToString::to_string) {
        Some(cause) if !said.contains(&cause) => format!("{said}: {cause}"),
        _ => said.to_owned(),
    }
}

/// How much of a message from outside is shown, in characters: a few lines.
const MESSAGE_CHARS_MAX: usize = 300;

impl RemoteError {
    /// Returns whether the same call may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Call { status, .. } => super::retry::is_transient(status.code()),
            Self::Helper { .. } | Self::GivenUp { .. } | Self::Unasked { .. } => true,
            Self::Address { .. }
            | Self::File { .. }
            | Self::Unprotected { .. }
            | Self::Secret { .. }
            | Self::Setup { .. }
            | Self::Function { .. }
            | Self::NoFunction { .. }
            | Self::Version { .. }
            | Self::NoCache { .. }
            | Self::Answer { .. }
            | Self::ReadOnly { .. } => false,
        }
    }

    /// Returns whether nothing can be had from there for now, whatever is asked. What took too long may have been too
    /// much.
    pub fn is_unreachable(&self) -> bool {
        self.code().is_some_and(|it| matches!(it, Code::Unavailable | Code::Unauthenticated))
    }

    /// Returns whether whoever asked may not do that: some may read whom a server need not know.
    pub fn is_refusal(&self) -> bool {
        let refusals = [Code::PermissionDenied, Code::Unauthenticated];
        self.code().is_some_and(|it| refusals.contains(&it))
            || matches!(self, Self::ReadOnly { .. })
    }

    fn code(&self) -> Option<Code> {
        if let Self::Call { status, .. } = self { Some(status.code()) } else { None }
    }

    /// Returns whether somebody has set something up wrongly: that is to be mended, and not to be put up with.
    pub fn is_mistake(&self) -> bool {
        match self {
            Self::Address { .. }
            | Self::File { .. }
            | Self::Unprotected { .. }
            | Self::Secret { .. }
            | Self::Setup { .. }
            | Self::Function { .. }
            | Self::NoFunction { .. }
            | Self::Version { .. }
            | Self::NoCache { .. } => true,
            Self::Helper { .. }
            | Self::Call { .. }
            | Self::Answer { .. }
            | Self::ReadOnly { .. }
            | Self::GivenUp { .. }
            | Self::Unasked { .. } => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(address: &str, status: Status) -> String {
        let (address, status) = (address.into(), Box::new(status));
        RemoteError::Call { verb: "ask", address, status }.to_string()
    }

    #[test]
    fn what_stopped_a_call_is_said_once_down_to_what_began_it() {
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let mut status = Status::unavailable("tcp connect error");
        status.set_source(Arc::new(refused));
        let expected =
            "cannot ask grpc://cache: it is not available: tcp connect error: connection refused";
        assert_eq!(said("grpc://cache", status), expected);
        let expected = "cannot ask grpc://cache: it does not permit that";
        assert_eq!(said("grpc://cache", Status::permission_denied("")), expected);
    }

    #[test]
    fn what_usually_mends_it_is_said_where_tls_stands_in_the_way() {
        for (address, message, mends) in [
            ("grpc://cache", "operation was canceled: connection closed", "grpcs://"),
            ("http://cache", "connection error detected: frame with invalid size", "grpcs://"),
            ("http://cache", "stream closed because of a broken pipe", "grpcs://"),
            ("grpcs://cache", "received corrupt message of type InvalidContentType", "grpc://"),
            ("grpcs://cache", "invalid peer certificate: UnknownIssuer", "BLD_REMOTE_CA_FILE"),
        ] {
            let said = said(address, Status::unavailable(message));
            assert!(said.contains(mends), "{said}");
        }
    }
}
