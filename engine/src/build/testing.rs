//! Tests: actions whose failures are never remembered, and which may be run many times to see whether they hold.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use model::{ActionDigest, ActionResult, Command, Digest, Node as TreeNode, RelativePath};

use super::action::{Found, How, Keyed, outputs_of};
use super::attempt::Attempted;
use super::{Build, FailureKind, Made, Outcome, Stop, broken};
use crate::graph::{NodeId, Owner, RunNode};

/// How tests are run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestOptions {
    /// How often each test is run; beyond one, no earlier result counts.
    pub runs: u32,
    /// How often a run that fails is tried, until it passes.
    pub attempts: u32,
    /// Whether a test that passed before is not run again.
    pub use_cache: bool,
}

impl Default for TestOptions {
    fn default() -> Self {
        Self { runs: 1, attempts: 1, use_cache: true }
    }
}

/// What came of a test.
#[derive(Clone, Debug)]
pub struct Tested {
    /// Which one.
    pub owner: Owner,
    /// What it is called in the cache.
    pub action: ActionDigest,
    /// Whether it passed before and was not run.
    pub cached: bool,
    /// Every attempt of every run, in order.
    pub attempts: Vec<Attempt>,
    /// What the last attempt made, even one that failed.
    pub outputs: BTreeMap<RelativePath, TreeNode>,
}

/// One time that a test was run.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// Which run it belongs to, from 1.
    pub run: u32,
    /// How it failed, if it did.
    pub failure: Option<FailureKind>,
    /// How long it took, by the clock.
    pub wall: Duration,
    /// Its processor time.
    pub cpu: Duration,
    /// What it wrote to standard output, unless nothing.
    pub stdout: Option<Digest>,
    /// What it wrote to standard error, unless nothing.
    pub stderr: Option<Digest>,
}

/// What a test's attempts say together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// It passed whenever it was run.
    Passed,
    /// Some attempt failed, and another of the same run passed.
    Flaky,
    /// A run failed in every attempt.
    Failed,
    /// A run failed in every attempt, and the last time because its time was up.
    TimedOut,
}

impl Tested {
    /// Returns what the attempts say together.
    pub fn verdict(&self) -> Verdict {
        let mut verdict = Verdict::Passed;
        for run in self.attempts.chunk_by(|one, other| one.run == other.run) {
            let of_run = match run.last().map(|attempt| &attempt.failure) {
                Some(Some(FailureKind::TimedOut)) => Verdict::TimedOut,
                Some(Some(_)) => Verdict::Failed,
                Some(None) if run.len() > 1 => Verdict::Flaky,
                Some(None) | None => Verdict::Passed,
            };
            verdict = verdict.max(of_run);
        }
        verdict
    }
}

impl Attempt {
    fn of(run: u32, result: &ActionResult, failure: Option<&FailureKind>) -> Self {
        Self {
            run,
            failure: failure.cloned(),
            wall: result.metadata.wall,
            cpu: result.metadata.cpu,
            stdout: result.stdout,
            stderr: result.stderr,
        }
    }
}

impl Build {
    /// Returns what a test came to: its earlier pass, or what as many runs as were asked for say.
    pub(super) async fn test_node(&self, id: NodeId, run: &RunNode) -> Outcome {
        let keyed = self.key_of_run(run).await?;
        let options = self.options.tests;
        let may_find = options.use_cache && options.runs == 1;
        if may_find && let Some(outcome) = self.find_passed(id, &run.owner, &keyed)? {
            return outcome;
        }
        if may_find
            && let Some(result) = self.find_afar(&run.owner, &keyed).await.map_err(broken)?
        {
            if self.bring_test(&keyed, &result).await? {
                let made = self.passed_before(id, &run.owner, &keyed, &result, Found::Afar);
                return Ok(made.expect("it has all outputs"));
            }
            self.doubt(keyed.digest).map_err(broken)?;
        }
        if self.is_stopping() {
            return Err(Stop::Skipped);
        }
        let (_slot, _lock) = self.slot_and_lock(keyed.digest).await?;
        // Another process may have run it while this one waited.
        if may_find && let Some(outcome) = self.find_passed(id, &run.owner, &keyed)? {
            return outcome;
        }
        if self.is_stopping() {
            return Err(Stop::Skipped);
        }
        self.run_test(id, &run.owner, &keyed).await
    }

    fn find_passed(
        &self,
        id: NodeId,
        owner: &Owner,
        keyed: &Keyed,
    ) -> Result<Option<Outcome>, Stop> {
        let found = tokio::task::block_in_place(|| self.find_near(keyed.digest));
        let Some(result) = found.map_err(broken)? else { return Ok(None) };
        Ok(self.passed_before(id, owner, keyed, &result, Found::Near).map(Ok))
    }

