//! The plain caches over the server's own store: what they were given is there after a restart.

use std::path::Path;

use model::{Digest, DigestFunction};
use store::{SegmentStore, Settings};
use tokio::runtime::Runtime;

use super::client::{Client, serve};
use crate::support::{noise, unzstd, zstd};

/// What the store may take, in bytes.
const BUDGET_BYTES: u64 = 4 << 30;

/// Bodies of all the sizes that are kept in different ways: in a value, in a record, as a file, as chunks.
fn bodies() -> Vec<(String, Vec<u8>)> {
    let sizes = [0, 1, 5_000, 100_000, (2 << 20) + 1, (9 << 20) + 13];
    let noises = sizes.map(|size| noise(size, 1));
    let texts = sizes.map(|size| b"some text ".repeat(size / 10 + 1));
    let all = noises.into_iter().chain(texts).enumerate();
    let name = |nth, body: &[u8]| match nth % 3 {
        0 => format!("/cas/{}", Digest::of(DigestFunction::Sha256, body).hex()),
        1 => format!("/ac/{}", Digest::of(DigestFunction::Sha256, body).hex()),
        _ => format!("/gradle/{nth}"),
    };
    all.map(|(nth, body)| (name(nth, &body), body)).collect()
}

/// Opens the store, serves it, and does something as its client.
fn with_client(root: &Path, does: impl AsyncFnOnce(&mut Client)) {
    let store = SegmentStore::open(root, Settings::new(BUDGET_BYTES)).unwrap();
    let runtime = Runtime::new().unwrap();
    runtime.block_on(async {
        let mut client = Client::connect(serve(store.clone()).await).await;
        does(&mut client).await;
    });
    drop(runtime);
    store.close().unwrap();
}

#[test]
fn what_was_put_is_got_before_and_after_a_restart() {
    let root = tempfile::tempdir().unwrap();
    with_client(root.path(), async |client| {
        for (nth, (path, body)) in bodies().iter().enumerate() {
            let put = match nth % 4 {
                0 => client.put_chunked(path, body, 100_000).await,
                1 => {
                    let packed = [("content-encoding", "zstd")];
                    client.ask("PUT", path, &packed, Some(&zstd(body))).await
                }
                _ => client.put(path, body).await,
            };
            assert!([200, 201].contains(&put.status), "{path}: {put:?}");
            assert!(client.get(path).await.body == *body, "{path}");
        }
    });
    with_client(root.path(), async |client| {
        for (path, body) in bodies() {
            let got = client.get(&path).await;
            assert!(got.status == 200 && got.body == body, "{path}");
            let packed = client.ask("GET", &path, &[("accept-encoding", "zstd")], None).await;
            let is_packed = packed.header("content-encoding") == Some("zstd");
            assert!(if is_packed { unzstd(&packed.body) } else { packed.body } == body, "{path}");
            if let Some(last) = body.len().checked_sub(1) {
                let range = format!("bytes={}-{}", last / 2, last);
                let part = client.ask("GET", &path, &[("range", &range)], None).await;
                assert!(part.status == 206 && part.body == body[last / 2..], "{path}");
            }
        }
    });
}
