//! When a call is tried again, and after how long.

use tonic::Code;

/// Returns whether the same call may succeed if it is made again.
pub(crate) fn is_transient(code: Code) -> bool {
    match code {
        // Unknown and internal: what breaks below gRPC looks like that, and all that is called can be called again.
        Code::Unavailable
        | Code::ResourceExhausted
        | Code::Aborted
        | Code::Cancelled
        | Code::DeadlineExceeded
        | Code::Internal
        | Code::Unknown => true,
        Code::Ok
        | Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::DataLoss
        | Code::Unauthenticated => false,
    }
}
