//! Whoever calls: what is known of him, and what he may do.

use std::sync::Arc;

use http::Extensions;
use store::Namespace;

/// What an identity may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "each right is granted by itself")]
pub struct Rights {
    /// Read blobs and values.
    pub read: bool,
    /// Write blobs.
    pub write_blobs: bool,
    /// Write values: results of actions and whatever else is believed because somebody said so.
    pub write_values: bool,
    /// Have actions executed.
    pub execute: bool,
    /// See what others do, purge, scrub.
    pub administer: bool,
}

/// Whoever calls. Every request carries one as an extension, put there before any service sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// His name: of a token, of a certificate, of a JWT's subject; `anonymous` without any.
    pub name: Arc<str>,
    /// What he may do.
    pub rights: Rights,
    /// Where what he says is written.
    pub namespace: Namespace,
    /// Whose word he takes, best first: his own, then up the order of trust.
    pub reads: Arc<[Namespace]>,
}

impl Caller {
    /// Returns whoever sent the request with these extensions.
    pub fn of(extensions: &Extensions) -> &Self {
        extensions.get().expect("the layer that finds out who calls is outside every service")
    }
}
