//! A server that is killed at any instant while it is written to: what it acknowledged is there for the next one.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use store::{BlobStore as _, Cellar as _, SegmentStore, Settings, ValueStore as _};
use tempfile::TempDir;
use testkit::MemoryDisk;

use super::support::{digest, has_rightly, key, noise, now, scrub, text, value, write};
use crate::children::{Job, Running, say, wait_for_the_end};

/// How often a server is killed and started again on the same store.
const ROUNDS: u64 = 6;

/// How many things a round writes at most: by then the parent has killed it, or has failed.
const WRITES: u64 = 4000;

/// How many keys there are: each is recorded many times in a round.
const KEYS: u64 = 5;

/// What a store may take: with a segment of it being filled, compressed and begun many times in a round.
const BUDGET_BYTES: u64 = 64 << 20;

fn open(root: &std::path::Path) -> Arc<SegmentStore> {
    SegmentStore::open(root, Settings::new(BUDGET_BYTES)).unwrap()
}

/// Returns what is written as the `number`-th thing of a round.
fn thing(round: u64, number: u64) -> Bytes {
    let number = round << 32 | number;
    match number % 64 {
        0 => noise(number, (2 << 20) + 1000),
        it if it < 32 => noise(number, 3000),
        _ => text(number, 500),
    }
}

#[test]
fn what_was_acknowledged_survives_kill_9_at_any_instant() {
    let test = "segments::crashes::what_was_acknowledged_survives_kill_9_at_any_instant";
    if let Some(job) = Job::of_this_process() {
        let store = open(&job.root);
        for number in 0..WRITES {
            write(&*store, &thing(job.seed, number)).unwrap();
            now(store.record(&key(number % KEYS), value(&format!("{} {number}", job.seed))))
                .unwrap();
            say(&number.to_string());
        }
        return wait_for_the_end();
    }
    let place = TempDir::new().unwrap();
    let mut written = Vec::new();
    for round in 0..ROUNDS {
        let mut child = Running::start(test, place.path(), round);
        // Sometimes early, sometimes after a few segments.
        let last = 3 + (round * 131) % 500;
        while child.hear().expect("it does not end by itself") != last.to_string() {}
        child.kill();
        written.extend((0..=last).map(|number| thing(round, number)));

        let store = open(place.path());
        assert!(written.iter().all(|bytes| has_rightly(&*store, bytes)), "round {round}");
        for name in 0..KEYS {
            let said = now(store.lookup(&key(name))).unwrap();
            let Some(acknowledged) = (0..=last).rev().find(|it| it % KEYS == name) else {
                continue;
            };
            let said = String::from_utf8(said.unwrap().bytes.to_vec()).unwrap();
            let (in_round, number) = said.split_once(' ').unwrap();
            assert_eq!(in_round, round.to_string());
            let number: u64 = number.parse().unwrap();
            assert!(number >= acknowledged, "round {round}: {number} came before {acknowledged}");
        }
        let scrubbed = scrub(&store).unwrap();
        assert_eq!(scrubbed.corrupt, 0, "round {round}");
        assert_eq!(store.stat().evicted_bytes, 0, "round {round}: there is room for all");
        assert!(now(store.read(digest(b"never written"))).unwrap().is_none());
    }
}

#[test]
fn a_process_ends_that_could_not_keep_what_it_promises() {
    let test = "segments::crashes::a_process_ends_that_could_not_keep_what_it_promises";
    if let Some(job) = Job::of_this_process() {
        let disk = MemoryDisk::new();
        let settings = Settings::new(BUDGET_BYTES);
        let open = || SegmentStore::open_on(Arc::new(disk.clone()), settings.clone()).unwrap();
        let store = open();
        write(&*store, &thing(0, 1)).unwrap();
        store.close().unwrap();
        drop(store);
        let store = open();
        if job.seed == 0 {
            disk.meanwhile(Path::new("segments"), || unreachable!("on purpose"));
            write(&*store, &thing(0, 2)).unwrap();
        } else {
            let index = Path::new("index");
            (0..disk.read(index).unwrap().len()).for_each(|at| disk.spoil(index, at));
            now(store.find_missing([digest(&thing(0, 1))].into())).unwrap_err();
        }
        say("done");
        // It is there no more when this time has passed.
        let (_sender, receiver) = std::sync::mpsc::channel::<()>();
        let _ = receiver.recv_timeout(Duration::from_secs(60));
        return say("it goes on");
    }
    for what in [0, 1] {
        let place = TempDir::new().unwrap();
        let mut child = Running::start(test, place.path(), what);
        assert_eq!(child.hear().as_deref(), Some("done"));
        assert_eq!(child.hear(), None);
        assert!(!child.finish());
    }
}
