//! A store that fails once, at a call that a test chose.

use std::collections::BTreeSet;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use model::{ActionDigest, ActionResult, Digest};
use store::{ActionCache, Blob, BlobStore, StoreError};

/// Passes every call on but one, which fails before the inner store hears of it.
#[derive(Debug)]
pub struct FlakyStore<S> {
    inner: S,
    failing: u64,
    calls: AtomicU64,
}

impl<S> FlakyStore<S> {
    /// Returns a store over `inner` that fails on call `nth`, counted from 0.
    pub fn failing_on_call(nth: u64, inner: S) -> Self {
        Self { inner, failing: nth, calls: AtomicU64::new(0) }
    }

    /// Returns whether the call that fails has come.
    /// Where it has not, every call of the test has had its turn to fail.
    pub fn has_failed(&self) -> bool {
        self.calls.load(Ordering::SeqCst) > self.failing
    }

    fn count(&self) -> Result<&S, StoreError> {
        if self.calls.fetch_add(1, Ordering::SeqCst) == self.failing {
            let (verb, path) = ("reach", PathBuf::from("a flaky store"));
            return Err(StoreError::Disk { verb, path, source: io::Error::other("on purpose") });
        }
        Ok(&self.inner)
    }
}

#[async_trait]
impl<S: BlobStore> BlobStore for FlakyStore<S> {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.count()?.find_missing(digests).await
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        self.count()?.read(digest).await
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.count()?.write(digest, blob).await
    }
}

#[async_trait]
impl<S: ActionCache> ActionCache for FlakyStore<S> {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        self.count()?.lookup(action).await
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.count()?.record(action, result).await
    }
}
