//! `bld build`.

use std::process::ExitCode;
use std::sync::Arc;

use engine::{Counts, GoalOutcome, Plan, Report};

use crate::answer::Answer;
use crate::carried::{self, Carried};
use crate::error::CliError;
use crate::exit;
use crate::grid::{Grid, GridFile};
use crate::history::{Asked, History, RecordArgs};
use crate::planned::{ExecuteArgs, Planned, SandboxArg, SelectArgs};
use crate::progress::Display;
use crate::receipts::{Looked, Receipts};
use crate::replace::replace;
use crate::settings::Settings;
use crate::terminal::{report, say, tell};
use crate::watch::Watch;
use crate::workspace::OpenWorkspace;
use crate::written::make_folder;

#[derive(Debug, clap::Args)]
pub(crate) struct BuildArgs {
    /// Targets: //pkg:name, //pkg:all, //pkg/..., //..., each maybe with {axis=value}
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    #[command(flatten)]
    pub(crate) execute: ExecuteArgs,

    #[command(flatten)]
    pub(crate) record: RecordArgs,

    /// Also write the grid of all cells: as a page (.html), JSON (.json) or XML for test reporters (.xml); can be repeated
    #[arg(long = "grid", value_name = "FILE")]
    pub(crate) grids: Vec<GridFile>,

    /// Build again whenever files of the workspace change, until Ctrl-C
    #[arg(long, conflicts_with_all = ["events", "trace"])]
    pub(crate) watch: bool,
}

pub(crate) fn run(settings: &Settings, args: &BuildArgs) -> Result<ExitCode, CliError> {
    if args.watch { build_again_and_again(settings, args) } else { build(settings, args) }
}

/// Each round is a build like any other. Mistakes are shown and waited out; a broken machine is not.
fn build_again_and_again(settings: &Settings, args: &BuildArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let mut ignored = vec![workspace.output(), settings.store()?.to_owned()];
    ignored.extend(args.grids.iter().map(|file| file.path(&settings.directory)));
    // Also where a mistake ends a build before it comes to that.
    settings.interrupts(&Display::new(true))?;
    let mut watch = Watch::new(&workspace.root, ignored);
    loop {
        if let Err(error) = build(settings, args) {
            if !error.is_mistake() {
                return Err(error);
            }
            report(&error, settings.json);
        }
        tell("waiting for changes (Ctrl-C ends)");
        watch.wait();
    }
}

fn build(settings: &Settings, args: &BuildArgs) -> Result<ExitCode, CliError> {
    let grids = args.grids.iter().map(|it| ("--grid", it.path(&settings.directory)));
    args.record.check(settings, &grids.collect::<Vec<_>>())?;
    let workspace = OpenWorkspace::find(settings)?;
    let patterns = workspace.patterns(&args.patterns)?;
    let receipts = Receipts::of(settings, &workspace, &patterns, &args.select)?;
    let looked = if remembers(args) {
        receipts.look(&workspace)
    } else {
        // What is known of files is known in any case.
        receipts.open(&workspace).and(None)
    };
    if let Some(looked) = &looked
        && looked.is_done()
        && let Some(idle) = Idle::of(settings, looked)
    {
        let asked = Asked::new(&patterns, &args.select.settings);
        return nothing_to_do(settings, args, &asked, &workspace, &receipts, looked, &idle);
    }
    let begin =
        |workspace, looked| Carried::plan(settings, workspace, &patterns, &args.select, looked);
    let (mut planned, mut carried) = begin(workspace, looked)?;
    let events = args.record.begin(settings, &args.patterns, &planned.plan, &planned.journal)?;
    planned.hearers.extend(events.clone().map(|it| it as _));
    let mut report = planned.build(settings, &args.execute)?;
    let (mut because, mut first) = (Vec::new(), None);
    if !report.interrupted && carried.is_overtaken(&report) {
        planned.journal.save(&report)?;
        because = planned.journal.reasons(&report);
        tell("what is made from results that were lost is looked at, too");
        first = Some((Arc::clone(&planned.plan), report));
        (planned, carried) = begin(planned.into_workspace(), None)?;
        report = planned.build(settings, &args.execute)?;
    }
    if report.interrupted {
        args.record.end(settings, events.as_deref(), &planned.journal.save(&report)?)?;
        return Err(CliError::Interrupted);
    }
    let Planned { workspace, store, plan, journal, .. } = &planned;
    let files = carried.write(&planned, &report, &patterns)?;
    report.counts.hits += carried.untouched(&planned);
    let record = journal.save(&report)?;
    args.record.end(settings, events.as_deref(), &record)?;
    because.extend(journal.reasons(&report));
    // Two builds are two records, and one answer.
    if let Some((plan_of_first, first)) = first {
        report = carried::after(&plan_of_first, &first, plan, report);
    }
    let answer = Answer {
        settings,
        workspace,
        store: Some(store),
        plan,
        report: &report,
        files: carried.total(&files),
        because: &because,
    };
    if args.record.takes_stdout() {
        answer.show_failures();
    } else {
        if !settings.json {
            args.record.reasons(&because).iter().for_each(|line| say(line));
        }
        let is_shown = settings.json || carried.has_axes();
        match is_shown.then(|| carried.all(&report)).flatten() {
            Some((plan, report)) => Answer { plan: &plan, report: &report, ..answer }.print(),
            None => answer.print(),
        }
    }
    if !args.grids.is_empty() {
        write_grids(settings, workspace, &args.grids, &answer.grid())?;
    }
    // A receipt is asked before anybody is, so it must not depend on who is believed.
    if args.execute.sandbox == SandboxArg::Strict && planned.is_believed_by_all() {
        carried.keep(&receipts, &planned, &report, &files);
    }
    let failed = report.has_failed();
    planned.close(settings)?;
    Ok(if failed { ExitCode::from(exit::BUILD_FAILED) } else { exit::SUCCESS })
}

