//! `bld verify`: runs actions again and compares what they make with what is recorded.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use clap::ValueEnum;
use engine::{
    Build, BuildError, Goal, GoalStatus, Graph, Node, NodeId, Plan, Ran, Report, Reproduction,
    TestOptions, Verified,
};
use executor::{LocalExecutor, Perturbation, Variation};
use store::LocalStore;

use crate::differences::{self, Explained};
use crate::error::CliError;
use crate::history::History;
use crate::planned::{ExecuteArgs, Planned, SelectArgs};
use crate::settings::Settings;
use crate::sharing::RemoteArgs;
use crate::terminal::{Paint, count, say};
use crate::{answer, exit};

/// How often an action can be run again: a flake of one in a hundred shows by then.
const RUNS_MAX: u16 = 1000;

#[derive(Debug, clap::Args)]
pub(crate) struct VerifyArgs {
    /// Targets: //pkg:name, //pkg:all, //pkg/..., //..., each maybe with {axis=value}
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    /// How often each action is run again
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(RUNS_MAX)))]
    pub(crate) runs: u16,

    /// What to show actions otherwise than usual
    #[arg(long, value_enum, value_delimiter = ',', value_name = "WHAT", default_value = "time")]
    pub(crate) perturb: Vec<PerturbArg>,

    /// Only the actions that make the targets' outputs, not those that make their inputs
    #[arg(long)]
    pub(crate) own: bool,

    /// Forget the results that were not made again, so that the next build makes them anew
    #[arg(long)]
    pub(crate) forget: bool,

    /// How many actions run at once [default: the machine's cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) jobs: Option<u16>,

    /// Stop an action that runs longer, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,

    #[command(flatten)]
    pub(crate) remote: RemoteArgs,

    #[command(flatten)]
    pub(crate) select: SelectArgs,
}

/// What can be shown otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum PerturbArg {
    /// A later second, and shifted clocks that count from the start of the machine
    Time,
    /// Another working directory
    Path,
    /// Another host name
    Host,
    /// Another user and group
    User,
    /// One processor
    Cpus,
    /// Other permissions for new files
    Umask,
    /// Another language in the environment
    Locale,
    /// Directories of small trees listed in the reverse order
    Readdir,
    /// All of these
    All,
    /// Nothing
    None,
}

impl PerturbArg {
    fn variations(self) -> Vec<Variation> {
        let named = self.to_possible_value();
        let is_meant =
            |it: &Variation| named.as_ref().is_some_and(|name| name.matches(it.name(), false));
        if self == Self::All {
            return Variation::ALL.to_vec();
        }
        Variation::ALL.into_iter().filter(is_meant).collect()
    }
}

pub(crate) fn run(settings: &Settings, args: &VerifyArgs) -> Result<ExitCode, CliError> {
    let planned = Planned::new(settings, &args.patterns, &args.select)?.with_tests();
    let (jobs, timeout, remote) = (args.jobs, args.timeout, args.remote.clone());
    let execute = ExecuteArgs { jobs, timeout, remote, ..ExecuteArgs::default() };
    let own = args.own.then(|| own_nodes(&planned.plan));
    let verify = async {
        let verifying = Verifying {
            build: planned.start(settings, &execute, TestOptions::default()).await?,
            store: Arc::clone(&planned.store),
            variations: args.perturb.iter().flat_map(|it| it.variations()).collect(),
            runs: args.runs.into(),
        };
        verifying.run(own).await.map_err(CliError::Build)
    };
    let verification = planned.drive(verify)??;
    let Planned { workspace, store, plan, .. } = &planned;
    planned.journal.save(&verification.report)?;
    let explained = differences::explain_all(store, &verification)?;
    if args.forget {
        let untried = |it: &&Verified| matches!(it.verdict, Reproduction::Untried { .. });
        let doubted: BTreeSet<_> =
            verification.suspicious().filter(|it| !untried(it)).map(|it| it.action).collect();
        for action in &doubted {
            store.forget_result(*action)?;
        }
        History::open(workspace, store)?.doubt(&doubted)?;
    }
    let cells = cells(plan, &verification);
    if settings.json {
        differences::say_as_json(args.runs, &cells, &verification, &explained);
    } else {
        if verification.report.has_failed() {
            answer::show_failures(workspace, store, plan, &verification.report);
        }
        answer(args, &cells, &verification, &explained);
    }
    let failed = verification.report.has_failed() || verification.suspicious().next().is_some();
    planned.close(settings)?;
    Ok(if failed { ExitCode::from(exit::BUILD_FAILED) } else { exit::SUCCESS })
}

