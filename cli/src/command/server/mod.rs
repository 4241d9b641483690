//! `bld server`: the cache that others share, and who may use it.

mod ca;
mod grant;
mod serve;
mod token;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use cas_server::{CONFIG_FILE, Config};

use crate::choices::{Origin, folder};
use crate::error::CliError;
use crate::settings::Settings;
use crate::size::ByteSize;
use crate::terminal::say;

#[derive(Debug, clap::Args)]
pub(crate) struct ServerArgs {
    /// The server's configuration [default: bld-server.toml, if it is here]
    #[arg(long, value_name = "FILE", global = true)]
    config: Option<PathBuf>,

    #[command(subcommand)]
    command: Option<ServerCommand>,
}

#[derive(Debug, clap::Subcommand)]
pub(crate) enum ServerCommand {
    /// Make, list and revoke the tokens by which callers are known
    #[command(subcommand)]
    Token(token::TokenCommand),
    /// Issue, list and revoke certificates for servers and for those who call them
    Ca(ca::CaArgs),
}

pub(crate) fn run(settings: &Settings, args: &ServerArgs) -> Result<ExitCode, CliError> {
    let config = read_config(settings, args.config.as_deref())?;
    let Some(command) = &args.command else { return serve::run(settings, &config) };
    match command {
        ServerCommand::Token(command) => token::run(settings, &config, command),
        ServerCommand::Ca(args) => ca::run(settings, &config, args),
    }
}

/// Returns how the server is configured: by the file that is named, by the one that is here, or by none. Where its store is
/// and how large that may be, flags say before it. The store of this machine's builds, of which the environment speaks, is
/// another.
fn read_config(settings: &Settings, named: Option<&Path>) -> Result<Config, CliError> {
    let flag = |key| {
        let said = settings.choices.all(key).first();
        said.is_some_and(|it| matches!(it.origin, Origin::Flag(_)))
    };
    let store = flag("store").then(|| settings.store()).transpose()?;
    let budget = flag("store_budget").then_some(ByteSize(settings.store_budget));
    Ok(read_file(settings, named)?.with_store(store, budget)?)
}

fn read_file(settings: &Settings, named: Option<&Path>) -> Result<Config, CliError> {
    let root = cas_server::default_root(folder("XDG_DATA_HOME"), folder("HOME"));
    let here = || Some(settings.directory.join(CONFIG_FILE)).filter(|path| path.exists());
    let file = named.map(|path| settings.directory.join(path)).or_else(here);
    match (file, root) {
        (Some(file), root) => Ok(Config::read(&file, root.as_deref())?),
        (None, Some(root)) => Ok(Config::zero(&root)),
        (None, None) => Err(cas_server::ConfigError::NoRoot.into()),
    }
}

/// Prints rows, each column as wide as the widest of its cells.
fn table<const COLUMNS: usize>(rows: &[[String; COLUMNS]]) {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: [usize; COLUMNS] = std::array::from_fn(width);
    for row in rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}"));
        say(cells.collect::<Vec<_>>().join("  ").trim_end());
    }
}
