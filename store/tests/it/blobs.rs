//! Blobs: what goes in comes out, under its own name or not at all.

use std::fs::{self, File};
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use model::Digest;
use store::{FILE_TIME_SECONDS, StoreError};

use crate::support::{Place, corrupt, digest};

/// Far more than is ever held in memory at once.
const LARGE_BLOB_BYTES: u64 = 40 << 20;

#[test]
fn bytes_are_kept_read_only_under_their_hash() {
    let place = Place::new();
    let store = place.open();
    let kept = store.ingest(&mut &b"hello"[..], false).unwrap();
    assert_eq!(kept, digest(b"hello"));
    let metadata = fs::metadata(place.blob_path(kept, false)).unwrap();
    assert_eq!(metadata.permissions().mode() & 0o7777, 0o444);
    assert_eq!(metadata.mtime(), FILE_TIME_SECONDS);
    assert_eq!(store.read_bytes(kept).unwrap().unwrap(), &b"hello"[..]);
    assert_eq!(store.bytes_written(), 5);
}

#[test]
fn what_does_not_hash_to_its_name_is_refused_and_leaves_nothing() {
    let place = Place::new();
    let store = place.open();
    let expected = digest(b"expected");
    for wrong in [&b"Expected"[..], b"expect", b"expected and more", b""] {
        let refused = store.ingest_as(expected, &mut &wrong[..]);
        assert!(matches!(refused, Err(StoreError::Mismatch { .. })), "{refused:?}");
    }
    assert!(!store.contains(expected).unwrap());
    assert_eq!(place.names("tmp"), Vec::<String>::new());
    store.ingest_as(expected, &mut &b"expected"[..]).unwrap();
    assert!(store.contains(expected).unwrap());
}

#[test]
fn a_reader_that_fails_half_way_leaves_nothing() {
    struct Broken(u64);
    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let read = self.0.min(buffer.len() as u64);
            self.0 -= read;
            if read == 0 { Err(io::Error::other("the cable is out")) } else { Ok(buffer.len()) }
        }
    }
    let place = Place::new();
    let store = place.open();
    for good in [0, 10, 3 << 20] {
        let failed = store.ingest(&mut Broken(good), false);
        assert!(matches!(failed, Err(StoreError::Input { .. })), "{failed:?}");
        let failed = store.ingest_as(digest(b"anything"), &mut Broken(good));
        assert!(matches!(failed, Err(StoreError::Input { .. } | StoreError::Mismatch { .. })));
    }
    assert_eq!(place.names("tmp"), Vec::<String>::new());
    assert_eq!(place.names("blobs"), Vec::<String>::new());
}

#[test]
fn an_executable_is_a_twin_of_its_own() {
    let place = Place::new();
    let store = place.open();
    let tool = store.ingest_bytes(b"#!/bin/sh", true).unwrap();
    assert!(!place.blob_path(tool, false).exists());
    assert_eq!(store.read_bytes(tool).unwrap().unwrap(), &b"#!/bin/sh"[..]);
    store.ingest_bytes(b"#!/bin/sh", false).unwrap();
    let mode = |executable| fs::metadata(place.blob_path(tool, executable)).unwrap().mode();
    assert_eq!(mode(true) & 0o7777, 0o555);
    assert_eq!(mode(false) & 0o7777, 0o444);
    let inode = |executable| fs::metadata(place.blob_path(tool, executable)).unwrap().ino();
    assert_ne!(inode(true), inode(false), "a mode belongs to an inode");
}

#[test]
fn the_empty_blob_needs_no_file_but_can_be_opened() {
    let place = Place::new();
    let store = place.open();
    let empty = digest(b"");
    assert!(store.contains(empty).unwrap());
    assert_eq!(store.read_bytes(empty).unwrap().unwrap().len(), 0);
    let mut text = String::new();
    store.open_blob(empty).unwrap().unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "");
    assert_eq!(store.ingest(&mut io::empty(), false).unwrap(), empty);
}