/// Returns whether what an earlier build left may be all that is looked at: not by whoever asks for something to be
/// run again, or without a sandbox, or wants to be told of every goal and action.
fn remembers(args: &BuildArgs) -> bool {
    let runs_again = args.execute.retry_failed || args.execute.sandbox == SandboxArg::None;
    let is_told = args.record.events.is_some() || args.record.trace.is_some();
    !runs_again && !is_told && args.grids.is_empty()
}

/// What is said where there is nothing to do.
struct Idle {
    plan: Plan,
    report: Report,
}

impl Idle {
    /// Returns what a receipt has to say; `None` if it is damaged.
    fn of(settings: &Settings, looked: &Looked) -> Option<Self> {
        let front = looked.receipt.front();
        let is_shown = settings.json || front.has_axes || front.actions == 0;
        let (goals, outcomes) = if is_shown { looked.receipt.goals()? } else { Default::default() };
        let outcomes: Option<Vec<GoalOutcome>> = outcomes.into_iter().collect();
        let counts = Counts { hits: front.actions, cpu_saved: front.cpu, ..Counts::default() };
        Some(Self {
            plan: Plan { goals, ..Plan::default() },
            report: Report { goals: outcomes?, counts, ..Report::default() },
        })
    }
}

/// Answers from a receipt alone.
fn nothing_to_do(
    settings: &Settings,
    args: &BuildArgs,
    asked: &Asked,
    workspace: &OpenWorkspace,
    receipts: &Receipts,
    looked: &Looked,
    Idle { plan, report }: &Idle,
) -> Result<ExitCode, CliError> {
    let files = looked.receipt.front().files;
    Answer { settings, workspace, store: None, plan, report, files, because: &[] }.print();
    // Where nobody tells of changes there is a round every few seconds, of which none is worth a record.
    if !args.watch {
        let history = History::at(settings.store()?, workspace)?;
        history.save_idle(asked, report)?;
    }
    if looked.changes.looked_again {
        let seen = looked.seen(workspace);
        if let Some(receipt) = seen.and_then(|seen| looked.receipt.seen_again(&seen)) {
            receipts.keep(&receipt);
        }
    }
    Ok(exit::SUCCESS)
}

/// Writes the grid to each file, whole or not at all.
fn write_grids(
    settings: &Settings,
    workspace: &OpenWorkspace,
    files: &[GridFile],
    grid: &Grid,
) -> Result<(), CliError> {
    for file in files {
        let path = file.path(&settings.directory);
        let text = file.text(grid, &settings.directory, &workspace.output());
        make_folder(&path)?;
        replace(&path, text)?;
    }
    Ok(())
}
