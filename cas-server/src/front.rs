//! What every service of the front door works with.

use std::sync::Arc;

use http::Extensions;
use model::DigestFunction;
use store::{Cellar, LeaseId, StoreError, Value, ValueKey};
use tonic::Status;
use wire::request::RequestMetadata;

use crate::{Caller, Limits, Right, fault};

/// What every service works with: the store, and how to see it as whoever calls does.
#[derive(Clone)]
pub struct Front {
    cellar: Arc<dyn Cellar>,
    limits: Arc<Limits>,
}

impl Front {
    /// Returns the front of that store, within those limits.
    pub fn new(cellar: Arc<dyn Cellar>, limits: Limits) -> Self {
        Self { cellar, limits: Arc::new(limits) }
    }

    /// Returns the limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the store as whoever sent a request sees it.
    pub(crate) fn view(&self, extensions: &Extensions) -> View {
        let metadata = extensions.get::<Arc<RequestMetadata>>();
        let lease = metadata.and_then(|it| LeaseId::new(&it.invocation));
        let cellar = match lease {
            Some(lease) => self.cellar.for_lease(&lease),
            None => Arc::clone(&self.cellar),
        };
        View {
            cellar,
            caller: Arc::clone(Caller::of(extensions)),
            limits: Arc::clone(&self.limits),
        }
    }
}

/// The store as a caller sees it: what his build is told of is pinned, and values come from those whose word he takes.
#[derive(Clone)]
pub(crate) struct View {
    /// Where blobs are, which all callers share.
    pub(crate) cellar: Arc<dyn Cellar>,
    /// Whoever calls.
    pub(crate) caller: Arc<Caller>,
    /// How much of anything is taken.
    pub(crate) limits: Arc<Limits>,
}

impl View {
    /// Returns this view if the caller may do that.
    pub(crate) fn with(self, right: Right) -> Result<Self, Status> {
        self.caller.require(right).map_err(|denied| fault::denied(&denied))?;
        Ok(self)
    }

    /// Returns what a key stands for, by the word of the first namespace that says something.
    pub(crate) async fn lookup(&self, space: &str, key: &str) -> Result<Option<Value>, StoreError> {
        for namespace in self.caller.reads.iter() {
            let (namespace, space) = (namespace.clone(), space.to_owned());
            let key = ValueKey { namespace, space, key: key.to_owned() };
            if let Some(value) = self.cellar.lookup(&key).await? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Remembers what a key stands for, by the caller's word.
    pub(crate) async fn record(
        &self,
        space: &str,
        key: &str,
        bytes: bytes::Bytes,
    ) -> Result<(), StoreError> {
        let namespace = self.caller.namespace.clone();
        let key = ValueKey { namespace, space: space.to_owned(), key: key.to_owned() };
        let written = std::time::SystemTime::now();
        let writer = self.caller.name.to_string();
        self.cellar.record(&key, Value { bytes, writer, written }).await
    }
}

/// Returns the space of the results of a project's actions.
pub(crate) fn results_space(function: DigestFunction, project: &str) -> String {
    format!("ac/{function}/{project}")
}
