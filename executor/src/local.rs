//! The executor of this machine.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use model::{ActionResult, Digest};
use store::{LocalStore, Scratch, TreeSource};

use crate::builtin::{self, BUILTIN_PROGRAM};
use crate::cgroup::{self, Cgroup};
use crate::joined::joined;
use crate::sandbox::{Lifeline, Mount, Outcome, Rung, Spare, Spec, run};
use crate::{ExecuteError, Execution, Executor, Fate, Job, bare, inputs, outputs};

/// The exit code of a command that a signal ended is this and the signal.
const SIGNAL_EXIT_CODE: i32 = 128;

/// Runs actions on this machine, out of its store and into it.
#[derive(Debug)]
pub struct LocalExecutor {
    store: Arc<LocalStore>,
    rung: Rung,
    spare: Spare,
}

impl LocalExecutor {
    /// Returns an executor that makes its sandboxes on `rung`. Control groups that a killed `bld` left are removed.
    pub fn new(store: Arc<LocalStore>, rung: Rung) -> Self {
        cgroup::sweep();
        Self { store, rung, spare: Spare::new(rung) }
    }

    async fn run_sandboxed(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
    ) -> Result<Execution, ExecuteError> {
        let scratch = self.private_scratch()?;
        let root = job.action.input_root;
        let mounts = inputs::mounts(&self.store, root, job.command, scratch.path(), trees).await?;
        let spec = self.spec(&job, mounts, scratch.path())?;
        let cgroup = Cgroup::make(&job.limits);

        // Whoever drops this future drops its lifeline, and so ends what the thread waits for.
        let lifeline = Lifeline::default();
        let held = lifeline.clone();
        let first = tokio::task::block_in_place(|| self.spare.take())?;
        let waited = tokio::task::spawn_blocking(move || {
            let outcome = run(first, &spec, cgroup.as_ref(), &held);
            (outcome, cgroup, scratch)
        });
        tokio::task::block_in_place(|| self.spare.restock());
        let (outcome, cgroup, scratch) = joined(waited).await;
        drop(lifeline);
        let outcome = outcome?;
        let out_of_memory = cgroup.is_some_and(|cgroup| cgroup.ran_out_of_memory());
        tokio::task::block_in_place(|| self.finish(&job, &outcome, out_of_memory, scratch.path()))
    }

    /// Runs the command on the machine as it is; what comes of it says so, and is recorded nowhere.
    async fn run_bare(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
    ) -> Result<Execution, ExecuteError> {
        let scratch = self.private_scratch()?;
        let root = job.action.input_root;
        bare::prepare(&self.store, root, job.command, scratch.path(), trees).await?;
        let cut = Arc::new(AtomicBool::new(false));
        // Whoever drops this future drops the guard, and so ends what the thread waits for.
        let guard = CutOnDrop(Arc::clone(&cut));
        let command = job.command.clone();
        let time = job.action.timeout.unwrap_or(job.limits.time);
        let waited = tokio::task::spawn_blocking(move || {
            let outcome =
                bare::run(&command, scratch.path(), time, &|| cut.load(Ordering::Relaxed));
            (outcome, scratch)
        });
        let (outcome, scratch) = joined(waited).await;
        drop(guard);
        let outcome = outcome?;
        let kept = scratch.path().join(inputs::OUTPUT_FOLDER);
        let made = scratch.path().join("work").join(inputs::OUTPUT_FOLDER);
        std::fs::rename(&made, &kept).map_err(ExecuteError::disk("keep", &made))?;
        tokio::task::block_in_place(|| self.finish(&job, &outcome, false, scratch.path()))
    }

    /// Returns a scratch directory that shuts everybody else out: unfinished outputs are nobody's business, and
    /// might be set-user-id.
    fn private_scratch(&self) -> Result<Scratch, ExecuteError> {
        let scratch = self.store.scratch()?;
        std::fs::set_permissions(scratch.path(), Permissions::from_mode(0o700))
            .map_err(ExecuteError::disk("set the mode of", scratch.path()))?;
        Ok(scratch)
    }

    fn spec(
        &self,
        job: &Job<'_>,
        mounts: Vec<Mount>,
        scratch: &Path,
    ) -> Result<Spec, ExecuteError> {
        let root = scratch.join("root");
        std::fs::create_dir(&root).map_err(ExecuteError::disk("create", &root))?;
        Ok(Spec {
            rung: self.rung,
            root,
            mounts,
            arguments: job.command.arguments.clone(),
            environment: job.command.environment.clone(),
            working_directory: job.command.working_directory.to_string(),
            stdout: scratch.join("stdout"),
            stderr: scratch.join("stderr"),
            time_ms: u64::try_from(job.action.timeout.unwrap_or(job.limits.time).as_millis())
                .unwrap_or(u64::MAX),
            file_bytes: job.limits.output_bytes,
        })
    }

    fn finish(
        &self,
        job: &Job<'_>,
        outcome: &Outcome,
        out_of_memory: bool,
        scratch: &Path,
    ) -> Result<Execution, ExecuteError> {
        let fate = match outcome.signal {
            _ if outcome.timed_out => Fate::TimedOut,
            _ if out_of_memory => Fate::OutOfMemory,
            Some(signal) => Fate::Signalled(signal),
            None => Fate::Exited,
        };
        let by_signal = SIGNAL_EXIT_CODE + outcome.signal.unwrap_or_default();
        let mut result = ActionResult {
            exit_code: outcome.exit_code.unwrap_or(by_signal),
            stdout: self.keep_log(&scratch.join("stdout"))?,
            stderr: self.keep_log(&scratch.join("stderr"))?,
            ..ActionResult::default()
        };
        "local".clone_into(&mut result.metadata.worker);
        result.metadata.wall = std::time::Duration::from_micros(outcome.wall_us);
        result.metadata.cpu = std::time::Duration::from_micros(outcome.cpu_us);
        let limit = job.limits.output_bytes;
        outputs::collect(&self.store, job.command, scratch, limit, &mut result)?;
        Ok(Execution { result, fate, rung: self.rung })
    }

    fn keep_log(&self, path: &Path) -> Result<Option<Digest>, ExecuteError> {
        // A command can change the mode of its own streams.
        let readable = Permissions::from_mode(0o600);
        std::fs::set_permissions(path, readable).map_err(ExecuteError::disk("open", path))?;
        let mut file = std::fs::File::open(path).map_err(ExecuteError::disk("open", path))?;
        let digest = self.store.ingest(&mut file, false)?;
        Ok((!digest.is_empty()).then_some(digest))
    }
}

/// Tells the thread that runs a bare command that nobody waits for it any more.
struct CutOnDrop(Arc<AtomicBool>);

impl Drop for CutOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Executor for LocalExecutor {
    async fn execute(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
    ) -> Result<Execution, ExecuteError> {
        if job.command.arguments.first().is_some_and(|program| program == BUILTIN_PROGRAM) {
            let (root, salt) = (job.action.input_root, &job.action.salt);
            let result = builtin::run(&self.store, root, job.command, salt, trees).await?;
            return Ok(Execution { result, fate: Fate::Exited, rung: self.rung });
        }
        if self.rung == Rung::Bare {
            return self.run_bare(job, trees).await;
        }
        self.run_sandboxed(job, trees).await
    }
}
