//! `bld man`: manual pages, made from what can be typed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Command, CommandFactory as _};
use clap_mangen::Man;
use serde_json::json;

use crate::args::Args;
use crate::error::CliError;
use crate::exit;
use crate::settings::Settings;
use crate::terminal::{count, say, say_json};

#[derive(Debug, clap::Args)]
pub(crate) struct ManArgs {
    /// The folder to write them into
    #[arg(value_name = "DIR", default_value = ".")]
    pub(crate) folder: PathBuf,
}

pub(crate) fn run(settings: &Settings, args: &ManArgs) -> Result<ExitCode, CliError> {
    let folder = settings.directory.join(&args.folder);
    fs::create_dir_all(&folder).map_err(CliError::disk("create", &folder))?;
    let mut command = Args::command();
    // Gives every command below it its whole name, and the options that all have.
    command.build();
    let mut written = Vec::new();
    write(&command, "bld", &folder, &mut written)?;
    if settings.json {
        say_json(&json!({ "written": written }));
    } else {
        let pages = count(written.len() as u64, "page");
        say(&format!("{pages} written to {}", folder.display()));
    }
    Ok(exit::SUCCESS)
}

fn write(
    command: &Command,
    name: &str,
    folder: &Path,
    written: &mut Vec<PathBuf>,
) -> Result<(), CliError> {
    let path = folder.join(format!("{name}.1"));
    let page = page(command).map_err(CliError::disk("make", &path))?;
    fs::write(&path, page).map_err(CliError::disk("write", &path))?;
    written.push(path);
    for inner in command.get_subcommands().filter(|it| it.get_name() != "help") {
        write(inner, &format!("{name}-{}", inner.get_name()), folder, written)?;
    }
    Ok(())
}

fn page(command: &Command) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    let source = concat!("bld ", env!("CARGO_PKG_VERSION"));
    // No date: the same program always writes the same pages.
    Man::new(command.clone()).manual("bld manual").source(source).date(" ").render(&mut page)?;
    Ok(page)
}
