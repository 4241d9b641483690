//! Verifying all that the store holds, in the background, one at a time.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use store::{Cellar, Scrubbed};
use tokio::sync::watch;

use crate::Drain;
use crate::fault::with_sources;

/// How fast a store is read where nobody says how fast, in bytes per second: what a disk can give beside its work.
pub const SCRUB_BYTES_PER_SECOND: u64 = 64 << 20;

/// How often whoever watches is told how far it has got.
const PROGRESS: Duration = Duration::from_secs(1);

/// How a scrub goes, or has gone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ScrubState {
    /// Whether it is under way.
    pub running: bool,
    /// When it began; nothing before the first.
    pub began: Option<SystemTime>,
    /// How long it took.
    pub took: Duration,
    /// What it has read.
    pub scrubbed: Scrubbed,
    /// Why it ended early.
    pub failure: Option<String>,
}

/// Who scrubs a store. Clones are the same one.
#[derive(Clone)]
pub struct Scrubber {
    cellar: Arc<dyn Cellar>,
    drain: Drain,
    state: watch::Sender<ScrubState>,
}

impl Scrubber {
    /// Returns who scrubs that store, until the end of the server begins.
    pub fn new(cellar: Arc<dyn Cellar>, drain: Drain) -> Self {
        Self { cellar, drain, state: watch::Sender::default() }
    }

    /// Returns how the scrub under way goes, or how the last one went.
    pub fn state(&self) -> ScrubState {
        self.state.borrow().clone()
    }

    /// Begins a scrub, unless one is under way. What is returned hears how it goes.
    pub fn begin(&self, bytes_per_second: u64) -> watch::Receiver<ScrubState> {
        let mut is_new = false;
        self.state.send_modify(|state| {
            is_new = !state.running;
            if is_new {
                let began = Some(SystemTime::now());
                *state = ScrubState { running: true, began, ..ScrubState::default() };
            }
        });
        let mut watched = self.state.subscribe();
        watched.mark_changed();
        if is_new {
            // The end waits for it: the store is not closed under it.
            let (held, scrubber) = (self.drain.hold(), self.clone());
            tokio::spawn(async move {
                scrubber.scrub(bytes_per_second).await;
                drop(held);
            });
        }
        watched
    }

    async fn scrub(self, bytes_per_second: u64) {
        let began = Instant::now();
        let cellar = Arc::clone(&self.cellar);
        let mut scrubbing = std::pin::pin!(cellar.scrub(bytes_per_second));
        let mut progress = tokio::time::interval(PROGRESS);
        let ended = loop {
            tokio::select! {
                ended = scrubbing.as_mut() => break ended.map_err(|error| with_sources(&error)),
                () = self.drain.begun() => break Err("the server ended".to_owned()),
                _ = progress.tick() => self.state.send_modify(|state| {
                    state.scrubbed = cellar.stat().scrubbed;
                    state.took = began.elapsed();
                }),
            }
        };
        self.state.send_modify(|state| {
            state.running = false;
            state.took = began.elapsed();
            match ended {
                Ok(scrubbed) => state.scrubbed = scrubbed,
                Err(failure) => state.failure = Some(failure),
            }
            let Scrubbed { records, bytes, corrupt } = state.scrubbed;
            tracing::info!(records, bytes, corrupt, failure = state.failure, "a scrub ended");
        });
    }
}
