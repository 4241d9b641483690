//! What every service of the front door works with.

use std::sync::Arc;

use http::Extensions;
use model::DigestFunction;
use store::{Cellar, LeaseId, StoreError, Value, ValueKey};
use tonic::Status;
use wire::request::RequestMetadata;

use crate::{Caller, fault};

/// What every service works with: the store, and how to see it as whoever calls does.
#[derive(Clone)]
pub struct Front {
    cellar: Arc<dyn Cellar>,
}

impl Front {
    /// Returns the front of that store.
    pub fn new(cellar: Arc<dyn Cellar>) -> Self {
        Self { cellar }
    }

    /// Returns the store as whoever sent a request sees it.
    pub fn view(&self, extensions: &Extensions) -> View {
        let metadata = extensions.get::<Arc<RequestMetadata>>();
        let lease = metadata.and_then(|it| LeaseId::new(&it.invocation));
        let cellar = match lease {
            Some(lease) => self.cellar.for_lease(&lease),
            None => Arc::clone(&self.cellar),
        };
        View { cellar, caller: Caller::of(extensions).clone() }
    }
}

/// The store as a caller sees it: what his build is told of is pinned, and values come from those whose word he takes.
#[derive(Clone)]
pub struct View {
    /// Where blobs are, which all callers share.
    pub cellar: Arc<dyn Cellar>,
    /// Whoever calls.
    pub caller: Caller,
}

impl View {
    /// Returns this view if the caller may read.
    pub fn reading(self) -> Result<Self, Status> {
        if self.caller.rights.read { Ok(self) } else { Err(self.denied("read")) }
    }

    /// Returns this view if the caller may write blobs.
    pub fn writing_blobs(self) -> Result<Self, Status> {
        if self.caller.rights.write_blobs { Ok(self) } else { Err(self.denied("write blobs")) }
    }

    /// Returns this view if the caller may write values.
    pub fn writing_values(self) -> Result<Self, Status> {
        let rights = self.caller.rights;
        if rights.write_values { Ok(self) } else { Err(self.denied("write results")) }
    }

    fn denied(&self, what: &str) -> Status {
        fault::denied(&self.caller.name, what)
    }

    /// Returns what a key stands for, by the word of the first namespace that says something.
    pub async fn lookup(&self, space: &str, key: &str) -> Result<Option<Value>, StoreError> {
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
    pub async fn record(
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
pub fn results_space(function: DigestFunction, project: &str) -> String {
    format!("ac/{function}/{project}")
}
