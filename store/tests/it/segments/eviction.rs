//! What is oldest goes when there is no room; what a running build was told exists stays.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{
    BlobStore as _, Cellar as _, LeaseId, SegmentStore, Session, Settings, StoreError,
    UploadStore as _, ValueStore as _,
};
use testkit::MemoryDisk;

use super::support::{
    AMPLE_BYTES, LEASE_TIME, SCARCE_BYTES, TestClock, digest, has, has_rightly, key, named, noise,
    now, read, scrub, settings, value, write,
};

fn open(disk: &MemoryDisk) -> (Arc<SegmentStore>, TestClock) {
    open_with(disk, SCARCE_BYTES)
}

fn open_with(disk: &MemoryDisk, budget_bytes: u64) -> (Arc<SegmentStore>, TestClock) {
    let clock = TestClock::new();
    let settings = Settings { clock: Arc::new(clock.clone()), ..settings(budget_bytes) };
    (SegmentStore::open_on(Arc::new(disk.clone()), settings).unwrap(), clock)
}

fn lease(owner: &str, build: &str) -> LeaseId {
    LeaseId::new(&owner.into(), build).unwrap()
}

/// Returns a blob that takes as much room as it has bytes.
fn blob(number: u64) -> Bytes {
    noise(number, 1000 + usize::try_from(number % 17).unwrap() * 1000)
}

fn sizes(disk: &MemoryDisk) -> Vec<(std::path::PathBuf, usize)> {
    disk.paths().into_iter().map(|it| (it.clone(), disk.read(&it).unwrap().len())).collect()
}

/// Writes that many bytes.
fn flood(store: &SegmentStore, disk: &MemoryDisk, first: u64, count: u64) -> Vec<Bytes> {
    let (mut bytes, mut written) = (0, Vec::new());
    for number in first.. {
        let blob = blob(number);
        write(store, &blob).unwrap();
        bytes += blob.len() as u64;
        written.push(blob);
        assert!(disk.bytes_taken() <= SCARCE_BYTES, "{} bytes are taken", disk.bytes_taken());
        if number % 50 == 0 {
            store.keep_house().unwrap();
        }
        if bytes >= count {
            break;
        }
    }
    written
}

#[test]
fn the_oldest_goes_first_and_the_budget_is_kept() {
    let disk = MemoryDisk::new();
    let (store, clock) = open(&disk);
    let mut written = flood(&store, &disk, 0, SCARCE_BYTES);
    clock.pass(Duration::from_secs(100));
    written.extend(flood(&store, &disk, 10_000, SCARCE_BYTES / 2));
    let there: Vec<bool> = written.iter().map(|bytes| has_rightly(&*store, bytes)).collect();
    let first = there.iter().position(|is| *is).unwrap();
    assert!(first > 0 && !there[first..].contains(&false), "only the oldest are gone");
    let kept: u64 = written[first..].iter().map(|it| it.len() as u64).sum();
    assert!(kept > SCARCE_BYTES / 2, "{kept} bytes are kept");
    let stat = store.stat();
    assert_eq!(stat.blobs, (there.len() - first) as u64);
    assert_eq!(stat.logical_bytes, kept);
    let gone: u64 = written[..first].iter().map(|it| it.len() as u64).sum();
    assert_eq!(stat.evicted_bytes, gone);
    assert_eq!(stat.retention_seconds, Some(100), "how old the last was that went");
    drop(store);
    let (again, _) = open(&disk);
    let still: Vec<bool> = written.iter().map(|bytes| has_rightly(&*again, bytes)).collect();
    assert_eq!(still, there, "and the next start finds the same");
}

