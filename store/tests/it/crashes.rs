//! Many processes at once, some of them killed at any instant: the store stays right,
//! and nobody loses what he has pinned and found.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use model::{ActionDigest, ActionResult, Digest, TreeDigest};
use store::LocalStore;

use crate::children::{Job, Running, say, wait_for_the_end};
use crate::support::{
    Place, action, assert_is_tree, make_tree, open, result_with_file, result_with_tree,
};

/// The runs that are tried; a failure says with which it came.
const SEEDS: std::ops::Range<u64> = 0..4;

/// How many processes there are at once.
const PROCESSES: u64 = 3;

/// How many things a process does that is not killed.
const STEPS: u64 = 120;

/// How many times a process is killed in each run.
const KILLS: u64 = 12;

/// How many different blobs, trees and actions there are: few, so that processes meet.
const THINGS: u64 = 8;

/// Numbers that look random and are the same for the same seed (splitmix64).
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// One process among many, and what it relies on.
struct Worker {
    store: LocalStore,
    numbers: Numbers,
    blobs: BTreeMap<Digest, Vec<u8>>,
    trees: BTreeMap<TreeDigest, PathBuf>,
    results: BTreeMap<ActionDigest, ActionResult>,
}

impl Worker {
    fn new(job: &Job) -> Self {
        Self {
            store: open(&job.root),
            numbers: Numbers(job.seed),
            blobs: BTreeMap::new(),
            trees: BTreeMap::new(),
            results: BTreeMap::new(),
        }
    }

    fn step(&mut self) {
        let thing = self.numbers.below(THINGS);
        match self.numbers.below(9) {
            0 => self.ingest(thing),
            1 => self.find(thing),
            2 => self.make(thing),
            3 => self.ask_for_tree(thing),
            4 => self.record(thing),
            5 => self.look_up(thing),
            6 => self.adopt(thing),
            7 => {
                let budget = self.numbers.below(2) * 200_000;
                self.store.collect(budget).unwrap();
            }
            _ => assert_eq!(self.store.verify().unwrap().quarantined, Vec::<PathBuf>::new()),
        }
        self.check();
    }

    fn ingest(&mut self, thing: u64) {
        let bytes = bytes_of(thing);
        let digest = self.store.ingest_bytes(&bytes, thing.is_multiple_of(3)).unwrap();
        self.blobs.insert(digest, bytes);
    }

    fn find(&mut self, thing: u64) {
        let bytes = bytes_of(thing);
        let digest = Digest::of(self.store.function(), &bytes);
        if self.store.contains(digest).unwrap() {
            self.blobs.insert(digest, bytes);
        }
    }

    fn adopt(&mut self, thing: u64) {
        let bytes = bytes_of(thing);
        let scratch = self.store.scratch().unwrap();
        let path = scratch.path().join("made");
        fs::write(&path, &bytes).unwrap();
        let digest = self.store.adopt(&path, false).unwrap();
        self.blobs.insert(digest, bytes);
    }

    fn make(&mut self, thing: u64) {
        let tree = make_tree(&self.store, &thing.to_string());
        let path = self.store.materialise(tree).unwrap().expect("its blobs were pinned and kept");
        self.trees.insert(tree, path);
    }

    fn ask_for_tree(&mut self, thing: u64) {
        let tree = tree_of(self.store.root(), thing);
        if let Some(path) = self.store.materialise(tree).unwrap() {
            self.trees.insert(tree, path);
        }
    }

    fn record(&mut self, thing: u64) {
        self.ingest(thing);
        let tree = make_tree(&self.store, &thing.to_string());
        let blob = Digest::of(self.store.function(), &bytes_of(thing));
        let (one, other) = (result_with_file(blob), result_with_tree(tree, blob));
        let result = if self.numbers.below(2) == 0 { one } else { other };
        self.store.record_result(action(&thing.to_string()), &result).unwrap();
    }

    fn look_up(&mut self, thing: u64) {
        let action = action(&thing.to_string());
        if let Some(result) = self.store.lookup_result(action).unwrap() {
            self.results.insert(action, result);
        }
    }

