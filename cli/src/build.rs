//! `bld build`.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use engine::{Build, BuildOptions, Goal, GoalStatus, LockedMember, Plan, Report};
use executor::{Limits, LocalExecutor, Rung};
use fetch::Lock;
use model::RelativePath;
use serde_json::{Value, json};
use store::LocalStore;

use crate::args::{BuildArgs, SandboxArg};
use crate::error::CliError;
use crate::interrupt::Interrupts;
use crate::lock::network;
use crate::outside::{LockedTrees, Outside};
use crate::progress::Display;
use crate::record::{self, BuildRecord};
use crate::settings::Settings;
use crate::terminal::{Paint, count, say, say_json, tell};
use crate::workspace::OpenWorkspace;
use crate::{exit, grid, lock, output};

/// How many lines of a failed action's log are shown.
const LOG_LINES_SHOWN: usize = 12;

/// How long what still runs in a thread may take to find its sandbox gone; a download that has not ended by then is
/// resumed the next time.
const SHUTDOWN_TIME: Duration = Duration::from_secs(2);

/// How many failures are shown with their logs; the grid and the log files have them all.
const FAILURES_SHOWN: usize = 5;

pub(crate) fn run(settings: &Settings, args: &BuildArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let patterns = workspace.patterns(&args.patterns)?;
    let chosen = chosen_settings(&workspace, args)?;
    let requests = workspace.requests()?;
    let store = settings.open_store(workspace.config.function)?;
    let display = Display::new(settings.json);
    let interrupts = Interrupts::watch(&display, settings.json)?;
    let outside =
        Outside::new(&workspace, &store, requests, network(args.offline), Arc::clone(&display))?;
    let lock = lock::ensure(&workspace, &outside, args.locked)?;
    store.set_roots(&workspace.root, &lock.trees().into_iter().collect::<Vec<_>>())?;
    let plan = workspace.engine().plan(&patterns, &chosen, &locked_members(&lock))?;
    let plan = Arc::new(plan);
    let build = prepare(&workspace, &store, &display, LockedTrees { outside, lock }, &plan, args)?;

    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(CliError::disk("start", std::path::Path::new("the runtime")))?;
    let ended = runtime.block_on(interrupts.stop(build.run()));
    display.finish();
    runtime.shutdown_timeout(SHUTDOWN_TIME);
    let report = ended.ok_or(CliError::Interrupted)?.map_err(CliError::Build)?;

    let files = output::write(&workspace, &store, &plan, &report)?;
    record::save(&workspace, &store, &report)?;
    let grown = store.bytes_written() > 0;
    answer(settings, &workspace, &store, &plan, &report, files);
    let failed = report
        .goals
        .iter()
        .any(|goal| matches!(goal.status, GoalStatus::Failed(_) | GoalStatus::Skipped));
    // What this build pinned counts only until here.
    drop(store);
    if grown {
        settings.open_store(workspace.config.function)?.collect(settings.store_budget)?;
    }
    Ok(if failed { ExitCode::from(exit::BUILD_FAILED) } else { exit::SUCCESS })
}

fn chosen_settings(
    workspace: &OpenWorkspace,
    args: &BuildArgs,
) -> Result<BTreeMap<String, String>, CliError> {
    let mut chosen = Vec::new();
    for setting in &args.settings {
        let (name, value) =
            setting.split_once('=').ok_or_else(|| CliError::Setting(setting.clone()))?;
        chosen.push((name.to_owned(), value.to_owned()));
    }
    Ok(workspace.config.choose(&chosen)?)
}

fn prepare(
    workspace: &OpenWorkspace,
    store: &Arc<LocalStore>,
    display: &Arc<Display>,
    outside: LockedTrees,
    plan: &Arc<Plan>,
    args: &BuildArgs,
) -> Result<Arc<Build>, CliError> {
    let rung = choose_rung(store, args.sandbox)?;
    if rung == Rung::Bare {
        tell("warning: without a sandbox nothing is isolated; results are not recorded");
    }
    let limits = Limits {
        time: args.timeout.map_or(Limits::default().time, Duration::from_secs),
        ..Limits::default()
    };
    let options = BuildOptions {
        jobs: args.jobs.map_or_else(cores, usize::from),
        fail_fast: args.fail_fast && !args.keep_going,
        // How an action fails in a sandbox says nothing of how it does without.
        retry_failed: args.retry_failed || rung == Rung::Bare,
        limits,
    };
    Ok(Build::new(
        Arc::clone(store),
        Arc::new(LocalExecutor::new(Arc::clone(store), rung)),
        Arc::new(outside),
        workspace.files.clone(),
        Arc::clone(plan),
        options,
        Arc::clone(display) as Arc<dyn engine::Events>,
    ))
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

/// Returns the best sandbox that works here.
fn choose_rung(store: &LocalStore, wanted: SandboxArg) -> Result<Rung, CliError> {
    if wanted == SandboxArg::None {
        return Ok(Rung::Bare);
    }
    let scratch = store.scratch()?;
    let working = executor::sandbox::first_working(scratch.path());
    working.ok_or_else(|| executor::ExecuteError::NoSandbox.into())
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