#[test]
fn what_a_build_was_told_exists_stays_while_others_write_three_times_the_capacity() {
    let disk = MemoryDisk::new();
    let (store, clock) = open(&disk);
    let before: Vec<_> = (0..20).map(blob).collect();
    for bytes in &before {
        write(&*store, bytes).unwrap();
    }
    let build = store.for_lease(&lease("somebody", "a build"));
    // It asks for some, reads some, writes some, and looks up and records values.
    let asked: BTreeSet<_> = before[..8].iter().map(|it| digest(it)).collect();
    assert!(now(build.find_missing(asked)).unwrap().is_empty());
    for bytes in &before[8..12] {
        assert!(now(build.read(digest(bytes))).unwrap().is_some());
    }
    let own: Vec<_> = (500..510).map(blob).collect();
    for bytes in &own {
        now(build.write(digest(bytes), bytes.clone().into())).unwrap();
    }
    now(build.record(&key(1), value("the build's"))).unwrap();
    store.keep_house().unwrap();

    for round in 1..=3 {
        flood(&store, &disk, 1000 * round, SCARCE_BYTES);
        clock.pass(LEASE_TIME / 2);
        let mine = before[..12].iter().chain(&own);
        // A word now and then keeps the lease.
        let missing = now(build.find_missing(mine.clone().map(|it| digest(it)).collect())).unwrap();
        assert!(missing.is_empty(), "round {round}: {} are missing", missing.len());
        assert!(mine.clone().all(|it| has_rightly(&*store, it)), "round {round}");
        assert_eq!(now(build.lookup(&key(1))).unwrap(), Some(value("the build's")));
    }
    assert!(!before[12..].iter().any(|it| has(&*store, digest(it))), "what nobody holds is gone");
    assert_eq!(store.stat().leases, 1);
    let held: usize = before[..12].iter().chain(&own).map(Bytes::len).sum();
    assert!(store.stat().pinned_bytes >= held as u64);

    clock.pass(LEASE_TIME);
    flood(&store, &disk, 9000, 3 * SCARCE_BYTES);
    assert_eq!(store.stat().leases, 0, "a build that is silent for ten minutes is over");
    let mine = before[..12].iter().chain(&own);
    assert!(!mine.clone().any(|it| has(&*store, digest(it))), "and what it held goes");
}

#[test]
fn a_value_that_is_copied_forward_while_its_writer_is_forgotten_is_forgotten() {
    let disk = MemoryDisk::new();
    let (store, _clock) = open(&disk);
    let build = store.for_lease(&lease("somebody", "a build"));
    now(build.record(&key(1), value("poisoned"))).unwrap();
    store.end_segment();
    store.keep_house().unwrap();
    let (others, other_disk) = (Arc::clone(&store), disk.clone());
    disk.meanwhile(Path::new("segments"), move || {
        flood(&others, &other_disk, 0, 2 * SCARCE_BYTES);
        assert!(others.stat().evicted_bytes > 0);
    });
    assert_eq!(now(store.forget_writer("somebody")).unwrap(), 1);
    assert!(store.stat().evicted_bytes > 0, "it was copied while it was looked at");
    assert_eq!(now(store.lookup(&key(1))).unwrap(), None);
}

#[test]
fn what_is_copied_forward_while_it_is_looked_for_is_found() {
    let disk = MemoryDisk::new();
    let (store, _clock) = open(&disk);
    let used = blob(1);
    write(&*store, &used).unwrap();
    // As much as fits, all but.
    flood(&store, &disk, 1000, SCARCE_BYTES / 2);
    assert!(has(&*store, digest(&used)));
    store.keep_house().unwrap();
    assert_eq!(store.stat().evicted_bytes, 0);
    drop(store);

    let (store, _clock) = open(&disk);
    let others = Arc::clone(&store);
    disk.meanwhile(Path::new("index"), move || {
        for number in 5000.. {
            write(&*others, &blob(number)).unwrap();
            if number % 10 == 0 {
                others.keep_house().unwrap();
            }
            if others.stat().evicted_bytes > 0 {
                break;
            }
        }
    });
    assert!(has(&*store, digest(&used)), "nobody holds it, but it is there");
    assert!(store.stat().evicted_bytes > 0, "its segment was dropped while it was looked for");
}

#[test]
fn a_large_blob_that_a_build_holds_stays_in_whatever_form_it_is() {
    let disk = MemoryDisk::new();
    let (store, clock) = open_with(&disk, AMPLE_BYTES);
    let (file, chunked, free) = (noise(1, 3 << 20), noise(2, 3 << 20), noise(3, 3 << 20));
    let unasked = noise(4, 3 << 20);
    let build = store.for_lease(&lease("somebody", "a build"));
    write(&*store, &free).unwrap();
    now(build.write(digest(&chunked), chunked.clone().into())).unwrap();
    // It is cut into chunks after the build has heard of it for the last time.
    now(build.write(digest(&unasked), unasked.clone().into())).unwrap();
    store.keep_house().unwrap();
    assert!(now(build.find_missing([digest(&chunked)].into())).unwrap().is_empty());
    now(build.write(digest(&file), file.clone().into())).unwrap();
    let mut bytes = 0;
    for number in 0.. {
        let other = noise(1000 + number, 400_000);
        write(&*store, &other).unwrap();
        bytes += other.len() as u64;
        if bytes > 3 * AMPLE_BYTES {
            break;
        }
    }
    assert!(disk.bytes_taken() <= AMPLE_BYTES);
    assert!(!has(&*store, digest(&free)), "nobody holds it");
    assert!(has_rightly(&*store, &chunked) && has_rightly(&*store, &file));
    assert!(has_rightly(&*store, &unasked));
    let is_large = |it: &std::path::PathBuf| it.starts_with("large");
    assert_eq!(disk.paths().into_iter().filter(is_large).count(), 1, "one is still a file");
    clock.pass(LEASE_TIME);
    store.keep_house().unwrap();
}