/// What running again needs.
struct Verifying {
    build: Arc<Build>,
    store: Arc<LocalStore>,
    variations: BTreeSet<Variation>,
    runs: usize,
}

/// What came of it.
pub(crate) struct Verification {
    pub(crate) report: Report,
    pub(crate) verified: Vec<Verified>,
    /// What was shown otherwise.
    pub(crate) variations: BTreeSet<Variation>,
    /// Why actions differ, by their nodes, where it was tried out.
    pub(crate) culprits: BTreeMap<NodeId, Culprits>,
}

/// What makes an action differ, as runs with one thing perturbed at a time show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Culprits {
    /// Whether it differs when nothing is perturbed.
    pub(crate) by_itself: bool,
    /// With what it differs else.
    pub(crate) variations: Vec<Variation>,
}

impl Verification {
    /// Returns the actions that did not make again what is recorded.
    pub(crate) fn suspicious(&self) -> impl Iterator<Item = &Verified> {
        self.verified.iter().filter(|it| it.verdict != Reproduction::Reproducible)
    }
}

impl Verifying {
    /// Builds what is not there yet, for that is what is compared with, and runs everything again.
    async fn run(self, own: Option<BTreeSet<NodeId>>) -> Result<Verification, Arc<BuildError>> {
        let report = Arc::clone(&self.build).run().await?;
        let is_wanted = |ran: &&Ran| {
            ran.failure.is_none() && own.as_ref().is_none_or(|own| own.contains(&ran.node))
        };
        let wanted: Vec<_> = report.ran.iter().filter(is_wanted).cloned().collect();
        let again = self.executors(self.variations.iter().copied(), self.runs);
        let verified = Arc::clone(&self.build).verify(wanted.clone(), again).await?;
        let differing: Vec<_> = wanted
            .into_iter()
            .filter(|ran| verified.iter().any(|it| it.action == ran.action && differs(it)))
            .collect();
        let culprits = self.find_culprits(&differing).await?;
        Ok(Verification { report, verified, variations: self.variations, culprits })
    }

    fn executors(
        &self,
        variations: impl IntoIterator<Item = Variation>,
        runs: usize,
    ) -> Vec<Arc<dyn executor::Executor>> {
        let perturbation = Perturbation::new(variations, SystemTime::now());
        let executor = LocalExecutor::strict(Arc::clone(&self.store));
        let perturbed: Arc<dyn executor::Executor> = Arc::new(executor.perturbed(perturbation));
        std::iter::repeat_n(perturbed, runs).collect()
    }

    /// Where several things were perturbed together, tries one at a time on what differs.
    async fn find_culprits(
        &self,
        differing: &[Ran],
    ) -> Result<BTreeMap<NodeId, Culprits>, Arc<BuildError>> {
        let mut culprits: BTreeMap<NodeId, Culprits> = BTreeMap::new();
        let beyond_time = self.variations.iter().any(|it| *it != Variation::Time);
        if differing.is_empty() || !beyond_time {
            return Ok(culprits);
        }
        // Time passes in any case.
        let alone = self.executors([Variation::Time], self.runs);
        for it in Arc::clone(&self.build).verify(differing.to_vec(), alone).await? {
            culprits.entry(it.node).or_default().by_itself = differs(&it);
        }
        let steady =
            differing.iter().filter(|ran| culprits.get(&ran.node).is_some_and(|it| !it.by_itself));
        let steady: Vec<_> = steady.cloned().collect();
        for variation in self.variations.iter().filter(|it| **it != Variation::Time) {
            let one = self.executors([*variation], self.runs);
            for it in Arc::clone(&self.build).verify(steady.clone(), one).await? {
                if differs(&it) {
                    culprits.entry(it.node).or_default().variations.push(*variation);
                }
            }
        }
        Ok(culprits)
    }
}

fn differs(verified: &Verified) -> bool {
    verified.verdict != Reproduction::Reproducible
}

