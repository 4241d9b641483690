//! The executor of this machine.

use std::fs::Permissions;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::SystemTime;

use async_trait::async_trait;
use model::{ActionResult, Digest};
use store::{LocalStore, TreeSource};
use tokio::sync::OnceCell;

use crate::builtin::{self, BUILTIN_PROGRAM};
use crate::joined::joined;
use crate::layout::{Layout, OUTPUT_FOLDER, make_folder, private_scratch};
use crate::sandbox::{
    Beginning, Keeper, Lifeline, Mount, NO_SHELL, Outcome, Rung, Sandbox, Spec, Surroundings,
    first_working,
};
use crate::{
    ExecuteError, Execution, Executor, Fate, Job, Limits, Perturbation, Session, SessionStreams,
    Variation, bare, inputs, outputs,
};

/// The exit code of a command that a signal ended is this and the signal.
const SIGNAL_EXIT_CODE: i32 = 128;

/// Runs actions on this machine, out of its store and into it. Dropping it leaves nothing behind.
#[derive(Debug)]
pub struct LocalExecutor {
    store: Arc<LocalStore>,
    rung: Mutex<Option<Rung>>,
    keeper: Mutex<Option<Arc<Keeper>>>,
    /// What `/etc` shows; pinned as long as the store is open.
    etc: OnceCell<PathBuf>,
    perturbation: Perturbation,
}

impl LocalExecutor {
    /// Returns an executor that makes its sandboxes on `rung`.
    pub fn new(store: Arc<LocalStore>, rung: Rung) -> Self {
        Self { rung: Mutex::new(Some(rung)), ..Self::strict(store) }
    }

    /// Returns an executor that makes the best sandboxes that work here: the first action finds out which do.
    pub fn strict(store: Arc<LocalStore>) -> Self {
        let (rung, keeper, etc) = (Mutex::default(), Mutex::default(), OnceCell::new());
        Self { store, rung, keeper, etc, perturbation: Perturbation::default() }
    }

    /// Returns one that shows commands another machine. What comes of it is to be compared, and never recorded.
    #[must_use]
    pub fn perturbed(self, perturbation: Perturbation) -> Self {
        Self { perturbation, keeper: Mutex::default(), etc: OnceCell::new(), ..self }
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
        let rung = tokio::task::block_in_place(|| self.rung())?;
        if rung == Rung::Bare {
            return Err(ExecuteError::NoSandbox);
        }
        let mut sandbox = start_session(&self.store, rung, &job.limits, streams)?;
        let root = job.action.input_root;
        let layout = sandbox.layout();
        let etc = inputs::own_etc(&self.store, trees, &Surroundings::default()).await?;
        let mounts = inputs::mounts(&self.store, root, job.command, layout, trees, &etc).await?;
        let spec = Spec { session: Some(session), ..self.spec(&job, mounts, layout)? };
        let lifeline = Lifeline::default();
        let held = lifeline.clone();
        let waited = tokio::task::spawn_blocking(move || {
            sandbox.tell(&spec, &held);
            let outcome = sandbox.hear();
            drop(held);
            outcome
        });
        let outcome = joined(waited).await;
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

    /// Returns where sandboxes are made; tries what works here if nobody has yet.
    fn rung(&self) -> Result<Rung, ExecuteError> {
        let mut rung = self.rung.lock().expect("no holder panics");
        if let Some(rung) = *rung {
            return Ok(rung);
        }
        let scratch = self.store.scratch()?;
        let found = first_working(scratch.path()).ok_or(ExecuteError::NoSandbox)?;
        *rung = Some(found);
        Ok(found)
    }

    /// Returns who keeps sandboxes; an executor that runs nothing has nobody.
    fn keeper(&self, rung: Rung) -> Arc<Keeper> {
        let mut keeper = self.keeper.lock().expect("no holder panics");
        let keeper = keeper.get_or_insert_with(|| {
            let beginning = Beginning {
                surroundings: self.perturbation.surroundings(),
                shifted_clocks: self.perturbation.varies(Variation::Time),
                ..Beginning::of(rung)
            };
            Arc::new(Keeper::new(Arc::clone(&self.store), beginning))
        });
        Arc::clone(keeper)
    }

    async fn run_sandboxed(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
        rung: Rung,
    ) -> Result<Execution, ExecuteError> {
        let keeper = self.keeper(rung);
        let mut taken = tokio::task::block_in_place(|| keeper.take(&job.limits))?;
        let (root, layout) = (job.action.input_root, taken.sandbox().layout().clone());
        let shown = self.perturbation.surroundings();
        let etc = self.etc.get_or_try_init(|| inputs::own_etc(&self.store, trees, &shown)).await?;
        let mounts = inputs::mounts(&self.store, root, job.command, &layout, trees, etc).await?;

        // Whoever drops this future drops its lifeline, and so ends what the thread waits for.
        let lifeline = Lifeline::default();
        let held = lifeline.clone();
        tokio::task::block_in_place(|| -> Result<(), ExecuteError> {
            let spec = self.spec(&job, mounts, &layout)?;
            taken.sandbox().tell(&spec, &lifeline);
            Ok(())
        })?;
        let limits = job.limits;
        let waited = tokio::task::spawn_blocking(move || {
            let outcome = taken.hear(limits);
            drop(held);
            (outcome, taken)
        });
        let (outcome, mut taken) = joined(waited).await;
        drop(lifeline);
        let outcome = outcome?;
        let execution = tokio::task::block_in_place(|| {
            let out_of_memory = taken.sandbox().ran_out_of_memory();
            self.finish(&job, &outcome, out_of_memory, &layout, rung)
        })?;
        keeper.restock(job.limits);
        Ok(execution)
    }

    /// Runs the command on the machine as it is; what comes of it says so, and is recorded nowhere.
    async fn run_bare(
        &self,
        job: Job<'_>,
        trees: &dyn TreeSource,
    ) -> Result<Execution, ExecuteError> {
        let scratch = private_scratch(&self.store)?;
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
        let layout = Layout::of(scratch.path());
        let (kept, made) = (layout.outputs(), layout.work().join(OUTPUT_FOLDER));
        std::fs::rename(&made, &kept).map_err(ExecuteError::disk("keep", &made))?;
        tokio::task::block_in_place(|| self.finish(&job, &outcome, false, &layout, Rung::Bare))
    }

    fn spec(
        &self,
        job: &Job<'_>,
        mut mounts: Vec<Mount>,
        layout: &Layout,
    ) -> Result<Spec, ExecuteError> {
        let reversed = self.perturbation.varies(Variation::Readdir);
        if reversed {
            make_folder(&layout.reversed())?;
        }
        let command = self.perturbation.command(job.command);
        self.perturbation.place(command.working_directory.as_str(), &mut mounts);
        Ok(Spec {
            mounts,
            arguments: command.arguments,
            environment: command.environment,
            working_directory: command.working_directory.to_string(),
            time_ms: u64::try_from(job.action.timeout.unwrap_or(job.limits.time).as_millis())
                .unwrap_or(u64::MAX),
            file_bytes: job.limits.output_bytes,
            reversed,
            session: None,
        })
    }

    fn finish(
        &self,
        job: &Job<'_>,
        outcome: &Outcome,
        out_of_memory: bool,
        layout: &Layout,
        rung: Rung,
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
            stdout: self.keep_log(&layout.stdout())?,
            stderr: self.keep_log(&layout.stderr())?,
            ..ActionResult::default()
        };
        "local".clone_into(&mut result.metadata.worker);
        result.metadata.wall = std::time::Duration::from_micros(outcome.wall_us);
        result.metadata.cpu = std::time::Duration::from_micros(outcome.cpu_us);
        let limit = job.limits.output_bytes;
        outputs::collect(&self.store, job.command, layout, limit, &mut result)?;
        Ok(Execution { result, fate, rung })
    }

