//! Many small things: the calls that a build makes thousands of.

use std::rc::Rc;

use bytes::Bytes;
use model::Digest;

use super::channel::{Channel, Method};
use super::drive::Work;
use super::error::CallError;
use super::pieces::Pieces;
use super::pool::{Pool, made_up};
use super::remote::{self, Dialect};

/// How many blobs there are in a batch: 400 KiB, a tenth of what servers allow.
pub(super) const BATCH_BLOBS: u64 = 100;

/// How many digests are asked for at once; half of them are there.
pub(super) const ASKED_DIGESTS: u64 = 1000;

/// How many outputs a result has.
pub(super) const RESULT_OUTPUTS: u64 = 4;

/// How many different questions there are about many blobs: they are encoded before, and take memory.
const QUESTIONS: u64 = 32;

/// How many calls there are for each one whose answer is looked at closely, where that takes time to speak of.
const CALLS_PER_SAMPLE: u64 = 16;

/// How many of the blobs that were written are read again.
const VERIFIED_BLOBS: u64 = 64;

/// Writes a blob with each call.
pub(super) struct Write {
    pub(super) dialect: Dialect,
    pub(super) method: Method,
    pub(super) pool: Rc<Pool>,
}

impl Work for Write {
    fn times_max(&self) -> u64 {
        self.pool.len()
    }

    fn units(&self) -> u64 {
        1
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        let (digest, noise) = self.pool.blob(nth);
        let name = self.dialect.write_name(digest, nth);
        let piece = remote::piece(&name, noise, 0, remote::size(noise));
        remote::check_written(&channel.unary(&self.method, piece).await?, noise)
    }

    async fn verify(&self, channel: &Channel, times: u64) -> Result<(), CallError> {
        verify(&self.dialect, &self.pool, channel, times).await
    }
}

/// Reads a blob with each call.
pub(super) struct Read {
    method: Method,
    pool: Rc<Pool>,
    requests: Vec<Bytes>,
}

impl Read {
    pub(super) fn new(dialect: &Dialect, method: Method, pool: &Rc<Pool>) -> Self {
        let requests = (0..pool.len()).map(|nth| dialect.read(pool.blob(nth).0)).collect();
        Self { method, pool: Rc::clone(pool), requests }
    }
}

impl Work for Read {
    fn times_max(&self) -> u64 {
        u64::MAX
    }

    fn units(&self) -> u64 {
        1
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        let answer = channel.unary(&self.method, nth_of(&self.requests, nth).clone()).await?;
        let mut pieces = Pieces::all_of(self.pool.blob(nth).1);
        pieces.take(answer)?;
        pieces.finish()
    }
}

/// Writes many blobs with each call.
pub(super) struct BatchUpdate {
    pub(super) dialect: Dialect,
    pub(super) method: Method,
    pub(super) pool: Rc<Pool>,
}

impl Work for BatchUpdate {
    fn times_max(&self) -> u64 {
        self.pool.len() / BATCH_BLOBS
    }

    fn units(&self) -> u64 {
        BATCH_BLOBS
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        let blobs = self.pool.blobs(nth * BATCH_BLOBS, BATCH_BLOBS);
        let answer = channel.unary(&self.method, self.dialect.batch_update(&blobs)).await?;
        remote::check_updated(&answer, blobs.len())
    }

    async fn verify(&self, channel: &Channel, times: u64) -> Result<(), CallError> {
        verify(&self.dialect, &self.pool, channel, times * BATCH_BLOBS).await
    }
}

/// Reads some of the blobs that were written.
async fn verify(
    dialect: &Dialect,
    pool: &Pool,
    channel: &Channel,
    written: u64,
) -> Result<(), CallError> {
    let method = channel.method(remote::READ);
    let step = written.div_ceil(VERIFIED_BLOBS).max(1);
    for nth in (0..written).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
        let (digest, noise) = pool.blob(nth);
        let mut pieces = Pieces::all_of(noise);
        pieces.take(channel.unary(&method, dialect.read(digest)).await?)?;
        pieces.finish()?;
    }
    Ok(())
}

/// Reads many blobs with each call.
pub(super) struct BatchRead {
    method: Method,
    pool: Rc<Pool>,
    requests: Vec<Bytes>,
}

impl BatchRead {
    pub(super) fn new(dialect: &Dialect, method: Method, pool: &Rc<Pool>) -> Self {
        let request = |nth| dialect.batch_read(&pool.digests(nth * BATCH_BLOBS, BATCH_BLOBS));
        Self { method, pool: Rc::clone(pool), requests: (0..QUESTIONS).map(request).collect() }
    }
}

impl Work for BatchRead {
    fn times_max(&self) -> u64 {
        u64::MAX
    }

