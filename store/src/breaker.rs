//! When a remote that fails is not asked any more, and when it is tried again.

use std::sync::{Arc, Mutex, Weak};
use std::time::{Duration, Instant};

use crate::{RemoteError, StoreError};

/// How many faults are put up with: each may have cost many attempts, and a few that have to do with one blob or result
/// must not end it all.
const FAULTS_MAX: usize = 10;

/// How long the first rest is: a server that is started again is back by then, or nearly.
const REST_MIN: Duration = Duration::from_secs(30);

/// How long a rest is at most. Each is twice as long as the one before, for a trial may have to wait until it fails.
const REST_MAX: Duration = Duration::from_secs(5 * 60);

/// One thing that is asked of a remote: reading, or writing. The tenth fault stops it, as does the first that says that
/// nothing can be had there. After a rest one call is tried: if that does not fail, all goes on.
pub(crate) struct Breaker(Mutex<State>);

/// As what a call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Attempt {
    /// As one of many.
    Usual,
    /// To find out whether all may go on.
    Trial,
}

struct State {
    faults: usize,
    /// The faults of which more may hear: many wait for the same message, whose failure is one.
    counted: Vec<Weak<RemoteError>>,
    /// How long the next rest is.
    rest: Duration,
    /// Until when nothing is asked, once there were too many faults.
    until: Option<Instant>,
}

impl Default for State {
    fn default() -> Self {
        Self { faults: 0, counted: Vec::new(), rest: REST_MIN, until: None }
    }
}

impl State {
    fn stop(&mut self, now: Instant) {
        self.until = Some(now + self.rest);
        self.rest = (self.rest * 2).min(REST_MAX);
    }

    /// Counts a fault, unless it was counted when another heard of it.
    fn count(&mut self, error: &StoreError) {
        if let StoreError::Remote(error) = error {
            self.counted.retain(|it| it.strong_count() > 0);
            if self.counted.iter().any(|it| std::ptr::eq(it.as_ptr(), Arc::as_ptr(error))) {
                return;
            }
            self.counted.push(Arc::downgrade(error));
        }
        self.faults += 1;
    }
}

impl Breaker {
    /// Returns one that lets every call be made.
    pub(crate) fn new() -> Self {
        Self(Mutex::default())
    }

    /// Returns as what a call may be made now, if it may.
    pub(crate) fn begin(&self, now: Instant) -> Option<Attempt> {
        let mut state = self.0.lock().expect("no holder panics");
        match state.until {
            None => Some(Attempt::Usual),
            Some(until) if now < until => None,
            Some(_) => {
                // Whoever else asks waits for what comes of this one, which may never end.
                state.stop(now);
                Some(Attempt::Trial)
            }
        }
    }

    /// Takes what came of a call.
    pub(crate) fn end(&self, attempt: Attempt, fault: Option<&StoreError>, now: Instant) {
        let mut state = self.0.lock().expect("no holder panics");
        match fault {
            None if attempt == Attempt::Trial => *state = State::default(),
            // Nor is anybody heard any more who asked before it stopped.
            Some(fault) if state.until.is_none() => {
                state.count(fault);
                if fault.is_unreachable() || state.faults >= FAULTS_MAX {
                    state.stop(now);
                }
            }
            None | Some(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tonic::{Code, Status};

    use super::*;

    fn fault(code: Code) -> StoreError {
        let (verb, address) = ("read from", "grpc://cache".into());
        let status = Box::new(Status::new(code, ""));
        Arc::new(RemoteError::Call { verb, address, status }).into()
    }

    /// A breaker, and a clock.
    struct Bench {
        breaker: Breaker,
        now: Instant,
    }

    impl Bench {
        fn new() -> Self {
            Self { breaker: Breaker::new(), now: Instant::now() }
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        /// Asks, and returns whether that was let through.
        fn ask(&self, fault: Option<&StoreError>) -> bool {
            let attempt = self.breaker.begin(self.now);
            let is_let = attempt.is_some();
            if let Some(attempt) = attempt {
                self.breaker.end(attempt, fault, self.now);
            }
            is_let
        }
    }

    #[test]
    fn the_tenth_fault_stops_it_and_so_does_the_first_that_says_that_nothing_can_be_had() {
        let bench = Bench::new();
        for code in [Code::DeadlineExceeded, Code::Internal].into_iter().cycle().take(10) {
            assert!(bench.ask(None) && bench.ask(Some(&fault(code))));
        }
        assert!(!bench.ask(None));
        for code in [Code::Unavailable, Code::Unauthenticated] {
            let bench = Bench::new();
            assert!(bench.ask(Some(&fault(code))));
            assert!(!bench.ask(None));
        }
    }

    #[test]
    fn a_message_that_many_waited_for_fails_once() {
        let bench = Bench::new();
        let messages: Vec<_> = (0..9).map(|_| fault(Code::DeadlineExceeded)).collect();
        for _ in 0..100 {
            assert!(messages.iter().all(|it| bench.ask(Some(it))), "nine are put up with");
        }
        assert!(bench.ask(Some(&fault(Code::DeadlineExceeded))));
        assert!(!bench.ask(None));
    }

    #[test]
    fn after_a_rest_one_call_is_tried_and_all_goes_on_if_it_does_not_fail() {
        let mut bench = Bench::new();
        bench.ask(Some(&fault(Code::Unavailable)));
        bench.wait(29);
        assert!(!bench.ask(None));
        bench.wait(1);
        let trial = bench.breaker.begin(bench.now).unwrap();
        assert!(!bench.ask(None), "the others wait for what comes of it");
        bench.breaker.end(trial, None, bench.now);
        for _ in 0..9 {
            assert!(bench.ask(Some(&fault(Code::Internal))), "as if nothing had been");
        }
        assert!(bench.ask(None));
    }

    #[test]
    fn the_longer_nothing_is_to_be_had_the_rarer_it_is_tried() {
        let mut bench = Bench::new();
        let gone = fault(Code::Unavailable);
        bench.ask(Some(&gone));
        let mut tried = Vec::new();
        for second in 1..=1200 {
            bench.wait(1);
            if bench.ask(Some(&gone)) {
                tried.push(second);
            }
        }
        assert_eq!(tried, [30, 90, 210, 450, 750, 1050]);
    }

    #[test]
    fn a_trial_that_is_broken_off_is_followed_by_another() {
        let mut bench = Bench::new();
        bench.ask(Some(&fault(Code::Unavailable)));
        bench.wait(30);
        assert_eq!(bench.breaker.begin(bench.now), Some(Attempt::Trial));
        bench.wait(60);
        assert!(bench.ask(None));
        assert!(bench.ask(None), "and that one decides");
    }

    #[test]
    fn who_asked_before_it_stopped_decides_nothing_any_more() {
        let bench = Bench::new();
        let early = bench.breaker.begin(bench.now).unwrap();
        bench.ask(Some(&fault(Code::Unavailable)));
        bench.breaker.end(early, None, bench.now);
        assert!(!bench.ask(None));
    }
}