#[test]
fn what_is_used_again_and_again_stays() {
    let disk = MemoryDisk::new();
    let (store, _clock) = open(&disk);
    let (hot, cold): (Vec<_>, Vec<_>) = ((0..10).map(blob).collect(), (20..30).map(blob).collect());
    hot.iter().zip(&cold).for_each(|(hot, cold)| {
        write(&*store, hot).unwrap();
        write(&*store, cold).unwrap();
    });
    now(store.record(&key(1), value("looked up"))).unwrap();
    for round in 0..12 {
        flood(&store, &disk, 1000 * (round + 1), SCARCE_BYTES / 4);
        for (number, bytes) in hot.iter().enumerate() {
            // Read, found and written again count alike.
            match number % 3 {
                0 => assert!(read(&*store, digest(bytes)).is_some(), "round {round}"),
                1 => assert!(has(&*store, digest(bytes)), "round {round}"),
                _ => write(&*store, bytes).unwrap(),
            }
        }
        assert!(now(store.lookup(&key(1))).unwrap().is_some(), "round {round}");
    }
    assert!(!cold.iter().any(|it| has(&*store, digest(it))), "what is not used goes");
}

#[test]
fn a_store_that_is_full_of_what_is_pinned_refuses_to_write_and_breaks_no_lease() {
    let disk = MemoryDisk::new();
    let (store, clock) = open(&disk);
    let builds: Vec<_> =
        ["a", "b", "c"].map(|it| store.for_lease(&lease(it, "a greedy build"))).into();
    let mut held = Vec::new();
    let refused = loop {
        let bytes = blob(held.len() as u64);
        match now(builds[held.len() % 3].write(digest(&bytes), bytes.clone().into())) {
            Ok(()) => held.push(bytes),
            Err(error) => break error,
        }
        if held.len() % 50 == 0 {
            store.keep_house().unwrap();
        }
        assert!(disk.bytes_taken() <= SCARCE_BYTES, "{:?}", sizes(&disk));
    };
    assert!(
        matches!(refused, StoreError::Full { budget_bytes: SCARCE_BYTES, pinned_bytes }
        if pinned_bytes > SCARCE_BYTES / 2),
        "{refused}"
    );
    for number in 5000..5050 {
        let refused = write(&*store, &blob(number)).is_err();
        assert!(refused || number < 5040, "others find no room either");
        let _ = store.keep_house();
    }
    assert!(held.iter().all(|bytes| has_rightly(&*store, bytes)), "all of it is there");
    assert!(disk.bytes_taken() <= SCARCE_BYTES, "{:?}", sizes(&disk));

    clock.pass(LEASE_TIME);
    write(&*store, &blob(6000)).unwrap();
    flood(&store, &disk, 7000, 2 * SCARCE_BYTES);
    assert!(!held.iter().any(|bytes| has(&*store, digest(bytes))));
}

#[test]
fn what_one_owner_pins_leaves_room_for_the_others() {
    let disk = MemoryDisk::new();
    let (store, clock) = open(&disk);
    let greedy = store.for_lease(&lease("a stranger", "a greedy build"));
    let told: Vec<_> = (0..500).map(blob).collect();
    for bytes in &told {
        now(greedy.write(digest(bytes), bytes.clone().into())).unwrap();
        let pinned = store.stat().pinned_bytes;
        assert!(pinned <= SCARCE_BYTES / 2, "{pinned} bytes are pinned");
    }
    assert!(store.stat().pinned_bytes > SCARCE_BYTES / 3);
    flood(&store, &disk, 10_000, 2 * SCARCE_BYTES);
    let is_held: Vec<_> = told.iter().map(|it| has_rightly(&*store, it)).collect();
    let first_gone = is_held.iter().position(|is| !is).unwrap();
    let held: usize = told[..first_gone].iter().map(Bytes::len).sum();
    assert!(held as u64 > SCARCE_BYTES / 3, "it holds {held} bytes");

    // The next build of the same owner takes the place of the one that is silent.
    clock.pass(Duration::from_secs(1));
    let next = store.for_lease(&lease("a stranger", "the next build"));
    let own = blob(20_000);
    now(next.write(digest(&own), own.clone().into())).unwrap();
    assert_eq!(store.stat().leases, 1);
    flood(&store, &disk, 30_000, 2 * SCARCE_BYTES);
    assert!(has_rightly(&*store, &own));
    assert!(!has(&*store, digest(&told[0])));
}

