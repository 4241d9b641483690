//! A workspace with its lock met and its plan made: what every command that builds begins with.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use engine::{Build, BuildOptions, LockedMember, Pattern, Plan, Report};
use executor::{Limits, LocalExecutor, Rung};
use fetch::Lock;
use store::LocalStore;

use crate::error::CliError;
use crate::interrupt::Interrupts;
use crate::lockfile::{self, network};
use crate::outside::{LockedTrees, Outside};
use crate::progress::Display;
use crate::settings::Settings;
use crate::terminal::tell;
use crate::workspace::OpenWorkspace;

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
    trees: Arc<LockedTrees>,
    interrupts: Arc<Interrupts>,
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
        let requests = workspace.requests()?;
        let store = settings.open_store(workspace.config.function)?;
        let display = Display::new(settings.json);
        let interrupts = Interrupts::watch(&display, settings.json)?;
        let outside = Outside::new(
            &workspace,
            &store,
            requests,
            network(args.offline),
            Arc::clone(&display),
        )?;
        let lock = lockfile::ensure(&workspace, &outside, args.locked)?;
        store.set_roots(&workspace.root, &lock.trees().into_iter().collect::<Vec<_>>())?;
        let plan = workspace.engine().plan(patterns, &chosen, &locked_members(&lock))?;
        Ok(Self {
            workspace,
            store,
            display,
            plan: Arc::new(plan),
            trees: Arc::new(LockedTrees { outside, lock }),
            interrupts,
        })
    }

    /// Builds every goal of the plan. Ends in an orderly way when a signal comes.
    pub(crate) fn build(&self, args: &ExecuteArgs) -> Result<Report, CliError> {
        if args.sandbox == SandboxArg::None {
            tell("warning: without a sandbox nothing is isolated; results are not recorded");
        }
        self.drive(self.start(args).run())?.map_err(CliError::Build)
    }

    /// Returns a build of the plan, which has not begun.
    pub(crate) fn start(&self, args: &ExecuteArgs) -> Arc<Build> {
        let store = Arc::clone(&self.store);
        let executor = match args.sandbox {
            SandboxArg::Strict => LocalExecutor::strict(store),
            SandboxArg::None => LocalExecutor::new(store, Rung::Bare),
        };
        Build::new(
            Arc::clone(&self.store),
            Arc::new(executor),
            Arc::clone(&self.trees) as Arc<dyn store::TreeSource>,
            self.workspace.files.clone(),
            Arc::clone(&self.plan),
            options(args),
            Arc::clone(&self.display) as Arc<dyn engine::Events>,
        )
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
        let function = self.workspace.config.function;
        // What this build pinned counts only until here.
        drop(self);
        if grown {
            settings.open_store(function)?.collect(settings.store_budget)?;
        }
        Ok(())
    }
}

fn options(args: &ExecuteArgs) -> BuildOptions {
    let limits = Limits {
        time: args.timeout.map_or(Limits::default().time, Duration::from_secs),
        ..Limits::default()
    };
    BuildOptions {
        jobs: args.jobs.map_or_else(cores, usize::from),
        fail_fast: args.fail_fast && !args.keep_going,
        // How an action fails in a sandbox says nothing of how it does without.
        retry_failed: args.retry_failed || args.sandbox == SandboxArg::None,
        limits,
    }
}

fn chosen_settings(
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

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// To the engine a locked tree is only a digest.
fn locked_members(lock: &Lock) -> BTreeMap<String, Vec<LockedMember>> {
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
