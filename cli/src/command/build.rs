//! `bld build`.

use std::process::ExitCode;
use std::time::Duration;

use engine::{Goal, GoalStatus, Plan, Report};
use model::RelativePath;
use serde_json::{Value, json};
use store::LocalStore;

use crate::ci::Ci;
use crate::error::CliError;
use crate::planned::{ExecuteArgs, Planned, SelectArgs};
use crate::progress::Display;
use crate::record::{self, BuildRecord};
use crate::settings::Settings;
use crate::terminal::{Paint, count, report, say, say_json, tell, tell_service};
use crate::watch::Watch;
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
    let planned = Planned::new(settings, &args.patterns, &args.select)?;
    let report = planned.build(&args.execute)?;
    let Planned { workspace, store, plan, .. } = &planned;
    let files = output::write(workspace, store, plan, &report)?;
    record::save(workspace, store, &report)?;
    answer(settings, workspace, store, plan, &report, files);
    let failed = report.has_failed();
    planned.close(settings)?;
    Ok(if failed { ExitCode::from(exit::BUILD_FAILED) } else { exit::SUCCESS })
}

fn answer(
    settings: &Settings,
    workspace: &OpenWorkspace,
    store: &LocalStore,
    plan: &Plan,
    report: &Report,
    files: u64,
) {
    let summary = BuildRecord::of(report);
    if settings.json {
        let goals: Vec<_> = plan
            .goals
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
    grid::print(plan, report);
    show_failures(workspace, store, plan, report);
    let seconds = |duration: Duration| duration.as_secs_f64();
    let counts = report.counts;
    if let Some(only) = makes_nothing(plan, report) {
        let where_used = "what it declares is made where other targets need it";
        say(&format!("nothing to build: {only} makes no files itself; {where_used}"));
        return;
    }
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

/// Returns what was asked for, if that is nothing that is ever made by itself.
fn makes_nothing(plan: &Plan, report: &Report) -> Option<String> {
    let built = plan.goals.iter().filter(|goal| !goal.excluded);
    let mut labels: Vec<_> = built.clone().map(|goal| goal.label.to_string()).collect();
    labels.dedup();
    let counts = report.counts;
    let idle = counts.hits + counts.misses + counts.failures == 0;
    let bare = built.clone().all(|goal| goal.outputs.is_empty());
    (idle && bare && !labels.is_empty()).then(|| match labels.as_slice() {
        [only] => only.clone(),
        all => format!("each of {} targets", all.len()),
    })
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

fn show_failures(workspace: &OpenWorkspace, store: &LocalStore, plan: &Plan, report: &Report) {
    let paint = Paint::for_stderr();
    let mut shown = Vec::new();
    for (goal, outcome) in plan.goals.iter().zip(&report.goals) {
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
        let first = log.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
        let (owner, text) = (failure.owner.to_string(), format!("{}: {first}", failure.kind));
        tell_service(Ci::detect().error(None, &owner, &text));
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
