//! `bld clean`.

use std::process::ExitCode;

use serde_json::json;

use crate::error::CliError;
use crate::exit;
use crate::results::remove;
use crate::settings::Settings;
use crate::size::ByteSize;
use crate::terminal::{say, say_json};
use crate::workspace::OpenWorkspace;

#[derive(Debug, clap::Args)]
pub(crate) struct CleanArgs {
    /// Empty the store, too, of what no running build uses
    #[arg(long)]
    pub(crate) cache: bool,
}

pub(crate) fn run(settings: &Settings, args: &CleanArgs) -> Result<ExitCode, CliError> {
    let workspace = OpenWorkspace::find(settings)?;
    let output = workspace.output();
    if output.exists() {
        let _alone = workspace.alone("writing")?;
        remove(&output)?;
    }
    let freed = args.cache.then(|| empty_store(settings, &workspace)).transpose()?;
    if settings.json {
        say_json(&json!({ "removed": output, "bytes_freed": freed }));
        return Ok(exit::SUCCESS);
    }
    say(&format!("removed {}", output.display()));
    if let Some(bytes) = freed {
        say(&format!("emptied the store: freed {}", ByteSize(bytes)));
    }
    Ok(exit::SUCCESS)
}

/// Through the collector, so that what running builds use stays; returns how many bytes went.
fn empty_store(settings: &Settings, workspace: &OpenWorkspace) -> Result<u64, CliError> {
    let store = settings.open_store(workspace.config.function)?;
    store.set_no_roots()?;
    let collected = store.collect(0)?;
    Ok(collected.bytes_before - collected.bytes_after)
}
