//! What one client has done.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::kind::Counted;
use super::{Kind, Lookups, Method, Outcome};

/// What one client has done, while it is counted.
#[derive(Debug)]
pub struct Tally {
    requests: [[AtomicU64; Outcome::COUNT]; Method::COUNT],
    lookups: [Counted; Kind::ALL.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
    saved_cpu_micros: AtomicU64,
    saved_wall_micros: AtomicU64,
    last_second: AtomicU64,
}

/// What one client has done, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tallied {
    /// How many requests were answered.
    pub requests: u64,
    /// How many of them did not do what they should.
    pub failures: u64,
    /// How many bytes they had.
    pub received_bytes: u64,
    /// How many bytes the answers had.
    pub sent_bytes: u64,
    /// How lookups went, by kind.
    pub lookups: [Lookups; Kind::ALL.len()],
    /// The processor time that the actions had taken whose results were hits.
    pub saved_cpu: Duration,
    /// Likewise by the clock.
    pub saved_wall: Duration,
    /// The last request, in seconds after the start of the server.
    pub last_second: u64,
}

impl Tally {
    pub(super) fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            lookups: std::array::from_fn(|_| Counted::default()),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            saved_cpu_micros: AtomicU64::new(0),
            saved_wall_micros: AtomicU64::new(0),
            last_second: AtomicU64::new(0),
        }
    }

    /// Counts lookups.
    pub fn looked_up(&self, kind: Kind, lookups: Lookups) {
        self.lookups[kind as usize].add(lookups);
    }

    /// Counts what an action had taken whose result was a hit.
    pub fn saved(&self, cpu: Duration, wall: Duration) {
        let micros = |it: Duration| u64::try_from(it.as_micros()).unwrap_or(u64::MAX);
        self.saved_cpu_micros.fetch_add(micros(cpu), Ordering::Relaxed);
        self.saved_wall_micros.fetch_add(micros(wall), Ordering::Relaxed);
    }

    /// Counts a request that was answered.
    pub(crate) fn finished(
        &self,
        method: Method,
        outcome: Outcome,
        bytes: (u64, u64),
        second: u64,
    ) {
        self.requests[method.index()][outcome.index()].fetch_add(1, Ordering::Relaxed);
        self.received_bytes.fetch_add(bytes.0, Ordering::Relaxed);
        self.sent_bytes.fetch_add(bytes.1, Ordering::Relaxed);
        self.last_second.store(second, Ordering::Relaxed);
    }

    /// Returns how many requests there were for that, with that outcome.
    pub(super) fn requests(&self, method: Method, outcome: Outcome) -> u64 {
        self.requests[method.index()][outcome.index()].load(Ordering::Relaxed)
    }

    /// Returns what there is now.
    pub fn read(&self) -> Tallied {
        let outcomes =
            || Method::all().flat_map(|it| Outcome::all().map(move |outcome| (it, outcome)));
        let failures = outcomes().filter(|(_, outcome)| outcome.is_failure());
        let load = |it: &AtomicU64| it.load(Ordering::Relaxed);
        Tallied {
            requests: outcomes().map(|(method, outcome)| self.requests(method, outcome)).sum(),
            failures: failures.map(|(method, outcome)| self.requests(method, outcome)).sum(),
            received_bytes: load(&self.received_bytes),
            sent_bytes: load(&self.sent_bytes),
            lookups: std::array::from_fn(|kind| self.lookups[kind].read()),
            saved_cpu: Duration::from_micros(load(&self.saved_cpu_micros)),
            saved_wall: Duration::from_micros(load(&self.saved_wall_micros)),
            last_second: load(&self.last_second),
        }
    }
}

impl Tallied {
    /// Returns how lookups of that kind went.
    pub fn lookups(&self, kind: Kind) -> Lookups {
        self.lookups[kind as usize]
    }
}

impl std::ops::AddAssign for Tallied {
    fn add_assign(&mut self, other: Self) {
        self.requests += other.requests;
        self.failures += other.failures;
        self.received_bytes += other.received_bytes;
        self.sent_bytes += other.sent_bytes;
        for (mine, theirs) in self.lookups.iter_mut().zip(other.lookups) {
            *mine += theirs;
        }
        self.saved_cpu += other.saved_cpu;
        self.saved_wall += other.saved_wall;
        self.last_second = self.last_second.max(other.last_second);
    }
}
