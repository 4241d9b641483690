//! `bld failures`: which cells are known to fail, from the cache, without running anything.

use std::process::ExitCode;

use serde_json::json;

use crate::error::CliError;
use crate::grid::{Cell, CellFailure, Grid, Status, Target};
use crate::planned::{Planned, SelectArgs};
use crate::settings::Settings;
use crate::terminal::{Paint, count, say, say_json};
use crate::workspace::OpenWorkspace;
use crate::{exit, output};

/// How many lines of a log are shown; its file and `--json` have more.
const LOG_LINES_SHOWN: usize = 12;

#[derive(Debug, clap::Args)]
pub(crate) struct FailuresArgs {
    /// Targets: //pkg:name, //pkg:all, //pkg/..., //..., each maybe with {axis=value}
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    #[command(flatten)]
    pub(crate) select: SelectArgs,
}

/// A cell whose failure is remembered.
struct Known<'a> {
    target: &'a Target,
    cell: &'a Cell,
    failure: &'a CellFailure,
}

/// What the cache knows of the cells that were asked for.
#[derive(Default)]
struct Findings<'a> {
    failed: Vec<Known<'a>>,
    expected: Vec<Known<'a>>,
    passed: Vec<String>,
    /// How many cells nobody has built as they are now.
    unknown: u64,
}

pub(crate) fn run(settings: &Settings, args: &FailuresArgs) -> Result<ExitCode, CliError> {
    let planned = Planned::new(settings, &args.patterns, &args.select)?;
    let report = planned.ask_cache()?;
    let Planned { workspace, store, plan, .. } = &planned;
    let grid = Grid::new(plan, &report, &|failure| output::failure_text(store, failure));
    let findings = Findings::of(&grid);
    if settings.json {
        answer_json(workspace, &grid, &findings);
    } else {
        answer(workspace, &grid, &findings);
    }
    let failed = !findings.failed.is_empty();
    planned.close(settings)?;
    Ok(if failed { ExitCode::from(exit::BUILD_FAILED) } else { exit::SUCCESS })
}

impl<'a> Findings<'a> {
    fn of(grid: &'a Grid) -> Self {
        let mut findings = Self::default();
        for target in &grid.targets {
            for cell in &target.cells {
                let known = |failure| Known { target, cell, failure };
                match (cell.status, &cell.failure) {
                    // Nothing ran: what is not remembered was only refused.
                    (_, Some(failure)) if !failure.remembered => findings.unknown += 1,
                    (Status::Failed, Some(failure)) => findings.failed.push(known(failure)),
                    (_, Some(failure)) => findings.expected.push(known(failure)),
                    (Status::UnexpectedPass, None) => findings.passed.push(target.name(cell)),
                    (_, None) => {}
                }
            }
        }
        findings
    }
}

/// Returns where the log lies, if an earlier build has put it there.
fn log_file(workspace: &OpenWorkspace, failure: &CellFailure) -> Option<std::path::PathBuf> {
    let path = workspace.output().join(failure.file.as_ref()?);
    path.exists().then_some(path)
}

fn answer(workspace: &OpenWorkspace, grid: &Grid, findings: &Findings<'_>) {
    let paint = Paint::for_stdout();
    for known in &findings.failed {
        let reason = known.cell.reason.as_deref().unwrap_or_default();
        let (name, action) = (known.target.name(known.cell), &known.failure.action);
        say(&format!("{} {name}: {action}: {reason}", paint.red("failed:")));
        let lines = grid.logs[known.failure.log].text.lines();
        for line in lines.filter(|line| !line.trim().is_empty()).take(LOG_LINES_SHOWN) {
            say(&format!("    {line}"));
        }
        if let Some(path) = log_file(workspace, known.failure) {
            say(&format!("    the whole log: {}", path.display()));
        }
    }
    for known in &findings.expected {
        let reason = known.cell.reason.as_deref().unwrap_or_default();
        let name = known.target.name(known.cell);
        say(&format!("{} {name}: {reason}, as it must", paint.yellow("xfail:")));
    }
    for name in &findings.passed {
        let xpass = paint.red("xpass:");
        say(&format!("{xpass} {name} was to fail and passes now: take it out of `xfail`"));
    }
    let failed = count(findings.failed.len() as u64, "cell");
    let (expected, unknown) = (findings.expected.len(), findings.unknown);
    say(&format!("{failed} failed, {expected} failed as expected, {unknown} not built yet"));
}

fn answer_json(workspace: &OpenWorkspace, grid: &Grid, findings: &Findings<'_>) {
    let shown = |known: &Known<'_>| {
        let log = &grid.logs[known.failure.log];
        json!({
            "name": known.target.name(known.cell),
            "label": known.target.label,
            "cell": known.cell.values,
            "action": known.failure.action,
            "reason": known.cell.reason,
            "log": log_file(workspace, known.failure),
            "text": log.text,
            "cut": log.cut,
        })
    };
    say_json(&json!({
        "failed": findings.failed.iter().map(shown).collect::<Vec<_>>(),
        "xfail": findings.expected.iter().map(shown).collect::<Vec<_>>(),
        "xpass": findings.passed,
        "unknown": findings.unknown,
    }));
}
