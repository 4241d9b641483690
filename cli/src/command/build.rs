//! `bld build`.

use std::fs;
use std::process::ExitCode;

use engine::{Counts, GoalOutcome, Plan, Report};

use crate::answer::Answer;
use crate::carried::Carried;
use crate::error::CliError;
use crate::exit;
use crate::grid::{Grid, GridFile};
use crate::history::{History, RecordArgs};
use crate::planned::{ExecuteArgs, Planned, SandboxArg, SelectArgs};
use crate::progress::Display;
use crate::receipts::{Looked, Receipts};
use crate::settings::Settings;
use crate::terminal::{report, say, tell};
use crate::watch::Watch;
use crate::workspace::OpenWorkspace;

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
    #[arg(long)]
    pub(crate) watch: bool,
}

pub(crate) fn run(settings: &Settings, args: &BuildArgs) -> Result<ExitCode, CliError> {
    if args.watch { build_again_and_again(settings, args) } else { build(settings, args) }
}

/// Each round is a build like any other. Mistakes are shown and waited out; a broken machine is not.
fn build_again_and_again(settings: &Settings, args: &BuildArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let ignored = vec![workspace.output(), settings.store.clone()];
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
    args.record.check(settings)?;
    let workspace = OpenWorkspace::find(settings)?;
    let patterns = workspace.patterns(&args.patterns)?;
    let receipts = Receipts::of(settings, &workspace, &patterns, &args.select);
    let looked = remembers(args).then(|| receipts.look(&workspace)).flatten();
    if let Some(looked) = &looked
        && looked.is_done()
    {
        return nothing_to_do(settings, args, &workspace, &receipts, looked);
    }
    let (mut planned, carried) =
        Carried::plan(settings, workspace, &patterns, &args.select, looked)?;
    let events = args.record.begin(settings, &args.patterns, &planned.plan, &planned.journal)?;
    planned.hearers.extend(events.clone().map(|it| it as _));
    let mut report = planned.build(&args.execute)?;
    let Planned { workspace, store, plan, journal, .. } = &planned;
    let files = carried.write(&planned, &report, &patterns)?;
    carried.count_untouched(&mut report.counts);
    let record = journal.save(&args.patterns, &args.select.settings, &report)?;
    args.record.end(settings, events.as_deref(), &record)?;
    let because = journal.reasons(&report);
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
    if args.execute.sandbox == SandboxArg::Strict {
        carried.keep(&receipts, &planned, &report, &files)?;
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

/// Answers from a receipt alone.
fn nothing_to_do(
    settings: &Settings,
    args: &BuildArgs,
    workspace: &OpenWorkspace,
    receipts: &Receipts,
    looked: &Looked,
) -> Result<ExitCode, CliError> {
    let front = looked.receipt.front();
    let is_shown = settings.json || front.has_axes || front.actions == 0;
    let goals = if is_shown { looked.receipt.goals() } else { None };
    let (goals, outcomes) = goals.unwrap_or_default();
    let counts = Counts { hits: front.actions, cpu_saved: front.cpu, ..Counts::default() };
    let goal = |outcome: Option<GoalOutcome>| outcome.expect("all of it was built");
    let report =
        Report { goals: outcomes.into_iter().map(goal).collect(), counts, ..Report::default() };
    let plan = Plan { goals, ..Plan::default() };
    let (report, files) = (&report, front.files);
    Answer { settings, workspace, store: None, plan: &plan, report, files, because: &[] }.print();
    let history = History::at(&settings.store, workspace)?;
    history.save_idle(&args.patterns, &args.select.settings, report)?;
    if looked.changes.looked_again {
        let seen = looked.seen(workspace);
        if let Some(receipt) = seen.and_then(|seen| looked.receipt.seen_again(&seen)) {
            receipts.keep(&receipt)?;
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
        let beside = path.with_extension(format!("new-{}", std::process::id()));
        let text = file.text(grid, &settings.directory, &workspace.output());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(CliError::disk("create", folder))?;
        }
        fs::write(&beside, text).map_err(CliError::disk("write", &beside))?;
        fs::rename(&beside, &path).map_err(CliError::disk("write", &path))?;
    }
    Ok(())
}
