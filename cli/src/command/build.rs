//! `bld build`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use engine::{Counts, Front, Goal, GoalOutcome, GoalStatus, Receipt, Report};
use model::RelativePath;
use serde_json::{Value, json};
use store::LocalStore;

use crate::error::CliError;
use crate::history::{Because, BuildRecord, History, RecordArgs};
use crate::planned::{ExecuteArgs, Planned, SandboxArg, SelectArgs};
use crate::receipts::{Looked, Receipts};
use crate::settings::Settings;
use crate::terminal::{Paint, count, say, say_json, tell};
use crate::workspace::OpenWorkspace;
use crate::{exit, grid, output};

/// How many lines of a failed action's log are shown.
const LOG_LINES_SHOWN: usize = 12;

/// How many failures are shown with their logs; the grid and the log files have them all.
const FAILURES_SHOWN: usize = 5;

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
}

pub(crate) fn run(settings: &Settings, args: &BuildArgs) -> Result<ExitCode, CliError> {
    args.record.check(settings)?;
    let mut workspace = OpenWorkspace::find(settings)?;
    let patterns = workspace.patterns(&args.patterns)?;
    let receipts = Receipts::of(settings, &workspace, &patterns, &args.select);
    let looked = if remembers(args) { receipts.look(&mut workspace)? } else { None };
    if let Some(looked) = &looked
        && looked.is_done()
    {
        return nothing_to_do(settings, args, &workspace, &receipts, looked);
    }
    let part = looked.as_ref().and_then(Looked::part);
    let (mut planned, earlier) = match looked.zip(part) {
        Some((Looked { receipt, .. }, part)) => {
            let earlier = Earlier { receipt, numbers: part.numbers.clone(), files: part.files };
            (Planned::again(settings, workspace, part, &args.select)?, Some(earlier))
        }
        None => (Planned::of(settings, workspace, &patterns, &args.select)?, None),
    };
    let events = args.record.begin(settings, &args.patterns, &planned.plan, &planned.journal)?;
    planned.hearers.extend(events.clone().map(|it| it as _));
    let mut report = planned.build(&args.execute)?;
    let Planned { workspace, store, plan, journal, .. } = &planned;
    let files = output::write(workspace, store, plan, &report)?;
    if let Some(earlier) = &earlier {
        earlier.count_untouched(&mut report.counts);
    }
    let record = journal.save(&args.patterns, &args.select.settings, &report)?;
    args.record.end(settings, events.as_deref(), &record)?;
    if args.record.takes_stdout() {
        show_failures(workspace, store, &plan.goals, &report);
    } else {
        let because = journal.reasons(&report);
        if !settings.json {
            args.record.reasons(&because).iter().for_each(|line| say(line));
        }
        let total = total(earlier.as_ref(), &files);
        match earlier.as_ref().filter(|it| settings.json || it.receipt.front().has_axes) {
            Some(earlier) => {
                let (goals, report) = earlier.whole(&report);
                answer(settings, workspace, Some(store), &goals, &report, total, &because);
            }
            None => {
                answer(settings, workspace, Some(store), &plan.goals, &report, total, &because);
            }
        }
    }
    if args.execute.sandbox == SandboxArg::Strict {
        keep_receipt(&receipts, earlier.as_ref(), &planned, &report, &files)?;
    }
    let failed = report.has_failed();
    planned.close(settings)?;
    Ok(if failed { ExitCode::from(exit::BUILD_FAILED) } else { exit::SUCCESS })
}

/// Returns whether what an earlier build left may be all that is looked at: not by whoever asks for something to be
/// run again, or without a sandbox, or wants to be told of every goal and action.
fn remembers(args: &BuildArgs) -> bool {
    let runs_again = args.execute.retry_failed || args.execute.sandbox == SandboxArg::None;
    !runs_again && args.record.events.is_none() && args.record.trace.is_none()
}

