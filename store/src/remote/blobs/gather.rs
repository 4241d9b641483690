//! Gathers what many ask for at the same time into few messages.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::Digest;
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::remote::RemoteError;

/// How many messages are under way at once. While they are, the next ones fill.
const BATCHES_MAX: usize = 8;

/// How many blobs go into one message: servers do something for each.
const BLOBS_MAX: usize = 4_000;

/// How many wait to be gathered; whoever is beyond waits in turn.
const WAITING_MAX: usize = 4_096;

/// What a blob takes in a message beside its bytes: digest, status, lengths.
const OVERHEAD_BYTES: u64 = 150;

type Answer<A> = Result<A, Arc<RemoteError>>;

/// What one asks for.
struct Wish<Q, A> {
    digest: Digest,
    question: Q,
    answer: oneshot::Sender<Answer<A>>,
}

/// Gathers questions about blobs. Clones ask together.
pub(super) struct Gatherer<Q, A> {
    wishes: mpsc::Sender<Wish<Q, A>>,
    /// Who is asked.
    address: Arc<str>,
}

impl<Q, A> Clone for Gatherer<Q, A> {
    fn clone(&self) -> Self {
        Self { wishes: self.wishes.clone(), address: Arc::clone(&self.address) }
    }
}

impl<Q, A> Gatherer<Q, A>
where
    Q: Send + 'static,
    A: Clone + Send + 'static,
{
    /// Returns one that asks whoever is there by `call`, which answers for each digest, at most so many bytes of blobs at a time.
    pub(super) fn new<F>(
        address: &Arc<str>,
        batch_bytes: u64,
        call: impl Fn(Vec<(Digest, Q)>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Result<BTreeMap<Digest, A>, RemoteError>> + Send + 'static,
    {
        let (wishes, receiver) = mpsc::channel(WAITING_MAX);
        tokio::spawn(gather(receiver, batch_bytes, call));
        Self { wishes, address: Arc::clone(address) }
    }

    /// Asks about one blob.
    pub(super) async fn ask(&self, digest: Digest, question: Q) -> Answer<A> {
        let (answer, answered) = oneshot::channel();
        let wish = Wish { digest, question, answer };
        // Whoever gathers ends only with the runtime, and then nobody waits any more.
        let sent = self.wishes.send(wish).await.is_ok();
        let address = || Arc::clone(&self.address);
        let ended = || Err(Arc::new(RemoteError::Unasked { address: address() }));
        if sent { answered.await.unwrap_or_else(|_| ended()) } else { ended() }
    }
}

async fn gather<Q, A, F>(
    mut wishes: mpsc::Receiver<Wish<Q, A>>,
    batch_bytes: u64,
    call: impl Fn(Vec<(Digest, Q)>) -> F,
) where
    A: Clone + Send + 'static,
    F: Future<Output = Result<BTreeMap<Digest, A>, RemoteError>> + Send + 'static,
{
    let free = Arc::new(Semaphore::new(BATCHES_MAX));
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(wish) => wish,
            None => match wishes.recv().await {
                Some(wish) => wish,
                None => return,
            },
        };
        let room = Arc::clone(&free).acquire_owned().await.expect("it is never closed");
        // Whoever asks at the same time is gathered, too.
        tokio::task::yield_now().await;
        let mut batch = Batch::new(batch_bytes);
        batch.add(first);
        while let Ok(wish) = wishes.try_recv() {
            if !batch.fits(wish.digest) {
                next = Some(wish);
                break;
            }
            batch.add(wish);
        }
        let Batch { questions, waiting, .. } = batch;
        let answered = call(questions);
        tokio::spawn(async move {
            tell(waiting, answered.await);
            drop(room);
        });
    }
}

/// What goes into one message, and who waits for the answers.
struct Batch<Q, A> {
    left_bytes: u64,
    questions: Vec<(Digest, Q)>,
    waiting: BTreeMap<Digest, Vec<oneshot::Sender<Answer<A>>>>,
}

impl<Q, A> Batch<Q, A> {
    fn new(batch_bytes: u64) -> Self {
        Self { left_bytes: batch_bytes, questions: Vec::new(), waiting: BTreeMap::new() }
    }

    fn fits(&self, digest: Digest) -> bool {
        let is_known = self.waiting.contains_key(&digest);
        is_known || self.questions.len() < BLOBS_MAX && cost(digest) <= self.left_bytes
    }

    fn add(&mut self, wish: Wish<Q, A>) {
        let waiting = self.waiting.entry(wish.digest).or_default();
        if waiting.is_empty() {
            self.left_bytes = self.left_bytes.saturating_sub(cost(wish.digest));
            self.questions.push((wish.digest, wish.question));
        }
        waiting.push(wish.answer);
    }
}

fn cost(digest: Digest) -> u64 {
    digest.size().saturating_add(OVERHEAD_BYTES)
}

fn tell<A: Clone>(
    waiting: BTreeMap<Digest, Vec<oneshot::Sender<Answer<A>>>>,
    answers: Result<BTreeMap<Digest, A>, RemoteError>,
) {
    let answers = answers.map_err(Arc::new);
    for (digest, waiting) in waiting {
        let answer = match &answers {
            Ok(answers) => {
                Ok(answers.get(&digest).cloned().expect("there is an answer for each question"))
            }
            Err(error) => Err(Arc::clone(error)),
        };
        // Whoever does not wait any more is not told.
        for one in waiting {
            drop(one.send(answer.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use futures::future::join_all;
    use model::DigestFunction;

    use super::*;

    fn digest(number: u64, size: u64) -> Digest {
        let named = Digest::of(DigestFunction::Blake3, &number.to_le_bytes());
        Digest::from_parts(DigestFunction::Blake3, *named.hash(), size)
    }

    #[tokio::test]
    async fn what_is_asked_at_the_same_time_goes_together_as_far_as_it_fits() {
        let calls: Arc<Mutex<Vec<Vec<Digest>>>> = Arc::default();
        let heard = Arc::clone(&calls);
        let gatherer =
            Gatherer::new(&"grpc://cache".into(), 10_000, move |wanted: Vec<(Digest, ())>| {
                let digests: Vec<Digest> = wanted.into_iter().map(|(digest, ())| digest).collect();
                heard.lock().unwrap().push(digests.clone());
                async move { Ok(digests.into_iter().map(|it| (it, it.size())).collect()) }
            });
        let wanted: Vec<Digest> = (0..100).map(|number| digest(number % 50, 850)).collect();
        let answers = join_all(wanted.iter().map(|digest| gatherer.ask(*digest, ()))).await;
        assert!(answers.into_iter().all(|it| it.unwrap() == 850));
        let calls = calls.lock().unwrap();
        assert!(calls.iter().all(|call| call.len() <= 10), "a thousand bytes each: {calls:?}");
        assert!(calls.len() <= 10, "{} calls", calls.len());
    }

    #[tokio::test]
    async fn a_failure_is_told_to_all_who_asked() {
        let gatherer: Gatherer<(), ()> = Gatherer::new(&"grpc://cache".into(), 10_000, |_| async {
            Err(RemoteError::NoCache { address: "grpc://cache".into() })
        });
        let asked = (0..3).map(|number| gatherer.ask(digest(number, 1), ()));
        assert!(join_all(asked).await.into_iter().all(|it| it.is_err()));
    }
}
