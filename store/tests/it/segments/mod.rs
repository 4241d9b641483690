//! The server's store.

mod answers;
mod chunks;
mod crashes;
mod damage;
mod eviction;
mod faults;
mod fuzz;
mod model;
mod promises;
mod recovery;
mod support;
