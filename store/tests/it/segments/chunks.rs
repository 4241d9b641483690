//! Large blobs are cut into chunks where REAPI says, and what they share is kept once.

use bytes::Bytes;
use model::{Digest, DigestFunction};
use store::{BlobStore as _, Cellar as _, ChunkStore as _};
use testkit::MemoryDisk;

use super::support::{digest, has_rightly, noise, now, open, write};

#[test]
fn blobs_that_share_most_of_their_bytes_take_them_once() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let one = noise(1, 3_500_000);
    let other: Bytes = [&one[..700_000], b"an insertion", &one[700_000..]].concat().into();
    write(&*store, &one).unwrap();
    write(&*store, &other).unwrap();
    let before = store.stat();
    assert_eq!((before.chunked_bytes, before.chunk_bytes), (0, 0));
    assert!(before.physical_bytes > 7_000_000);
    store.keep_house().unwrap();

    let stat = store.stat();
    assert_eq!(stat.logical_bytes, 7_000_012, "chunks count as part of what they make");
    assert_eq!(stat.chunked_bytes, 7_000_012);
    assert!(stat.chunk_bytes < 6_000_000, "{stat:?}");
    assert!(has_rightly(&*store, &one) && has_rightly(&*store, &other));
    assert!(!disk.paths().iter().any(|it| it.starts_with("large")), "the files are gone");

    let chunks = now(store.split(digest(&one))).unwrap().unwrap();
    assert_eq!(chunks.iter().map(Digest::size).sum::<u64>(), one.len() as u64);
    let last = *chunks.last().unwrap();
    assert!(now(store.forget_blob(last)).unwrap());
    assert!(!has_rightly(&*store, &one), "a blob is there only if all its chunks are");
    assert!(!has_rightly(&*store, &other), "and so is one that shares the chunk");
    write(&*store, &one).unwrap();
    assert!(has_rightly(&*store, &one), "it can be written again");
    let end = one.len() - usize::try_from(last.size()).unwrap();
    write(&*store, &one.slice(end..)).unwrap();
    assert!(has_rightly(&*store, &other), "the chunk makes the other one whole");
}

#[test]
fn a_blob_that_is_being_read_stays_readable_when_it_is_forgotten() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let bytes = noise(2, 3 << 20);
    write(&*store, &bytes).unwrap();
    let file = now(store.read(digest(&bytes))).unwrap().unwrap();
    store.keep_house().unwrap();
    let chunks = now(store.read(digest(&bytes))).unwrap().unwrap();
    assert!(now(store.forget_blob(digest(&bytes))).unwrap());
    store.keep_house().unwrap();
    assert!(!has_rightly(&*store, &bytes));
    assert_eq!(file.into_bytes().unwrap(), bytes);
    assert_eq!(chunks.into_bytes().unwrap(), bytes);
}

#[test]
fn chunks_end_where_they_always_did() {
    // Other programs cut the same blob: chunks that end elsewhere are not shared with theirs. The numbers are those that
    // FastCDC 2020 gives with the parameters that REAPI recommends (level 2, 512 KiB on average, seed 0).
    let disk = MemoryDisk::new();
    let store = open(&disk);
    let bytes = noise(4, 6_000_000);
    let digest = Digest::of(DigestFunction::Sha256, &bytes);
    now(store.write(digest, bytes.into())).unwrap();
    let chunks = now(store.split(digest)).unwrap().unwrap();
    let sizes: Vec<u64> = chunks.iter().map(Digest::size).collect();
    let expected = [
        543_727, 536_834, 592_429, 389_823, 912_114, 596_939, 220_301, 551_492, 614_184, 692_605,
        349_552,
    ];
    assert_eq!(sizes, expected);
}
