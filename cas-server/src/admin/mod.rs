//! What whoever runs a server does with its store from afar: see what it holds, take things out of it, have it verified.

mod grpc;
mod remote;
mod scrub;
mod stat;

pub use grpc::AdminService;
pub use remote::{Admin, AdminError, InvalidAnswer};
pub use scrub::{SCRUB_BYTES_PER_SECOND, ScrubState, Scrubber};
pub use stat::{ClientStat, Purge, Stat};
