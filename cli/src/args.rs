//! What can be typed.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

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
    #[arg(long, value_name = "DIR", env = "BLD_STORE", global = true)]
    pub(crate) store: Option<PathBuf>,

    /// How large the store may be after a build, beyond what running builds use
    #[arg(
        long,
        value_name = "SIZE",
        env = "BLD_STORE_BUDGET",
        default_value = "40 GiB",
        global = true
    )]
    pub(crate) store_budget: ByteSize,

    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build what the patterns stand for
    Build(BuildArgs),
    /// Pin the outside world: resolve and download what the workspace asks for
    Lock(LockArgs),
    /// Show what the last run of a target's actions wrote
    Log(LogArgs),
    /// Look at the store, shrink it, verify it
    #[command(subcommand)]
    Cache(CacheCommand),
    /// Say what this machine can do, what is degraded, and how to mend it
    Doctor,
    /// Remove bld-out
    Clean(CleanArgs),
    /// Print a completion script
    Completions {
        /// For which shell
        shell: clap_complete::Shell,
    },
}

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "flags that were typed or not")]
pub(crate) struct BuildArgs {
    /// Targets: //pkg:name, //pkg:all, //pkg/..., //..., each maybe with {axis=value}
    #[arg(required = true, value_name = "PATTERN")]
    pub(crate) patterns: Vec<String>,

    /// How many actions run at once [default: the machine's cores]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) jobs: Option<u16>,

    /// How to isolate actions
    #[arg(long, value_enum, default_value_t = SandboxArg::Strict)]
    pub(crate) sandbox: SandboxArg,

    /// Do not change bld.lock; fail if it would have to
    #[arg(long)]
    pub(crate) locked: bool,

    /// Do not download
    #[arg(long)]
    pub(crate) offline: bool,

    /// Go on after failures with what does not depend on them (this is the default)
    #[arg(long, overrides_with = "fail_fast")]
    pub(crate) keep_going: bool,

    /// Begin nothing more after the first failure
    #[arg(long)]
    pub(crate) fail_fast: bool,

    /// Run actions again that are remembered as failed
    #[arg(long)]
    pub(crate) retry_failed: bool,

    /// Give a setting of bld.toml a value
    #[arg(long = "set", value_name = "NAME=VALUE")]
    pub(crate) settings: Vec<String>,

    /// Stop an action that runs longer, in seconds
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) timeout: Option<u64>,
}

/// How actions are isolated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum SandboxArg {
    /// In namespaces, or not at all
    Strict,
    /// Only what needs no build root; results are not recorded
    None,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LockArgs {
    /// Do not change bld.lock; fail if it would have to
    #[arg(long)]
    pub(crate) locked: bool,

    /// Do not download
    #[arg(long)]
    pub(crate) offline: bool,
}

#[derive(Debug, clap::Args)]
pub(crate) struct LogArgs {
    /// A target, maybe with {axis=value}
    #[arg(value_name = "LABEL")]
    pub(crate) pattern: String,
}

#[derive(Debug, Subcommand)]
pub(crate) enum CacheCommand {
    /// Say what the store holds and what it saved
    Stat,
    /// Bring the store down to a size
    Gc {
        /// To how much [default: the budget]
        #[arg(long, value_name = "SIZE")]
        to: Option<ByteSize>,
    },
    /// Hash everything again and set aside what is wrong
    Verify,
}

#[derive(Debug, clap::Args)]
pub(crate) struct CleanArgs {
    /// Empty the store, too, of what no running build uses
    #[arg(long)]
    pub(crate) cache: bool,
}
