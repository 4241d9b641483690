//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::command::{
    affected, bench, build, builds, cache, clean, completions, config, diff, failures, init, lock,
    log, man, plan, query, run, server, shell, test, verify, why,
};
use crate::size::ByteSize;

/// Builds kernel drivers, packages and images; runs only what nobody ever ran.
#[derive(Debug, Parser)]
#[command(name = "bld", version, max_term_width = 100)]
pub(crate) struct Args {
    /// Work as if started in this folder
    #[arg(short = 'C', long = "directory", value_name = "DIR", global = true)]
    pub(crate) directory: Option<PathBuf>,

    /// Answer in JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Where the store is [default: ~/.cache/bld]
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) store: Option<PathBuf>,

    /// How large the store may be after a build, beyond what running builds use [default: 40 GiB]
    #[arg(long, value_name = "SIZE", global = true)]
    pub(crate) store_budget: Option<ByteSize>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Begin a workspace: write one that builds
    Init(init::InitArgs),
    /// Build what the patterns stand for
    Build(build::BuildArgs),
    /// Run the tests among what the patterns stand for
    Test(test::TestArgs),
    /// Build a program and become it
    Run(run::RunArgs),
    /// Open a shell in the exact sandbox of an action
    Shell(shell::ShellArgs),
    /// Run actions again and compare what they make with what is recorded
    Verify(verify::VerifyArgs),
    /// Say what a build would run, before anything runs; or divide it among CI runners
    Plan(plan::PlanArgs),
    /// Ask what depends on what
    Query(query::QueryArgs),
    /// List what a git change affects
    Affected(affected::AffectedArgs),
    /// Pin the outside world: resolve and download what the workspace asks for
    Lock(lock::LockArgs),
    /// Say why a target's actions ran
    Why(why::WhyArgs),
    /// Show what the last run of a target's actions wrote
    Log(log::LogArgs),
    /// List the builds of this workspace
    Builds(builds::BuildsArgs),
    /// Say in what the keys of two builds differ
    Diff(diff::DiffArgs),
    /// Say which targets are known to fail, without running anything
    Failures(failures::FailuresArgs),
    /// Look at the store, shrink it, verify it; or that of a server
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Measure servers
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// Serve a cache that others share, and say who they are and what they may do
    Server(server::ServerArgs),
    /// Say what this machine can do, what is degraded, and how to mend it
    Doctor,
    /// Say what is chosen where, and who chose it
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script
    Completions(completions::CompletionsArgs),
    /// Write manual pages
    Man(man::ManArgs),
    /// Remove bld-out
    Clean(clean::CleanArgs),
}
