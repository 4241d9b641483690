//! A workspace with its lock met and its plan made: what every command that builds begins with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use clap::ValueEnum;
use engine::{
    Build, BuildOptions, LockRequest, LockedMember, Part, Pattern, Plan, Report, Survey,
    TestOptions,
};
use executor::{Limits, LocalExecutor, Rung};
use fetch::{Lock, Progress as _};
use store::{LocalStore, Remote, StoreError};

use crate::coming::ShownRemote;
use crate::elsewhere::Elsewhere;
use crate::error::CliError;
use crate::history::{self, Asked, FanOut, Journal, Manner};
use crate::interrupt::Interrupts;
use crate::lockfile::{self, network};
use crate::nobody::Nobody;
use crate::outside::{LockedTrees, Outside};
use crate::progress::Display;
use crate::settings::Settings;
use crate::sharing::{PlaceArgs, Reached, RemoteArgs, Sharing};
use crate::terminal::{chain, tell};
use crate::workspace::{OpenWorkspace, requests};

/// How long what still runs in a thread may take to find its sandbox gone; a download that has not ended by then is
/// resumed the next time.
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

/// What decides which actions there are.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct SelectArgs {
    /// Do not change bld.lock; fail if it would have to
    #[arg(long)]
    pub(crate) locked: bool,

    /// Do not download
    #[arg(long)]
    pub(crate) offline: bool,

    /// Give a setting of bld.toml a value
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,
}

/// How actions are run.
#[derive(Debug, Default, clap::Args)]
pub(crate) struct ExecuteArgs {
    /// How many actions run at once [default: the machine's cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) jobs: Option<u16>,

    /// How to isolate actions
    #[arg(long, value_enum, default_value_t = SandboxArg::Strict)]
    pub(crate) sandbox: SandboxArg,

    /// Go on after failures with what does not depend on them (this is the default)
    #[arg(long, overrides_with = "fail_fast")]
    pub(crate) keep_going: bool,

    /// Begin nothing more after the first failure
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Run actions again that are remembered as failed
    #[arg(long)]
    pub(crate) retry_failed: bool,

    /// Stop an action that runs longer, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,

    #[command(flatten)]
    pub(crate) remote: RemoteArgs,
}

/// How actions are isolated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum SandboxArg {
    /// In namespaces, or not at all
    #[default]
    Strict,
    /// Only what needs no build root; results are not recorded
    None,
}

/// A workspace, what is locked for it, and what is to be built.
pub(crate) struct Planned {
    pub(crate) workspace: OpenWorkspace,
    pub(crate) store: Arc<LocalStore>,
    pub(crate) display: Arc<Display>,
    pub(crate) plan: Arc<Plan>,
    /// What the workspace asked to be locked.
    pub(crate) asked: Vec<LockRequest>,
    pub(crate) journal: Arc<Journal>,
    /// How often results had been replaced in the store before this began.
    pub(crate) rewrites: u64,
    /// Who else hears what builds do.
    pub(crate) hearers: Vec<Arc<dyn engine::Events>>,
    trees: Arc<LockedTrees>,
    interrupts: Arc<Interrupts>,
    jobs: usize,
    offline: bool,
    /// Where what others made is had from, once a build has begun.
    reached: OnceLock<Reached>,
}

impl Planned {
    /// Plans what the patterns stand for; locks the outside world first if need be.
    pub(crate) fn new(
        settings: &Settings,
        patterns: &[String],
        args: &SelectArgs,
    ) -> Result<Self, CliError> {
        let workspace = OpenWorkspace::find(settings)?;
        let patterns = workspace.patterns(patterns)?;
        Self::of(settings, workspace, &patterns, args)
    }

