//! `bld shell`: the sandbox of an action, seen from inside.

use std::io::Write as _;
use std::process::{Command, Stdio};

use crate::machine::{Machine, Ran};

const TARGETS: &str = r#"
load("@rules//files.bzl", "genrule")

genrule(
    name = "bad",
    cmd = "echo half > out/bad; echo note > note; echo no good >&2; exit 7",
    srcs = ["a.txt"],
    outs = ["bad"],
    root = "//hello:shell",
)
genrule(name = "after", cmd = "cat /src/bad > out/after", srcs = [":bad"], outs = ["after"], root = "//hello:shell")
genrule(
    name = "many",
    cmd = "echo $WHICH > out/many",
    outs = ["many"],
    env = {"WHICH": select({"which=one": "1", "default": "2"})},
    root = "//hello:shell",
    matrix = {"which": ["one", "two"]},
)
"#;

fn machine() -> Machine {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", TARGETS);
    machine.write("t/a.txt", "a source\n");
    machine
}

/// Runs `bld` on a terminal of its own, types `keys`, and returns what that shows.
fn on_a_terminal(machine: &Machine, arguments: &str, keys: &str) -> Ran {
    let inner = machine.command(&[]);
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} {arguments}", inner.get_program().to_str().unwrap()))
        .arg("/dev/null")
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "xterm")
        .current_dir(machine.workspace())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = script.spawn().unwrap();
    child.stdin.take().unwrap().write_all(keys.as_bytes()).unwrap();
    Ran::from(child.wait_with_output().unwrap())
}

#[test]
fn a_command_sees_what_the_action_sees() {
    let machine = machine();
    let look =
        "pwd; id -u; uname -n; cat /src/a.txt; ls /; echo $TZ; cat /proc/net/dev | wc -l; exit 5";
    let ran = machine.run(&["shell", "//t:bad", "--", "sh", "-c", look]).expect(5);
    assert!(ran.stdout.starts_with("/work\n1000\nbld\na source\n"), "{}", ran.stdout);
    assert!(ran.stdout.ends_with("work\nUTC\n3\n"), "{}", ran.stdout);
    assert_eq!(ran.stderr, "");
    machine.assert_nothing_is_left();
}

#[test]
fn with_failed_the_state_of_the_failure_is_there_and_nothing_is_recorded() {
    let machine = machine();
    let look = ["shell", "//t:bad", "--failed", "--", "cat", "out/bad", "note"];
    let ran = machine.run(&look).expect(0).says(&["no good", "ended with exit status 7"]);
    assert_eq!(ran.stdout, "half\nnote\n");
    let stat = machine.run(&["cache", "stat", "--json"]).expect(0).json();
    assert_eq!((&stat["actions"], &stat["failures"]), (&1.into(), &0.into()), "only the root");
    machine.run(&["build", "//t:bad"]).expect(1).says(&["exit status 7"]);
}

#[test]
fn on_a_terminal_there_is_a_shell_with_the_terminal_for_itself() {
    let machine = machine();
    let keys = "tty -s && echo is''tty\nsleep 1000\n\x03echo after''wards\n/tmp/bld-command\nstty size\nexit 9\n";
    let ran = on_a_terminal(&machine, "shell //t:bad", keys).expect(9);
    for word in ["the action's command: ", "/tmp/bld-command", "istty", "afterwards", "no good"] {
        assert!(ran.stdout.contains(word), "no `{word}` in {}", ran.stdout);
    }
    machine.assert_nothing_is_left();
}

#[test]
fn the_action_must_be_one_and_what_it_needs_must_be_there() {
    let machine = machine();
    let both = ["{which=one}", "{which=two}", "several actions"];
    machine.run(&["shell", "//t:many", "--", "true"]).expect(2).says(&both);
    let one = ["shell", "//t:many{which=one}", "--", "sh", "-c", "echo $WHICH"];
    assert_eq!(machine.run(&one).expect(0).stdout, "1\n");
    let role = ["shell", "//t:bad", "--role", "link", "--", "true"];
    machine.run(&role).expect(2).says(&["no command", "//t:bad"]);
    let needs = ["shell", "//t:after", "--", "true"];
    machine.run(&needs).expect(1).says(&["//t:bad: exit status 7", "cannot be entered"]);
}
