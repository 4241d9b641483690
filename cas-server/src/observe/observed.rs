//! A request while it is served: what is known of it, and what it is found to be.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

use http::Extensions;
use tracing::Span;
use wire::request::RequestMetadata;

use super::observer::is_slow;
use super::{Observer, Remark, beginning};
use crate::Caller;
use crate::metrics::{Kind, Limit, Lookups, Method, Metrics, Outcome, Tally, Uploading};

/// The longest message of a failure that is kept, in bytes: enough to know what it was about.
const MESSAGE_BYTES_MAX: usize = 300;

/// A request while it is served. Every request carries one as an extension; whoever serves it says here what he found.
///
/// Where there is none, because a service is asked without the layer around it, nothing is counted.
#[derive(Clone, Debug, Default)]
pub struct Observed(Option<Arc<Watched>>);

/// A request that is watched.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) observer: Observer,
    pub(super) id: u64,
    pub(super) method: Method,
    pub(super) began: Instant,
    pub(super) metadata: Arc<RequestMetadata>,
    /// Of plain HTTP, without its query.
    pub(super) path: String,
    pub(super) span: Span,
    pub(super) caller: OnceLock<(Arc<str>, Arc<Tally>)>,
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
}

impl Observed {
    /// Returns what is said of the request that carries these extensions.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get::<Self>().cloned().unwrap_or_default()
    }

    pub(super) fn new(watched: Watched) -> Self {
        watched.observer.metrics().began();
        Self(Some(Arc::new(watched)))
    }

    /// Returns what the request is called in logs; nothing for one that is not watched.
    pub fn id(&self) -> String {
        self.0.as_ref().map_or_else(String::new, |it| format!("{:016x}", it.id))
    }

    /// Says who asks. What is said of lookups before this is counted as of somebody who was refused.
    pub fn caller(&self, caller: &Caller) {
        if let Some(it) = &self.0 {
            it.caller.get_or_init(|| {
                let clients = it.metrics().clients();
                (Arc::clone(&caller.name), clients.of(&it.metadata.tool, &caller.name))
            });
        }
    }

    /// Says that something was found.
    pub fn hit(&self, kind: Kind) {
        self.looked_up(kind, Lookups { hits: 1, ..Lookups::default() });
    }

    /// Says that something was not there.
    pub fn miss(&self, kind: Kind) {
        self.looked_up(kind, Lookups { misses: 1, ..Lookups::default() });
    }

    /// Says that a result was there, and something that it names was not: a miss.
    pub fn incomplete(&self, kind: Kind) {
        self.looked_up(kind, Lookups { misses: 1, incomplete: 1, ..Lookups::default() });
    }

    /// Says how several lookups went.
    pub fn looked_up(&self, kind: Kind, lookups: Lookups) {
        if let Some(it) = &self.0 {
            it.tally().looked_up(kind, lookups);
        }
    }

    /// Says what the action had taken whose result was a hit.
    pub fn saved(&self, cpu: Duration, wall: Duration) {
        if let Some(it) = &self.0 {
            it.tally().saved(cpu, wall);
        }
    }

    /// Says how many digests `FindMissingBlobs` was asked for that were there, and how many that were missing.
    pub fn asked(&self, found: u64, missing: u64) {
        if let Some(it) = &self.0 {
            it.metrics().asked(found, missing);
        }
    }

    /// Says that something was refused because of a limit.
    pub fn limited(&self, limit: Limit) {
        if let Some(it) = &self.0 {
            it.metrics().limited(limit);
        }
    }

    /// Says that it uploads something, until what is returned is dropped.
    pub fn uploading(&self) -> Option<Uploading> {
        self.0.as_ref().map(|it| Uploading::begin(it.observer.metrics()))
    }

    /// Returns what it says of itself.
    pub fn metadata(&self) -> Option<Arc<RequestMetadata>> {
        self.0.as_ref().map(|it| Arc::clone(&it.metadata))
    }

    pub(super) fn span(&self) -> Span {
        self.0.as_ref().map_or_else(Span::none, |it| it.span.clone())
    }

    pub(super) fn received(&self, bytes: usize) {
        if let Some(it) = &self.0 {
            it.received_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    pub(super) fn sent(&self, bytes: usize) {
        if let Some(it) = &self.0 {
            it.sent_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
        }
    }

    /// Says how it ended. Whoever holds the end of the answer calls this, once.
    pub(super) fn finish(&self, outcome: Outcome, message: &str) {
        if let Some(it) = &self.0 {
            it.finish(outcome, message);
        }
    }
}

impl Watched {
    fn metrics(&self) -> &Metrics {
        self.observer.metrics()
    }

    fn tally(&self) -> Arc<Tally> {
        match self.caller.get() {
            Some((_, tally)) => Arc::clone(tally),
            None => self.metrics().clients().refused(&self.metadata.tool),
        }
    }

    fn finish(&self, outcome: Outcome, message: &str) {
        let took = self.began.elapsed();
        let received = self.received_bytes.load(Ordering::Relaxed);
        let sent = self.sent_bytes.load(Ordering::Relaxed);
        self.metrics().finished(self.method, took);
        self.tally().finished(self.method, outcome, (received, sent), self.metrics().second());
        let is_slow = !self.method.is_long() && is_slow(took, received + sent);
        self.observer.note(outcome, is_slow, || Remark {
            id: format!("{:016x}", self.id),
            at: SystemTime::now(),
            method: self.method.as_str(),
            path: self.path.clone(),
            outcome: outcome.as_str(),
            message: beginning(message, MESSAGE_BYTES_MAX).to_owned(),
            caller: self.caller.get().map_or("", |(name, _)| name).to_owned(),
            metadata: Arc::clone(&self.metadata),
            took,
            received_bytes: received,
            sent_bytes: sent,
        });
        self.describe(outcome, (received, sent));
    }

    /// Says in the request's span, if it has one, what could not be known at its beginning.
    fn describe(&self, outcome: Outcome, bytes: (u64, u64)) {
        if self.span.is_disabled() {
            return;
        }
        self.span.record("caller", self.caller.get().map_or("", |(name, _)| name));
        self.span.record("outcome", outcome.as_str());
        self.span.record("received_bytes", bytes.0);
        self.span.record("sent_bytes", bytes.1);
        if outcome.is_failure() {
            self.span.record("otel.status_code", "ERROR");
        }
    }
}
