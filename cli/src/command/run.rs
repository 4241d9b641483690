//! `bld run`: builds a program, lets go of everything, and becomes it.

use std::convert::Infallible;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use engine::{Goal, GoalOutcome, Plan, Report};
use model::{Node, RelativePath};

use crate::error::CliError;
use crate::planned::{ExecuteArgs, Planned, SelectArgs};
use crate::settings::Settings;
use crate::{answer, exit, output};

#[derive(Debug, clap::Args)]
pub(crate) struct RunArgs {
    /// A target, maybe with {axis=value}: one cell
    #[arg(value_name = "LABEL")]
    pub(crate) pattern: String,

    /// What the program is given
    #[arg(last = true, value_name = "ARGS")]
    pub(crate) arguments: Vec<std::ffi::OsString>,

    /// Which of the target's executable outputs is meant
    #[arg(long, value_name = "PATH")]
    pub(crate) output: Option<String>,

    #[command(flatten)]
    pub(crate) select: SelectArgs,

    #[command(flatten)]
    pub(crate) execute: ExecuteArgs,
}

pub(crate) fn run(settings: &Settings, args: &RunArgs) -> Result<ExitCode, CliError> {
    let planned = Planned::new(settings, std::slice::from_ref(&args.pattern), &args.select)?;
    // Before anything is built: what cannot be run need not be.
    one_cell(&planned.plan, &args.pattern)?;
    let report = planned.build(settings, &args.execute)?;
    let Planned { workspace, store, plan, .. } = &planned;
    planned.journal.save(&report)?;
    if report.interrupted {
        return Err(CliError::Interrupted);
    }
    output::write(workspace, store, plan, &report, &[], &|_| false)?;
    if report.has_failed() {
        answer::show_failures(workspace, store, plan, &report);
        planned.close(settings)?;
        return Ok(ExitCode::from(exit::BUILD_FAILED));
    }
    let (goal, outcome) = built(plan, &report);
    let path = one_program(goal, outcome, args.output.as_deref())?;
    let program = output::place(workspace, goal, path);
    // Locks, lease and store go with it: the program may run for days, and may call bld itself.
    planned.close(settings)?;
    match become_program(program, &args.arguments) {
        Ok(never) => match never {},
        Err(error) => Err(error),
    }
}

/// Checks that the pattern stands for one target in one cell.
fn one_cell(plan: &Plan, pattern: &str) -> Result<(), CliError> {
    let wanted: Vec<_> = wanted(plan).collect();
    if wanted.len() == 1 {
        return Ok(());
    }
    let pattern = pattern.to_owned();
    if wanted.is_empty() {
        return Err(CliError::NoCell(pattern));
    }
    let choices = wanted.iter().map(|goal| format!("{}{}", goal.label, goal.cell)).collect();
    Err(CliError::Several { pattern, what: "targets or cells", choices: Alternatives(choices) })
}

fn wanted(plan: &Plan) -> impl Iterator<Item = &Goal> {
    plan.goals.iter().filter(|goal| goal.is_wanted())
}

fn built<'a>(plan: &'a Plan, report: &'a Report) -> (&'a Goal, &'a GoalOutcome) {
    let mut both = plan.goals.iter().zip(&report.goals);
    both.find(|(goal, _)| goal.is_wanted()).expect("there is one cell")
}

/// Returns the only executable that a goal makes, or the one that is named.
fn one_program<'a>(
    goal: &Goal,
    outcome: &'a GoalOutcome,
    named: Option<&str>,
) -> Result<&'a RelativePath, CliError> {
    let is_program = |node: &Node| matches!(node, Node::File { executable: true, .. });
    let programs: Vec<_> =
        outcome.outputs.iter().filter(|(_, node)| is_program(node)).map(|(path, _)| path).collect();
    let target = format!("{}{}", goal.label, goal.cell);
    let choices = || Alternatives(programs.iter().map(ToString::to_string).collect());
    if let (Some(named), false) = (named, programs.is_empty()) {
        let found = programs.iter().find(|path| path.as_str() == named);
        let output = named.to_owned();
        return found.copied().ok_or_else(|| CliError::NoSuchProgram {
            target,
            output,
            choices: choices(),
        });
    }
    match programs.as_slice() {
        [program] => Ok(program),
        [] => {
            let made = outcome.outputs.iter().map(|(path, _)| path.to_string()).collect();
            Err(CliError::NoProgram { target, made: Alternatives(made) })
        }
        _ => Err(CliError::Programs { target, choices: choices() }),
    }
}

/// Becomes the program; the working directory, the environment and the streams stay those of whoever called.
fn become_program(
    program: PathBuf,
    arguments: &[std::ffi::OsString],
) -> Result<Infallible, CliError> {
    let source = Command::new(&program).args(arguments).exec();
    Err(CliError::Run { path: program, source })
}

/// What there is to choose from, as a message tells it.
#[derive(Debug)]
pub(crate) struct Alternatives(pub(crate) Vec<String>);

/// How many choices a message names.
const CHOICES_SHOWN: usize = 12;

impl std::fmt::Display for Alternatives {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return f.write_str(" nothing");
        }
        for choice in self.0.iter().take(CHOICES_SHOWN) {
            write!(f, "\n    {choice}")?;
        }
        if self.0.len() > CHOICES_SHOWN {
            write!(f, "\n    … and {} more", self.0.len() - CHOICES_SHOWN)?;
        }
        Ok(())
    }
}
