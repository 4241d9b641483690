//! `bld query`: what depends on what, among targets or among actions.

use std::process::ExitCode;
use std::sync::Arc;

use clap::ValueEnum;
use engine::query::{Atoms, Query, QueryGraph};
use engine::{Pattern, Plan};
use serde::Serialize;

use crate::error::CliError;
use crate::exit;
use crate::planned::{Planned, SelectArgs};
use crate::settings::Settings;
use crate::terminal::{say, say_serialized};
use crate::workspace::OpenWorkspace;

#[derive(Debug, clap::Args)]
pub(crate) struct QueryArgs {
    /// The question: a pattern, a path, or deps(x), rdeps(universe, x), somepath(a, b), allpaths(a, b), kind(regex, x),
    /// attr(name, regex, x), filter(regex, x), set(a b …); with +, -, ^ and parentheses
    #[arg(value_name = "EXPRESSION")]
    pub(crate) expression: String,

    /// Ask about actions instead of targets
    #[arg(long)]
    pub(crate) actions: bool,

    /// How to answer
    #[arg(long, value_enum, default_value_t = OutputArg::Label)]
    pub(crate) output: OutputArg,

    #[command(flatten)]
    pub(crate) select: SelectArgs,
}

/// How an answer looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum OutputArg {
    /// A name in each line
    Label,
    /// What is known of each, and what it needs
    Json,
    /// A graph for graphviz
    Dot,
}

pub(crate) fn run(settings: &Settings, args: &QueryArgs) -> Result<ExitCode, CliError> {
    let query = Query::parse(&args.expression)?;
    let workspace = OpenWorkspace::find(settings)?;
    let targets = workspace.engine().targets()?;
    let here = workspace.here.clone();
    let atoms = Atoms::new(&targets, &here);
    if !args.actions {
        let graph = QueryGraph::of_targets(&targets);
        let answer = query.answer(&graph, &|text| atoms.targets(&graph, text))?;
        show(settings, args, &graph, &answer);
        return Ok(exit::SUCCESS);
    }
    // What cannot be parsed or is not there is shown in its place by the answer.
    let patterns = atoms.patterns(&query).unwrap_or_default();
    let known = patterns.into_iter().filter(|pattern| {
        let is_there = |target: &engine::TargetInfo| pattern.targets.covers(&target.label);
        targets.iter().any(is_there)
    });
    let known: Vec<Pattern> = known.collect();
    let planned = Planned::of(settings, workspace, &known, &args.select)?.with_tests();
    let plan: Arc<Plan> = Arc::clone(&planned.plan);
    let graph = QueryGraph::of_actions(&plan);
    let answer = query.answer(&graph, &|text| atoms.actions(&graph, &plan, text))?;
    show(settings, args, &graph, &answer);
    planned.close(settings)?;
    Ok(exit::SUCCESS)
}

#[derive(Serialize)]
struct NodeJson<'a> {
    name: &'a str,
    kind: &'a str,
    attrs: &'a std::collections::BTreeMap<String, serde_json::Value>,
    deps: Vec<&'a str>,
}

fn show(settings: &Settings, args: &QueryArgs, graph: &QueryGraph, answer: &[usize]) {
    let output = if settings.json { OutputArg::Json } else { args.output };
    match output {
        OutputArg::Label => answer.iter().for_each(|node| say(&graph.node(*node).name)),
        OutputArg::Dot => say(graph.dot(answer).trim_end()),
        OutputArg::Json => {
            let node = |number: &usize| {
                let node = graph.node(*number);
                let deps = graph.deps(*number).map(|it| graph.node(it).name.as_str());
                NodeJson {
                    name: &node.name,
                    kind: &node.kind,
                    attrs: &node.attrs,
                    deps: deps.collect(),
                }
            };
            say_serialized(&answer.iter().map(node).collect::<Vec<_>>());
        }
    }
}
