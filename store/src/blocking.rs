//! Waiting for a disk on a thread where others' tasks may be.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does what takes long or may wait. On a thread of a runtime, the others' tasks move to another thread meanwhile.
pub(crate) fn blocking<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|it| it.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        _ => work(),
    }
}
