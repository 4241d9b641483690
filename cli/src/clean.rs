//! `bld clean`.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::process::ExitCode;

use model::DigestFunction;

use crate::args::CleanArgs;
use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::size::ByteSize;
use crate::terminal::say;
use crate::workspace::OpenWorkspace;

pub(crate) fn run(settings: &Settings, args: &CleanArgs) -> Result<ExitCode, CliError> {
    if args.store {
        let store = settings.open_store(DigestFunction::Blake3)?;
        // Through the collector, so that what running builds use stays.
        store.set_no_roots()?;
        let collected = store.collect(0)?;
        let freed = collected.bytes_before - collected.bytes_after;
        say(&format!("emptied the store: freed {}", ByteSize(freed)));
        return Ok(exit::SUCCESS);
    }
    let workspace = OpenWorkspace::find(settings)?;
    let output = workspace.output();
    remove(&output)?;
    say(&format!("removed {}", output.display()));
    Ok(exit::SUCCESS)
}

fn remove(path: &Path) -> Result<(), CliError> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(CliError::disk("remove", path)(error))
        }
        _ => Ok(()),
    }
}
