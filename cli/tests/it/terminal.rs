//! What a terminal shows, and what a file gets instead.

use std::process::{Command, Stdio};

use crate::machine::{Machine, Ran};

/// Moves the cursor up and clears a line: what only a terminal understands.
const CLEAR_LINE: &str = "\x1b[2K";

/// A command that runs long enough to be drawn, and one that fails.
const SLOW: &str = r#"
load("@rules//files.bzl", "genrule")

genrule(name = "slow", cmd = "sleep 1; touch out/slow", outs = ["slow"], root = "//hello:shell")
genrule(name = "bad", cmd = "echo no good >&2; exit 7", outs = ["bad"], root = "//hello:shell")
"#;

/// Runs `bld` on a terminal of its own and returns what that shows.
fn on_a_terminal(machine: &Machine, arguments: &str, environment: &[(&str, &str)]) -> Ran {
    let inner = machine.command(&[]);
    let mut script = Command::new("script");
    script
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} {arguments}", inner.get_program().to_str().unwrap()))
        .arg("/dev/null")
        .env_clear()
        .envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .env("TERM", "xterm")
        .envs(environment.iter().copied())
        .current_dir(machine.workspace())
        .stdin(Stdio::null());
    Ran::of(&mut script)
}

#[test]
fn on_a_terminal_what_runs_is_drawn_in_colour_and_wiped_at_the_end() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SLOW);
    let shown = on_a_terminal(&machine, "build //t:all", &[]).expect(1).stdout;
    assert!(shown.contains(CLEAR_LINE), "{shown:?}");
    assert!(shown.contains("run //t:slow"), "{shown:?}");
    assert!(shown.contains("\x1b[31;1mfailed"), "{shown:?}");
    // Nothing of the picture stands after the last line was wiped.
    let (_, rest) = shown.rsplit_once(CLEAR_LINE).unwrap();
    assert!(!rest.contains("run //t:slow"), "{rest:?}");
    assert!(rest.contains("2 actions ran") || rest.contains("3 actions ran"), "{rest:?}");
    machine.assert_nothing_is_left();
}

#[test]
fn no_color_and_dumb_terminals_are_respected() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SLOW);
    let shown = on_a_terminal(&machine, "build //t:all", &[("NO_COLOR", "1")]).expect(1).stdout;
    assert!(!shown.contains("\x1b[3"), "{shown:?}");
    assert!(shown.contains(CLEAR_LINE), "it is drawn all the same: {shown:?}");
    let shown = on_a_terminal(&machine, "build //t:all", &[("TERM", "dumb")]).expect(1).stdout;
    assert!(!shown.contains('\x1b'), "{shown:?}");
}

#[test]
fn without_a_terminal_there_are_plain_lines() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SLOW);
    let ran = machine.run(&["build", "//t:all"]).expect(1);
    assert!(!ran.stderr.contains('\x1b') && !ran.stdout.contains('\x1b'), "{}", ran.stderr);
    let lines: Vec<_> = ran.stderr.lines().collect();
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    for start in [
        "fetch  busybox-static",
        "ran    //hello:shell (root) in ",
        "ran    //t:slow in ",
        "failed //t:bad after ",
    ] {
        assert!(has(start), "no {start} in {lines:#?}");
    }
    ran.says(&["failed: //t:bad: exit status 7", "    no good", "bld log '//t:bad'"]);
}

#[test]
fn with_json_standard_output_is_one_document_even_when_something_fails() {
    let machine = Machine::hello();
    machine.write("t/BUILD.bld", SLOW);
    let build = machine.run(&["build", "//t:all", "--json"]).expect(1).json();
    let bad =
        build["goals"].as_array().unwrap().iter().find(|goal| goal["label"] == "//t:bad").unwrap();
    assert_eq!(bad["status"], "failed");
    assert_eq!(bad["outputs"], serde_json::json!([]));
    assert_eq!(bad["failure"]["action"], "//t:bad");
    assert_eq!(bad["failure"]["kind"], "exit status 7");
    let wrong = machine.run(&["build", "//t:nothing", "--json"]).expect(2).json();
    assert!(wrong["error"][0].as_str().unwrap().contains("nothing"), "{wrong:#}");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let machine = Machine::hello();
    machine.run(&["build", "//hello:all"]).expect(0);
    for arguments in [&["cache", "stat"][..], &["completions", "bash"], &["build", "//hello:all"]] {
        let mut command = machine.command(arguments);
        let mut child = command.spawn().unwrap();
        drop(child.stdout.take());
        let ran = Ran::from(child.wait_with_output().unwrap()).expect(0);
        assert_eq!(ran.stderr, "");
    }
}
