//! What is counted: one place for the text that Prometheus reads, the status page and `bld cache stat --remote`.
//!
//! Whoever counts adds to an atomic. What there is of a client is found once per request; names are bounded in number.

mod client;
mod histogram;
mod kind;
mod method;
mod outcome;
mod process;
mod tally;
mod text;
mod tool;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

pub use client::{Client, Clients, IDENTITIES_MAX};
pub use kind::{Kind, Lookups};
pub use method::{Method, Protocol};
pub use outcome::{Fault, Outcome};
pub use process::{ProcessStat, process_stat};
pub use tally::{Tallied, Tally};
pub use text::{CONTENT_TYPE, Exposition};
pub use tool::{TOOL_NAME_BYTES_MAX, TOOLS_MAX, Tool};

use histogram::Histogram;

/// What a server refuses more of, and counts: what an operator may want to change. Each is a label of a metric. What else
/// is too much is to be found by the outcome of its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A blob is larger than one may be.
    BlobBytes,
    /// Compressed bytes become too many.
    Ratio,
    /// A caller has too many requests under way.
    Requests,
    /// A caller has too many bytes under way.
    BytesInFlight,
    /// There are too many connections.
    Connections,
}

impl Limit {
    /// Returns all of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::BlobBytes, Self::Ratio, Self::Requests, Self::BytesInFlight, Self::Connections];

    /// Returns its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BlobBytes => "blob_bytes",
            Self::Ratio => "ratio",
            Self::Requests => "requests",
            Self::BytesInFlight => "bytes_in_flight",
            Self::Connections => "connections",
        }
    }
}

/// Everything that is counted since the server started.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    started_at: SystemTime,
    clients: Clients,
    durations: [Histogram; Method::COUNT],
    requests_in_flight: AtomicU64,
    uploads: AtomicU64,
    upload_bytes: AtomicU64,
    found: AtomicU64,
    missing: AtomicU64,
    limits: [AtomicU64; Limit::ALL.len()],
}

impl Metrics {
    /// Returns metrics of a server that starts now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            clients: Clients::default(),
            durations: std::array::from_fn(|_| Histogram::default()),
            requests_in_flight: AtomicU64::new(0),
            uploads: AtomicU64::new(0),
            upload_bytes: AtomicU64::new(0),
            found: AtomicU64::new(0),
            missing: AtomicU64::new(0),
            limits: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// Returns how long ago the server started.
    pub fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Returns when the server started.
    pub fn started(&self) -> SystemTime {
        self.started_at
    }

    /// Returns how many seconds after the start it is.
    pub(crate) fn second(&self) -> u64 {
        self.started.elapsed().as_secs()
    }

    /// Returns who uses the server, by what it is asked from.
    pub fn clients(&self) -> &Clients {
        &self.clients
    }

    /// Counts what `FindMissingBlobs` was asked for.
    pub fn asked(&self, found: u64, missing: u64) {
        self.found.fetch_add(found, Ordering::Relaxed);
        self.missing.fetch_add(missing, Ordering::Relaxed);
    }

    /// Counts that something was refused because of a limit.
    pub fn limited(&self, limit: Limit) {
        self.limits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Returns how often something was refused because of a limit.
    pub fn limits_hit(&self, limit: Limit) -> u64 {
        self.limits[limit as usize].load(Ordering::Relaxed)
    }

    /// Counts a request until [`finished`](Self::finished) is called.
    pub(crate) fn began(&self) {
        self.requests_in_flight.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts the end of a request.
    pub(crate) fn finished(&self, method: Method, took: Duration) {
        self.requests_in_flight.fetch_sub(1, Ordering::Relaxed);
        self.durations[method.index()].observe(took);
    }

    /// Returns how many requests are under way.
    pub fn requests_in_flight(&self) -> u64 {
        self.requests_in_flight.load(Ordering::Relaxed)
    }

    /// Returns how many uploads are under way, and how many bytes they have sent.
    pub fn uploads_in_flight(&self) -> (u64, u64) {
        (self.uploads.load(Ordering::Relaxed), self.upload_bytes.load(Ordering::Relaxed))
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

/// An upload that is under way, until this is dropped.
#[derive(Debug)]
pub struct Uploading {
    metrics: Arc<Metrics>,
    bytes: u64,
}

impl Uploading {
    /// Counts an upload that begins.
    pub fn begin(metrics: &Arc<Metrics>) -> Self {
        metrics.uploads.fetch_add(1, Ordering::Relaxed);
        Self { metrics: Arc::clone(metrics), bytes: 0 }
    }

    /// Counts bytes that came.
    pub fn received(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.metrics.upload_bytes.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        self.metrics.uploads.fetch_sub(1, Ordering::Relaxed);
        self.metrics.upload_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}
