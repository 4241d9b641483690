//! `bld completions`.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::exit;
use crate::terminal::say;

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> ExitCode {
    match args.shell {
        Shell::Bash => say(include_str!("../complete/bld.bash").trim_end()),
        Shell::Fish => say(include_str!("../complete/bld.fish").trim_end()),
        Shell::Zsh => say(include_str!("../complete/bld.zsh").trim_end()),
        // The others get what is the same in every workspace: commands and options.
        other => {
            let mut script = Vec::new();
            clap_complete::generate(other, &mut Args::command(), "bld", &mut script);
            say(String::from_utf8_lossy(&script).trim_end());
        }
    }
    exit::SUCCESS
}
