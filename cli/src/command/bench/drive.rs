//! Clients that do the same again and again, and what that takes.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::timeout;

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
    /// How long nothing is measured at the beginning. What can be done only so often is measured from the same share of that
    /// on, so that something is left to be measured however fast it is done.
    pub(super) warm_up: Duration,
    /// How long it is measured after that. What is under way then is ended.
    pub(super) measured: Duration,
}

impl Bounds {
    /// Returns how often something is done that is not measured, of `times` in all.
    fn warm_up_times(self, times: u64) -> u64 {
        let (warm_up, measured) = (self.warm_up.as_nanos(), self.measured.as_nanos());
        let share = warm_up.saturating_mul(times.into()) / (warm_up + measured).max(1);
        u64::try_from(share).expect("a part of what fits")
    }
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
    bounds: Bounds,
    /// When measuring began.
    warm: Cell<Option<Instant>>,
    /// Says that enough was done to begin.
    is_warm: Notify,
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
    let state = Rc::new(State {
        begun: Cell::new(0),
        bounds,
        warm: Cell::new(None),
        is_warm: Notify::new(),
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
    if !bounds.warm_up.is_zero() {
        // Whichever comes first. Clients that all end before have failed too often, or did all that there was to do.
        drop(timeout(bounds.warm_up, state.is_warm.notified()).await);
    }
    let warm = Instant::now();
    state.warm.set(Some(warm));
    let (server_before, client_before) = (usage()?, process::usage(std::process::id())?);
    while clients.join_next().await.is_some() {}
    let elapsed = warm.elapsed();
    let (server_after, client_after) = (usage()?, process::usage(std::process::id())?);
    if let Some(channel) = channels.first() {
        let verified = state.work.verify(channel, state.begun.get()).await;
        verified.unwrap_or_else(|error| state.count(&error));
    }
    let (p50, p99, times) = percentiles(&mut state.latencies.borrow_mut());
    if times == 0 && state.failures.get() == 0 {
        state.count(&CallError::Unmeasured);
    }
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

/// Does it at least once after warming up, however short the time is.
async fn client<W: Work>(state: Rc<State<W>>, channel: Channel) {
    loop {
        let (began, nth) = (Instant::now(), state.begun.get());
        if nth >= state.bounds.warm_up_times(state.work.times_max()) {
            state.is_warm.notify_one();
        }
        if nth == state.work.times_max() || state.failures.get() >= FAILURES_MAX {
            state.is_warm.notify_one();
            return;
        }
        state.begun.set(nth + 1);
        let done = state.work.once(&channel, nth).await;
        let (now, warm) = (Instant::now(), state.warm.get());
        match done {
            Ok(()) if warm.is_some_and(|warm| began >= warm) => {
                state.latencies.borrow_mut().push(now - began);
            }
            Ok(()) => {}
            Err(error) => state.count(&error),
        }
        let ends = |warm| began >= warm && now >= warm + state.bounds.measured;
        if warm.is_some_and(ends) {
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
    use tokio::task::LocalSet;

    use super::*;
    use crate::command::bench::bare::Bare;
    use crate::command::bench::target::{Address, Target};

    /// Something that is done at once.
    struct Quick {
        times: u64,
    }

    impl Work for Quick {
        fn times_max(&self) -> u64 {
            self.times
        }

        fn units(&self) -> u64 {
            1
        }

        async fn once(&self, _channel: &Channel, _nth: u64) -> Result<(), CallError> {
            tokio::task::yield_now().await;
            Ok(())
        }
    }

    #[tokio::test]
    async fn something_is_left_to_be_measured_however_fast_everything_is_done() {
        let bare = Bare::start().unwrap();
        let clients = LocalSet::new();
        let measured = clients.run_until(async {
            let target = Target::own("bare", bare.address);
            let address = Address::Tcp(bare.address, None);
            let channels = vec![Channel::connect(&target, &address).await.unwrap(); 3];
            let hour = Duration::from_secs(60 * 60);
            let bounds = Bounds { warm_up: hour / 5, measured: hour };
            let mut all = Vec::new();
            let cold = Bounds { warm_up: Duration::ZERO, measured: hour };
            for (times, bounds) in [(600, bounds), (600, cold), (0, bounds)] {
                all.push(drive(Quick { times }, &channels, bounds, None).await.unwrap());
            }
            all
        });
        let [warmed, cold, nothing] = measured.await.try_into().unwrap();
        assert!((490..=500).contains(&warmed.times), "{warmed:?}");
        assert_eq!((cold.times, cold.failures), (600, 0));
        assert_eq!((nothing.times, nothing.failures), (0, 1));
        assert_eq!(nothing.failure.unwrap(), CallError::Unmeasured.to_string());
    }

    #[test]
    fn percentiles_are_values_that_were_there() {
        let mut latencies: Vec<_> = (1..=200).rev().map(Duration::from_millis).collect();
        let (p50, p99, count) = percentiles(&mut latencies);
        assert_eq!((p50.as_millis(), p99.as_millis(), count), (100, 198, 200));
        assert_eq!(percentiles(&mut []), (Duration::ZERO, Duration::ZERO, 0));
        assert_eq!(percentiles(&mut [Duration::from_secs(1)]).1, Duration::from_secs(1));
    }
}