/// Returns the nodes that make the goals' outputs themselves: behind trees that only put them together.
pub(crate) fn own_nodes(plan: &Plan) -> BTreeSet<NodeId> {
    let mut own = BTreeSet::new();
    let goals = plan.goals.iter().filter(|goal| goal.is_wanted());
    let mut pending: Vec<_> =
        goals.flat_map(|goal| goal.outputs.iter().map(|(_, artifact)| artifact.node)).collect();
    while let Some(node) = pending.pop() {
        if own.insert(node) && matches!(plan.graph.node(node), Node::Tree(_)) {
            pending.extend(plan.graph.node(node).needs().map(|it| it.node));
        }
    }
    own
}

/// Returns everything that a goal is made of.
fn closure(graph: &Graph, goal: &Goal) -> BTreeSet<NodeId> {
    let mut closure = BTreeSet::new();
    let mut pending: Vec<_> = goal.outputs.iter().map(|(_, artifact)| artifact.node).collect();
    while let Some(node) = pending.pop() {
        if closure.insert(node) {
            pending.extend(graph.node(node).needs().map(|it| it.node));
        }
    }
    closure
}

/// Returns each goal and what is to be said of it.
fn cells<'a>(plan: &'a Plan, verification: &Verification) -> Vec<(&'a Goal, &'static str)> {
    // An action can be that of many nodes; it was run again for one of them.
    let verdicts: BTreeMap<_, _> =
        verification.verified.iter().map(|it| (it.action, &it.verdict)).collect();
    let actions: BTreeMap<_, _> =
        verification.report.ran.iter().map(|ran| (ran.node, ran.action)).collect();
    let word = |(goal, status): (&Goal, &GoalStatus)| match status {
        GoalStatus::Excluded => "excluded",
        GoalStatus::Unavailable(_) => "unavailable",
        GoalStatus::ExpectedFailure(_) => "xfail",
        GoalStatus::UnexpectedPass => "xpass",
        GoalStatus::Failed(_) | GoalStatus::Skipped => "failed",
        GoalStatus::Built | GoalStatus::Cached => {
            let nodes = closure(&plan.graph, goal);
            let found: Vec<_> =
                nodes.iter().filter_map(|node| verdicts.get(actions.get(node)?).copied()).collect();
            worst(&found)
        }
    };
    let statuses = verification.report.goals.iter().map(|outcome| &outcome.status);
    plan.goals.iter().zip(statuses).map(|(goal, status)| (goal, word((goal, status)))).collect()
}

fn worst(verdicts: &[&Reproduction]) -> &'static str {
    if verdicts.iter().any(|it| matches!(it, Reproduction::Failed { .. })) {
        "failed"
    } else if verdicts.iter().any(|it| matches!(it, Reproduction::Differs { .. })) {
        "differs"
    } else if verdicts.iter().any(|it| matches!(it, Reproduction::Untried { .. })) {
        "untried"
    } else {
        "reproducible"
    }
}

fn answer(
    args: &VerifyArgs,
    cells: &[(&Goal, &'static str)],
    verification: &Verification,
    explained: &[Explained<'_>],
) {
    let paint = Paint::for_stdout();
    for it in explained {
        differences::say_one(paint, args.runs, verification, it);
    }
    let width = "reproducible".len();
    for (goal, word) in cells {
        let text = format!("{word:<width$}");
        let text = match *word {
            "reproducible" => paint.green(&text),
            "excluded" | "xfail" | "unavailable" => paint.dim(&text),
            _ => paint.red(&text),
        };
        say(&format!("{text}  {}{}", goal.label, goal.cell));
    }
    let all = verification.verified.len();
    let wrong = verification.suspicious().count();
    let forgotten = if args.forget && wrong > 0 { "; their results are forgotten" } else { "" };
    let names: Vec<_> = verification.variations.iter().map(|it| it.name()).collect();
    let shown =
        if names.is_empty() { String::new() } else { format!(", perturbed: {}", names.join(", ")) };
    say(&format!(
        "{} run again {}{shown}: {} reproducible, {wrong} not{forgotten}",
        count(all as u64, "action"),
        if args.runs == 1 { "once".to_owned() } else { format!("{} times", args.runs) },
        all - wrong,
    ));
}
