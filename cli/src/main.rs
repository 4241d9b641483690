//! The door: words in, words out; the only place that stacks the parts.

mod answer;
mod args;
mod carried;
mod choices;
mod ci;
mod clock;
mod coming;
mod command;
mod complete;
mod costs;
mod differences;
mod elsewhere;
mod error;
mod exit;
mod forecast;
mod git;
mod grid;
mod history;
mod interrupt;
mod junit;
mod lockfile;
mod made;
mod nearly;
mod nobody;
mod output;
mod outside;
mod painter;
mod plain;
mod planned;
mod progress;
mod pty;
mod receipts;
mod replace;
mod results;
mod rules;
mod settings;
mod sharing;
mod size;
mod terminal;
mod testing;
mod unpack;
mod watch;
mod workspace;
mod written;

use clap::Parser as _;
use mimalloc::MiMalloc;

use args::{Args, Command};
use command::{
    affected, bench, build, builds, cache, clean, completions, config, diff, doctor, failures,
    init, lock, log, man, plan, query, run as run_command, server, shell, test, verify, why,
};
use error::CliError;
use settings::Settings;

/// Loading and analysis make and drop many small values: with the system's allocator they take half as long again.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

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
        Command::Builds(args) => builds::run(&settings, &args),
        Command::Diff(args) => diff::run(&settings, &args),
        Command::Failures(args) => failures::run(&settings, &args),
        Command::Test(args) => test::run(&settings, &args),
        Command::Run(args) => run_command::run(&settings, &args),
        Command::Shell(args) => shell::run(&settings, &args),
        Command::Verify(args) => verify::run(&settings, &args),
        Command::Lock(args) => lock::run(&settings, &args),
        Command::Affected(args) => affected::run(&settings, &args),
        Command::Log(args) => log::run(&settings, &args),
        Command::Query(args) => query::run(&settings, &args),
        Command::Plan(args) => plan::run(&settings, &args),
        Command::Bench(command) => bench::run(&settings, &command),
        Command::Cache(command) => cache::run(&settings, &command),
        Command::Server(args) => server::run(&settings, &args),
        Command::Doctor => doctor::run(&settings),
        Command::Clean(args) => clean::run(&settings, &args),
        Command::Config(command) => config::run(&settings, &command),
        Command::Completions(args) => Ok(completions::run(&args)),
        Command::Why(args) => why::run(&settings, &args),
        Command::Man(args) => man::run(&settings, &args),
    }
}