#[test]
fn a_large_blob_is_streamed_both_ways() {
    let place = Place::new();
    let store = place.open();
    let mut hasher = model::Hasher::new(store.function());
    io::copy(&mut io::repeat(7).take(LARGE_BLOB_BYTES), &mut hasher).unwrap();
    let expected = hasher.finish();
    let kept = store.ingest(&mut io::repeat(7).take(LARGE_BLOB_BYTES), false).unwrap();
    assert_eq!(kept, expected);
    assert!(matches!(store.read_blob(kept).unwrap().unwrap(), store::Blob::File(_)));

    let other = Place::new();
    let other = other.open();
    other.ingest_as(kept, &mut store.open_blob(kept).unwrap().unwrap()).unwrap();
    assert!(other.contains(kept).unwrap());
}

#[test]
fn a_finished_file_is_adopted_by_renaming_it() {
    let place = Place::new();
    let store = place.open();
    let scratch = store.scratch().unwrap();
    let (one, same) = (scratch.path().join("one"), scratch.path().join("same"));
    for path in [&one, &same] {
        File::create(path).unwrap().write_all(b"made by an action").unwrap();
    }
    let inode = fs::metadata(&one).unwrap().ino();
    let kept = store.adopt(&one, true).unwrap();
    assert_eq!(kept, digest(b"made by an action"));
    assert!(!one.exists());
    let metadata = fs::metadata(place.blob_path(kept, true)).unwrap();
    assert_eq!((metadata.ino(), metadata.mode() & 0o7777), (inode, 0o555));

    assert_eq!(store.adopt(&same, true).unwrap(), kept);
    assert!(!same.exists(), "a second copy is dropped");
    assert_eq!(fs::metadata(place.blob_path(kept, true)).unwrap().ino(), inode);
    let path = scratch.path().to_owned();
    drop(scratch);
    assert!(!path.exists());
}

#[test]
fn a_corrupted_blob_is_set_aside_when_it_is_read_and_can_be_kept_again() {
    let place = Place::new();
    let store = place.open();
    let blob = store.ingest_bytes(b"precious", false).unwrap();
    corrupt(&place.blob_path(blob, false));
    assert!(store.read_bytes(blob).unwrap().is_none());
    assert_eq!(place.names("quarantine"), [blob.hex()]);
    assert!(!store.contains(blob).unwrap());
    store.ingest_bytes(b"precious", false).unwrap();
    assert_eq!(store.read_bytes(blob).unwrap().unwrap(), &b"precious"[..]);
}

#[test]
fn a_blob_of_the_wrong_length_is_absent_and_replaced_by_a_right_one() {
    let place = Place::new();
    let store = place.open();
    let blob = store.ingest_bytes(b"precious", false).unwrap();
    let path = place.blob_path(blob, false);
    fs::remove_file(&path).unwrap();
    fs::write(&path, b"").unwrap();
    assert!(!store.contains(blob).unwrap());
    assert!(store.read_bytes(blob).unwrap().is_none());
    store.ingest_bytes(b"precious", false).unwrap();
    assert_eq!(store.read_bytes(blob).unwrap().unwrap(), &b"precious"[..]);
}

#[test]
fn verification_sets_aside_exactly_what_is_wrong() {
    let place = Place::new();
    let store = place.open();
    let (good, bad) = (digest(b"good"), digest(b"bad"));
    for bytes in [b"good" as &[u8], b"bad"] {
        store.ingest_bytes(bytes, false).unwrap();
        store.ingest_bytes(bytes, true).unwrap();
    }
    assert_eq!(store.verify().unwrap().quarantined.len(), 0);
    corrupt(&place.blob_path(bad, true));
    let verified = store.verify().unwrap();
    assert_eq!(verified.quarantined, [store.root().join(relative(&place, bad))]);
    assert_eq!((verified.blobs, verified.bytes), (4, 14));
    assert!(store.read_bytes(good).unwrap().is_some());
    assert!(place.blob_path(bad, false).exists(), "the twin was right");
    assert_eq!(store.verify().unwrap().quarantined.len(), 0);
}

fn relative(place: &Place, digest: Digest) -> std::path::PathBuf {
    place.blob_path(digest, true).strip_prefix(place.root()).unwrap().to_owned()
}

#[test]
fn a_store_of_another_format_is_refused() {
    let place = Place::new();
    drop(place.open());
    fs::write(place.root().join("format"), "bld-store 99\n").unwrap();
    let refused = store::LocalStore::open(place.root(), crate::support::FUNCTION).unwrap_err();
    assert!(matches!(refused, StoreError::Format { .. }), "{refused:?}");
}
