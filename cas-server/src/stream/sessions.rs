//! Which uploads are under way: a client whose connection died without a sign is told what came of his, and goes on with it
//! over another one.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use model::Digest;
use store::Session;
use tokio_util::sync::CancellationToken;

/// The uploads under way, by session and blob. Clones are the same ones. There are no more than there are streams, of which
/// each caller has only so many.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sessions(Arc<Mutex<BTreeMap<Key, Vec<Arc<Sender>>>>>);

type Key = (Session, Digest);

/// One of perhaps several streams that send the same upload: those that begin anew do not wait for those before them.
#[derive(Debug)]
pub(crate) struct Sender {
    /// How much the store was given: what is in its file when the stream ends, however it ends.
    bytes: AtomicU64,
    replaced: CancellationToken,
    left: CancellationToken,
}

impl Sender {
    /// Returns how much of the blob the store was given.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Acquire)
    }

    /// Has the stream end, and waits until what it sent can be taken up.
    pub(crate) async fn replace(&self) {
        self.replaced.cancel();
        self.left.cancelled().await;
    }
}

/// A stream's place among those of its session. It must be dropped after the upload, which can be taken up from then on.
#[derive(Debug)]
pub(crate) struct Place {
    sessions: Sessions,
    key: Key,
    sender: Arc<Sender>,
}

impl Place {
    /// Takes note of what the store is given.
    pub(crate) fn give(&self, bytes: usize) {
        self.sender.bytes.fetch_add(bytes as u64, Ordering::Release);
    }

    /// Returns what says that another stream goes on with the upload.
    pub(crate) fn replaced(&self) -> &CancellationToken {
        &self.sender.replaced
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut senders = self.sessions.senders();
        if let Some(of) = senders.get_mut(&self.key) {
            of.retain(|it| !Arc::ptr_eq(it, &self.sender));
            if of.is_empty() {
                senders.remove(&self.key);
            }
        }
        self.sender.left.cancel();
    }
}

impl Sessions {
    /// Returns the stream that is furthest in an upload, of several the latest.
    pub(crate) fn furthest(&self, session: &Session, digest: Digest) -> Option<Arc<Sender>> {
        let senders = self.senders();
        let of = senders.get(&(session.clone(), digest))?;
        of.iter().max_by_key(|it| it.bytes()).cloned()
    }

    /// Takes a place for a stream that goes on where `offset` bytes are here.
    pub(crate) fn enter(&self, session: Session, digest: Digest, offset: u64) -> Place {
        let (replaced, left) = (CancellationToken::new(), CancellationToken::new());
        let sender = Arc::new(Sender { bytes: AtomicU64::new(offset), replaced, left });
        let key = (session, digest);
        self.senders().entry(key.clone()).or_default().push(Arc::clone(&sender));
        Place { sessions: self.clone(), key, sender }
    }

    fn senders(&self) -> MutexGuard<'_, BTreeMap<Key, Vec<Arc<Sender>>>> {
        self.0.lock().expect("no holder panics")
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt as _;
    use model::DigestFunction;

    use super::*;

    fn session(owner: &str, name: &str) -> Session {
        Session { owner: owner.into(), name: name.to_owned() }
    }

    #[test]
    fn the_furthest_of_a_session_is_found_and_nothing_is_left_of_those_who_ended() {
        let (sessions, digest) = (Sessions::default(), Digest::of(DigestFunction::Blake3, b"one"));
        let bytes = |owner: &str, name: &str| {
            sessions.furthest(&session(owner, name), digest).map(|it| it.bytes())
        };
        let first = sessions.enter(session("me", "name"), digest, 0);
        let second = sessions.enter(session("me", "name"), digest, 5);
        assert_eq!(bytes("me", "name"), Some(5));
        first.give(7);
        assert_eq!(bytes("me", "name"), Some(7));
        assert_eq!((bytes("you", "name"), bytes("me", "other")), (None, None));
        let other = Digest::of(DigestFunction::Blake3, b"other");
        assert!(sessions.furthest(&session("me", "name"), other).is_none());
        drop(first);
        assert_eq!(bytes("me", "name"), Some(5));
        drop(second);
        assert!(sessions.senders().is_empty());
    }

    #[test]
    fn of_those_who_are_equally_far_the_latest_goes_and_is_waited_for() {
        let (sessions, digest) = (Sessions::default(), Digest::of(DigestFunction::Blake3, b"one"));
        let mine = session("me", "name");
        let first = sessions.enter(mine.clone(), digest, 5);
        let second = sessions.enter(mine.clone(), digest, 5);
        let furthest = sessions.furthest(&mine, digest).unwrap();
        assert!(furthest.replace().now_or_never().is_none(), "it is still there");
        assert!(second.replaced().is_cancelled() && !first.replaced().is_cancelled());
        drop(second);
        assert!(furthest.replace().now_or_never().is_some());
    }
}
