//! The executor of this machine.

use std::fs::Permissions;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use model::{ActionResult, Digest};
use store::{LocalStore, Scratch, TreeSource};

use crate::builtin::{self, BUILTIN_PROGRAM};
use crate::cgroup::{self, Cgroup};
use crate::joined::joined;
use crate::sandbox::{
    Beginning, Lifeline, Mount, NO_SHELL, Outcome, Rung, Spare, Spec, Surroundings, run, start,
};
use crate::{
    ExecuteError, Execution, Executor, Fate, Job, Perturbation, Session, SessionStreams, Variation,
    bare, inputs, outputs,
};

/// The exit code of a command that a signal ended is this and the signal.
const SIGNAL_EXIT_CODE: i32 = 128;

/// Runs actions on this machine, out of its store and into it.
#[derive(Debug)]
pub struct LocalExecutor {
    store: Arc<LocalStore>,
    rung: Rung,
    spare: Spare,
    perturbation: Perturbation,
}

impl LocalExecutor {
    /// Returns an executor that makes its sandboxes on `rung`. Control groups that a killed `bld` left are removed.
    pub fn new(store: Arc<LocalStore>, rung: Rung) -> Self {
        cgroup::sweep();
        let spare = Spare::new(Beginning::of(rung));
        Self { store, rung, spare, perturbation: Perturbation::default() }
    }

    /// Returns one that shows commands another machine. What comes of it is to be compared, and never recorded.
    #[must_use]
    pub fn perturbed(self, perturbation: Perturbation) -> Self {
        let beginning = Beginning {
            id: perturbation.surroundings().id,
            shifted_clocks: perturbation.varies(Variation::Time),
            ..Beginning::of(self.rung)
        };
        Self { spare: Spare::new(beginning), perturbation, ..self }
    }

    /// Runs a session in the sandbox of an action, on streams of the caller's, and returns its exit status.
    ///
    /// Nothing that it makes is kept. Dropping the future ends it.
    pub async fn enter(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
        session: Session,
        streams: SessionStreams,
    ) -> Result<i32, ExecuteError> {
        if self.rung == Rung::Bare {
            return Err(ExecuteError::NoSandbox);
        }
        let scratch = self.private_scratch()?;
        let root = job.action.input_root;
        let shown = Surroundings::default();
        let mounts =
            inputs::mounts(&self.store, root, job.command, scratch.path(), trees, &shown).await?;
        let spec = Spec { session: Some(session), ..self.spec(&job, mounts, scratch.path())? };
        let cgroup = Cgroup::make(&job.limits);
        let lifeline = Lifeline::default();
        let held = lifeline.clone();
        let first = start_session(self.rung, streams)?;
        let waited = tokio::task::spawn_blocking(move || {
            let outcome = run(first, &spec, cgroup.as_ref(), &held);
            (outcome, cgroup, scratch)
        });
        let (outcome, _cgroup, _scratch) = waited.await.expect("the waiting thread does not panic");
        drop(lifeline);
        match outcome {
            Ok(outcome) => {
                let by_signal = SIGNAL_EXIT_CODE + outcome.signal.unwrap_or_default();
                Ok(outcome.exit_code.unwrap_or(by_signal))
            }
            Err(ExecuteError::Sandbox { step, .. }) if step == NO_SHELL => {
                Err(ExecuteError::NoShell)
            }
            Err(error) => Err(error),
        }
    }

    async fn run_sandboxed(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
    ) -> Result<Execution, ExecuteError> {
        let scratch = self.private_scratch()?;
        let root = job.action.input_root;
        let shown = self.perturbation.surroundings();
        let mounts =
            inputs::mounts(&self.store, root, job.command, scratch.path(), trees, &shown).await?;
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
        mut mounts: Vec<Mount>,
        scratch: &Path,
    ) -> Result<Spec, ExecuteError> {
        let root = scratch.join("root");
        std::fs::create_dir(&root).map_err(ExecuteError::disk("create", &root))?;
        let reversed = scratch.join("reversed");
        if self.perturbation.varies(Variation::Readdir) {
            std::fs::create_dir(&reversed).map_err(ExecuteError::disk("create", &reversed))?;
        }
        let command = self.perturbation.command(job.command);
        self.perturbation.place(command.working_directory.as_str(), &mut mounts);
        Ok(Spec {
            rung: self.rung,
            root,
            mounts,
            arguments: command.arguments,
            environment: command.environment,
            working_directory: command.working_directory.to_string(),
            stdout: scratch.join("stdout"),
            stderr: scratch.join("stderr"),
            time_ms: u64::try_from(job.action.timeout.unwrap_or(job.limits.time).as_millis())
                .unwrap_or(u64::MAX),
            file_bytes: job.limits.output_bytes,
            surroundings: self.perturbation.surroundings(),
            reversed: self.perturbation.varies(Variation::Readdir).then_some(reversed),
            session: None,
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

/// Starts the first process of a session's sandbox, which inherits the streams; nobody else does.
fn start_session(rung: Rung, streams: SessionStreams) -> Result<Child, ExecuteError> {
    let failed =
        |source| ExecuteError::Sandbox { step: "handing over the terminal".to_owned(), source };
    let SessionStreams { stdin, stdout, stderr } = streams;
    // A duplicate is inherited by what is started; all other descriptors of bld are not.
    let inherited = [stdin, stdout, stderr].map(rustix::io::dup);
    let [stdin, stdout, stderr] = inherited.map(|it| it.map_err(|error| failed(error.into())));
    let inherited = [stdin?, stdout?, stderr?];
    let numbers = [0, 1, 2].map(|index: usize| inherited[index].as_raw_fd());
    start(Beginning { streams: Some(numbers), ..Beginning::of(rung) })
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
        let wait = self.perturbation.wait(SystemTime::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if self.rung == Rung::Bare {
            return self.run_bare(job, trees).await;
        }
        self.run_sandboxed(job, trees).await
    }
}
