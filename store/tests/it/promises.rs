//! Every store keeps the promises of its traits, and so does a decorator over it.

use store::{BlobStore as _, StoreError};
use testkit::{
    FlakyStore, MemoryStore, action_cache_promises, blob_store_promises, cellar_promises,
    chunk_store_promises, upload_store_promises, value_store_promises,
};

use crate::support::{Place, digest};

// The local store blocks, so it is only ever asked from a runtime with several threads.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_local_store_keeps_every_promise() {
    let place = Place::new();
    let store = place.open();
    blob_store_promises(&store).await;
    action_cache_promises(&store).await;
    assert_eq!(place.names("tmp"), Vec::<String>::new(), "nothing is left behind");
    assert_eq!(store.verify().unwrap().quarantined, Vec::<std::path::PathBuf>::new());
}

#[tokio::test]
async fn the_store_in_memory_keeps_every_promise() {
    let store = MemoryStore::new();
    blob_store_promises(&store).await;
    action_cache_promises(&store).await;
    let store = MemoryStore::new();
    value_store_promises(&store).await;
    upload_store_promises(&store).await;
    chunk_store_promises(&store).await;
    cellar_promises(&MemoryStore::new()).await;
}

#[tokio::test]
async fn a_flaky_store_keeps_every_promise_until_it_fails() {
    let store = FlakyStore::failing_on_call(u64::MAX, MemoryStore::new());
    blob_store_promises(&store).await;
    action_cache_promises(&store).await;
    assert!(!store.has_failed());
}

#[tokio::test]
async fn a_flaky_store_fails_once_and_changes_nothing_by_it() {
    let blob = digest(b"hello");
    for nth in 0..3 {
        let store = FlakyStore::failing_on_call(nth, MemoryStore::new());
        for call in 0..3 {
            assert_eq!(store.has_failed(), call > nth);
            let written = store.write(blob, b"hello".to_vec().into()).await;
            assert_eq!(written.is_err(), call == nth);
            assert!(matches!(written, Ok(()) | Err(StoreError::Disk { .. })));
        }
        assert!(store.find_missing([blob].into()).await.unwrap().is_empty());
    }
}
