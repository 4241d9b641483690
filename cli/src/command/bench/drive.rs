//! Clients that do the same again and again, and what that takes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::channel::Channel;
use super::error::CallError;
use super::process::{self, Usage};

/// After so many failures nothing more is tried: whoever reads the figures wants to know why, not how fast it fails.
const FAILURES_MAX: u64 = 100;

/// What is measured.
pub(super) trait Work: 'static {
    /// Returns how often it can be done.
    fn times_max(&self) -> u64;

    /// Returns how many units (blobs, digests, bytes…) are moved each time.
    fn units(&self) -> u64;

    /// Does it for the `nth` time, and looks whether the answer is right.
    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError>;

    /// Looks whether what was done `times` times holds, when nobody measures any more.
    async fn verify(&self, _channel: &Channel, _times: u64) -> Result<(), CallError> {
        Ok(())
    }
}

/// How long something is done.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// How long nothing is measured at the beginning.
    pub(super) warm_up: Duration,
    /// How long it is measured after that. What is under way then is ended.
    pub(super) measured: Duration,
}

/// What was measured.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured {
    /// How often it was done.
    pub(super) times: u64,
    /// How many units were moved.
    pub(super) units: u64,
    pub(super) elapsed: Duration,
    /// How long half of the calls took at most.
    pub(super) p50: Duration,
    /// How long ninety-nine of a hundred took at most.
    pub(super) p99: Duration,
    /// How often it failed, also before anything was measured.
    pub(super) failures: u64,
    /// Why, the first time.
    pub(super) failure: Option<String>,
    /// What the server used meanwhile, if it can be asked; and what it has in memory at the end.
    pub(super) server: Option<Usage>,
    /// What the clients used.
    pub(super) client_cpu: Duration,
}

struct State<W> {
    work: W,
    /// How often somebody began.
    begun: Cell<u64>,
    /// When measuring begins and ends.
    warm: Instant,
    end: Instant,
    latencies: RefCell<Vec<Duration>>,
    failures: Cell<u64>,
    failure: RefCell<Option<String>>,
}

/// Has as many clients as there are channels do the work, each one call at a time.
pub(super) async fn drive<W: Work>(
    work: W,
    channels: &[Channel],
    bounds: Bounds,
    server: Option<u32>,
) -> Result<Measured, std::io::Error> {
    let warm = Instant::now() + bounds.warm_up;
    let state = Rc::new(State {
        begun: Cell::new(0),
        warm,
        end: warm + bounds.measured,
        latencies: RefCell::default(),
        failures: Cell::new(0),
        failure: RefCell::default(),
        work,
    });
    let mut clients = JoinSet::new();
    for channel in channels {
        clients.spawn_local(client(Rc::clone(&state), channel.clone()));
    }
    let usage = || server.map(process::usage).transpose();
    tokio::time::sleep_until(warm.into()).await;
    let (server_before, client_before) = (usage()?, process::usage(std::process::id())?);
    while clients.join_next().await.is_some() {}
    let elapsed = warm.elapsed();
    let (server_after, client_after) = (usage()?, process::usage(std::process::id())?);
    if let Some(channel) = channels.first() {
        let verified = state.work.verify(channel, state.begun.get()).await;
        verified.unwrap_or_else(|error| state.count(&error));
    }
    let (p50, p99, times) = percentiles(&mut state.latencies.borrow_mut());
    let used = server_after
        .zip(server_before)
        .map(|(after, before)| Usage { cpu: after.cpu.saturating_sub(before.cpu), ..after });
    Ok(Measured {
        times,
        units: times * state.work.units(),
        elapsed,
        p50,
        p99,
        failures: state.failures.get(),
        failure: state.failure.take(),
        server: used,
        client_cpu: client_after.cpu.saturating_sub(client_before.cpu),
    })
}

/// Does it at least once, however short the time is.
async fn client<W: Work>(state: Rc<State<W>>, channel: Channel) {
    loop {
        let (began, nth) = (Instant::now(), state.begun.get());
        if nth == state.work.times_max() || state.failures.get() >= FAILURES_MAX {
            return;
        }
        state.begun.set(nth + 1);
        let done = state.work.once(&channel, nth).await;
        let now = Instant::now();
        match done {
            Ok(()) if began >= state.warm => state.latencies.borrow_mut().push(now - began),
            Ok(()) => {}
            Err(error) => state.count(&error),
        }
        if now >= state.end {
            return;
        }
    }
}

impl<W> State<W> {
    fn count(&self, error: &CallError) {
        self.failures.set(self.failures.get() + 1);
        self.failure.borrow_mut().get_or_insert_with(|| error.to_string());
    }
}

/// Returns the median, what one of a hundred exceeds, and how many there are.
fn percentiles(latencies: &mut [Duration]) -> (Duration, Duration, u64) {
    latencies.sort_unstable();
    let at = |hundredths: usize| {
        let index = (latencies.len() * hundredths).div_ceil(100).saturating_sub(1);
        latencies.get(index).copied().unwrap_or_default()
    };
    (at(50), at(99), latencies.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_there() {
        let mut latencies: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let (p50, p99, count) = percentiles(&mut latencies);
        assert_eq!((p50.as_millis(), p99.as_millis(), count), (100, 198, 200));
        assert_eq!(percentiles(&mut []), (Duration::ZERO, Duration::ZERO, 0));
        assert_eq!(percentiles(&mut [Duration::from_secs(1)]).1, Duration::from_secs(1));
    }
}