    fn units(&self) -> u64 {
        BATCH_BLOBS
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        let answer = channel.unary(&self.method, nth_of(&self.requests, nth).clone()).await?;
        let blobs = self.pool.blobs(nth % QUESTIONS * BATCH_BLOBS, BATCH_BLOBS);
        if nth.is_multiple_of(CALLS_PER_SAMPLE) {
            return remote::check_batch(&answer, &blobs);
        }
        let bytes: u64 = blobs.iter().map(|(_, noise)| noise.bytes).sum();
        let is_enough = answer.len() as u64 > bytes;
        is_enough.then_some(()).ok_or(CallError::Wrong("not all blobs"))
    }
}

/// Asks with each call which of many blobs are missing: every other one.
pub(super) struct FindMissing {
    method: Method,
    questions: Vec<Question>,
}

struct Question {
    request: Bytes,
    missing: Vec<Digest>,
    answer_bytes: usize,
}

impl FindMissing {
    pub(super) fn new(dialect: &Dialect, method: Method, pool: &Pool, seed: u64) -> Self {
        let half = ASKED_DIGESTS / 2;
        let question = |nth| {
            let present = pool.digests(nth * half, half);
            let missing: Vec<_> = (nth * half..(nth + 1) * half)
                .map(|number| made_up(dialect.function, seed, number))
                .collect();
            let all: Vec<_> =
                present.iter().zip(&missing).flat_map(|(one, other)| [*one, *other]).collect();
            let answer_bytes = remote::missing_bytes(&missing);
            Question { request: dialect.find_missing(&all), missing, answer_bytes }
        };
        Self { method, questions: (0..QUESTIONS).map(question).collect() }
    }
}

impl Work for FindMissing {
    fn times_max(&self) -> u64 {
        u64::MAX
    }

    fn units(&self) -> u64 {
        ASKED_DIGESTS
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        let question = nth_of(&self.questions, nth);
        let answer = channel.unary(&self.method, question.request.clone()).await?;
        let is_right = answer.len() == question.answer_bytes
            && (!nth.is_multiple_of(CALLS_PER_SAMPLE) || {
                let found = remote::missing(&answer)?;
                question.missing.iter().all(|digest| found.contains(&digest.hex()))
            });
        is_right.then_some(()).ok_or(CallError::Wrong("other blobs are missing"))
    }
}

/// Asks with each call what an action made.
pub(super) struct GetResult {
    method: Method,
    pool: Rc<Pool>,
    requests: Vec<Bytes>,
}

impl GetResult {
    pub(super) fn new(
        dialect: &Dialect,
        method: Method,
        pool: &Rc<Pool>,
        seed: u64,
        results: u64,
    ) -> Self {
        let request = |nth| dialect.get_result(made_up(dialect.function, seed, nth));
        Self { method, pool: Rc::clone(pool), requests: (0..results).map(request).collect() }
    }
}

impl Work for GetResult {
    fn times_max(&self) -> u64 {
        u64::MAX
    }

    fn units(&self) -> u64 {
        1
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        let answer = channel.unary(&self.method, nth_of(&self.requests, nth).clone()).await?;
        if nth.is_multiple_of(CALLS_PER_SAMPLE) {
            let action = nth % self.requests.len() as u64;
            return remote::check_result(&answer, &outputs(&self.pool, action));
        }
        Ok(())
    }
}

/// Says with each call what an action made, of which nothing was known.
pub(super) struct UpdateResult {
    pub(super) dialect: Dialect,
    pub(super) method: Method,
    pub(super) pool: Rc<Pool>,
    pub(super) seed: u64,
    pub(super) results: u64,
}

impl Work for UpdateResult {
    fn times_max(&self) -> u64 {
        self.results
    }

    fn units(&self) -> u64 {
        1
    }

    async fn once(&self, channel: &Channel, nth: u64) -> Result<(), CallError> {
        let action = made_up(self.dialect.function, self.seed, nth);
        let outputs = outputs(&self.pool, nth);
        let request = self.dialect.update_result(action, &outputs);
        let answer = channel.unary(&self.method, request).await?;
        if nth.is_multiple_of(CALLS_PER_SAMPLE) {
            return remote::check_result(&answer, &outputs);
        }
        Ok(())
    }

    async fn verify(&self, channel: &Channel, times: u64) -> Result<(), CallError> {
        let method = channel.method(remote::GET_RESULT);
        let step = times.div_ceil(VERIFIED_BLOBS).max(1);
        for nth in (0..times).step_by(usize::try_from(step).unwrap_or(usize::MAX)) {
            let action = made_up(self.dialect.function, self.seed, nth);
            let answer = channel.unary(&method, self.dialect.get_result(action)).await?;
            remote::check_result(&answer, &outputs(&self.pool, nth))?;
        }
        Ok(())
    }
}

/// Returns what an action made: blobs that are there.
fn outputs(pool: &Pool, action: u64) -> Vec<Digest> {
    pool.digests(action * RESULT_OUTPUTS, RESULT_OUTPUTS)
}

fn nth_of<T>(all: &[T], nth: u64) -> &T {
    &all[usize::try_from(nth % all.len() as u64).expect("less than there are")]
}