    /// Like [`Planned::new`], in a workspace that is open already.
    pub(crate) fn of(
        settings: &Settings,
        workspace: OpenWorkspace,
        patterns: &[Pattern],
        args: &SelectArgs,
    ) -> Result<Self, CliError> {
        let chosen = chosen_settings(&workspace, args)?;
        let begun = Begun::new(settings, &workspace)?;
        let (mut asked, mut trees) = (Vec::new(), None);
        let lock = |requests: Vec<LockRequest>| -> Result<_, CliError> {
            asked.clone_from(&requests);
            let outside = begun.outside(&workspace, requests, args)?;
            let lock = lockfile::ensure(&workspace, &outside, args.locked)?;
            let roots: Vec<_> = lock.trees().into_iter().collect();
            begun.store.set_roots(&workspace.root, &roots)?;
            let members = locked_members(&lock);
            trees = Some(LockedTrees { outside, lock });
            Ok(members)
        };
        let plan = workspace.engine().plan_locking(patterns, &chosen, lock)?;
        let trees = trees.expect("planning locks");
        let wish = Asked::new(patterns, &args.settings);
        let planned = begun.planned(workspace, plan, asked, trees, wish)?;
        Ok(Self { offline: args.offline, ..planned })
    }

    /// Takes up a part of an earlier plan, where nothing changed that the plan depends on.
    pub(crate) fn again(
        settings: &Settings,
        workspace: OpenWorkspace,
        patterns: &[Pattern],
        part: Part,
        args: &SelectArgs,
    ) -> Result<Self, CliError> {
        let begun = Begun::new(settings, &workspace)?;
        let outside = begun.outside(&workspace, part.requests.clone(), args)?;
        let lock = lockfile::ensure(&workspace, &outside, args.locked)?;
        let asked = Asked::new(patterns, &args.settings);
        let trees = LockedTrees { outside, lock };
        let planned = begun.planned(workspace, part.plan, part.requests, trees, asked)?;
        Ok(Self { offline: args.offline, ..planned })
    }

    /// Lets go of everything but the workspace.
    pub(crate) fn into_workspace(self) -> OpenWorkspace {
        self.workspace
    }

    /// Leaves out tests that make nothing unless they are run.
    pub(crate) fn without_tests(mut self) -> Self {
        self.plan = Arc::new(self.plan.without_tests());
        self
    }

    /// Makes what tests leave, too.
    pub(crate) fn with_tests(mut self) -> Self {
        self.plan = Arc::new(self.plan.with_tests());
        self
    }

    /// Turns to the tests among the goals, and nothing else.
    pub(crate) fn into_tests(mut self) -> Self {
        self.plan = Arc::new(self.plan.tests());
        self
    }

    /// Builds every goal of the plan. Ends in an orderly way when a signal comes; the report says so then.
    pub(crate) fn build(
        &self,
        settings: &Settings,
        args: &ExecuteArgs,
    ) -> Result<Report, CliError> {
        self.test(settings, args, TestOptions::default())
    }

    /// Like [`Planned::build`]; `tests` says how tests among what is built are run.
    pub(crate) fn test(
        &self,
        settings: &Settings,
        args: &ExecuteArgs,
        tests: TestOptions,
    ) -> Result<Report, CliError> {
        if args.sandbox == SandboxArg::None {
            tell("warning: without a sandbox nothing is isolated; results are not recorded");
        }
        let begun = OnceLock::new();
        let work = async {
            let build = self.start(settings, args, tests).await?;
            begun.get_or_init(|| Arc::clone(&build));
            let report = build.run().await.map_err(CliError::Build)?;
            if args.sandbox == SandboxArg::Strict {
                self.share_keys(&report).await;
            }
            Ok(report)
        };
        match (self.drive(work), begun.get()) {
            (Err(CliError::Interrupted), Some(build)) => Ok(build.broken_off()),
            (ended, _) => ended?,
        }
    }

    /// Tells the remote which keys ran: whoever builds next from a clean checkout is told why.
    async fn share_keys(&self, report: &Report) {
        let Some(reached) = self.reached.get().filter(|reached| reached.uploads) else { return };
        let keys = self.journal.ran_keys(report);
        if !keys.is_empty()
            && let Err(error) = reached.store.record_keys(&keys).await
        {
            let text = chain(&error).join(": ");
            self.display.warn(&format!("{text}; other checkouts cannot tell why they build"));
        }
    }

