//! Stores on disks in memory, under a clock that only tests move, and blobs to put into them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt as _;
use model::{Digest, DigestFunction};
use store::{
    BlobStore, Cellar as _, Clock, Disk, Housekeeping, Namespace, Scrubbed, SegmentStore, Session,
    Settings, StoreError, Value, ValueKey,
};
use testkit::MemoryDisk;

/// What stores of tests may take, if nothing is to be dropped.
pub(crate) const AMPLE_BYTES: u64 = 64 << 20;

/// What they may take if something is: an index, and some segments of the smallest size.
pub(crate) const SCARCE_BYTES: u64 = 4 << 20;

/// How long their leases last.
pub(crate) const LEASE_TIME: Duration = Duration::from_secs(10 * 60);

/// A clock that stands still until it is moved.
#[derive(Clone, Debug)]
pub(crate) struct TestClock {
    now: Arc<Mutex<SystemTime>>,
}

impl TestClock {
    pub(crate) fn new() -> Self {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Self { now: Arc::new(Mutex::new(now)) }
    }

    pub(crate) fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }
}

impl Clock for TestClock {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }
}

/// Returns the settings of a store whose house nobody keeps.
pub(crate) fn settings(budget_bytes: u64) -> Settings {
    let mut settings = Settings::new(budget_bytes);
    settings.housekeeping = Housekeeping::Called;
    settings.clock = Arc::new(TestClock::new());
    settings.lease = LEASE_TIME;
    settings
}

pub(crate) fn open(disk: &MemoryDisk) -> Arc<SegmentStore> {
    try_open(disk).unwrap()
}

pub(crate) fn try_open(disk: &MemoryDisk) -> Result<Arc<SegmentStore>, StoreError> {
    let disk: Arc<dyn Disk> = Arc::new(disk.clone());
    SegmentStore::open_on(disk, settings(AMPLE_BYTES))
}

/// Returns what comes of a call that waits for nobody: the store's house is kept by its callers.
pub(crate) fn now<T>(call: impl Future<Output = T>) -> T {
    call.now_or_never().expect("nobody is waited for")
}

/// Reads all that the store has, at any speed.
pub(crate) fn scrub(store: &SegmentStore) -> Result<Scrubbed, StoreError> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(store.scrub(u64::MAX))
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    Digest::of(DigestFunction::Blake3, bytes)
}

/// Returns the bytes of the blob of that number: text, as most blobs are, of that length.
pub(crate) fn text(number: u64, length: usize) -> Bytes {
    let line = format!("#define NUMBER_{number} {}\n", number.wrapping_mul(0x9e37_79b9));
    line.bytes().cycle().take(length).collect()
}

/// Returns bytes that do not compress.
pub(crate) fn noise(seed: u64, length: usize) -> Bytes {
    let mut state = seed.wrapping_mul(2).wrapping_add(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..length.div_ceil(8)).flat_map(|_| next()).take(length).collect()
}

pub(crate) fn write(store: &(impl BlobStore + ?Sized), bytes: &Bytes) -> Result<(), StoreError> {
    now(store.write(digest(bytes), bytes.clone().into()))
}

/// Returns the bytes of a blob; a damaged one is not there.
pub(crate) fn read(store: &(impl BlobStore + ?Sized), digest: Digest) -> Option<Bytes> {
    now(store.read(digest)).unwrap()?.into_bytes().ok()
}

pub(crate) fn has(store: &(impl BlobStore + ?Sized), digest: Digest) -> bool {
    now(store.find_missing(BTreeSet::from([digest]))).unwrap().is_empty()
}

/// Asserts that the store has the blob, or, if it says so, has not: but never anything else under its digest.
pub(crate) fn has_rightly(store: &(impl BlobStore + ?Sized), bytes: &Bytes) -> bool {
    let digest = digest(bytes);
    let is_there = has(store, digest);
    let found = read(store, digest);
    assert!(found.is_none() || found.as_ref() == Some(bytes), "wrong bytes for {digest}");
    if !is_there {
        assert_eq!(found, None, "what is missing is read");
    }
    found.is_some()
}

pub(crate) fn key(number: u64) -> ValueKey {
    let (space, key) = ("ac".to_owned(), number.to_string());
    ValueKey { namespace: Namespace::Trusted, space, key }
}

/// Returns the session of somebody with that name.
pub(crate) fn named(name: &str) -> Session {
    Session { owner: "somebody".into(), name: name.to_owned() }
}

pub(crate) fn value(text: &str) -> Value {
    let bytes = Bytes::copy_from_slice(text.as_bytes());
    Value { bytes, writer: "somebody".to_owned(), written: SystemTime::UNIX_EPOCH }
}
