//! A remote whose failures are absence: a build goes on without what it does not give.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use async_trait::async_trait;
use model::{ActionDigest, ActionResult, Digest};

use crate::{ActionCache, Blob, BlobStore, Provenance, Purpose, Remote, RemoteError, StoreError};

/// How many faults are put up with before a remote is not asked any more: each may have cost many attempts, and a
/// few that have to do with one blob or result must not end it all.
const FAULTS_MAX: u32 = 10;

/// Makes failures of what is read absence, and tells of the first. What fails again and again, or cannot be reached,
/// is not asked any more.
#[derive(Clone)]
pub struct DegradingStore {
    inner: Arc<dyn Remote>,
    faults: Arc<Faults>,
}

struct Faults {
    count: AtomicU32,
    warn: Box<dyn Fn(&StoreError) + Send + Sync>,
}

impl Faults {
    fn note(&self, error: &StoreError) {
        let weight = if error.is_unreachable() { FAULTS_MAX } else { 1 };
        if self.count.fetch_add(weight, Ordering::Relaxed) == 0 {
            (self.warn)(error);
        }
    }
}

impl DegradingStore {
    /// Returns `inner` as a store that does not fail where it is read; `warn` is told of the first fault.
    pub fn new(inner: Arc<dyn Remote>, warn: impl Fn(&StoreError) + Send + Sync + 'static) -> Self {
        let faults = Faults { count: AtomicU32::new(0), warn: Box::new(warn) };
        Self { inner, faults: Arc::new(faults) }
    }

    /// Returns whether it is not asked any more.
    pub fn has_given_up(&self) -> bool {
        self.faults.count.load(Ordering::Relaxed) >= FAULTS_MAX
    }

    fn or_absence<T>(&self, asked: Result<Option<T>, StoreError>) -> Option<T> {
        asked.unwrap_or_else(|error| {
            self.faults.note(&error);
            None
        })
    }

    /// That something may not be written is no fault: whoever writes hears of it.
    fn noted<T>(&self, asked: Result<T, StoreError>) -> Result<T, StoreError> {
        asked.inspect_err(|error| {
            if !error.is_refusal() {
                self.faults.note(error);
            }
        })
    }

    fn asked(&self) -> Result<&dyn Remote, StoreError> {
        if self.has_given_up() {
            return Err(Arc::new(RemoteError::GivenUp).into());
        }
        Ok(&*self.inner)
    }
}

#[async_trait]
impl BlobStore for DegradingStore {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.noted(self.asked()?.find_missing(digests).await)
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        let Ok(inner) = self.asked() else { return Ok(None) };
        Ok(self.or_absence(inner.read(digest).await))
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.noted(self.asked()?.write(digest, blob).await)
    }
}

#[async_trait]
impl ActionCache for DegradingStore {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        let Ok(inner) = self.asked() else { return Ok(None) };
        Ok(self.or_absence(inner.lookup(action).await))
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.noted(self.asked()?.record(action, result).await)
    }
}

impl Remote for DegradingStore {
    fn is_writable(&self) -> bool {
        self.inner.is_writable()
    }

    fn provenance(&self) -> Provenance {
        self.inner.provenance()
    }

    fn for_action(&self, purpose: &Purpose) -> Arc<dyn Remote> {
        Arc::new(Self { inner: self.inner.for_action(purpose), faults: Arc::clone(&self.faults) })
    }
}
