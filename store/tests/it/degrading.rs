//! A remote that fails, as a build sees it: nothing breaks, and what still works is still used.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use model::{ActionDigest, ActionResult, Digest, DigestFunction};
use store::{
    ActionCache, Blob, BlobStore, DegradingStore, Provenance, Purpose, Remote, RemoteError,
    StoreError,
};
use testkit::{MemoryStore, action_cache_promises, blob_store_promises};
use tonic::{Code, Status};

/// Fails as it is told to.
#[derive(Clone, Default)]
struct Sick {
    inner: MemoryStore,
    reading: Arc<Mutex<Option<Code>>>,
    writing: Arc<Mutex<Option<Code>>>,
    reads: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
}

impl Sick {
    fn fail(&self, reading: Option<Code>, writing: Option<Code>) {
        *self.reading.lock().unwrap() = reading;
        *self.writing.lock().unwrap() = writing;
    }

    fn calls(&self) -> (usize, usize) {
        (self.reads.swap(0, Ordering::SeqCst), self.writes.swap(0, Ordering::SeqCst))
    }

    fn read(&self) -> Result<(), StoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        failure(*self.reading.lock().unwrap())
    }

    fn write(&self) -> Result<(), StoreError> {
        self.writes.fetch_add(1, Ordering::SeqCst);
        failure(*self.writing.lock().unwrap())
    }
}

const ADDRESS: &str = "grpc://cache";

fn failure(code: Option<Code>) -> Result<(), StoreError> {
    let Some(code) = code else { return Ok(()) };
    let status = Box::new(Status::new(code, ""));
    Err(Arc::new(RemoteError::Call { verb: "ask", address: ADDRESS.into(), status }).into())
}

#[async_trait]
impl BlobStore for Sick {
    async fn find_missing(
        &self,
        digests: BTreeSet<Digest>,
    ) -> Result<BTreeSet<Digest>, StoreError> {
        self.write()?;
        self.inner.find_missing(digests).await
    }

    async fn read(&self, digest: Digest) -> Result<Option<Blob>, StoreError> {
        self.read()?;
        self.inner.read(digest).await
    }

    async fn write(&self, digest: Digest, blob: Blob) -> Result<(), StoreError> {
        self.write()?;
        self.inner.write(digest, blob).await
    }
}

#[async_trait]
impl ActionCache for Sick {
    async fn lookup(&self, action: ActionDigest) -> Result<Option<ActionResult>, StoreError> {
        self.read()?;
        ActionCache::lookup(&self.inner, action).await
    }

    async fn record(&self, action: ActionDigest, result: &ActionResult) -> Result<(), StoreError> {
        self.write()?;
        ActionCache::record(&self.inner, action, result).await
    }
}

impl Remote for Sick {
    fn address(&self) -> Arc<str> {
        ADDRESS.into()
    }

    fn is_writable(&self) -> bool {
        true
    }

    fn provenance(&self) -> Provenance {
        Provenance::Remote
    }

    fn for_action(&self, _: &Purpose) -> Arc<dyn Remote> {
        Arc::new(self.clone())
    }
}

/// A sick remote, what stands before it, and of what that warned.
struct Ward {
    sick: Sick,
    store: DegradingStore,
    warned: Arc<Mutex<Vec<String>>>,
}

const TEXT: Bytes = Bytes::from_static(b"there");

fn there() -> Digest {
    Digest::of(DigestFunction::Blake3, &TEXT)
}

impl Ward {
    /// Returns one whose remote has a blob.
    async fn new() -> Self {
        let (sick, warned) = (Sick::default(), Arc::<Mutex<Vec<String>>>::default());
        sick.inner.write(there(), TEXT.into()).await.unwrap();
        let heard = Arc::clone(&warned);
        let warn = move |error: &StoreError| heard.lock().unwrap().push(error.to_string());
        Self { store: DegradingStore::new(Arc::new(sick.clone()), warn), sick, warned }
    }

    async fn reads(&self) -> bool {
        self.store.read(there()).await.unwrap().is_some()
    }

    async fn write(&self) -> Result<(), StoreError> {
        self.store.write(there(), TEXT.into()).await
    }
}

#[tokio::test]
async fn one_that_does_not_fail_is_a_store_like_any_other() {
    let store = Ward::new().await.store;
    blob_store_promises(&store).await;
    action_cache_promises(&store).await;
}

#[tokio::test]
async fn writing_that_fails_does_not_stop_reading() {
    for code in [Code::Unavailable, Code::ResourceExhausted, Code::DeadlineExceeded] {
        let ward = Ward::new().await;
        ward.sick.fail(None, Some(code));
        for _ in 0..20 {
            ward.write().await.unwrap_err();
            assert!(ward.reads().await, "{code:?}");
        }
        let calls = ward.sick.calls();
        assert_eq!(calls, (20, if code == Code::Unavailable { 1 } else { 10 }), "{code:?}");
        let error = ward.store.find_missing(BTreeSet::from([there()])).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Remote(it) if matches!(&*it, RemoteError::GivenUp { address } if &**address == ADDRESS))
        );
        assert!(ward.warned.lock().unwrap().is_empty(), "whoever writes says so");
    }
}

#[tokio::test]
async fn who_may_read_unknown_and_not_write_goes_on_reading() {
    let ward = Ward::new().await;
    ward.sick.fail(None, Some(Code::Unauthenticated));
    for _ in 0..20 {
        assert!(ward.write().await.unwrap_err().is_refusal());
        assert!(ward.reads().await);
    }
}

#[tokio::test]
async fn reading_that_fails_is_absence_is_told_of_once_and_does_not_stop_writing() {
    for code in [Code::Unavailable, Code::Unauthenticated, Code::DeadlineExceeded] {
        let ward = Ward::new().await;
        ward.sick.fail(Some(code), None);
        for _ in 0..20 {
            assert!(!ward.reads().await);
            ward.write().await.unwrap();
        }
        let reads = if code == Code::DeadlineExceeded { 10 } else { 1 };
        assert_eq!(ward.sick.calls(), (reads, 20), "{code:?}");
        assert_eq!(ward.warned.lock().unwrap().len(), 1);
    }
}
