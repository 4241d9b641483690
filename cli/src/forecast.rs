//! What a build would do, and what that would cost, in words and in JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use engine::{ActionFate, Estimate, Goal, GoalFate, Label, Plan, Survey};
use serde::Serialize;

use crate::costs::Costs;
use crate::error::CliError;
use crate::planned::Planned;
use crate::settings::Settings;
use crate::terminal::{Paint, count, say, say_serialized};

/// How many goals that are not cached are named; `--json` names them all.
const GOALS_SHOWN: usize = 40;

/// What is said of a plan.
#[derive(Serialize)]
struct Answer<'a> {
    goals: Vec<GoalJson<'a>>,
    actions: Vec<ActionJson<'a>>,
    summary: Summary,
    estimate: Estimates,
}

#[derive(Serialize)]
struct GoalJson<'a> {
    label: String,
    cell: &'a BTreeMap<String, String>,
    status: &'static str,
    failure: Option<String>,
}

#[derive(Serialize)]
struct ActionJson<'a> {
    label: String,
    cell: &'a BTreeMap<String, String>,
    role: &'a str,
    status: &'static str,
    key: Option<String>,
    cpu_seconds: Option<f64>,
}

#[derive(Default, Serialize)]
struct Summary {
    cached: usize,
    will_run: usize,
    will_run_again: usize,
    may_run: usize,
    fails: usize,
    blocked: usize,
    downloads: usize,
    cpu_seconds_saved: f64,
}

#[derive(Serialize)]
struct Estimates {
    jobs: usize,
    /// What runs for certain.
    at_least: EstimateJson,
    /// With what may run.
    at_most: EstimateJson,
}

#[derive(Serialize)]
struct EstimateJson {
    actions: usize,
    unknown: usize,
    cpu_seconds: f64,
    critical_path_seconds: f64,
    wall_seconds: f64,
    wall_seconds_min: f64,
}

impl EstimateJson {
    fn of(estimate: &Estimate, jobs: usize) -> Self {
        Self {
            actions: estimate.actions,
            unknown: estimate.unknown,
            cpu_seconds: estimate.cpu.as_secs_f64(),
            critical_path_seconds: estimate.critical.as_secs_f64(),
            wall_seconds: estimate.wall.as_secs_f64(),
            wall_seconds_min: estimate.wall_min(jobs).as_secs_f64(),
        }
    }
}

fn goal_status(fate: GoalFate) -> &'static str {
    match fate {
        GoalFate::Cached => "cached",
        GoalFate::Runs => "will_run",
        GoalFate::MayRun => "may_run",
        GoalFate::Fails(_) => "fails",
        GoalFate::Excluded => "excluded",
        GoalFate::Unavailable => "unavailable",
    }
}

fn action_status(fate: ActionFate) -> &'static str {
    match fate {
        ActionFate::Cached => "cached",
        ActionFate::Runs => "will_run",
        ActionFate::RunsAgain => "will_run_again",
        ActionFate::MayRun => "may_run",
        ActionFate::Fails => "fails",
        ActionFate::Blocked => "blocked",
    }
}

/// Answers what a build would do.
pub(crate) fn answer(
    settings: &Settings,
    planned: &Planned,
    survey: &Survey,
    jobs: usize,
) -> Result<(), CliError> {
    let plan = &planned.plan;
    let runs = |fate: ActionFate| fate.runs() || fate == ActionFate::MayRun;
    // The history is only read if something runs.
    let costs = if survey.actions.iter().any(|action| runs(action.fate)) {
        Costs::read(&planned.workspace, &planned.store)?
    } else {
        Costs::default()
    };
    let estimate = |counts: &dyn Fn(ActionFate) -> bool| {
        engine::estimate(plan, survey, counts, |owner| costs.of_action(owner), jobs)
    };
    let (least, most) = (estimate(&ActionFate::runs), estimate(&runs));
    let summary = summary(survey);
    if !settings.json {
        say_goals(plan, survey);
        say_summary(&summary, &least, &most, jobs);
        return Ok(());
    }
    say_serialized(&Answer {
        goals: plan.goals.iter().zip(&survey.goals).map(|it| goal_json(plan, it)).collect(),
        actions: actions(plan, survey, &costs),
        summary,
        estimate: Estimates {
            jobs,
            at_least: EstimateJson::of(&least, jobs),
            at_most: EstimateJson::of(&most, jobs),
        },
    });
    Ok(())
}

fn goal_json<'a>(plan: &Plan, (goal, fate): (&'a Goal, &GoalFate)) -> GoalJson<'a> {
    GoalJson {
        label: goal.label.to_string(),
        cell: &goal.cell.0,
        status: goal_status(*fate),
        failure: failing(plan, *fate),
    }
}

/// Returns which action makes a goal fail.
fn failing(plan: &Plan, fate: GoalFate) -> Option<String> {
    let GoalFate::Fails(node) = fate else { return None };
    Some(plan.graph.node(node).action_owner()?.to_string())
}

