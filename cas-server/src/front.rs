//! What every service of the front door works with.

use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Extensions;
use model::DigestFunction;
use store::{Cellar, LeaseId, Namespace, StoreError, Value, ValueKey};
use tonic::Status;

use crate::load::Memory;
use crate::metrics::Limit;
use crate::observe::Observed;
use crate::{Caller, Denied, Limits, Right};

/// What every service works with: the store, and how to see it as whoever calls does.
#[derive(Clone)]
pub struct Front {
    cellar: Arc<dyn Cellar>,
    limits: Arc<Limits>,
}

impl Front {
    /// Returns the front of that store, within those limits. No blob may be larger than the store.
    pub fn new(cellar: Arc<dyn Cellar>, mut limits: Limits) -> Self {
        limits.blob = limits.blob.min(cellar.stat().budget_bytes);
        Self { cellar, limits: Arc::new(limits) }
    }

    /// Returns the limits.
    pub(crate) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Returns the store as whoever sent a request sees it.
    pub(crate) fn view(&self, extensions: &Extensions) -> View {
        let observed = Observed::of(extensions);
        let caller = Arc::clone(Caller::of(extensions));
        let build = observed.metadata();
        let lease = build.and_then(|it| LeaseId::new(&caller.name, &it.invocation));
        let cellar = match lease {
            Some(lease) => self.cellar.for_lease(&lease),
            None => Arc::clone(&self.cellar),
        };
        View {
            cellar,
            caller,
            limits: Arc::clone(&self.limits),
            observed,
            memory: Memory::of(extensions).clone(),
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
    /// Who hears how it goes.
    pub(crate) observed: Observed,
    /// What the request holds in memory.
    pub(crate) memory: Memory,
}

impl View {
    /// Returns this view if the caller may do that.
    pub(crate) fn with(self, right: Right) -> Result<Self, Denied> {
        self.caller.require(right)?;
        Ok(self)
    }

    /// Refuses a blob that is larger than the operator allows.
    pub(crate) fn refuse_large(&self, bytes: u64) -> Result<(), Status> {
        let bytes_max = self.limits.blob;
        if bytes <= bytes_max {
            return Ok(());
        }
        self.observed.limited(Limit::BlobBytes);
        let why = format!("the blob has {bytes} bytes; {bytes_max} are taken");
        Err(Status::invalid_argument(why))
    }

    /// Returns what a key stands for, by the word of the first namespace that says something.
    pub(crate) async fn lookup(&self, space: &str, key: &str) -> Result<Option<Value>, StoreError> {
        for namespace in self.caller.reads.iter() {
            if let Some(value) = self.lookup_in(namespace, space, key).await? {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// Returns what one namespace says of a key.
    ///
    /// The first of those that a caller reads need not be right: what it refers to may be gone, and then the next one
    /// counts.
    pub(crate) async fn lookup_in(
        &self,
        namespace: &Namespace,
        space: &str,
        key: &str,
    ) -> Result<Option<Value>, StoreError> {
        self.cellar.lookup(&key_in(namespace, space, key)).await
    }

    /// Remembers what a key stands for, by the caller's word.
    pub(crate) async fn record(
        &self,
        space: &str,
        key: &str,
        bytes: Bytes,
    ) -> Result<(), StoreError> {
        let written = SystemTime::now();
        let writer = self.caller.name.to_string();
        let key = key_in(&self.caller.namespace, space, key);
        self.cellar.record(&key, Value { bytes, writer, written }).await
    }

    /// Forgets the caller's own word for a key. Returns whether there was one.
    pub(crate) async fn forget(&self, space: &str, key: &str) -> Result<bool, StoreError> {
        self.cellar.forget(&key_in(&self.caller.namespace, space, key)).await
    }
}

fn key_in(namespace: &Namespace, space: &str, key: &str) -> ValueKey {
    ValueKey { namespace: namespace.clone(), space: space.to_owned(), key: key.to_owned() }
}

/// Returns the space of the results of a project's actions.
pub(crate) fn results_space(function: DigestFunction, project: &str) -> String {
    format!("ac/{function}/{project}")
}

/// Returns the space of what else a project's clients keep under names of actions: by plain HTTP anything can be.
pub(crate) fn raw_space(project: &str) -> String {
    format!("ac/raw/{project}")
}
