//! The server's store keeps every promise, whatever has become of what it wrote.

use std::sync::Arc;

use store::{Acknowledge, Cellar as _, Housekeeping, SegmentStore, Settings};
use tempfile::TempDir;
use testkit::{
    blob_store_promises, cellar_promises, chunk_store_promises, upload_store_promises,
    value_store_promises,
};

const BUDGET_BYTES: u64 = 256 << 20;

fn open(place: &TempDir, change: impl FnOnce(&mut Settings)) -> Arc<SegmentStore> {
    let mut settings = Settings::new(BUDGET_BYTES);
    change(&mut settings);
    SegmentStore::open(place.path(), settings).unwrap()
}

async fn every_promise_is_kept(change: impl Fn(&mut Settings)) {
    let place = TempDir::new().unwrap();
    let store = open(&place, &change);
    blob_store_promises(&*store).await;
    value_store_promises(&*store).await;
    upload_store_promises(&*store).await;
    chunk_store_promises(&*store).await;
    assert_eq!(store.stat().corrupt, 0);
    let empty = TempDir::new().unwrap();
    cellar_promises(&*open(&empty, &change)).await;
}

#[tokio::test]
async fn the_servers_store_keeps_every_promise() {
    every_promise_is_kept(|_| {}).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_keeps_them_when_it_acknowledges_what_is_on_the_disk() {
    every_promise_is_kept(|it| it.acknowledge = Acknowledge::Committed).await;
}

#[tokio::test]
async fn it_keeps_them_without_threads() {
    every_promise_is_kept(|it| {
        it.acknowledge = Acknowledge::Committed;
        it.housekeeping = Housekeeping::Called;
    })
    .await;
}
