//! Jobs: what a thread of the store does again and again, and who hears that it fails.

use crate::StoreError;

/// Something that is done again and again. That it fails is said once, not every second, and again after it went well.
pub(super) struct Job {
    what: &'static str,
    is_failing: bool,
}

impl Job {
    pub(super) fn new(what: &'static str) -> Self {
        Self { what, is_failing: false }
    }

    /// Takes what came of doing it once more.
    pub(super) fn note(&mut self, done: Result<(), StoreError>) {
        let was_failing = std::mem::replace(&mut self.is_failing, done.is_err());
        if let Some(error) = done.err().filter(|_| !was_failing) {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, cause, "cannot {}", self.what);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tracing::span;

    use super::*;

    /// Counts what is said.
    #[derive(Clone, Default)]
    struct Listener(Arc<AtomicUsize>);

    impl tracing::Subscriber for Listener {
        fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
            true
        }

        fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
            span::Id::from_u64(1)
        }

        fn record(&self, _: &span::Id, _: &span::Record<'_>) {}

        fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}

        fn event(&self, _: &tracing::Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn enter(&self, _: &span::Id) {}

        fn exit(&self, _: &span::Id) {}
    }

    #[test]
    fn a_job_that_fails_and_fails_says_so_once_whatever_becomes_of_others() {
        let listener = Listener::default();
        tracing::subscriber::with_default(listener.clone(), || {
            let said = || listener.0.load(Ordering::Relaxed);
            let [mut one, mut other, mut good] = ["one", "other", "good"].map(Job::new);
            for _ in 0..3 {
                one.note(Err(StoreError::ValueTooLarge));
                other.note(Err(StoreError::ValueTooLarge));
                good.note(Ok(()));
            }
            assert_eq!(said(), 2);
            one.note(Ok(()));
            one.note(Err(StoreError::ValueTooLarge));
            assert_eq!(said(), 3, "it went well meanwhile");
        });
    }
}
