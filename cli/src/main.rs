//! The door: words in, words out; the only place that stacks the parts.

mod args;
mod choices;
mod ci;
mod command;
mod complete;
mod error;
mod exit;
mod grid;
mod interrupt;
mod lockfile;
mod made;
mod output;
mod outside;
mod painter;
mod planned;
mod progress;
mod record;
mod rules;
mod settings;
mod size;
mod terminal;
mod unpack;
mod watch;
mod workspace;

use clap::Parser as _;

use args::{Args, Command};
use command::{build, cache, clean, completions, config, doctor, init, lock, log, man};
use error::CliError;
use settings::Settings;

fn main() -> std::process::ExitCode {
    // Both become another kind of process and never return; nothing may have been started before.
    executor::sandbox::run_if_asked();
    unpack::run_if_asked();

    complete::answer_if_asked();
    let args = Args::parse();
    let (json, directory) = (args.json, args.directory.clone());
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            terminal::report(&error, json);
            terminal::annotate(&error, directory.as_deref());
            error.exit_code()
        }
    }
}

fn run(args: Args) -> Result<std::process::ExitCode, CliError> {
    let settings = Settings::from_args(&args)?;
    match args.command {
        Command::Init(args) => init::run(&settings, &args),
        Command::Build(args) => build::run(&settings, &args),
        Command::Lock(args) => lock::run(&settings, &args),
        Command::Log(args) => log::run(&settings, &args),
        Command::Cache(command) => cache::run(&settings, &command),
        Command::Doctor => doctor::run(&settings),
        Command::Clean(args) => clean::run(&settings, &args),
        Command::Config(command) => config::run(&settings, &command),
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Man(args) => man::run(&settings, &args),
    }
}
