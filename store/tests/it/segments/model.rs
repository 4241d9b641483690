//! Any sequence of calls, kills and losses of power comes to what a map would.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use store::{
    BlobStore as _, Cellar, ChunkStore as _, LeaseId, SegmentStore, Settings, ValueStore as _,
};
use testkit::MemoryDisk;

use super::support::{
    AMPLE_BYTES, LEASE_TIME, SCARCE_BYTES, TestClock, digest, has, has_rightly, key, noise, now,
    read, settings, text, value, write,
};

/// How many different blobs and keys there are: few, so that they meet.
const THINGS: u64 = 12;

#[derive(Clone, Debug)]
enum Step {
    Write(u64),
    Read(u64),
    Find(Vec<u64>),
    Split(u64),
    Forget(u64),
    Record(u64, u64),
    LookUp(u64),
    ForgetKey(u64),
    ForgetWriter,
    /// Others write so many blobs, of which nobody speaks again.
    Others(u64),
    Hold(u64),
    LetGo,
    Commit,
    EndSegment,
    KeepHouse,
    Close,
    Kill,
    PowerLoss(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let thing = 0..THINGS;
    prop_oneof![
        6 => thing.clone().prop_map(Step::Write),
        3 => thing.clone().prop_map(Step::Read),
        2 => vec(thing.clone(), 0..6).prop_map(Step::Find),
        1 => thing.clone().prop_map(Step::Split),
        2 => thing.clone().prop_map(Step::Forget),
        3 => (thing.clone(), 0..100_u64).prop_map(|(key, said)| Step::Record(key, said)),
        2 => thing.clone().prop_map(Step::LookUp),
        1 => thing.clone().prop_map(Step::ForgetKey),
        1 => Just(Step::ForgetWriter),
        3 => (1..40_u64).prop_map(Step::Others),
        2 => thing.prop_map(Step::Hold),
        1 => Just(Step::LetGo),
        1 => Just(Step::Commit),
        2 => Just(Step::EndSegment),
        2 => Just(Step::KeepHouse),
        1 => Just(Step::Close),
        1 => Just(Step::Kill),
        1 => any::<u64>().prop_map(Step::PowerLoss),
    ]
}

/// Returns the blob of that number: most are small, two are larger than a record.
fn thing(number: u64) -> Bytes {
    match number {
        0 => noise(0, (2 << 20) + 1),
        // Its first half is that of the other one.
        1 => [noise(0, 1 << 20), noise(1, (1 << 20) + 17)].concat().into(),
        number if number % 2 == 0 => noise(number, usize::try_from(number * 997).unwrap()),
        number => text(number, usize::try_from(number * number * 50).unwrap()),
    }
}

/// What must be the case.
#[derive(Clone, Debug, Default)]
struct Oracle {
    blobs: BTreeSet<u64>,
    values: BTreeMap<u64, u64>,
}

struct World {
    disk: MemoryDisk,
    store: Arc<SegmentStore>,
    clock: TestClock,
    budget_bytes: u64,
    things: Vec<Bytes>,
    oracle: Oracle,
    /// What survives a loss of power.
    committed: Oracle,
    /// What was said since: after a loss of power, each may be the last word.
    uncertain: Vec<Oracle>,
    others: u64,
    held: BTreeSet<u64>,
}

impl World {
    fn new(budget_bytes: u64) -> Self {
        let (disk, clock) = (MemoryDisk::new(), TestClock::new());
        let store = open(&disk, &clock, budget_bytes);
        Self {
            disk,
            store,
            clock,
            budget_bytes,
            things: (0..THINGS).map(thing).collect(),
            oracle: Oracle::default(),
            committed: Oracle::default(),
            uncertain: Vec::new(),
            others: 1000,
            held: BTreeSet::new(),
        }
    }

    /// Returns whether nothing is ever dropped to make room.
    fn is_ample(&self) -> bool {
        self.budget_bytes == AMPLE_BYTES
    }

