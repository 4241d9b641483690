//! Parts that this very program plays as a child of a test: a `bld` that can be killed, or counted alone.

use std::path::Path;
use std::process::{Command, ExitCode};

use executor::Rung;

use crate::support::World;

/// The variable that names the part.
const ROLE: &str = "BLD_IT_ROLE";

/// How many actions the busy one runs.
const ACTIONS: usize = 100;

/// Plays the part that the environment names, if it names one.
pub(crate) fn play_if_asked() -> Option<ExitCode> {
    let role = std::env::var(ROLE).ok()?;
    let rung = match std::env::var("BLD_IT_RUNG").unwrap().as_str() {
        "Root" => Rung::Root,
        "UserNamespace" => Rung::UserNamespace,
        other => panic!("no rung {other}"),
    };
    let world = World::new(rung);
    match role.as_str() {
        "long" => {
            let script = std::env::var("BLD_IT_SCRIPT").unwrap();
            let output = std::env::var("BLD_IT_OUTPUT").unwrap_or("out/none".to_owned());
            // Nothing is kept ready for who only ever runs one action.
            assert_eq!(world.sh("true").says(), "");
            world.sh(&script).output(&output).says();
        }
        "busy" => (0..ACTIONS).for_each(|_| assert_eq!(world.sh("true").says(), "")),
        other => panic!("no role {other}"),
    }
    Some(ExitCode::SUCCESS)
}

/// A `bld` that runs a small action and then this one, with its store below `folder`.
pub(crate) fn long_action(rung: Rung, folder: &Path, script: &str) -> Command {
    let mut command = role("long", rung, folder);
    command.env("BLD_IT_SCRIPT", script);
    command
}

/// A `bld` that runs many small actions.
pub(crate) fn many_actions(rung: Rung, folder: &Path) -> Command {
    role("busy", rung, folder)
}

fn role(name: &str, rung: Rung, folder: &Path) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.env(ROLE, name).env("BLD_IT_RUNG", format!("{rung:?}")).env("TMPDIR", folder);
    command
}