/// Returns the actions that are not cached.
fn actions<'a>(plan: &'a Plan, survey: &Survey, costs: &Costs) -> Vec<ActionJson<'a>> {
    let uncached = survey.actions.iter().filter(|action| action.fate != ActionFate::Cached);
    uncached
        .filter_map(|action| {
            let owner = plan.graph.node(action.node).action_owner()?;
            Some(ActionJson {
                label: owner.label.to_string(),
                cell: &owner.cell.0,
                role: &owner.role,
                status: action_status(action.fate),
                key: action.key.map(|key| key.to_string()),
                cpu_seconds: costs.of_action(owner).map(|cost| cost.as_secs_f64()),
            })
        })
        .collect()
}

fn summary(survey: &Survey) -> Summary {
    let mut summary = Summary { downloads: survey.downloads.len(), ..Summary::default() };
    for action in &survey.actions {
        *match action.fate {
            ActionFate::Cached => &mut summary.cached,
            ActionFate::Runs => &mut summary.will_run,
            ActionFate::RunsAgain => &mut summary.will_run_again,
            ActionFate::MayRun => &mut summary.may_run,
            ActionFate::Fails => &mut summary.fails,
            ActionFate::Blocked => &mut summary.blocked,
        } += 1;
        summary.cpu_seconds_saved += action.cpu.as_secs_f64();
    }
    summary
}

/// Prints a line for each target: how many of its cells end how; then those that are not cached.
fn say_goals(plan: &Plan, survey: &Survey) {
    let mut targets: BTreeMap<&Label, BTreeMap<&str, usize>> = BTreeMap::new();
    for (goal, fate) in plan.goals.iter().zip(&survey.goals) {
        let counts = targets.entry(&goal.label).or_default();
        *counts.entry(goal_status(*fate)).or_default() += 1;
    }
    let targets: Vec<_> =
        targets.into_iter().map(|(it, counts)| (it.to_string(), counts)).collect();
    let width = targets.iter().map(|(label, _)| label.len()).max().unwrap_or_default();
    for (label, counts) in &targets {
        let part = |(status, number): (&&str, &usize)| format!("{number} {}", words(status));
        let parts: Vec<_> = counts.iter().map(part).collect();
        say(&format!("{label:<width$}  {}", parts.join(", ")));
    }
    let paint = Paint::for_stdout();
    let ends = |fate: GoalFate| {
        matches!(fate, GoalFate::Cached | GoalFate::Excluded | GoalFate::Unavailable)
    };
    let mut open =
        plan.goals.iter().zip(&survey.goals).filter(|(_, fate)| !ends(**fate)).peekable();
    if open.peek().is_some() {
        say("");
    }
    for (goal, fate) in open.by_ref().take(GOALS_SHOWN) {
        let status = words(goal_status(*fate));
        let status = match failing(plan, *fate) {
            Some(action) => paint.red(&format!("{status}: {action} failed before")),
            None if *fate == GoalFate::Runs => paint.yellow(status),
            None => status.to_owned(),
        };
        say(&format!("  {}{}  {status}", goal.label, goal.cell));
    }
    let others = open.count();
    if others > 0 {
        say(&format!("  … and {others} more (--json has them all)"));
    }
}

/// Returns a status as it is said in a sentence.
fn words(status: &str) -> &str {
    match status {
        "will_run" => "will run",
        "may_run" => "may run",
        other => other,
    }
}

fn say_summary(summary: &Summary, least: &Estimate, most: &Estimate, jobs: usize) {
    let actions = |number: usize| count(number as u64, "action");
    say("");
    let runs = summary.will_run + summary.will_run_again;
    if runs + summary.may_run + summary.fails + summary.blocked == 0 {
        say(&format!("nothing to do: {} cached", actions(summary.cached)));
        return;
    }
    say(&format!(
        "{} will run, {} may run, {} cached, {} fail as remembered",
        actions(runs),
        summary.may_run,
        summary.cached,
        summary.fails
    ));
    if summary.will_run_again > 0 {
        say(&format!("of these, {} run again, because outputs are gone", summary.will_run_again));
    }
    if summary.blocked > 0 {
        say(&format!("{} wait for what fails", actions(summary.blocked)));
    }
    if summary.downloads > 0 {
        say(&format!("{} will be fetched", count(summary.downloads as u64, "locked tree")));
    }
    if most.unknown == most.actions && most.actions > 0 {
        say("no estimate: none of them was ever run here");
        return;
    }
    if most.actions > 0 {
        let seconds = |it: Duration| it.as_secs_f64();
        let range = |low: Duration, high: Duration| {
            let (low, high) = (format!("{:.1}", seconds(low)), format!("{:.1}", seconds(high)));
            if low == high { high } else { format!("{low} to {high}") }
        };
        say(&format!(
            "estimate: {} CPU seconds; {} seconds on {}, at least {:.1}",
            range(least.cpu, most.cpu),
            range(least.wall, most.wall),
            count(jobs as u64, "core"),
            seconds(least.wall_min(jobs))
        ));
    }
    if most.unknown > 0 {
        let which = actions(most.unknown);
        say(&format!("without {which} that nothing is known of"));
    }
}
