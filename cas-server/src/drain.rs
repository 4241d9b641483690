//! How a server ends: it takes nothing new, finishes what is under way within a bounded time, and then lets go.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper_util::server::graceful::GracefulConnection;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How long connections that were cut off may take to be gone: dropping one takes no time, getting to it may.
const CUT_SECONDS: Duration = Duration::from_secs(1);

/// Where in its life a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Its store is being opened.
    Starting,
    /// It takes requests.
    Serving,
    /// It takes nothing new.
    Draining,
}

/// The end of a server, and who must be waited for. Clones are the same one.
#[derive(Clone, Debug, Default)]
pub struct Drain {
    serving: Arc<AtomicBool>,
    begun: CancellationToken,
    cut: CancellationToken,
    held: TaskTracker,
}

/// Something that is under way; it is waited for until this is dropped.
#[derive(Debug)]
pub struct Held(#[expect(dead_code, reason = "it is there to be dropped")] TaskTrackerToken);

/// What came of waiting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Drained {
    /// All that was under way ended by itself.
    Finished,
    /// The time was up for that many.
    Cut(usize),
}

impl Drain {
    /// Returns the end of a server that is starting.
    pub fn new() -> Self {
        Self::default()
    }

    /// Says that the server takes requests from now on.
    pub fn serving(&self) {
        self.serving.store(true, Ordering::Release);
    }

    /// Begins the end.
    pub fn begin(&self) {
        self.begun.cancel();
        self.held.close();
    }

    /// Returns where in its life the server is.
    pub fn phase(&self) -> Phase {
        if self.begun.is_cancelled() {
            Phase::Draining
        } else if self.serving.load(Ordering::Acquire) {
            Phase::Serving
        } else {
            Phase::Starting
        }
    }

    /// Completes when the end has begun.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// Has the time be up for what is under way.
    pub fn cut_now(&self) {
        self.cut.cancel();
    }

    /// Completes when the time for what was under way is up.
    pub async fn cut(&self) {
        self.cut.cancelled().await;
    }

    /// Returns what makes the end wait for whoever holds it.
    pub fn hold(&self) -> Held {
        Held(self.held.token())
    }

    /// Serves a connection to its end. When the end of the server begins, its client is told to send nothing more, and what it has
    /// sent is finished; when the time for that is up, the connection is dropped.
    pub async fn serve<C: GracefulConnection>(&self, connection: C) -> Result<(), C::Error> {
        let _held = self.hold();
        let mut connection = std::pin::pin!(connection);
        tokio::select! {
            served = connection.as_mut() => return served,
            () = self.begun.cancelled() => connection.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            served = connection => served,
            () = self.cut.cancelled() => Ok(()),
        }
    }

    /// Waits until nothing is under way any more, at most so long; what then still is gets cut off.
    ///
    /// The end must have begun, or nothing would say that nothing more comes.
    pub async fn wait(&self, limit: Duration) -> Drained {
        self.begun().await;
        if tokio::time::timeout(limit, self.held.wait()).await.is_ok() {
            return Drained::Finished;
        }
        let left = self.held.len();
        self.cut.cancel();
        // Whoever does not hear that it is over will not be waited for again.
        let _all_gone = tokio::time::timeout(CUT_SECONDS, self.held.wait()).await;
        Drained::Cut(left)
    }
}
