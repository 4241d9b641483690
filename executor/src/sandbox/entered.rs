//! A session in the sandbox of an action: a shell or another command, maybe after the action's own.

use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::command::Streams;
use super::init::{NO_SHELL, null, run_to_end, step};
use super::spec::{Beginning, Outcome, SetupFailure, Spec};
use crate::Session;

/// The shell of the build root.
const SHELL: &str = "/bin/sh";

/// Where a session finds the action's command.
const SCRIPT: &str = "/tmp/bld-command";

/// Runs a session and returns how it ended.
pub(super) fn run(
    beginning: &Beginning,
    spec: &Spec,
    session: &Session,
    mut streams: Streams,
) -> Result<Outcome, SetupFailure> {
    if session.command.is_none() {
        fs::metadata(SHELL).map_err(step(NO_SHELL))?;
    }
    if session.after_command {
        let shared = Streams {
            stdin: null()?,
            stdout: streams.stdout.try_clone().map_err(step("sharing the terminal"))?,
            stderr: streams.stderr.try_clone().map_err(step("sharing the terminal"))?,
            are_terminal: false,
        };
        let time = Duration::from_millis(spec.time_ms);
        let outcome = run_to_end(beginning, spec, &spec.arguments, shared, time)?;
        tell(&mut streams.stderr, &outcome);
    }
    streams.are_terminal = session.on_terminal;
    write_script(spec).map_err(step("writing down the action's command"))?;
    let arguments = session.command.clone().unwrap_or_else(|| vec![SHELL.to_owned()]);
    // Whoever looks around is not stopped; closing the terminal, or bld, ends it.
    run_to_end(beginning, spec, &arguments, streams, Duration::MAX)
}

/// Says how the action's command ended, to whoever looks at the session.
fn tell(stderr: &mut File, outcome: &Outcome) {
    let how = match (outcome.exit_code, outcome.signal) {
        _ if outcome.timed_out => "was stopped: its time was up".to_owned(),
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    // A terminal that is gone ends the session soon enough.
    let _ = writeln!(stderr, "bld: the action's command {how}");
}

/// Writes the action's command down as a script, for whoever is in the session to run it.
fn write_script(spec: &Spec) -> io::Result<()> {
    let words: Vec<_> = spec.arguments.iter().map(|word| quote(word)).collect();
    fs::write(SCRIPT, format!("#!/bin/sh\nexec {}\n", words.join(" ")))?;
    fs::set_permissions(SCRIPT, Permissions::from_mode(0o755))
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}