/// What an earlier build left, of which only a part is worked on again.
struct Earlier {
    receipt: Receipt,
    /// The numbers of the part's goals among all goals.
    numbers: Vec<usize>,
    /// How many files they had made.
    files: u64,
}

impl Earlier {
    /// Counts the actions that were not even looked at.
    fn count_untouched(&self, counts: &mut Counts) {
        let looked_at = counts.hits + counts.misses;
        counts.hits += self.receipt.front().actions.saturating_sub(looked_at);
    }

    /// Puts what the part came to into its place among all goals.
    fn whole(&self, part: &Report) -> (Vec<Goal>, Report) {
        let (goals, mut outcomes) = self.receipt.goals().unwrap_or_default();
        for (number, outcome) in self.numbers.iter().zip(&part.goals) {
            outcomes[*number] = Some(outcome.clone());
        }
        let outcome = |it: Option<GoalOutcome>| it.expect("what is not known is worked on");
        let outcomes = outcomes.into_iter().map(outcome).collect();
        (goals, Report { goals: outcomes, counts: part.counts, ran: Vec::new() })
    }
}

/// Returns how many files lie under `bld-out` for all goals.
fn total(earlier: Option<&Earlier>, files: &[u64]) -> u64 {
    let untouched = earlier.map_or(0, |it| it.receipt.front().files.saturating_sub(it.files));
    untouched + files.iter().sum::<u64>()
}