    /// Returns whether everybody believes the results that a build took over.
    pub(crate) fn is_believed_by_all(&self) -> bool {
        self.reached.get().is_none_or(|it| it.store.provenance().is_believed_by_all())
    }

    /// Reaches the remote, if there is one.
    async fn reach(
        &self,
        settings: &Settings,
        args: &RemoteArgs,
    ) -> Result<Option<Arc<dyn Remote>>, CliError> {
        if self.offline {
            return Ok(None);
        }
        let Some(sharing) = Sharing::of(settings, &self.workspace, args)? else { return Ok(None) };
        let Some(reached) = sharing.reach(&self.display).await? else { return Ok(None) };
        self.journal.ask(Elsewhere::reached(reached.store.clone()));
        let remote = self.reached.get_or_init(|| reached).remote();
        Ok(Some(Arc::new(ShownRemote::new(remote, Arc::clone(&self.display)))))
    }

    /// Returns a build of the plan, which has not begun.
    pub(crate) async fn start(
        &self,
        settings: &Settings,
        args: &ExecuteArgs,
        tests: TestOptions,
    ) -> Result<Arc<Build>, CliError> {
        let remote = self.reach(settings, &args.remote).await?;
        self.journal.begin(Manner {
            kept: args.sandbox == SandboxArg::Strict,
            retries_failed: args.retry_failed,
            tests_again: !tests.use_cache || tests.runs > 1,
        });
        let mut hearers: Vec<Arc<dyn engine::Events>> =
            vec![Arc::clone(&self.display) as _, Arc::clone(&self.journal) as _];
        hearers.extend(self.hearers.iter().cloned());
        let store = Arc::clone(&self.store);
        let executor = match args.sandbox {
            SandboxArg::Strict => LocalExecutor::strict(store),
            SandboxArg::None => LocalExecutor::new(store, Rung::Bare),
        };
        Ok(Build::new(
            Arc::clone(&self.store),
            Arc::new(executor),
            remote,
            Arc::clone(&self.trees) as Arc<dyn store::TreeSource>,
            self.workspace.files.clone(),
            Arc::clone(&self.plan),
            options(args, tests, self.jobs),
            Arc::new(FanOut(hearers)),
        ))
    }

    /// Returns what the cache knows of every goal, and runs nothing: what would have to run has failed, and is not
    /// remembered.
    pub(crate) fn ask_cache(&self) -> Result<Report, CliError> {
        let (args, tests) = (ExecuteArgs::default(), TestOptions::default());
        let options = options(&args, tests, self.jobs);
        let build = Build::new(
            Arc::clone(&self.store),
            Arc::new(Nobody),
            None,
            Arc::clone(&self.trees) as Arc<dyn store::TreeSource>,
            self.workspace.files.clone(),
            Arc::clone(&self.plan),
            options,
            Arc::new(Nobody),
        );
        self.drive(build.run())?.map_err(CliError::Build)
    }

    /// Says what a build of the plan would find, here and in the remote, run and wait for. Nothing is run.
    pub(crate) fn survey_sharing(
        &self,
        settings: &Settings,
        place: &PlaceArgs,
        retry_failed: bool,
    ) -> Result<Survey, CliError> {
        let work = async {
            let Some(remote) = self.reach(settings, &place.to_read()).await? else {
                return tokio::task::block_in_place(|| self.survey(retry_failed));
            };
            let display = Arc::clone(&self.display);
            let degraded = move |error: &StoreError| {
                let text = chain(error).join(": ");
                display.warn(&format!("{text}; what the remote does not say counts as not there"));
            };
            let files = &self.workspace.files;
            let surveyed = engine::survey_sharing(
                &self.store,
                remote,
                degraded,
                files,
                &self.plan,
                retry_failed,
            );
            surveyed.await.map_err(CliError::Build)
        };
        self.drive(work)?
    }

    /// Says what a build of the plan would find in this store, run and wait for. Nothing is run.
    pub(crate) fn survey(&self, retry_failed: bool) -> Result<Survey, CliError> {
        engine::survey(&self.store, &self.workspace.files, &self.plan, retry_failed)
            .map_err(CliError::Build)
    }