    fn keep_log(&self, path: &Path) -> Result<Option<Digest>, ExecuteError> {
        let metadata = path.symlink_metadata().map_err(ExecuteError::disk("open", path))?;
        if metadata.len() == 0 {
            return Ok(None);
        }
        // A command can change the mode of its own streams.
        let readable = Permissions::from_mode(0o600);
        std::fs::set_permissions(path, readable).map_err(ExecuteError::disk("open", path))?;
        let mut file = std::fs::File::open(path).map_err(ExecuteError::disk("open", path))?;
        self.store.ingest(&mut file, false).map(Some).map_err(Into::into)
    }
}

/// Starts a session's sandbox, which inherits the streams; nobody else does.
fn start_session(
    store: &LocalStore,
    rung: Rung,
    limits: &Limits,
    streams: SessionStreams,
) -> Result<Sandbox, ExecuteError> {
    let failed =
        |source| ExecuteError::Sandbox { step: "handing over the terminal".to_owned(), source };
    let SessionStreams { stdin, stdout, stderr } = streams;
    // A duplicate is inherited by what is started; all other descriptors of bld are not.
    let inherited = [stdin, stdout, stderr].map(rustix::io::dup);
    let [stdin, stdout, stderr] = inherited.map(|it| it.map_err(|error| failed(error.into())));
    let inherited = [stdin?, stdout?, stderr?];
    let numbers = [0, 1, 2].map(|index: usize| inherited[index].as_raw_fd());
    Sandbox::start(store, &Beginning { streams: Some(numbers), ..Beginning::of(rung) }, limits)
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
        let rung = tokio::task::block_in_place(|| self.rung())?;
        if job.command.arguments.first().is_some_and(|program| program == BUILTIN_PROGRAM) {
            let (root, salt) = (job.action.input_root, &job.action.salt);
            let result = builtin::run(&self.store, root, job.command, salt, trees).await?;
            return Ok(Execution { result, fate: Fate::Exited, rung });
        }
        let wait = self.perturbation.wait(SystemTime::now());
        if !wait.is_zero() {
            tokio::time::sleep(wait).await;
        }
        if rung == Rung::Bare {
            return self.run_bare(job, trees).await;
        }
        self.run_sandboxed(job, trees, rung).await
    }
}
