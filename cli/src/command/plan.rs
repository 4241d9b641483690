//! `bld plan`: what a build would do, before anything runs; and how to divide it among runners.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;

use engine::{GoalFate, ShardRule};
use serde::Serialize;

use crate::error::CliError;
use crate::planned::{Planned, SelectArgs};
use crate::settings::Settings;
use crate::sharing::PlaceArgs;
use crate::terminal::say_line_json;
use crate::{exit, forecast};

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags that can be combined")]
pub(crate) struct PlanArgs {
    /// Targets: //pkg:name, //pkg:all, //pkg/..., //..., each maybe with {axis=value}
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    /// For how many actions at once to estimate [default: the machine's cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) jobs: Option<u16>,

    /// Plan what `bld test` would run, and not what `bld build` would
    #[arg(long)]
    pub(crate) tests: bool,

    /// Count actions that are remembered as failed as what runs
    #[arg(long)]
    pub(crate) retry_failed: bool,

    /// Print a CI matrix instead: the cells divided among runners
    #[arg(long)]
    pub(crate) shards: bool,

    /// The axis whose values are divided
    #[arg(long, value_name = "AXIS", default_value = "kernel", requires = "shards")]
    pub(crate) by: String,

    /// How many values a runner gets, as long as there may be more runners
    #[arg(long, value_name = "N", default_value_t = 10, requires = "shards",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) per: u16,

    /// How many runners there may be
    #[arg(long, value_name = "N", default_value_t = 32, requires = "shards",
        value_parser = clap::value_parser!(u16).range(1..))]
    pub(crate) max: u16,

    /// Leave out values all of whose cells are cached
    #[arg(long, requires = "shards")]
    pub(crate) uncached: bool,

    #[command(flatten)]
    pub(crate) place: PlaceArgs,
}

pub(crate) fn run(settings: &Settings, args: &PlanArgs) -> Result<ExitCode, CliError> {
    let planned = Planned::new(settings, &args.patterns, &args.select)?;
    let planned = if args.tests { planned.into_tests() } else { planned.without_tests() };
    if args.shards {
        say_shards(settings, &planned, args)?;
    } else {
        let survey = planned.survey_sharing(settings, &args.place, args.retry_failed)?;
        let jobs = args.jobs.map_or(settings.jobs, usize::from);
        forecast::answer(settings, &planned, &survey, jobs)?;
    }
    planned.close(settings)?;
    Ok(exit::SUCCESS)
}

fn say_shards(settings: &Settings, planned: &Planned, args: &PlanArgs) -> Result<(), CliError> {
    let goals = &planned.plan.goals;
    let rule = ShardRule { by: args.by.clone(), per: args.per.into(), max: args.max.into() };
    if !goals.iter().any(|goal| goal.cell.0.contains_key(&rule.by)) {
        let known: BTreeSet<String> =
            goals.iter().flat_map(|goal| goal.cell.0.keys().cloned()).collect();
        let suggestion = engine::suggest(&rule.by, &known);
        return Err(CliError::NoAxis { axis: rule.by, suggestion });
    }
    let survey = || planned.survey_sharing(settings, &args.place, args.retry_failed);
    let survey = args.uncached.then(survey).transpose()?;
    let counts = |index: usize| match survey.as_ref().map(|survey| survey.goals[index]) {
        None => goals[index].is_wanted(),
        // What fails as remembered costs nothing, but a runner has to say so.
        Some(GoalFate::Runs | GoalFate::MayRun | GoalFate::Fails(_)) => true,
        Some(GoalFate::Cached | GoalFate::Excluded | GoalFate::Unavailable) => false,
    };
    let patterns = planned.workspace.patterns(&args.patterns)?;
    let shards = engine::shards(goals, counts, &patterns, &rule);
    let include: Vec<_> = (0..)
        .zip(&shards)
        .map(|(shard, it)| ShardJson { shard, patterns: &it.patterns, cells: it.cells })
        .collect();
    // In one line: that is how CI systems take it from an output.
    say_line_json(&BTreeMap::from([("include", include)]));
    Ok(())
}

#[derive(Serialize)]
struct ShardJson<'a> {
    shard: usize,
    patterns: &'a [String],
    cells: usize,
}