    /// Returns what the work comes to, unless a signal comes first.
    pub(crate) fn drive<T>(&self, work: impl Future<Output = T>) -> Result<T, CliError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(CliError::disk("start", Path::new("the runtime")))?;
        let ended = runtime.block_on(self.interrupts.stop(work));
        self.display.finish();
        runtime.shutdown_timeout(SHUTDOWN_TIME);
        ended.ok_or(CliError::Interrupted)
    }

    /// Ends all that is pinned, and brings the store down to its budget if it has grown.
    pub(crate) fn close(self, settings: &Settings) -> Result<(), CliError> {
        let grown = self.store.bytes_written() > 0;
        let is_over = grown && self.store.may_exceed(settings.store_budget)?;
        let function = self.workspace.config.function;
        // What this build pinned counts only until here.
        drop(self);
        if is_over {
            history::collect(&*settings.open_store(function)?, settings.store_budget)?;
        }
        Ok(())
    }
}

/// What is there before there is a plan.
struct Begun {
    store: Arc<LocalStore>,
    display: Arc<Display>,
    interrupts: Arc<Interrupts>,
    jobs: usize,
    rewrites: u64,
}

impl Begun {
    fn new(settings: &Settings, workspace: &OpenWorkspace) -> Result<Self, CliError> {
        let store = settings.open_store(workspace.config.function)?;
        let display = Display::new(settings.json);
        let interrupts = settings.interrupts(&display)?;
        let rewrites = store::rewrites(settings.store()?);
        Ok(Self { store, display, interrupts, jobs: settings.jobs, rewrites })
    }

    fn outside(
        &self,
        workspace: &OpenWorkspace,
        asked: Vec<LockRequest>,
        args: &SelectArgs,
    ) -> Result<Outside, CliError> {
        let display = Arc::clone(&self.display);
        Outside::new(workspace, &self.store, requests(asked)?, network(args.offline), display)
    }

    fn planned(
        self,
        workspace: OpenWorkspace,
        plan: Plan,
        asked: Vec<LockRequest>,
        trees: LockedTrees,
        wish: Asked,
    ) -> Result<Planned, CliError> {
        let plan = Arc::new(plan);
        Ok(Planned {
            journal: Journal::new(&workspace, &self.store, &plan, wish)?,
            rewrites: self.rewrites,
            hearers: Vec::new(),
            workspace,
            store: self.store,
            display: self.display,
            plan,
            asked,
            trees: Arc::new(trees),
            interrupts: self.interrupts,
            jobs: self.jobs,
            offline: false,
            reached: OnceLock::new(),
        })
    }
}

fn options(args: &ExecuteArgs, tests: TestOptions, jobs: usize) -> BuildOptions {
    let limits = Limits {
        time: args.timeout.map_or(Limits::default().time, Duration::from_secs),
        ..Limits::default()
    };
    BuildOptions {
        jobs: args.jobs.map_or(jobs, usize::from),
        fail_fast: args.fail_fast && !args.keep_going,
        // How an action fails in a sandbox says nothing of how it does without.
        retry_failed: args.retry_failed || args.sandbox == SandboxArg::None,
        limits,
        tests,
    }
}

pub(crate) fn chosen_settings(
    workspace: &OpenWorkspace,
    args: &SelectArgs,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut chosen = Vec::new();
    for setting in &args.settings {
        let (name, value) =
            setting.split_once('=').ok_or_else(|| CliError::Setting(setting.clone()))?;
        chosen.push((name.to_owned(), value.to_owned()));
    }
    Ok(workspace.config.choose(&chosen)?)
}

/// To the engine a locked tree is only a digest.
pub(crate) fn locked_members(lock: &Lock) -> BTreeMap<String, Vec<LockedMember>> {
    let member = |member: fetch::Member| LockedMember {
        group: member.group,
        name: member.name,
        version: member.version,
        arch: member.arch,
        tree: member.tree,
    };
    let members = |label: &str| lock.members(label).into_iter().map(member).collect();
    lock.labels().map(|label| (label.to_owned(), members(label))).collect()
}
