//! `bld shell`: a shell, or another command, in the exact sandbox of an action.

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::sync::Arc;

use engine::{Build, NodeId, Owner, Plan, Prepared, TestOptions, Unprepared};
use executor::{Job, Limits, LocalExecutor, Session};

use crate::command::run::Alternatives;
use crate::command::verify::own_nodes;
use crate::error::CliError;
use crate::planned::{ExecuteArgs, Planned, SelectArgs};
use crate::settings::Settings;
use crate::sharing::RemoteArgs;
use crate::terminal::tell;
use crate::{exit, output, pty};

#[derive(Debug, clap::Args)]
pub(crate) struct ShellArgs {
    /// A target, maybe with {axis=value}
    #[arg(value_name = "LABEL")]
    pub(crate) pattern: String,

    /// What to run instead of a shell
    #[arg(last = true, value_name = "COMMAND")]
    pub(crate) command: Vec<String>,

    /// Which of the target's actions is meant
    #[arg(long, value_name = "ROLE")]
    pub(crate) role: Option<String>,

    /// Run the action's own command first, and look at what it leaves
    #[arg(long)]
    pub(crate) failed: bool,

    #[command(flatten)]
    pub(crate) remote: RemoteArgs,

    #[command(flatten)]
    pub(crate) select: SelectArgs,
}

pub(crate) fn run(settings: &Settings, args: &ShellArgs) -> Result<ExitCode, CliError> {
    let planned =
        Planned::new(settings, std::slice::from_ref(&args.pattern), &args.select)?.with_tests();
    let node = one_action(&planned.plan, args)?;
    let execute = ExecuteArgs { remote: args.remote.clone(), ..ExecuteArgs::default() };
    let work = async {
        let build = planned.start(settings, &execute, TestOptions::default()).await?;
        enter(&planned, build, node, args).await
    };
    let ended = planned.drive(work)??;
    let code = match ended {
        Ended::With(code) => ExitCode::from(u8::try_from(code).unwrap_or(exit::INFRASTRUCTURE)),
        Ended::NeedsWhatFailed => ExitCode::from(exit::BUILD_FAILED),
    };
    planned.close(settings)?;
    Ok(code)
}

/// How it came to an end.
enum Ended {
    /// The shell's exit status.
    With(i32),
    /// There was no shell: an action whose outputs are inputs failed.
    NeedsWhatFailed,
}

async fn enter(
    planned: &Planned,
    build: Arc<Build>,
    node: NodeId,
    args: &ShellArgs,
) -> Result<Ended, CliError> {
    let prepared = match build.prepare(node).await {
        Ok(prepared) => prepared.expect("only commands are chosen"),
        Err(Unprepared::Broken(error)) => return Err(CliError::Build(error)),
        Err(Unprepared::Unavailable(reason)) => {
            tell(&format!("unavailable: {reason}"));
            return Ok(Ended::NeedsWhatFailed);
        }
        Err(Unprepared::Failed(failure)) => {
            tell(&format!("failed: {}: {}", failure.owner, failure.kind));
            tell(output::failure_text(&planned.store, &failure).trim_end());
            tell("what the action needs cannot be made, so its sandbox cannot be entered");
            return Ok(Ended::NeedsWhatFailed);
        }
    };
    planned.display.finish();
    let terminal = pty::Terminal::open()?;
    if args.command.is_empty() {
        introduce(&prepared, args.failed);
    }
    let session = Session {
        command: (!args.command.is_empty()).then(|| args.command.clone()),
        after_command: args.failed,
        on_terminal: terminal.is_some(),
    };
    let executor = LocalExecutor::strict(Arc::clone(&planned.store));
    let Prepared { action, command, .. } = &prepared;
    let job = Job { action, command, limits: Limits::default() };
    let code = match terminal {
        Some((terminal, streams)) => {
            let relay = terminal.relay()?;
            let ended = executor.enter(job, &*build, session, streams).await;
            relay.end();
            ended?
        }
        None => executor.enter(job, &*build, session, pty::streams()?).await?,
    };
    Ok(Ended::With(code))
}

/// Says what runs in this sandbox otherwise, and how to do so.
fn introduce(prepared: &Prepared, already_run: bool) {
    /// How much of a command is shown, in characters; the script has all of it.
    const SHOWN_MAX: usize = 2000;
    let words = prepared.command.arguments.iter();
    let words: Vec<_> = words.map(|word| format!("{word:?}")).collect();
    let text: String = words.join(" ").chars().take(SHOWN_MAX).collect();
    tell(&format!("the action's command: {text}"));
    let again = if already_run { " again" } else { "" };
    tell(&format!("run it{again} with: /tmp/bld-command"));
    tell("nothing that is made here is kept; leave with: exit");
}

/// Returns the one action that is meant: a command that makes the target's outputs, or another one of that target.
fn one_action(plan: &Plan, args: &ShellArgs) -> Result<NodeId, CliError> {
    let run = |node: NodeId| match plan.graph.node(node) {
        engine::Node::Run(run) => Some((node, &run.owner)),
        engine::Node::Source(_)
        | engine::Node::Locked(_)
        | engine::Node::Write { .. }
        | engine::Node::Tree(_)
        | engine::Node::Builtin(_) => None,
    };
    let own: Vec<_> = own_nodes(plan).into_iter().filter_map(run).collect();
    let is_theirs = |owner: &Owner| {
        let same =
            |(_, other): &(NodeId, &Owner)| owner.label == other.label && owner.cell == other.cell;
        own.iter().any(same)
    };
    let all = (0..plan.graph.len()).filter_map(run);
    let mut found: Vec<_> = all.filter(|(_, owner)| is_theirs(owner)).collect();
    let names = |found: &[(NodeId, &Owner)]| {
        Alternatives(found.iter().map(|(_, owner)| owner.to_string()).collect())
    };
    let pattern = args.pattern.clone();
    if let Some(role) = args.role.clone().filter(|_| !found.is_empty()) {
        let roles: BTreeSet<_> = found.iter().map(|(_, owner)| owner.role.clone()).collect();
        if !roles.contains(&role) {
            let hint = engine::suggest(&role, roles.iter().filter(|role| !role.is_empty()));
            let choices = names(&found);
            return Err(CliError::NoRole { pattern, role, hint, choices });
        }
        found.retain(|(_, owner)| owner.role == role);
    }
    match found.as_slice() {
        [(node, _)] => Ok(*node),
        [] => Err(CliError::NoCommand { pattern, choices: names(&own) }),
        _ => Err(CliError::Several {
            pattern,
            what: "actions (choose by the cell in braces and with --role)",
            choices: names(&found),
        }),
    }
}
