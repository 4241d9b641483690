//! `bld completions`.

use std::process::ExitCode;

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::exit;
use crate::terminal::say;

/// The shells that ask `bld`; the others get what is the same in every workspace: commands and options.
const SCRIPTS: [(Shell, &str); 3] = [
    (Shell::Bash, include_str!("../complete/bld.bash")),
    (Shell::Fish, include_str!("../complete/bld.fish")),
    (Shell::Zsh, include_str!("../complete/bld.zsh")),
];

#[derive(Debug, clap::Args)]
pub(crate) struct CompletionsArgs {
    /// For which shell
    shell: Shell,
}

pub(crate) fn run(args: &CompletionsArgs) -> ExitCode {
    if let Some((_, script)) = SCRIPTS.iter().find(|(shell, _)| *shell == args.shell) {
        say(script.trim_end());
    } else {
        let mut script = Vec::new();
        clap_complete::generate(args.shell, &mut Args::command(), "bld", &mut script);
        say(String::from_utf8_lossy(&script).trim_end());
    }
    exit::SUCCESS
}
