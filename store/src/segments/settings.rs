//! Settings: what a server says of its store when it opens it.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::record::PAYLOAD_BYTES_MAX;

/// How many bytes a segment has, if the budget is not small: it is dropped as one, and compressed as one in a second or two.
const SEGMENT_BYTES: u64 = 128 << 20;

/// A store has this many segments at least: dropping one takes away a small part.
const SEGMENTS_MIN: u64 = 64;

/// The smallest segment, in bytes: a record may be larger, and has one for itself then.
const SEGMENT_BYTES_MIN: u64 = 64 << 10;

/// When a write is acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Acknowledge {
    /// Once the kernel has it: it survives the end of this process, however it comes. A loss of power takes what was written
    /// within the last [`COMMIT_INTERVAL`](super::COMMIT_INTERVAL), and no more.
    #[default]
    Written,
    /// Once the disk has it: it survives a loss of power. Writes that come together wait together.
    Committed,
}

/// Who does what is not done at once: commits, compression, eviction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Housekeeping {
    /// Threads of the store.
    #[default]
    Threads,
    /// Whoever calls [`SegmentStore::keep_house`](super::SegmentStore::keep_house), and nobody else.
    Called,
}

/// Tells the time.
pub trait Clock: Debug + Send + Sync {
    /// Returns what time it is. It never goes back.
    fn now(&self) -> SystemTime;
}

/// The machine's clock as it was when the store was opened, going on from there: setting it ends no lease.
#[derive(Debug)]
pub(super) struct SteadyClock {
    began: SystemTime,
    since: Instant,
}

impl SteadyClock {
    pub(super) fn new() -> Self {
        Self { began: SystemTime::now(), since: Instant::now() }
    }
}

impl Clock for SteadyClock {
    fn now(&self) -> SystemTime {
        self.began + self.since.elapsed()
    }
}

/// What a server says of its store.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How many bytes it may take on the disk.
    pub budget_bytes: u64,
    /// When a write is acknowledged.
    pub acknowledge: Acknowledge,
    /// How long what a build was told of stays pinned after it was heard of last.
    pub lease: Duration,
    /// Who does what is not done at once.
    pub housekeeping: Housekeeping,
    /// What tells the time.
    pub clock: Arc<dyn Clock>,
}

/// How long what a build was told of stays pinned after it was heard of last, where nobody says how long: as long as Bazel
/// believes what it was told of a result.
pub const LEASE_TIME: Duration = Duration::from_secs(3 * 60 * 60);

impl Settings {
    /// Returns the settings for a store that may take that many bytes.
    pub fn new(budget_bytes: u64) -> Self {
        Self {
            budget_bytes,
            acknowledge: Acknowledge::default(),
            lease: LEASE_TIME,
            housekeeping: Housekeeping::default(),
            clock: Arc::new(SteadyClock::new()),
        }
    }

    /// Returns how many bytes a segment has.
    pub(super) fn segment_bytes(&self) -> u64 {
        (self.budget_bytes / SEGMENTS_MIN).clamp(SEGMENT_BYTES_MIN, SEGMENT_BYTES)
    }

    /// Returns up to how many bytes eviction lets the store grow: what is being copied, compressed and written
    /// meanwhile has room beyond that.
    pub(super) fn soft_bytes(&self) -> u64 {
        self.budget_bytes.saturating_sub(4 * self.segment_bytes())
    }

    /// Returns up to how many bytes writers fill the store; what is beyond that is for copying forward.
    pub(super) fn hard_bytes(&self) -> u64 {
        self.budget_bytes.saturating_sub(2 * self.segment_bytes())
    }
}

// A record always fits into a segment of its own.
const _: () = assert!((PAYLOAD_BYTES_MAX as u64) < SEGMENT_BYTES);
