//! What actions were called last, for those who ask why something runs.

mod grpc;

pub(crate) use grpc::LedgerService;

/// How many owners one request may name.
pub(crate) const OWNERS_MAX: usize = 1_000;

/// How long an owner's name may be, in bytes: a label, a cell of several axes and a role.
pub(crate) const OWNER_BYTES_MAX: usize = 4 << 10;

/// Returns the space of a project's actions.
pub(crate) fn space(project: &str) -> String {
    format!("ledger/{project}")
}