    /// Makes present what a test left that passed elsewhere, and returns whether that can be had. People look at it, and
    /// at its logs, if they are there.
    async fn bring_test(&self, keyed: &Keyed, result: &ActionResult) -> Result<bool, Stop> {
        for log in result.stdout.into_iter().chain(result.stderr) {
            self.bring_blob(log).await.map_err(broken)?;
        }
        let made = Made { outputs: present_outputs(&keyed.command, result), ran: false };
        self.bring_made(&made).await.map_err(broken)
    }

    fn passed_before(
        &self,
        id: NodeId,
        owner: &Owner,
        keyed: &Keyed,
        result: &ActionResult,
        found: Found,
    ) -> Option<Arc<Made>> {
        let made = self.found(id, owner, keyed, result, found)?;
        let attempts = vec![Attempt::of(1, result, None)];
        self.note_test(id, owner, keyed, true, attempts, made.outputs.clone());
        Some(made)
    }

    /// Runs a test as often as it takes, whatever the cache says.
    pub(super) async fn run_test(&self, id: NodeId, owner: &Owner, keyed: &Keyed) -> Outcome {
        let options = self.options.tests;
        let mut attempts = Vec::new();
        let (mut passed, mut failed) = (None, None);
        for run in 1..=options.runs {
            for _ in 0..options.attempts {
                let attempted = self.attempt(&*self.executor, owner, keyed).await?;
                let Attempted { span, result, failure, .. } = &attempted;
                let how = How::Ran(*span);
                let ran = self.count(id, owner, keyed.digest, result, how, failure.clone());
                self.events.finished(&ran);
                attempts.push(Attempt::of(run, result, failure.as_ref()));
                if failure.is_none() {
                    passed = Some(attempted);
                    break;
                }
                failed = Some(attempted);
            }
        }
        self.remember_test(id, owner, keyed, passed.as_ref(), failed.as_ref())?;
        let made = |it: &Attempted| present_outputs(&keyed.command, &it.result);
        // What a failure left is what people look for.
        let outputs = failed.as_ref().or(passed.as_ref()).map(made).unwrap_or_default();
        self.note_outputs(id, &outputs);
        let verdict = self.note_test(id, owner, keyed, false, attempts, outputs);
        match (verdict, failed, passed) {
            (Verdict::Passed | Verdict::Flaky, _, Some(passed)) => {
                let outputs = present_outputs(&keyed.command, &passed.result);
                self.note_outputs(id, &outputs);
                Ok(Arc::new(Made { outputs, ran: true }))
            }
            (_, Some(Attempted { failure: Some(kind), result, .. }), _) => {
                Err(self.failed(id, owner, keyed.digest, kind, &result, false))
            }
            _ => unreachable!("a test that does not pass has failed"),
        }
    }

    /// Records a test that passed each time. One that failed once is forgotten, so that it is looked at again.
    fn remember_test(
        &self,
        id: NodeId,
        owner: &Owner,
        keyed: &Keyed,
        passed: Option<&Attempted>,
        failed: Option<&Attempted>,
    ) -> Result<(), Stop> {
        if failed.is_some() {
            return self.store.forget_result(keyed.digest).map_err(broken);
        }
        match passed {
            Some(attempted) if attempted.is_isolated() => {
                self.store.record_result(keyed.digest, &attempted.result).map_err(broken)?;
                self.upload(id, owner, keyed, &attempted.result);
                Ok(())
            }
            Some(_) | None => Ok(()),
        }
    }

    fn note_test(
        &self,
        id: NodeId,
        owner: &Owner,
        keyed: &Keyed,
        cached: bool,
        attempts: Vec<Attempt>,
        outputs: BTreeMap<RelativePath, TreeNode>,
    ) -> Verdict {
        let action = keyed.digest;
        let tested = Tested { owner: owner.clone(), action, cached, attempts, outputs };
        let verdict = tested.verdict();
        self.tested.lock().expect("no holder panics").insert(id, tested);
        verdict
    }
}

/// Returns those declared outputs that are there: a test that fails has them too.
fn present_outputs(command: &Command, result: &ActionResult) -> BTreeMap<RelativePath, TreeNode> {
    let mut command = command.clone();
    loop {
        match outputs_of(&command, result) {
            Ok(outputs) => return outputs,
            Err(lacking) => command.output_paths.retain(|path| *path != lacking),
        }
    }
}
