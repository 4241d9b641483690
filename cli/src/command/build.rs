//! `bld build`.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use engine::{Counts, Front, Goal, GoalOutcome, GoalStatus, Part, Receipt, Report};
use model::RelativePath;
use serde_json::{Value, json};
use store::LocalStore;

use crate::error::CliError;
use crate::planned::{ExecuteArgs, Planned, SandboxArg, SelectArgs};
use crate::receipts::{Looked, Receipts};
use crate::record::{self, BuildRecord};
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
}

pub(crate) fn run(settings: &Settings, args: &BuildArgs) -> Result<ExitCode, CliError> {
    let mut workspace = OpenWorkspace::find(settings)?;
    let patterns = workspace.patterns(&args.patterns)?;
    let receipts = Receipts::of(settings, &workspace, &patterns, &args.select);
    // Whoever asks for something to be run again, or without a sandbox, is not answered from memory.
    let asks_again = args.execute.retry_failed || args.execute.sandbox == SandboxArg::None;
    let looked = if asks_again { None } else { receipts.look(&mut workspace)? };
    if let Some(looked) = &looked
        && looked.is_done()
    {
        return nothing_to_do(settings, &workspace, &receipts, looked);
    }
    let part = looked.as_ref().and_then(Looked::part);
    if let (Some(looked), Some(part)) = (looked, part) {
        return build_part(settings, args, workspace, &receipts, &looked, part);
    }
    let planned = Planned::of(settings, workspace, &patterns, &args.select)?;
    let report = planned.build(&args.execute)?;
    let Planned { workspace, store, plan, .. } = &planned;
    let files = output::write(workspace, store, plan, &report)?;
    record::save(workspace, store, &report)?;
    answer(settings, workspace, Some(store), &plan.goals, &report, files.iter().sum());
    if !asks_again {
        let front = Front {
            snapshot: Arc::new(workspace.files.snapshot()),
            ended: record::now(),
            actions: plan.graph.actions(),
            cpu: report.counts.cpu_saved + report.counts.cpu_spent,
            files: files.iter().sum(),
            is_complete: !report.has_failed(),
            has_axes: plan.goals.iter().any(|goal| !goal.cell.0.is_empty()),
        };
        receipts.keep(&Receipt::new(front, plan, &report.goals, &files, &planned.asked))?;
    }
    end(settings, planned, &report)
}

fn end(settings: &Settings, planned: Planned, report: &Report) -> Result<ExitCode, CliError> {
    planned.close(settings)?;
    Ok(if report.has_failed() { ExitCode::from(exit::BUILD_FAILED) } else { exit::SUCCESS })
}

/// Works on what is not as an earlier build left it.
fn build_part(
    settings: &Settings,
    args: &BuildArgs,
    workspace: OpenWorkspace,
    receipts: &Receipts,
    looked: &Looked,
    part: Part,
) -> Result<ExitCode, CliError> {
    let front = looked.receipt.front();
    let numbers = part.numbers.clone();
    let files_before = part.files;
    let planned = Planned::again(settings, workspace, part, &args.select)?;
    let mut report = planned.build(&args.execute)?;
    let Planned { workspace, store, plan, .. } = &planned;
    let files = output::write(workspace, store, plan, &report)?;
    let looked_at = report.counts.hits + report.counts.misses;
    report.counts.hits += front.actions.saturating_sub(looked_at);
    record::save(workspace, store, &report)?;
    let total = (front.files + files.iter().sum::<u64>()).saturating_sub(files_before);
    let renewed = Front {
        snapshot: Arc::new(workspace.files.snapshot().over((*front.snapshot).clone())),
        files: total,
        is_complete: !report.has_failed(),
        ..front.clone()
    };
    let renewed = looked.receipt.renewed(renewed, &numbers, &report.goals, &files);
    if settings.json || front.has_axes {
        let all = looked.receipt.goals().unwrap_or_default();
        let (goals, report) = whole(all, &numbers, &report);
        answer(settings, workspace, Some(store), &goals, &report, total);
    } else {
        answer(settings, workspace, Some(store), &plan.goals, &report, total);
    }
    if let Some(renewed) = renewed {
        receipts.keep(&renewed)?;
    }
    end(settings, planned, &report)
}

/// Puts what a part came to into its place among all goals.
fn whole(
    all: (Vec<Goal>, Vec<Option<GoalOutcome>>),
    numbers: &[usize],
    part: &Report,
) -> (Vec<Goal>, Report) {
    let (goals, mut outcomes) = all;
    for (number, outcome) in numbers.iter().zip(&part.goals) {
        outcomes[*number] = Some(outcome.clone());
    }
    let outcome = |it: Option<GoalOutcome>| it.expect("what is not known is part of the part");
    let outcomes = outcomes.into_iter().map(outcome).collect();
    (goals, Report { goals: outcomes, counts: part.counts, ran: Vec::new() })
}

/// Answers from a receipt alone.
fn nothing_to_do(
    settings: &Settings,
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
    answer(settings, workspace, None, &goals, &report, front.files);
    record::save_idle(settings, &report)?;
    if looked.changes.looked_again {
        let snapshot = workspace.files.snapshot().over((*front.snapshot).clone());
        let front = Front { snapshot: Arc::new(snapshot), ..front.clone() };
        receipts.keep(&looked.receipt.with_front(front))?;
    }
    Ok(exit::SUCCESS)
}

fn answer(
    settings: &Settings,
    workspace: &OpenWorkspace,
    store: Option<&LocalStore>,
    all: &[Goal],
    report: &Report,
    files: u64,
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
        say_json(&json!({ "goals": goals, "summary": summary }));
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
