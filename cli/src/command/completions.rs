//! `bld completions`.

use std::process::ExitCode;

use clap::CommandFactory as _;

use crate::args::Args;
use crate::exit;
use crate::terminal;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    shell: clap_complete::Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> ExitCode {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "bld", &mut script);
    terminal::say(String::from_utf8_lossy(&script).trim_end());
    exit::SUCCESS
}
