//! The server's store.

mod promises;