#[test]
fn builds_that_make_room_for_another_of_their_owner_end_together() {
    let disk = MemoryDisk::new();
    let (store, clock) = open_with(&disk, AMPLE_BYTES);
    let mut builds = Vec::new();
    for number in 0.. {
        let (build, bytes) = (format!("build {number}"), noise(number, 256 << 10));
        let before = store.stat();
        let view = store.for_lease(&lease("somebody", &build));
        now(view.write(digest(&bytes), bytes.clone().into())).unwrap();
        builds.push(bytes);
        clock.pass(Duration::from_secs(1));
        let stat = store.stat();
        assert!(stat.pinned_bytes <= AMPLE_BYTES / 2);
        if stat.leases <= before.leases {
            // A build more each time would ask all the others each time.
            let ended = before.leases + 1 - stat.leases;
            let share = before.leases / 8;
            assert!((share..share + 3).contains(&ended), "{ended} of {} ended", before.leases);
            break;
        }
    }
    for number in 1000..1200 {
        write(&*store, &noise(number, 256 << 10)).unwrap();
    }
    let there: Vec<_> = builds.iter().map(|it| has_rightly(&*store, it)).collect();
    let first = there.iter().position(|is| *is).unwrap();
    assert_eq!(first, there.len() - usize::try_from(store.stat().leases).unwrap());
    assert!(!there[first..].contains(&false), "those that were silent longest ended");
}

#[test]
fn what_one_owner_pins_of_large_blobs_counts_also_when_they_are_cut() {
    /// How many bytes each blob has: it is a file, and then chunks.
    const LARGE_BYTES: usize = 3 << 20;
    let disk = MemoryDisk::new();
    let (store, _clock) = open_with(&disk, AMPLE_BYTES);
    let greedy = store.for_lease(&lease("a stranger", "a greedy build"));
    let told: Vec<_> = (0..20).map(|number| noise(number, LARGE_BYTES)).collect();
    for bytes in &told {
        now(greedy.write(digest(bytes), bytes.clone().into())).unwrap();
        store.keep_house().unwrap();
        // A chunk counts as up to a quarter more than it has.
        let pinned = store.stat().pinned_bytes;
        assert!(pinned <= AMPLE_BYTES / 8 * 5, "{pinned} bytes are pinned");
    }
    let pinned = store.stat().pinned_bytes;
    assert!(pinned > AMPLE_BYTES / 3, "{pinned} bytes are pinned");
    for number in 100..112 {
        write(&*store, &noise(number, LARGE_BYTES)).unwrap();
        store.keep_house().unwrap();
    }
    let held = told.iter().filter(|it| has_rightly(&*store, it)).count() * LARGE_BYTES;
    assert!(held as u64 > AMPLE_BYTES / 3 && held as u64 <= AMPLE_BYTES / 2, "it holds {held}");
}

#[test]
fn however_many_builds_somebody_invents_nobody_else_loses_his_lease() {
    let disk = MemoryDisk::new();
    let (store, clock) = open(&disk);
    let (mine, known) = (blob(1), blob(2));
    write(&*store, &known).unwrap();
    let build = store.for_lease(&lease("somebody", "a build"));
    now(build.write(digest(&mine), mine.clone().into())).unwrap();
    clock.pass(Duration::from_secs(1));
    for number in 0..5000 {
        let invented = store.for_lease(&lease("a stranger", &number.to_string()));
        assert!(now(invented.find_missing(BTreeSet::new())).unwrap().is_empty());
        assert!(number > 0 || store.stat().leases == 1, "who asks for nothing holds nothing");
        assert!(now(invented.find_missing([digest(&known)].into())).unwrap().is_empty());
    }
    assert!(store.stat().leases <= 4096);
    let late = store.for_lease(&lease("somebody else", "another build"));
    let own = blob(3);
    now(late.write(digest(&own), own.clone().into())).unwrap();
    flood(&store, &disk, 10_000, 2 * SCARCE_BYTES);
    assert!(has_rightly(&*store, &mine) && has_rightly(&*store, &own));
}

