//! Sessions: another command in the very sandbox of an action, on the caller's streams.

use std::fs::{self, File};
use std::path::Path;

use executor::{ExecuteError, Job, Limits, Rung, Session, SessionStreams};

use crate::support::{Case, World, block_on};
use crate::tests;

tests![
    a_session_sees_what_the_action_sees_and_nothing_of_it_is_kept,
    the_actions_command_can_run_first_and_what_it_leaves_is_there,
    a_session_finds_the_actions_command_written_down,
    a_build_root_without_a_shell_is_told,
];

/// Runs a session with `input` on its standard input; returns its status, standard output and standard error.
fn enter(
    world: &World,
    case: &Case<'_>,
    session: Session,
    input: &str,
) -> Result<(i32, String, String), ExecuteError> {
    let folder = world.outside();
    let file = |name: &str| folder.join(name);
    fs::write(file("in"), input).unwrap();
    let open = |path: &Path| File::create(path).unwrap().into();
    let streams = SessionStreams {
        stdin: File::open(file("in")).unwrap().into(),
        stdout: open(&file("stdout")),
        stderr: open(&file("stderr")),
    };
    let action = case.action();
    let job = Job { action: &action, command: &case.command, limits: Limits::default() };
    let code = block_on(world.executor().enter(job, &*world.store, session, streams))?;
    let read = |name: &str| fs::read_to_string(file(name)).unwrap();
    Ok((code, read("stdout"), read("stderr")))
}

fn command(words: &[&str]) -> Session {
    let command = Some(words.iter().map(|&word| word.to_owned()).collect());
    Session { command, after_command: false, on_terminal: false }
}

fn a_session_sees_what_the_action_sees_and_nothing_of_it_is_kept(rung: Rung) {
    let world = World::new(rung);
    let look = "pwd; id; uname -n; umask; env; ls /; ls /src; cat /proc/net/dev; ls -l /proc/self/fd | wc -l";
    let case = world.sh(look).at("src", world.tree(&[("a", "text")])).output("out/x");
    let usual = case.says();
    let session = command(&["/bin/sh", "-c", &format!("{look}; echo y > out/x; exit 3")]);
    let (code, stdout, stderr) = enter(&world, &case, session, "").unwrap();
    assert_eq!((code, stderr.as_str()), (3, ""));
    assert_eq!(stdout, usual);
    let (_, stdout, _) = enter(&world, &case, command(&["cat"]), "what is given\n").unwrap();
    assert_eq!(stdout, "what is given\n");
    world.is_clean();
}

fn the_actions_command_can_run_first_and_what_it_leaves_is_there(rung: Rung) {
    let world = World::new(rung);
    let case = world.sh("echo half > out/x; echo note > note; cat; echo no good >&2; exit 7");
    let session = Session { after_command: true, ..command(&["cat", "out/x", "note", "-"]) };
    let (code, stdout, stderr) = enter(&world, &case, session, "typed\n").unwrap();
    assert_eq!(code, 0);
    // The command had an empty standard input, as in a build.
    assert_eq!(stdout, "half\nnote\ntyped\n");
    assert_eq!(stderr, "no good\nbld: the action's command ended with exit status 7\n");
    world.is_clean();
}

fn a_session_finds_the_actions_command_written_down(rung: Rung) {
    let world = World::new(rung);
    let case =
        world.sh("echo \"it's $0 $HOME\"").environment(&[("PATH", "/usr/bin"), ("HOME", "/h")]);
    let session = Session { command: None, after_command: false, on_terminal: false };
    let (code, stdout, _) = enter(&world, &case, session, "/tmp/bld-command; exit 9\n").unwrap();
    assert_eq!((code, stdout), (9, case.says()));
    let (code, stdout, _) = enter(&world, &case, command(&["/tmp/bld-command"]), "").unwrap();
    assert_eq!((code, stdout), (0, case.says()));
    world.is_clean();
}

fn a_build_root_without_a_shell_is_told(rung: Rung) {
    let world = World::new(rung);
    let mut case = world.sh("");
    case.root.remove("bin");
    let session = Session { command: None, after_command: false, on_terminal: false };
    let error = enter(&world, &case, session, "").unwrap_err();
    assert!(matches!(error, ExecuteError::NoShell), "{error}");
    assert!(error.is_action_fault());
    world.is_clean();
}
