//! `bld cache`: what the store holds, and making it smaller and right; the store of this machine, or that of a server.

mod remote;
mod server;

use std::process::ExitCode;
use std::sync::Arc;

use model::DigestFunction;
use serde_json::json;
use store::LocalStore;

use crate::error::CliError;
use crate::exit;
use crate::history::{self, builds};
use crate::settings::Settings;
use crate::sharing::AskedArgs;
use crate::size::ByteSize;
use crate::terminal::{say, say_json};

/// How many builds count as the last ones.
const LAST_BUILDS: usize = 10;

#[derive(Debug, clap::Subcommand)]
pub(crate) enum CacheCommand {
    /// Say what the store holds and what it saved
    Stat {
        /// The store of this server instead; without URL, that of where results are shared
        #[arg(long, value_name = "URL", num_args = 0..=1, default_missing_value = "")]
        remote: Option<String>,
    },
    /// Bring the store down to a size
    Gc {
        /// To how much [default: the budget]
        #[arg(long, value_name = "SIZE")]
        to: Option<ByteSize>,
    },
    /// Hash everything again and set aside what is wrong
    Verify,
    /// Take something out of a server's store
    Purge(remote::PurgeArgs),
    /// Have a server verify its store
    Scrub(remote::ScrubArgs),
}

pub(crate) fn run(settings: &Settings, command: &CacheCommand) -> Result<ExitCode, CliError> {
    match command {
        CacheCommand::Stat { remote: remote @ Some(_) } => {
            remote::stat(settings, &AskedArgs { remote: remote.clone() })
        }
        CacheCommand::Purge(args) => remote::purge(settings, args),
        CacheCommand::Scrub(args) => remote::scrub(settings, args),
        CacheCommand::Stat { remote: None } => stat(settings, &*open(settings)?),
        CacheCommand::Gc { to } => collect(settings, &*open(settings)?, *to),
        CacheCommand::Verify => verify(settings, &*open(settings)?),
    }
}

fn open(settings: &Settings) -> Result<Arc<LocalStore>, CliError> {
    // Which function names new blobs does not matter here: nothing is written.
    settings.open_store(DigestFunction::Blake3)
}

fn collect(
    settings: &Settings,
    store: &LocalStore,
    to: Option<ByteSize>,
) -> Result<ExitCode, CliError> {
    let budget = to.map_or(settings.store_budget, |size| size.0);
    let collected = history::collect(store, budget)?;
    let freed = collected.bytes_before - collected.bytes_after;
    if settings.json {
        say_json(&json!({
            "bytes_before": collected.bytes_before,
            "bytes_after": collected.bytes_after,
            "blobs_removed": collected.blobs_removed,
            "trees_removed": collected.trees_removed,
            "results_removed": collected.results_removed,
        }));
    } else {
        say(&format!(
            "freed {} ({} blobs, {} trees, {} results); {} remain",
            ByteSize(freed),
            collected.blobs_removed,
            collected.trees_removed,
            collected.results_removed,
            ByteSize(collected.bytes_after)
        ));
    }
    Ok(exit::SUCCESS)
}

fn stat(settings: &Settings, store: &LocalStore) -> Result<ExitCode, CliError> {
    let stat = store.stat()?;
    let records = builds(store)?;
    let last = &records[records.len().saturating_sub(LAST_BUILDS)..];
    let sum = |of: fn(&history::BuildRecord) -> u64| last.iter().map(of).sum::<u64>();
    let (hits, misses) = (sum(|it| it.hits), sum(|it| it.misses));
    let saved: f64 = records.iter().map(|it| it.cpu_seconds_saved).sum();
    let spent: f64 = records.iter().map(|it| it.cpu_seconds_spent).sum();
    let ratio = ratio(stat.logical_bytes, stat.physical_bytes);
    if settings.json {
        say_json(&json!({
            "store": store.root(),
            "blobs": stat.blobs,
            "trees": stat.trees,
            "actions": stat.results,
            "failures": stat.failures,
            "logical_bytes": stat.logical_bytes,
            "physical_bytes": stat.physical_bytes,
            "deduplication_ratio": ratio,
            "last_builds": last.len(),
            "hits": hits,
            "misses": misses,
            "cpu_seconds_saved": saved,
            "cpu_seconds_spent": spent,
        }));
        return Ok(exit::SUCCESS);
    }
    let line = |name: &str, value: String| say(&format!("{name:<22} {value}"));
    line("store", store.root().display().to_string());
    line("blobs", stat.blobs.to_string());
    line("trees", stat.trees.to_string());
    line("actions", format!("{} ({} remembered failures)", stat.results, stat.failures));
    line("logical bytes", ByteSize(stat.logical_bytes).to_string());
    line("physical bytes", ByteSize(stat.physical_bytes).to_string());
    line("de-duplication", format!("{ratio:.1}×"));
    line("last builds", format!("{} with {hits} hits and {misses} misses", last.len()));
    line("CPU seconds", format!("{saved:.1} saved, {spent:.1} spent"));
    Ok(exit::SUCCESS)
}

#[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
fn ratio(logical: u64, physical: u64) -> f64 {
    if physical == 0 { 1.0 } else { logical as f64 / physical as f64 }
}

fn verify(settings: &Settings, store: &LocalStore) -> Result<ExitCode, CliError> {
    let verified = store.verify()?;
    if settings.json {
        say_json(&json!({
            "blobs": verified.blobs,
            "trees": verified.trees,
            "actions": verified.results,
            "bytes": verified.bytes,
            "quarantined": verified.quarantined,
        }));
    } else {
        for path in &verified.quarantined {
            say(&format!("quarantined {}", path.display()));
        }
        say(&format!(
            "{} blobs ({}), {} trees and {} actions verified; {} quarantined",
            verified.blobs,
            ByteSize(verified.bytes),
            verified.trees,
            verified.results,
            verified.quarantined.len()
        ));
    }
    let wrong = !verified.quarantined.is_empty();
    Ok(if wrong { ExitCode::from(exit::INFRASTRUCTURE) } else { exit::SUCCESS })
}