    fn bytes(&self, number: u64) -> &Bytes {
        &self.things[usize::try_from(number).unwrap()]
    }

    fn build(&self) -> Arc<dyn Cellar> {
        self.store.for_lease(&LeaseId::new(&"somebody".into(), "a build").unwrap())
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(number) => {
                write(&*self.store, self.bytes(*number)).unwrap();
                self.oracle.blobs.insert(*number);
                if self.is_ample() {
                    assert!(has(&*self.store, digest(self.bytes(*number))));
                }
            }
            Step::Read(number) => self.check_blob(*number),
            Step::Find(numbers) => {
                let digests = numbers.iter().map(|it| digest(self.bytes(*it))).collect();
                let missing = now(self.store.find_missing(digests)).unwrap();
                for number in numbers {
                    self.check_presence(*number, !missing.contains(&digest(self.bytes(*number))));
                }
            }
            Step::Split(number) => {
                let chunks = now(self.store.split(digest(self.bytes(*number)))).unwrap();
                self.check_presence(*number, chunks.is_some());
                let whole: Vec<u8> = chunks
                    .iter()
                    .flatten()
                    .flat_map(|it| read(&*self.store, *it).expect("each chunk is there now"))
                    .collect();
                assert!(chunks.is_none() || whole == self.bytes(*number)[..]);
            }
            Step::Forget(number) => {
                let had = now(self.store.forget_blob(digest(self.bytes(*number)))).unwrap();
                self.check_presence(*number, had);
                self.oracle.blobs.remove(number);
                self.held.remove(number);
            }
            Step::Record(name, said) => {
                now(self.store.record(&key(*name), value(&said.to_string()))).unwrap();
                self.oracle.values.insert(*name, *said);
            }
            Step::LookUp(name) => self.check_value(*name),
            Step::ForgetKey(name) => {
                let had = now(self.store.forget(&key(*name))).unwrap();
                let expected = self.oracle.values.remove(name).is_some();
                assert!(had == expected || !had && !self.is_ample());
            }
            Step::ForgetWriter => {
                let count = now(self.store.forget_writer("somebody")).unwrap();
                let expected = self.oracle.values.len() as u64;
                assert!(count == expected || count < expected && !self.is_ample());
                self.note_some_forgotten();
                self.oracle.values.clear();
            }
            Step::Others(count) => {
                // Where nothing is ever dropped, others must not fill the store.
                let length = if self.is_ample() { 100 } else { 20_000 };
                for _ in 0..*count {
                    self.others += 1;
                    write(&*self.store, &noise(self.others, length)).unwrap();
                }
            }
            Step::Hold(number) => {
                // A large one and its copy forward are half of a scarce store: small ones only.
                if *number > 1 && has(&*self.build(), digest(self.bytes(*number))) {
                    self.held.insert(*number);
                }
            }
            Step::LetGo => {
                self.clock.pass(LEASE_TIME);
                self.held.clear();
            }
            Step::Commit => {
                self.store.commit().unwrap();
                self.note_commit();
                return;
            }
            Step::EndSegment => self.store.end_segment(),
            Step::KeepHouse => {
                self.store.keep_house().unwrap();
                self.note_commit();
                return;
            }
            Step::Close => {
                self.store.close().unwrap();
                self.reopen(self.disk.after_kill());
                self.note_commit();
                return;
            }
            Step::Kill => self.reopen(self.disk.after_kill()),
            Step::PowerLoss(seed) => {
                self.reopen(self.disk.after_power_loss(*seed));
                self.settle_after_power_loss();
                return;
            }
        }
        self.uncertain.push(self.oracle.clone());
    }

    fn reopen(&mut self, disk: MemoryDisk) {
        self.store = open(&disk, &self.clock, self.budget_bytes);
        self.disk = disk;
        // Leases are in memory: a server that was started again has told nobody anything.
        self.held.clear();
    }

