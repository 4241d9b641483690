//! Turns: whoever wants the same as somebody else waits until that one is done.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, Weak};

use model::Digest;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

/// How many turns are remembered before those are forgotten that nobody has any more: a few for each that may be taken
/// at once.
const TURNS_MAX: usize = 1024;

/// Gives out turns, one at a time for each digest.
#[derive(Debug, Default)]
pub struct Turns(Mutex<BTreeMap<Digest, Weak<AsyncMutex<()>>>>);

impl Turns {
    /// Waits for the turn; it ends when what is returned is dropped.
    pub async fn take(&self, digest: Digest) -> OwnedMutexGuard<()> {
        let turn = {
            let mut turns = self.0.lock().expect("no holder panics");
            if turns.len() >= TURNS_MAX {
                turns.retain(|_, turn| turn.strong_count() > 0);
            }
            let known = turns.get(&digest).and_then(Weak::upgrade);
            known.unwrap_or_else(|| {
                let turn = Arc::default();
                turns.insert(digest, Arc::downgrade(&turn));
                turn
            })
        };
        turn.lock_owned().await
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use model::DigestFunction;

    use super::*;

    #[test]
    fn a_turn_is_waited_for_by_those_who_want_the_same_and_by_nobody_else() {
        let turns = Turns::default();
        let digest = |text: &str| Digest::of(DigestFunction::Blake3, text.as_bytes());
        let turn = turns.take(digest("one")).now_or_never().unwrap();
        assert!(turns.take(digest("other")).now_or_never().is_some());
        assert!(turns.take(digest("one")).now_or_never().is_none());
        drop(turn);
        assert!(turns.take(digest("one")).now_or_never().is_some());
    }
}
