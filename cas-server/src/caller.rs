//! Whoever calls: what is known of him, and what he may do.

use std::sync::Arc;

use http::Extensions;
use store::Namespace;

use crate::rights::{Grant, Right, Rights};

/// The name of whoever says nothing of himself.
const ANONYMOUS: &str = "anonymous";

/// Whoever calls. Every request carries one as an extension, an `Arc<Caller>`, put there before any service sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// His name, which says how he is known: `token:<name>`, `certificate:<name>`, `jwt:<issuer>:<subject>`; else `anonymous`.
    pub name: Arc<str>,
    /// What he may do.
    pub rights: Rights,
    /// Where what he says is written.
    pub namespace: Namespace,
    /// Whose word he takes, best first: his own, then up the order of trust.
    pub reads: Arc<[Namespace]>,
}

/// A caller may not do what he asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// Nobody knows who he is; whoever says so may be allowed to.
    #[error("`{0}` takes a token or a certificate")]
    Anonymous(Right),
    /// It is known who he is.
    #[error("`{caller}` has no right to `{right}`")]
    Forbidden {
        /// His name.
        caller: Arc<str>,
        /// What he lacks.
        right: Right,
    },
}

impl Caller {
    /// Returns whoever sent the request with these extensions.
    pub fn of(extensions: &Extensions) -> &Arc<Self> {
        extensions.get().expect("the layer that finds out who calls is outside every service")
    }

    /// Returns the caller with that name, to whom that is granted.
    pub fn new(name: &str, grant: &Grant) -> Self {
        Self {
            name: name.into(),
            rights: grant.rights,
            namespace: grant.namespace.clone(),
            reads: Arc::clone(&grant.reads),
        }
    }

    /// Returns the caller who says nothing of himself.
    pub fn anonymous(grant: &Grant) -> Self {
        Self::new(ANONYMOUS, grant)
    }

    /// Returns whether he said nothing of himself.
    pub fn is_anonymous(&self) -> bool {
        &*self.name == ANONYMOUS
    }

    /// Fails if he may not do that: in words for him, and so that 401 and 403 can be told apart.
    pub fn require(&self, right: Right) -> Result<(), Denied> {
        if self.rights.allow(right) {
            Ok(())
        } else if self.is_anonymous() {
            Err(Denied::Anonymous(right))
        } else {
            Err(Denied::Forbidden { caller: Arc::clone(&self.name), right })
        }
    }
}