    /// Values are forgotten one by one: a loss of power may come between any two.
    fn note_some_forgotten(&mut self) {
        let numbers: Vec<_> = self.oracle.values.keys().copied().collect();
        for some in 1..1_u64 << numbers.len() {
            let mut moment = self.oracle.clone();
            for (nth, number) in numbers.iter().enumerate() {
                if some >> nth & 1 == 1 {
                    moment.values.remove(number);
                }
            }
            self.uncertain.push(moment);
        }
    }

    fn note_commit(&mut self) {
        self.committed = self.oracle.clone();
        self.uncertain.clear();
    }

    /// What is there must be what was there at one moment since the last commit.
    fn settle_after_power_loss(&mut self) {
        let mut found = Oracle::default();
        for number in 0..THINGS {
            if has_rightly(&*self.store, &self.bytes(number).clone()) {
                found.blobs.insert(number);
            }
            if let Some(said) = now(self.store.lookup(&key(number))).unwrap() {
                let said = std::str::from_utf8(&said.bytes).unwrap().parse().unwrap();
                found.values.insert(number, said);
            }
        }
        let moments = std::iter::once(&self.committed).chain(&self.uncertain);
        let is_that =
            |moment: &Oracle| moment.blobs == found.blobs && moment.values == found.values;
        let mut moments = moments.map(is_that);
        assert!(!self.is_ample() || moments.any(|it| it), "no moment was like {found:?}");
        self.oracle = found;
        self.store.commit().unwrap();
        self.note_commit();
    }

    fn check_presence(&self, number: u64, is_there: bool) {
        let was_written = self.oracle.blobs.contains(&number);
        assert!(was_written || !is_there, "{number} is there, but was not written");
        let must = was_written && (self.is_ample() || self.held.contains(&number));
        assert!(is_there || !must, "{number} was written, and is not there");
    }

    fn check_blob(&self, number: u64) {
        let is_there = has_rightly(&*self.store, self.bytes(number));
        self.check_presence(number, is_there);
    }

    fn check_value(&self, name: u64) {
        let found = now(self.store.lookup(&key(name))).unwrap();
        let expected = self.oracle.values.get(&name).map(|it| value(&it.to_string()));
        assert!(found == expected || found.is_none() && !self.is_ample(), "key {name}");
    }

    fn check_all(&self) {
        (0..THINGS).for_each(|number| self.check_blob(number));
        (0..THINGS).for_each(|name| self.check_value(name));
        let stat = self.store.stat();
        assert_eq!(stat.corrupt, 0);
    }
}

fn open(disk: &MemoryDisk, clock: &TestClock, budget_bytes: u64) -> Arc<SegmentStore> {
    let settings = Settings { clock: Arc::new(clock.clone()), ..settings(budget_bytes) };
    SegmentStore::open_on(Arc::new(disk.clone()), settings).unwrap()
}

fn run(budget_bytes: u64, steps: &[Step]) {
    let mut world = World::new(budget_bytes);
    for step in steps {
        world.step(step);
    }
    world.check_all();
    world.step(&Step::KeepHouse);
    assert!(world.disk.bytes_taken() <= budget_bytes);
    world.check_all();
    world.step(&Step::Kill);
    world.check_all();
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 24,
        max_shrink_iters: 400,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_store_with_room_is_a_map(steps in vec(step(), 1..80)) {
        run(AMPLE_BYTES, &steps);
    }

    #[test]
    fn a_store_without_room_is_a_map_that_forgets_what_nobody_holds(steps in vec(step(), 1..80)) {
        run(2 * SCARCE_BYTES, &steps);
    }
}

#[test]
fn what_is_committed_after_a_loss_of_power_survives_the_next() {
    use Step::{Commit, EndSegment, PowerLoss, Write};
    let first = PowerLoss(172_379_339_007_136_946);
    run(AMPLE_BYTES, &[Write(3), EndSegment, Write(0), first, Write(0), Commit, PowerLoss(0)]);
}
