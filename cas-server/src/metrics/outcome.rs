//! How a request went, in the words of gRPC's status codes, whatever protocol it came by.

use http::StatusCode;
use tonic::Code;

/// How a request went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome(Code);

/// The names of gRPC's status codes, by their numbers.
const NAMES: [&str; Outcome::COUNT] = [
    "ok",
    "cancelled",
    "unknown",
    "invalid_argument",
    "deadline_exceeded",
    "not_found",
    "already_exists",
    "permission_denied",
    "resource_exhausted",
    "failed_precondition",
    "aborted",
    "out_of_range",
    "unimplemented",
    "internal",
    "unavailable",
    "data_loss",
    "unauthenticated",
];

/// Whose fault it is that a request did not do what it should.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Nobody's: it did, or what was asked for is not there, or nobody waited for it.
    Nobodys,
    /// The caller's: he asked for what cannot be, or for what he may not have.
    Callers,
    /// The server's.
    Servers,
}

impl Outcome {
    /// How many there are.
    pub const COUNT: usize = 17;
    /// Whoever asked went away before the answer was complete.
    pub const CANCELLED: Self = Self(Code::Cancelled);
    /// The answer broke off for a reason that is the server's.
    pub const BROKEN: Self = Self(Code::Internal);

    /// Returns the outcome with that number of gRPC; unknown numbers are `unknown`.
    pub fn of_code(code: i32) -> Self {
        Self(Code::from_i32(code))
    }

    /// Returns the outcome that is nearest to a status of HTTP.
    pub fn of_status(status: StatusCode) -> Self {
        Self(match status.as_u16() {
            100..=399 => Code::Ok,
            401 => Code::Unauthenticated,
            403 => Code::PermissionDenied,
            404 | 410 => Code::NotFound,
            405 | 501 => Code::Unimplemented,
            409 => Code::AlreadyExists,
            412 => Code::FailedPrecondition,
            416 => Code::OutOfRange,
            429 | 507 => Code::ResourceExhausted,
            400..=499 => Code::InvalidArgument,
            503 => Code::Unavailable,
            504 => Code::DeadlineExceeded,
            _ => Code::Internal,
        })
    }

    /// Returns its name: `ok`, `not_found`, …
    pub fn as_str(self) -> &'static str {
        NAMES[self.index()]
    }

    /// Returns all of them, by their numbers.
    pub fn all() -> impl Iterator<Item = Self> {
        (0..).take(Self::COUNT).map(Self::of_code)
    }

    /// Returns whose fault it is.
    pub fn fault(self) -> Fault {
        match self.0 {
            Code::Ok | Code::Cancelled | Code::NotFound | Code::AlreadyExists => Fault::Nobodys,
            Code::Unknown
            | Code::DeadlineExceeded
            | Code::Aborted
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Fault::Servers,
            Code::InvalidArgument
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unimplemented
            | Code::Unauthenticated => Fault::Callers,
        }
    }

    /// Returns whether the request did not do what it should.
    pub fn is_failure(self) -> bool {
        self.fault() != Fault::Nobodys
    }

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}