    /// Whatever this process has pinned and found is there, whole, at any later time.
    fn check(&self) {
        for (digest, bytes) in &self.blobs {
            let found = self.store.read_bytes(*digest).unwrap();
            assert!(found.is_some_and(|found| found == bytes), "the blob {digest} was pinned");
        }
        for (tree, path) in &self.trees {
            assert_is_tree(&self.store, *tree, path);
        }
        for action in self.results.keys() {
            let found = self.store.lookup_result(*action).unwrap();
            assert!(found.is_some(), "the result of {action} was pinned");
        }
    }
}

/// Returns the bytes of a blob of which some fit into a page and some do not.
fn bytes_of(thing: u64) -> Vec<u8> {
    let length = usize::try_from(1 + thing * 9000).unwrap();
    vec![u8::try_from(thing).unwrap(); length]
}

/// Returns the digest of the tree of that number, without putting it into the store:
/// it is made in a store of its own, below this one's directory, where it goes with the whole test.
fn tree_of(root: &Path, thing: u64) -> TreeDigest {
    let elsewhere = tempfile::TempDir::new_in(root).unwrap();
    make_tree(&open(elsewhere.path()), &thing.to_string())
}

/// Asserts that the store is right, now that nobody works on it, and that what it promises can be had.
fn assert_is_right(root: &Path, seed: u64) {
    let store = open(root);
    let verified = store.verify().unwrap();
    assert_eq!(verified.quarantined, Vec::<PathBuf>::new(), "seed {seed}");
    for thing in 0..THINGS {
        let tree = tree_of(root, thing);
        if let Some(path) = store.materialise(tree).unwrap() {
            assert_is_tree(&store, tree, &path);
        }
        // An entry whose outputs went with an earlier budget is one whose action runs again: nothing is in its way.
        store.lookup_result(action(&thing.to_string())).unwrap();
        let tree = make_tree(&store, &thing.to_string());
        assert_is_tree(&store, tree, &store.materialise(tree).unwrap().unwrap());
        store.ingest_bytes(&bytes_of(thing), false).unwrap();
    }
    drop(store);
    let store = open(root);
    store.collect(0).unwrap();
    let stat = store.stat().unwrap();
    // The empty blob takes no room, so there is room for it.
    let left = (stat.physical_bytes, stat.trees, stat.results);
    assert_eq!(left, (0, 0, 0), "seed {seed}: all leases are dead");
    assert_eq!(fs::read_dir(root.join("tmp")).unwrap().count(), 0, "seed {seed}");
    assert_eq!(fs::read_dir(root.join("trash")).unwrap().count(), 0, "seed {seed}");
}

#[test]
fn many_processes_at_once_lose_nothing_that_they_rely_on() {
    if let Some(job) = Job::of_this_process() {
        let mut worker = Worker::new(&job);
        (0..STEPS).for_each(|_| worker.step());
        return say("done");
    }
    let test = "crashes::many_processes_at_once_lose_nothing_that_they_rely_on";
    for seed in SEEDS {
        let place = Place::new();
        let seeds = (0..PROCESSES).map(|process| seed * PROCESSES + process);
        let children: Vec<_> = seeds.map(|it| Running::start(test, place.root(), it)).collect();
        for child in children {
            assert!(child.finish(), "seed {seed}");
        }
        assert_is_right(place.root(), seed);
    }
}

#[test]
fn processes_killed_at_any_instant_leave_a_store_that_is_right() {
    if let Some(job) = Job::of_this_process() {
        let mut worker = Worker::new(&job);
        // Until it is killed; should the parent fail first, it ends by itself.
        for _ in 0..100 * STEPS {
            say("next");
            worker.step();
        }
        return wait_for_the_end();
    }
    let test = "crashes::processes_killed_at_any_instant_leave_a_store_that_is_right";
    for seed in SEEDS {
        let place = Place::new();
        let mut numbers = Numbers(seed);
        let mut start = |number: u64| Running::start(test, place.root(), seed << 32 | number);
        let mut children: Vec<_> = (0..PROCESSES).map(&mut start).collect();
        for kill in 0..KILLS {
            let mut child = children.remove(0);
            for _ in 0..=numbers.below(30) {
                assert!(child.hear().is_some(), "seed {seed}: a child failed by itself");
            }
            child.kill();
            children.push(start(PROCESSES + kill));
        }
        for mut child in children {
            assert!(child.hear().is_some(), "seed {seed}: a child failed by itself");
            child.kill();
        }
        assert_is_right(place.root(), seed);
    }
}
