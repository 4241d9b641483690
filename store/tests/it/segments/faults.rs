//! Every call to the disk fails once: nothing is torn, nothing wrong is said, and the store goes on when the disk does.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use store::{
    Acknowledge, BlobStore as _, Cellar as _, ChunkStore as _, LeaseId, SegmentStore, StoreError,
    UploadStore as _, ValueStore as _,
};
use testkit::{Fault, MemoryDisk};

use super::support::{
    SCARCE_BYTES, digest, has, has_rightly, key, named, noise, now, open, read, scrub, settings,
    text, try_open, value, write,
};

/// A blob that is a file at first, made once for all of the many times that it is written.
static LARGE: LazyLock<Bytes> = LazyLock::new(|| noise(1, (2 << 20) + 99));

/// Does a bit of everything, and notes what was acknowledged. Ends at the first error.
fn work(disk: &MemoryDisk, said: &mut Said) -> Result<(), StoreError> {
    let store = try_open(disk)?;
    for number in 0..6 {
        let bytes = text(number, 200 + 100 * usize::try_from(number).unwrap());
        write(&*store, &bytes)?;
        said.blobs.push(bytes);
        said.record(&store, number % 2, number)?;
    }
    store.end_segment();
    store.keep_house()?;
    let large = LARGE.clone();
    let mut upload = now(store.upload(&[digest(&large)], Some(&named("a session"))))?;
    upload.write(large.slice(..1 << 20))?;
    drop(upload);
    let mut upload = now(store.upload(&[digest(&large)], Some(&named("a session"))))?;
    let sent = usize::try_from(upload.bytes()).unwrap();
    upload.write(large.slice(sent..))?;
    upload.finish()?;
    said.blobs.push(large.clone());
    let chunks = now(store.split(digest(&large)))?.unwrap_or_default();
    for bytes in &said.blobs {
        if let Some(blob) = now(store.read(digest(bytes)))? {
            let found = blob.into_bytes().map_err(|source| StoreError::Input { source })?;
            assert!(found == bytes);
        }
    }
    now(store.splice(digest(&large), &chunks))?;
    said.record(&store, 1, 99)?;
    store.keep_house()?;
    scrub(&store)?;
    store.close()
}

/// What was acknowledged.
#[derive(Default)]
struct Said {
    blobs: Vec<Bytes>,
    /// The last value of each key, and the one that may or may not have been recorded after it.
    values: std::collections::BTreeMap<u64, (Option<u64>, Option<u64>)>,
}

impl Said {
    fn record(&mut self, store: &SegmentStore, name: u64, number: u64) -> Result<(), StoreError> {
        self.values.entry(name).or_default().1 = Some(number);
        now(store.record(&key(name), value(&number.to_string())))?;
        self.values.insert(name, (Some(number), None));
        Ok(())
    }

    fn check(&self, store: &SegmentStore, what: &str) {
        for bytes in &self.blobs {
            assert!(has_rightly(store, bytes), "{what}: {} was acknowledged", digest(bytes));
        }
        for (name, (last, perhaps)) in &self.values {
            let found = now(store.lookup(&key(*name))).unwrap();
            let is = |number: &Option<u64>| found == number.map(|it| value(&it.to_string()));
            assert!(is(last) || perhaps.is_some() && is(perhaps), "{what}: key {name}");
        }
    }
}

fn every_call_fails_once(fault: Fault) {
    for nth in 0.. {
        let disk = MemoryDisk::failing_on_call(nth, fault);
        let mut said = Said::default();
        let worked = work(&disk, &mut said);
        let killed = disk.after_kill();
        let what = format!("{fault:?} at call {nth}, {worked:?}");
        if !disk.mend() {
            worked.unwrap();
            assert!(nth > 100, "there are more calls than {nth}");
            return;
        }
        // What was written is there for the next process, wherever this one was.
        for disk in [disk, killed] {
            let store = open(&disk);
            said.check(&store, &what);
            // And the store goes on.
            let bytes = text(1000, 1000);
            write(&*store, &bytes).unwrap();
            store.keep_house().unwrap();
            assert_eq!(read(&*store, digest(&bytes)), Some(bytes));
            assert_eq!(store.stat().corrupt, 0, "{what}");
            said.check(&store, &what);
        }
    }
}

