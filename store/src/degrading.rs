//! A remote whose failures are absence: a build goes on without what it does not give.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use async_trait::async_trait;
use model::{ActionDigest, ActionResult, Digest};

use crate::breaker::Breaker;
use crate::{ActionCache, Blob, BlobStore, Provenance, Purpose, Remote, RemoteError, StoreError};

/// Makes failures of what is read absence, and tells of the first. Reading and writing stop each by itself where they
/// fail again and again, and are tried again after a while.
#[derive(Clone)]
pub struct DegradingStore {
    inner: Arc<dyn Remote>,
    health: Arc<Health>,
}

/// How the remote does.
struct Health {
    reading: Breaker,
    writing: Breaker,
    is_told: AtomicBool,
    warn: Box<dyn Fn(&StoreError) + Send + Sync>,
}

impl DegradingStore {
    /// Returns `inner` as a store that does not fail where it is read; `warn` is told of the first time it would have.
    pub fn new(inner: Arc<dyn Remote>, warn: impl Fn(&StoreError) + Send + Sync + 'static) -> Self {
        let health = Health {
            reading: Breaker::new(),
            writing: Breaker::new(),
            is_told: AtomicBool::new(false),
            warn: Box::new(warn),
        };
        Self { inner, health: Arc::new(health) }
    }

    async fn reading<T: Send>(
        &self,
        asked: impl Future<Output = Result<Option<T>, StoreError>> + Send,
    ) -> Option<T> {
        let attempt = self.health.reading.begin(Instant::now())?;
        let answer = asked.await;
        self.health.reading.end(attempt, answer.as_ref().err(), Instant::now());
        answer.unwrap_or_else(|error| {
            if !self.health.is_told.swap(true, Ordering::Relaxed) {
                (self.health.warn)(&error);
            }
            None
        })
    }

    /// That something may not be written is no fault of the remote. Whoever writes hears of that, and of faults.
    async fn writing<T: Send>(
        &self,
        asked: impl Future<Output = Result<T, StoreError>> + Send,
    ) -> Result<T, StoreError> {
        let Some(attempt) = self.health.writing.begin(Instant::now()) else {
            return Err(Arc::new(RemoteError::GivenUp { address: self.inner.address() }).into());
        };
        let answer = asked.await;
        let fault = answer.as_ref().err().filter(|error| !error.is_refusal());
        self.health.writing.end(attempt, fault, Instant::now());
        answer
    }
}

#[async_trait]
impl BlobStore for DegradingStore {
    /// Belongs to writing: only who is about to write asks.
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.writing(self.inner.find_missing(digests)).await
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        Ok(self.reading(self.inner.read(digest)).await)
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.writing(self.inner.write(digest, blob)).await
    }
}

#[async_trait]
impl ActionCache for DegradingStore {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        Ok(self.reading(self.inner.lookup(action)).await)
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.writing(self.inner.record(action, result)).await
    }
}

impl Remote for DegradingStore {
    fn address(&self) -> Arc<str> {
        self.inner.address()
    }

    fn is_writable(&self) -> bool {
        self.inner.is_writable()
    }

    fn provenance(&self) -> Provenance {
        self.inner.provenance()
    }

    fn for_action(&self, purpose: &Purpose) -> Arc<dyn Remote> {
        Arc::new(Self { inner: self.inner.for_action(purpose), health: Arc::clone(&self.health) })
    }
}
