//! What clients are told when something is wrong.

use model::Digest;
use store::StoreError;
use tonic::{Code, Status};

use crate::Denied;
use crate::limits::RETRY_DELAY;

/// Returns what a client is told of a failure of the store.
///
/// Clients retry on some codes and give up on others: what is the client's mistake is never one of the former, and what is
/// the machine's never one of the latter.
#[expect(clippy::needless_pass_by_value, reason = "what is told of it is the end of it")]
pub(crate) fn of_store(error: StoreError) -> Status {
    match &error {
        StoreError::Mismatch { .. } | StoreError::ValueTooLarge => {
            Status::invalid_argument(error.to_string())
        }
        StoreError::Missing { digest } => Status::not_found(format!("{digest} is not here")),
        StoreError::Full { .. } => full(&error.to_string()),
        StoreError::Disk { .. } if error.is_full() => full("the disk is full"),
        StoreError::Disk { .. }
        | StoreError::Input { .. }
        | StoreError::Decode { .. }
        | StoreError::Outside { .. }
        | StoreError::Remote(_)
        | StoreError::Vanished { .. }
        | StoreError::InUse { .. }
        | StoreError::Occupied { .. }
        | StoreError::Format { .. } => {
            tracing::error!(error = %with_sources(&error), "the store failed");
            Status::unavailable("the store failed; the server's log says why")
        }
    }
}

/// Returns that there is no room now.
pub(crate) fn full(message: &str) -> Status {
    let code = Code::ResourceExhausted;
    let details = wire::details::retry(code.into(), message, RETRY_DELAY);
    Status::with_details(code, message, details)
}

/// Returns that a blob is not here.
pub(crate) fn absent(digest: Digest) -> Status {
    Status::not_found(format!("{digest} is not here"))
}

/// Returns that an upload goes on in another stream of its session, or did in the moment between: whoever still wants to
/// send it asks how much is here.
pub(crate) fn moved_on() -> Status {
    Status::aborted("another stream has gone on with the upload")
}

impl From<Denied> for Status {
    /// Whoever said nothing of himself may try again and say something.
    fn from(denied: Denied) -> Self {
        match denied {
            Denied::Anonymous(_) => Self::unauthenticated(denied.to_string()),
            Denied::Forbidden { .. } => Self::permission_denied(denied.to_string()),
        }
    }
}

/// Returns an error with what it comes from, for a log.
pub(crate) fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
