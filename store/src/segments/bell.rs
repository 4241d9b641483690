//! Bells: how the store's threads are woken.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// Wakes one thread; a ring that nobody waits for is heard later.
#[derive(Debug, Default)]
pub(super) struct Bell {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    has_rung: bool,
    is_over: bool,
}

impl Bell {
    /// Wakes whoever waits.
    pub(super) fn ring(&self) {
        self.state.lock().expect("no holder panics").has_rung = true;
        self.changed.notify_all();
    }

    /// Says that there is nothing to wait for any more.
    pub(super) fn end(&self) {
        self.state.lock().expect("no holder panics").is_over = true;
        self.changed.notify_all();
    }

    /// Returns at the next ring, or after that time. Returns whether there is more to wait for.
    pub(super) fn wait(&self, time: Duration) -> bool {
        let state = self.state.lock().expect("no holder panics");
        let is_quiet = |state: &mut State| !state.has_rung && !state.is_over;
        let waited = self.changed.wait_timeout_while(state, time, is_quiet);
        let (mut state, _) = waited.expect("no holder panics");
        state.has_rung = false;
        !state.is_over
    }

    /// Returns whether there is nothing to wait for any more.
    pub(super) fn is_over(&self) -> bool {
        self.state.lock().expect("no holder panics").is_over
    }
}

/// The bells of the store's threads.
#[derive(Debug, Default)]
pub(super) struct Bells {
    pub(super) committer: Bell,
    pub(super) keeper: Bell,
    pub(super) sealer: Bell,
}

impl Bells {
    pub(super) fn end(&self) {
        [&self.committer, &self.keeper, &self.sealer].into_iter().for_each(Bell::end);
    }
}
