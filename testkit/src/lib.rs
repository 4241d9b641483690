//! Fakes, promises and faults, for tests only.
//!
//! A promise is a function that any implementation of a trait must pass, and so must every decorator over it.

mod disk;
mod flaky;
mod memory;
mod mutate;
mod promises;

pub use disk::{Fault, MemoryDisk};
pub use flaky::FlakyStore;
pub use memory::MemoryStore;
pub use mutate::{Mutator, Seed, cases};
pub use promises::{
    action_cache_promises, blob_store_promises, cellar_promises, chunk_store_promises,
    complete_action_cache_promises, upload_store_promises, value_store_promises,
};