#[test]
fn what_was_forgotten_stays_forgotten_when_its_segment_outlives_the_index() {
    let disk = MemoryDisk::new();
    let (store, _clock) = open(&disk);
    let (kept, forgotten) = (blob(1), blob(2));
    write(&*store, &kept).unwrap();
    write(&*store, &forgotten).unwrap();
    now(store.record(&key(1), value("said"))).unwrap();
    flood(&store, &disk, 100, SCARCE_BYTES);
    write(&*store, &kept).unwrap();
    write(&*store, &forgotten).unwrap();
    now(store.record(&key(1), value("said again"))).unwrap();
    assert!(now(store.forget_blob(digest(&forgotten))).unwrap());
    assert_eq!(now(store.forget_writer("somebody")).unwrap(), 1);
    flood(&store, &disk, 400, SCARCE_BYTES);
    let was_kept = has(&*store, digest(&kept));
    drop(store);
    store::Disk::remove(&disk, Path::new("index")).unwrap();
    let (again, _) = open(&disk);
    assert_eq!(has_rightly(&*again, &kept), was_kept);
    assert!(!has_rightly(&*again, &forgotten));
    assert_eq!(now(again.lookup(&key(1))).unwrap(), None);
}

#[test]
fn one_digest_written_by_many_at_once_is_there_rightly_or_not_at_all() {
    const WRITERS: u64 = 8;
    const ROUNDS: u64 = 12;
    let disk = MemoryDisk::new();
    let mut settings = Settings::new(SCARCE_BYTES);
    settings.housekeeping = store::Housekeeping::Threads;
    let store = SegmentStore::open_on(Arc::new(disk.clone()), settings).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    // Eight times each of eight writers: sixty-four times the same bytes, between others that push them out.
                    let shared = blob(round);
                    write(&**store, &shared).unwrap();
                    for number in 0..8 {
                        write(&**store, &blob(10_000 + (writer * ROUNDS + round) * 8 + number))
                            .unwrap();
                        let found = read(&**store, digest(&shared));
                        assert!(found.is_none() || found.as_ref() == Some(&shared));
                        write(&**store, &shared).unwrap();
                    }
                    let older = blob(round / 2);
                    let found = read(&**store, digest(&older));
                    assert!(found.is_none() || found.as_ref() == Some(&older));
                }
            });
        }
    });
    for round in 0..ROUNDS {
        has_rightly(&*store, &blob(round));
    }
    assert_eq!(store.stat().corrupt, 0);
    assert!(store.stat().evicted_bytes > 0);
    let scrubbed = scrub(&store).unwrap();
    assert_eq!(scrubbed.corrupt, 0);
}

#[test]
fn a_lease_holds_while_threads_write_and_evict() {
    let disk = MemoryDisk::new();
    let mut settings = Settings::new(SCARCE_BYTES);
    settings.housekeeping = store::Housekeeping::Threads;
    let store = SegmentStore::open_on(Arc::new(disk.clone()), settings).unwrap();
    let build = store.for_lease(&lease("somebody", "a build"));
    std::thread::scope(|scope| {
        let others = scope.spawn(|| {
            for number in 0..1500 {
                write(&*store, &blob(100_000 + number)).unwrap();
            }
        });
        let mut told = BTreeSet::new();
        let mut number = 0;
        while !others.is_finished() {
            number += 1;
            // What others have just written, if it is there, and a little of its own.
            let candidates = (0..3).map(|it| digest(&blob(100_000 + (number * 37 + it) % 1500)));
            let asked: BTreeSet<_> = candidates.collect();
            if told.len() < 60 {
                let missing = now(build.find_missing(asked.clone())).unwrap();
                told.extend(asked.difference(&missing));
            }
            for digest in &told {
                assert!(now(build.read(*digest)).unwrap().is_some(), "it was told that it exists");
            }
        }
        others.join().unwrap();
        assert!(!told.is_empty());
        assert!(now(store.find_missing(told)).unwrap().is_empty());
    });
}