#[test]
fn a_disk_that_does_not_answer_once_loses_nothing_at_any_call() {
    every_call_fails_once(Fault::Unreadable);
}

#[test]
fn a_disk_that_is_full_once_loses_nothing_at_any_call() {
    every_call_fails_once(Fault::Full);
}

#[test]
fn a_disk_that_writes_a_part_loses_nothing_at_any_call() {
    every_call_fails_once(Fault::Short);
}

#[test]
fn a_store_goes_on_after_a_fault_without_being_opened_again() {
    for nth in 0..600 {
        let disk = MemoryDisk::new();
        let store = open(&disk);
        let mut said = Said::default();
        disk.fail_on_call(nth, Fault::Unreadable);
        for number in 0..40 {
            let bytes = text(number, 300);
            if write(&*store, &bytes).is_ok() {
                said.blobs.push(bytes);
            }
            if number % 8 == 7 {
                store.end_segment();
                let _ = store.keep_house();
            }
        }
        let has_failed = disk.mend();
        store.keep_house().unwrap();
        said.check(&store, &format!("call {nth}"));
        assert!(
            said.blobs.len() >= 38,
            "call {nth}: one call failed, not {}",
            40 - said.blobs.len()
        );
        drop(store);
        said.check(&open(&disk), &format!("call {nth}, opened again"));
        if !has_failed {
            return;
        }
    }
    unreachable!("there are fewer calls");
}

#[test]
fn what_the_disk_does_not_take_is_written_again_before_it_is_acknowledged() {
    for nth in 0.. {
        let disk = MemoryDisk::new();
        let mut settings = settings(SCARCE_BYTES * 8);
        settings.acknowledge = Acknowledge::Committed;
        let store = SegmentStore::open_on(Arc::new(disk.clone()), settings).unwrap();
        let small = text(1, 3000);
        disk.fail_on_call(nth, Fault::Unreadable);
        for bytes in [&*LARGE, &small] {
            if write(&*store, bytes).is_err() {
                write(&*store, bytes).unwrap();
            }
        }
        let before = disk.after_power_loss(nth);
        if store.keep_house().is_err() {
            store.keep_house().unwrap();
        }
        let has_failed = disk.mend();
        for disk in [before, disk.after_power_loss(nth)] {
            let again = open(&disk);
            assert!(has_rightly(&*again, &LARGE) && has_rightly(&*again, &small), "call {nth}");
            assert_eq!(again.stat().corrupt, 0, "call {nth}");
        }
        if !has_failed {
            assert!(nth > 50, "there are more calls than {nth}");
            return;
        }
    }
}

#[test]
fn the_file_of_a_large_blob_goes_with_its_record_whatever_fails() {
    for nth in 0.. {
        let disk = MemoryDisk::new();
        let store = open(&disk);
        write(&*store, &LARGE).unwrap();
        disk.fail_on_call(nth, Fault::Unreadable);
        if now(store.forget_blob(digest(&LARGE))).is_err() {
            now(store.forget_blob(digest(&LARGE))).unwrap();
        }
        let has_failed = disk.mend();
        store.keep_house().unwrap();
        let left = disk.paths().into_iter().find(|it| it.starts_with("large"));
        assert_eq!(left, None, "call {nth}");
        if !has_failed {
            assert!(nth > 3, "there are more calls than {nth}");
            return;
        }
    }
}

#[test]
fn the_file_of_a_large_blob_stays_until_its_chunks_are_on_the_disk() {
    let disk = MemoryDisk::new();
    let store = open(&disk);
    write(&*store, &LARGE).unwrap();
    store.commit().unwrap();
    for nth in 0.. {
        let disk = disk.after_kill();
        let store = open(&disk);
        now(store.split(digest(&LARGE))).unwrap();
        disk.fail_on_call(nth, Fault::Unreadable);
        let kept = store.keep_house();
        let has_failed = disk.mend();
        let again = open(&disk.after_power_loss(nth));
        assert!(has_rightly(&*again, &LARGE), "call {nth}, {kept:?}");
        if !has_failed {
            assert!(nth > 10, "there are more calls than {nth}");
            return;
        }
    }
}