/// Leaves a receipt for the next build of this kind.
fn keep_receipt(
    receipts: &Receipts,
    earlier: Option<&Earlier>,
    planned: &Planned,
    report: &Report,
    files: &[u64],
) -> Result<(), CliError> {
    let plan = &planned.plan;
    let seen = planned.workspace.files.snapshot();
    let fresh = Front {
        snapshot: Arc::new(seen),
        ended: now(),
        actions: plan.graph.actions(),
        cpu: report.counts.cpu_saved + report.counts.cpu_spent,
        files: total(earlier, files),
        is_complete: !report.has_failed(),
        has_axes: plan.goals.iter().any(|goal| !goal.cell.0.is_empty()),
    };
    let Some(earlier) = earlier else {
        let receipt = Receipt::new(fresh, plan, &report.goals, files, &planned.asked);
        return receipts.keep(&receipt);
    };
    let front = earlier.receipt.front();
    // What was not worked on depends on what it depended on.
    let snapshot = Arc::unwrap_or_clone(fresh.snapshot).over((*front.snapshot).clone());
    let (files_now, is_complete) = (fresh.files, fresh.is_complete);
    let renewed =
        Front { snapshot: Arc::new(snapshot), files: files_now, is_complete, ..front.clone() };
    match earlier.receipt.renewed(renewed, &earlier.numbers, &report.goals, files) {
        Some(receipt) => receipts.keep(&receipt),
        // A damaged one is no use to anybody.
        None => Ok(()),
    }
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
    let goals = if settings.json || front.has_axes { looked.receipt.goals() } else { None };
    let (goals, outcomes) = goals.unwrap_or_default();
    let counts = Counts { hits: front.actions, cpu_saved: front.cpu, ..Counts::default() };
    let goal = |outcome: Option<GoalOutcome>| outcome.expect("all of it was built");
    let report =
        Report { goals: outcomes.into_iter().map(goal).collect(), counts, ran: Vec::new() };
    answer(settings, workspace, None, &goals, &report, front.files, &[]);
    let history = History::at(&settings.store, workspace)?;
    history.save_idle(&args.patterns, &args.select.settings, &report)?;
    if looked.changes.looked_again {
        let snapshot = workspace.files.snapshot().over((*front.snapshot).clone());
        let front = Front { snapshot: Arc::new(snapshot), ..front.clone() };
        receipts.keep(&looked.receipt.with_front(front))?;
    }
    Ok(exit::SUCCESS)
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn answer(
    settings: &Settings,
    workspace: &OpenWorkspace,
    store: Option<&LocalStore>,
    all: &[Goal],
    report: &Report,
    files: u64,
    because: &[Because],
) {
    let summary = BuildRecord::of(report);
    if settings.json {
        let goals: Vec<_> = all
            .iter()
            .zip(&report.goals)
            .map(|(goal, outcome)| {
                let place = |(path, _): &(RelativePath, _)| output::place(workspace, goal, path);
                let outputs = outcome.outputs.iter().map(place);
                json!({
                    "label": goal.label.to_string(),
                    "cell": goal.cell.0,
                    "status": grid::status_name(&outcome.status),
                    "outputs": outputs.collect::<Vec<_>>(),
                    "failure": failure_json(workspace, goal, &outcome.status),
                })
            })
            .collect();
        let ran = because.iter().map(|it| json!({ "action": it.name, "reason": it.reason }));
        let ran: Vec<_> = ran.collect();
        say_json(&json!({ "goals": goals, "ran": ran, "summary": summary }));
        return;
    }
    grid::print(all, report);
    if let Some(store) = store {
        show_failures(workspace, store, all, report);
    }
    let seconds = |duration: Duration| duration.as_secs_f64();
    let counts = report.counts;
    if counts.misses == 0 && counts.failures == 0 {
        say(&format!("nothing to do: {} cached", count(counts.hits, "action")));
    } else {
        say(&format!(
            "{} ran ({:.1} CPU seconds), {} cached (saving {:.1}), {} failed",
            count(counts.misses, "action"),
            seconds(counts.cpu_spent),
            counts.hits,
            seconds(counts.cpu_saved),
            counts.failures
        ));
    }
    let shown = workspace.output().strip_prefix(&settings.directory).map_or_else(
        |_| workspace.output().display().to_string(),
        |path| path.display().to_string(),
    );
    say(&format!("{} under {shown}/", count(files, "file")));
}

fn failure_json(workspace: &OpenWorkspace, goal: &Goal, status: &GoalStatus) -> Value {
    let GoalStatus::Failed(failure) = status else { return Value::Null };
    json!({
        "action": failure.owner.to_string(),
        "kind": failure.kind.to_string(),
        "remembered": failure.remembered,
        "log": goal.failure_log.as_ref().map(|log| output::place(workspace, goal, log)),
    })
}

fn show_failures(workspace: &OpenWorkspace, store: &LocalStore, goals: &[Goal], report: &Report) {
    let paint = Paint::for_stderr();
    let mut shown = Vec::new();
    for (goal, outcome) in goals.iter().zip(&report.goals) {
        let GoalStatus::Failed(failure) = &outcome.status else { continue };
        // One action may be why many goals failed.
        if shown.contains(&failure.owner) {
            continue;
        }
        shown.push(failure.owner.clone());
        if shown.len() > FAILURES_SHOWN {
            continue;
        }
        let again =
            if failure.remembered { " (remembered; --retry-failed runs it again)" } else { "" };
        tell(&format!("{} {}: {}{again}", paint.red("failed:"), failure.owner, failure.kind));
        let log = output::failure_text(store, failure);
        let lines: Vec<_> = log.lines().filter(|line| !line.trim().is_empty()).collect();
        for line in lines.iter().take(LOG_LINES_SHOWN) {
            tell(&format!("    {line}"));
        }
        if lines.len() > LOG_LINES_SHOWN {
            tell(&format!("    … {} more lines", lines.len() - LOG_LINES_SHOWN));
        }
        match &goal.failure_log {
            Some(path) => {
                let place = output::place(workspace, goal, path);
                tell(&format!("    the whole log: {}", place.display()));
            }
            None if !lines.is_empty() => {
                let (label, cell) = (&failure.owner.label, &failure.owner.cell);
                tell(&format!("    the whole log: bld log '{label}{cell}'"));
            }
            None => {}
        }
    }
    if shown.len() > FAILURES_SHOWN {
        tell(&format!("and {} more failures", shown.len() - FAILURES_SHOWN));
    }
}
