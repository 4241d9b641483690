//! The door: words in, words out; the only place that stacks the parts.

mod args;
mod build;
mod cache;
mod clean;
mod doctor;
mod error;
mod exit;
mod grid;
mod interrupt;
mod lock;
mod log;
mod made;
mod output;
mod outside;
mod progress;
mod record;
mod rules;
mod settings;
mod size;
mod terminal;
mod unpack;
mod workspace;

use clap::{CommandFactory as _, Parser as _};

use args::{Args, Command};
use error::CliError;
use settings::Settings;

fn main() -> std::process::ExitCode {
    // Both become another kind of process and never return; nothing may have been started before.
    executor::sandbox::run_if_asked();
    unpack::run_if_asked();

    let args = Args::parse();
    let json = args.json;
    match run(args) {
        Ok(code) => code,
        Err(error) => {
            terminal::report(&error, json);
            error.exit_code()
        }
    }
}

fn run(args: Args) -> Result<std::process::ExitCode, CliError> {
    let settings = Settings::from_args(&args)?;
    match args.command {
        Command::Build(args) => build::run(&settings, &args),
        Command::Lock(args) => lock::run(&settings, &args),
        Command::Log(args) => log::run(&settings, &args),
        Command::Cache(command) => cache::run(&settings, &command),
        Command::Doctor => doctor::run(&settings),
        Command::Clean(args) => clean::run(&settings, &args),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "bld", &mut script);
            terminal::say(String::from_utf8_lossy(&script).trim_end());
            Ok(exit::SUCCESS)
        }
    }
}
