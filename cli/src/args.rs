//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::command::{build, cache, clean, completions, config, init, lock, log, man};
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
    /// Pin the outside world: resolve and download what the workspace asks for
    Lock(lock::LockArgs),
    /// Show what the last run of a target's actions wrote
    Log(log::LogArgs),
    /// Look at the store, shrink it, verify it
    #[command(subcommand)]
    Cache(cache::CacheCommand),
    /// Say what this machine can do, what is degraded, and how to mend it
    Doctor,
    /// Remove bld-out
    Clean(clean::CleanArgs),
    /// Say what is chosen where, and who chose it
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Print a completion script
    Completions(completions::CompletionsArgs),
    /// Write manual pages
    Man(man::ManArgs),
}
