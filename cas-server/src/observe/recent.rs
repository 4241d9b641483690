//! The last requests that were slow or failed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use wire::request::RequestMetadata;

/// How many of each are kept: what a person reads, and what a few hundred kilobytes hold.
pub const RECENT_MAX: usize = 64;

/// A request that somebody may want to know of. Its texts come from outside, and are bounded in length.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remark {
    /// What it is called in the log.
    pub id: String,
    /// When it ended.
    pub at: SystemTime,
    /// What it asked for.
    pub method: &'static str,
    /// The path of plain HTTP, without its query.
    pub path: String,
    /// How it went.
    pub outcome: &'static str,
    /// What was said of that.
    pub message: String,
    /// Who asked.
    pub caller: String,
    /// What he says it was for.
    pub metadata: Arc<RequestMetadata>,
    /// How long it took.
    pub took: Duration,
    /// How many bytes came.
    pub received_bytes: u64,
    /// How many bytes went.
    pub sent_bytes: u64,
}

/// The last requests that were slow or failed, newest first.
#[derive(Debug, Default)]
pub struct Recent {
    slow: Mutex<VecDeque<Remark>>,
    failed: Mutex<VecDeque<Remark>>,
}

impl Recent {
    /// Returns the last ones that were slow.
    pub fn slow(&self) -> Vec<Remark> {
        read(&self.slow)
    }

    /// Returns the last ones that failed.
    pub fn failed(&self) -> Vec<Remark> {
        read(&self.failed)
    }

    pub(super) fn was_slow(&self, remark: Remark) {
        keep(&self.slow, remark);
    }

    pub(super) fn has_failed(&self, remark: Remark) {
        keep(&self.failed, remark);
    }
}

fn read(kept: &Mutex<VecDeque<Remark>>) -> Vec<Remark> {
    kept.lock().expect("no holder panics").iter().cloned().collect()
}

fn keep(kept: &Mutex<VecDeque<Remark>>, remark: Remark) {
    let mut kept = kept.lock().expect("no holder panics");
    kept.truncate(RECENT_MAX - 1);
    kept.push_front(remark);
}
