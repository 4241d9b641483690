//! `bld test`.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::ValueEnum;
use engine::TestOptions;

use crate::error::CliError;
use crate::history::RecordArgs;
use crate::planned::{ExecuteArgs, Planned, SelectArgs};
use crate::settings::Settings;
use crate::terminal::say;
use crate::testing::{results, show, suites, verdicts};
use crate::written::make_folder;
use crate::{answer, exit, junit};

/// How often a test can be run in one go: what a night allows, and few enough that every log can be kept.
const RUNS_MAX: u32 = 1000;

/// How often a failing test can be tried: who needs more has no test.
const ATTEMPTS_MAX: u32 = 100;

#[derive(Debug, clap::Args)]
pub(crate) struct TestArgs {
    /// Targets: //pkg:name, //pkg:all, //pkg/..., //..., each maybe with {axis=value}
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    /// Run each test so often, whatever the cache says
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number(RUNS_MAX))]
    pub(crate) runs: u32,

    /// Try a test that fails up to so often; one that passes then is reported as flaky
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = number(ATTEMPTS_MAX))]
    pub(crate) attempts: u32,

    /// Run tests that passed before, too
    #[arg(long)]
    pub(crate) no_cache: bool,

    /// Whose logs to show
    #[arg(long, value_name = "WHICH", value_enum, default_value_t = ShownOutput::Errors)]
    pub(crate) test_output: ShownOutput,

    #[arg(long, value_name = "FILE", help = "Write the results as JUnit XML")]
    pub(crate) junit: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    #[command(flatten)]
    pub(crate) execute: ExecuteArgs,

    #[command(flatten)]
    pub(crate) record: RecordArgs,
}

/// Which tests' logs are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ShownOutput {
    /// Of every test
    All,
    /// Of attempts that failed
    Errors,
    /// Of none
    None,
}

fn number(most: u32) -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=i64::from(most))
}

pub(crate) fn run(settings: &Settings, args: &TestArgs) -> Result<ExitCode, CliError> {
    let junit = args.junit.as_ref().map(|file| settings.directory.join(file));
    let junit_file: Vec<_> = junit.iter().map(|path| ("--junit", path.clone())).collect();
    args.record.check(settings, &junit_file)?;
    let mut planned = Planned::new(settings, &args.patterns, &args.select)?.into_tests();
    if planned.plan.goals.is_empty() {
        return Err(CliError::NoTests(args.patterns.join(" ")));
    }
    let tests = TestOptions { runs: args.runs, attempts: args.attempts, use_cache: !args.no_cache };
    let events = args.record.begin(settings, &args.patterns, &planned.plan, &planned.journal)?;
    planned.hearers.extend(events.clone().map(|it| it as _));
    let report = planned.test(settings, &args.execute, tests)?;
    let Planned { workspace, store, plan, .. } = &planned;
    if report.interrupted {
        let record = planned.journal.save(&report)?;
        args.record.end(settings, events.as_deref(), &record)?;
        return Err(CliError::Interrupted);
    }
    let verdicts = verdicts::of(plan, &report);
    results::write(workspace, store, &verdicts)?;
    let record = planned.journal.save(&report)?;
    args.record.end(settings, events.as_deref(), &record)?;
    if let Some(path) = &junit {
        let text = junit::write(&suites::of(store, &verdicts));
        make_folder(path)?;
        std::fs::write(path, text).map_err(CliError::disk("write", path))?;
    }
    let because = planned.journal.reasons(&report);
    if args.record.takes_stdout() {
        answer::show_failures(workspace, store, plan, &report);
    } else if settings.json {
        show::json(workspace, store, &verdicts, &because);
    } else {
        args.record.reasons(&because).iter().for_each(|line| say(line));
        show::text(workspace, store, &verdicts, args.test_output);
    }
    let failed = report.has_failed();
    planned.close(settings)?;
    Ok(if failed { ExitCode::from(exit::BUILD_FAILED) } else { exit::SUCCESS })
}
