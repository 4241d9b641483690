//! What every watched request is told to: counters, the last remarkable ones, the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::{Recent, Remark};
use crate::metrics::{Fault, Metrics, Outcome};

/// The target of what the log says of requests: all of them at `debug`, those that were slow or failed at `info` and `warn`.
pub const LOG_TARGET: &str = "bld::request";

/// After how long a request without bytes is slow: a hundred times what the slowest should take.
const SLOW: Duration = Duration::from_secs(1);

/// How fast bytes must at least flow, in bytes per second, or else a request is slow: what a poor line to a house carries.
const SLOW_BYTES_PER_SECOND: u64 = 1 << 20;

/// Writes a line of the log. The level must be known when this is compiled.
macro_rules! log {
    ($level:ident, $remark:expr, $message:literal) => {
        tracing::event!(
            target: LOG_TARGET,
            tracing::Level::$level,
            id = $remark.id,
            method = $remark.method,
            path = told(&$remark.path),
            outcome = $remark.outcome,
            reason = told(&$remark.message),
            caller = told(&$remark.caller),
            tool = told(&$remark.metadata.tool),
            tool_version = told(&$remark.metadata.version),
            invocation = told(&$remark.metadata.invocation),
            action = told(&$remark.metadata.action),
            mnemonic = told(&$remark.metadata.mnemonic),
            target = told(&$remark.metadata.target),
            seconds = $remark.took.as_secs_f64(),
            received_bytes = $remark.received_bytes,
            sent_bytes = $remark.sent_bytes,
            $message
        )
    };
}

/// Returns the text, if there is one.
fn told(text: &str) -> Option<&str> {
    Some(text).filter(|it| !it.is_empty())
}

/// What every watched request is told to. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Observer(Arc<Told>);

#[derive(Debug)]
struct Told {
    metrics: Arc<Metrics>,
    recent: Recent,
    next_id: AtomicU64,
}

impl Observer {
    /// Returns an observer that counts there.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        // Another number after each start, so that names of requests in old logs are not used again.
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let next_id = AtomicU64::new(now.as_secs() << 32);
        Self(Arc::new(Told { metrics, recent: Recent::default(), next_id }))
    }

    /// Returns what is counted.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.0.metrics
    }

    /// Returns the last requests that were slow or failed.
    pub fn recent(&self) -> &Recent {
        &self.0.recent
    }

    /// Returns the number of the next request.
    pub(super) fn next_id(&self) -> u64 {
        self.0.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Takes note of how a request went, if somebody may want to know.
    pub(super) fn note(&self, outcome: Outcome, is_slow: bool, remark: impl FnOnce() -> Remark) {
        let fault = outcome.fault();
        let is_usual = fault == Fault::Nobodys && !is_slow;
        if is_usual && !tracing::enabled!(target: LOG_TARGET, tracing::Level::DEBUG) {
            return;
        }
        let remark = remark();
        match fault {
            Fault::Servers => log!(WARN, remark, "a request failed"),
            Fault::Callers => log!(INFO, remark, "a request was refused"),
            Fault::Nobodys if is_slow => log!(INFO, remark, "a request was slow"),
            Fault::Nobodys => log!(DEBUG, remark, "a request"),
        }
        if is_slow {
            self.0.recent.was_slow(remark.clone());
        }
        if fault != Fault::Nobodys {
            self.0.recent.has_failed(remark);
        }
    }
}

/// Returns whether that is long for a request with so many bytes.
pub(super) fn is_slow(took: Duration, bytes: u64) -> bool {
    let flowing = Duration::from_secs(bytes / SLOW_BYTES_PER_SECOND);
    took >= SLOW + flowing
}