#[test]
fn names_wait_for_the_index_in_bounded_memory() {
    /// More than may wait, with room to spare.
    const NAMES: u64 = 530_000;
    let disk = MemoryDisk::new();
    // All of them are in one journal.
    let store = SegmentStore::open_on(Arc::new(disk.clone()), settings(8 << 30)).unwrap();
    let before = store.stat().physical_bytes;
    for number in 0..NAMES {
        write(&*store, &Bytes::copy_from_slice(&number.to_le_bytes())).unwrap();
    }
    let index_bytes = disk.read(std::path::Path::new("index")).unwrap().len();
    assert!(
        index_bytes > 20 << 20,
        "{index_bytes} bytes: nobody kept the house, but the names are there ({before})"
    );
}

#[test]
fn a_full_disk_is_an_answer_and_the_store_goes_on_when_there_is_room() {
    let disk = MemoryDisk::new();
    let store: Arc<SegmentStore> =
        SegmentStore::open_on(Arc::new(disk.clone()), settings(SCARCE_BYTES * 8)).unwrap();
    let mut said = Said::default();
    for number in 0..50 {
        let bytes = noise(number, 20_000);
        write(&*store, &bytes).unwrap();
        said.blobs.push(bytes);
    }
    // Somebody else takes all the room there is.
    disk.limit(Some(disk.bytes_taken()));
    let mut refused = 0;
    for number in 100..200 {
        let bytes = noise(number, 20_000);
        match write(&*store, &bytes) {
            Ok(()) => said.blobs.push(bytes),
            Err(error) => {
                assert!(error.is_full(), "{error}");
                refused += 1;
                assert!(!has(&*store, digest(&bytes)));
            }
        }
        // Whatever the housekeeping does about it, it tears nothing.
        if number % 10 == 0 {
            let _ = store.keep_house();
        }
    }
    assert!(refused > 50, "only {refused} were refused");
    let mut upload =
        now(store.upload(&[digest(&noise(1, 3 << 20))], Some(&named("large")))).unwrap();
    assert!(upload.write(noise(1, 3 << 20)).unwrap_err().is_full());
    drop(upload);
    said.check(&store, "while it is full");
    said.check(&open(&disk.after_kill()), "after a kill while it is full");

    disk.limit(None);
    for number in 100..200 {
        let bytes = noise(number, 20_000);
        write(&*store, &bytes).unwrap();
        said.blobs.push(bytes);
    }
    store.keep_house().unwrap();
    said.check(&store, "when there is room again");
}

#[test]
fn a_fault_while_room_is_made_breaks_no_lease_and_serves_nothing_wrong() {
    let others: Vec<_> = (0..80).map(|it| noise(it, 60_000)).collect();
    // Not each of the many calls: those that make room are the same for each segment.
    for nth in (0..).step_by(23) {
        let disk = MemoryDisk::new();
        let store = SegmentStore::open_on(Arc::new(disk.clone()), settings(SCARCE_BYTES)).unwrap();
        let build = store.for_lease(&LeaseId::new(&"somebody".into(), "a build").unwrap());
        let held: Vec<_> = (0..10).map(|it| text(it, 5000)).collect();
        for bytes in &held {
            now(build.write(digest(bytes), bytes.clone().into())).unwrap();
        }
        disk.fail_on_call(nth, Fault::Unreadable);
        for (number, bytes) in others.iter().enumerate() {
            let _ = write(&*store, bytes);
            if number % 20 == 19 {
                let _ = store.keep_house();
            }
        }
        let has_failed = disk.mend();
        store.keep_house().unwrap();
        for bytes in &held {
            assert!(has_rightly(&*store, bytes), "call {nth}: it is held");
        }
        for bytes in &others {
            has_rightly(&*store, bytes);
        }
        assert!(disk.bytes_taken() <= SCARCE_BYTES, "call {nth}");
        assert!(store.stat().evicted_bytes > 0);
        let killed = open(&disk.after_kill());
        assert!(held.iter().all(|bytes| has_rightly(&*killed, bytes)), "call {nth}, after a kill");
        if !has_failed {
            assert!(nth > 500, "there are more calls than {nth}");
            return;
        }
    }
}