#[test]
fn interrupted_uploads_are_forgotten_after_a_night_and_take_a_part_of_the_budget() {
    let disk = MemoryDisk::new();
    let (store, clock) = open_with(&disk, AMPLE_BYTES);
    let large = noise(1, 3 << 20);
    let name = digest(&large);
    let begin = |session: &str| {
        let mut upload = now(store.upload(&[name], Some(&named(session)))).unwrap();
        upload.write(large.slice(..2_900_000)).unwrap();
    };
    begin("an evening");
    clock.pass(Duration::from_secs(11 * 60 * 60));
    store.keep_house().unwrap();
    assert_eq!(now(store.uploaded(&[name], &named("an evening"))).unwrap(), Some(2_900_000));
    clock.pass(Duration::from_secs(60 * 60));
    store.keep_house().unwrap();
    assert_eq!(now(store.uploaded(&[name], &named("an evening"))).unwrap(), None);
    assert!(!disk.paths().iter().any(|it| it.starts_with("uploads")));

    let sessions: Vec<String> = (0..6).map(|it| format!("session {it}")).collect();
    for session in &sessions {
        clock.pass(Duration::from_secs(1));
        begin(session);
    }
    let kept = |session: &&String| now(store.uploaded(&[name], &named(session))).unwrap().is_some();
    let kept: Vec<&String> = sessions.iter().filter(kept).collect();
    assert_eq!(kept, sessions[4..].iter().collect::<Vec<_>>(), "an eighth of 64 MiB, the latest");
}

#[test]
fn what_interrupted_uploads_take_is_given_back_whoever_replaces_whom() {
    let disk = MemoryDisk::new();
    let (store, clock) = open_with(&disk, AMPLE_BYTES);
    let large = noise(1, 3 << 20);
    let name = digest(&large);
    let before = store.stat().physical_bytes;
    for _ in 0..3 {
        // A client comes again before the server sees that its connection is gone.
        let mut uploads: Vec<_> = (0..2)
            .map(|_| now(store.upload(&[name], Some(&named("a session")))).unwrap())
            .collect();
        for (upload, bytes) in uploads.iter_mut().zip([2_000_000, 1_000_000]) {
            let begun = usize::try_from(upload.bytes()).unwrap();
            upload.write(large.slice(begun.min(bytes)..bytes)).unwrap();
        }
        drop(uploads);
    }
    assert_eq!(now(store.uploaded(&[name], &named("a session"))).unwrap(), Some(1_000_000));
    assert_eq!(store.stat().physical_bytes, before + 1_000_000, "one of them is there");

    let mut nameless = now(store.upload(&[name], None)).unwrap();
    nameless.write(large.slice(..1_000_000)).unwrap();
    drop(nameless);
    assert_eq!(store.stat().physical_bytes, before + 1_000_000, "nobody could take it up");

    clock.pass(Duration::from_secs(13 * 60 * 60));
    store.keep_house().unwrap();
    assert_eq!(store.stat().physical_bytes, before);
    assert!(!disk.paths().iter().any(|it| it.starts_with("uploads")));
}

#[test]
fn whoever_interrupts_most_uploads_loses_his_own_first() {
    let disk = MemoryDisk::new();
    let (store, clock) = open_with(&disk, AMPLE_BYTES);
    let large = noise(1, 3 << 20);
    let name = digest(&large);
    let of = |owner: &str, number: usize| Session { owner: owner.into(), name: number.to_string() };
    let interrupt = |store: &SegmentStore, session: &Session, bytes: usize| {
        let mut upload = now(store.upload(&[name], Some(session))).unwrap();
        upload.write(large.slice(..bytes)).unwrap();
    };
    let mine = of("somebody", 0);
    interrupt(&store, &mine, 2_000_000);
    clock.pass(Duration::from_secs(1));
    for number in 0..4200 {
        clock.pass(Duration::from_millis(1));
        interrupt(&store, &of("a stranger", number), 1);
    }
    assert_eq!(now(store.uploaded(&[name], &mine)).unwrap(), Some(2_000_000), "of their number");
    let kept = |number| now(store.uploaded(&[name], &of("a stranger", number))).unwrap().is_some();
    assert!(!kept(0) && kept(4199));

    // Whose they are is known after the next start, too.
    drop(store);
    let (again, _) = open_with(&disk, AMPLE_BYTES);
    for number in 0..4 {
        interrupt(&again, &of("a stranger", number), 2_900_000);
    }
    assert_eq!(now(again.uploaded(&[name], &mine)).unwrap(), Some(2_000_000), "of their bytes");
}
