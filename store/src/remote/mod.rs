//! A store elsewhere, which many machines share: over any endpoint of the Remote Execution API.

mod address;
mod blobs;
mod capabilities;
mod connection;
mod error;
mod file;
mod helper;
mod ledger;
mod line;
mod results;
mod retry;
mod secret;
mod store;
mod stream;

use std::sync::Arc;

use model::ActionDigest;

pub use address::Tls;
pub use connection::{Call, Connection};
pub use error::RemoteError;
pub use retry::Retry;
pub use secret::Secret;
pub use store::{RemoteOptions, RemoteStore};

use crate::{ActionCache, BlobStore, Provenance};

/// The level of compression: what a network carries is to be less, and nobody is to wait for it.
const ZSTD_LEVEL: i32 = 1;

/// A store elsewhere. It may be slow, gone or wrong, so nothing that it gives is used before it was hashed here.
pub trait Remote: BlobStore + ActionCache {
    /// Returns where it is, as people write it.
    fn address(&self) -> Arc<str>;
    /// Returns whether what is made here may be written there.
    fn is_writable(&self) -> bool;
    /// Returns whose word its results are.
    fn provenance(&self) -> Provenance;
    /// Returns the same store, asked on behalf of an action: whoever runs it can tell who asks for what.
    fn for_action(&self, purpose: &Purpose) -> Arc<dyn Remote>;
}

/// On whose behalf something is asked. It decides nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Purpose {
    /// The action.
    pub action: ActionDigest,
    /// Whose it is: label and cell.
    pub target: String,
    /// Which of the target's actions.
    pub mnemonic: String,
}
